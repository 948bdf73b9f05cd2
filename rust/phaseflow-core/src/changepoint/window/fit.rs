//! Least squares of a curve with and without a window.
//!
//! `statistic = 2 (largest restricted log-likelihood with a window - largest without)`, over the AR(1) coefficient and,
//! as below, the size of the relaxations. Choosing them on both sides keeps the power that is lost when a window is taken
//! for autocorrelation or for a rough base, and the simulated distribution of the same statistic pays for the freedom.
//!
//! Smooth curves are no typical draws of the base, and two things keep the false-alarm rate on them. A wide window beside
//! a stiff base stands in for a single relaxation, which a likelihood that may trade one for the other prefers to a
//! typical mixture: beside a window wide enough for that, the relaxations keep the size that they have without one. And
//! modes of the base in which a single relaxation is large would be shrunk by several standard deviations of the noise,
//! and a wide window takes that up: so that size is a step ([`SPARE`]) above the likeliest. For narrow windows, which no
//! relaxation looks like, the size is chosen anew on both sides.

use std::ops::Range;

use super::detector::Detector;
use super::likelihood::{Likelihood, Products, weighted};
use super::noise::{Image, Level, Noise, Projected};
use super::scan::Widths;
use crate::changepoint::linear_algebra::{add_scaled, dot};
use crate::vectorize::vectorize;
use crate::{Cancel, Result};

/// Residual sums of squares below this, on a curve scaled to unit range, are rounding.
pub(crate) const ROUNDING: f64 = 1e-28;
/// Times the best window and the noise level are chosen in turn.
const TURNS: usize = 3;
/// Steps of the relaxations' size above the likeliest.
const SPARE: usize = 1;
/// An AR(1) coefficient at which windows are found whatever the coefficient is.
const WEAK_RHO: f64 = 0.3;

/// The best window of a curve, on the grid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    /// Likeliest noise level without this window: the one whose simulated distribution the statistic belongs to.
    pub(crate) null_level: Level,
    pub(crate) statistic: f64,
    /// Candidate slots; `None` where the base fits to rounding or no window is usable.
    pub(crate) window: Option<(usize, usize)>,
    /// With the window, and among which widths it was found.
    pub(crate) alternative: Likelihood,
    pub(crate) widths: Widths,
}

/// `a' P b` at a level with the given weights.
pub(crate) fn product(weights: &[f64], a: &Projected, b: &Projected) -> f64 {
    vectorize(
        #[inline(always)]
        || dot(&a.rest, &b.rest) + weighted(weights, &a.parts, &b.parts),
    )
}

fn subtract(target: &mut Projected, factor: f64, source: &Projected) {
    add_scaled(&mut target.rest, -factor, &source.rest);
    add_scaled(&mut target.parts, -factor, &source.parts);
}

pub(crate) fn roomy(noise: &Noise, level: Level) -> usize {
    (level.tau + SPARE).min(noise.taus.len() - 1)
}

/// A curve at one noise level with earlier windows removed from it.
pub(crate) struct Beside {
    pub(crate) level: Level,
    pub(crate) weights: Vec<f64>,
    /// Earlier windows, orthonormal under `P`.
    pub(crate) columns: Vec<Projected>,
    /// The curve, orthogonal to them.
    pub(crate) curve: Projected,
}

impl Beside {
    pub(crate) fn new(noise: &Noise, level: Level, earlier: &[&Image], curve: &Image) -> Self {
        let mut beside = Self {
            level,
            weights: noise.weights(level).to_vec(),
            columns: Vec::with_capacity(earlier.len()),
            curve: Projected { rest: Vec::new(), parts: Vec::new() },
        };
        for image in earlier {
            let mut column = image.0[level.rho].clone();
            let before = product(&beside.weights, &column, &column);
            beside.clear(&mut column);
            let square = product(&beside.weights, &column, &column);
            if square > 1e-10 * before && square > ROUNDING {
                let scale = 1.0 / square.sqrt();
                column.rest.iter_mut().chain(&mut column.parts).for_each(|value| *value *= scale);
                beside.columns.push(column);
            }
        }
        let mut curve = curve.0[level.rho].clone();
        beside.clear(&mut curve);
        beside.curve = curve;
        beside
    }

    /// Removes the earlier windows from a vector.
    pub(crate) fn clear(&self, vector: &mut Projected) {
        for column in &self.columns {
            let part = product(&self.weights, column, vector);
            subtract(vector, part, column);
        }
    }

    /// The curve's residual sum of squares.
    pub(crate) fn square(&self) -> f64 {
        product(&self.weights, &self.curve, &self.curve)
    }

    /// Hinge products of the curve and of every earlier window.
    pub(crate) fn hinge_products(&self, detector: &Detector) -> (Vec<f64>, Vec<Vec<f64>>) {
        let products = |vector| detector.places.hinge_products(&detector.noise.residual(self.level, vector));
        (products(&self.curve), self.columns.iter().map(products).collect())
    }
}

/// The likeliest level beside `earlier` and a further column, with the relaxations a step larger.
pub(crate) fn with_room(products: &Products<'_>, column: &Image) -> Likelihood {
    let column = |rho: usize, into: &mut Projected| into.clone_from(&column.0[rho]);
    let noise = products.noise;
    let tau = roomy(noise, products.with(column, 0..noise.taus.len()).level);
    products.with(column, tau..tau + 1)
}

/// The best window of `curve` beside the earlier ones, and its statistic.
pub(crate) fn best_window(detector: &Detector, earlier: &[&Image], curve: &Image, cancel: &Cancel) -> Result<Fit> {
    cancel.check()?;
    let noise = &detector.noise;
    let products = Products::new(noise, earlier, curve);
    let free = products.likeliest();
    let roomy = products.likeliest_at(roomy(noise, free.level));
    let mut fit = Fit { null_level: free.level, statistic: 0.0, window: None, alternative: free, widths: Widths::All };
    if Beside::new(noise, roomy.level, earlier, curve).square() <= ROUNDING * noise.freedom as f64 {
        return Ok(fit);
    }
    // From a level on all goes as it went before.
    let (mut scanned, mut known) = (Vec::new(), Vec::new());
    for (widths, first) in first_levels(noise, free.level, roomy.level) {
        let without = if widths == Widths::All { roomy.value } else { free.value };
        let mut level = first;
        for _ in 0..TURNS {
            if scanned.contains(&(widths, level)) {
                break;
            }
            scanned.push((widths, level));
            cancel.check()?;
            let Some((window, alternative)) = best_at(detector, &products, level, widths, &mut known) else { break };
            let statistic = 2.0 * (alternative.value - without);
            let better = fit.window.is_none() || statistic > fit.statistic;
            if better {
                fit.statistic = statistic.max(0.0);
                fit.window = Some(window);
                fit.alternative = alternative;
                fit.widths = widths;
            }
            if !better || alternative.level == level {
                break;
            }
            level = alternative.level;
        }
    }
    Ok(fit)
}

/// Noise levels to scan at first. A strong window looks like strong autocorrelation or a rough base while it is not in
/// the model, and at that level the scan may prefer a wrong window; so it also starts from weaker ones.
fn first_levels(noise: &Noise, free: Level, roomy: Level) -> Vec<(Widths, Level)> {
    let weak = noise.correlations.iter().position(|correlation| correlation.rho >= WEAK_RHO).unwrap_or(0);
    let mut levels = vec![(Widths::All, roomy), (Widths::All, Level { rho: weak.min(roomy.rho), ..roomy })];
    if noise.taus.len() > 1 {
        let rho = weak.min(free.rho);
        levels.extend([free, Level { rho, tau: 0 }, Level { rho, tau: free.tau.saturating_sub(4) }].map(narrow));
    }
    levels.dedup();
    levels
}

fn narrow(level: Level) -> (Widths, Level) {
    (Widths::Narrow, level)
}

/// The window of largest gain at one noise level, and the likelihood with it; `known` holds those of earlier scans, which
/// often found the same window.
fn best_at(
    detector: &Detector,
    products: &Products<'_>,
    level: Level,
    widths: Widths,
    known: &mut Vec<(Asked, Likelihood)>,
) -> Option<((usize, usize), Likelihood)> {
    let beside = Beside::new(&detector.noise, level, products.earlier, products.curve);
    let (b, parts) = beside.hinge_products(detector);
    let table = detector.table(level);
    let best = if parts.is_empty() { table.best(&b, widths) } else { table.best_beside(&b, &parts, widths) }?;
    let place = (best.start, best.end);
    let taus = match widths {
        Widths::All => level.tau..level.tau + 1,
        Widths::Narrow => 0..detector.noise.taus.len(),
    };
    let asked = (place, taus.clone());
    if let Some((_, likelihood)) = known.iter().find(|(earlier, _)| *earlier == asked) {
        return Some((place, *likelihood));
    }
    let likelihood = products.with(|rho, into| detector.ramp(rho, place, into), taus);
    known.push((asked, likelihood));
    Some((place, likelihood))
}

/// A window, and the sizes of the relaxations among which the likeliest level was asked for.
type Asked = ((usize, usize), Range<usize>);
