//! The errors around a curve, and least squares under them.
//!
//! Covariance at a level `(rho, tau)`, up to one common variance that is estimated:
//!
//! ```text
//! V = S R_rho S + tau^2 Z Z'     R_rho[i, j] = rho^|i - j|, S = diag(standard deviations), Z = relaxations
//! ```
//!
//! AR(1) by index step, plus the random mixture of relaxations. With free base columns B the residual operator is
//! `P = V^-1 - V^-1 B (B' V^-1 B)^-1 B' V^-1`; everything the detector needs is a product `a' P b`, and the restricted
//! log-likelihood of a level is `-(ln|V| + ln|B' V^-1 B| + (n - p) ln(y' P y)) / 2`.
//!
//! One [`Correlation`] a rho: whitening turns R into the identity, a QR step removes B, and the left singular vectors
//! U of what is left of Z, with squared singular values lambda, make tau a matter of weights:
//! `a' P b = f_a . f_b + sum_k c_ak c_bk / (1 + tau^2 lambda_k)` with `c = U' e`, `f = e - U c`, `e` the whitened,
//! base-free vector. All terms are sums of products of residuals: nothing cancels, however small the noise.

use rayon::prelude::*;

use super::super::autoregression::{RHOS, innovations, standardised, unwhiten, whiten};
use super::super::linear_algebra::{add_all_scaled, dots, orthonormalise, principal_directions, project_out};
use super::together::{TOGETHER, of_lane, project, side_by_side};
use crate::vectorize::vectorize;
use crate::{Cancel, Result};

/// Ratios tried of the relaxations' standard deviation to the noise's: 0, then half decades.
const TAU_EXPONENTS: std::ops::RangeInclusive<i32> = -2..=12;

/// Sizes of the relaxations that are computed together: as many as there are.
pub(crate) const LANES: usize = 16;

/// Which covariance: an index into [`Noise::correlations`] and one into [`Noise::taus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Level {
    pub(crate) rho: usize,
    pub(crate) tau: usize,
}

/// All covariances of a grid of checkpoints.
#[derive(Debug)]
pub(crate) struct Noise {
    pub(crate) correlations: Vec<Correlation>,
    pub(crate) taus: Vec<f64>,
    /// Samples less free base columns.
    pub(crate) freedom: usize,
    /// The relaxations as they are, to draw curves from.
    pub(crate) relaxations: Vec<Vec<f64>>,
    pub(crate) deviations: Vec<f64>,
    /// Of every level: see [`Noise::log_scale`] and [`Noise::weights`].
    log_scales: Vec<f64>,
    relative_scales: Vec<[f64; LANES]>,
    weights: Vec<Vec<f64>>,
    /// Of every rho and direction: the weights at all taus, 0 beyond.
    weights_at_all_taus: Vec<Vec<[f64; LANES]>>,
}

impl Noise {
    pub(crate) fn new(
        free: &[Vec<f64>],
        relaxations: Vec<Vec<f64>>,
        deviations: Vec<f64>,
        cancel: &Cancel,
    ) -> Result<Self> {
        // What the free columns say already is no part of the mixture.
        let (basis, _) = orthonormalise(free.to_vec());
        let relaxations: Vec<Vec<f64>> = relaxations
            .into_iter()
            .map(|mut column| {
                project_out(&mut column, &basis);
                column
            })
            .collect();
        let correlations = RHOS
            .par_iter()
            .map(|&rho| {
                cancel.check()?;
                Ok(Correlation::new(rho, free, &relaxations, &deviations))
            })
            .collect::<Result<Vec<_>>>()?;
        let taus = if relaxations.is_empty() {
            vec![0.0]
        } else {
            std::iter::once(0.0).chain(TAU_EXPONENTS.map(|exponent| 10.0_f64.powf(f64::from(exponent) / 2.0))).collect()
        };
        let (mut log_scales, mut weights) = (Vec::new(), Vec::new());
        for Correlation { strengths, log_det, .. } in &correlations {
            for tau in &taus {
                let square = tau * tau;
                let mixture: f64 = strengths.iter().map(|strength| (square * strength).ln_1p()).sum();
                log_scales.push(-0.5 * (log_det + mixture));
                weights.push(strengths.iter().map(|strength| 1.0 / (1.0 + square * strength)).collect());
            }
        }
        let freedom = deviations.len() - basis.len();
        let largest = log_scales.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let relative_scales = log_scales
            .chunks(taus.len())
            .map(|scales| {
                let mut lanes = [0.0; LANES];
                lanes.iter_mut().zip(scales).for_each(|(lane, scale)| {
                    *lane = (2.0 * (scale - largest) / freedom as f64).exp();
                });
                lanes
            })
            .collect();
        let weights_at_all_taus = weights.chunks(taus.len()).map(across).collect();
        Ok(Self {
            correlations,
            taus,
            freedom,
            relaxations,
            deviations,
            log_scales,
            relative_scales,
            weights,
            weights_at_all_taus,
        })
    }

    /// Which of all levels, by rho and then by tau.
    pub(crate) fn index(&self, level: Level) -> usize {
        level.rho * self.taus.len() + level.tau
    }

    /// `y` as every correlation sees it.
    pub(crate) fn image(&self, y: &[f64]) -> Image {
        let standardised = standardised(&self.deviations, y);
        Image(self.correlations.iter().map(|correlation| correlation.project(&standardised)).collect())
    }

    /// The images of several vectors, in less time than one by one.
    pub(crate) fn images(&self, vectors: &[Vec<f64>]) -> Vec<Image> {
        vectors.chunks(TOGETHER).flat_map(|some| self.images_together(some)).collect()
    }

    fn images_together(&self, vectors: &[Vec<f64>]) -> Vec<Image> {
        let standardised: Vec<Vec<f64>> = vectors.iter().map(|y| standardised(&self.deviations, y)).collect();
        let together = side_by_side(&standardised);
        let mut images: Vec<Image> =
            vectors.iter().map(|_| Image(Vec::with_capacity(self.correlations.len()))).collect();
        for correlation in &self.correlations {
            let (rests, parts) = project(correlation, &together);
            for (lane, image) in images.iter_mut().enumerate() {
                image.0.push(Projected { rest: of_lane(&rests, lane), parts: of_lane(&parts, lane) });
            }
        }
        images
    }

    /// `y` as one correlation sees it.
    pub(crate) fn project(&self, rho: usize, y: &[f64]) -> Projected {
        self.correlations[rho].project(&standardised(&self.deviations, y))
    }

    /// `-(ln|V| + ln|B' V^-1 B|) / 2`, the part of the restricted log-likelihood without data.
    pub(crate) fn log_scale(&self, level: Level) -> f64 {
        self.log_scales[self.index(level)]
    }

    /// `exp(2 log_scale / freedom)` over its largest value, at all taus; 0 beyond.
    pub(crate) fn relative_scales_at_all_taus(&self, rho: usize) -> &[f64; LANES] {
        &self.relative_scales[rho]
    }

    /// For every direction its weights at all taus.
    pub(crate) fn weights_at_all_taus(&self, rho: usize) -> &[[f64; LANES]] {
        &self.weights_at_all_taus[rho]
    }

    /// `1 / (1 + tau^2 lambda_k)`.
    pub(crate) fn weights(&self, level: Level) -> &[f64] {
        &self.weights[self.index(level)]
    }

    /// `P y` at a level.
    pub(crate) fn residual(&self, level: Level, y: &Projected) -> Vec<f64> {
        let correlation = &self.correlations[level.rho];
        let mut whitened = y.rest.clone();
        vectorize(
            #[inline(always)]
            || {
                let factors: Vec<f64> = self.weights(level).iter().zip(&y.parts).map(|(w, part)| w * part).collect();
                add_all_scaled(&mut whitened, &factors, &correlation.directions);
            },
        );
        unwhiten(correlation.rho, &self.deviations, &whitened)
    }
}

/// Weights `[tau][direction]` as `[direction][tau]`.
fn across(weights: &[Vec<f64>]) -> Vec<[f64; LANES]> {
    let directions = weights.first().map_or(0, Vec::len);
    let mut turned = vec![[0.0; LANES]; directions];
    for (tau, weights) in weights.iter().enumerate().take(LANES) {
        weights.iter().zip(&mut turned).for_each(|(weight, lanes)| lanes[tau] = *weight);
    }
    turned
}

/// The whitened, base-free form of everything for one AR(1) coefficient.
#[derive(Debug)]
pub(crate) struct Correlation {
    pub(crate) rho: f64,
    pub(crate) base: Vec<Vec<f64>>,
    pub(crate) directions: Vec<Vec<f64>>,
    strengths: Vec<f64>,
    log_det: f64,
}

/// A vector after whitening and removing the base, split along the relaxations' directions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Projected {
    pub(crate) rest: Vec<f64>,
    pub(crate) parts: Vec<f64>,
}

/// A vector as every [`Correlation`] sees it.
#[derive(Debug, Clone)]
pub(crate) struct Image(pub(crate) Vec<Projected>);

impl Correlation {
    fn new(rho: f64, free: &[Vec<f64>], relaxations: &[Vec<f64>], deviations: &[f64]) -> Self {
        let (base, log_det_base) = orthonormalise(free.iter().map(|column| whiten(rho, deviations, column)).collect());
        let mixture = relaxations
            .iter()
            .map(|column| {
                let mut whitened = whiten(rho, deviations, column);
                project_out(&mut whitened, &base);
                whitened
            })
            .collect();
        let (directions, strengths) = principal_directions(mixture);
        let log_det_noise = (deviations.len() - 1) as f64 * (1.0 - rho * rho).ln()
            + 2.0 * deviations.iter().map(|deviation| deviation.ln()).sum::<f64>();
        Self { rho, base, directions, strengths, log_det: log_det_noise + 2.0 * log_det_base }
    }

    fn project(&self, standardised: &[f64]) -> Projected {
        vectorize(
            #[inline(always)]
            || {
                let mut rest = innovations(self.rho, standardised);
                let base: Vec<f64> = dots(&self.base, &rest).iter().map(|part| -part).collect();
                add_all_scaled(&mut rest, &base, &self.base);
                let parts = dots(&self.directions, &rest);
                let removed: Vec<f64> = parts.iter().map(|part| -part).collect();
                add_all_scaled(&mut rest, &removed, &self.directions);
                Projected { rest, parts }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Noise;
    use crate::Cancel;

    #[test]
    fn images_made_together_have_the_bits_of_those_made_alone() {
        for (n, count) in [(12, 1), (29, 7), (40, 8), (75, 19)] {
            let u: Vec<f64> = (0..n).map(|i| f64::from(i) / f64::from(n - 1)).collect();
            let relaxations =
                (0..9).map(|k| u.iter().map(|u| (-f64::from(k * k) * u).exp()).collect::<Vec<f64>>()).collect();
            let deviations = u.iter().map(|u| 1.0 + u).collect();
            let noise = Noise::new(&[vec![1.0; u.len()], u.clone()], relaxations, deviations, &Cancel::new()).unwrap();
            let curve = |seed: usize| u.iter().map(|u| (u * (7.0 + 31.0 * seed as f64)).sin()).collect::<Vec<f64>>();
            let curves: Vec<Vec<f64>> = (0..count).map(curve).collect();
            for (curve, together) in curves.iter().zip(noise.images(&curves)) {
                for (alone, together) in noise.image(curve).0.iter().zip(&together.0) {
                    assert_eq!(alone.rest, together.rest);
                    assert_eq!(alone.parts, together.parts);
                }
            }
        }
    }
}
