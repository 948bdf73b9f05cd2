//! Twice the negative log-likelihood of Poisson counts with the segment's own rate, without what no rate changes:
//! `2 (S - S ln(S / count))`, S the sum of the counts; for changes of rate.

use ndarray::ArrayView2;

use super::super::compensated::{Pair, PrefixSums};
use super::{Cost, NeverRaisedBySplitting};

/// One set of prefix sums a feature.
#[derive(Debug)]
pub(crate) struct Poisson(Vec<PrefixSums>);

impl Poisson {
    /// `signal` is (sample, feature), nowhere negative.
    pub(crate) fn new(signal: ArrayView2<'_, f64>) -> Self {
        Self(signal.columns().into_iter().map(|y| PrefixSums::new(y.iter().map(|y| Pair::from(*y)))).collect())
    }
}

impl Cost for Poisson {
    fn of(&self, start: usize, end: usize) -> f64 {
        let one = |sums: &PrefixSums| {
            let sum = sums.over(start, end).value();
            if sum > 0.0 { 2.0 * sum * (1.0 - (sum / (end - start) as f64).ln()) } else { 0.0 }
        };
        self.0.iter().map(one).sum()
    }
}

impl NeverRaisedBySplitting for Poisson {}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::{Cost, Poisson};

    #[test]
    fn counts_cost_their_deviance_up_to_what_no_rate_changes() {
        let cost = Poisson::new(array![[0.0], [2.0], [4.0]].view());
        assert!((cost.of(0, 3) - 2.0 * (6.0 - 6.0 * 2.0_f64.ln())).abs() < 1e-14);
        assert_eq!(cost.of(0, 1), 0.0);
    }
}
