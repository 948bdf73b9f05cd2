//! Bootstrap of the in-context learning score, over examples.
//!
//! A resample draws `n` of the `n` examples with replacement; its score is `sum over e of count[e] · difference[e] / n`.
//! The interval follows from the resamples' scores by a [`Method`]. The counts are drawn once and shared by all
//! checkpoints: one matrix product does them all, and intervals of neighbouring checkpoints move together instead of
//! each with its own noise. Every sum runs over the examples in their order, whatever the machine.

use ndarray::ArrayD;
use rayon::prelude::*;

use super::ends::{Method, ends};
use super::in_context::{InContext, differences, in_shape, mean};
use crate::random::Random;
use crate::tensor::TensorView;
use crate::vectorize::vectorize;
use crate::{Cancel, Error, Result};

/// Resamples scored together.
const RESAMPLES: usize = 4;
/// Checkpoints scored together: each count serves all of them, each difference all resamples, and the sums of every
/// pair stay in registers.
const CHECKPOINTS: usize = 8;

/// How to resample.
#[derive(Debug, Clone, Copy)]
pub struct Bootstrap {
    /// The interval's nominal coverage, strictly between 0 and 1.
    pub level: f64,
    /// Number of resamples.
    pub resamples: usize,
    /// Names the resamples; the same seed gives the same interval everywhere.
    pub seed: u64,
    /// How the ends follow from them.
    pub method: Method,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { level: 0.95, resamples: 1000, seed: 0, method: Method::default() }
    }
}

impl Bootstrap {
    fn check(self) -> Result<()> {
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(Error::OutOfRange {
                argument: "level",
                expected: "strictly between 0 and 1".into(),
                got: self.level.to_string(),
            });
        }
        if self.resamples < 2 {
            return Err(Error::OutOfRange {
                argument: "resamples",
                expected: "at least 2".into(),
                got: self.resamples.to_string(),
            });
        }
        Ok(())
    }
}

/// Lower and upper end, `(..., 2)`, of the interval of each in-context learning score; NaN with fewer than two
/// examples, which say nothing about the spread, or if a loss that enters is NaN.
pub fn in_context_learning_interval(
    per_token_loss: &TensorView<'_>,
    tokens: InContext,
    how: Bootstrap,
    cancel: &Cancel,
) -> Result<ArrayD<f64>> {
    how.check()?;
    let (leading, differences) = differences(per_token_loss, tokens, cancel)?;
    if differences.iter().any(|one| one.len() < 2) {
        return in_shape([leading.as_slice(), &[2]].concat(), vec![f64::NAN; 2 * differences.len()]);
    }
    let squares = if how.method == Method::Studentized { squared(&differences) } else { Vec::new() };
    let both: Vec<&[f64]> = differences.iter().chain(&squares).map(Vec::as_slice).collect();
    let mut scores = resampled_means(&both, how, cancel)?;
    let mut squares = scores.split_off(differences.len());
    squares.resize(differences.len(), Vec::new());
    let found = differences
        .par_iter()
        .zip(scores)
        .zip(squares)
        .flat_map_iter(|((differences, scores), squares)| ends(how.method, how.level, differences, scores, &squares))
        .collect();
    in_shape([leading.as_slice(), &[2]].concat(), found)
}

/// Squared distances of the differences from their mean.
fn squared(differences: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of = |differences: &Vec<f64>| {
        let mean = mean(differences);
        differences.iter().map(|difference| (difference - mean) * (difference - mean)).collect()
    };
    differences.iter().map(of).collect()
}

/// For each of some numbers of all examples their means over every resample.
fn resampled_means(numbers: &[&[f64]], how: Bootstrap, cancel: &Cancel) -> Result<Vec<Vec<f64>>> {
    let examples = numbers.first().map_or(0, |one| one.len());
    let panels: Vec<Vec<[f64; CHECKPOINTS]>> =
        numbers.par_chunks(CHECKPOINTS).map(|checkpoints| side_by_side(checkpoints, examples)).collect();
    let blocks = (0..how.resamples.div_ceil(RESAMPLES))
        .into_par_iter()
        .map(|block| {
            let counts: [Vec<f64>; RESAMPLES] =
                std::array::from_fn(|resample| counts(examples, how.seed, (block * RESAMPLES + resample) as u64));
            let counts = side_by_side::<RESAMPLES>(&counts.each_ref().map(Vec::as_slice), examples);
            let sums = |panel: &Vec<_>| {
                cancel.check()?;
                Ok(vectorize(
                    #[inline(always)]
                    || sums(&counts, panel),
                ))
            };
            panels.iter().map(sums).collect()
        })
        .collect::<Result<Vec<Vec<_>>>>()?;
    let of_checkpoint = |checkpoint: usize| {
        let (panel, place) = (checkpoint / CHECKPOINTS, checkpoint % CHECKPOINTS);
        let sums = blocks.iter().flat_map(|panels| panels[panel].iter().map(|sums| sums[place]));
        sums.take(how.resamples).map(|sum| sum / examples as f64).collect()
    };
    Ok((0..numbers.len()).into_par_iter().map(of_checkpoint).collect())
}

/// Numbers of all examples, the first example's of each beside one another; zeros where there are fewer than `N`.
fn side_by_side<const N: usize>(numbers: &[&[f64]], examples: usize) -> Vec<[f64; N]> {
    let of_example = |example: usize| std::array::from_fn(|at| numbers.get(at).map_or(0.0, |one| one[example]));
    (0..examples).map(of_example).collect()
}

/// Over all examples, count times difference: each resample with each checkpoint.
#[inline(always)]
fn sums(counts: &[[f64; RESAMPLES]], differences: &[[f64; CHECKPOINTS]]) -> [[f64; CHECKPOINTS]; RESAMPLES] {
    let mut sums = [[0.0; CHECKPOINTS]; RESAMPLES];
    for (counts, differences) in counts.iter().zip(differences) {
        for resample in 0..RESAMPLES {
            for checkpoint in 0..CHECKPOINTS {
                sums[resample][checkpoint] += counts[resample] * differences[checkpoint];
            }
        }
    }
    sums
}

/// How often each example is drawn in one resample.
fn counts(examples: usize, seed: u64, resample: u64) -> Vec<f64> {
    let mut random = Random::stream(seed, resample);
    let mut counts = vec![0.0; examples];
    for _ in 0..examples {
        counts[random.below(examples)] += 1.0;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resample_draws_as_many_examples_as_there_are() {
        assert_eq!(counts(100, 1, 2).iter().sum::<f64>(), 100.0);
    }

    #[test]
    fn a_resamples_mean_is_that_of_the_drawn_examples() {
        // More checkpoints and resamples than are scored together, and not whole multiples of them.
        let numbers: Vec<Vec<f64>> =
            (0..11).map(|one| (0..13).map(|example| f64::from(example * one + 1) / 7.0).collect()).collect();
        let how = Bootstrap { resamples: 10, ..Bootstrap::default() };
        let all: Vec<&[f64]> = numbers.iter().map(Vec::as_slice).collect();
        let found = resampled_means(&all, how, &Cancel::new()).unwrap();
        assert_eq!(found.len(), 11);
        for (numbers, means) in numbers.iter().zip(&found) {
            assert_eq!(means.len(), 10);
            for (resample, mean) in means.iter().enumerate() {
                let mut random = Random::stream(how.seed, resample as u64);
                let drawn = (0..13).map(|_| numbers[random.below(13)]).sum::<f64>() / 13.0;
                assert!((mean - drawn).abs() < 1e-13);
            }
        }
    }
}
