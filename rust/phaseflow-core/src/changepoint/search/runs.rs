//! Where a signal stands still no changepoint needs to be tried.
//!
//! For a cost that is the least sum of the samples' losses over the parameters of a segment, `min over p of sum_i
//! loss(y_i, p)`, what the samples before a cut and those behind it cost is a minimum of functions linear in the place of
//! the cut, as long as that moves among equal samples: concave, so that it is lowest at an end of where the cut may
//! be. Of two cuts among the same equal samples the same holds for both together, then for the second. So a cheapest
//! segmentation has its changepoints near the ends of runs of equal samples, as near as `min_size` and `jump` let them.
//! Not for lines in x or predictions: their samples differ where their values do not.

use ndarray::ArrayView2;

use super::Grid;

impl Grid {
    /// Of the possible ends of a segment of `signal` (sample, feature) those near a change of its values.
    pub(crate) fn ends_near_changes(self, signal: ArrayView2<'_, f64>) -> Vec<usize> {
        // A cut a segment away from the end of a run, and another one behind that.
        let reach = 2 * (self.min_size + self.jump);
        let changes: Vec<usize> = (1..self.n_samples)
            .filter(|&sample| signal.row(sample) != signal.row(sample - 1))
            .chain([self.n_samples])
            .collect();
        let (mut before, mut next) = (0, 0);
        self.ends()
            .filter(|&end| {
                while changes.get(next).is_some_and(|&change| change < end) {
                    before = changes[next];
                    next += 1;
                }
                end - before <= reach || changes.get(next).is_some_and(|change| change - end <= reach)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::Grid;

    #[test]
    fn ends_inside_long_runs_are_left_out() {
        let signal = Array2::from_shape_fn((40, 1), |(i, _)| if i < 20 { 1.0 } else { 2.0 });
        let near = |min_size, jump| Grid { n_samples: 40, min_size, jump }.ends_near_changes(signal.view());
        // 4 samples from 0, from 20 and from 40.
        assert_eq!(near(1, 1), [1, 2, 3, 4, 16, 17, 18, 19, 20, 21, 22, 23, 24, 36, 37, 38, 39, 40]);
        assert_eq!(near(1, 3), [3, 6, 12, 15, 18, 21, 24, 27, 33, 36, 39, 40]);
    }
}
