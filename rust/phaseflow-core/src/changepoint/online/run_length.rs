//! How long the current segment has lasted: its posterior, sample after sample (Adams and MacKay 2007; Fearnhead and
//! Liu 2007).
//!
//! A new segment begins at each sample with probability `hazard`, once the last one has `min_size` samples. With p(s) the posterior of the
//! start s of the current segment, and q_s the probability of the new sample after those from s on,
//!
//! ```text
//! p(s)   <- p(s) (1 - hazard) q_s             for every s so far; without the factor where s is too new to end
//! p(now) <- hazard q_fresh (sum of p(s))      over those that are not
//! ```
//!
//! over their sum, which is the probability of the sample given all before it. Here the sample itself belongs to the
//! segment that begins with it, so run lengths count from 1 (Adams and MacKay's count ahead of the next sample, from 0).
//! All in logs. Starts whose posterior falls below `least` are dropped, and the least likely beyond `most`: memory and
//! time of a sample do not grow.

use super::moments::Moments;
use super::observation::{Known, Observation};
use crate::{Error, Result};

/// Parameters of the recursion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Probability that a new segment begins at a sample, between 0 and 1.
    pub hazard: f64,
    /// Samples of a segment at least, but for the current one.
    pub min_size: usize,
    /// Starts less likely than this are dropped.
    pub least: f64,
    /// Starts that are kept at most.
    pub most: usize,
}

/// One place at which the current segment may have begun.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Start {
    pub(super) sample: usize,
    pub(super) x: f64,
    /// x of the sample before it; its own for the first.
    pub(super) x_before: f64,
    /// Log of its posterior.
    pub(super) log: f64,
    pub(super) known: Known,
    /// The samples before it, from [`RunLengths::mark`] on.
    pub(super) before: Moments,
    /// Its own.
    pub(super) after: Moments,
}

/// The posterior after the samples so far.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLengths {
    pub(super) observation: Observation,
    pub(super) settings: Settings,
    pub(super) starts: Vec<Start>,
    /// Samples so far.
    pub(super) count: usize,
    pub(super) last_x: f64,
    pub(super) last_value: f64,
    pub(super) since: Moments,
    pub(super) log_evidence: f64,
}

impl RunLengths {
    /// Before any sample.
    pub fn new(observation: Observation, settings: Settings) -> Result<Self> {
        let refuse =
            |argument, expected: &str, got: String| Err(Error::OutOfRange { argument, expected: expected.into(), got });
        let Settings { hazard, min_size, least, most } = settings;
        if !(hazard > 0.0 && hazard < 1.0) {
            return refuse("expected_length", "above 1, finite", (1.0 / hazard).to_string());
        }
        if min_size == 0 {
            return refuse("min_size", "at least 1", "0".into());
        }
        if !(0.0..=1e-3).contains(&least) {
            return refuse("least", "0 to 0.001", least.to_string());
        }
        if most < 2 {
            return refuse("most", "at least 2", most.to_string());
        }
        let starts = Vec::new();
        let since = Moments::default();
        Ok(Self {
            observation,
            settings,
            starts,
            count: 0,
            last_x: f64::NEG_INFINITY,
            last_value: f64::NAN,
            since,
            log_evidence: 0.0,
        })
    }

    /// Samples so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Log of the probability (density) of all samples so far.
    pub fn log_evidence(&self) -> f64 {
        self.log_evidence
    }

    /// `(sample, probability)` of every start that is kept, in order.
    pub fn posterior(&self) -> impl Iterator<Item = (usize, f64)> {
        self.starts.iter().map(|start| (start.sample, start.log.exp()))
    }

    /// Takes in the next sample; on an error nothing has changed.
    pub fn update(&mut self, x: f64, value: f64) -> Result<()> {
        for (argument, number) in [("x", x), ("value", value)] {
            if !number.is_finite() {
                return Err(Error::NotFinite { argument, index: self.count.to_string(), value: number });
            }
        }
        if x <= self.last_x {
            return Err(Error::OutOfRange {
                argument: "x",
                expected: format!("above the last one, {}", self.last_x),
                got: x.to_string(),
            });
        }
        self.observation.check(value)?;
        let Settings { hazard, min_size, .. } = self.settings;
        let mut starts = Vec::with_capacity(self.starts.len() + 1);
        let mut may_end = 0.0;
        for start in &self.starts {
            let (log, known) =
                self.observation.next(&start.known, self.observation.regressor(x - start.x, self.last_value), value);
            let mut stays = 0.0;
            if start.sample + min_size <= self.count {
                may_end += start.log.exp();
                stays = (-hazard).ln_1p();
            }
            starts.push(Start { log: start.log + stays + log, known, after: start.after.with(value), ..*start });
        }
        let first = self.count == 0;
        if first || may_end > 0.0 {
            let (log, known) = self.observation.next(
                &self.observation.fresh(),
                self.observation.regressor(0.0, self.last_value),
                value,
            );
            starts.push(Start {
                sample: self.count,
                x,
                x_before: if first { x } else { self.last_x },
                log: log + if first { 0.0 } else { (hazard * may_end).ln() },
                known,
                before: self.since,
                after: Moments::default().with(value),
            });
        }
        let since = self.since.with(value);
        let evidence = normalise(&mut starts);
        let finite = starts.iter().all(|start| start.known.iter().all(|known| known.is_finite()));
        if !(evidence.is_finite() && finite && since.squares.is_finite()) {
            return Err(Error::OutOfRange {
                argument: "value",
                expected:
                    "a number whose probability under the prior and the samples so far double precision can tell \
                           from 0: leave it out, pass a wider prior, or all values in another unit"
                        .into(),
                got: format!("{value:e}"),
            });
        }
        self.drop_the_unlikely(&mut starts);
        (self.starts, self.since, self.last_x, self.last_value) = (starts, since, x, value);
        self.count += 1;
        self.log_evidence += evidence;
        Ok(())
    }

    fn drop_the_unlikely(&self, starts: &mut Vec<Start>) {
        let before = starts.len();
        let least = self.settings.least.ln();
        starts.retain(|start| start.log >= least && start.log > f64::NEG_INFINITY);
        if let Some(surplus @ 1..) = starts.len().checked_sub(self.settings.most) {
            let mut logs: Vec<f64> = starts.iter().map(|start| start.log).collect();
            let (unlikelier, &mut bound, _) = logs.select_nth_unstable_by(surplus - 1, f64::total_cmp);
            // Of several at the bound the oldest go.
            let mut at_bound = surplus - unlikelier.iter().filter(|log| **log < bound).count();
            starts.retain(|start| {
                let goes = start.log < bound || (start.log == bound && at_bound > 0);
                at_bound -= usize::from(start.log == bound && goes);
                !goes
            });
        }
        if starts.len() < before {
            normalise(starts);
        }
    }

    /// Samples from the start `sample` on are those that later starts have before them.
    pub(super) fn mark(&mut self, sample: usize) {
        let Some(marked) = self.starts.iter().find(|start| start.sample == sample).copied() else { return };
        self.since = marked.after;
    }
}

/// Makes the probabilities sum to 1; the log of what they summed to.
fn normalise(starts: &mut [Start]) -> f64 {
    let largest = starts.iter().fold(f64::NEG_INFINITY, |largest, start| largest.max(start.log));
    let sum = largest + starts.iter().map(|start| (start.log - largest).exp()).sum::<f64>().ln();
    starts.iter_mut().for_each(|start| start.log -= sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::{Observation, RunLengths, Settings};

    fn coin(settings: Settings) -> RunLengths {
        let prior = [("alpha".to_owned(), 1.0), ("beta".to_owned(), 1.0)];
        RunLengths::new(Observation::new("bernoulli", &prior).unwrap(), settings).unwrap()
    }

    #[test]
    fn two_throws_of_a_coin() {
        // One segment: (3/4) (1/2) (1/3); two: (1/4) (1/2) (1/2). So 2/3 and 1/3, in all 1/8 + 1/16 = 3/16.
        let mut runs = coin(Settings { hazard: 0.25, min_size: 1, least: 0.0, most: 100 });
        runs.update(0.0, 1.0).unwrap();
        runs.update(1.0, 0.0).unwrap();
        let found: Vec<_> = runs.posterior().collect();
        assert!((found[0].1 - 2.0 / 3.0).abs() < 1e-15 && (found[1].1 - 1.0 / 3.0).abs() < 1e-15);
        assert!((runs.log_evidence() - (3.0_f64 / 16.0).ln()).abs() < 1e-15);
    }

    #[test]
    fn as_many_starts_are_kept_as_allowed_even_if_all_are_as_likely() {
        let mut runs = coin(Settings { hazard: 0.25, min_size: 1, least: 0.0, most: 5 });
        for sample in 0..50_u32 {
            runs.update(f64::from(sample), f64::from(sample % 3 % 2)).unwrap();
            assert_eq!(runs.posterior().count(), 5.min(sample as usize + 1));
            assert!((runs.posterior().map(|start| start.1).sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
