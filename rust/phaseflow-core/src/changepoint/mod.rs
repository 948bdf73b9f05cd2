//! Changepoints and phase-change windows of curves.

mod compensated;
mod cost;
mod knots;
mod linear_algebra;
mod penalty;
mod search;
mod segmentation;
pub mod window;

pub use penalty::Penalty;
pub use segmentation::{CostName, Request, SearchName, Segmentation, detect};
