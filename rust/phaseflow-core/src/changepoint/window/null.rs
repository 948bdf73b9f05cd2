//! The distribution of the statistic on curves without a window.
//!
//! Curves are drawn from the noise level that fits the curve at hand best without a window (AR(1) noise plus a random
//! mixture of relaxations) and go through the same steps as the data: level chosen, grid scanned, level chosen again.
//! Real curves are often a few relaxations and not many, so the mixtures are of one, two, four and all of them in turn,
//! with the same variance in sum.
//! Beyond the largest tenth of the draws the tail is an exponential with the mean excess of that tenth, which is the
//! form it has for a single window exactly; p-values far below 1 / draws rest on that form.

use super::super::autoregression::RHOS;
use super::detector::Detector;
use super::fit::best_window;
use super::noise::Level;
use crate::random::Random;
use crate::{Cancel, Result};

/// Sorted statistics of the simulated curves of one noise level.
#[derive(Debug)]
pub(crate) struct Null {
    sorted: Vec<f64>,
}

/// How many relaxations a drawn curve has.
const ACTIVE: [usize; 4] = [1, 2, 4, usize::MAX];

/// The largest part of the draws that the exponential tail is fitted to.
const TAIL: f64 = 0.1;

impl Null {
    pub(crate) fn simulate(detector: &Detector, level: Level, cancel: &Cancel) -> Result<Self> {
        // A stream a level and draw: the numbers do not depend on which levels were asked for before.
        let first = (detector.noise.index(level) as u64) << 32;
        let mut sorted = detector.each_together(detector.options.simulations, cancel, |some| {
            let curve = |index: usize| {
                let mut random = Random::stream(detector.options.seed, first + index as u64);
                scaled(&draw(detector, level, ACTIVE[index % ACTIVE.len()], &mut random)).0
            };
            let images = detector.noise.images(&some.map(curve).collect::<Vec<_>>());
            images.iter().map(|image| Ok(best_window(detector, &[], image, cancel)?.statistic)).collect()
        })?;
        sorted.sort_by(f64::total_cmp);
        Ok(Self { sorted })
    }

    /// Probability of a statistic this large without a window.
    pub(crate) fn p_value(&self, statistic: f64) -> f64 {
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

/// A curve without a window, of so many relaxations.
fn draw(detector: &Detector, level: Level, active: usize, random: &mut Random) -> Vec<f64> {
    let (rho, tau) = (RHOS[level.rho], detector.noise.taus[level.tau]);
    let innovation = (1.0 - rho * rho).sqrt();
    let mut state = 0.0;
    let mut curve: Vec<f64> = detector
        .noise
        .deviations
        .iter()
        .enumerate()
        .map(|(index, deviation)| {
            let fresh = random.normal();
            state = if index == 0 { fresh } else { rho * state + innovation * fresh };
            state * deviation
        })
        .collect();
    let relaxations = &detector.noise.relaxations;
    let active = active.min(relaxations.len());
    let weight = tau * (relaxations.len() as f64 / active.max(1) as f64).sqrt();
    for index in 0..active {
        let which = if active < relaxations.len() { random.below(relaxations.len()) } else { index };
        let weight = weight * random.normal();
        curve.iter_mut().zip(&relaxations[which]).for_each(|(value, relaxation)| *value += weight * relaxation);
    }
    curve
}

/// The curve less its mean, over its largest deviation from it (the second value; 0 for a constant curve).
pub(crate) fn scaled(curve: &[f64]) -> (Vec<f64>, f64) {
    let count = curve.len() as f64;
    let centre = curve.iter().map(|value| value / count).sum::<f64>();
    let mut centred: Vec<f64> = curve.iter().map(|value| value - centre).collect();
    let largest = centred.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if largest > 0.0 {
        centred.iter_mut().for_each(|value| *value /= largest);
    }
    (centred, largest)
}
