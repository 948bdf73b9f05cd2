//! Changes noticed while the samples come in: Bayesian online detection.

mod announce;
mod log_gamma;
mod moments;
mod observation;
mod run_length;

pub use announce::{Change, Watch};
pub use moments::Moments;
pub use observation::Observation;
pub use run_length::{Posterior, Row, RunLengths, Settings, posterior};
