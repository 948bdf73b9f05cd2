//! Bootstrap of the in-context learning score, over examples.
//!
//! A resample draws `n` of the `n` examples with replacement; its score is `sum over e of count[e] · difference[e] / n`.
//! The interval follows from the resamples' scores by a [`Method`]. The counts are drawn once and shared by all checkpoints: one matrix product does them all, and
//! intervals of neighbouring checkpoints move together instead of each with its own noise.

use ndarray::ArrayD;
use rayon::prelude::*;

use super::ends::{Method, ends};
use super::in_context::{InContext, differences, in_shape, mean};
use crate::random::Random;
use crate::tensor::TensorView;
use crate::vectorize::vectorize;
use crate::{Cancel, Error, Result};

/// Resamples scored together: each difference read serves all of them.
const TOGETHER: usize = 8;
/// Partial sums of one dot product.
const LANES: usize = 4;

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
    let scores = resampled_scores(&differences, how, cancel)?;
    let squares = match how.method {
        Method::Studentized => resampled_scores(&squared(&differences), how, cancel)?,
        Method::Percentile | Method::Bca => vec![Vec::new(); differences.len()],
    };
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

/// For each checkpoint the scores of all resamples.
fn resampled_scores(differences: &[Vec<f64>], how: Bootstrap, cancel: &Cancel) -> Result<Vec<Vec<f64>>> {
    let examples = differences.first().map_or(0, Vec::len);
    let blocks = (0..how.resamples.div_ceil(TOGETHER))
        .into_par_iter()
        .map(|block| {
            cancel.check()?;
            let counts: [Vec<f64>; TOGETHER] =
                std::array::from_fn(|resample| counts(examples, how.seed, (block * TOGETHER + resample) as u64));
            Ok(vectorize(
                #[inline(always)]
                || differences.iter().map(|differences| scores(&counts, differences)).collect::<Vec<_>>(),
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    let of_checkpoint =
        |checkpoint: usize| blocks.iter().flat_map(|block| block[checkpoint]).take(how.resamples).collect();
    Ok((0..differences.len()).into_par_iter().map(of_checkpoint).collect())
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

#[inline(always)]
fn scores(counts: &[Vec<f64>; TOGETHER], differences: &[f64]) -> [f64; TOGETHER] {
    let (chunks, rest) = differences.as_chunks::<LANES>();
    let counts: [_; TOGETHER] = std::array::from_fn(|resample| counts[resample].as_chunks::<LANES>());
    let mut lanes = [[0.0; LANES]; TOGETHER];
    for (index, chunk) in chunks.iter().enumerate() {
        for (lanes, (counts, _)) in lanes.iter_mut().zip(&counts) {
            for lane in 0..LANES {
                lanes[lane] += counts[index][lane] * chunk[lane];
            }
        }
    }
    std::array::from_fn(|resample| {
        let rest = rest.iter().zip(counts[resample].1).fold(0.0, |sum, (difference, count)| sum + count * difference);
        let [a, b, c, d] = lanes[resample];
        ((a + b) + (c + d) + rest) / differences.len() as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resample_draws_as_many_examples_as_there_are() {
        assert_eq!(counts(100, 1, 2).iter().sum::<f64>(), 100.0);
    }

    #[test]
    fn a_resamples_score_is_the_mean_of_the_drawn_differences() {
        let differences: Vec<f64> = (0..11).map(|example| f64::from(example) / 7.0).collect();
        let how = Bootstrap { resamples: 11, ..Bootstrap::default() };
        let found = resampled_scores(std::slice::from_ref(&differences), how, &Cancel::new()).unwrap();
        for (resample, score) in found[0].iter().enumerate() {
            let mut random = Random::stream(how.seed, resample as u64);
            let mean = (0..11).map(|_| differences[random.below(11)]).sum::<f64>() / 11.0;
            assert!((score - mean).abs() < 1e-15);
        }
    }
}
