//! Optimal partitioning with pruning (PELT: Killick, Fearnhead, Eckley 2012), linear in the samples when changes keep
//! coming.
//!
//! If `F(s) + cost(s, t) > F(t)`, then a last segment that starts at `s` is beaten by one that starts at `t` for every
//! later end, because a split never raises the cost. With `min_size > 1` the segment from `t` must be long enough to
//! exist: `s` may be dropped only for ends from `t + min_size` on. Dropping it at once loses the optimum (ruptures
//! 1.1.10 and ports of it do).

use super::{Grid, changepoints};
use crate::changepoint::cost::NeverRaisedBySplitting;
use crate::{Cancel, Result};

struct Start {
    at: usize,
    /// The first end at which this start cannot be the best any more.
    expires: usize,
}

/// The cheapest segmentation at a penalty.
pub(crate) fn pelt(
    cost: &impl NeverRaisedBySplitting,
    grid: Grid,
    penalty: f64,
    cancel: &Cancel,
) -> Result<Vec<usize>> {
    let mut best = vec![f64::INFINITY; grid.n_samples + 1];
    let mut before = vec![0; grid.n_samples + 1];
    best[0] = -penalty;
    let mut starts = vec![Start { at: 0, expires: usize::MAX }];
    let mut values = Vec::new();
    for end in grid.ends() {
        cancel.check()?;
        starts.retain(|start| start.expires > end);
        values.clear();
        for start in &starts {
            let value = best[start.at] + cost.of(start.at, end);
            values.push(value);
            if start.at + grid.min_size <= end && value + penalty < best[end] {
                (best[end], before[end]) = (value + penalty, start.at);
            }
        }
        for (start, value) in starts.iter_mut().zip(&values) {
            if *value > best[end] {
                start.expires = start.expires.min(end + grid.min_size);
            }
        }
        starts.push(Start { at: end, expires: usize::MAX });
    }
    Ok(changepoints(&before))
}
