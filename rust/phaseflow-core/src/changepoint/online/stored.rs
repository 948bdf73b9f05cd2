//! The posterior as a list of numbers, and back.
//!
//! `count, last x, last value, log evidence`, the moments of the samples since the last announcement, then for every start
//! `sample, x, x before, log probability`, what is known of its segment, the moments before it and its own. The observation
//! and the settings are not among them. What comes back may come from anywhere: numbers that no samples can have left are
//! refused, so that whatever is taken in goes on with finite probabilities that sum to 1.

use super::moments::Moments;
use super::observation::SIZE;
use super::run_length::{RunLengths, Start};
use crate::{Error, Result};

const TOTALS: usize = 7;
/// Numbers that one start is stored as.
const STORED: usize = 4 + SIZE + 6;
const MOST_SAMPLES: f64 = 9e15; // all whole numbers up to there are doubles

impl RunLengths {
    /// All that changes with the samples, as numbers: totals, then every start.
    pub fn store(&self) -> Vec<f64> {
        let three = |moments: Moments| [moments.count, moments.mean, moments.squares];
        let mut numbers = vec![self.count as f64, self.last_x, self.last_value, self.log_evidence];
        numbers.extend(three(self.since));
        for start in &self.starts {
            numbers.extend([start.sample as f64, start.x, start.x_before, start.log]);
            numbers.extend(start.known);
            numbers.extend(three(start.before));
            numbers.extend(three(start.after));
        }
        numbers
    }

    /// The state that [`RunLengths::store`] gave after a sample or more, with the same observation and settings.
    pub fn restore(mut self, numbers: &[f64]) -> Result<Self> {
        let refuse = |got: &str| Error::OutOfRange {
            argument: "state",
            expected: "the numbers that state() gave".into(),
            got: format!("{} numbers, {got}", numbers.len()),
        };
        let (totals, rest) = numbers.split_at_checked(TOTALS).ok_or_else(|| refuse("too few"))?;
        let (starts, []) = rest.as_chunks::<STORED>() else {
            return Err(refuse("some of a start missing"));
        };
        let count =
            whole(totals[0]).filter(|&count| count > 0).ok_or_else(|| refuse("the first no count of samples"))?;
        (self.count, self.last_x, self.last_value, self.log_evidence) = (count, totals[1], totals[2], totals[3]);
        self.since = moments(&totals[4..], count).ok_or_else(|| refuse("totals that no samples have"))?;
        self.starts = starts
            .iter()
            .enumerate()
            .map(|(index, stored)| {
                self.start(stored).ok_or_else(|| refuse(&format!("start {index} one that no samples have")))
            })
            .collect::<Result<_>>()?;
        let in_order = self.starts.windows(2).all(|pair| pair[0].sample < pair[1].sample && pair[0].x < pair[1].x);
        let sum: f64 = self.starts.iter().map(|start| start.log.exp()).sum();
        let finite = totals.iter().all(|number| number.is_finite());
        if !finite || !in_order || self.starts.len() > self.settings.most || (sum - 1.0).abs() > 1e-6 {
            return Err(refuse("not those of starts in order whose probabilities sum to 1"));
        }
        Ok(self)
    }

    fn start(&self, stored: &[f64; STORED]) -> Option<Start> {
        let sample = whole(stored[0]).filter(|&sample| sample < self.count)?;
        let [x, x_before, log] = [stored[1], stored[2], stored[3]];
        let mut known = [0.0; SIZE];
        known.copy_from_slice(&stored[4..4 + SIZE]);
        let before = moments(&stored[4 + SIZE..], sample)?;
        let after = moments(&stored[7 + SIZE..], self.count - sample)?;
        let fits = log.is_finite()
            && x_before.is_finite()
            && x_before <= x
            && x <= self.last_x
            && after.count == (self.count - sample) as f64
            && self.observation.may_know(&known);
        fits.then_some(Start { sample, x, x_before, log, known, before, after })
    }
}

fn whole(number: f64) -> Option<usize> {
    ((0.0..MOST_SAMPLES).contains(&number) && number.fract() == 0.0).then_some(number as usize)
}

/// Of at most so many samples.
fn moments(numbers: &[f64], most: usize) -> Option<Moments> {
    let (count, mean, squares) = (numbers[0], numbers[1], numbers[2]);
    let fits = whole(count)? <= most && mean.is_finite() && squares.is_finite() && squares >= 0.0;
    fits.then_some(Moments { count, mean, squares })
}

#[cfg(test)]
mod tests {
    use super::super::{Observation, Settings};
    use super::{RunLengths, STORED, TOTALS};

    const NAMES: [&str; 5] = ["normal", "level", "autoregressive", "poisson", "bernoulli"];

    fn fresh(name: &str) -> RunLengths {
        let names: &[&str] = match name {
            "level" => &["mean", "variance", "noise_variance"],
            "autoregressive" => &["mean", "kappa", "slope_kappa", "alpha", "beta"],
            "normal" => &["mean", "kappa", "alpha", "beta"],
            _ => &["alpha", "beta"],
        };
        let prior: Vec<_> = names.iter().map(|name| ((*name).to_owned(), 0.5)).collect();
        let settings = Settings { hazard: 0.1, min_size: 2, least: 1e-12, most: 20 };
        RunLengths::new(Observation::new(name, &prior).unwrap(), settings).unwrap()
    }

    fn fed(name: &str) -> RunLengths {
        let mut runs = fresh(name);
        for sample in 0..30_u32 {
            runs.update(f64::from(sample), f64::from(sample / 10 % 2)).unwrap();
        }
        runs
    }

    #[test]
    fn what_was_stored_comes_back_equal() {
        for name in NAMES {
            assert_eq!(fresh(name).restore(&fed(name).store()).unwrap(), fed(name));
        }
    }

    #[test]
    fn a_list_cut_anywhere_is_refused() {
        let numbers = fed("normal").store();
        for end in 0..numbers.len() {
            assert!(fresh("normal").restore(&numbers[..end]).is_err(), "{end}");
        }
        assert!(numbers.len() > TOTALS + 2 * STORED);
    }

    #[test]
    fn a_number_that_no_samples_leave_is_refused_or_goes_on_with_probabilities() {
        for name in NAMES {
            let numbers = fed(name).store();
            let hostile = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 0.5, 1e300, -1e300, 1e-320, 1e16];
            for (index, number) in (0..numbers.len()).flat_map(|index| hostile.map(|number| (index, number))) {
                let mut broken = numbers.clone();
                broken[index] = number;
                let Ok(mut runs) = fresh(name).restore(&broken) else { continue };
                assert!(number.is_finite(), "{name} {index} {number}");
                for sample in 30..35_u32 {
                    // Refusing is as good, as long as it says so.
                    if runs.update(f64::from(sample), 1.0).is_err() {
                        break;
                    }
                    let sum: f64 = runs.posterior().map(|start| start.1).sum();
                    assert!((sum - 1.0).abs() < 1e-6 && runs.log_evidence().is_finite(), "{name} {index} {number}");
                }
            }
        }
    }
}
