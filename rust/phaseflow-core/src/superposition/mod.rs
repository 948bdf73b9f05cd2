//! Features stored in fewer dimensions than there are of them (Elhage 2022).
//!
//! `W` is `(hidden, feature)`: a feature is a column. What matters is the Gram matrix of the columns, so nothing here
//! changes when the hidden space is rotated.

mod features;
mod geometry;

pub use features::{Features, feature_dimensionality, features};
pub use geometry::{Geometry, Shape, geometry};
