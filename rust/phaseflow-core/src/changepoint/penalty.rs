//! What one more changepoint must be worth.
//!
//! A criterion is a number of noise variances for every parameter that a changepoint adds (its place, and the new
//! level, slope or both of every feature):
//!
//! | criterion | penalty |
//! |---|---|
//! | `bic` | `parameters * ln(n) * variance` |
//! | `mbic` | `(2 ln(n) + sum over parameters of a segment of ln(length)) * variance` |
//! | `aic` | `2 * parameters * variance` |
//! | `hannan-quinn` | `2 * parameters * ln(ln(n)) * variance` |
//! | `auto` | `parameters * ln(max(n, 30)) * long-run variance`, and what follows |
//!
//! The variance comes from differences of neighbouring samples, which changes do not reach: it assumes noise that is
//! independent between samples and equally strong everywhere. The long-run variance of [`noise`](super::noise) assumes
//! neither.
//!
//! BIC is made for many samples. With fewer than 30, `ln(n)` falls faster than the number of places to look at, so
//! `auto` charges no less than for these; and where the variance is read off a few differences, with f degrees of
//! freedom, it charges a gain over it as the likelihood with an unknown variance does: a gain of T variances is a
//! deviance of `f ln(1 + T / f)`, so that a deviance D asks for `f (e^(D / f) - 1)` of them. Neither where most
//! neighbours are equal: the mean square that stands for the variance there has the changes in it, and is dear enough.
//!
//! mBIC charges a place twice, because every sample may be one, and each of a segment's own parameters by the samples
//! that it is estimated from (Zhang and Siegmund 2007, written there as `3 ln(n)` a changepoint and
//! `ln(length / n)` a segment). The lengths make it a cost of segments that a split may raise.

use ndarray::ArrayView2;

use crate::median::median;
use crate::{Error, Result};

/// How a penalty is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Penalty {
    /// Schwarz's criterion in the long-run variance of autocorrelated noise, as strong as in its strongest stretch.
    Auto,
    /// Bayesian information criterion (Schwarz 1978).
    Bic,
    /// Zhang and Siegmund's modified criterion (2007).
    Mbic,
    /// Akaike's information criterion.
    Aic,
    /// Hannan and Quinn's criterion (1979).
    HannanQuinn,
    /// This value, in squared units of the signal.
    Value(f64),
}

impl Penalty {
    const NAMED: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("bic", Self::Bic),
        ("mbic", Self::Mbic),
        ("aic", Self::Aic),
        ("hannan-quinn", Self::HannanQuinn),
    ];

    /// The criterion named `"auto"`, `"bic"`, `"mbic"`, `"aic"` or `"hannan-quinn"`.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, penalty)| *penalty).ok_or_else(|| {
            Error::UnknownName {
                argument: "penalty",
                got: name.into(),
                known: Self::NAMED.iter().map(|(known, _)| (*known).into()).chain(["a number".into()]).collect(),
            }
        })
    }

    /// The value of a criterion; `None` for [`Penalty::Value`], which needs no variance.
    pub(crate) fn criterion(self, parameters: usize, n_samples: usize, worth: Worth) -> Option<f64> {
        let (parameters, n) = (parameters as f64, n_samples as f64);
        match self {
            // A bound that changes count in is dear enough.
            Self::Auto => Some(worth.of(parameters * if worth.bound { n } else { n.max(FEW) }.ln())),
            Self::Bic => Some(parameters * n.ln() * worth.unit),
            Self::Mbic => Some(2.0 * n.ln() * worth.unit),
            Self::Aic => Some(2.0 * parameters * worth.unit),
            Self::HannanQuinn => Some(2.0 * parameters * n.ln().ln().max(0.0) * worth.unit),
            Self::Value(_) => None,
        }
    }
}

/// What twice a log-likelihood of 1 is in the unit of a cost, and how well that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worth {
    /// As estimated.
    pub(crate) unit: f64,
    /// Degrees of freedom of the estimate, were it one of a variance; infinite where it is known.
    pub(crate) freedom: f64,
    /// Whether it is no estimate but a bound, changes included.
    pub(crate) bound: bool,
}

impl Worth {
    pub(crate) fn known(unit: f64) -> Self {
        Self { unit, freedom: f64::INFINITY, bound: false }
    }

    /// What must be gained to be as unlikely as a deviance (twice a log-likelihood ratio).
    fn of(self, deviance: f64) -> f64 {
        let unlikely = if self.freedom == f64::INFINITY {
            deviance
        } else {
            self.freedom * (deviance / self.freedom).min(MOST_EXPONENT).exp_m1()
        };
        self.unit * unlikely
    }
}

/// Samples that "auto" charges for at least.
const FEW: f64 = 30.0;
/// No gain is worth more: a number instead of infinity.
const MOST_EXPONENT: f64 = 100.0;
/// Degrees of freedom of the squared median of neighbouring differences, for each of them: by the spread of its logarithm
/// in normal noise .3 to .4 with 10 to 100 differences, of levels and of lines.
const FREEDOM: f64 = 1.0 / 3.0;

/// 1 over the median absolute value of a standard normal deviate.
pub(crate) const NORMAL_MEDIAN: f64 = 1.482_602_218_505_602;

/// Mean over features of the noise variance: from first differences for costs of levels, from the distance of each
/// sample to the line through its neighbours for costs of lines. The median resists changes; where it is 0 because
/// most neighbours are equal, the mean square takes its place.
pub(crate) fn noise_variance(x: &[f64], signal: ArrayView2<'_, f64>, lines: bool) -> f64 {
    let features = signal.ncols().max(1) as f64;
    signal
        .columns()
        .into_iter()
        .map(|y| {
            let y = y.to_vec();
            let mut differences: Vec<f64> = if lines {
                (1..y.len().saturating_sub(1))
                    .map(|i| {
                        let left = (x[i + 1] - x[i]) / (x[i + 1] - x[i - 1]);
                        let right = 1.0 - left;
                        (y[i] - left * y[i - 1] - right * y[i + 1]) / (1.0 + left * left + right * right).sqrt()
                    })
                    .collect()
            } else {
                level_differences(&y).collect()
            };
            variance_of(&mut differences).variance
        })
        .sum::<f64>()
        / features
}

/// A variance, and how well it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) variance: f64,
    /// Degrees of freedom; infinite where it is known.
    pub(crate) freedom: f64,
    /// Whether it is a bound only, because changes count in it.
    pub(crate) bound: bool,
}

impl Estimate {
    pub(crate) fn known(variance: f64) -> Self {
        Self { variance, freedom: f64::INFINITY, bound: false }
    }
}

/// The variance of noise whose differences, each of unit weight, these are; they are made absolute and reordered.
pub(crate) fn variance_of(differences: &mut [f64]) -> Estimate {
    let count = differences.len() as f64;
    if differences.is_empty() {
        return Estimate::known(0.0);
    }
    let mean_square = differences.iter().map(|value| value * value).sum::<f64>() / count;
    differences.iter_mut().for_each(|value| *value = value.abs());
    let median = median(differences);
    if median > 0.0 {
        Estimate { variance: (NORMAL_MEDIAN * median).powi(2), freedom: FREEDOM * count, bound: false }
    } else {
        Estimate { bound: true, ..Estimate::known(mean_square) }
    }
}

/// First differences of a signal of levels, weighted for [`variance_of`].
pub(crate) fn level_differences(y: &[f64]) -> impl Iterator<Item = f64> {
    y.windows(2).map(|pair| (pair[1] - pair[0]) * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::noise_variance;
    use crate::random::Random;

    #[test]
    fn the_variance_is_that_of_the_noise_whatever_jumps_and_slopes_there_are() {
        let x: Vec<f64> = (0..40_000).map(|i| 1.01_f64.powf(0.025 * f64::from(i))).collect();
        let signal = |line: f64| {
            let mut noise = Random::new(5);
            Array2::from_shape_fn((40_000, 1), |(i, _)| {
                line * x[i] + if i % 500 < 250 { 10.0 } else { 0.0 } + 2.0 * noise.normal()
            })
        };
        let levels = noise_variance(&x, signal(0.0).view(), false);
        let lines = noise_variance(&x, signal(3.0).view(), true);
        assert!((levels - 4.0).abs() < 0.2, "{levels}");
        assert!((lines - 4.0).abs() < 0.2, "{lines}");
    }
}
