//! Changepoints and phase-change windows of curves.

mod linear_algebra;
pub mod window;
