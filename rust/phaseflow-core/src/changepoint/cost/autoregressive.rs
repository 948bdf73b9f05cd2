//! Squared distance from the segment's own linear prediction by the samples before, for changes of dynamics:
//! `min over a, b_1..b_p of sum_i (y_i - a - sum_k b_k y_(i-k))^2`.
//!
//! The samples before may lie in the segment before. The first p samples of the signal have too few before them and cost
//! nothing. (ruptures pads: it counts sample p for each of them; from sample p on the two agree.)

use ndarray::ArrayView2;

use super::super::compensated::{Pair, PrefixSums};
use super::{Cost, NeverRaisedBySplitting};

/// A lag whose rest is below this part of its square depends on the others.
const DEPENDENT: f64 = 1e-12;

/// The cost; one set of moments a feature.
#[derive(Debug)]
pub(crate) struct Autoregressive {
    order: usize,
    features: Vec<Moments>,
}

/// Sums of `y_i`, `y_(i-1)`, ..., `y_(i-p)` and of their products, from sample p on; the sample itself comes last.
#[derive(Debug)]
struct Moments {
    samples: usize,
    sums: Vec<PrefixSums>,
    products: Vec<PrefixSums>,
}

impl Autoregressive {
    /// `signal` is (sample, feature).
    pub(crate) fn new(signal: ArrayView2<'_, f64>, order: usize) -> Self {
        let features = signal.columns().into_iter().map(|y| Moments::new(&y.to_vec(), order)).collect();
        Self { order, features }
    }

    /// Mean over features of the variance of what one prediction of the whole signal leaves. A plain mean square: a jump
    /// is one shock, which the prediction follows from then on, and no outlier that a change would explain.
    pub(crate) fn innovation_variance(&self) -> f64 {
        let each = self.features.iter().map(|moments| {
            let count = moments.samples;
            let left = if count == 0 { 0.0 } else { Scatter::new(moments, 0, count).eliminated().rest() };
            left / count.max(1) as f64
        });
        each.sum::<f64>() / self.features.len().max(1) as f64
    }
}

impl Moments {
    fn new(y: &[f64], order: usize) -> Self {
        let lagged = |lag: usize| y[order.min(y.len()) - lag.min(y.len())..].iter().take(y.len().saturating_sub(order));
        let lags: Vec<usize> = (1..=order).chain([0]).collect();
        let product =
            |i: usize, j: usize| PrefixSums::new(lagged(i).zip(lagged(j)).map(|(a, b)| Pair::product(*a, *b)));
        Self {
            samples: y.len().saturating_sub(order),
            sums: lags.iter().map(|&lag| PrefixSums::new(lagged(lag).map(|y| Pair::from(*y)))).collect(),
            products: (0..lags.len())
                .flat_map(|i| (0..=i).map(move |j| (i, j)))
                .map(|(i, j)| product(lags[i], lags[j]))
                .collect(),
        }
    }
}

/// Products of what differs from the means, lower triangle by rows.
struct Scatter {
    size: usize,
    values: Vec<f64>,
}

impl Scatter {
    fn new(moments: &Moments, start: usize, end: usize) -> Self {
        let sums: Vec<Pair> = moments.sums.iter().map(|sums| sums.over(start, end)).collect();
        let size = sums.len();
        let mut values = Vec::with_capacity(moments.products.len());
        let mut products = moments.products.iter();
        for i in 0..size {
            for (&sum, product) in sums[..=i].iter().zip(&mut products) {
                values.push(product.over(start, end).minus(sums[i].times(sum).over(end - start)).value());
            }
        }
        Self { size, values }
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * (i + 1) / 2 + j]
    }

    /// Each lag removed from those after it, and all of them from the sample. A lag that depends on others counts 0.
    fn eliminated(mut self) -> Self {
        let squares: Vec<f64> = (0..self.size - 1).map(|i| self.at(i, i)).collect();
        for (pivot, before) in squares.into_iter().enumerate() {
            let square = self.at(pivot, pivot);
            let kept = square > DEPENDENT * before && square > 0.0;
            for i in pivot + 1..self.size {
                let factor = if kept { self.at(i, pivot) / square } else { 0.0 };
                for j in pivot + 1..=i {
                    self.values[i * (i + 1) / 2 + j] -= factor * self.at(j, pivot);
                }
            }
        }
        self
    }

    /// What the lags leave of the sample, once eliminated.
    fn rest(&self) -> f64 {
        self.at(self.size - 1, self.size - 1).max(0.0)
    }
}

impl Cost for Autoregressive {
    fn of(&self, start: usize, end: usize) -> f64 {
        let (start, end) = (start.saturating_sub(self.order), end.saturating_sub(self.order));
        if end - start <= self.order + 1 {
            return 0.0;
        }
        self.features.iter().map(|moments| Scatter::new(moments, start, end).eliminated().rest()).sum()
    }
}

impl NeverRaisedBySplitting for Autoregressive {}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::{Autoregressive, Cost};

    #[test]
    fn the_cost_is_what_one_sample_before_does_not_say() {
        // Pairs (before, now): (0, 1), (1, 3), (3, 2). Means 4/3 and 2; squares 14/3 and 2; product 1; rest 2 - 3/14.
        let cost = Autoregressive::new(array![[0.0], [1.0], [3.0], [2.0]].view(), 1);
        assert!((cost.of(0, 4) - (2.0 - 3.0 / 14.0)).abs() < 1e-14);
        assert!((cost.of(1, 4) - (2.0 - 3.0 / 14.0)).abs() < 1e-14);
        assert_eq!(cost.of(2, 4), 0.0);
    }

    #[test]
    fn a_recursion_costs_nothing() {
        let mut y = vec![1.0, 2.0];
        for i in 2..60 {
            y.push(0.4 + 1.2 * y[i - 1] - 0.9 * y[i - 2]);
        }
        let signal = Array2::from_shape_vec((60, 1), y).unwrap();
        let cost = Autoregressive::new(signal.view(), 2);
        assert!(cost.of(0, 60) < 1e-12);
        assert!(cost.innovation_variance() < 1e-12);
    }
}
