//! Changes noticed while the samples come in: Bayesian online detection.

mod announce;
mod line;
mod log_gamma;
mod moments;
mod observation;
mod posterior;
mod run_length;
mod stored;

pub use announce::{Change, Watch};
pub use moments::Moments;
pub use observation::Observation;
pub use posterior::{Posterior, Row, posterior};
pub use run_length::{RunLengths, Settings};
