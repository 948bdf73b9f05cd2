//! Eigenvalues of factored circuits, and how much the OV circuit copies (Elhage 2021).
//!
//! The OV circuit of a head takes tokens to tokens: `W_E W_V W_O W_U`, `(vocab, vocab)`. Its eigenvalues other than 0
//! are those of the same factors cycled, `W_O (W_U W_E) W_V`, `(d_head, d_head)`. A token that raises its own logit
//! shows as a positive eigenvalue:
//!
//! ```text
//! ov_copying_statistic = sum(λ) / sum(|λ|)        from -1 to 1; near 0 for a random head
//! ```
//!
//! `W_U W_E`, `(d_model, d_model)`, is the same for all heads and computed once.

use ndarray::{Array2, ArrayD, IxDyn};
use rayon::prelude::*;

use super::eigenvalues::{Complex, eigenvalues};
use super::panels::multiply;
use super::product::product;
use super::weights::{axes, fits, matrix, same_heads, stack};
use crate::tensor::TensorView;
use crate::{Cancel, Result};

/// Eigenvalues of `left @ right`, `(..., n, rank)` by `(..., rank, n)`: `(..., rank)`, largest first; what else there
/// is of its spectrum is 0. NaN where a factor is not finite.
pub fn factored_eigenvalues(left: &TensorView<'_>, right: &TensorView<'_>, cancel: &Cancel) -> Result<ArrayD<Complex>> {
    let (leading, outer, rank) = stack("left", "(..., n, rank)", left)?;
    let (right_leading, right_rank, right_outer) = stack("right", "(..., rank, n)", right)?;
    same_heads("right", leading, right_leading)?;
    fits("right", "rank", rank, right_rank)?;
    fits("right", "n", outer, right_outer)?;
    spectra(leading, rank, cancel, |head| multiply(matrix(right, head).view(), matrix(left, head).view()))
}

/// Eigenvalues of the OV circuits `W_E W_V W_O W_U`, `(..., d_head)`, largest first, without the zeros of its rank.
///
/// `W_E (vocab, d_model)`, `W_V (..., d_model, d_head)`, `W_O (..., d_head, d_model)`, `W_U (d_model, vocab)`. NaN for
/// a head that is not finite.
pub fn ov_eigenvalues(
    w_e: &TensorView<'_>,
    w_v: &TensorView<'_>,
    w_o: &TensorView<'_>,
    w_u: &TensorView<'_>,
    cancel: &Cancel,
) -> Result<ArrayD<Complex>> {
    let [vocab, d_model] = axes("W_E", "(vocab, d_model)", w_e)?;
    let [width, tokens] = axes("W_U", "(d_model, vocab)", w_u)?;
    let (leading, rows, d_head) = stack("W_V", "(..., d_model, d_head)", w_v)?;
    let (o_leading, o_head, columns) = stack("W_O", "(..., d_head, d_model)", w_o)?;
    fits("W_U", "d_model", d_model, width)?;
    fits("W_U", "vocab", vocab, tokens)?;
    fits("W_V", "d_model", d_model, rows)?;
    same_heads("W_O", leading, o_leading)?;
    fits("W_O", "d_head", d_head, o_head)?;
    fits("W_O", "d_model", d_model, columns)?;
    let direct = product(w_u, w_e, cancel)?;
    spectra(leading, d_head, cancel, |head| {
        let written = multiply(matrix(w_o, head).view(), direct.view());
        multiply(written.view(), matrix(w_v, head).view())
    })
}

/// `sum(λ) / sum(|λ|)` of every spectrum along the last axis, `(...)`; NaN where all eigenvalues are 0.
pub fn ov_copying_statistic(
    w_e: &TensorView<'_>,
    w_v: &TensorView<'_>,
    w_o: &TensorView<'_>,
    w_u: &TensorView<'_>,
    cancel: &Cancel,
) -> Result<ArrayD<f64>> {
    let spectra = ov_eigenvalues(w_e, w_v, w_o, w_u, cancel)?;
    let leading = spectra.shape()[..spectra.ndim() - 1].to_vec();
    let statistics = spectra.rows().into_iter().map(|spectrum| {
        let (sum, sizes) = spectrum.iter().fold((0.0, 0.0), |(sum, sizes), λ| (sum + λ.re, sizes + λ.abs()));
        sum / sizes
    });
    Ok(reshaped(&leading, statistics.collect()))
}

fn spectra(
    leading: &[usize],
    rank: usize,
    cancel: &Cancel,
    cycled: impl Fn(usize) -> Array2<f64> + Sync,
) -> Result<ArrayD<Complex>> {
    let of_head = |head| {
        cancel.check()?;
        Ok(eigenvalues(cycled(head)))
    };
    let found: Vec<Vec<Complex>> = (0..leading.iter().product()).into_par_iter().map(of_head).collect::<Result<_>>()?;
    let shape: Vec<usize> = leading.iter().copied().chain([rank]).collect();
    Ok(reshaped(&shape, found.into_iter().flatten().collect()))
}

/// `values`, one for each place of `shape`.
fn reshaped<T>(shape: &[usize], values: Vec<T>) -> ArrayD<T> {
    let mut values = values.into_iter();
    ArrayD::from_shape_simple_fn(IxDyn(shape), || values.next().expect("one value for each place"))
}
