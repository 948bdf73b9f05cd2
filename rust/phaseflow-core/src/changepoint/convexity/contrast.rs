//! Three neighbouring blocks of samples, and how far the middle one lies above the chord of its neighbours.
//!
//! ```text
//! c(y) = mean(y in M) - w_L mean(y in L) - w_R mean(y in R)      w_L + w_R = 1,   w_L x_L + w_R x_R = x_M
//! ```
//!
//! with `x_L`, `x_M`, `x_R` the blocks' mean x. The weights of `c` have the signs -, +, - and vanish on 1 and x. Of a
//! convex f take the line that meets it where the signs change: f lies above it at L and R and below it at M, so
//! `c(f) = c(f - line) <= 0`, and `c(f) = 0` for a straight line. So `c(y) > 0` beyond noise says that f is not convex
//! somewhere from the first sample of L to the last of R, and of all convex curves a straight line gives the most
//! false alarms.

use crate::{Cancel, Result};

/// Middle blocks are these long and multiples of them by powers of two; a neighbour is a third, once or three times
/// as long.
const LENGTHS: [usize; 2] = [2, 3];
const RATIO: usize = 3;
/// Middle blocks of one length start at every `length / STRIDE` samples.
const STRIDE: usize = 4;
/// Middle blocks between two looks at whether to stop.
const AT_ONCE: usize = 1024;

/// Samples `start..middle` are L, `middle..right` M, `right..end` R.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contrast {
    pub(super) start: usize,
    pub(super) middle: usize,
    pub(super) right: usize,
    pub(super) end: usize,
    /// Weight of L's mean; that of R's is one less this.
    left_weight: f64,
}

/// The contrasts of a grid.
pub(super) fn contrasts(x: &[f64], cancel: &Cancel) -> Result<Vec<Contrast>> {
    let n = x.len();
    // Measured from the first: a large common x costs no digits.
    let sums = prefix_sums(x.iter().map(|value| value - x[0]));
    let mean = |from: usize, to: usize| (sums[to] - sums[from]) / (to - from) as f64;
    let mut found = Vec::new();
    for length in lengths(n) {
        let neighbours = neighbours(length);
        for (turn, middle) in (0..n).step_by((length / STRIDE).max(1)).enumerate() {
            if turn % AT_ONCE == 0 {
                cancel.check()?;
            }
            let right = middle + length;
            for &left_length in neighbours.iter().filter(|&&left| left <= middle) {
                for &right_length in neighbours.iter().filter(|&&more| right + more <= n) {
                    let (start, end) = (middle - left_length, right + right_length);
                    let (at_left, at_middle, at_right) = (mean(start, middle), mean(middle, right), mean(right, end));
                    let left_weight = (at_right - at_middle) / (at_right - at_left);
                    found.push(Contrast { start, middle, right, end, left_weight });
                }
            }
        }
    }
    Ok(found)
}

/// 1, 2, 3, 4, 6, 8, 12, ...: those for which three blocks fit.
fn lengths(n: usize) -> Vec<usize> {
    let doubled = (0..).flat_map(|power| LENGTHS.map(|length| length << power));
    std::iter::once(1).chain(doubled.take_while(|length| length + 2 <= n)).collect()
}

fn neighbours(length: usize) -> Vec<usize> {
    let mut all = vec![(length / RATIO).max(1), length, RATIO * length];
    all.dedup();
    all
}

/// `0, v_0, v_0 + v_1, ...`
pub(super) fn prefix_sums(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let running = values.scan(0.0, |sum, value| {
        *sum += value;
        Some(*sum)
    });
    std::iter::once(0.0).chain(running).collect()
}

impl Contrast {
    /// Its value on a curve, from the curve's prefix sums.
    #[inline(always)]
    pub(super) fn value(&self, sums: &[f64]) -> f64 {
        let [left, middle, right] = self.per_sample();
        middle * (sums[self.right] - sums[self.middle])
            - left * (sums[self.middle] - sums[self.start])
            - right * (sums[self.end] - sums[self.right])
    }

    /// Absolute weight of one sample of L, M, R.
    #[inline(always)]
    fn per_sample(&self) -> [f64; 3] {
        [
            self.left_weight / (self.middle - self.start) as f64,
            1.0 / (self.right - self.middle) as f64,
            (1.0 - self.left_weight) / (self.end - self.right) as f64,
        ]
    }

    /// Its variance under a noise.
    #[inline(always)]
    pub(super) fn variance(&self, noise: &Covariance) -> f64 {
        let [left, middle, right] = self.per_sample();
        let &Self { start: a, middle: b, right: c, end: d, .. } = self;
        let own =
            left * left * noise.block(a, b) + middle * middle * noise.block(b, c) + right * right * noise.block(c, d);
        let (into_b, into_c) = (noise.before(a, b), noise.before(b, c));
        let (from_b, from_c) = (noise.after(b, c), noise.after(c, d));
        let beyond = into_b * noise.power(c - b) * from_c;
        own + 2.0 * (left * right * beyond - left * middle * into_b * from_b - middle * right * into_c * from_c)
    }
}

/// Covariance `s_i s_j rho^|i - j|`, prepared so that sums of it over blocks take a few operations.
#[derive(Debug)]
pub(super) struct Covariance {
    /// `rho^k`
    powers: Vec<f64>,
    /// Prefix sums of `s_j² + 2 s_j sum over i < j of s_i rho^(j - i)`.
    sums: Vec<f64>,
    /// `sum over i < j of s_i rho^(j - i)`
    earlier: Vec<f64>,
    /// `sum over i >= j of s_i rho^(i - j)`
    later: Vec<f64>,
}

impl Covariance {
    pub(super) fn new(rho: f64, deviations: &[f64]) -> Self {
        let n = deviations.len();
        let mut powers = vec![1.0; n + 1];
        let mut earlier = vec![0.0; n + 1];
        let mut later = vec![0.0; n + 1];
        for i in 0..n {
            powers[i + 1] = rho * powers[i];
            earlier[i + 1] = rho * (earlier[i] + deviations[i]);
        }
        for i in (0..n).rev() {
            later[i] = deviations[i] + rho * later[i + 1];
        }
        let sums = prefix_sums((0..n).map(|i| deviations[i] * (deviations[i] + 2.0 * earlier[i])));
        Self { powers, sums, earlier, later }
    }

    #[inline(always)]
    fn power(&self, lag: usize) -> f64 {
        self.powers[lag]
    }

    /// Variance of the sum over `from..to`.
    #[inline(always)]
    fn block(&self, from: usize, to: usize) -> f64 {
        self.sums[to] - self.sums[from] - 2.0 * self.earlier[from] * self.after(from, to)
    }

    /// `sum over i in from..to of s_i rho^(to - i)`
    #[inline(always)]
    fn before(&self, from: usize, to: usize) -> f64 {
        self.earlier[to] - self.powers[to - from] * self.earlier[from]
    }

    /// `sum over i in from..to of s_i rho^(i - from)`
    #[inline(always)]
    fn after(&self, from: usize, to: usize) -> f64 {
        self.later[from] - self.powers[to - from] * self.later[to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(contrast: &Contrast, n: usize) -> Vec<f64> {
        let [left, middle, right] = contrast.per_sample();
        (0..n)
            .map(|i| match i {
                i if i < contrast.start || i >= contrast.end => 0.0,
                i if i < contrast.middle => -left,
                i if i < contrast.right => middle,
                _ => -right,
            })
            .collect()
    }

    #[test]
    fn every_contrast_vanishes_on_lines_and_is_not_positive_on_convex_curves() {
        let x: Vec<f64> = (0..60).map(|i| (f64::from(i) * 0.13).exp()).collect();
        for curve in [
            x.clone(),
            x.iter().map(|x| x.powf(-0.3)).collect(),
            x.iter().map(|x| (x - 40.0).max(0.0)).collect(),
            x.iter().map(|x| x * x).collect(),
        ] {
            let sums = prefix_sums(curve.iter().copied());
            let scale = curve.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            for contrast in contrasts(&x, &Cancel::new()).unwrap() {
                assert!(contrast.value(&sums) <= 1e-11 * scale, "{contrast:?}");
            }
        }
        let sums = prefix_sums(x.iter().map(|x| 3.0 - 2.0 * x));
        assert!(contrasts(&x, &Cancel::new()).unwrap().iter().all(|contrast| contrast.value(&sums).abs() < 1e-9));
    }

    #[test]
    fn the_variance_is_that_of_the_covariance_matrix() {
        let n = 24;
        let x: Vec<f64> = (0..n).map(|i| (i * i + i) as f64).collect();
        let deviations: Vec<f64> = (0..n).map(|i| 1.0 + 0.2 * (i % 5) as f64).collect();
        for rho in [-0.3, 0.0, 0.8] {
            let covariance = Covariance::new(rho, &deviations);
            for contrast in contrasts(&x, &Cancel::new()).unwrap() {
                let weights = weights(&contrast, n);
                let mut expected = 0.0;
                for i in 0..n {
                    for j in 0..n {
                        let correlation = if i == j { 1.0 } else { f64::powi(rho, i.abs_diff(j) as i32) };
                        expected += weights[i] * weights[j] * deviations[i] * deviations[j] * correlation;
                    }
                }
                let found = contrast.variance(&covariance);
                assert!((found - expected).abs() < 1e-11 * expected.max(1e-3), "{contrast:?} {rho}");
            }
        }
    }

    #[test]
    fn a_cancelled_preparation_ends() {
        let cancel = Cancel::new();
        cancel.raise();
        assert!(contrasts(&[0.0, 1.0, 4.0], &cancel).is_err());
    }

    #[test]
    fn three_samples_have_one_contrast() {
        let only = contrasts(&[0.0, 1.0, 4.0], &Cancel::new()).unwrap();
        assert_eq!(only.len(), 1);
        // 10 - (3/4 * 2 + 1/4 * 6) = 7.
        assert_eq!(only[0].value(&prefix_sums([2.0, 10.0, 6.0].into_iter())), 7.0);
    }
}
