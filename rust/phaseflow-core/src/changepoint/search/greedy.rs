//! Greedy searches: fast for any cost, not exact.
//!
//! Binary segmentation (Scott and Knott 1974) cuts, again and again, where a cut gains most. Bottom-up (Keogh et al.
//! 2001) starts from the smallest segments and joins, again and again, the neighbours whose joining costs least.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Grid;
use crate::changepoint::cost::Cost;
use crate::{Cancel, Result};

/// Places that are tried between two looks at whether to stop.
const AT_ONCE: usize = 4096;

/// When enough is cut or joined.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// A changepoint must be worth more than this.
    Penalty(f64),
    /// At this number of changepoints.
    Count(usize),
}

/// A heap entry: the largest `key` first, of equal keys the earliest place.
pub(super) struct Entry<T> {
    pub(super) key: f64,
    pub(super) place: usize,
    pub(super) what: T,
}

/// A cut, what it gains, and the segment `(start, end)` it cuts.
pub(super) type Cut = Entry<(usize, usize)>;

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key).then(other.place.cmp(&self.place))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

/// Cuts from the whole signal down; fewer changepoints than counted where no more fit.
pub(crate) fn binary_segmentation(cost: &impl Cost, grid: Grid, stop: Stop, cancel: &Cancel) -> Result<Vec<usize>> {
    let mut cuts = BinaryHeap::new();
    cuts.extend(best_cut(cost, grid, 0, grid.n_samples, cancel)?);
    let mut found = Vec::new();
    while let Some(Entry { key: gain, place, what: (start, end) }) = cuts.pop() {
        let enough = match stop {
            Stop::Penalty(penalty) => gain <= penalty,
            Stop::Count(count) => found.len() == count,
        };
        if enough {
            break;
        }
        found.push(place);
        cuts.extend(best_cut(cost, grid, start, place, cancel)?);
        cuts.extend(best_cut(cost, grid, place, end, cancel)?);
    }
    found.sort_unstable();
    Ok(found)
}

/// The cut of `start..end` that gains most, of several the first.
pub(super) fn best_cut(cost: &impl Cost, grid: Grid, start: usize, end: usize, cancel: &Cancel) -> Result<Option<Cut>> {
    cancel.check()?;
    if start + 2 * grid.min_size > end {
        return Ok(None);
    }
    let whole = cost.of(start, end);
    let first = (start + grid.min_size).div_ceil(grid.jump) * grid.jump;
    let last = end - grid.min_size;
    let mut best: Option<Cut> = None;
    for from in (first..=last).step_by(AT_ONCE * grid.jump) {
        cancel.check()?;
        let to = last.min(from + (AT_ONCE - 1) * grid.jump);
        let Some(place) = cost.best_place(start, end, from, to, grid.jump) else { continue };
        let gain = whole - cost.of(start, place) - cost.of(place, end);
        if best.as_ref().is_none_or(|best| gain > best.key) {
            best = Some(Entry { key: gain, place, what: (start, end) });
        }
    }
    Ok(best)
}

/// Joins from the smallest segments up; fewer changepoints than counted where no more fit.
pub(crate) fn bottom_up(cost: &impl Cost, grid: Grid, stop: Stop, cancel: &Cancel) -> Result<Vec<usize>> {
    let step = grid.min_size.div_ceil(grid.jump) * grid.jump;
    let last = grid.n_samples - grid.min_size;
    let bounds: Vec<usize> = (0..=last).step_by(step).chain([grid.n_samples]).collect();
    join(cost, &bounds, stop, cancel)
}

/// Joins the segments between `bounds` (0, changepoints, number of samples); the changepoints that stay.
pub(super) fn join(cost: &impl Cost, bounds: &[usize], stop: Stop, cancel: &Cancel) -> Result<Vec<usize>> {
    let n_samples = bounds.last().copied().unwrap_or(0);
    // `next[b]` and `before[b]` are the neighbouring bounds of a bound that stands; 0 and the end always do.
    let mut next = vec![usize::MAX; n_samples + 1];
    let mut before = vec![usize::MAX; n_samples + 1];
    for pair in bounds.windows(2) {
        next[pair[0]] = pair[1];
        before[pair[1]] = pair[0];
    }
    let joining = |left: usize, place: usize, right: usize| Entry {
        key: cost.of(left, place) + cost.of(place, right) - cost.of(left, right),
        place,
        what: (left, right),
    };
    let mut joins = Vec::with_capacity(bounds.len());
    for (index, three) in bounds.windows(3).enumerate() {
        if index % AT_ONCE == 0 {
            cancel.check()?;
        }
        joins.push(joining(three[0], three[1], three[2]));
    }
    let mut joins = BinaryHeap::from(joins);
    let mut standing = bounds.len().saturating_sub(2);
    while let Some(Entry { key: gain, place, what: (left, right) }) = joins.pop() {
        cancel.check()?;
        if before[place] != left || next[place] != right {
            continue; // A neighbour has moved since; a newer entry is in the heap, or the place is gone.
        }
        let enough = match stop {
            Stop::Penalty(penalty) => -gain > penalty,
            Stop::Count(count) => standing <= count,
        };
        if enough {
            break;
        }
        (next[left], before[right]) = (right, left);
        (next[place], before[place]) = (usize::MAX, usize::MAX);
        standing -= 1;
        if left > 0 {
            joins.push(joining(before[left], left, right));
        }
        if right < n_samples {
            joins.push(joining(left, right, next[right]));
        }
    }
    let stays = |&bound: &usize| bound > 0 && bound < n_samples && next[bound] != usize::MAX;
    Ok(bounds.iter().copied().filter(stays).collect())
}
