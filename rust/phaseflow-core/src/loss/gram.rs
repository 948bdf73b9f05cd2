//! Inner products between checkpoints' losses, centred: what principal components of function space are read off.
//!
//! Rows are checkpoints (of one run or many), columns tokens. With each column's mean over the rows taken off,
//!
//! ```text
//! G[a, b] = sum over columns of (loss[a, j] - mean_j) (loss[b, j] - mean_j)       total[a] = sum of (loss[a, j] - mean_j)
//! ```
//!
//! The rows may be far larger than memory: columns are read [`WIDTH`] at a time, of all rows, so that a block is centred
//! exactly before it is multiplied. Products and sums are in double precision. G is computed tile by tile, its upper half
//! only; a tile's columns are always added in the same order, so the bits do not depend on the number of threads.
//!
//! A column in which any row is NaN or infinite is left out.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;

use crate::tensor::{Element, TensorView};
use crate::{Cancel, Error, Result, with_view};

/// Columns of a block.
const WIDTH: usize = 1024;
/// Rows and columns of a tile of G.
const TILE: usize = 128;

/// Sums over columns; those of several ranges add up.
#[derive(Debug, Clone)]
pub struct Gram {
    /// `(row, row)`, symmetric.
    pub products: Array2<f64>,
    /// For each row the sum of what it has above the column means.
    pub totals: Vec<f64>,
    /// Columns that are in the sums.
    pub used: usize,
}

/// The sums over columns `start..stop` of the rows, each a tensor of any shape in row-major order.
pub fn gram(rows: &[TensorView<'_>], start: usize, stop: usize, cancel: &Cancel) -> Result<Gram> {
    for row in rows {
        let columns: usize = row.shape().iter().product();
        if stop > columns || start > stop {
            return Err(Error::ShapeMismatch { argument: "losses", axis: "token", expected: stop, got: columns });
        }
        if !with_view!(row, |array| array.is_standard_layout()) {
            return Err(Error::Unsupported {
                what: "losses holds an array that is not in row-major order".into(),
                next: "pass numpy.ascontiguousarray of it".into(),
            });
        }
    }
    let n = rows.len();
    let tiles: Vec<(usize, usize)> =
        (0..n).step_by(TILE).flat_map(|a| (a..n).step_by(TILE).map(move |b| (a, b))).collect();
    let size = |from: usize| TILE.min(n - from);
    let mut parts: Vec<Array2<f64>> = tiles.iter().map(|&(a, b)| Array2::zeros((size(a), size(b)))).collect();
    let mut totals = vec![0.0; n];
    let mut used = 0;
    let mut block = Array2::zeros((n, WIDTH.min(stop - start)));
    for first in (start..stop).step_by(WIDTH) {
        let width = WIDTH.min(stop - first);
        let mut block = block.slice_mut(s![.., ..width]);
        let into: Vec<_> = block.outer_iter_mut().zip(rows).collect();
        into.into_par_iter().try_for_each(|(mut into, row)| {
            cancel.check()?;
            with_view!(row, |array| {
                let values = array.as_slice().unwrap_or_default();
                into.iter_mut().zip(&values[first..first + width]).for_each(|(into, loss)| *into = loss.to_f64());
            });
            Ok(())
        })?;
        used += centre(block.view_mut());
        totals.iter_mut().zip(block.outer_iter()).for_each(|(total, row)| *total += sum(row));
        let block: ArrayView2<'_, f64> = block.view();
        parts.par_iter_mut().zip(&tiles).try_for_each(|(part, &(a, b))| {
            cancel.check()?;
            let (left, right) = (block.slice(s![a..a + size(a), ..]), block.slice(s![b..b + size(b), ..]));
            general_mat_mul(1.0, &left, &right.t(), 1.0, part);
            Ok(())
        })?;
    }
    let mut products = Array2::zeros((n, n));
    for (part, (a, b)) in parts.iter().zip(tiles) {
        for ((i, j), value) in part.indexed_iter() {
            // Of a tile on the diagonal the upper half alone: both halves get the same bits.
            if a + i <= b + j {
                products[[a + i, b + j]] = *value;
                products[[b + j, a + i]] = *value;
            }
        }
    }
    Ok(Gram { products, totals, used })
}

/// Takes its mean off every column, in double precision; a column that is not finite becomes 0. How many are finite.
fn centre(mut block: ArrayViewMut2<'_, f64>) -> usize {
    let rows = block.nrows();
    if rows == 0 {
        return 0;
    }
    // Measured from the first row: a large common loss costs no digits.
    let first = block.row(0).to_owned();
    let mut mean = vec![0.0; block.ncols()];
    for row in block.outer_iter() {
        mean.iter_mut().zip(row).zip(&first).for_each(|((mean, loss), first)| *mean += loss - first);
    }
    mean.iter_mut().for_each(|mean| *mean /= rows as f64);
    for mut row in block.outer_iter_mut() {
        for ((loss, first), mean) in row.iter_mut().zip(&first).zip(&mean) {
            *loss = if mean.is_finite() { (*loss - first) - mean } else { 0.0 };
        }
    }
    mean.iter().filter(|mean| mean.is_finite()).count()
}

fn sum(row: ArrayView1<'_, f64>) -> f64 {
    row.iter().fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, IxDyn};

    #[test]
    fn three_checkpoints_by_hand() {
        // Column means 2 and 5; the third column has a NaN.
        let rows = [[1.0, 5.0, 0.0], [2.0, 4.0, f64::NAN], [3.0, 6.0, 0.0]];
        let arrays: Vec<ArrayD<f64>> =
            rows.iter().map(|row| ArrayD::from_shape_vec(IxDyn(&[1, 3]), row.to_vec()).unwrap()).collect();
        let views: Vec<TensorView<'_>> = arrays.iter().map(|array| TensorView::F64(array.view())).collect();
        let found = gram(&views, 0, 3, &Cancel::new()).unwrap();
        assert_eq!(found.products, ndarray::arr2(&[[1.0, 0.0, -1.0], [0.0, 1.0, -1.0], [-1.0, -1.0, 2.0]]));
        assert_eq!(found.totals, [-1.0, -1.0, 2.0]);
        assert_eq!(found.used, 2);
    }

    #[test]
    fn columns_beyond_the_last_are_refused() {
        let array = ArrayD::from_shape_vec(IxDyn(&[2]), vec![1.0_f32, 2.0]).unwrap();
        assert!(gram(&[TensorView::F32(array.view())], 0, 3, &Cancel::new()).is_err());
    }
}
