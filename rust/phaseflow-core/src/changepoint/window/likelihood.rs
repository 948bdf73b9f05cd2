//! The noise level that makes a curve likeliest beside given columns.
//!
//! The restricted log-likelihood of a level is `log_scale - freedom / 2 ln left` with `left` the curve's square once the
//! columns are removed: what remains of a Gram matrix under elimination. Its entries at all levels are sums over the
//! relaxations' directions with weights, `rest + sum_k w_k a_k b_k`, so the entries of one rho at all sizes of the
//! relaxations are made together, in lanes. Those of the curve and of earlier windows are made once, and a further
//! column adds a row. Levels are compared by `exp(2 log_scale / freedom) / left`: no logarithm but the best one's.

use std::ops::Range;

use super::noise::{Image, LANES, Level, Noise, Projected};
use crate::changepoint::linear_algebra::dot;
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
        let count = self.earlier.len() + 1;
        let mut best = Best::new(self.noise);
        let mut gram = vec![0.0; count * count];
        for rho in 0..self.noise.correlations.len() {
            for tau in taus.clone() {
                self.fill(&mut gram, count, rho, tau, |index| index);
                best.offer(Level { rho, tau }, &mut gram, count);
            }
        }
        best.found()
    }

    /// The likeliest level among those with relaxations of the given sizes beside a further column, which `column`
    /// writes as one rho sees it.
    pub(crate) fn with(&self, column: impl Fn(usize, &mut Projected), taus: Range<usize>) -> Likelihood {
        let (noise, last) = (self.noise, self.earlier.len());
        let count = last + 2;
        let mut best = Best::new(noise);
        let mut own = Projected { rest: Vec::new(), parts: Vec::new() };
        let mut row = vec![[0.0; LANES]; count];
        let mut gram = vec![0.0; count * count];
        for rho in 0..noise.correlations.len() {
            column(rho, &mut own);
            for (which, entry) in row.iter_mut().enumerate() {
                let other = if which < count - 1 { self.column(which, rho) } else { &own };
                match taus.len() {
                    1 => entry[taus.start] = at_one_tau(noise, Level { rho, tau: taus.start }, &own, other),
                    _ => *entry = at_all_taus(noise, rho, &own, other),
                }
            }
            for tau in taus.clone() {
                // The further column stands before the curve, which comes last.
                self.fill(&mut gram, count, rho, tau, |index| if index == last { last + 1 } else { index });
                for earlier in 0..last {
                    gram[last * count + earlier] = row[earlier][tau];
                }
                gram[last * count + last] = row[last + 1][tau];
                gram[(last + 1) * count + last] = row[last][tau];
                best.offer(Level { rho, tau }, &mut gram, count);
            }
        }
        best.found()
    }

    /// Writes the entries of one level, each row and column to its `place`.
    fn fill(&self, gram: &mut [f64], count: usize, rho: usize, tau: usize, place: impl Fn(usize) -> usize) {
        let mut entries = self.entries[rho].iter();
        for i in 0..=self.earlier.len() {
            for j in 0..=i {
                if let Some(entry) = entries.next() {
                    gram[place(i) * count + place(j)] = entry[tau];
                }
            }
        }
    }
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

    fn offer(&mut self, level: Level, gram: &mut [f64], count: usize) {
        let left = remaining(gram, count).max(ROUNDING);
        let rank = self.noise.relative_scale(level) / left;
        if rank > self.rank {
            (self.level, self.left, self.rank) = (level, left, rank);
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

/// What is left of the last vector's square once the others are removed: elimination on a lower-triangular Gram matrix.
fn remaining(gram: &mut [f64], count: usize) -> f64 {
    for pivot in 0..count.saturating_sub(1) {
        let square = gram[pivot * count + pivot];
        if square <= ROUNDING {
            continue;
        }
        for i in pivot + 1..count {
            let factor = gram[i * count + pivot] / square;
            for j in pivot + 1..=i {
                gram[i * count + j] -= factor * gram[j * count + pivot];
            }
        }
    }
    gram[count * count - 1]
}

#[cfg(test)]
mod tests {
    use super::remaining;

    #[test]
    fn elimination_leaves_the_square_of_what_is_perpendicular() {
        // (1, 0), (1, 1) and (3, 4, 5): the last one has 5 beside the plane.
        let mut gram = vec![1.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 7.0, 50.0];
        assert!((remaining(&mut gram, 3) - 25.0).abs() < 1e-12);
    }
}
