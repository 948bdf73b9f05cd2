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

/// The cheapest segmentation at a penalty.
pub(crate) fn pelt(
    cost: &mut impl NeverRaisedBySplitting,
    grid: Grid,
    penalty: f64,
    cancel: &Cancel,
) -> Result<Vec<usize>> {
    let mut best = vec![f64::INFINITY; grid.n_samples + 1];
    let mut before = vec![0; grid.n_samples + 1];
    best[0] = -penalty;
    let mut starts = vec![0];
    // The first end at which each start cannot be the best any more.
    let mut expires = vec![usize::MAX; grid.n_samples + 1];
    let mut values = Vec::new();
    for end in grid.ends() {
        cancel.check()?;
        starts.retain(|&start| expires[start] > end);
        cost.scan(&starts, end, &mut values);
        for (&start, value) in starts.iter().zip(&values) {
            let value = best[start] + value + penalty;
            if start + grid.min_size <= end && value < best[end] {
                (best[end], before[end]) = (value, start);
            }
        }
        for (&start, value) in starts.iter().zip(&values) {
            if best[start] + value > best[end] {
                expires[start] = expires[start].min(end + grid.min_size);
            }
        }
        starts.push(end);
    }
    Ok(changepoints(&before))
}
