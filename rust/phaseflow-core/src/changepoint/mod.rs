//! Changepoints and phase-change windows of curves.

mod autoregression;
mod centred;
mod compensated;
pub mod convexity;
mod cost;
mod dispersion;
mod eights;
mod existence;
mod knots;
mod linear_algebra;
mod many;
mod names;
mod noise;
pub mod online;
mod penalty;
mod place;
mod prediction;
mod prepare;
mod request;
mod search;
mod segmentation;
mod significance;
pub mod window;

pub use existence::existence;
pub use many::{Change, Direction, Series, Single, detect_many, single_change};
pub use names::{CostName, SearchName};
pub use penalty::Penalty;
pub use place::place_intervals;
pub use request::Request;
pub use search::Shape;
pub use segmentation::{Segmentation, detect};
