//! Optimal partitioning of one feature by functional pruning (FPOP: Maidstone, Hocking, Rigaill, Fearnhead 2017),
//! for the cost l2: the same answer as [`pelt`](super::pelt), linear in the samples in practice however few the changes.
//!
//! The cost of the samples so far is a function of the level `mu` of the last segment. For a last segment from s on it
//! is a parabola, and only the lower envelope over all s matters:
//!
//! ```text
//! F_t(mu) = min( F_(t-1)(mu), min over mu' of F_(t-1)(mu') + penalty ) + (y_t - mu)^2
//! ```
//!
//! The envelope is a list of pieces in order of `mu`. A start that is nowhere the lowest is gone for good.
//!
//! A fresh start costs the same at every level, so it takes over wherever the envelope lies above that price. Nearly
//! always that is to the left of some level and to the right of another. What the envelope costs where two pieces meet
//! is kept, so that it takes a comparison a piece to see that it is so; then only the ends of the list change. Where it
//! is not, around changes, the whole list is [cut](super::piece::cut).
//!
//! The best start is seldom another one than a sample before. Its cost is worked out by itself, which needs no piece,
//! and of the others only whether one is lower, which needs no division: the processor goes on with the price of the
//! next fresh start before it is through with the list.

use super::envelope::{Envelope, Part, Step};
use super::piece::range;
use crate::{Cancel, Result};

/// The cheapest segmentation of `y` at a penalty, segments of any size.
pub(crate) fn functional(y: &[f64], penalty: f64, memory: &mut Envelope, cancel: &Cancel) -> Result<Vec<usize>> {
    let Some((lowest, highest)) = range(y) else { return Ok(Vec::new()) };
    let mut lead = Part::fresh(y[0], 0.0, highest);
    memory.begin(lead);
    let (mut best, mut above, mut low_edge) = (0.0, 0, 0.0);
    for (sample, &value) in y.iter().enumerate() {
        cancel.check()?;
        if sample > 0 {
            let price = best + penalty;
            let step = Step { value, price, above, low_above: low_edge > price, lowest };
            if !memory.trim(step) {
                memory.cut(step, sample);
            }
            low_edge = low_edge.min(price);
        }
        low_edge += (value - lowest) * (value - lowest);
        lead.add(value);
        best = lead.lowest();
        let another;
        (another, above) = memory.add(value, best, best + penalty);
        if another {
            (lead, above) = memory.lead(penalty);
            best = lead.lowest();
            memory.starts.push((sample + 1, sample + 1 - lead.count as usize));
        }
    }
    Ok(changepoints(&memory.starts, y.len()))
}

/// Follows the best starts back from an end.
fn changepoints(starts: &[(usize, usize)], mut end: usize) -> Vec<usize> {
    let mut found = Vec::new();
    loop {
        let later = starts.partition_point(|start| start.0 <= end);
        end = starts[later - 1].1;
        if end == 0 {
            break;
        }
        found.push(end);
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView2;

    use super::functional;
    use crate::Cancel;
    use crate::changepoint::cost::{Cost, L2, Lengths};
    use crate::changepoint::search::{Envelope, Grid, optimal_penalised};
    use crate::random::Random;

    /// Signals that move an envelope in every way: levels short and long, ramps up and down, decays, bends, ties,
    /// alternation, outliers.
    fn signals(n: usize) -> Vec<Vec<f64>> {
        let mut random = Random::new(5);
        let mut noise = |size: f64| -> Vec<f64> { (0..n).map(|_| size * random.normal()).collect() };
        let part = |i: usize| i as f64 / n as f64;
        let mut found = Vec::new();
        for (length, size) in [(1, 1.0), (7, 0.3), (60, 1.0), (n, 1.0), (60, 0.0), (n / 2 + 1, 1e-3)] {
            let (levels, rest) = (noise(3.0), noise(size));
            found.push((0..n).map(|i| levels[i / length] + rest[i]).collect());
        }
        let small = noise(0.01);
        found.push((0..n).map(part).collect());
        found.push((0..n).map(|i| small[i] - part(i)).collect());
        found.push((0..n).map(|i| small[i] + (-6.0 * part(i)).exp()).collect());
        found.push((0..n).map(|i| (9.0 * part(i)).sin()).collect());
        found.push((0..n).map(|i| if i % 2 == 0 { part(i) } else { -part(i) }).collect());
        found.push(noise(1.5).iter().map(|value| value.round()).collect());
        found.push(noise(1.0).iter().enumerate().map(|(i, value)| if i % 50 == 7 { 40.0 } else { *value }).collect());
        found
    }

    #[test]
    fn no_segmentation_is_cheaper() {
        let n = 240;
        // One memory for all: what a search leaves to the next changes nothing.
        let mut memory = Envelope::default();
        for (index, y) in signals(n).iter().enumerate() {
            let cost = L2::new(ArrayView2::from_shape((n, 1), y).unwrap());
            for penalty in [0.0, 1e-9, 1e-3, 0.1, 1.0, 8.0, 60.0, 1e4] {
                let total = |cuts: &[usize]| {
                    let bounds: Vec<usize> = [0].iter().chain(cuts).chain(&[n]).copied().collect();
                    let costs: f64 = bounds.windows(2).map(|bound| cost.of(bound[0], bound[1])).sum();
                    costs + penalty * cuts.len() as f64
                };
                let found = functional(y, penalty, &mut memory, &Cancel::new()).unwrap();
                let grid = Grid { n_samples: n, min_size: 1, jump: 1 };
                let mut plain = L2::new(ArrayView2::from_shape((n, 1), y).unwrap());
                let lengths = &mut Lengths { cost: &mut plain, charge: 0.0 };
                let cheapest = optimal_penalised(lengths, grid, penalty, &Cancel::new()).unwrap();
                let (found, cheapest) = (total(&found), total(&cheapest));
                let scale = total(&[]) + penalty;
                assert!(found <= cheapest + 1e-13 * scale, "signal {index} at {penalty}: {found} for {cheapest}");
            }
        }
    }
}
