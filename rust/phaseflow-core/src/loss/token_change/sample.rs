//! Tokens spread evenly over all, and how far each of their checkpoints lies off the line between its neighbours.
//!
//! What the noise is like is read off these distances ([`noise`](super::noise), [`tails`](super::tails)): a smooth course
//! and a slow wander hardly show in them.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::grid::{Grid, remove};
use super::scan::Rows;
use super::strip::on_odds_scale;
use crate::median::median;
use crate::tensor::TensorView;
use crate::{Error, Result};

/// Runs of neighbouring tokens, spread evenly over all.
const RUNS: usize = 64;
/// Tokens of a run.
const RUN: usize = 256;
/// Distances below this part of the trajectory are rounding.
const ROUNDING: f64 = 1e-9;

/// The losses of at most 16,384 tokens of one checkpoint's `(batch, pos)`, the same ones at every checkpoint.
pub fn sample<'a>(losses: &'a TensorView<'a>) -> Result<Vec<f64>> {
    let rows = Rows::new(std::slice::from_ref(losses), 1)?;
    let apart = rows.tokens.div_ceil(RUNS).max(RUN);
    let starts = (0..rows.tokens).step_by(apart);
    Ok(starts.flat_map(|start| rows.tile(start..(start + RUN).min(rows.tokens)).losses).collect())
}

impl Grid {
    /// The trajectories of the sampled tokens, `(checkpoint, token)`, one by one: see [`Grid::unit_of_its_own`].
    pub(super) fn in_own_units(&self, losses: &ArrayView2<'_, f64>) -> Result<Vec<Vec<f64>>> {
        if losses.nrows() != self.u.len() {
            let (expected, got) = (self.u.len(), losses.nrows());
            return Err(Error::ShapeMismatch { argument: "losses", axis: "checkpoint", expected, got });
        }
        let tokens = (0..losses.ncols()).into_par_iter();
        Ok(tokens
            .filter_map(|token| {
                self.unit_of_its_own(losses.column(token).iter().map(|loss| on_odds_scale(*loss)).collect())
            })
            .collect())
    }

    /// What the smooth base leaves of a trajectory on the scale of the odds, in units of its median distance from the
    /// line between neighbours; nothing where a loss is undefined or there is no noise.
    pub(super) fn unit_of_its_own(&self, mut y: Vec<f64>) -> Option<Vec<f64>> {
        let size = y.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        self.base.iter().for_each(|function| remove(&mut y, function));
        let mut off: Vec<f64> = (1..y.len() - 1).map(|at| self.off(&y, at, 1).abs()).collect();
        let unit = median(&mut off);
        // What is left of a trajectory inside the base is rounding.
        if !(unit > ROUNDING * size && y.iter().all(|value| value.is_finite())) {
            return None;
        }
        y.iter_mut().for_each(|value| *value /= unit);
        Some(y)
    }

    /// How far the checkpoint lies off the line between those `lag` away.
    pub(super) fn off(&self, y: &[f64], at: usize, lag: usize) -> f64 {
        let (before, after) = self.shares(at, lag);
        y[at] - before * y[at - lag] - after * y[at + lag]
    }

    /// The weights of the neighbours.
    pub(super) fn shares(&self, at: usize, lag: usize) -> (f64, f64) {
        let (a, b) = (self.u[at] - self.u[at - lag], self.u[at + lag] - self.u[at]);
        (b / (a + b), a / (a + b))
    }
}
