//! Optimal partitioning: dynamic programming over all pairs (Jackson et al. 2005; Auger and Lawrence 1989 for a given
//! number of changepoints). Quadratic in the samples; the slow twin of [`pelt`](super::pelt).
//!
//! ```text
//! F(0) = -penalty;  F(t) = min over s of F(s) + cost(s, t) + penalty
//! ```

use super::{Grid, changepoints};
use crate::changepoint::cost::Cost;
use crate::{Cancel, Result};

/// The cheapest segmentation at a penalty.
pub(crate) fn optimal_penalised(cost: &mut impl Cost, grid: Grid, penalty: f64, cancel: &Cancel) -> Result<Vec<usize>> {
    let mut best = vec![f64::INFINITY; grid.n_samples + 1];
    let mut before = vec![0; grid.n_samples + 1];
    best[0] = -penalty;
    let mut starts = vec![0];
    let mut values = Vec::new();
    for end in grid.ends() {
        cancel.check()?;
        let possible = starts.partition_point(|&start| start + grid.min_size <= end);
        cost.scan(&starts[..possible], end, &mut values);
        for (&start, value) in starts.iter().zip(&values) {
            let value = best[start] + value + penalty;
            if value < best[end] {
                (best[end], before[end]) = (value, start);
            }
        }
        starts.push(end);
    }
    Ok(changepoints(&before))
}

/// The cheapest segmentation with `count` changepoints; `None` where there is none.
pub(crate) fn optimal_fixed(
    cost: &mut impl Cost,
    grid: Grid,
    count: usize,
    cancel: &Cancel,
) -> Result<Option<Vec<usize>>> {
    let ends: Vec<usize> = grid.ends().collect();
    let starts: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).collect();
    let mut best = vec![f64::INFINITY; grid.n_samples + 1];
    best[0] = 0.0;
    let mut before = Vec::with_capacity(count + 1);
    let mut values = Vec::new();
    for _ in 0..=count {
        let mut next = vec![f64::INFINITY; grid.n_samples + 1];
        let mut from = vec![0; grid.n_samples + 1];
        let reached: Vec<usize> = starts.iter().copied().filter(|&start| best[start].is_finite()).collect();
        for &end in &ends {
            cancel.check()?;
            let possible = reached.partition_point(|&start| start + grid.min_size <= end);
            cost.scan(&reached[..possible], end, &mut values);
            for (&start, value) in reached.iter().zip(&values) {
                let value = best[start] + value;
                if value < next[end] {
                    (next[end], from[end]) = (value, start);
                }
            }
        }
        before.push(from);
        best = next;
    }
    if !best[grid.n_samples].is_finite() {
        return Ok(None);
    }
    let mut end = grid.n_samples;
    let mut found: Vec<usize> = before
        .iter()
        .rev()
        .map(|from| {
            end = from[end];
            end
        })
        .collect();
    found.pop();
    found.reverse();
    Ok(Some(found))
}
