//! What a segment costs: how badly one simple model fits the samples `[start, end)`.

mod l2;
mod linear;

pub(crate) use l2::L2;
pub(crate) use linear::{LineMoments, Linear};

/// The cost of any segment of one signal.
pub(crate) trait Cost {
    /// Cost of the samples `start..end`, at least one.
    fn of(&self, start: usize, end: usize) -> f64;
}

/// A cost that a split never raises: `of(s, u) >= of(s, t) + of(t, u)`. Only such a cost may be pruned.
pub(crate) trait NeverRaisedBySplitting: Cost {}
