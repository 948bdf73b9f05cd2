//! How likely the clearest change of level is where there is none: the largest of the two-sample statistics over all
//! places, with the noise variance unknown.
//!
//! Of n independent normal samples with one mean, the centred direction `u` is uniform on the unit sphere of n - 1
//! dimensions. A change after k samples is a unit vector `c_k`; the share of the squared deviations that it explains
//! is `r_k^2`, `r_k = <c_k, u>`, and neighbours meet at the angle `theta_k` with
//! `cos^2 theta_k = k (n - k - 1) / ((k + 1) (n - k))`. The probability is counted place
//! by place, as that of being the first of its neighbourhood beyond c:
//!
//! ```text
//! P(some r_k > c) ~ P(r_first > c) + sum over k of kappa_k P(r_(k+1) > c >= r_k)
//! ```
//!
//! Without the factors this is Worsley's bound (1982), twice too large at 200 samples, because where `r_k` crosses c it
//! does so back and forth. How often is known for a walk with normal steps (Siegmund 1985, in the closed form of Siegmund
//! and Yakir 2007): `kappa = y / (y Phi(y) + phi(y))` with `2 y = theta_k c sqrt(n - 1) / sqrt(1 - c^2)`, a step over the
//! mean overshoot. Where steps are large kappa is 1.
//!
//! The pairs need the plane of two neighbours only. The length R of u's shadow in any plane has
//! `P(R > r) = (1 - r^2)^((n - 3) / 2)`, its direction is uniform, and the part of the circle of radius R that lies
//! beyond c for `c_(k+1)` but not for `c_k` has the angle `min(theta_k, 2 acos(c / R))`. So
//!
//! ```text
//! p(c) = E [ 2 acos(c / R) + sum over k of kappa_k min(theta_k, 2 acos(c / R)); R > c ] / (2 pi)
//! ```
//!
//! for changes in one direction, twice that for both.

use std::f64::consts::{FRAC_PI_2, PI};
use std::sync::OnceLock;

/// Places of `R` over which the expectation is taken.
const NODES: usize = 48;
/// Places of `acos(c)` at which it is kept.
const KNOTS: usize = 96;

/// The bound for one number of samples.
#[derive(Debug)]
pub(crate) struct LargestChange {
    /// `(n - 3) / 2`.
    power: f64,
    /// The expectation given `R > c`, over `2 pi acos(c)`, at `acos(c) = pi/2 * index / KNOTS`.
    shares: Vec<f64>,
}

impl LargestChange {
    /// For changes of `n_samples` samples that leave `min_size` on either side.
    pub(crate) fn new(n_samples: usize, min_size: usize) -> Self {
        let steps = steps(n_samples, min_size);
        let power = 0.5 * (n_samples.max(3) - 3) as f64;
        // With v uniform on [0, 1], 1 - R^2 = (1 - c^2) v^(1 / power) given R > c. The midpoint rule in w, v = 1 - w^2:
        // the angle rises like the square root of 1 - v.
        let nodes: Vec<(f64, f64)> = (0..NODES)
            .map(|node| {
                let w = (node as f64 + 0.5) / NODES as f64;
                let beyond = if power > 0.0 { -f64::exp_m1(f64::ln_1p(-w * w) / power) } else { 1.0 };
                (beyond, 2.0 * w / NODES as f64)
            })
            .collect();
        let share = |knot: usize| {
            // The limit at 0 is approached by a small angle.
            let angle = FRAC_PI_2 * (knot as f64).max(1e-3) / KNOTS as f64;
            let (sine, cosine) = angle.sin_cos();
            let angles = Angles::new(&steps, 0.5 * cosine / sine * (n_samples.max(1) as f64 - 1.0).sqrt());
            let expected: f64 = nodes
                .iter()
                .map(|(beyond, weight)| weight * angles.covered(2.0 * (sine * beyond.sqrt()).atan2(cosine)))
                .sum();
            expected / (2.0 * PI * angle)
        };
        let mut shares: Vec<f64> = (0..=KNOTS).map(share).collect();
        // Where c is small the count of crossings falls again; the probability does not.
        let mut largest = 0.0_f64;
        for (knot, share) in shares.iter_mut().enumerate().skip(1) {
            let angle = FRAC_PI_2 * knot as f64 / KNOTS as f64;
            let unit = angle.sin().powf(2.0 * power) * angle;
            largest = largest.max(unit * *share);
            // 0 / 0 where both underflow: max leaves the share as it is.
            *share = share.max(largest / unit);
        }
        Self { power, shares }
    }

    /// Probability of a change in a given direction that leaves at most `left` (0 to 1) of the squared deviations.
    pub(crate) fn one_sided(&self, left: f64) -> f64 {
        let left = left.clamp(0.0, 1.0);
        let angle = left.sqrt().asin();
        let place = angle / FRAC_PI_2 * KNOTS as f64;
        let knot = (place as usize).min(KNOTS - 1);
        let (low, high) = (self.shares[knot], self.shares[knot + 1]);
        let share = low + (high - low) * (place - knot as f64);
        let beyond = if self.power > 0.0 { left.powf(self.power) } else { 1.0 };
        (beyond * share * angle).clamp(0.0, 1.0)
    }

    /// The same for a change in either direction.
    pub(crate) fn two_sided(&self, left: f64) -> f64 {
        (2.0 * self.one_sided(left)).min(1.0)
    }
}

/// Places from an end of the series up to which every step counts for itself; further in, neighbours are alike.
const APART: usize = 128;

/// The angles between neighbouring changes, largest first, and how many there are of each.
fn steps(n_samples: usize, min_size: usize) -> Vec<(f64, f64)> {
    let n = n_samples as f64;
    // sin^2 = 1 - cos^2 = n / ((k + 1) (n - k)).
    let angle = |k: f64| (n / ((k + 1.0) * (n - k))).sqrt().asin();
    // The steps after k and after n - 1 - k samples are equal: from the outside in.
    let middle = n_samples / 2;
    let mut found = Vec::new();
    let mut k = min_size;
    while k < middle {
        let width = (k / APART).clamp(1, middle - k);
        found.push((angle(k as f64 + 0.5 * (width - 1) as f64), 2.0 * width as f64));
        k += width;
    }
    if n_samples % 2 == 1 && min_size <= middle {
        found.push((angle(middle as f64), 1.0));
    }
    found
}

/// Steps with their factors, and sums of them.
struct Angles {
    angles: Vec<f64>,
    /// `factors[i]`: sum of the factors before `i`.
    factors: Vec<f64>,
    /// `rest[i]`: sum of factor times angle from `i` on.
    rest: Vec<f64>,
}

impl Angles {
    /// `slope`: y of the factor over the angle.
    fn new(steps: &[(f64, f64)], slope: f64) -> Self {
        let weights: Vec<f64> = steps.iter().map(|(angle, count)| count * first_beyond(slope * angle)).collect();
        let mut factors = vec![0.0; steps.len() + 1];
        let mut rest = vec![0.0; steps.len() + 1];
        for index in 0..steps.len() {
            factors[index + 1] = factors[index] + weights[index];
        }
        for index in (0..steps.len()).rev() {
            rest[index] = rest[index + 1] + weights[index] * steps[index].0;
        }
        Self { angles: steps.iter().map(|step| step.0).collect(), factors, rest }
    }

    /// `width + sum over k of kappa_k min(theta_k, width)`.
    fn covered(&self, width: f64) -> f64 {
        let wider = self.angles.partition_point(|angle| *angle > width);
        width * (1.0 + self.factors[wider]) + self.rest[wider]
    }
}

/// The factor kappa.
fn first_beyond(y: f64) -> f64 {
    let density = (-0.5 * y * y).exp() / (2.0 * PI).sqrt();
    y / (y * normal_distribution(y, density) + density)
}

/// Phi(y) for y >= 0, to 1e-7 (Abramowitz and Stegun 26.2.17).
fn normal_distribution(y: f64, density: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * y);
    let series = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    1.0 - density * series.iter().fold(0.0, |sum, coefficient| (sum + coefficient) * t)
}

/// The bounds for all numbers of samples up to a largest one, each made when it is first needed.
#[derive(Debug)]
pub(crate) struct LargestChanges {
    min_size: usize,
    known: Vec<OnceLock<LargestChange>>,
}

impl LargestChanges {
    pub(crate) fn up_to(n_samples: usize, min_size: usize) -> Self {
        Self { min_size, known: (0..=n_samples).map(|_| OnceLock::new()).collect() }
    }

    pub(crate) fn of(&self, n_samples: usize) -> &LargestChange {
        self.known[n_samples].get_or_init(|| LargestChange::new(n_samples, self.min_size))
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::{LargestChange, steps};
    use crate::random::Random;

    #[test]
    fn three_samples_lie_on_a_circle() {
        // n = 3: u is a direction in the plane, the two changes meet at 60 degrees, and beyond c = cos(20 degrees) lies
        // an arc of 40 degrees for each of them: they do not overlap. Kappa is not quite 1 at a step that large.
        let found = LargestChange::new(3, 1).one_sided((PI / 9.0).sin().powi(2));
        assert!((found - 80.0 / 360.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn simulation_agrees_where_p_is_small() {
        const DRAWS: usize = 100_000;
        for (n, min_size) in [(4, 1), (5, 1), (12, 3), (60, 1), (200, 1), (61, 20)] {
            let bound = LargestChange::new(n, min_size);
            let mut random = Random::new(n as u64);
            let mut left: Vec<f64> = (0..DRAWS)
                .map(|_| {
                    let y: Vec<f64> = (0..n).map(|_| random.normal()).collect();
                    let mean = y.iter().sum::<f64>() / n as f64;
                    let total: f64 = y.iter().map(|y| (y - mean) * (y - mean)).sum();
                    let mut sum = 0.0;
                    let mut largest = 0.0_f64;
                    for k in 1..=n - min_size {
                        sum += y[k - 1] - mean;
                        if k >= min_size {
                            largest = largest.max(sum.max(0.0).powi(2) * n as f64 / (k * (n - k)) as f64);
                        }
                    }
                    1.0 - largest / total
                })
                .collect();
            left.sort_by(f64::total_cmp);
            for rank in [200, 1_000, 5_000] {
                let (p, frequency) = (bound.one_sided(left[rank]), rank as f64 / DRAWS as f64);
                let error = 4.0 / (rank as f64).sqrt();
                let ratio = p / frequency;
                assert!(ratio > 0.95 - error && ratio < 1.1 + error, "n {n}: {p} for {frequency}");
            }
        }
    }

    #[test]
    fn long_series_may_be_counted_in_groups() {
        let n = 2_001;
        let grouped = steps(n, 1);
        let whole: f64 = grouped.iter().map(|step| step.1).sum();
        assert_eq!(whole, (n - 2) as f64);
        let angle: f64 = (1..n - 1).map(|k| (n as f64 / ((k + 1) * (n - k)) as f64).sqrt().asin()).sum();
        let sum: f64 = grouped.iter().map(|(angle, count)| angle * count).sum();
        assert!((sum / angle - 1.0).abs() < 1e-4);
    }

    #[test]
    fn it_falls_without_end_as_less_is_left() {
        let bound = LargestChange::new(200, 1);
        assert_eq!(bound.two_sided(1.0), 1.0);
        assert_eq!(bound.two_sided(0.0), 0.0);
        let values: Vec<f64> = (1..=400).map(|step| bound.one_sided(f64::from(step) / 400.0)).collect();
        assert!(values.windows(2).all(|pair| pair[0] <= 1.001 * pair[1]));
        assert!(values[20] > 0.0 && values[20] < 1e-100);
    }
}
