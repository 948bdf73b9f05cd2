//! How heavy the tails of the noise are, read off many tokens at once.
//!
//! Losses jump further than normal noise does: a token is restless for a while, or its logits are off at one
//! checkpoint. On the demo's runs three times as many distances are large as in normal noise, as many as in Student's t
//! of five degrees of freedom.
//!
//! What a checkpoint is off from the line between its neighbours, in deviations that the noise's course lets expect
//! there, is compared with the token's own median. Of normal distances 1 in 100 lies beyond [`FAR`] medians, of those
//! with heavier tails more. The noise of the null distribution is Student's t of the degrees of freedom with which
//! simulated tokens, wandering as these do, have as many far distances as the tokens have; one over them is found by
//! halving an interval, with the same random numbers everywhere. Breaks are far distances too, but rare ones.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::grid::Grid;
use super::noise::LEAST;
use super::null::Population;
use super::strip::LANES;
use crate::median::median;
use crate::random::Random;
use crate::{Cancel, Result};

/// Medians that 1 in 100 normal distances exceed: the normal's quantile at 0.995 over that at 0.75.
const FAR: f64 = 3.8189;
/// The heaviest tails: one over 2.5 degrees of freedom. From one half on there is no variance.
const HEAVIEST: f64 = 0.4;
/// How often the interval is halved: to a five-hundredth.
const HALVINGS: usize = 8;
/// Strips of tokens simulated for a share.
const STRIPS: usize = 128;

impl Grid {
    /// The share of the sampled tokens' distances that are far; NaN where fewer than 16 tokens can be compared. `losses`
    /// is `(checkpoint, token)`, what [`sample`](super::sample) takes of each checkpoint.
    pub fn far_share(&self, losses: &ArrayView2<'_, f64>, cancel: &Cancel) -> Result<f64> {
        let tokens = self.in_own_units(losses)?;
        cancel.check()?;
        if tokens.len() < LEAST {
            return Ok(f64::NAN);
        }
        Ok(self.far(&tokens))
    }

    /// One over the degrees of freedom with which simulated tokens have this share of far distances; 0, the normal,
    /// where they have less or `share` is NaN.
    pub(super) fn tails(&self, share: f64, population: &Population, seed: u64, cancel: &Cancel) -> Result<f64> {
        if share.is_nan() || share <= self.simulated(population, 0.0, seed, cancel)? {
            return Ok(0.0);
        }
        let (mut low, mut high) = (0.0, HEAVIEST);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            let fewer = self.simulated(population, middle, seed, cancel)? < share;
            (low, high) = if fewer { (middle, high) } else { (low, middle) };
        }
        Ok(f64::midpoint(low, high))
    }

    /// The share of far distances of simulated tokens.
    fn simulated(&self, population: &Population, tails: f64, seed: u64, cancel: &Cancel) -> Result<f64> {
        let population = Population { tails, ..population.clone() };
        let tokens = (0..STRIPS)
            .into_par_iter()
            .map(|strip| {
                cancel.check()?;
                let mut y = vec![[0.0; LANES]; self.u.len()];
                population.fill(self, &mut Random::stream(seed, strip as u64), &mut y);
                let token = |lane: usize| self.unit_of_its_own(y.iter().map(|row| row[lane]).collect());
                Ok((0..LANES).filter_map(token).collect::<Vec<_>>())
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(self.far(&tokens.concat()))
    }

    fn far(&self, tokens: &[Vec<f64>]) -> f64 {
        let deviations: Vec<f64> = (1..self.u.len() - 1)
            .map(|at| {
                let (before, after) = self.shares(at, 1);
                (self.noise[at] + before.powi(2) * self.noise[at - 1] + after.powi(2) * self.noise[at + 1]).sqrt()
            })
            .collect();
        let far = |y: &Vec<f64>| {
            let mut off: Vec<f64> =
                (1..).zip(&deviations).map(|(at, deviation)| self.off(y, at, 1).abs() / deviation).collect();
            let limit = FAR * median(&mut off);
            off.iter().filter(|distance| **distance > limit).count()
        };
        tokens.par_iter().map(far).sum::<usize>() as f64 / (tokens.len() * deviations.len()) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let steps: Vec<f64> = (0..60).map(|index| 10.0 * 1.1_f64.powi(index)).collect();
        let noise: Vec<f64> = (0..60).map(|index| 0.5 + f64::from(index) / 60.0).collect();
        Grid::new(&steps).unwrap().with_noise(&noise).unwrap()
    }

    #[test]
    fn of_normal_distances_one_in_a_hundred_is_far() {
        // A few more, since the median of 58 is not that of all.
        let population = Population { wander: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0], tails: 0.0 };
        let share = grid().simulated(&population, 0.0, 1, &Cancel::new()).unwrap();
        assert!((0.01..0.015).contains(&share), "{share}");
    }

    #[test]
    fn the_degrees_of_freedom_are_found_behind_the_share_of_far_distances() {
        let grid = grid();
        for (wander, tails) in [(0, 0.2), (0, 1.0 / 3.0), (3, 0.2), (0, 0.1)] {
            let wander = std::array::from_fn(|index| f64::from(index == wander));
            let population = Population { wander, tails };
            let share = grid.simulated(&population, tails, 5, &Cancel::new()).unwrap();
            let found = grid.tails(share, &population, 6, &Cancel::new()).unwrap();
            assert!((found - tails).abs() < 0.05, "{tails} {found}");
        }
    }

    #[test]
    fn noise_without_far_distances_or_of_few_tokens_counts_as_normal() {
        let population = Population { wander: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0], tails: 0.0 };
        for share in [0.0, 0.009, f64::NAN] {
            assert_eq!(grid().tails(share, &population, 1, &Cancel::new()).unwrap(), 0.0);
        }
        let few = ndarray::Array2::from_shape_fn((60, 15), |(at, token)| ((at * 7 + token * 3) % 11) as f64);
        assert!(grid().far_share(&few.view(), &Cancel::new()).unwrap().is_nan());
    }
}
