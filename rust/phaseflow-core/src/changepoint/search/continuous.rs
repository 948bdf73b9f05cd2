//! The best continuous piecewise-linear curve through the data, kinks at samples: exact (CPOP: Fearnhead, Maidstone,
//! Letchford 2019).
//!
//! Neighbouring lines share the value at their kink, so the cost up to sample t is a function of that value: for a
//! given set of kinks a parabola in `phi`, the curve's value at `x_t`. From kink s to t, with
//! `w_i = (x_i - x_s) / (x_t - x_s)`,
//!
//! ```text
//! f_t(phi) = min over phi' of f_s(phi') + sum over s < i <= t of (y_i - (1 - w_i) phi' - w_i phi)^2  + penalty
//! ```
//!
//! which is again a parabola. A set of kinks survives at t only if its parabola is the lowest for some `phi`
//! (functional pruning). A set whose lowest value lies more than two penalties above the lowest of all can never be part of
//! the answer, because the best curve can be led onto its continuation by two kinks, at t and t + 1; that is used
//! where segments may be that short.
//!
//! The parabolas are plain doubles, so a kink must be worth [`ROUNDING`] of the signal's square at least.

use super::Grid;
use crate::changepoint::cost::LineMoments;
use crate::{Cancel, Result};

/// Costs of a signal of unit size are right to this, times the number of samples.
const ROUNDING: f64 = 1e-14;

/// `square phi^2 + slope phi + level`, and the kinks it stands for.
#[derive(Debug, Clone, Copy)]
struct Parabola {
    square: f64,
    slope: f64,
    level: f64,
    /// Node of the last kink.
    from: usize,
}

impl Parabola {
    fn lowest(self) -> f64 {
        self.level - self.slope * self.slope / (4.0 * self.square)
    }
}

/// A kink and what lies before it.
#[derive(Debug, Clone, Copy)]
struct Node {
    sample: usize,
    before: Option<usize>,
    cost: Parabola,
}

/// The signal and all kinks that may still matter.
struct Search<'a> {
    x: &'a [f64],
    moments: LineMoments,
    nodes: Vec<Node>,
}

impl<'a> Search<'a> {
    fn new(x: &'a [f64], y: &'a [f64]) -> Self {
        let first = Parabola { square: 1.0, slope: -2.0 * y[0], level: y[0] * y[0], from: 0 };
        let node = Node { sample: 0, before: None, cost: first };
        Self { x, moments: LineMoments::new(x, y.iter()), nodes: vec![node] }
    }

    /// The cost up to sample `end` as a function of the value there, for a last kink at `node`.
    fn extend(&self, node: usize, end: usize, penalty: f64) -> Parabola {
        let Node { sample: start, cost: before, .. } = self.nodes[node];
        let moments = self.moments.over(start + 1, end + 1);
        let (origin, width) = (self.x[start], self.x[end] - self.x[start]);
        let count = moments.count as f64;
        let (x, y) = (moments.x.value() - count * origin, moments.y.value());
        let xx = moments.xx.value() - origin * (2.0 * moments.x.value() - count * origin);
        let xy = moments.xy.value() - origin * y;
        // Sums of w^2, (1 - w) w, (1 - w)^2, w y, (1 - w) y.
        let ww = xx / (width * width);
        let vw = x / width - ww;
        let vv = count - 2.0 * x / width + ww;
        let wy = xy / width;
        let vy = y - wy;
        let square = before.square + vv;
        let slope = before.slope - 2.0 * vy;
        Parabola {
            square: ww - vw * vw / square,
            slope: -2.0 * wy - slope * vw / square,
            level: before.level + moments.yy.value() - slope * slope / (4.0 * square)
                + if start > 0 { penalty } else { 0.0 },
            from: node,
        }
    }

    /// Adds the kinks at `sample` that are lowest for some value there; returns their nodes.
    fn keep(&mut self, sample: usize, candidates: &[Parabola], cancel: &Cancel) -> Result<Vec<usize>> {
        let kept = envelope(candidates, cancel)?
            .into_iter()
            .map(|index| {
                let cost = candidates[index];
                self.nodes.push(Node { sample, before: Some(cost.from), cost });
                self.nodes.len() - 1
            })
            .collect();
        Ok(kept)
    }

    fn kinks(&self, last: Parabola) -> Vec<usize> {
        let mut found = Vec::new();
        let mut node = self.nodes[last.from];
        while let Some(before) = node.before {
            found.push(node.sample);
            node = self.nodes[before];
        }
        found.reverse();
        found
    }
}

fn cheapest(candidates: impl Iterator<Item = Parabola>) -> Option<Parabola> {
    candidates.reduce(|best, next| if next.lowest() < best.lowest() { next } else { best })
}

/// The kinks of the cheapest curve at a penalty.
pub(crate) fn continuous_penalised(
    x: &[f64],
    y: &[f64],
    grid: Grid,
    penalty: f64,
    cancel: &Cancel,
) -> Result<Vec<usize>> {
    let penalty = penalty.max(ROUNDING * y.len() as f64);
    let mut search = Search::new(x, y);
    let mut active = vec![0];
    let last = grid.n_samples - 1;
    // A kink costs the penalty at least, whatever it explains.
    if last == 0 || search.extend(0, last, penalty).lowest() <= penalty {
        return Ok(Vec::new());
    }
    // A kink at the last sample would change nothing.
    for end in grid.ends().filter(|end| *end != last) {
        cancel.check()?;
        let sample = end.min(last);
        let possible = |node: &&usize| search.nodes[**node].sample + grid.min_size <= end;
        let candidates: Vec<Parabola> =
            active.iter().filter(possible).map(|&node| search.extend(node, sample, penalty)).collect();
        if end == grid.n_samples {
            return Ok(cheapest(candidates.into_iter()).map_or_else(Vec::new, |best| search.kinks(best)));
        }
        if grid.min_size == 1 && grid.jump == 1 {
            let lowest = candidates.iter().map(|parabola| parabola.lowest()).fold(f64::INFINITY, f64::min);
            active = candidates
                .iter()
                .filter(|parabola| parabola.lowest() <= lowest + 2.0 * penalty + 1e-9 * lowest.abs())
                .map(|parabola| parabola.from)
                .collect();
        }
        active.extend(search.keep(sample, &candidates, cancel)?);
    }
    Ok(Vec::new())
}

/// The kinks of the cheapest curve with `count` of them; `None` where there is none.
pub(crate) fn continuous_fixed(
    x: &[f64],
    y: &[f64],
    grid: Grid,
    count: usize,
    cancel: &Cancel,
) -> Result<Option<Vec<usize>>> {
    let mut search = Search::new(x, y);
    let last = grid.n_samples - 1;
    let ends: Vec<usize> = grid.ends().collect();
    let mut nodes = vec![0];
    for _ in 0..count {
        let mut next = Vec::new();
        for &end in ends.iter().filter(|&&end| end < last) {
            cancel.check()?;
            let possible = |node: &&usize| search.nodes[**node].sample + grid.min_size <= end;
            let candidates: Vec<Parabola> =
                nodes.iter().filter(possible).map(|&node| search.extend(node, end, 0.0)).collect();
            next.extend(search.keep(end, &candidates, cancel)?);
        }
        nodes = next;
    }
    let possible = |node: &&usize| search.nodes[**node].sample + grid.min_size <= grid.n_samples;
    let best = cheapest(nodes.iter().filter(possible).map(|&node| search.extend(node, last, 0.0)));
    Ok(best.map(|best| search.kinks(best)))
}

/// Indices of the parabolas that are the lowest somewhere, from `phi = -infinity` to `+infinity`.
fn envelope(candidates: &[Parabola], cancel: &Cancel) -> Result<Vec<usize>> {
    let lower_far_left = |a: &Parabola, b: &Parabola| {
        a.square.total_cmp(&b.square).then(b.slope.total_cmp(&a.slope)).then(a.level.total_cmp(&b.level))
    };
    let first = (0..candidates.len()).min_by(|&a, &b| lower_far_left(&candidates[a], &candidates[b]));
    let Some(mut current) = first else { return Ok(Vec::new()) };
    let mut kept = vec![current];
    let mut place = f64::NEG_INFINITY;
    // Two parabolas cross twice at most, so the walk is finite; the bound only guards against rounding.
    for _ in 0..2 * candidates.len() {
        cancel.check()?;
        let crossings = (0..candidates.len())
            .filter(|&index| index != current)
            .filter_map(|index| Some((falls_below(candidates[index], candidates[current], place)?, index)));
        let Some((crossing, next)) = crossings.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        (place, current) = (crossing, next);
        if !kept.contains(&current) {
            kept.push(current);
        }
    }
    Ok(kept)
}

/// The first place after `place` from which `other` lies below `current`.
fn falls_below(other: Parabola, current: Parabola, place: f64) -> Option<f64> {
    let (a, b, c) = (other.square - current.square, other.slope - current.slope, other.level - current.level);
    if a == 0.0 {
        let root = -c / b;
        return (b < 0.0 && root > place).then_some(root);
    }
    let discriminant = b * b - 4.0 * a * c;
    if discriminant <= 0.0 {
        return None;
    }
    // The difference falls through zero at its lower root when it opens upward, at its upper root when downward: in
    // both cases at (-b - sqrt) / 2a, computed without cancellation.
    let root = discriminant.sqrt();
    let crossing = if b >= 0.0 { (-b - root) / (2.0 * a) } else { 2.0 * c / (-b + root) };
    (crossing > place).then_some(crossing)
}
