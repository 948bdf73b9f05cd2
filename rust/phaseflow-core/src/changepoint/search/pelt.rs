//! Optimal partitioning with pruning (PELT: Killick, Fearnhead, Eckley 2012), linear in the samples when changes keep
//! coming.
//!
//! If `F(s) + cost(s, t) > F(t)`, then a last segment that starts at `s` is beaten by one that starts at `t` for every
//! later end, because a split never raises the cost. With `min_size > 1` the segment from `t` must be long enough to
//! exist: `s` may be dropped only for ends from `t + min_size` on. Dropping it at once loses the optimum (ruptures
//! 1.1.10 and ports of it do). Where a split may raise the cost by `room`, `F(s) + cost(s, t) > F(t) + room` is what
//! drops a start.

use super::{Grid, changepoints};
use crate::changepoint::cost::{Cost, Lengths, NeverRaisedBySplitting};
use crate::{Cancel, Result};

/// The cheapest segmentation at a penalty.
pub(crate) fn pelt(
    cost: &mut Lengths<'_, impl NeverRaisedBySplitting>,
    grid: Grid,
    penalty: f64,
    cancel: &Cancel,
) -> Result<Vec<usize>> {
    let mut best = vec![f64::INFINITY; grid.n_samples + 1];
    let mut before = vec![0; grid.n_samples + 1];
    best[0] = -penalty;
    let mut starts = vec![0];
    // The first end at which each start cannot be the best any more, and the first of those.
    let mut expires = vec![usize::MAX; grid.n_samples + 1];
    let mut first_to_expire = usize::MAX;
    let mut values = Vec::new();
    let room = cost.room(grid.n_samples);
    for end in grid.ends() {
        cancel.check()?;
        if end >= first_to_expire {
            starts.retain(|&start| expires[start] > end);
            first_to_expire = starts.iter().map(|&start| expires[start]).min().unwrap_or(usize::MAX);
        }
        // Bounds from below do: a start whose bound is too dear is too dear itself, and only few others are.
        let bounds = cost.scan_below(&starts, end, &mut values);
        if !bounds {
            cost.scan(&starts, end, &mut values);
        }
        values.iter_mut().zip(&starts).for_each(|(value, &start)| *value += best[start]);
        let possible = starts.partition_point(|&start| start + grid.min_size <= end);
        let mut least = (f64::INFINITY, 0);
        for (&value, &start) in values[..possible].iter().zip(&starts) {
            if value < least.0 {
                least = (value, start);
            }
        }
        if bounds && possible > 0 {
            let exact = |start: usize| best[start] + cost.of(start, end);
            least.0 = exact(least.1);
            for (&bound, &start) in values[..possible].iter().zip(&starts) {
                if bound <= least.0 && start != least.1 {
                    let value = exact(start);
                    if value < least.0 || (value == least.0 && start < least.1) {
                        least = (value, start);
                    }
                }
            }
        }
        (best[end], before[end]) = (least.0 + penalty, least.1);
        for (&value, &start) in values.iter().zip(&starts) {
            if value > best[end] + room {
                expires[start] = expires[start].min(end + grid.min_size);
                first_to_expire = first_to_expire.min(expires[start]);
            }
        }
        starts.push(end);
    }
    Ok(changepoints(&before))
}
