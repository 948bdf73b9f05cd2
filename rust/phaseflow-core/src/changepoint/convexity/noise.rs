//! The noise of a curve, whatever smooth course it takes: AR(1) by sample, its deviation changing slowly or with the level.
//!
//! What is convex in the curve is taken off first: it less the largest convex function below it (its lower hull), so that
//! a steep start is no noise. The rest is cut into stretches of [`STRETCH`] to [`LONG_STRETCH`] samples, each a cubic in
//! the sample's number plus noise
//!
//! ```text
//! V = s² D R D       R = rho^|i - j|,   D = diag(known deviations), or (g_i + offset) / (1 + offset) with the level
//!                    g (0 lowest, 1 highest) of the curve averaged over a few samples, or 1
//! ```
//!
//! with an s of its own, averaged with its neighbours'. How well a coefficient rho and an offset suit is said by the
//! restricted likelihood of the stretches together; the offsets are averaged over. A bump is no cubic and makes its own
//! stretch look noisier and more correlated, which costs power there and no false alarm; how much one stretch can say
//! about the whole curve's correlation is bounded.
//!
//! ```text
//! ln L = - sum over stretches of (ln|D R D| + ln|B' (D R D)^-1 B| + (m - p) ln(y' P y)) / 2
//! ```

use super::super::autoregression::{RHOS, whiten};
use super::super::linear_algebra::{dot, orthonormalise, project_out};
use crate::{Cancel, Result};

/// The weight of each AR(1) coefficient beforehand: more for strong correlation, which short curves hide and which makes
/// false alarms.
const PRIOR: [f64; RHOS.len()] = [0.1, 0.1, 0.15, 0.15, 0.15, 0.15, 0.15, 0.2, 0.25, 0.2, 0.1];
/// What is added to the level, of range 1, for a deviation in proportion to it; besides, a deviation that is the same
/// everywhere.
const OFFSETS: [f64; 4] = [0.5, 0.15, 0.05, 0.015];
/// The level at a sample is averaged over this many on either side.
const REACH: usize = 3;
/// Samples of a stretch, about: of the first few, and of any more.
const STRETCH: usize = 20;
const LONG_STRETCH: usize = 32;
const FEW: usize = 5;
/// The most that one stretch's log-likelihood counts for or against a coefficient: one that holds a bump is no cubic, and
/// would call the whole curve's noise correlated.
const SWAY: f64 = 3.0;
/// Columns of a cubic.
const CUBIC: usize = 4;
/// A stretch with fewer degrees of freedom is not used.
const LEAST_FREEDOM: f64 = 4.0;
/// Least deviation, of a curve whose largest value is 1: what rounding alone may leave.
const FLOOR: f64 = 1e-11;

/// The grid and its stretches.
#[derive(Debug)]
pub(super) struct Noise {
    x: Vec<f64>,
    edges: Vec<usize>,
    /// Deviation of every sample up to a factor, where it is known.
    known: Option<Vec<f64>>,
}

/// What is left of a curve above its hull, and where that says nothing.
struct Rest {
    values: Vec<f64>,
    silent: Vec<bool>,
}

/// One coefficient and one shape of the deviations, fitted.
struct Fit {
    /// Restricted log-likelihood of every stretch.
    log_likelihoods: Vec<f64>,
    /// `y' P y` of every stretch, and its degrees of freedom.
    squares: Vec<(f64, f64)>,
}

impl Noise {
    pub(super) fn new(x: &[f64], known: Option<Vec<f64>>) -> Self {
        let samples = x.len();
        let stretches = (samples / LONG_STRETCH).max((samples / STRETCH).clamp(1, FEW));
        Self { x: x.to_vec(), edges: (0..=stretches).map(|stretch| stretch * samples / stretches).collect(), known }
    }

    /// Known deviation of a sample, or 1.
    pub(super) fn known(&self, sample: usize) -> f64 {
        self.known.as_ref().map_or(1.0, |known| known[sample])
    }

    /// How much each coefficient weighs: its share of the posterior; those below `least` weigh nothing.
    pub(super) fn weights(&self, curve: &[f64], least: f64, cancel: &Cancel) -> Result<[f64; RHOS.len()]> {
        let shapes = self.shapes(curve);
        let rest = self.above_hull(curve);
        let mut fits: Vec<Vec<f64>> = vec![vec![0.0; shapes.len()]; RHOS.len()];
        for (at, shape) in shapes.iter().enumerate() {
            let fit = |&rho: &f64| Ok(self.fit(&rest, rho, shape, cancel)?.log_likelihoods);
            let own = RHOS.iter().map(fit).collect::<Result<Vec<Vec<f64>>>>()?;
            for stretch in 0..self.edges.len() - 1 {
                let most = own.iter().map(|all| all[stretch]).fold(f64::NEG_INFINITY, f64::max);
                for (fit, all) in fits.iter_mut().zip(&own) {
                    fit[at] += most + (all[stretch] - most).max(-SWAY);
                }
            }
        }
        let most = fits.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let share = |rho: usize| PRIOR[rho] * fits[rho].iter().map(|fit| (fit - most).exp()).sum::<f64>();
        let all: f64 = (0..RHOS.len()).map(share).sum();
        let kept = |rho: usize| if share(rho) >= least * all { share(rho) } else { 0.0 };
        let total: f64 = (0..RHOS.len()).map(kept).sum();
        Ok(std::array::from_fn(|rho| kept(rho) / total))
    }

    /// Deviation at every sample, for one coefficient.
    pub(super) fn deviations(&self, curve: &[f64], rho: usize, cancel: &Cancel) -> Result<Vec<f64>> {
        let shapes = self.shapes(curve);
        let rest = self.above_hull(curve);
        let fit = |shape: &Vec<f64>| self.fit(&rest, RHOS[rho], shape, cancel);
        let fits = shapes.iter().map(fit).collect::<Result<Vec<Fit>>>()?;
        let logs: Vec<f64> = fits.iter().map(|fit| fit.log_likelihoods.iter().sum()).collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut variance = vec![0.0; curve.len()];
        for ((shape, fit), weight) in shapes.iter().zip(&fits).zip(&weights) {
            let factors = self.factors(&fit.squares);
            for (sample, variance) in variance.iter_mut().enumerate() {
                *variance += weight / total * (shape[sample] * factors[sample]).powi(2);
            }
        }
        Ok(variance.into_iter().map(f64::sqrt).collect())
    }

    /// The curve less the largest convex function below it: what is convex in it, however steep, is no noise.
    /// Where the curve follows that function from sample to sample, it says nothing about the noise.
    fn above_hull(&self, curve: &[f64]) -> Rest {
        let mut corners: Vec<usize> = Vec::new();
        let slope = |from: usize, to: usize| (curve[to] - curve[from]) / (self.x[to] - self.x[from]);
        for sample in 0..curve.len() {
            while let [.., before, last] = corners[..]
                && slope(before, last) >= slope(last, sample)
            {
                corners.pop();
            }
            corners.push(sample);
        }
        let mut rest = vec![0.0; curve.len()];
        let mut silent = vec![false; curve.len()];
        for corner in corners.windows(3).filter(|corner| corner[2] - corner[0] == 2) {
            silent[corner[1]] = true;
        }
        for corner in corners.windows(2) {
            let (from, to) = (corner[0], corner[1]);
            for sample in from..to {
                rest[sample] = curve[sample] - curve[from] - slope(from, to) * (self.x[sample] - self.x[from]);
            }
        }
        Rest { values: rest, silent }
    }

    /// The shapes that the deviations may have.
    fn shapes(&self, curve: &[f64]) -> Vec<Vec<f64>> {
        if let Some(known) = &self.known {
            return vec![known.clone()];
        }
        let around = |sample: usize| &curve[sample.saturating_sub(REACH)..(sample + REACH + 1).min(curve.len())];
        let level: Vec<f64> =
            (0..curve.len()).map(|at| around(at).iter().sum::<f64>() / around(at).len() as f64).collect();
        let lowest = level.iter().copied().fold(f64::INFINITY, f64::min);
        let range = level.iter().copied().fold(f64::NEG_INFINITY, f64::max) - lowest;
        let mut shapes = vec![vec![1.0; curve.len()]];
        if range > 0.0 {
            shapes.extend(OFFSETS.map(|offset| {
                level.iter().map(|level| ((level - lowest) / range + offset) / (1.0 + offset)).collect()
            }));
        }
        shapes
    }

    fn fit(&self, curve: &Rest, rho: f64, shape: &[f64], cancel: &Cancel) -> Result<Fit> {
        cancel.check()?;
        let mut log_likelihoods = Vec::with_capacity(self.edges.len());
        let squares = self.edges.windows(2).map(|edge| {
            let (from, to) = (edge[0], edge[1]);
            let place = |sample: usize| 2.0 * (sample - from) as f64 / (to - from - 1) as f64 - 1.0;
            let whitened = |value: &dyn Fn(usize) -> f64| {
                whiten(rho, &shape[from..to], &(from..to).map(value).collect::<Vec<_>>())
            };
            let columns = (0..CUBIC).map(|power| whitened(&|sample| place(sample).powi(power as i32))).collect();
            let (basis, log_det) = orthonormalise(columns);
            let mut rest = whitened(&|sample| curve.values[sample]);
            project_out(&mut rest, &basis);
            let silent = curve.silent[from..to].iter().filter(|silent| **silent).count();
            let freedom = rest.len() as f64 - (basis.len() + silent) as f64;
            if freedom < LEAST_FREEDOM {
                log_likelihoods.push(0.0);
                return (0.0, 0.0);
            }
            let squares = dot(&rest, &rest).max(freedom * FLOOR * FLOOR);
            let log_det_noise = (rest.len() - 1) as f64 * (1.0 - rho * rho).ln();
            let log_det_shape = 2.0 * shape[from..to].iter().map(|deviation| deviation.ln()).sum::<f64>();
            log_likelihoods.push(-0.5 * (log_det_noise + log_det_shape + 2.0 * log_det + freedom * squares.ln()));
            (squares, freedom)
        });
        let squares = squares.collect();
        Ok(Fit { log_likelihoods, squares })
    }

    /// s at every sample, from the stretches' squares.
    fn factors(&self, squares: &[(f64, f64)]) -> Vec<f64> {
        let samples = self.edges[squares.len()];
        let (sum, freedom) = squares.iter().fold((0.0, 0.0), |(sum, all), (one, own)| (sum + one, all + own));
        let overall = if freedom > 0.0 { (sum / freedom).sqrt() } else { FLOOR };
        if self.known.is_some() || squares.len() == 1 {
            return vec![overall; samples];
        }
        let last = squares.len() - 1;
        let smooth = |stretch: usize| {
            let near = [(stretch.saturating_sub(1), 1.0), (stretch, 2.0), ((stretch + 1).min(last), 1.0)];
            let (sum, freedom) = near.iter().fold((0.0, 0.0), |(sum, all), &(at, weight)| {
                (sum + weight * squares[at].0, all + weight * squares[at].1)
            });
            if freedom > 0.0 { 0.5 * (sum / freedom).ln() } else { overall.ln() }
        };
        let logs: Vec<f64> = (0..=last).map(smooth).collect();
        let centres: Vec<f64> = self.edges.windows(2).map(|edge| 0.5 * (edge[0] + edge[1] - 1) as f64).collect();
        let between = |sample: usize| {
            let after = centres.partition_point(|&centre| centre < sample as f64).clamp(1, last);
            let (low, high) = (centres[after - 1], centres[after]);
            let part = ((sample as f64 - low) / (high - low)).clamp(0.0, 1.0);
            (logs[after - 1] + part * (logs[after] - logs[after - 1])).exp()
        };
        (0..samples).map(between).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn autoregressive(rho: f64, n: usize, random: &mut Random) -> Vec<f64> {
        let mut state = random.normal();
        (0..n)
            .map(|_| {
                let now = state;
                state = rho * state + (1.0 - rho * rho).sqrt() * random.normal();
                now
            })
            .collect()
    }

    #[test]
    fn the_coefficient_and_the_deviation_of_autoregressive_noise_are_found() {
        let noise = Noise::new(&(0..600).map(f64::from).collect::<Vec<_>>(), None);
        for rho in [2, 6, 8] {
            let mut random = Random::new(7);
            let (mut weight, mut deviation) = (0.0, 0.0);
            for _ in 0..40 {
                let curve: Vec<f64> = autoregressive(RHOS[rho], 600, &mut random)
                    .iter()
                    .enumerate()
                    .map(|(i, noise)| 0.5 * noise + 300.0 / (10.0 + i as f64))
                    .collect();
                let weights = noise.weights(&curve, 0.0, &Cancel::new()).unwrap();
                weight += (rho - 1..=rho + 1).map(|near| weights[near]).sum::<f64>() / 40.0;
                deviation += noise.deviations(&curve, rho, &Cancel::new()).unwrap()[300] / 40.0;
            }
            // A flat posterior would give 3/11.
            assert!(weight > 0.6, "{rho} {weight}");
            assert!((deviation - 0.5).abs() < 0.06, "{rho} {deviation}");
        }
    }

    #[test]
    fn a_deviation_in_proportion_to_the_level_is_found() {
        let noise = Noise::new(&(0..200).map(f64::from).collect::<Vec<_>>(), None);
        let mut random = Random::new(3);
        let level = |i: usize| 40.0 * (-0.03 * i as f64).exp() + 1.0;
        let mut ratio = 0.0;
        for _ in 0..40 {
            let curve: Vec<f64> = (0..200).map(|i| level(i) * (1.0 + 0.02 * random.normal())).collect();
            let found = noise.deviations(&curve, 2, &Cancel::new()).unwrap();
            ratio += found[5] / found[190] / 40.0;
        }
        let expected = level(5) / level(190);
        assert!((0.7 * expected..1.4 * expected).contains(&ratio), "{ratio} {expected}");
    }

    #[test]
    fn a_cubic_is_no_noise() {
        let curve: Vec<f64> = (0..40).map(|i| f64::from(i).powi(3) / 64e3).collect();
        assert!(
            Noise::new(&(0..40).map(f64::from).collect::<Vec<_>>(), None)
                .deviations(&curve, 2, &Cancel::new())
                .unwrap()
                .iter()
                .all(|deviation| *deviation < 1e-10)
        );
    }

    #[test]
    fn a_known_shape_is_kept() {
        let known: Vec<f64> = (0..80).map(|i| 1.0 + f64::from(i)).collect();
        let mut random = Random::new(1);
        let curve: Vec<f64> = known.iter().map(|known| 0.1 * known * random.normal()).collect();
        let found = Noise::new(&(0..80).map(f64::from).collect::<Vec<_>>(), Some(known.clone()))
            .deviations(&curve, 2, &Cancel::new())
            .unwrap();
        let ratio = found[0] / known[0];
        assert!((0.07..0.13).contains(&ratio));
        assert!(found.iter().zip(&known).all(|(found, known)| (found / known - ratio).abs() < 1e-12));
    }
}
