//! How strong the noise is at each checkpoint beside the others, read off many tokens at once.
//!
//! Tokens differ in how strong their noise is, but it changes along training for all of them: with the learning rate,
//! with the size of the weights. What a checkpoint is off from the line between its neighbours `k` checkpoints away,
//! once the smooth base is taken out,
//!
//! ```text
//! d_t = c · y           c = (I - B B') (1 at t, -w at t - k, -(1 - w) at t + k)       w by the distances in u
//! variance of d_t = sum over s of c_s² r_s + W sum over s of (c_s + c_(s+1) + ...)² (u_s - u_(s-1))
//! ```
//!
//! shows the noise's variances `r` and, by how it grows with `k`, the wander's `W`. Each token counts in units of its
//! own median `|d|`; the spread of `d` over tokens is half the distance of their quartiles, to which neither what all
//! tokens do alike nor the few that break there contributes. `r` and `W` are those that explain the spreads, by
//! Richardson's and Lucy's iteration, which keeps them positive (1972, 1974); a running median takes out checkpoints
//! at which very many tokens break together.
//!
//! No checkpoint counts as having less than half of the middle one's variance. Early in training there is little noise,
//! but what tokens learn there is not smooth to that precision, and a base that had to follow it would break
//! more often: in the demo's one-layer run 2,700 tokens do, with this bound 600. It has a price where noise shrinks
//! threefold: of what is found at a rate of 5%, 10% is false instead of 5%; six in ten if noise is taken for even.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::grid::{Grid, remove};
use crate::median::median;
use crate::{Cancel, Result};

/// Tokens whose quartiles are good to a few percent; fewer are helped by the neighbouring checkpoints.
const ENOUGH: usize = 1000;
/// Part of a distance's variance that is not worth counting.
const LEAST_SHARE: f64 = 1e-5;
/// Fewest tokens that say anything.
pub(super) const LEAST: usize = 16;
/// How far the neighbours are, in checkpoints.
const LAGS: [usize; 2] = [1, 3];
/// Rounds of the iteration.
const ROUNDS: usize = 200;
/// Fewest checkpoints of the running median, to either side.
const BESIDE: usize = 2;
/// The least and the largest variance, in units of the middle one.
const LEAST_NOISE: f64 = 0.5;
const MOST_NOISE: f64 = 100.0;

impl Grid {
    /// The noise's variance at every checkpoint over that of the middle one, at least 1/2; ones where fewer than
    /// 16 tokens can be compared, or most checkpoints have none. `losses` is `(checkpoint, token)`, what
    /// [`sample`](super::sample) takes of each checkpoint.
    pub fn noise(&self, losses: &ArrayView2<'_, f64>, cancel: &Cancel) -> Result<Vec<f64>> {
        let tokens = self.in_own_units(losses)?;
        cancel.check()?;
        Ok(self.variances(&tokens))
    }

    /// What the variance over tokens of such a distance is made of.
    fn spread(&self, tokens: &[Vec<f64>], at: usize, lag: usize) -> Spread {
        let mut off: Vec<f64> = tokens.iter().map(|y| self.off(y, at, lag)).collect();
        let (before, after) = self.shares(at, lag);
        let mut contrast = vec![0.0; self.u.len()];
        (contrast[at], contrast[at - lag], contrast[at + lag]) = (1.0, -before, -after);
        self.base.iter().for_each(|function| remove(&mut contrast, function));
        let (mut beyond, mut wander) = (0.0, 0.0);
        for s in (1..contrast.len()).rev() {
            beyond += contrast[s];
            wander += beyond * beyond * (self.u[s] - self.u[s - 1]);
        }
        let parts = contrast.iter().map(|weight| weight * weight).enumerate();
        Spread {
            variance: quartile_distance(&mut off).powi(2),
            parts: parts.filter(|(_, share)| *share > LEAST_SHARE).collect(),
            wander,
        }
    }

    fn variances(&self, tokens: &[Vec<f64>]) -> Vec<f64> {
        let n = self.u.len();
        if tokens.len() < LEAST {
            return vec![1.0; n];
        }
        let places: Vec<(usize, usize)> =
            LAGS.iter().flat_map(|&lag| (lag..n - lag).map(move |at| (at, lag))).collect();
        let spreads: Vec<Spread> = places.into_par_iter().map(|(at, lag)| self.spread(tokens, at, lag)).collect();
        let beside = BESIDE.max(ENOUGH.div_ceil(2 * tokens.len()));
        let logs: Vec<f64> = explained(&spreads, n).iter().map(|variance| variance.ln()).collect();
        let smooth: Vec<f64> =
            (0..n).map(|at| median(&mut logs[at.saturating_sub(beside)..(at + beside + 1).min(n)].to_vec())).collect();
        let middle = median(&mut smooth.clone());
        if !middle.is_finite() {
            return vec![1.0; n]; // most checkpoints, or all, are without noise
        }
        smooth.iter().map(|log| (log - middle).clamp(LEAST_NOISE.ln(), MOST_NOISE.ln()).exp()).collect()
    }
}

/// The variance of one distance over tokens, and what it is made of.
struct Spread {
    variance: f64,
    /// Checkpoints, and how much of their noise is in it.
    parts: Vec<(usize, f64)>,
    /// How much of the wander.
    wander: f64,
}

impl Spread {
    fn made_of(&self, noise: &[f64], wander: f64) -> f64 {
        self.parts.iter().map(|&(at, share)| share * noise[at]).sum::<f64>() + self.wander * wander
    }
}

/// The noise at every checkpoint that explains the spreads beside a common wander.
fn explained(spreads: &[Spread], checkpoints: usize) -> Vec<f64> {
    let mean = spreads.iter().map(|spread| spread.variance).sum::<f64>() / spreads.len() as f64;
    // Spreads of 0 would stay 0: rounding is some noise.
    let least = 1e-12 * mean;
    let (mut noise, mut wander) = (vec![mean; checkpoints], mean);
    for _ in 0..ROUNDS {
        let (mut ratios, mut weights) = (vec![0.0; checkpoints], vec![0.0; checkpoints]);
        let (mut ratio_of_wander, mut weight_of_wander) = (0.0, 0.0);
        for spread in spreads {
            let ratio = spread.variance.max(least) / spread.made_of(&noise, wander);
            for &(at, share) in &spread.parts {
                ratios[at] += share * ratio;
                weights[at] += share;
            }
            ratio_of_wander += spread.wander * ratio;
            weight_of_wander += spread.wander;
        }
        for (noise, (ratio, weight)) in noise.iter_mut().zip(ratios.iter().zip(&weights)) {
            *noise *= ratio / weight;
        }
        wander *= ratio_of_wander / weight_of_wander;
    }
    noise
}

/// Half the distance of the quartiles.
fn quartile_distance(values: &mut [f64]) -> f64 {
    let quarter = values.len() / 4;
    let low = *values.select_nth_unstable_by(quarter, f64::total_cmp).1;
    let high = *values.select_nth_unstable_by(values.len() - 1 - quarter, f64::total_cmp).1;
    (high - low) / 2.0
}
