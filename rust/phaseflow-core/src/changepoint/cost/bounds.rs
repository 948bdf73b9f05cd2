//! Quick bounds from below for costs of the scatter of one feature, `sum (y - mean)^2`, over many segments with one end.

use std::ops::Range;

use crate::changepoint::compensated::PrefixSums;
use crate::vectorize::vectorize;

/// Prefix sums of the samples and their squares in doubles.
#[derive(Debug)]
pub(super) struct Bounds {
    sums: Vec<f64>,
    squares: Vec<f64>,
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
        Self { sums, squares, error }
    }

    /// `cost` of the number of samples, 1 over it, and a scatter that is none above the true one, for the segments from
    /// each of `starts` to `end`.
    pub(super) fn scan(
        &self,
        starts: &[usize],
        end: usize,
        values: &mut Vec<f64>,
        cost: impl Fn(f64, f64, f64) -> f64,
    ) {
        values.clear();
        vectorize(|| in_runs(starts, &mut |run| self.run(run, end, values, &cost)));
    }

    #[inline(always)]
    fn run(&self, starts: Range<usize>, end: usize, values: &mut Vec<f64>, cost: &impl Fn(f64, f64, f64) -> f64) {
        let (sum, square) = (self.sums[end], self.squares[end]);
        let longest = (end - starts.start) as f64;
        let both = self.sums[starts.clone()].iter().zip(&self.squares[starts]).enumerate();
        values.extend(both.map(|(index, (sum_before, square_before))| {
            let count = longest - index as f64;
            let part = 1.0 / count;
            let sum = sum - sum_before;
            let scatter = square - square_before - sum * sum * part - self.error;
            cost(count, part, if scatter > 0.0 { scatter } else { 0.0 })
        }));
    }
}

/// Starts that follow one another, run by run.
#[inline(always)]
fn in_runs(starts: &[usize], work: &mut impl FnMut(Range<usize>)) {
    let mut rest = starts;
    while let Some(&first) = rest.first() {
        // Runs are long: doubling, then halving finds the end of one in few steps.
        let follows = |index: usize| rest.get(index).is_some_and(|&start| start == first + index);
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
        work(first..first + inside + 1);
        rest = &rest[inside + 1..];
    }
}
