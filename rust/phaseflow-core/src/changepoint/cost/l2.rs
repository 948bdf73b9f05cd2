//! Squared distance from the segment's mean: `sum_i |y_i - mean|^2`, for changes of level.

use std::sync::OnceLock;

use ndarray::ArrayView2;

use super::super::compensated::{Pair, PrefixSums};
use super::bounds::Bounds;
use super::{Cost, NeverRaisedBySplitting};
use crate::vectorize::vectorize;

/// One pair of prefix sums a feature.
#[derive(Debug)]
pub(crate) struct L2 {
    sums: Vec<PrefixSums>,
    squares: PrefixSums,
    largest: f64,
    /// Made when they are first asked for: of the exact searches only.
    bounds: OnceLock<Bounds>,
}

impl L2 {
    /// `signal` is (sample, feature).
    pub(crate) fn new(signal: ArrayView2<'_, f64>) -> Self {
        let sums = signal.columns().into_iter().map(|y| PrefixSums::new(y.iter().map(|y| Pair::from(*y)))).collect();
        let square = |row: ndarray::ArrayView1<'_, f64>| {
            row.iter().fold(Pair::default(), |sum, y| sum.plus(Pair::product(*y, *y)))
        };
        let largest = signal.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let squares = if signal.ncols() == 1 {
            PrefixSums::new(signal.iter().map(|y| Pair::product(*y, *y)))
        } else {
            PrefixSums::new(signal.rows().into_iter().map(square))
        };
        Self { sums, squares, largest, bounds: OnceLock::new() }
    }
}

impl Cost for L2 {
    fn of(&self, start: usize, end: usize) -> f64 {
        let squares = self.squares.over(start, end);
        let explained = self.sums.iter().fold(Pair::default(), |explained, sums| {
            let sum = sums.over(start, end);
            explained.plus(sum.times(sum).over(end - start))
        });
        squares.minus(explained).value().max(0.0)
    }

    /// With d the sum of the samples before the cut less as many means of all, a cut after k of n explains
    /// `d^2 n / (k (n - k))`: in doubles, because only the largest is asked for.
    fn best_place(&self, start: usize, end: usize, first: usize, last: usize, jump: usize) -> Option<usize> {
        let count = (end - start) as f64;
        let mut gains = vec![0.0; (last - first) / jump + 1];
        vectorize(
            #[inline(always)]
            || {
                for sums in &self.sums {
                    let mean = sums.over(start, end).value() / count;
                    sums.add_squares_about(start, first, jump, mean, &mut gains);
                }
                for (index, gain) in gains.iter_mut().enumerate() {
                    let before = (first - start + index * jump) as f64;
                    *gain /= before * (count - before);
                }
            },
        );
        let best = gains
            .iter()
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |best, (index, &gain)| if gain > best.1 { (index, gain) } else { best });
        Some(first + best.0 * jump)
    }

    fn scan_below(&self, starts: &[usize], end: usize, values: &mut Vec<f64>) -> bool {
        let [sums] = self.sums.as_slice() else { return false };
        let bounds = self.bounds.get_or_init(|| Bounds::new(sums, &self.squares, self.largest));
        bounds.scan(starts, end, values, |_, _, scatter| scatter);
        true
    }
}

impl NeverRaisedBySplitting for L2 {}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::{Cost, L2};

    #[test]
    fn the_cost_of_three_numbers_is_their_squared_distance_from_their_mean() {
        // 1, 2, 6: mean 3, distances 2, 1, 3.
        let cost = L2::new(array![[9.0], [1.0], [2.0], [6.0]].view());
        assert_eq!(cost.of(1, 4), 14.0);
        assert_eq!(cost.of(0, 1), 0.0);
    }

    #[test]
    fn features_add_up() {
        let cost = L2::new(array![[0.0, 1.0], [2.0, 5.0]].view());
        assert_eq!(cost.of(0, 2), 2.0 + 8.0);
    }
}
