//! What the samples of one segment look like: a family, its conjugate prior, and so the exact probability of the next
//! sample given those of the segment so far (Murphy 2007 for the formulas).
//!
//! | name | samples | prior of a segment | next sample |
//! |---|---|---|---|
//! | `normal` | normal, mean m, variance v | v ~ inverse gamma(alpha, beta), m ~ normal(mean, v / kappa) | Student t |
//! | `student` | Student t about m, squared scale v, `freedom` degrees known | as `normal` | Student t, about |
//! | `level` | normal, mean m, variance known | m ~ normal(mean, variance) | normal |
//! | `linear` | normal about c + d (x - first x) | as `normal`; d ~ normal(0, v / `slope_kappa`) | Student t |
//! | `autoregressive` | normal about c + d (sample before - mean) | as `linear` | Student t |
//! | `poisson` | counts of rate r | r ~ gamma(alpha, rate beta) | negative binomial |
//! | `bernoulli` | 0 or 1, probability p of 1 | p ~ beta(alpha, beta) | Bernoulli |
//!
//! `student` is the one that is not exact. A t sample is a normal one of variance `v / w`, w gamma about 1 (West 1987);
//! after each sample w is put at its mean given what was known before, and the sample counts as w of a normal one in the
//! mean and as w of its square in the spread. The next sample is t with `freedom` degrees however short the segment: with
//! heavier tails where less is known, a sample far enough out would always be likelier as the first of a new segment.

use std::f64::consts::PI;

use super::line::Line;
use super::log_gamma::log_gamma;
use crate::changepoint::names::lookup;
use crate::{Error, Result};

/// How many numbers any family needs to know of a segment.
pub(super) const SIZE: usize = 7;

/// What is known of a segment: the prior's parameters, moved on by its samples; the rest is 0.
pub(super) type Known = [f64; SIZE];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Normal,
    Student,
    Level,
    Linear,
    Autoregressive,
    Poisson,
    Bernoulli,
}

impl Family {
    const NAMED: [(&'static str, Self); 7] = [
        ("normal", Self::Normal),
        ("student", Self::Student),
        ("level", Self::Level),
        ("linear", Self::Linear),
        ("autoregressive", Self::Autoregressive),
        ("poisson", Self::Poisson),
        ("bernoulli", Self::Bernoulli),
    ];

    /// Names of the prior's parameters; only a `mean` may be 0 or below.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Normal => &["mean", "kappa", "alpha", "beta"],
            Self::Student => &["mean", "kappa", "alpha", "beta", "freedom"],
            Self::Level => &["mean", "variance", "noise_variance"],
            Self::Linear | Self::Autoregressive => &["mean", "kappa", "slope_kappa", "alpha", "beta"],
            Self::Poisson | Self::Bernoulli => &["alpha", "beta"],
        }
    }
}

/// A family with the parameters of its prior.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    family: Family,
    fresh: Known,
    /// What no sample changes: the noise variance of `level`, the degrees of freedom of `student`.
    known: f64,
}

impl Observation {
    /// The family of this name; `prior` holds each of its parameters once, by name.
    pub fn new(name: &str, prior: &[(String, f64)]) -> Result<Self> {
        let family = lookup("observation", name, &Family::NAMED)?;
        let names = family.parameters();
        let expected = || format!("the numbers {} for observation \"{name}\"", names.join(", "));
        let value =
            |wanted: &str| {
                prior.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value).ok_or_else(|| {
                    Error::OutOfRange { argument: "prior", expected: expected(), got: format!("without {wanted}") }
                })
            };
        if let Some((other, _)) = prior.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            return Err(Error::OutOfRange { argument: "prior", expected: expected(), got: format!("with {other}") });
        }
        for name in names {
            let value = value(name)?;
            if !value.is_finite() || (*name != "mean" && value <= 0.0) {
                return Err(Error::OutOfRange {
                    argument: "prior",
                    expected: if *name == "mean" { "a finite mean".into() } else { format!("{name} above 0, finite") },
                    got: format!("{name} = {value}"),
                });
            }
        }
        let (mut fresh, mut known) = ([0.0; SIZE], 0.0);
        match family {
            Family::Level => {
                (fresh[0], fresh[1]) = (value("mean")?, 1.0 / value("variance")?);
                known = value("noise_variance")?;
            }
            Family::Student => {
                fresh[..4].copy_from_slice(&[value("mean")?, value("kappa")?, value("alpha")?, value("beta")?]);
                known = value("freedom")?;
            }
            Family::Linear | Family::Autoregressive => {
                // A `Line`, alpha, beta.
                let (weight, squares) = (value("kappa")?, value("slope_kappa")?);
                fresh = [value("mean")?, weight, 0.0, 0.0, squares, value("alpha")?, value("beta")?];
            }
            _ => {
                names.iter().zip(&mut fresh).try_for_each(|(name, number)| value(name).map(|value| *number = value))?
            }
        }
        Ok(Self { family, fresh, known })
    }

    /// What is known of a segment without samples.
    pub(super) fn fresh(&self) -> Known {
        self.fresh
    }

    /// Whether samples of this family can have left this of a segment: all numbers, and those above 0 that must be.
    pub(super) fn may_know(&self, known: &Known) -> bool {
        let (above, used): (&[usize], usize) = match self.family {
            Family::Normal | Family::Student => (&[1, 2, 3], 4),
            Family::Level => (&[1], 2),
            Family::Linear | Family::Autoregressive => (&[1, 4, 5, 6], SIZE),
            Family::Poisson | Family::Bernoulli => (&[0, 1], 2),
        };
        known.iter().all(|number| number.is_finite())
            && above.iter().all(|&index| known[index] > 0.0)
            && known[used..].iter().all(|&number| number == 0.0)
    }

    /// What a sample is regressed on: x since the segment's first sample, or how far the sample before lay from the
    /// prior's mean (not at all for the first of all, whose `before` is NaN).
    pub(super) fn regressor(&self, since: f64, before: f64) -> f64 {
        match self.family {
            Family::Autoregressive if before.is_nan() => 0.0,
            Family::Autoregressive => before - self.fresh[0],
            _ => since,
        }
    }

    /// Whether a segment may hold this sample.
    pub(super) fn check(&self, value: f64) -> Result<()> {
        let expected = match self.family {
            Family::Poisson if value < 0.0 || value.fract() != 0.0 => "a count, for observation \"poisson\"",
            Family::Bernoulli if value != 0.0 && value != 1.0 => "0 or 1, for observation \"bernoulli\"",
            _ => return Ok(()),
        };
        Err(Error::OutOfRange { argument: "value", expected: expected.into(), got: value.to_string() })
    }

    /// Log of the probability (density) of `value` as the segment's next sample, with its [`Observation::regressor`], and
    /// what is known of the segment with it.
    pub(super) fn next(&self, known: &Known, x: f64, value: f64) -> (f64, Known) {
        let mut after = *known;
        let log = match self.family {
            Family::Normal => {
                let [mean, kappa, alpha, beta, ..] = *known;
                let distance = value - mean;
                after[0] = mean + distance / (kappa + 1.0);
                (after[1], after[2]) = (kappa + 1.0, alpha + 0.5);
                after[3] = beta + 0.5 * distance * distance * kappa / (kappa + 1.0);
                log_student(alpha, beta * (kappa + 1.0) / kappa, distance)
            }
            Family::Student => {
                let [mean, kappa, alpha, beta, ..] = *known;
                let distance = value - mean;
                let spread = beta * (kappa + 1.0) / kappa;
                let weight = (self.known + 1.0) / (self.known + distance / spread * alpha * distance);
                after[0] = mean + weight * distance / (kappa + weight);
                (after[1], after[2]) = (kappa + weight, alpha + 0.5);
                after[3] = beta + 0.5 * weight * distance * distance * kappa / (kappa + weight);
                let half = 0.5 * self.known;
                log_student(half, spread / alpha * half, distance)
            }
            Family::Level => {
                let [mean, precision, ..] = *known;
                let distance = value - mean;
                after[1] = precision + 1.0 / self.known;
                after[0] = mean + distance / (self.known * after[1]);
                let variance = 1.0 / precision + self.known;
                -0.5 * ((2.0 * PI * variance).ln() + distance * distance / variance)
            }
            Family::Linear | Family::Autoregressive => {
                let [middle, weight, centre, slope, squares, alpha, beta] = *known;
                let (line, surprise) = Line { middle, weight, centre, slope, squares }.with(x, value);
                let square = surprise.distance * surprise.distance;
                after =
                    [line.middle, line.weight, line.centre, line.slope, line.squares, alpha + 0.5, beta + 0.5 * square];
                log_student(alpha, beta, surprise.distance) - 0.5 * surprise.log_spread
            }
            Family::Poisson => {
                let [alpha, beta, ..] = *known;
                (after[0], after[1]) = (alpha + value, beta + 1.0);
                log_gamma(alpha + value)
                    - log_gamma(alpha)
                    - log_gamma(value + 1.0)
                    - alpha * (1.0 / beta).ln_1p()
                    - value * beta.ln_1p()
            }
            Family::Bernoulli => {
                let [alpha, beta, ..] = *known;
                (after[0], after[1]) = (alpha + value, beta + 1.0 - value);
                (if value > 0.0 { alpha } else { beta } / (alpha + beta)).ln()
            }
        };
        (log, after)
    }
}

/// Log density at `distance` from the middle of Student's t with `2 alpha` degrees of freedom and squared scale
/// `spread / alpha`.
fn log_student(alpha: f64, spread: f64, distance: f64) -> f64 {
    let root = distance / (2.0 * spread).sqrt();
    // Squared it is no number where a sample of 1e8 follows zeros, whose noise is taken for 1e-150.
    let tail = if root.abs() < 1e100 { (root * root).ln_1p() } else { 2.0 * root.abs().ln() };
    log_gamma(alpha + 0.5) - log_gamma(alpha) - 0.5 * (2.0 * PI * spread).ln() - (alpha + 0.5) * tail
}

#[cfg(test)]
mod tests {
    use super::Observation;

    fn model(name: &str, prior: &[(&str, f64)]) -> Observation {
        let prior: Vec<_> = prior.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Observation::new(name, &prior).unwrap()
    }

    fn log_evidence(model: &Observation, values: &[f64]) -> f64 {
        let mut known = model.fresh();
        let mut sum = 0.0;
        for (x, value) in values.iter().enumerate() {
            let (log, after) = model.next(&known, x as f64, *value);
            sum += log;
            known = after;
        }
        sum
    }

    #[test]
    fn the_order_of_the_samples_of_a_level_does_not_matter() {
        for model in [
            model("normal", &[("mean", 1.0), ("kappa", 0.5), ("alpha", 2.0), ("beta", 3.0)]),
            model("level", &[("mean", 1.0), ("variance", 4.0), ("noise_variance", 2.0)]),
            model("poisson", &[("alpha", 2.0), ("beta", 0.5)]),
        ] {
            let forward = log_evidence(&model, &[3.0, 0.0, 7.0, 2.0]);
            let backward = log_evidence(&model, &[2.0, 7.0, 0.0, 3.0]);
            assert!((forward - backward).abs() < 1e-12);
        }
    }

    #[test]
    fn a_fair_coin_is_a_half_then_a_third() {
        // Laplace's rule of succession: 1/2, then 1/3 for the other side, then 2/4.
        let coin = model("bernoulli", &[("alpha", 1.0), ("beta", 1.0)]);
        assert!((log_evidence(&coin, &[1.0, 0.0, 1.0]) - (1.0_f64 / 12.0).ln()).abs() < 1e-15);
    }

    #[test]
    fn a_line_with_no_slope_allowed_is_a_level() {
        let line = [("mean", 1.0), ("kappa", 0.5), ("slope_kappa", 1e18), ("alpha", 2.0), ("beta", 3.0)];
        let level = [("mean", 1.0), ("kappa", 0.5), ("alpha", 2.0), ("beta", 3.0)];
        let values = [3.0, -1.0, 0.5, 8.0];
        let difference =
            log_evidence(&model("linear", &line), &values) - log_evidence(&model("normal", &level), &values);
        assert!(difference.abs() < 1e-9);
    }
}
