//! Quick bounds from below for costs of the scatter of one feature, `sum (y - mean)^2`, over many segments with one end.

use std::ops::Range;

use crate::changepoint::compensated::PrefixSums;
use crate::vectorize::vectorize;

/// Prefix sums of the samples and their squares in doubles.
#[derive(Debug)]
pub(super) struct Bounds {
    sums: Vec<f64>,
    squares: Vec<f64>,
    /// Numbers of samples, largest first, and 1 over each: those of segments with one end follow one another.
    counts: Vec<f64>,
    shares: Vec<f64>,
    /// What a segment's scatter may be too large by.
    error: f64,
}

impl Bounds {
    /// `largest`: of the samples' sizes.
    pub(super) fn new(sums: &PrefixSums, squares: &PrefixSums, largest: f64) -> Self {
        let (sums, squares) = (sums.as_doubles(), squares.as_doubles());
        let size = |values: &[f64]| values.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
        // Each prefix is half a unit in the last place off, a mean is no larger than the largest sample.
        let error = 8.0 * f64::EPSILON * (size(&squares) + largest * size(&sums));
        let counts: Vec<f64> = (1..sums.len()).rev().map(|count| count as f64).collect();
        let shares = counts.iter().map(|count| 1.0 / count).collect();
        Self { sums, squares, counts, shares, error }
    }

    /// `cost` of the number of samples, 1 over it, and a scatter that is none above the true one, for the segments from
    /// each of `starts` to `end`.
    pub(super) fn scan(
        &self,
        starts: &[usize],
        end: usize,
        values: &mut Vec<f64>,
        cost: impl Fn(f64, f64, f64) -> f64 + Copy,
    ) {
        values.clear();
        values.resize(starts.len(), 0.0);
        let shorter = self.counts.len() - end;
        let mut rest = values.as_mut_slice();
        vectorize(
            #[inline(always)]
            || {
                for run in Runs(starts) {
                    let (values, after) = std::mem::take(&mut rest).split_at_mut(run.len());
                    rest = after;
                    let sizes = run.start + shorter..run.end + shorter;
                    let before = (&self.sums[run.clone()], &self.squares[run]);
                    let sizes = (&self.counts[sizes.clone()], &self.shares[sizes]);
                    fill(values, before, (self.sums[end], self.squares[end] - self.error), sizes, cost);
                }
            },
        );
    }
}

/// The costs of one run. All it needs comes by value, so that no store can touch it and several go side by side.
#[inline(always)]
fn fill(
    values: &mut [f64],
    (sums, squares): (&[f64], &[f64]),
    (sum, square): (f64, f64),
    (counts, shares): (&[f64], &[f64]),
    cost: impl Fn(f64, f64, f64) -> f64 + Copy,
) {
    let before = sums.iter().zip(squares);
    for ((value, (sum_before, square_before)), (count, share)) in
        values.iter_mut().zip(before).zip(counts.iter().zip(shares))
    {
        let sum = sum - sum_before;
        let scatter = square - square_before - sum * sum * share;
        *value = cost(*count, *share, if scatter > 0.0 { scatter } else { 0.0 });
    }
}

/// Starts that follow one another, run by run.
struct Runs<'a>(&'a [usize]);

impl Iterator for Runs<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let starts = self.0;
        let first = *starts.first()?;
        // Runs are long: doubling, then halving finds the end of one in few steps.
        let follows = |index: usize| starts.get(index).is_some_and(|&start| start == first + index);
        let mut reach = 1;
        while follows(2 * reach - 1) {
            reach *= 2;
        }
        let (mut inside, mut outside) = (reach - 1, 2 * reach - 1);
        while outside - inside > 1 {
            let middle = usize::midpoint(inside, outside);
            if follows(middle) {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        self.0 = &starts[inside + 1..];
        Some(first..first + inside + 1)
    }
}
