//! Every token's trajectory out of step-major tensors: tiles of all checkpoints of a few hundred tokens.
//!
//! A checkpoint's losses lie together, a token's lie a whole tensor apart. A tile reads a run of neighbouring tokens from
//! each checkpoint, whole cache lines, and holds them while they are scanned lane by lane: the tensors are read once,
//! and besides them only the results take memory.

use std::borrow::Cow;
use std::ops::Range;

use half::{bf16, f16};
use ndarray::ArrayViewD;
use rayon::prelude::*;

use super::grid::Grid;
use super::strip::{Found, LANES, Lanes, Strip, on_odds_scale};
use crate::tensor::{Element, TensorView};
use crate::vectorize::vectorize;
use crate::{Cancel, Error, Result};

/// Tokens of a tile: at 200 checkpoints half a megabyte in double precision.
const TILE: usize = 256;
/// Strips of one task of made-up tokens.
const TASK: usize = 16;
/// Checkpoints averaged for the level before and after a drop.
const LEVEL: usize = 8;

/// What is found for each token; vectors of one length.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Twice the gain in log likelihood by the best ramp; NaN for a token with an undefined loss.
    pub statistic: Vec<f64>,
    /// That ramp's index among [`Grid::ramps`].
    pub ramp: Vec<u32>,
    /// Its height on the scale of the odds, in standard errors; negative for a fall.
    pub height: Vec<f32>,
    /// Mean loss, nats, of the last 8 checkpoints up to its start.
    pub before: Vec<f64>,
    /// Mean loss, nats, of the first 8 checkpoints from its end.
    pub after: Vec<f64>,
    /// Which variance of the wander is likeliest beside the ramp.
    pub wander: Vec<u8>,
}

impl Grid {
    /// Scans the tokens `range` of `losses`, one `(batch, pos)` tensor a checkpoint, numbered in row-major order.
    pub fn scan<'a>(&self, losses: &'a [TensorView<'a>], range: Range<usize>, cancel: &Cancel) -> Result<Scan> {
        let rows = Rows::new(losses, self.u.len())?;
        if range.start > range.end || range.end > rows.tokens {
            return Err(Error::ShapeMismatch {
                argument: "range",
                axis: "token",
                expected: rows.tokens,
                got: range.end,
            });
        }
        let starts: Vec<usize> = range.clone().step_by(TILE).collect();
        let tiles = starts
            .into_par_iter()
            .map(|start| {
                cancel.check()?;
                let tile = rows.tile(start..(start + TILE).min(range.end));
                Ok(vectorize(
                    #[inline(always)]
                    || self.scan_tile(&tile),
                ))
            })
            .collect::<Result<Vec<Scan>>>()?;
        Ok(tiles.into_iter().fold(Scan::default(), Scan::join))
    }

    #[inline(always)]
    fn scan_tile(&self, tile: &Tile) -> Scan {
        let mut scan = Scan::default();
        let mut strip = Strip::new(self.u.len());
        for first in (0..tile.tokens).step_by(LANES) {
            let many = LANES.min(tile.tokens - first);
            for (checkpoint, row) in strip.y.iter_mut().enumerate() {
                *row = [0.0; LANES];
                let losses = &tile.losses[checkpoint * tile.tokens + first..][..many];
                for (to, loss) in row.iter_mut().zip(losses) {
                    *to = on_odds_scale(*loss);
                }
            }
            let found = self.scan_strip(&mut strip);
            scan.push(&found, many);
            for lane in 0..many {
                let ramp = self.ramps[found.ramp[lane] as usize];
                let mean = |checkpoints: Range<usize>| {
                    let n = checkpoints.len() as f64;
                    checkpoints.map(|t| tile.losses[t * tile.tokens + first + lane]).sum::<f64>() / n
                };
                scan.before.push(mean((ramp.start + 1).saturating_sub(LEVEL)..ramp.start + 1));
                scan.after.push(mean(ramp.end..(ramp.end + LEVEL).min(self.u.len())));
            }
        }
        scan
    }
}

impl Scan {
    fn push(&mut self, found: &Found, many: usize) {
        self.statistic.extend(&found.statistic[..many]);
        self.ramp.extend(found.ramp[..many].iter().map(|&index| index as u32));
        self.height.extend(found.height[..many].iter().map(|&height| height as f32));
        self.wander.extend(found.wander[..many].iter().map(|&index| index as u8));
    }

    fn join(mut self, mut next: Self) -> Self {
        self.statistic.append(&mut next.statistic);
        self.ramp.append(&mut next.ramp);
        self.height.append(&mut next.height);
        self.before.append(&mut next.before);
        self.after.append(&mut next.after);
        self.wander.append(&mut next.wander);
        self
    }
}

/// All checkpoints' losses as rows of tokens.
pub(super) struct Rows<'a> {
    rows: Vec<Row<'a>>,
    pub(super) tokens: usize,
}

/// One checkpoint's losses, in row-major order; copied only if they do not lie so in memory.
enum Row<'a> {
    F16(Cow<'a, [f16]>),
    Bf16(Cow<'a, [bf16]>),
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
}

/// Losses `(checkpoint, token)` of neighbouring tokens.
pub(super) struct Tile {
    pub(super) losses: Vec<f64>,
    tokens: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(losses: &'a [TensorView<'a>], checkpoints: usize) -> Result<Self> {
        let mismatch = |axis, expected, got| Error::ShapeMismatch { argument: "per_token_loss", axis, expected, got };
        if losses.len() != checkpoints {
            return Err(mismatch("checkpoint", checkpoints, losses.len()));
        }
        let shape = losses[0].shape();
        for view in losses {
            if view.shape().len() != 2 {
                return Err(Error::WrongRank {
                    argument: "per_token_loss",
                    expected: "(batch, pos) at every checkpoint",
                    got: view.shape().len(),
                });
            }
            for (axis, name) in ["batch", "pos"].into_iter().enumerate() {
                if view.shape()[axis] != shape[axis] {
                    return Err(mismatch(name, shape[axis], view.shape()[axis]));
                }
            }
        }
        let row = |view: &'a TensorView<'a>| match view {
            TensorView::F16(array) => Row::F16(in_order(array)),
            TensorView::Bf16(array) => Row::Bf16(in_order(array)),
            TensorView::F32(array) => Row::F32(in_order(array)),
            TensorView::F64(array) => Row::F64(in_order(array)),
        };
        Ok(Self { rows: losses.iter().map(row).collect(), tokens: shape.iter().product() })
    }

    pub(super) fn tile(&self, range: Range<usize>) -> Tile {
        let mut losses = Vec::with_capacity(self.rows.len() * range.len());
        for row in &self.rows {
            match row {
                Row::F16(values) => widen(&values[range.clone()], &mut losses),
                Row::Bf16(values) => widen(&values[range.clone()], &mut losses),
                Row::F32(values) => widen(&values[range.clone()], &mut losses),
                Row::F64(values) => widen(&values[range.clone()], &mut losses),
            }
        }
        Tile { losses, tokens: range.len() }
    }
}

fn in_order<'a, T: Element>(array: &'a ArrayViewD<'a, T>) -> Cow<'a, [T]> {
    match array.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(array.iter().copied().collect()),
    }
}

fn widen<T: Element>(values: &[T], to: &mut Vec<f64>) {
    to.extend(values.iter().map(|value| value.to_f64()));
}

impl Grid {
    /// Scans trajectories that are made up, one strip after another: `fill` writes strip number `index`.
    pub(super) fn scan_made_up(
        &self,
        strips: usize,
        fill: impl Fn(usize, &mut [Lanes]) + Sync,
        cancel: &Cancel,
    ) -> Result<Scan> {
        let parts = (0..strips.div_ceil(TASK))
            .into_par_iter()
            .map(|task| {
                cancel.check()?;
                let mut scan = Scan::default();
                let mut strip = Strip::new(self.u.len());
                for index in task * TASK..((task + 1) * TASK).min(strips) {
                    fill(index, &mut strip.y);
                    let found = vectorize(
                        #[inline(always)]
                        || self.scan_strip(&mut strip),
                    );
                    scan.push(&found, LANES);
                }
                Ok(scan)
            })
            .collect::<Result<Vec<Scan>>>()?;
        Ok(parts.into_iter().fold(Scan::default(), Scan::join))
    }
}
