//! How long the current segment has lasted, after every sample of a whole signal.

use super::run_length::RunLengths;
use crate::{Cancel, Error, Result};

/// One line of the posterior over a whole signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// After this sample ...
    pub sample: usize,
    /// ... the segment it belongs to began at this one ...
    pub start: usize,
    /// ... with this probability.
    pub probability: f64,
}

/// The posterior over a whole signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// By sample, then by start; only probabilities of `shown` and above.
    pub rows: Vec<Row>,
    /// Log of the probability (density) of the whole signal.
    pub log_evidence: f64,
}

/// Feeds a whole signal to a detector that has seen nothing.
pub fn posterior(mut runs: RunLengths, x: &[f64], y: &[f64], shown: f64, cancel: &Cancel) -> Result<Posterior> {
    if x.len() != y.len() {
        return Err(Error::ShapeMismatch { argument: "x", axis: "sample", expected: y.len(), got: x.len() });
    }
    let mut rows = Vec::new();
    for (sample, (&x, &value)) in x.iter().zip(y).enumerate() {
        cancel.check()?;
        runs.update(x, value)?;
        let shown = runs.posterior().filter(|(_, probability)| *probability >= shown);
        rows.extend(shown.map(|(start, probability)| Row { sample, start, probability }));
    }
    Ok(Posterior { rows, log_evidence: runs.log_evidence() })
}
