//! Changes of level where single samples may be wild: functional pruning with the biweight loss
//! `min((y - mu)^2, clip^2)` (Fearnhead and Rigaill 2019). Exact, like [`functional`](super::functional).
//!
//! A sample further than `clip` from a level costs `clip^2` there whatever it is, so a lone outlier is seldom worth two
//! changepoints, and a score that jumps and stays is cut once. Each sample splits the pieces of the envelope at
//! `y - clip` and `y + clip`; between the two it adds a parabola, outside a constant.

use super::changepoints;
use super::piece::{Piece, cut, range};
use crate::changepoint::compensated::{Pair, PrefixSums};
use crate::{Cancel, Result};

/// The cheapest segmentation of `y` at a penalty, segments of any size.
pub(crate) fn robust(y: &[f64], penalty: f64, clip: f64, cancel: &Cancel) -> Result<Vec<usize>> {
    let Some((lowest, highest)) = range(y) else { return Ok(Vec::new()) };
    let mut before = vec![0; y.len() + 1];
    let mut pieces = vec![Piece::fresh(0, 0.0, highest)];
    let mut next = Vec::new();
    for (sample, &value) in y.iter().enumerate() {
        cancel.check()?;
        let (best, from) = add(&pieces, &mut next, value, clip, lowest);
        before[sample + 1] = from;
        pieces.clear();
        cut(next.iter().copied(), best + penalty, sample + 1, lowest, |piece| pieces.push(piece));
    }
    Ok(changepoints(&before))
}

/// The cost of one segment at its best level: of all stretches of the sorted samples that a level reaches, the scatter
/// about their mean and the clip for each of the others.
pub(crate) fn clipped_cost(y: &[f64], clip: f64) -> f64 {
    let mut sorted = y.to_vec();
    sorted.sort_by(f64::total_cmp);
    let sums = PrefixSums::new(sorted.iter().map(|y| Pair::from(*y)));
    let squares = PrefixSums::new(sorted.iter().map(|y| Pair::product(*y, *y)));
    let cost = |from: usize, to: usize| {
        let sum = sums.over(from, to);
        let scatter = squares.over(from, to).minus(sum.times(sum).over(to - from)).value().max(0.0);
        scatter + clip * clip * (y.len() - (to - from)) as f64
    };
    let (mut from, mut best) = (0, f64::INFINITY);
    for to in 0..=sorted.len() {
        // As the level rises, lower samples leave its reach before the next one enters it.
        while from < to && sorted.get(to).is_none_or(|entering| entering - sorted[from] > 2.0 * clip) {
            best = best.min(cost(from, to));
            from += 1;
        }
        if from < to {
            best = best.min(cost(from, to));
        }
    }
    if best.is_finite() { best } else { 0.0 }
}

/// The costs of the segments that begin with the first sample and end with each.
pub(crate) fn clipped_costs(y: &[f64], clip: f64, cancel: &Cancel) -> Result<Vec<f64>> {
    let Some((lowest, highest)) = range(y) else { return Ok(vec![0.0; y.len()]) };
    let mut pieces = vec![Piece::fresh(0, 0.0, highest)];
    let mut next = Vec::new();
    let mut costs = Vec::with_capacity(y.len());
    for &value in y {
        cancel.check()?;
        costs.push(add(&pieces, &mut next, value, clip, lowest).0);
        std::mem::swap(&mut pieces, &mut next);
    }
    Ok(costs)
}

/// The envelope with a sample added; its lowest value and the start that belongs to.
fn add(pieces: &[Piece], next: &mut Vec<Piece>, value: f64, clip: f64, lowest: f64) -> (f64, usize) {
    next.clear();
    let mut best = (f64::INFINITY, 0);
    let mut left = lowest;
    for piece in pieces {
        for (edge, near) in [(value - clip, false), (value + clip, true), (f64::INFINITY, false)] {
            let until = edge.min(piece.until);
            if until <= left {
                continue;
            }
            let mut part = Piece { until, ..*piece };
            if near {
                part.add(value);
            } else {
                part.level += clip * clip;
            }
            let here = part.lowest();
            if here < best.0 {
                best = (here, part.from);
            }
            next.push(part);
            left = until;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{clipped_cost, clipped_costs};
    use crate::Cancel;
    use crate::random::Random;

    #[test]
    fn a_segment_costs_what_its_samples_one_by_one_come_to() {
        let mut random = Random::new(3);
        for n in 1..60 {
            let y: Vec<f64> = (0..n).map(|_| (3.0 * random.normal()).round() + 0.1 * random.normal()).collect();
            let one_by_one = clipped_costs(&y, 1.5, &Cancel::new()).unwrap()[n - 1];
            assert!((clipped_cost(&y, 1.5) - one_by_one).abs() < 1e-12 * n as f64, "{y:?}");
        }
    }

    #[test]
    fn an_outlier_costs_the_clip_and_moves_nothing() {
        assert_eq!(clipped_cost(&[0.0, 1.0, 2.0, 100.0], 3.0), 2.0 + 9.0);
        assert_eq!(
            clipped_cost(&[0.0, 1.0, 2.0, 100.0], 1e3),
            [0.0_f64, 1.0, 2.0, 100.0].iter().map(|y| (y - 25.75).powi(2)).sum::<f64>()
        );
        assert_eq!(clipped_cost(&[5.0, 5.0], 1.0), 0.0);
        assert_eq!(clipped_cost(&[0.0, 9.0, 10.0], 5.0), 0.5 + 25.0);
    }
}
