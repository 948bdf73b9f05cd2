//! Mean loss at every position, and its standard error, over examples.
//!
//! ```text
//! mean(i) = 1/n sum over e of loss[e, i]          se(i)² = sum over e of (loss[e, i] - mean(i))² / (n (n - 1))
//! ```
//!
//! Memory is read once; `sums.rs` says how it is added up.

use std::ops::Range;

use ndarray::{ArrayD, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::in_context::difference;
use super::layout::Layout;
use super::sums::{ROWS, Summary, TILE};
use crate::tensor::{Element, TensorView, prefetch};
use crate::vectorize::{vectorize, vectorize_laid_out};
use crate::{Cancel, Error, Result, with_view};

/// Examples of one task. Fixed, so that the order of all sums is the same on any number of threads.
pub(crate) const TASK: usize = 512;

/// What [`position_losses`] finds; both `(..., pos)`, in nats.
#[derive(Debug, Clone)]
pub struct PositionLosses {
    /// Mean over examples; NaN without examples.
    pub mean: ArrayD<f64>,
    /// Standard error of that mean; NaN with fewer than two examples.
    pub standard_error: ArrayD<f64>,
}

/// Mean and standard error over examples of `per_token_loss`, `(..., batch, pos)`. A loss that is NaN or infinite
/// makes both NaN at its position, and nowhere else.
pub fn position_losses(per_token_loss: &TensorView<'_>, cancel: &Cancel) -> Result<PositionLosses> {
    with_view!(per_token_loss, |losses| {
        let layout = Layout::new(losses.view())?;
        let summaries = summaries(&layout, None, cancel)?;
        let shape = layout.shape_with(layout.context);
        let collect = |of: fn(&Summary, usize) -> f64| {
            let values = summaries.iter().flat_map(|one| (0..layout.context).map(move |i| of(one, i))).collect();
            // The length is the shape's product by construction; an error here would name the axes.
            ArrayD::from_shape_vec(shape.clone(), values).map_err(|_| Error::WrongRank {
                argument: "per_token_loss",
                expected: "(..., batch, pos)",
                got: shape.len() + 1,
            })
        };
        Ok(PositionLosses { mean: collect(Summary::mean)?, standard_error: collect(Summary::standard_error)? })
    })
}

/// One [`Summary`] for each index of the leading axes; with the differences between two windows where they are given.
pub(super) fn summaries<T: Element>(
    layout: &Layout<'_, T>,
    windows: Option<&[Range<usize>; 2]>,
    cancel: &Cancel,
) -> Result<Vec<Summary>> {
    layout.losses.par_iter().map(|losses| summary(losses, windows, cancel)).collect()
}

/// The [`Summary`] of `(batch, pos)` losses.
pub(crate) fn summary_of(
    losses: &TensorView<'_>,
    windows: Option<&[Range<usize>; 2]>,
    cancel: &Cancel,
) -> Result<Summary> {
    with_view!(losses, |losses| {
        let got = losses.ndim();
        let losses = losses.view().into_dimensionality();
        let wrong_rank = |_| Error::WrongRank { argument: "per_token_loss", expected: "(batch, pos)", got };
        summary(&losses.map_err(wrong_rank)?, windows, cancel)
    })
}

fn summary<T: Element>(
    losses: &ArrayView2<'_, T>,
    windows: Option<&[Range<usize>; 2]>,
    cancel: &Cancel,
) -> Result<Summary> {
    let pivot = rows_of(&losses.slice(s![..losses.nrows().min(ROWS), ..]), |rows| pivots(rows, losses.ncols()));
    let tasks: Vec<_> = losses.axis_chunks_iter(Axis(0), TASK).collect();
    let parts = tasks
        .into_par_iter()
        .map(|examples| {
            let mut part = Task::new(&pivot);
            let mut blocks = examples.axis_chunks_iter(Axis(0), ROWS).peekable();
            while let Some(block) = blocks.next() {
                cancel.check()?;
                let following = blocks.peek().copied();
                let following = following.as_ref().map_or_else(Vec::new, contiguous);
                rows_of(&block, |rows| part.add(rows, &following, windows));
            }
            part.sums.count_undefined(&examples);
            Ok(part.sums)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(parts.iter().fold(Summary::new(pivot), Summary::join))
}

/// The sums of one task, to which its examples come [`ROWS`] at a time.
pub(crate) struct Task {
    pub(crate) sums: Summary,
    /// Losses of sixteen bits, widened.
    tile: Vec<f32>,
}

impl Task {
    pub(crate) fn new(pivot: &[f64]) -> Self {
        Self { sums: Summary::new(pivot.to_vec()), tile: Vec::new() }
    }

    /// The next [`ROWS`] examples, or what is left of a task's; `following` come after them.
    pub(crate) fn add<T: Element>(&mut self, rows: &[&[T]], following: &[&[T]], windows: Option<&[Range<usize>; 2]>) {
        let Self { sums, tile } = self;
        if size_of::<T>() == 2 {
            let context = rows.first().map_or(0, |row| row.len());
            tile.resize(ROWS * TILE, 0.0);
            for first in (0..context).step_by(TILE) {
                let positions = first..context.min(first + TILE);
                for (number, (row, wide)) in rows.iter().zip(tile.chunks_exact_mut(TILE)).enumerate() {
                    if let Some(row) = following.get(number) {
                        prefetch(&row[positions.clone()]);
                    }
                    T::widen(&row[positions.clone()], &mut wide[..positions.len()]);
                }
                vectorize_laid_out(
                    true,
                    #[inline(always)]
                    |_| sums.add_widened(positions, &tile[..rows.len() * TILE]),
                );
            }
            sums.n += rows.len();
        } else {
            vectorize(
                #[inline(always)]
                || sums.add(rows, following),
            );
        }
        // While they are still in the cache.
        if let Some(windows) = windows {
            sums.differences.extend(rows.iter().map(|row| difference(|pos| row[pos].to_f64(), windows)));
        }
    }
}

/// At every position the one of the first examples' losses that is nearest to their mean; NaN without examples.
pub(crate) fn pivots<T: Element>(first: &[&[T]], context: usize) -> Vec<f64> {
    vectorize(
        #[inline(always)]
        || nearest_to_the_mean(first, context),
    )
}

#[inline(always)]
fn nearest_to_the_mean<T: Element>(rows: &[&[T]], context: usize) -> Vec<f64> {
    let mut mean = vec![0.0; context];
    for row in rows {
        mean.iter_mut().zip(*row).for_each(|(mean, loss)| *mean += loss.to_f64());
    }
    mean.iter_mut().for_each(|mean| *mean /= rows.len() as f64);
    let (mut nearest, mut distance) = (vec![f64::NAN; context], vec![f64::NAN; context]);
    for row in rows {
        let places = nearest.iter_mut().zip(&mut distance).zip(&mean);
        for (&loss, ((nearest, distance), mean)) in row.iter().zip(places) {
            let loss = loss.to_f64();
            let further = (loss - mean).abs();
            let is_nearer = (further < *distance) | (distance.is_nan() & !further.is_nan());
            *nearest = if is_nearer { loss } else { *nearest };
            *distance = if is_nearer { further } else { *distance };
        }
    }
    nearest
}

/// Works on the rows of a block, each contiguous in memory: copied, where they are not so already.
fn rows_of<T: Element, R>(block: &ArrayView2<'_, T>, work: impl FnOnce(&[&[T]]) -> R) -> R {
    let rows = contiguous(block);
    if rows.len() == block.nrows() {
        return work(&rows);
    }
    let copies: Vec<Vec<T>> = block.outer_iter().map(|row| row.iter().copied().collect()).collect();
    work(&copies.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The rows of a block that are contiguous in memory.
fn contiguous<'a, T>(block: &'a ArrayView2<'_, T>) -> Vec<&'a [T]> {
    block.outer_iter().filter_map(|row| row.to_slice()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, ArrayView, IxDyn};

    fn of(losses: &Array2<f32>) -> PositionLosses {
        position_losses(&TensorView::F32(losses.view().into_dyn()), &Cancel::new()).unwrap()
    }

    #[test]
    fn three_examples_by_hand() {
        // Position 0: 1, 2, 6: mean 3, variance (4 + 1 + 9) / 2 = 7, standard error sqrt(7/3). Position 1: constant.
        let found = of(&ndarray::arr2(&[[1.0, 0.1], [2.0, 0.1], [6.0, 0.1]]));
        assert_eq!(found.mean[[0]], 3.0);
        assert!((found.standard_error[[0]] - (7.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(found.mean[[1]], f64::from(0.1_f32));
        assert_eq!(found.standard_error[[1]], 0.0);
    }

    #[test]
    fn joining_blocks_is_the_same_as_two_passes() {
        let (batch, context) = (2 * TASK + 3 * ROWS + 5, TILE + 3);
        let losses =
            Array2::from_shape_fn((batch, context), |(e, i)| 1e3 + ((e * 7919 + i * 104_729) % 1009) as f32 / 1009.0);
        let found = of(&losses);
        for position in 0..context {
            let column: Vec<f64> = losses.column(position).iter().map(|&loss| f64::from(loss)).collect();
            let n = batch as f64;
            let mean = column.iter().sum::<f64>() / n;
            let squares = column.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>();
            let standard_error = (squares / (n - 1.0) / n).sqrt();
            assert!((found.mean[[position]] - mean).abs() < 1e-12 * mean);
            assert!((found.standard_error[[position]] / standard_error - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_nan_stays_at_its_position() {
        let mut losses = Array2::<f32>::ones((40, 20));
        losses[[33, 7]] = f32::NAN;
        let found = of(&losses);
        let bad: Vec<usize> = (0..20).filter(|&i| found.mean[[i]].is_nan()).collect();
        assert_eq!(bad, [7]);
        assert!(found.standard_error[[7]].is_nan());
    }

    #[test]
    fn a_vector_is_refused_by_name() {
        let view = TensorView::F64(ArrayView::from_shape(IxDyn(&[2]), &[1.0, 2.0]).unwrap());
        let error = position_losses(&view, &Cancel::new()).unwrap_err();
        assert_eq!(error.to_string(), "per_token_loss must have axes (..., batch, pos), got 1 axis");
    }
}
