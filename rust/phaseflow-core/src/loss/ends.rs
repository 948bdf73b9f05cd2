//! The ends of a bootstrap interval of a mean, by three methods (Efron and Tibshirani 1993, chapters 12 to 14).
//!
//! ```text
//! percentile    quantiles of the resamples' means m*
//! studentized   m - q s, q a quantile of (m* - m) / s*, s and s* the standard errors of data and resample
//! bca           quantiles of m* at Φ(z0 + (z0 + z) / (1 - a (z0 + z))):   z0 = Φ^-1(share of m* below m), half of the ties,
//!               a = sum (d - m)³ / (6 (sum (d - m)²)^(3/2)), the skewness that leaving one out shows
//! ```

use crate::{Error, Result};

/// Part of a mean square below which a resample's spread is rounding.
const ROUNDING: f64 = 1e-13;

/// How the ends follow from the resamples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// Quantiles of the resamples' means.
    #[default]
    Percentile,
    /// Those quantiles, corrected for bias and skewness.
    Bca,
    /// From the resamples' t-statistics.
    Studentized,
}

impl Method {
    const ALL: [(&'static str, Self); 3] =
        [("percentile", Self::Percentile), ("bca", Self::Bca), ("studentized", Self::Studentized)];

    /// The method of that name.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, method)| *method).ok_or_else(|| Error::UnknownName {
            argument: "method",
            got: name.to_owned(),
            known: Self::ALL.iter().map(|(known, _)| (*known).to_owned()).collect(),
        })
    }
}

/// Lower and upper end, from the resamples' means and, for [`Method::Studentized`], their mean squared distances from
/// the data's mean.
pub(super) fn ends(method: Method, level: f64, differences: &[f64], means: Vec<f64>, squares: &[f64]) -> [f64; 2] {
    let shares = [(1.0 - level) / 2.0, (1.0 + level) / 2.0];
    let n = differences.len() as f64;
    let mean = super::in_context::mean(differences);
    let moment = |power: i32| differences.iter().map(|difference| (difference - mean).powi(power)).sum::<f64>();
    match method {
        Method::Percentile => quantiles(means, shares),
        Method::Bca => {
            let below =
                means.iter().map(|&one| if one < mean { 1.0 } else { 0.5 * f64::from(one == mean) }).sum::<f64>();
            let most = means.len() as f64;
            // All on one side says only that the share is below one resample's.
            let bias = normal_quantile((below / most).clamp(0.5 / most, 1.0 - 0.5 / most));
            let skew = moment(3) / (6.0 * moment(2).powf(1.5));
            // Without any spread there is nothing to correct.
            let skew = if skew.is_nan() { 0.0 } else { skew };
            let corrected = |share: f64| {
                let z = bias + normal_quantile(share);
                normal(bias + z / (1.0 - skew * z))
            };
            quantiles(means, shares.map(corrected))
        }
        Method::Studentized => {
            let error = (moment(2) / (n * (n - 1.0))).sqrt();
            let statistics = means.iter().zip(squares).map(|(one, square)| {
                let distance = one - mean;
                // A resample of one example again and again has no spread: its distance counts as far.
                let own = square - distance * distance;
                // Its spread is none but rounding, neither is what it is divided by.
                let own = if own > ROUNDING * square { (own / (n - 1.0)).sqrt() } else { 0.0 };
                if distance == 0.0 { 0.0 } else { distance / own }
            });
            let [low, high] = quantiles(statistics.collect(), shares);
            [mean - high * error, mean - low * error].map(|end| if error == 0.0 { mean } else { end })
        }
    }
}

fn quantiles(mut values: Vec<f64>, shares: [f64; 2]) -> [f64; 2] {
    values.sort_unstable_by(f64::total_cmp);
    shares.map(|share| quantile(&values, share))
}

/// The value a share `p` of the sorted values lies below, linear between neighbours; NaN if any value is NaN.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    if sorted.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let place = p * (sorted.len() - 1) as f64;
    let below = place.floor();
    let (low, high) = (sorted[below as usize], sorted[place.ceil() as usize]);
    // Infinite neighbours have no difference.
    if low == high || low.is_infinite() { low } else { low + (high - low) * (place - below) }
}

/// Φ, to 1e-15.
fn normal(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    // Φ(x) = 1/2 + φ(x) (x + x³/3 + x⁵/15 + ...)
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Φ^-1, by bisection.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal(middle) < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_order_statistics() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 5.0], 0.5), 1.5);
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 5.0], 1.0), 5.0);
        assert_eq!(quantile(&[0.0, f64::INFINITY, f64::INFINITY], 0.9), f64::INFINITY);
        assert_eq!(quantile(&[f64::NEG_INFINITY, 0.0], 0.5), f64::NEG_INFINITY);
        assert!(quantile(&[0.0, f64::NAN], 0.5).is_nan());
    }

    #[test]
    fn the_normal_distribution_has_its_tabulated_values() {
        for (x, share) in [(0.0, 0.5), (1.0, 0.841_344_746_068_542_9), (-1.96, 0.024_997_895_148_220_43)] {
            assert!((normal(x) - share).abs() < 1e-15);
            assert!((normal_quantile(share) - x).abs() < 1e-14);
        }
    }

    #[test]
    fn without_spread_every_method_gives_the_mean() {
        for (_, method) in Method::ALL {
            assert_eq!(ends(method, 0.9, &[2.0; 5], vec![2.0; 9], &[0.0; 9]), [2.0, 2.0]);
        }
    }
}
