//! Another cost with a charge for the length of each segment: `cost(start, end) + charge * ln(end - start)`, as the
//! modified BIC asks for.
//!
//! A split may raise it, by `charge * ln(n / 4)` at most: `ln a + ln b - ln(a + b)` is largest for two halves. Searches
//! that prune have to leave that much room.

use super::Cost;

/// The cost with its charge, in the unit of the cost; 0 leaves it as it is.
pub(crate) struct Lengths<'a, C> {
    pub(crate) cost: &'a mut C,
    pub(crate) charge: f64,
}

impl<C: Cost> Lengths<'_, C> {
    /// How much a split of `n_samples` or fewer may raise the cost.
    pub(crate) fn room(&self, n_samples: usize) -> f64 {
        self.charge * (n_samples as f64 / 4.0).ln().max(0.0)
    }

    fn charge_all(&self, starts: &[usize], end: usize, values: &mut [f64]) {
        if self.charge > 0.0 {
            for (&start, value) in starts.iter().zip(values) {
                *value += self.of_length(start, end);
            }
        }
    }

    fn of_length(&self, start: usize, end: usize) -> f64 {
        if self.charge == 0.0 { 0.0 } else { self.charge * ((end - start) as f64).ln() }
    }
}

impl<C: Cost> Cost for Lengths<'_, C> {
    fn of(&self, start: usize, end: usize) -> f64 {
        self.cost.of(start, end) + self.of_length(start, end)
    }

    fn best_place(&self, start: usize, end: usize, first: usize, last: usize, jump: usize) -> Option<usize> {
        if self.charge == 0.0 {
            return self.cost.best_place(start, end, first, last, jump);
        }
        let mut best = (f64::INFINITY, None);
        for place in (first..=last).step_by(jump) {
            let left = self.of(start, place) + self.of(place, end);
            if left < best.0 {
                best = (left, Some(place));
            }
        }
        best.1
    }

    fn prices_any_segment(&self) -> bool {
        self.cost.prices_any_segment()
    }

    fn scan(&mut self, starts: &[usize], end: usize, values: &mut Vec<f64>) {
        self.cost.scan(starts, end, values);
        self.charge_all(starts, end, values);
    }

    fn scan_below(&self, starts: &[usize], end: usize, values: &mut Vec<f64>) -> bool {
        let bounds = self.cost.scan_below(starts, end, values);
        if bounds {
            self.charge_all(starts, end, values);
        }
        bounds
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::L2;
    use super::{Cost, Lengths};

    #[test]
    fn two_halves_raise_it_most() {
        let mut cost = L2::new(array![[0.0], [0.0], [0.0], [0.0]].view());
        let charged = Lengths { cost: &mut cost, charge: 3.0 };
        assert_eq!(charged.of(0, 4), 3.0 * 4.0_f64.ln());
        let raised = |at: usize| charged.of(0, at) + charged.of(at, 4) - charged.of(0, 4);
        assert!((raised(2) - charged.room(4)).abs() < 1e-15);
        assert!(raised(1) < raised(2) && raised(3) < raised(2));
    }
}
