//! Products over the vocabulary: `(rows, vocab)` by `(vocab, columns)`, tens of thousands of terms an entry.
//!
//! The stored numbers are widened a block of the vocabulary at a time, so that memory does not grow with it, and the
//! blocks are added in order, so that the bits do not depend on the number of threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, Ix2, Slice};
use rayon::prelude::*;

use super::weights::widened;
use crate::tensor::TensorView;
use crate::{Cancel, Result, with_view};

/// Terms of the sum widened at once.
const BLOCK: usize = 1024;
/// Rows of the result one task computes.
const ROWS: usize = 64;

/// `left @ right` in f64; both have two axes that fit.
pub(super) fn product(left: &TensorView<'_>, right: &TensorView<'_>, cancel: &Cancel) -> Result<Array2<f64>> {
    let (rows, columns, inner) = (left.shape()[0], right.shape()[1], right.shape()[0]);
    let mut result = Array2::zeros((rows, columns));
    for start in (0..inner).step_by(BLOCK) {
        let block = Slice::from(start..(start + BLOCK).min(inner));
        let (left, right) = (part(left, Axis(1), block), part(right, Axis(0), block));
        let strips = result.axis_chunks_iter_mut(Axis(0), ROWS).zip(left.axis_chunks_iter(Axis(0), ROWS));
        strips.collect::<Vec<_>>().into_par_iter().try_for_each(|(mut result, left)| {
            cancel.check()?;
            general_mat_mul(1.0, &left, &right, 1.0, &mut result);
            Ok::<_, crate::Error>(())
        })?;
    }
    Ok(result)
}

fn part(matrix: &TensorView<'_>, axis: Axis, block: Slice) -> Array2<f64> {
    with_view!(matrix, |array| match array.view().into_dimensionality::<Ix2>() {
        Ok(array) => widened(array.slice_axis(axis, block)),
        // The callers have checked that there are two axes.
        Err(_) => Array2::zeros((0, 0)),
    })
}
