//! How strong the noise of a signal is and how long it lasts, seen through its changes.
//!
//! Differences at a lag of k samples hold a jump in k places only, so a scale that ignores the largest of them sees the
//! noise. Of stationary AR(1) noise with variance `g` and coefficient `rho` around a level,
//!
//! ```text
//! Var(y[i + k] - y[i]) / 2 = g (1 - rho^k)
//! Var(y[i] - (y[i - k] + y[i + k]) / 2) / 1.5 = g (1 - rho^k) (3 - rho^k) / 3     (around lines)
//! ```
//!
//! and a least-squares fit of the logs over the lags gives both (differences of several lags: Chakar, Lebarbier,
//! Lévy-Leduc and Robin 2017; Romano, Rigaill, Runge and Fearnhead 2022). The mean of m samples then has the variance
//! `g (1 + rho) / (1 - rho) / m`: the long-run variance is what a change of level has to be held against, and a signal
//! that drifts has a large one, because a drift cannot be told from noise that lasts.
//!
//! Noise that is stronger in one stretch than in others is charged everywhere as in the strongest of up to
//! [`MOST_STRETCHES`] equal stretches, less what the largest of as many estimates exceeds the rest by in even noise.

use std::f64::consts::FRAC_2_PI;
use std::sync::OnceLock;

use ndarray::ArrayView2;

use super::penalty::{Estimate, NORMAL_MEDIAN, variance_of};
use crate::median::median;

/// Lags that are fitted, at most.
const MOST_LAGS: usize = 4;
/// Samples for each lag: with fewer than twice these the noise is taken for independent.
const SAMPLES_A_LAG: usize = 10;
/// Coefficients tried: multiples of 0.01 from 0 on. Noise that alternates is no reason to ask for less.
const RHOS: usize = 99;
/// Stretches of the signal whose noise is compared, at most, and the samples that each has at least.
const MOST_STRETCHES: usize = 8;
const LEAST_STRETCH: usize = 20;
/// Differences beyond so many standard deviations belong to changes.
const REJECT: f64 = 3.0;
/// `E[z^2 | |z| < 3]` of a standard normal deviate.
const KEPT: f64 = 0.973_3;
/// Correlations below this are left out of sums over lags.
const SHORTEST: f64 = 1e-3;
/// Expected largest of K standard normal deviates, K = 0 to 8.
const LARGEST: [f64; MOST_STRETCHES + 1] = [0.0, 0.0, 0.564, 0.846, 1.029, 1.163, 1.267, 1.352, 1.424];

/// Noise as an autocorrelated signal shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lasting {
    /// Coefficient from one sample to the next, 0 to 0.98; `None` where the signal is too short to tell.
    pub(crate) autocorrelation: Option<f64>,
    /// Long-run variance in the strongest stretch, in squared units of the signal.
    pub(crate) long_run: f64,
    /// Long-run variance over variance: what a likelihood of independent samples is too large by.
    pub(crate) inflation: f64,
    /// Degrees of freedom of the long-run variance where the signal is too short to tell a coefficient, infinite where not.
    pub(crate) freedom: f64,
    /// Whether the long-run variance is a bound only, because changes count in it.
    pub(crate) bound: bool,
}

/// Memory that one series leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Differences(Vec<f64>);

impl Lasting {
    /// Noise of independent samples.
    pub(crate) fn not(noise: Estimate) -> Self {
        let Estimate { variance, freedom, bound } = noise;
        Self { autocorrelation: None, long_run: variance, inflation: 1.0, freedom, bound }
    }

    /// Long-run variance of the signs of normal AR(1) noise, of which `2 / pi asin(rho^lag)` is the correlation at a lag.
    pub(crate) fn inflation_of_signs(self) -> f64 {
        let rho = self.autocorrelation.unwrap_or(0.0);
        let powers = std::iter::successors(Some(rho), |power| Some(power * rho)).take_while(|power| *power > SHORTEST);
        1.0 + 2.0 * powers.map(|power| FRAC_2_PI * power.asin()).sum::<f64>()
    }
}

/// Mean over features.
pub(crate) fn lasting_noise(x: &[f64], signal: ArrayView2<'_, f64>, lines: bool) -> Lasting {
    let mut memory = Differences::default();
    let count = signal.ncols().max(1) as f64;
    let mut mean =
        Lasting { autocorrelation: Some(0.0), long_run: 0.0, inflation: 0.0, freedom: f64::INFINITY, bound: true };
    let mut spread = 0.0;
    for column in signal.columns() {
        let found = memory.lasting(x, &column.to_vec(), lines);
        mean.autocorrelation = mean.autocorrelation.zip(found.autocorrelation).map(|(sum, one)| sum + one / count);
        mean.long_run += found.long_run / count;
        mean.inflation += found.inflation / count;
        mean.bound &= found.bound;
        spread += (found.long_run / count).powi(2) / found.freedom;
    }
    // Of a mean of estimates (Satterthwaite 1946).
    if spread > 0.0 {
        mean.freedom = mean.long_run * mean.long_run / spread;
    }
    mean
}

impl Differences {
    /// Of one feature; `x` only counts for lines.
    pub(crate) fn lasting(&mut self, x: &[f64], y: &[f64], lines: bool) -> Lasting {
        let lags = (y.len() / SAMPLES_A_LAG).clamp(1, MOST_LAGS);
        let mut logs = [0.0; MOST_LAGS];
        for (lag, log) in (1..).zip(&mut logs[..lags]) {
            self.take(x, y, lag, lines);
            *log = scale_of(&mut self.0).ln();
        }
        if lags == 1 || logs[..lags].iter().any(|log| !log.is_finite()) {
            // A short signal, or one that mostly stands still.
            self.take(x, y, 1, lines);
            return Lasting::not(variance_of(&mut self.0));
        }
        let (rho, variance) = fit(&logs[..lags], lines);
        let inflation = (1.0 + rho) / (1.0 - rho);
        self.take(x, y, 1, lines);
        Lasting {
            autocorrelation: Some(rho),
            long_run: variance * inflation * louder(&mut self.0, scale_of, 3.0),
            inflation,
            freedom: f64::INFINITY,
            bound: false,
        }
    }

    /// Differences at a lag, each with the variance of one sample were the noise independent.
    fn take(&mut self, x: &[f64], y: &[f64], lag: usize, lines: bool) {
        self.0.clear();
        if lines {
            self.0.extend((lag..y.len().saturating_sub(lag)).map(|i| {
                let (before, after) = (i - lag, i + lag);
                let left = (x[after] - x[i]) / (x[after] - x[before]);
                let right = 1.0 - left;
                (y[i] - left * y[before] - right * y[after]) / (1.0 + left * left + right * right).sqrt()
            }));
        } else {
            let pairs = y.iter().zip(y.iter().skip(lag));
            self.0.extend(pairs.map(|(before, after)| (after - before) * std::f64::consts::FRAC_1_SQRT_2));
        }
    }
}

/// Variance of the differences but those of changes: the mean square of what lies within three standard deviations by
/// the median. Makes them absolute and reorders; 0 where most are 0.
fn scale_of(differences: &mut [f64]) -> f64 {
    if differences.is_empty() {
        return 0.0;
    }
    differences.iter_mut().for_each(|value| *value = value.abs());
    let reach = REJECT * NORMAL_MEDIAN * median(differences);
    let (mut sum, mut count) = (0.0, 0.0);
    for value in differences.iter().filter(|value| **value <= reach) {
        sum += value * value;
        count += 1.0;
    }
    sum / f64::max(count, 1.0) / KEPT
}

/// How much stronger noise is in the strongest of equal stretches than all over by `scale`, 1 or more. `spread` over the
/// number of values is the relative variance of a scale: 2 for independent values, 3 for differences of neighbours,
/// which share a sample. May reorder.
pub(crate) fn louder(values: &mut [f64], scale: impl Fn(&mut [f64]) -> f64, spread: f64) -> f64 {
    let count = values.len();
    let stretches = (count / LEAST_STRETCH).clamp(1, MOST_STRETCHES);
    let mut strongest = 0.0_f64;
    for stretch in 0..stretches {
        let (from, to) = (stretch * count / stretches, (stretch + 1) * count / stretches);
        strongest = strongest.max(scale(&mut values[from..to]));
    }
    let by_chance = 1.0 + LARGEST[stretches] * (spread * stretches as f64 / count as f64).sqrt();
    let ratio = strongest / scale(values) / by_chance;
    if ratio.is_finite() { ratio.max(1.0) } else { 1.0 }
}

/// Coefficient and variance for the logs of the variances at lags 1, 2, ...
fn fit(logs: &[f64], lines: bool) -> (f64, f64) {
    static SHAPES: OnceLock<[Vec<[f64; MOST_LAGS]>; 2]> = OnceLock::new();
    let shapes = &SHAPES.get_or_init(|| [false, true].map(shapes))[usize::from(lines)];
    let count = logs.len() as f64;
    let mut best = (f64::INFINITY, 0, 0.0);
    for (index, shape) in shapes.iter().enumerate() {
        let mean = logs.iter().zip(shape).map(|(log, shape)| log - shape).sum::<f64>() / count;
        let left: f64 = logs.iter().zip(shape).map(|(log, shape)| (log - shape - mean).powi(2)).sum();
        if left < best.0 {
            best = (left, index, mean);
        }
    }
    (best.1 as f64 / 100.0, best.2.exp())
}

/// For every coefficient the logs of the variances of its differences, for noise of variance 1.
fn shapes(lines: bool) -> Vec<[f64; MOST_LAGS]> {
    (0..RHOS)
        .map(|index| {
            std::array::from_fn(|lag| {
                let power = (index as f64 / 100.0).powi(lag as i32 + 1);
                if lines { ((1.0 - power) * (3.0 - power) / 3.0).ln() } else { (1.0 - power).ln() }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{Lasting, lasting_noise};
    use crate::random::Random;

    /// AR(1) noise of variance 4 around levels that jump by 10 every 500 samples, on top of a line in x.
    fn found(rho: f64, slope: f64, lines: bool, loud: f64) -> Lasting {
        let n = 20_000;
        let x: Vec<f64> = (0..n).map(f64::from).collect();
        let mut noise = Random::new(7);
        let mut state = noise.normal();
        let signal = Array2::from_shape_fn((n as usize, 1), |(i, _)| {
            state = rho * state + (1.0 - rho * rho).sqrt() * noise.normal();
            let size = if i < 5_000 { loud } else { 1.0 };
            slope * x[i] + if i % 1000 < 500 { 10.0 } else { 0.0 } + 2.0 * size * state
        });
        lasting_noise(&x, signal.view(), lines)
    }

    #[test]
    fn coefficient_and_long_run_variance_are_those_of_the_noise_whatever_jumps_there_are() {
        for rho in [0.0, 0.5, 0.9] {
            for (slope, lines) in [(0.0, false), (3.0, true)] {
                let seen = found(rho, slope, lines, 1.0);
                assert!((seen.autocorrelation.unwrap() - rho).abs() < 0.04, "{rho} {lines}: {seen:?}");
                let ratio = seen.long_run / (4.0 * (1.0 + rho) / (1.0 - rho));
                // At 0.9 an error of 0.02 in the coefficient is a quarter of the long-run variance.
                assert!((0.6..2.5).contains(&ratio), "{rho} {lines}: {ratio}");
            }
        }
    }

    #[test]
    fn the_strongest_stretch_counts() {
        let seen = found(0.0, 0.0, false, 3.0);
        assert!((30.0..40.0).contains(&seen.long_run), "{seen:?}");
    }
}
