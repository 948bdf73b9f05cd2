//! Products over the vocabulary: `(rows, vocab)` by `(vocab, columns)`, tens of thousands of terms an entry.
//!
//! The stored numbers are widened a block of the vocabulary at a time, so that memory does not grow with it, and the
//! blocks are added in order, so that the bits do not depend on the number of threads.

use ndarray::{Array2, ArrayView2, Axis, Ix2, Slice};
use rayon::prelude::*;

use super::panels::{TERMS, add_panels, pack, trimmed};
use super::registers::{COLUMNS, ROWS};
use crate::tensor::{Element, TensorView};
use crate::{Cancel, Result, with_view};

/// Panels of rows one task multiplies.
const STRIP: usize = 8;

/// `left @ right` in f64; both have two axes that fit.
pub(super) fn product(left: &TensorView<'_>, right: &TensorView<'_>, cancel: &Cancel) -> Result<Array2<f64>> {
    let (rows, columns, inner) = (left.shape()[0], right.shape()[1], right.shape()[0]);
    let padded = (rows.next_multiple_of(ROWS), columns.next_multiple_of(COLUMNS));
    let mut result = vec![0.0; padded.0 * padded.1];
    let (mut packed_left, mut packed_right) = (vec![0.0; padded.0 * TERMS], vec![0.0; padded.1 * TERMS]);
    let right = right.transposed();
    for start in (0..inner).step_by(TERMS) {
        cancel.check()?;
        let terms = TERMS.min(inner - start);
        let packed_left = &mut packed_left[..padded.0 * terms];
        let packed_right = &mut packed_right[..padded.1 * terms];
        rayon::join(|| pack_all(left, start, ROWS, packed_left), || pack_all(&right, start, COLUMNS, packed_right));
        let strips = result.par_chunks_mut((STRIP * ROWS * padded.1).max(1));
        strips
            .zip(packed_left.par_chunks(STRIP * ROWS * terms))
            .for_each(|(result, left)| add_panels(terms, left, packed_right, result, padded.1));
    }
    Ok(trimmed(result, padded.1, (rows, columns)))
}

/// All panels of the terms from `start` on, as many as there is room for.
fn pack_all(lines: &TensorView<'_>, start: usize, width: usize, packed: &mut [f64]) {
    fn typed<T: Element>(lines: ArrayView2<'_, T>, start: usize, width: usize, packed: &mut [f64]) {
        let terms = packed.len() / lines.nrows().next_multiple_of(width).max(1);
        let lines = lines.slice_axis(Axis(1), Slice::from(start..start + terms));
        let panels = packed.par_chunks_exact_mut((width * terms).max(1)).enumerate();
        panels.for_each(|(number, panel)| pack(lines, number, width, panel));
    }
    with_view!(lines, |lines| if let Ok(lines) = lines.view().into_dimensionality::<Ix2>() {
        // The callers have checked that there are two axes.
        typed(lines, start, width, packed);
    });
}
