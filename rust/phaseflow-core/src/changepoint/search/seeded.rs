//! Seeded binary segmentation (Kovács, Bühlmann, Li, Munk 2023): a fixed set of overlapping intervals, in each of them
//! the cut that gains most. Any two neighbouring changes have an interval in which there is only one of them, which
//! plain binary segmentation does not promise. n log n for any cost; not exact.
//!
//! With a penalty the narrowest interval whose cut gains more is taken first (narrowest over threshold: Baranowski,
//! Chen, Fryzlewicz 2019), so that a change is placed without another one in view; for a given number the cut that gains
//! most. Intervals that hold a cut already are out.
//!
//! So many intervals are tried that noise passes the penalty in some narrow one more often than in the exact search. As
//! the last step neighbours are joined, as [`bottom_up`](super::bottom_up) does, while that costs no more than the penalty:
//! every changepoint is worth it between those that stay.

use std::collections::BTreeSet;

use super::Grid;
use super::greedy::{Cut, Stop, best_cut, join};
use crate::changepoint::cost::Cost;
use crate::{Cancel, Result};

/// A bound this part of the signal from a whole number is that number.
const ROUNDING: f64 = 1e-12;

/// The cuts; fewer than counted where no more fit.
pub(crate) fn seeded(cost: &impl Cost, grid: Grid, stop: Stop, cancel: &Cancel) -> Result<Vec<usize>> {
    let mut cuts = Vec::new();
    for (start, end) in intervals(grid.n_samples, 2 * grid.min_size) {
        cuts.extend(best_cut(cost, grid, start, end, cancel)?);
    }
    let width = |cut: &Cut| cut.what.1 - cut.what.0;
    let dearer = |a: &Cut, b: &Cut| b.key.total_cmp(&a.key);
    let most = match stop {
        Stop::Penalty(penalty) => {
            cuts.retain(|cut| cut.key > penalty);
            cuts.sort_by(|a, b| width(a).cmp(&width(b)).then(dearer(a, b)));
            usize::MAX
        }
        Stop::Count(count) => {
            cuts.sort_by(|a, b| dearer(a, b).then(width(a).cmp(&width(b))));
            count
        }
    };
    let mut found = BTreeSet::new();
    for cut in cuts {
        if found.len() < most && found.range(cut.what.0 + 1..cut.what.1).next().is_none() {
            found.insert(cut.place);
        }
    }
    let bounds: Vec<usize> = std::iter::once(0).chain(found).chain([grid.n_samples]).collect();
    join(cost, &bounds, stop, cancel)
}

/// The seeded intervals `[start, end)` of at least `least` samples: layer k has `2 ceil(2^(k/2)) - 1` of them, evenly
/// spaced, of length `n / 2^(k/2)` (the paper's decay of 1 / sqrt(2)).
fn intervals(n_samples: usize, least: usize) -> Vec<(usize, usize)> {
    let n = n_samples as f64;
    let mut found = Vec::new();
    for layer in 0.. {
        let longer = f64::exp2(0.5 * f64::from(layer));
        let length = n / longer;
        if length < least.max(2) as f64 {
            break;
        }
        let count = 2 * (longer - ROUNDING).ceil() as usize - 1;
        let shift = if count > 1 { (n - length) / (count - 1) as f64 } else { 0.0 };
        found.extend((0..count).map(|index| {
            let start = index as f64 * shift;
            let end = (start + length - ROUNDING * n).ceil() as usize;
            ((start + ROUNDING * n).floor() as usize, end.min(n_samples))
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::intervals;

    #[test]
    fn eight_samples_have_the_intervals_of_the_paper() {
        // Lengths 8, 5.66, 4, 2.83 with 1, 3, 3, 5 intervals, shifts 0, 1.17, 2, 1.29.
        let found = intervals(8, 2);
        assert_eq!(found[..4], [(0, 8), (0, 6), (1, 7), (2, 8)]);
        assert_eq!(found[4..7], [(0, 4), (2, 6), (4, 8)]);
        assert_eq!(found[7..9], [(0, 3), (1, 5)]);
        assert!(found.iter().all(|(start, end)| start < end && *end <= 8));
    }

    #[test]
    fn every_short_stretch_lies_in_an_interval_not_much_longer() {
        let found = intervals(200, 2);
        for start in 0..190 {
            let fits = |interval: &&(usize, usize)| interval.0 <= start && interval.1 >= start + 10;
            let narrowest = found.iter().filter(fits).map(|interval| interval.1 - interval.0).min();
            assert!(narrowest.is_some_and(|width| width <= 40));
        }
    }
}
