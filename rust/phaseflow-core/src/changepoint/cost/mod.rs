//! What a segment costs: how badly one simple model fits the samples `[start, end)`.

mod autoregressive;
mod bounds;
mod l1;
mod l2;
mod lengths;
mod linear;
mod log_below;
mod normal;
mod poisson;
mod rbf;

pub(crate) use autoregressive::Autoregressive;
pub(crate) use l1::L1;
pub(crate) use l2::L2;
pub(crate) use lengths::Lengths;
pub(crate) use linear::{LineMoments, Linear};
pub(crate) use normal::Normal;
pub(crate) use poisson::Poisson;
pub(crate) use rbf::Rbf;

/// The cost of any segment of one signal.
pub(crate) trait Cost {
    /// Cost of the samples `start..end`, at least one.
    fn of(&self, start: usize, end: usize) -> f64;

    /// The place at which a cut of `start..end` gains most, of several the first: of every `jump`th from `first` to
    /// `last`, inside the segment.
    fn best_place(&self, start: usize, end: usize, first: usize, last: usize, jump: usize) -> Option<usize> {
        let mut best = (f64::INFINITY, None);
        for place in (first..=last).step_by(jump) {
            let left = self.of(start, place) + self.of(place, end);
            if left < best.0 {
                best = (left, Some(place));
            }
        }
        best.1
    }

    /// Costs of the segments from each of `starts` (increasing, below `end`) to `end`. A cost may rely on calls
    /// coming with growing ends and without new starts below the first one, or else with a smaller end.
    fn scan(&mut self, starts: &[usize], end: usize, values: &mut Vec<f64>) {
        values.clear();
        values.extend(starts.iter().map(|&start| self.of(start, end)));
    }

    /// Whether [`Cost::of`] and [`Cost::scan`] price any segments about as quickly as any others; false where a scan goes
    /// on from the one before.
    fn prices_any_segment(&self) -> bool {
        true
    }

    /// Quick bounds in place of [`Cost::scan`], none above its cost and most of them near; false where there are none.
    fn scan_below(&self, _starts: &[usize], _end: usize, _values: &mut Vec<f64>) -> bool {
        false
    }
}

/// A cost that a split never raises: `of(s, u) >= of(s, t) + of(t, u)`. Only such a cost may be pruned.
pub(crate) trait NeverRaisedBySplitting: Cost {}
