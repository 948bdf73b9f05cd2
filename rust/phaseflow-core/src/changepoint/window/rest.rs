//! What a curve has beside its windows: white noise, to see whether it is equally strong everywhere.
//!
//! At the likeliest level beside the windows: the curve less base, windows and the relaxations as they are best
//! predicted, in units of the assumed deviations and freed of autocorrelation, `W (y - fit)`. Whatever is fitted follows the
//! noise a little, most at the ends of a curve; every value is divided by what that leaves of its deviation.

use super::detector::Detector;
use super::fit::{Beside, roomy};
use super::likelihood::Products;
use super::noise::{Image, Level, Noise, Projected};

/// A sample of whose variance the fit leaves less says nothing: its rest is NaN.
const LEAST_SHARE: f64 = 0.3;

/// One value a sample; all of one size where the noise is as assumed.
pub(crate) fn rest(detector: &Detector, windows: &[&Image], curve: &Image) -> Vec<f64> {
    let noise = &detector.noise;
    let level = Products::new(noise, windows, curve).likeliest().level;
    let level = Level { tau: roomy(noise, level), ..level };
    let beside = Beside::new(noise, level, windows, curve);
    let mut rest = whitened(noise, level, &beside.curve);
    let mut shares = left_by_base(noise, level);
    for column in &beside.columns {
        shares.iter_mut().zip(whitened(noise, level, column)).for_each(|(share, part)| *share -= part * part);
    }
    rest.iter_mut().zip(shares).for_each(|(value, share)| {
        *value = if share < LEAST_SHARE { f64::NAN } else { *value / share.sqrt() };
    });
    rest
}

/// The share of each sample's variance that free base and relaxations leave.
fn left_by_base(noise: &Noise, level: Level) -> Vec<f64> {
    let correlation = &noise.correlations[level.rho];
    let taken = correlation.base.iter().map(|column| (column, 1.0));
    let shrunk = correlation.directions.iter().zip(noise.weights(level)).map(|(column, weight)| (column, 1.0 - weight));
    let mut shares = vec![1.0; noise.deviations.len()];
    for (column, part) in taken.chain(shrunk) {
        shares.iter_mut().zip(column).for_each(|(share, value)| *share -= part * value * value);
    }
    shares
}

/// `W (y - fit)`.
fn whitened(noise: &Noise, level: Level, y: &Projected) -> Vec<f64> {
    let mut whitened = y.rest.clone();
    let directions = &noise.correlations[level.rho].directions;
    for ((direction, weight), part) in directions.iter().zip(noise.weights(level)).zip(&y.parts) {
        whitened.iter_mut().zip(direction).for_each(|(value, along)| *value += weight * part * along);
    }
    whitened
}
