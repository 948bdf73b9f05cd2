//! Where a curve is not convex, by a test that accounts for its noise.

mod contrast;
mod intervals;
mod noise;
mod test;

pub use intervals::Bump;
pub use test::{ConvexityTest, Options};
