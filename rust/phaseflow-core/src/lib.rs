//! Kernels, archive and detection of phaseflow: pure Rust, no Python, no printing, no global state.
//!
//! Views go in, owned results come out, every failure is an [`Error`] that carries its data.

pub mod archive;
pub mod attention;
pub mod cancel;
pub mod changepoint;
pub mod circuit;
pub mod error;
mod exponential;
pub mod loss;
mod median;
pub mod random;
pub mod scan;
pub mod superposition;
pub mod tensor;
mod vectorize;

pub use cancel::Cancel;
pub use error::{Error, Result};
