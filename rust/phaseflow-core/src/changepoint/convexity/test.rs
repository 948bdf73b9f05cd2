//! The largest contrast of a curve, held against its distribution on convex curves with the same noise.
//!
//! For each AR(1) coefficient rho the contrasts are divided by their standard deviation (the curve's own deviations,
//! see [`noise`](super::noise)), and the largest is compared with that of simulated curves, which go through the same.
//! Were the noise known, straight lines would give the most false alarms; it is estimated, and beside a steep part or a
//! corner comes out too small on short curves. So lines and curves with a corner are simulated, and the larger p-value
//! counts. It is the mean over the coefficients, weighted by how well each suits the curve: where a short curve
//! does not tell how its noise is correlated, that uncertainty is in it.
//!
//! Beyond the largest tenth of the simulated values the tail is an exponential with that tenth's mean excess.

use std::sync::OnceLock;

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::super::autoregression::RHOS;
use super::contrast::{Contrast, Covariance, contrasts, prefix_sums};
use super::intervals::{Bump, bumps};
use super::noise::Noise;
use crate::random::Random;
use crate::{Cancel, Error, Result};

/// Coefficients with a smaller share of the posterior are left out.
const LEAST_WEIGHT: f64 = 0.005;
/// Convex courses that false alarms are simulated on.
const COURSES: usize = 2;
/// How far the second of them falls, in deviations of the noise.
const FALL: f64 = 40.0;
/// The largest part of the simulated values that the exponential tail is fitted to.
const TAIL: f64 = 0.1;
/// Contrasts between two looks at whether to stop.
const AT_ONCE: usize = 4096;
/// Fewest samples: a cubic and as many again, twice.
pub(super) const LEAST_SAMPLES: usize = 12;

/// How the null distribution is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Straight lines simulated for each coefficient that a curve may have, at least 100.
    pub simulations: usize,
    /// Seed of those.
    pub seed: u64,
}

/// A grid of samples, prepared; the simulated distributions are kept from one curve to the next.
#[derive(Debug)]
pub struct ConvexityTest {
    contrasts: Vec<Contrast>,
    noise: Noise,
    courses: [Vec<f64>; COURSES],
    options: Options,
    nulls: [OnceLock<Nulls>; RHOS.len()],
}

impl ConvexityTest {
    /// Prepares the grid `x`, increasing; `variance`, where given, is the noise variance of each sample up to a common
    /// factor.
    pub fn new(x: &[f64], variance: Option<&[f64]>, options: Options, cancel: &Cancel) -> Result<Self> {
        if x.len() < LEAST_SAMPLES {
            return Err(Error::TooShort { argument: "curve", axis: "sample", least: LEAST_SAMPLES, got: x.len() });
        }
        if let Some(index) = x.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { argument: "x", index: index.to_string(), value: x[index] });
        }
        if let Some(index) = (1..x.len()).find(|&index| x[index] <= x[index - 1]) {
            return Err(Error::OutOfRange {
                argument: "x",
                expected: "strictly increasing values".into(),
                got: format!("{} after {} at index {index}", x[index], x[index - 1]),
            });
        }
        if options.simulations < 100 {
            return Err(Error::OutOfRange {
                argument: "simulations",
                expected: "at least 100".into(),
                got: options.simulations.to_string(),
            });
        }
        let known = variance.map(|variance| relative_deviations(variance, x.len())).transpose()?;
        Ok(Self {
            contrasts: contrasts(x, cancel)?,
            noise: Noise::new(x, known),
            courses: least_favourable(x),
            options,
            nulls: Default::default(),
        })
    }

    /// For each of the curves, `(series, sample)`, its p-value and the stretches where it is not convex at `level`.
    pub fn bumps(&self, curves: ArrayView2<'_, f64>, level: f64, cancel: &Cancel) -> Result<Vec<(f64, Vec<Bump>)>> {
        if curves.ncols() != self.samples() {
            return Err(Error::ShapeMismatch {
                argument: "curve",
                axis: "sample",
                expected: self.samples(),
                got: curves.ncols(),
            });
        }
        if !(level > 0.0 && level <= 1.0) {
            return Err(Error::OutOfRange {
                argument: "level",
                expected: "above 0, at most 1".into(),
                got: level.to_string(),
            });
        }
        let prepared: Vec<(Vec<f64>, f64, [f64; RHOS.len()])> = curves
            .outer_iter()
            .map(|curve| {
                let (curve, scale) = scaled(&curve.to_vec());
                let weights = self.noise.weights(&curve, LEAST_WEIGHT, cancel)?;
                Ok((curve, scale, weights))
            })
            .collect::<Result<_>>()?;
        for (rho, null) in self.nulls.iter().enumerate() {
            if null.get().is_none() && prepared.iter().any(|(_, scale, weights)| *scale > 0.0 && weights[rho] > 0.0) {
                // Another thread may have been quicker; it found the same numbers.
                let _ = null.set(self.simulate(rho, cancel)?);
            }
        }
        prepared
            .par_iter()
            .map(|(curve, scale, weights)| {
                cancel.check()?;
                if *scale > 0.0 { self.bumps_of(curve, *scale, weights, level, cancel) } else { Ok((1.0, Vec::new())) }
            })
            .collect()
    }

    fn samples(&self) -> usize {
        self.courses[0].len()
    }

    fn bumps_of(
        &self,
        curve: &[f64],
        scale: f64,
        weights: &[f64; RHOS.len()],
        level: f64,
        cancel: &Cancel,
    ) -> Result<(f64, Vec<Bump>)> {
        let sums = prefix_sums(curve.iter().copied());
        let mut active: Vec<(f64, &Nulls, Covariance)> = Vec::new();
        for (rho, &weight) in weights.iter().enumerate() {
            if let Some(null) = self.nulls[rho].get().filter(|_| weight > 0.0) {
                active.push((weight, null, Covariance::new(RHOS[rho], &self.noise.deviations(curve, rho, cancel)?)));
            }
        }
        let mut least = 1.0_f64;
        let mut significant = Vec::new();
        for (index, contrast) in self.contrasts.iter().enumerate() {
            if index % AT_ONCE == 0 {
                cancel.check()?;
            }
            let value = contrast.value(&sums);
            if value <= 0.0 {
                continue;
            }
            let (mut p_value, mut error) = (0.0, 0.0);
            for (weight, null, covariance) in &active {
                let deviation = contrast.variance(covariance).sqrt();
                p_value += weight * null.p_value(value / deviation);
                error += weight * deviation;
            }
            least = least.min(p_value);
            if p_value <= level {
                significant.push((contrast, Bump::of(contrast, value * scale, error * scale, p_value)));
            }
        }
        Ok((least, bumps(&significant)))
    }

    /// The largest contrasts of convex curves whose noise has this coefficient.
    fn simulate(&self, rho: usize, cancel: &Cancel) -> Result<Nulls> {
        let innovation = (1.0 - RHOS[rho] * RHOS[rho]).sqrt();
        let found = (0..self.options.simulations)
            .into_par_iter()
            .map(|index| {
                cancel.check()?;
                // A stream a coefficient and line: the numbers do not depend on which were asked for before.
                let mut random = Random::stream(self.options.seed, ((rho as u64) << 32) + index as u64);
                let mut state = random.normal();
                let noise: Vec<f64> = (0..self.samples())
                    .map(|sample| {
                        let now = state * self.noise.known(sample);
                        state = RHOS[rho] * state + innovation * random.normal();
                        now
                    })
                    .collect();
                let mut found = [0.0; COURSES];
                for (found, course) in found.iter_mut().zip(&self.courses) {
                    let curve: Vec<f64> = noise.iter().zip(course).map(|(noise, smooth)| noise + smooth).collect();
                    *found = self.largest(&curve, rho, cancel)?;
                }
                Ok(found)
            })
            .collect::<Result<Vec<[f64; COURSES]>>>()?;
        Ok(Nulls(std::array::from_fn(|course| Null::new(found.iter().map(|one| one[course]).collect()))))
    }

    fn largest(&self, curve: &[f64], rho: usize, cancel: &Cancel) -> Result<f64> {
        let sums = prefix_sums(curve.iter().copied());
        let covariance = Covariance::new(RHOS[rho], &self.noise.deviations(curve, rho, cancel)?);
        let mut largest = 0.0_f64;
        for contrasts in self.contrasts.chunks(AT_ONCE) {
            cancel.check()?;
            largest = contrasts.iter().fold(largest, |most, contrast| {
                let value = contrast.value(&sums);
                if value > 0.0 { most.max(value / contrast.variance(&covariance).sqrt()) } else { most }
            });
        }
        Ok(largest)
    }
}

/// Distributions of the largest contrast, one for each course that is simulated.
#[derive(Debug)]
struct Nulls([Null; COURSES]);

impl Nulls {
    /// How often a convex curve has a contrast this large, on the worse of the courses.
    fn p_value(&self, statistic: f64) -> f64 {
        self.0.iter().map(|null| null.p_value(statistic)).fold(0.0, f64::max)
    }
}

/// Sorted largest contrasts of curves of one course.
#[derive(Debug)]
struct Null {
    sorted: Vec<f64>,
}

impl Null {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// How often such a curve has a contrast this large.
    fn p_value(&self, statistic: f64) -> f64 {
        let count = self.sorted.len();
        let tail = ((count as f64 * TAIL) as usize).max(1);
        let threshold = self.sorted[count - tail];
        if statistic <= threshold {
            let above = count - self.sorted.partition_point(|value| *value < statistic);
            return (above as f64 + 1.0) / (count as f64 + 1.0);
        }
        let excess = self.sorted[count - tail..].iter().map(|value| value - threshold).sum::<f64>() / tail as f64;
        (tail as f64 + 1.0) / (count as f64 + 1.0) * (-(statistic - threshold) / excess.max(1e-3)).exp()
    }
}

/// Convex courses on which noise is hardest to tell, in units of its deviation: a straight line, and one that falls
/// steeply over the first quarter of the samples and then not at all.
fn least_favourable(x: &[f64]) -> [Vec<f64>; COURSES] {
    let corner = x[(x.len() / 4).max(1)];
    let fall = |x: &f64, start: f64| FALL * ((corner - x) / (corner - start)).max(0.0);
    [vec![0.0; x.len()], x.iter().map(|at| fall(at, x[0])).collect()]
}

/// The curve less its first value, over its largest distance from it (the second value; 0 for a constant curve).
fn scaled(curve: &[f64]) -> (Vec<f64>, f64) {
    let largest = curve.iter().fold(0.0_f64, |largest, value| largest.max((value - curve[0]).abs()));
    let over = if largest > 0.0 { largest } else { 1.0 };
    (curve.iter().map(|value| (value - curve[0]) / over).collect(), largest)
}

/// Standard deviations with geometric mean 1.
fn relative_deviations(variance: &[f64], samples: usize) -> Result<Vec<f64>> {
    if variance.len() != samples {
        return Err(Error::ShapeMismatch {
            argument: "variance",
            axis: "sample",
            expected: samples,
            got: variance.len(),
        });
    }
    if let Some(index) = variance.iter().position(|value| !value.is_finite() || *value <= 0.0) {
        return Err(Error::OutOfRange {
            argument: "variance",
            expected: "finite and above 0 at every sample".into(),
            got: format!("{} at index {index}", variance[index]),
        });
    }
    let middle = variance.iter().map(|value| value.ln()).sum::<f64>() / samples as f64;
    Ok(variance.iter().map(|value| (0.5 * (value.ln() - middle)).exp()).collect())
}
