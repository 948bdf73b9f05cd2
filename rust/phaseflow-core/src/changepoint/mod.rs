//! Changepoints and phase-change windows of curves.

mod autoregression;
mod centred;
mod compensated;
pub mod convexity;
mod cost;
mod knots;
mod linear_algebra;
mod many;
mod noise;
pub mod online;
mod penalty;
mod place;
mod prepare;
mod request;
mod search;
mod segmentation;
mod significance;
pub mod window;

pub use many::{Change, Direction, Series, Single, detect_many, single_change};
pub use penalty::Penalty;
pub use place::place_intervals;
pub use request::{CostName, Request, SearchName};
pub use search::Shape;
pub use segmentation::{Segmentation, detect};
