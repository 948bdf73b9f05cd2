//! Twice the negative log-likelihood of normal samples with the segment's own mean and covariance, without its constant:
//! `count * ln det(C + floor)`, for changes of level, spread or correlation; or, for changes of spread or correlation alone,
//! with the scatter C about one mean, that of the whole signal.
//!
//! The floor on the diagonal keeps a constant segment finite. With it the cost is still a minimum over the segment's
//! parameters, so that a split never raises it.

use ndarray::ArrayView2;

use super::super::compensated::{Pair, PrefixSums};
use super::bounds::Bounds;
use super::log_below::log_below;
use super::{Cost, NeverRaisedBySplitting};

/// Prefix sums of the features and of their products, `products[i][j]` for `j <= i`.
#[derive(Debug)]
pub(crate) struct Normal {
    sums: Vec<PrefixSums>,
    products: Vec<Vec<PrefixSums>>,
    floor: f64,
    bounds: Option<Bounds>,
}

impl Normal {
    /// `signal` is (sample, feature) and has mean 0 where segments share `one_mean`; `floor` a variance.
    pub(crate) fn new(signal: ArrayView2<'_, f64>, floor: f64, one_mean: bool) -> Self {
        let columns: Vec<_> = signal.columns().into_iter().collect();
        let product =
            |i: usize, j: usize| PrefixSums::new(columns[i].iter().zip(columns[j]).map(|(a, b)| Pair::product(*a, *b)));
        // Nothing of the scatter is explained by a mean that is known.
        let part_of_mean = |y: &f64| if one_mean { Pair::default() } else { Pair::from(*y) };
        let sums: Vec<_> = columns.iter().map(|y| PrefixSums::new(y.iter().map(part_of_mean))).collect();
        let products: Vec<Vec<_>> = (0..columns.len()).map(|i| (0..=i).map(|j| product(i, j)).collect()).collect();
        let largest = signal.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let bounds =
            (columns.len() == 1 && floor >= f64::MIN_POSITIVE).then(|| Bounds::new(&sums[0], &products[0][0], largest));
        Self { sums, products, floor, bounds }
    }

    fn covariance(&self, i: usize, j: usize, start: usize, end: usize) -> f64 {
        let (a, b) = (self.sums[i].over(start, end), self.sums[j].over(start, end));
        let scatter = self.products[i][j].over(start, end).minus(a.times(b).over(end - start)).value();
        scatter / (end - start) as f64
    }
}

impl Cost for Normal {
    fn of(&self, start: usize, end: usize) -> f64 {
        let count = (end - start) as f64;
        let features = self.sums.len();
        if features == 1 {
            return count * (self.covariance(0, 0, start, end).max(0.0) + self.floor).ln();
        }
        // Cholesky, row by row; no pivot falls below the floor but by rounding.
        let mut lower: Vec<f64> = Vec::with_capacity(features * (features + 1) / 2);
        let row = |i: usize| i * (i + 1) / 2;
        let mut log_det = 0.0;
        for i in 0..features {
            for j in 0..=i {
                let shared: f64 = (0..j).map(|k| lower[row(i) + k] * lower[row(j) + k]).sum();
                let rest = self.covariance(i, j, start, end) - shared;
                if i == j {
                    let pivot = (rest + self.floor).max(self.floor);
                    log_det += pivot.ln();
                    lower.push(pivot.sqrt());
                } else {
                    let value = rest / lower[row(j) + j];
                    lower.push(value);
                }
            }
        }
        count * log_det
    }

    fn scan_below(&self, starts: &[usize], end: usize, values: &mut Vec<f64>) -> bool {
        let Some(bounds) = &self.bounds else { return false };
        let floor = self.floor;
        bounds.scan(starts, end, values, move |count, share, scatter| count * log_below(scatter * share + floor));
        true
    }
}

impl NeverRaisedBySplitting for Normal {}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::{Cost, Normal};

    #[test]
    fn the_cost_is_the_log_of_the_variance() {
        // 1, 2, 6: mean 3, variance 14/3.
        let cost = Normal::new(array![[9.0], [1.0], [2.0], [6.0]].view(), 0.0, false);
        assert!((cost.of(1, 4) - 3.0 * (14.0_f64 / 3.0).ln()).abs() < 1e-14);
    }

    #[test]
    fn with_one_mean_the_cost_is_the_log_of_the_mean_square() {
        let cost = Normal::new(array![[9.0], [1.0], [2.0], [6.0]].view(), 0.0, true);
        assert!((cost.of(1, 4) - 3.0 * (41.0_f64 / 3.0).ln()).abs() < 1e-14);
    }

    #[test]
    fn two_features_cost_the_log_of_their_determinant() {
        // Deviations (-1, -1), (0, 2), (1, -1) over 3: variances 2/3 and 2, covariance 0; then sheared.
        let plain = Normal::new(array![[0.0, 0.0], [1.0, 3.0], [2.0, 0.0]].view(), 0.0, false);
        let sheared = Normal::new(array![[0.0, 0.0], [1.0, 4.0], [2.0, 2.0]].view(), 0.0, false);
        assert!((plain.of(0, 3) - 3.0 * (4.0_f64 / 3.0).ln()).abs() < 1e-14);
        assert!((sheared.of(0, 3) - plain.of(0, 3)).abs() < 1e-13);
    }
}
