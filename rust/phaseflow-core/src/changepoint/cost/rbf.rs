//! Squared distance from the segment's mean in the space of the Gaussian kernel `k(a, b) = exp(-gamma |a - b|^2)`:
//! `count - sum_ij k(y_i, y_j) / count`, for changes of any property of the distribution (Arlot, Celisse, Harchaoui 2019).
//!
//! `gamma` is 1 over the median of the squared distances, of at most [`PAIRS`] pairs. The sums for all starts
//! grow with the end, one row of the kernel at a time: memory is linear in the samples, time quadratic.

use ndarray::{Array2, ArrayView2};

use super::{Cost, NeverRaisedBySplitting};
use crate::exponential::exp;
use crate::median::median;
use crate::random::Random;
use crate::vectorize::vectorize;

/// Pairs the median is taken over.
const PAIRS: usize = 200_000;

/// The kernel of one signal, and how far its sums have come.
#[derive(Debug)]
pub(crate) struct Rbf {
    /// (feature, sample).
    signal: Array2<f64>,
    gamma: f64,
    /// `sums[start]`: sum of the kernel over all pairs within `start..reached`.
    sums: Vec<f64>,
    reached: usize,
}

impl Rbf {
    /// `signal` is (sample, feature).
    pub(crate) fn new(signal: ArrayView2<'_, f64>) -> Self {
        let n_samples = signal.nrows();
        let by_feature = signal.t().as_standard_layout().into_owned();
        let mut cost = Self { signal: by_feature, gamma: 1.0, sums: vec![0.0; n_samples], reached: 0 };
        let every = n_samples * n_samples.saturating_sub(1) / 2;
        let mut distances: Vec<f64> = if every <= PAIRS {
            (0..n_samples).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| cost.distance(i, j)).collect()
        } else {
            let mut random = Random::new(0);
            let draw = |_| {
                let i = random.below(n_samples);
                let j = random.below(n_samples - 1);
                cost.distance(i, if j < i { j } else { j + 1 })
            };
            (0..PAIRS).map(draw).collect()
        };
        if !distances.is_empty() {
            let median = median(&mut distances);
            if median > 0.0 {
                cost.gamma = 1.0 / median;
            }
        }
        cost
    }

    fn distance(&self, i: usize, j: usize) -> f64 {
        self.signal.column(i).iter().zip(self.signal.column(j)).map(|(a, b)| (a - b) * (a - b)).sum()
    }

    fn kernel(&self, i: usize, j: usize) -> f64 {
        exp(-self.gamma * self.distance(i, j))
    }

    /// Kernels of the sample `row` with those from `first` up to it.
    fn kernels(&self, first: usize, row: usize, values: &mut Vec<f64>) {
        values.clear();
        values.resize(row - first, 0.0);
        vectorize(
            #[inline(always)]
            || {
                for y in self.signal.rows() {
                    let own = y[row];
                    // The rows of an array in standard layout are slices.
                    for (value, other) in values.iter_mut().zip(y.as_slice().map_or(&[][..], |y| &y[first..row])) {
                        *value += (own - other) * (own - other);
                    }
                }
                values.iter_mut().for_each(|value| *value = exp(-self.gamma * *value));
            },
        );
    }

    /// The lower triangle of the kernel's matrix, the diagonal included.
    pub(crate) fn rows(&self) -> Vec<Vec<f64>> {
        let row = |row: usize| {
            let mut values = Vec::new();
            self.kernels(0, row, &mut values);
            values.push(1.0);
            values
        };
        (0..self.signal.ncols()).map(row).collect()
    }

    /// Mean squared distance of neighbours in the kernel's space, halved: the variance of independent noise there.
    pub(crate) fn noise_variance(&self) -> f64 {
        let pairs = self.signal.ncols().saturating_sub(1);
        (1..=pairs).map(|i| 1.0 - self.kernel(i, i - 1)).sum::<f64>() / pairs.max(1) as f64
    }
}

impl Cost for Rbf {
    fn of(&self, start: usize, end: usize) -> f64 {
        let apart: f64 = (start..end).map(|i| (start..i).map(|j| self.kernel(i, j)).sum::<f64>()).sum();
        let count = (end - start) as f64;
        count - (count + 2.0 * apart) / count
    }

    fn scan(&mut self, starts: &[usize], end: usize, values: &mut Vec<f64>) {
        if end < self.reached {
            self.sums.fill(0.0);
            self.reached = 0;
        }
        let first = starts.first().copied().unwrap_or(end);
        for row in self.reached..end {
            let first = first.min(row);
            self.kernels(first, row, values);
            let mut apart = 0.0;
            for (sum, kernel) in self.sums[first..row].iter_mut().zip(values.iter()).rev() {
                apart += kernel;
                *sum += 1.0 + 2.0 * apart;
            }
            self.sums[row] += 1.0;
        }
        self.reached = end;
        values.clear();
        values.extend(starts.iter().map(|&start| {
            let count = (end - start) as f64;
            (count - self.sums[start] / count).max(0.0)
        }));
    }

    fn prices_any_segment(&self) -> bool {
        false
    }
}

impl NeverRaisedBySplitting for Rbf {}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{Cost, Rbf};
    use crate::random::Random;

    #[test]
    fn sums_that_grow_are_the_sums_of_the_segment() {
        let mut random = Random::new(9);
        let mut cost = Rbf::new(Array2::from_shape_fn((30, 2), |_| random.normal()).view());
        let mut values = Vec::new();
        for (starts, end) in [(vec![0, 3, 7], 12), (vec![3, 7, 12], 20), (vec![7, 19], 21), (vec![0, 1], 5)] {
            cost.scan(&starts, end, &mut values);
            for (start, value) in starts.iter().zip(&values) {
                assert!((cost.of(*start, end) - value).abs() < 1e-12);
            }
        }
    }
}
