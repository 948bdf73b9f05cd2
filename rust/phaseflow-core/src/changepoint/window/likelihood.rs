//! The noise level that makes a curve likeliest beside given columns.
//!
//! The restricted log-likelihood of a level is `log_scale - freedom / 2 ln left` with `left` the curve's square once the
//! columns are removed: what remains of a Gram matrix under elimination. Its entries at all levels are sums over the
//! relaxations' directions with weights, `rest + sum_k w_k a_k b_k`, so the entries of one rho at all sizes of the
//! relaxations are made together, in lanes. Those of the curve and of earlier windows are made once, and a further
//! column adds a row. Levels are compared by `exp(2 log_scale / freedom) / left`: no logarithm but the best one's.

use std::ops::Range;

use super::noise::{Image, LANES, Level, Noise, Projected};
use crate::changepoint::linear_algebra::{dot, dot_itself_and};
use crate::vectorize::vectorize;

/// Residual sums of squares below this, on a curve scaled to unit range, are rounding.
pub(crate) const ROUNDING: f64 = 1e-28;

/// The best noise level for a curve beside given columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Likelihood {
    pub(crate) level: Level,
    pub(crate) value: f64,
}

/// Products of a curve and of earlier windows at every noise level.
pub(crate) struct Products<'a> {
    pub(crate) noise: &'a Noise,
    pub(crate) earlier: &'a [&'a Image],
    pub(crate) curve: &'a Image,
    /// For every rho the lower triangle of the Gram matrix of `earlier` and then `curve`, each entry at all taus.
    entries: Vec<Vec<[f64; LANES]>>,
}

impl<'a> Products<'a> {
    pub(crate) fn new(noise: &'a Noise, earlier: &'a [&'a Image], curve: &'a Image) -> Self {
        let mut products = Self { noise, earlier, curve, entries: Vec::with_capacity(noise.correlations.len()) };
        for rho in 0..noise.correlations.len() {
            let mut triangle = Vec::new();
            for i in 0..=earlier.len() {
                for j in 0..=i {
                    triangle.push(at_all_taus(noise, rho, products.column(i, rho), products.column(j, rho)));
                }
            }
            products.entries.push(triangle);
        }
        products
    }

    /// An earlier window, or the curve after the last of them.
    fn column(&self, which: usize, rho: usize) -> &'a Projected {
        &self.earlier.get(which).unwrap_or(&self.curve).0[rho]
    }

    /// The likeliest level without a further column.
    pub(crate) fn likeliest(&self) -> Likelihood {
        self.search(0..self.noise.taus.len())
    }

    /// The same among the levels with relaxations of one size.
    pub(crate) fn likeliest_at(&self, tau: usize) -> Likelihood {
        self.search(tau..tau + 1)
    }

    fn search(&self, taus: Range<usize>) -> Likelihood {
        let mut best = Best::new(self.noise);
        let mut gram = Vec::new();
        for (rho, entries) in self.entries.iter().enumerate() {
            gram.clone_from(entries);
            best.offer(rho, taus.clone(), &mut gram);
        }
        best.found()
    }

    /// The likeliest level among those with relaxations of the given sizes beside a further column, which `column`
    /// writes as one rho sees it.
    pub(crate) fn with(&self, column: impl Fn(usize, &mut Projected), taus: Range<usize>) -> Likelihood {
        let (noise, last) = (self.noise, self.earlier.len());
        let mut best = Best::new(noise);
        let mut own = Projected { rest: Vec::new(), parts: Vec::new() };
        let mut gram = Vec::new();
        for (rho, entries) in self.entries.iter().enumerate() {
            column(rho, &mut own);
            let with_own = |other: &Projected| match taus.len() {
                1 => [at_one_tau(noise, Level { rho, tau: taus.start }, &own, other); LANES],
                _ => at_all_taus(noise, rho, &own, other),
            };
            let (square, shared) = match taus.len() {
                1 => pair_at_one_tau(noise, Level { rho, tau: taus.start }, &own, self.column(last, rho)),
                _ => pair_at_all_taus(noise, rho, &own, self.column(last, rho)),
            };
            // The further column stands before the curve, which comes last.
            let (earlier, curve) = entries.split_at(place(last, 0));
            gram.clear();
            gram.extend_from_slice(earlier);
            gram.extend((0..last).map(|which| with_own(self.column(which, rho))));
            gram.push(square);
            gram.extend_from_slice(&curve[..last]);
            gram.push(shared);
            gram.extend_from_slice(&curve[last..]);
            best.offer(rho, taus.clone(), &mut gram);
        }
        best.found()
    }
}

/// Of an entry in a lower triangle, row by row.
#[inline(always)]
fn place(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// The best level so far.
struct Best<'a> {
    noise: &'a Noise,
    level: Level,
    left: f64,
    rank: f64,
}

impl<'a> Best<'a> {
    fn new(noise: &'a Noise) -> Self {
        Self { noise, level: Level { rho: 0, tau: 0 }, left: f64::INFINITY, rank: 0.0 }
    }

    /// The levels of one rho, whose Gram matrices (lower triangles, the curve last) are spent.
    fn offer(&mut self, rho: usize, taus: Range<usize>, gram: &mut [[f64; LANES]]) {
        let scales = self.noise.relative_scales_at_all_taus(rho);
        let mut ranks = [0.0; LANES];
        let left = vectorize(
            #[inline(always)]
            || {
                let mut left = remaining(gram);
                for lane in 0..LANES {
                    left[lane] = if left[lane] > ROUNDING { left[lane] } else { ROUNDING };
                    ranks[lane] = scales[lane] / left[lane];
                }
                left
            },
        );
        for tau in taus {
            if ranks[tau] > self.rank {
                (self.level, self.left, self.rank) = (Level { rho, tau }, left[tau], ranks[tau]);
            }
        }
    }

    fn found(self) -> Likelihood {
        let value = self.noise.log_scale(self.level) - 0.5 * self.noise.freedom as f64 * self.left.ln();
        Likelihood { level: self.level, value }
    }
}

/// `a' P b` at one rho and every tau.
fn at_all_taus(noise: &Noise, rho: usize, a: &Projected, b: &Projected) -> [f64; LANES] {
    vectorize(
        #[inline(always)]
        || {
            let mut sums = [dot(&a.rest, &b.rest); LANES];
            for (weights, (a, b)) in noise.weights_at_all_taus(rho).iter().zip(a.parts.iter().zip(&b.parts)) {
                let product = a * b;
                for lane in 0..LANES {
                    sums[lane] += weights[lane] * product;
                }
            }
            sums
        },
    )
}

/// `a' P a` and `a' P b`, as [`at_all_taus`] gives them: together they wait for the same numbers once.
fn pair_at_all_taus(noise: &Noise, rho: usize, a: &Projected, b: &Projected) -> ([f64; LANES], [f64; LANES]) {
    vectorize(
        #[inline(always)]
        || {
            let (square, shared) = dot_itself_and(&a.rest, &b.rest);
            let (mut squares, mut products) = ([square; LANES], [shared; LANES]);
            for (weights, (a, b)) in noise.weights_at_all_taus(rho).iter().zip(a.parts.iter().zip(&b.parts)) {
                let (square, shared) = (a * a, a * b);
                for lane in 0..LANES {
                    squares[lane] += weights[lane] * square;
                    products[lane] += weights[lane] * shared;
                }
            }
            (squares, products)
        },
    )
}

/// The same at one level, in every lane.
fn pair_at_one_tau(noise: &Noise, level: Level, a: &Projected, b: &Projected) -> ([f64; LANES], [f64; LANES]) {
    vectorize(
        #[inline(always)]
        || {
            let (square, shared) = dot_itself_and(&a.rest, &b.rest);
            let weights = noise.weights(level);
            let square = square + weighted(weights, &a.parts, &a.parts);
            ([square; LANES], [shared + weighted(weights, &a.parts, &b.parts); LANES])
        },
    )
}

fn at_one_tau(noise: &Noise, level: Level, a: &Projected, b: &Projected) -> f64 {
    vectorize(
        #[inline(always)]
        || dot(&a.rest, &b.rest) + weighted(noise.weights(level), &a.parts, &b.parts),
    )
}

/// `sum of w a b`, in four lanes.
#[inline(always)]
pub(crate) fn weighted(weights: &[f64], a: &[f64], b: &[f64]) -> f64 {
    let count = weights.len().min(a.len()).min(b.len());
    let (weights, a, b) = (&weights[..count], &a[..count], &b[..count]);
    let whole = count - count % 4;
    let mut lanes = [0.0; 4];
    let mut index = 0;
    while index < whole {
        for lane in 0..4 {
            lanes[lane] += weights[index + lane] * a[index + lane] * b[index + lane];
        }
        index += 4;
    }
    let mut tail = 0.0;
    while index < count {
        tail += weights[index] * a[index] * b[index];
        index += 1;
    }
    lanes[0] + lanes[1] + lanes[2] + lanes[3] + tail
}

/// What is left of the last vector's square once the others are removed: elimination on lower triangles of Gram matrices,
/// one in every lane.
#[inline(always)]
fn remaining(gram: &mut [[f64; LANES]]) -> [f64; LANES] {
    let mut count = 0;
    while place(count, 0) < gram.len() {
        count += 1;
    }
    for pivot in 0..count.saturating_sub(1) {
        let square = gram[place(pivot, pivot)];
        for i in pivot + 1..count {
            let own = gram[place(i, pivot)];
            let mut factor = [0.0; LANES];
            for lane in 0..LANES {
                // A column without a square of its own takes nothing away.
                factor[lane] = if square[lane] > ROUNDING { own[lane] / square[lane] } else { 0.0 };
            }
            for j in pivot + 1..=i {
                let other = gram[place(j, pivot)];
                let entry = &mut gram[place(i, j)];
                for lane in 0..LANES {
                    entry[lane] -= factor[lane] * other[lane];
                }
            }
        }
    }
    gram[gram.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::{LANES, remaining};

    #[test]
    fn elimination_leaves_the_square_of_what_is_perpendicular() {
        // (1, 0), (1, 1) and (3, 4, 5): the last one has 5 beside the plane.
        let mut gram = [1.0, 1.0, 2.0, 3.0, 7.0, 50.0].map(|entry| [entry; LANES]);
        // And (0, 0), (1, 1) and (3, 4, 5): beside the line, (3, 4) has half a square.
        for (entry, zero) in gram.iter_mut().zip([0.0, 0.0, 2.0, 0.0, 7.0, 50.0]) {
            entry[3] = zero;
        }
        let left = remaining(&mut gram);
        assert!((left[0] - 25.0).abs() < 1e-12 && (left[3] - 25.5).abs() < 1e-12);
    }
}
