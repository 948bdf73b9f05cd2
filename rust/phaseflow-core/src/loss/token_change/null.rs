//! What the statistic is where no token breaks: simulated on the same checkpoints, with the same wander.
//!
//! How strongly a token wanders differs from token to token, and one token's hundred checkpoints say little about it;
//! what its best ramp explains is missing from the estimate besides. So the tokens are taken as a population: how
//! often each estimate comes from each true variance is simulated, and the shares of the true variances are those
//! under which the estimates are likeliest (by expectation and maximisation). A trajectory that `smooth` fits badly
//! counts there as one that wanders, and so makes the test more careful rather than pass for a break. The noise has the
//! tails that the tokens' have ([`tails`](super::tails)).
//!
//! The p-value of a statistic is the share of simulated ones at or above it. Beyond the largest simulated 1 in
//! [`TAIL`] the tail is continued as an exponential, which a likelihood ratio's is.

use super::grid::{Grid, WANDER};
use super::scan::Scan;
use super::strip::{LANES, Lanes};
use crate::random::Random;
use crate::{Cancel, Error, Result};

/// One simulated statistic in so many lies in the tail that is continued.
const TAIL: usize = 500;
/// Least number of simulated statistics in that tail.
const LEAST_IN_TAIL: usize = 20;
/// One in so many, the largest, tell where a break is placed by chance.
const PLACED: usize = 10;

/// Tokens simulated at each variance of the wander to learn how it is estimated.
const TRIALS: usize = 4096;
/// Rounds of expectation and maximisation.
const ROUNDS: usize = 500;

/// The distribution of the statistic without a break.
#[derive(Debug, Clone)]
pub struct Null {
    /// Simulated statistics, ascending.
    statistics: Vec<f64>,
    /// For each of [`Grid::ramps`] the share of false findings that is placed there, falling and rising alike.
    pub placed: Vec<f64>,
    /// Where the continued tail begins, and its mean excess.
    tail: (f64, f64),
}

/// What simulated tokens are like.
#[derive(Debug, Clone)]
pub(super) struct Population {
    /// Shares of the variances [`WANDER`].
    pub(super) wander: [f64; WANDER.len()],
    /// One over the degrees of freedom of the noise.
    pub(super) tails: f64,
}

impl Grid {
    /// The null distribution for tokens that wander as these do, with noise of these tails: `wander` is
    /// [`Scan::wander`](super::Scan::wander), `far_share` [`Grid::far_share`], NaN for normal noise.
    pub fn null(&self, wander: &[u8], far_share: f64, simulations: usize, seed: u64, cancel: &Cancel) -> Result<Null> {
        let least = TAIL * LEAST_IN_TAIL;
        if simulations < least {
            return Err(Error::OutOfRange {
                argument: "simulations",
                expected: format!("at least {least}"),
                got: simulations.to_string(),
            });
        }
        if wander.is_empty() {
            return Err(Error::TooShort { argument: "wander", axis: "token", least: 1, got: 0 });
        }
        // Heavy tails look like wander, and wander hides heavy tails.
        let mut population = self.population(wander, 0.0, seed, cancel)?;
        for _ in 0..2 {
            let tails = self.tails(far_share, &population, seed, cancel)?;
            if tails == population.tails {
                break;
            }
            population = self.population(wander, tails, seed, cancel)?;
        }
        let simulated = self.simulate(simulations, &population, seed, cancel)?;
        let mut statistics = simulated.statistic.clone();
        statistics.sort_unstable_by(f64::total_cmp);
        let first = statistics.len() - statistics.len() / TAIL;
        let start = statistics[first];
        let excess = statistics[first..].iter().map(|x| x - start).sum::<f64>() / (statistics.len() - first) as f64;
        let large = statistics[statistics.len() - statistics.len() / PLACED];
        let mut placed = vec![0.0; self.ramps.len()];
        for (statistic, &ramp) in simulated.statistic.iter().zip(&simulated.ramp) {
            placed[ramp as usize] += f64::from(*statistic >= large);
        }
        let many: f64 = placed.iter().sum();
        placed.iter_mut().for_each(|count| *count /= many);
        Ok(Null { statistics, placed, tail: (start, excess) })
    }

    /// What tokens are like whose estimates are `wander` and whose noise has these tails.
    fn population(&self, wander: &[u8], tails: f64, seed: u64, cancel: &Cancel) -> Result<Population> {
        let mut estimated = Vec::new();
        for variance in 0..WANDER.len() {
            let certain = std::array::from_fn(|index| f64::from(index == variance));
            let alike = Population { wander: certain, tails };
            estimated.push(shares(&self.simulate(TRIALS, &alike, seed ^ (1 + variance as u64), cancel)?.wander));
        }
        Ok(Population { wander: likeliest(&shares(wander), &estimated), tails })
    }

    /// Scans tokens without a break.
    fn simulate(&self, tokens: usize, population: &Population, seed: u64, cancel: &Cancel) -> Result<Scan> {
        let fill = |index: usize, y: &mut [Lanes]| population.fill(self, &mut Random::stream(seed, index as u64), y);
        self.scan_made_up(tokens.div_ceil(LANES), fill, cancel)
    }
}

impl Population {
    /// Draws the trajectories of a strip.
    pub(super) fn fill(&self, grid: &Grid, random: &mut Random, y: &mut [Lanes]) {
        let deviation: Lanes = std::array::from_fn(|_| drawn(&self.wander, random.uniform()).sqrt());
        let mut state = [0.0; LANES];
        for (at, row) in y.iter_mut().enumerate() {
            let gap = if at > 0 { (grid.u[at] - grid.u[at - 1]).sqrt() } else { 0.0 };
            let noise = grid.noise[at].sqrt();
            for lane in 0..LANES {
                state[lane] += deviation[lane] * gap * random.normal();
                row[lane] = state[lane] + noise * random.student(self.tails);
            }
        }
    }
}

/// The shares of the true variances under which the `measured` shares of estimates are likeliest; `estimated` holds, for
/// each true variance, how often each estimate comes from it.
fn likeliest(measured: &[f64; WANDER.len()], estimated: &[[f64; WANDER.len()]]) -> [f64; WANDER.len()] {
    let mut population = [1.0 / WANDER.len() as f64; WANDER.len()];
    for _ in 0..ROUNDS {
        let mut next = [0.0; WANDER.len()];
        for (estimate, share) in measured.iter().enumerate() {
            let all: f64 = population.iter().zip(estimated).map(|(part, row)| part * row[estimate]).sum();
            if all > 0.0 {
                for (variance, part) in next.iter_mut().enumerate() {
                    *part += share * population[variance] * estimated[variance][estimate] / all;
                }
            }
        }
        population = next;
    }
    population
}

/// How often each index of [`WANDER`] occurs.
fn shares(wander: &[u8]) -> [f64; WANDER.len()] {
    let mut shares = [0.0; WANDER.len()];
    for &index in wander {
        if let Some(share) = shares.get_mut(usize::from(index)) {
            *share += 1.0 / wander.len() as f64;
        }
    }
    shares
}

/// The variance that a uniform number draws.
fn drawn(population: &[f64; WANDER.len()], mut uniform: f64) -> f64 {
    for (variance, share) in WANDER.iter().zip(population) {
        if uniform < *share {
            return *variance;
        }
        uniform -= share;
    }
    WANDER.iter().zip(population).filter(|(_, share)| **share > 0.0).map(|(variance, _)| *variance).fold(0.0, f64::max)
}

impl Null {
    /// How often a token without a break has a statistic of this size or larger; NaN stays NaN.
    pub fn p_value(&self, statistic: f64) -> f64 {
        if statistic.is_nan() {
            return f64::NAN;
        }
        let n = self.statistics.len();
        let (start, excess) = self.tail;
        if statistic > start {
            return (n / TAIL) as f64 / n as f64 * (-(statistic - start) / excess).exp();
        }
        (n - self.statistics.partition_point(|x| *x < statistic)) as f64 / n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_population_is_found_behind_blurred_estimates() {
        // Three of four estimates are right, the others spread over all the rest.
        let estimated: [[f64; 6]; 6] =
            std::array::from_fn(|truth| std::array::from_fn(|seen| if seen == truth { 0.75 } else { 0.05 }));
        let truth = [0.5, 0.0, 0.3, 0.2, 0.0, 0.0];
        let measured =
            std::array::from_fn(|seen| (0..6).map(|variance| truth[variance] * estimated[variance][seen]).sum());
        for (found, expected) in likeliest(&measured, &estimated).iter().zip(truth) {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
    }

    #[test]
    fn a_uniform_number_draws_a_variance_by_its_share() {
        let population = [0.5, 0.0, 0.3, 0.2, 0.0, 0.0];
        let drawn = [0.0, 0.49, 0.51, 0.79, 0.81, 1.0].map(|uniform| drawn(&population, uniform));
        assert_eq!(drawn, [0.0, 0.0, 2.0, 2.0, 8.0, 8.0]);
    }

    #[test]
    fn a_p_value_is_the_share_of_simulated_statistics_at_or_above_it() {
        let steps: Vec<f64> = (0..30).map(|index| 10.0 * 1.2_f64.powi(index)).collect();
        let null = Grid::new(&steps).unwrap().null(&[0, 0, 2], f64::NAN, 10_000, 7, &Cancel::new()).unwrap();
        let n = null.statistics.len();
        assert_eq!(n, 10_000);
        for above in [n, n / 2, n / 100, n / TAIL + 1] {
            let share = above as f64 / n as f64;
            assert_eq!(null.p_value(null.statistics[n - above]), share);
            // Between two of them it is that of the larger.
            assert_eq!(null.p_value(null.statistics[n - above].next_down()), share);
        }
        // The largest 1 in 500 are an exponential: as many as there are where it begins, e times fewer their mean excess on.
        let largest = &null.statistics[n - n / TAIL..];
        let excess = largest.iter().map(|x| x - largest[0]).sum::<f64>() / largest.len() as f64;
        assert_eq!(null.p_value(largest[0]), 0.002);
        assert!((null.p_value(largest[0] + excess) - 0.002 / std::f64::consts::E).abs() < 1e-9);
    }

    #[test]
    fn chance_is_placed_by_the_largest_tenth() {
        let steps: Vec<f64> = (0..30).map(|index| 10.0 * 1.2_f64.powi(index)).collect();
        let null = Grid::new(&steps).unwrap().null(&[0], f64::NAN, 10_000, 7, &Cancel::new()).unwrap();
        assert!((null.placed.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let whole = |parts: f64| null.placed.iter().all(|share| (share * parts - (share * parts).round()).abs() < 1e-9);
        assert!(whole(1000.0) && !whole(500.0) && !whole(100.0));
    }
}
