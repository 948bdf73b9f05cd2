//! Sliding window: at each place, what a cut gains between its two neighbours of half a width; the places where that is
//! the largest in reach, in order of their gains (the search "Window" of ruptures: Truong, Oudre, Vayatis 2020). Linear
//! in the samples; not exact.

use super::Grid;
use super::greedy::Stop;
use crate::changepoint::cost::Cost;
use crate::{Cancel, Result};

/// Width where none is given, for long and for short signals.
const WIDTH: usize = 100;
const SHARE: usize = 5;

/// The cuts; fewer than counted where no more fit.
pub(crate) fn window(
    cost: &impl Cost,
    grid: Grid,
    width: Option<usize>,
    stop: Stop,
    cancel: &Cancel,
) -> Result<Vec<usize>> {
    let Grid { n_samples, min_size, jump } = grid;
    let half = (width.unwrap_or_else(|| WIDTH.min(n_samples / SHARE)) / 2).max(min_size);
    let places: Vec<usize> = match n_samples.checked_sub(half) {
        Some(last) => (half.div_ceil(jump) * jump..=last).step_by(jump).collect(),
        None => return Ok(Vec::new()),
    };
    let mut gains = Vec::with_capacity(places.len());
    for (index, &place) in places.iter().enumerate() {
        if index % 4096 == 0 {
            cancel.check()?;
        }
        let (start, end) = (place - half, place + half);
        gains.push(cost.of(start, end) - cost.of(start, place) - cost.of(place, end));
    }
    let mut peaks = peaks(&gains, (half / jump).max(min_size.div_ceil(jump)).max(1));
    peaks.sort_by(|&a, &b| gains[b].total_cmp(&gains[a]));
    let mut found: Vec<usize> = Vec::new();
    for place in peaks.into_iter().map(|peak| places[peak]) {
        cancel.check()?;
        let at = found.partition_point(|&other| other < place);
        let start = if at > 0 { found[at - 1] } else { 0 };
        let end = found.get(at).copied().unwrap_or(n_samples);
        let enough = match stop {
            Stop::Penalty(penalty) => cost.of(start, end) - cost.of(start, place) - cost.of(place, end) <= penalty,
            Stop::Count(count) => found.len() == count,
        };
        if enough {
            break;
        }
        found.insert(at, place);
    }
    Ok(found)
}

/// Indices whose value is above all before and not below any after, within `reach`.
fn peaks(values: &[f64], reach: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for (index, &value) in values.iter().enumerate() {
        let before = &values[index.saturating_sub(reach)..index];
        let after = &values[index + 1..(index + 1 + reach).min(values.len())];
        if value > 0.0 && before.iter().all(|other| *other < value) && after.iter().all(|other| *other <= value) {
            found.push(index);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::peaks;

    #[test]
    fn the_first_of_equal_values_is_the_peak() {
        assert_eq!(peaks(&[0.0, 1.0, 3.0, 3.0, 2.0, 4.0, 1.0], 2), [2, 5]);
        assert_eq!(peaks(&[0.0, 1.0, 3.0, 3.0, 2.0, 4.0, 1.0], 3), [5]);
        assert!(peaks(&[0.0; 5], 1).is_empty());
    }
}
