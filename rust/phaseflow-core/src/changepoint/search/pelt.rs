//! Optimal partitioning with pruning (PELT: Killick, Fearnhead, Eckley 2012), linear in the samples when changes keep
//! coming.
//!
//! If `F(s) + cost(s, t) > F(t)`, then a last segment that starts at `s` is beaten by one that starts at `t` for every
//! later end, because a split never raises the cost. With `min_size > 1` the segment from `t` must be long enough to
//! exist: `s` may be dropped only for ends from `t + min_size` on. Dropping it at once loses the optimum (ruptures
//! 1.1.10 and ports of it do). Where a split may raise the cost by `room`, `F(s) + cost(s, t) > F(t) + room` is what
//! drops a start. Of equals the earlier one is dropped: where a signal keeps to one line, a start costs as much as any.
//!
//! While a segment goes on, most of its samples stay possible starts, and nearly all of them lie almost a penalty above
//! the best one. The same inequality says when they need to be looked at again: all were priced at `t`, and at a later
//! end u
//!
//! ```text
//! F(s) + cost(s, u) >= F(s) + cost(s, t) + cost(t, u) - room
//! ```
//!
//! so as long as the lowest of these bounds, one cost for all of them, lies above the best of the few *near* starts
//! (those priced low at t, and those that came since), the *far* ones cannot be the best. Where it does not, at a change
//! above all, or once as many starts came as the far ones cost to price, all are priced anew.

use super::{Grid, changepoints};
use crate::changepoint::cost::{Cost, Lengths, NeverRaisedBySplitting};
use crate::{Cancel, Result};

/// Starts within this part of the penalty of the best one are near.
const NEAR: f64 = 0.5;
/// How far bounds must be above the best start, beside their own size: sums of costs are rounded.
const ROUNDING: f64 = 1e-12;

/// The cheapest segmentation at a penalty, of those whose segments end at one of `ends` (increasing; the end of the
/// signal is the last).
pub(crate) fn pelt(
    cost: &mut Lengths<'_, impl NeverRaisedBySplitting>,
    grid: Grid,
    ends: impl IntoIterator<Item = usize>,
    penalty: f64,
    cancel: &Cancel,
) -> Result<Vec<usize>> {
    let mut best = vec![f64::INFINITY; grid.n_samples + 1];
    let mut before = vec![0; grid.n_samples + 1];
    best[0] = -penalty;
    let room = cost.room(grid.n_samples);
    let waits = cost.prices_any_segment();
    let mut starts = vec![0];
    // The first end at which each start cannot be the best any more.
    let mut expires = vec![usize::MAX; grid.n_samples + 1];
    let mut near = vec![0];
    let mut far = Far { since: [0], lowest: f64::INFINITY };
    let mut most_near = 0;
    let mut values = Vec::new();
    for end in ends {
        cancel.check()?;
        let mut least = (f64::INFINITY, 0);
        if waits {
            least = lowest(cost, grid, &best, &near, end, &mut values);
        }
        if !waits || near.len() >= most_near || !far.stays_above(least.0, cost, end, room, &mut values) {
            starts.retain(|&start| expires[start] > end);
            least = lowest(cost, grid, &best, &starts, end, &mut values);
            far = Far { since: [end], lowest: f64::INFINITY };
            near.clear();
            for (&value, &start) in values.iter().zip(&starts) {
                if value >= least.0 + penalty + room && value > least.0 {
                    expires[start] = expires[start].min(end + grid.min_size);
                }
                if value > least.0 + NEAR * penalty + room && start + grid.min_size <= end {
                    far.lowest = far.lowest.min(value);
                } else {
                    near.push(start);
                }
            }
            most_near = near.len() + (2 * starts.len()).isqrt();
        }
        (best[end], before[end]) = (least.0 + penalty, least.1);
        starts.push(end);
        near.push(end);
    }
    Ok(changepoints(&before))
}

/// Starts that were last priced at an end, the lowest of them at `lowest`.
struct Far {
    since: [usize; 1],
    lowest: f64,
}

impl Far {
    /// Whether none of them is the best at `end`, where a near one reaches `least`.
    fn stays_above(&self, least: f64, cost: &impl Cost, end: usize, room: f64, values: &mut Vec<f64>) -> bool {
        if self.lowest == f64::INFINITY {
            return true;
        }
        let more = if cost.scan_below(&self.since, end, values) { values[0] } else { cost.of(self.since[0], end) };
        let slack = ROUNDING * (self.lowest.abs() + more.abs() + least.abs());
        self.lowest + more - room - slack > least
    }
}

/// The least price of a segmentation up to `end` whose last segment begins at one of `starts`, and that start; in
/// `values` the prices with all of them, or bounds from below.
fn lowest(
    cost: &mut impl Cost,
    grid: Grid,
    best: &[f64],
    starts: &[usize],
    end: usize,
    values: &mut Vec<f64>,
) -> (f64, usize) {
    // Bounds from below do: a start whose bound is too dear is too dear itself, and only few others are.
    let bounds = cost.scan_below(starts, end, values);
    if !bounds {
        cost.scan(starts, end, values);
    }
    values.iter_mut().zip(starts).for_each(|(value, &start)| *value += best[start]);
    let possible = starts.partition_point(|&start| start + grid.min_size <= end);
    let mut least = (f64::INFINITY, 0);
    for (&value, &start) in values[..possible].iter().zip(starts) {
        if value < least.0 {
            least = (value, start);
        }
    }
    if bounds && possible > 0 {
        let exact = |start: usize| best[start] + cost.of(start, end);
        least.0 = exact(least.1);
        for (&bound, &start) in values[..possible].iter().zip(starts) {
            if bound <= least.0 && start != least.1 {
                let value = exact(start);
                if value < least.0 || (value == least.0 && start < least.1) {
                    least = (value, start);
                }
            }
        }
    }
    least
}
