//! Products of a shape that is 0 before some samples and 1 after them, at the price of the samples between.
//!
//! For a shape `c` and the whitening `W` of one rho, the square under `P` is `|W c|^2 - sum_k g_k (q_k' W c)^2` over the
//! base columns (`g = 1`) and the relaxations' directions (`g = 1 - weight`). Each `q_k' W c = (W' q_k)' c` is a sum over
//! the samples between and one number for all that come after, known for every place beforehand.
//!
//! This subtracts what [`Noise::project`] removes vector by vector. Where nearly all of the square goes
//! ([`CANCELS`]), digits would go with it, and [`Forms::square`] gives `None`: then it is projected.

use std::ops::Range;

use super::super::autoregression::unwhiten;
use super::noise::Noise;
use crate::vectorize::vectorize;

/// Linear functionals in one register's worth and another's.
const LANES: usize = 16;
/// Least part of the square that must stay: 1e-16 over it is the relative error.
const CANCELS: f64 = 1e-5;

/// Vectors to be multiplied with shapes.
#[derive(Debug)]
pub(crate) struct Functionals {
    count: usize,
    /// Of every sixteen of them: their values sample by sample.
    values: Vec<Vec<[f64; LANES]>>,
    /// And the sums of these from a sample on.
    after: Vec<Vec<[f64; LANES]>>,
}

impl Functionals {
    pub(crate) fn new(vectors: &[Vec<f64>]) -> Self {
        let length = vectors.first().map_or(0, Vec::len);
        let mut values = Vec::new();
        let mut after = Vec::new();
        for some in vectors.chunks(LANES) {
            let mut rows = vec![[0.0; LANES]; length];
            for (lane, vector) in some.iter().enumerate() {
                rows.iter_mut().zip(vector).for_each(|(row, value)| row[lane] = *value);
            }
            let mut sums = vec![[0.0; LANES]; length + 1];
            for index in (0..length).rev() {
                for lane in 0..LANES {
                    sums[index][lane] = sums[index + 1][lane] + rows[index][lane];
                }
            }
            values.push(rows);
            after.push(sums);
        }
        Self { count: vectors.len(), values, after }
    }

    /// The product of each with the shape that has `inside` at `between`, 0 before and 1 after.
    pub(crate) fn of(&self, between: &Range<usize>, inside: &[f64], into: &mut Vec<f64>) {
        into.clear();
        for (values, after) in self.values.iter().zip(&self.after) {
            into.extend(products(&values[between.clone()], inside, after[between.end]));
        }
        into.truncate(self.count);
    }
}

fn products(values: &[[f64; LANES]], inside: &[f64], after: [f64; LANES]) -> [f64; LANES] {
    vectorize(
        #[inline(always)]
        || {
            let mut sums = after;
            let count = values.len().min(inside.len());
            for index in 0..count {
                for lane in 0..LANES {
                    sums[lane] += values[index][lane] * inside[index];
                }
            }
            sums
        },
    )
}

/// What one rho makes of any shape.
#[derive(Debug)]
pub(crate) struct Forms {
    rho: f64,
    scale: f64,
    /// Base columns and then directions, through `W'`.
    removed: Functionals,
    base: usize,
    /// One over the deviation of every sample.
    precision: Vec<f64>,
    /// Square of `W` times 1 from a sample on, all samples before it being 1 too.
    constant_after: Vec<f64>,
}

impl Forms {
    pub(crate) fn new(noise: &Noise, rho: usize) -> Self {
        let correlation = &noise.correlations[rho];
        let vectors: Vec<Vec<f64>> = correlation
            .base
            .iter()
            .chain(&correlation.directions)
            .map(|column| unwhiten(correlation.rho, &noise.deviations, column))
            .collect();
        let precision: Vec<f64> = noise.deviations.iter().map(|deviation| 1.0 / deviation).collect();
        let rho = correlation.rho;
        let scale = 1.0 / (1.0 - rho * rho).sqrt();
        let mut constant_after = vec![0.0; precision.len() + 1];
        for index in (0..precision.len()).rev() {
            let before = if index > 0 { precision[index - 1] } else { 0.0 };
            let new = scale * (precision[index] - rho * before);
            constant_after[index] = constant_after[index + 1] + new * new;
        }
        let removed = Functionals::new(&vectors);
        Self { rho, scale, removed, base: correlation.base.len(), precision, constant_after }
    }

    /// `c' P c` at the level of this rho with the given weights, or `None` where most of it cancels; `room` is for
    /// intermediate numbers.
    pub(crate) fn square(
        &self,
        weights: &[f64],
        between: &Range<usize>,
        inside: &[f64],
        room: &mut Vec<f64>,
    ) -> Option<f64> {
        let whole = self.whitened_square(between, inside);
        self.removed.of(between, inside, room);
        let (base, directions) = room.split_at(self.base);
        let plain: f64 = base.iter().map(|part| part * part).sum();
        let mixed: f64 = directions.iter().zip(weights).map(|(part, weight)| (1.0 - weight) * part * part).sum();
        let left = whole - plain - mixed;
        (left > CANCELS * whole).then_some(left)
    }

    /// `|W c|^2`.
    fn whitened_square(&self, between: &Range<usize>, inside: &[f64]) -> f64 {
        let (mut sum, mut before) = (0.0, 0.0);
        let after = (between.end < self.precision.len()).then_some(1.0);
        for (index, value) in (between.start..).zip(inside.iter().copied().chain(after)) {
            let own = value * self.precision[index];
            let new = if index == 0 { own } else { self.scale * (own - self.rho * before) };
            sum += new * new;
            before = own;
        }
        sum + self.constant_after[(between.end + 1).min(self.precision.len())]
    }
}
