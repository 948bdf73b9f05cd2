//! Saying that a change began, once the posterior is sure enough.
//!
//! A change counts from the moment at which the current segment began after the last announcement, and at least
//! `min_size` samples ago, with probability `certainty`. Then its place is the
//! likeliest start, with an interval between its quantiles, and what lies before it and after it are the plain moments of
//! the samples since the last change.

use super::moments::Moments;
use super::run_length::{RunLengths, Start};
use crate::{Error, Result};

/// When a change is announced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watch {
    /// Posterior probability that is enough.
    pub certainty: f64,
    /// Probability of the interval of the place.
    pub level: f64,
    /// Only a segment that begins at this sample or later is new.
    pub from: usize,
}

/// A change that began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// First sample of the new segment, counting those that were taken in.
    pub sample: usize,
    /// x there.
    pub x: f64,
    /// The last x that may still lie before the change.
    pub lower: f64,
    /// The first x that lies after it at the latest.
    pub upper: f64,
    /// Posterior probability that there is a change.
    pub probability: f64,
    /// The samples between the last change and this one.
    pub before: Moments,
    /// Those from this one on.
    pub after: Moments,
}

impl Watch {
    /// Whether the parameters make sense.
    pub fn check(self) -> Result<Self> {
        for (argument, value) in [("certainty", self.certainty), ("level", self.level)] {
            if !(value > 0.0 && value < 1.0) {
                return Err(Error::OutOfRange { argument, expected: "between 0 and 1".into(), got: value.to_string() });
            }
        }
        Ok(self)
    }

    /// As it was once an announcement, if any, had made `sample` the first that is new to these runs.
    pub fn since(self, sample: usize, runs: &RunLengths) -> Result<Self> {
        if !(1..=runs.count()).contains(&sample) {
            let expected = format!("1 to {}, the samples that it has seen", runs.count());
            return Err(Error::OutOfRange { argument: "since", expected, got: sample.to_string() });
        }
        Ok(Self { from: sample, ..self })
    }

    fn news(self, runs: &RunLengths) -> impl Iterator<Item = &Start> {
        // The first segment is no change.
        let old_enough = move |start: &&Start| start.sample + runs.settings.min_size <= runs.count;
        runs.starts.iter().filter(old_enough).filter(move |start| start.sample >= self.from.max(1))
    }

    /// Probability that a segment began since the last announcement, at least `min_size` samples ago.
    pub fn probability(self, runs: &RunLengths) -> f64 {
        self.news(runs).map(|start| start.log.exp()).sum::<f64>().min(1.0)
    }

    /// The change, if it is sure enough; it is then behind us.
    pub fn announce(&mut self, runs: &mut RunLengths) -> Option<Change> {
        let probability = self.probability(runs);
        let best = *self.news(runs).max_by(|a, b| a.log.total_cmp(&b.log)).filter(|_| probability >= self.certainty)?;
        let tail = 0.5 * (1.0 - self.level) * probability;
        let (mut passed, mut lower, mut upper) = (0.0, best.x_before, best.x);
        for start in self.news(runs) {
            let reached = passed + start.log.exp();
            if passed <= tail && reached > tail {
                lower = lower.min(start.x_before);
            }
            if passed < probability - tail {
                upper = upper.max(start.x);
            }
            passed = reached;
        }
        runs.mark(best.sample);
        self.from = runs.count();
        let Start { sample, x, before, after, .. } = best;
        Some(Change { sample, x, lower, upper, probability, before, after })
    }
}
