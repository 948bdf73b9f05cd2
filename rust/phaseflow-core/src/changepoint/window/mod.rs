//! Phase-change windows: smooth, then steep between a start and an end, then smooth again.

mod base;
mod bend;
mod curves;
mod detect;
mod detector;
mod fit;
mod forms;
mod interval;
mod likelihood;
mod noise;
mod null;
mod refine;
mod rest;
mod scan;
mod shape;
mod together;

pub use base::{Base, Scale};
pub use detect::{Clearest, Limits, Window, Windows};
pub use detector::{Detector, Options};
