//! All windows of a grid at once.
//!
//! A ramp `clip((u - start) / (end - start), 0, 1)` is the difference of two hinges `max(u - place, 0)` over its
//! width. With `b_i = hinge_i' P y` and `G_ij = hinge_i' P hinge_j` the drop of the residual sum of squares is
//!
//! ```text
//! gain(i, j) = (b_i - b_j)^2 / (G_ii + G_jj - 2 G_ij)
//! ```
//!
//! The denominators depend on the grid and the noise level only and are computed once; `b` is two suffix sums over
//! `P y`. A curve costs one subtraction, one square and one product per window.

use super::noise::{Level, Noise, Projected};
use crate::vectorize::vectorize;

/// Windows whose denominator is below this part of the largest are not distinguishable from the base.
const DEGENERATE: f64 = 1e-12;

/// The candidate places of a grid, as indices of samples, and where samples lie.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) u: Vec<f64>,
    pub(crate) candidates: Vec<usize>,
    pub(crate) max_width: f64,
    /// Windows up to this width count as narrow.
    pub(crate) narrow: f64,
}

/// Which windows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Widths {
    All,
    Narrow,
}

impl Places {
    /// `hinge_j' v` for every candidate j.
    pub(crate) fn hinge_products(&self, v: &[f64]) -> Vec<f64> {
        let mut products = vec![0.0; self.candidates.len()];
        let (mut sum, mut moment) = (0.0, 0.0);
        let mut index = v.len();
        for (slot, &candidate) in self.candidates.iter().enumerate().rev() {
            while index > candidate + 1 {
                index -= 1;
                sum += v[index];
                moment += v[index] * self.u[index];
            }
            products[slot] = moment - self.u[candidate] * sum;
        }
        products
    }

    pub(crate) fn hinge(&self, slot: usize) -> Vec<f64> {
        let place = self.u[self.candidates[slot]];
        self.u.iter().map(|u| (u - place).max(0.0)).collect()
    }

    pub(crate) fn at(&self, slot: usize) -> f64 {
        self.u[self.candidates[slot]]
    }
}

/// `1 / denominator` of every window at one noise level: row i holds the windows `(i, i + 1), (i, i + 2), ...`; 0 where
/// a window cannot be told from the base or is wider than allowed.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<f64>>,
    /// How many of each row, from its beginning, are narrow.
    narrow: Vec<usize>,
}

/// The window with the largest gain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Best {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) gain: f64,
}

impl Table {
    /// `hinges`: those of the candidates, at the level's rho.
    pub(crate) fn new(noise: &Noise, places: &Places, hinges: &[Projected], level: Level) -> Self {
        let count = places.candidates.len();
        let gram: Vec<Vec<f64>> =
            hinges.iter().map(|hinge| places.hinge_products(&noise.residual(level, hinge))).collect();
        let largest = (0..count).map(|slot| gram[slot][slot]).fold(0.0, f64::max);
        let rows = (0..count)
            .map(|i| {
                (i + 1..count)
                    .map(|j| {
                        let denominator = gram[i][i] + gram[j][j] - gram[i][j] - gram[j][i];
                        let width = places.at(j) - places.at(i);
                        let usable = denominator > DEGENERATE * largest && width <= places.max_width;
                        if usable { 1.0 / denominator } else { 0.0 }
                    })
                    .collect()
            })
            .collect();
        let narrow = (0..count)
            .map(|i| (i + 1..count).take_while(|&j| places.at(j) - places.at(i) <= places.narrow).count())
            .collect();
        Self { rows, narrow }
    }

    fn row(&self, start: usize, widths: Widths) -> &[f64] {
        let row = &self.rows[start];
        if widths == Widths::Narrow { &row[..self.narrow[start]] } else { row }
    }

    /// The best window for hinge products `b`; the first of equals. `None` where no window is usable.
    pub(crate) fn best(&self, b: &[f64], widths: Widths) -> Option<Best> {
        let mut best = Best { start: 0, end: 0, gain: 0.0 };
        for i in 0..self.rows.len() {
            let row = self.row(i, widths);
            let others = &b[i + 1..i + 1 + row.len()];
            let largest = vectorize(|| largest_gain(b[i], others, row));
            if largest > best.gain {
                let gains = others.iter().zip(row).map(|(other, inverse)| (b[i] - other) * (b[i] - other) * inverse);
                let offset = gains.enumerate().find(|(_, gain)| *gain == largest).map_or(0, |(offset, _)| offset);
                best = Best { start: i, end: i + 1 + offset, gain: largest };
            }
        }
        (best.gain > 0.0).then_some(best)
    }

    /// The same when the hinges are also to be free of further columns: `parts[k]` are the hinge products of column
    /// k, orthonormal under `P`.
    pub(crate) fn best_beside(&self, b: &[f64], parts: &[Vec<f64>], widths: Widths) -> Option<Best> {
        let mut best = Best { start: 0, end: 0, gain: 0.0 };
        self.each_gain(b, parts, widths, |start, end, gain| {
            if gain > best.gain {
                best = Best { start, end, gain };
            }
        });
        (best.gain > 0.0).then_some(best)
    }

    /// Calls `visit(start, end, gain)` for every usable window.
    pub(crate) fn each_gain(
        &self,
        b: &[f64],
        parts: &[Vec<f64>],
        widths: Widths,
        mut visit: impl FnMut(usize, usize, f64),
    ) {
        for i in 0..self.rows.len() {
            for (offset, &inverse) in self.row(i, widths).iter().enumerate() {
                let j = i + 1 + offset;
                if inverse == 0.0 {
                    continue;
                }
                let own = 1.0 / inverse;
                let shared: f64 = parts.iter().map(|part| (part[i] - part[j]) * (part[i] - part[j])).sum();
                // A window that earlier columns explain to a thousandth is not a window of its own.
                if own - shared > 1e-3 * own {
                    visit(i, j, (b[i] - b[j]) * (b[i] - b[j]) / (own - shared));
                }
            }
        }
    }
}

#[inline(always)]
fn largest_gain(own: f64, others: &[f64], inverses: &[f64]) -> f64 {
    const LANES: usize = 8;
    let count = others.len().min(inverses.len());
    let (others, inverses) = (&others[..count], &inverses[..count]);
    let whole = count - count % LANES;
    let mut lanes = [0.0_f64; LANES];
    let mut index = 0;
    while index < whole {
        for lane in 0..LANES {
            let apart = own - others[index + lane];
            let gain = apart * apart * inverses[index + lane];
            lanes[lane] = if gain > lanes[lane] { gain } else { lanes[lane] };
        }
        index += LANES;
    }
    let mut largest = 0.0;
    for index in whole..count {
        let apart = own - others[index];
        let gain = apart * apart * inverses[index];
        largest = if gain > largest { gain } else { largest };
    }
    for lane in lanes {
        largest = if lane > largest { lane } else { largest };
    }
    largest
}
