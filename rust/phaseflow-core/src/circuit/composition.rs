//! Composition scores: how much of what a later head reads was written by an earlier one (Elhage 2021).
//!
//! With `W_OV = W_V W_O` and `W_QK = W_Q W_Kᵀ` (rows from the left), for head 1 in an earlier layer than head 2,
//!
//! ```text
//! Q  ‖W_OV1 W_QK2 ‖ / (‖W_OV1‖ ‖W_QK2‖)        K  ‖W_OV1 W_QK2ᵀ‖ / ...        V  ‖W_OV1 W_OV2‖ / ...
//! ```
//!
//! in Frobenius norm: 0 for heads that use unlike directions, `1/sqrt(d_model)` expected of random ones, at most 1.
//!
//! Each is `‖A B C D‖` of four factors of inner width `d_head`. The outer two only turn and stretch: with triangular
//! factors `R_A` of `A` and `R_D` of `Dᵀ`, `‖A B C D‖ = ‖(R_A B)(C R_Dᵀ)‖`. So each head is reduced once, and a pair
//! costs one product of `(d_head, d_model)` by `(d_model, d_head)`. The norms of the two circuits are those of the
//! brackets. (The inner factors may not be cycled: only traces and eigenvalues bear that.)

use ndarray::{Array2, Array4, ArrayView2, s};
use rayon::prelude::*;

use super::triangular::triangular_factor;
use super::weights::{axes, fits, matrix};
use crate::tensor::TensorView;
use crate::{Cancel, Error, Result};

/// Where the later head takes the earlier one's output in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its queries.
    Q,
    /// Its keys.
    K,
    /// Its values.
    V,
}

impl Kind {
    /// The names a user may write.
    pub const NAMES: [&str; 3] = ["Q", "K", "V"];
}

impl std::str::FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "Q" => Ok(Self::Q),
            "K" => Ok(Self::K),
            "V" => Ok(Self::V),
            _ => Err(Error::UnknownName {
                argument: "kind",
                got: name.into(),
                known: Self::NAMES.map(String::from).to_vec(),
            }),
        }
    }
}

/// Weights of all heads: `W_Q W_K W_V (layer, head, d_model, d_head)`, `W_O (layer, head, d_head, d_model)`.
#[derive(Debug, Clone)]
pub struct Weights<'a> {
    /// Queries.
    pub w_q: TensorView<'a>,
    /// Keys.
    pub w_k: TensorView<'a>,
    /// Values.
    pub w_v: TensorView<'a>,
    /// Output.
    pub w_o: TensorView<'a>,
}

impl Weights<'_> {
    /// `[layer, head, d_model, d_head]`, when all four fit.
    pub(super) fn dimensions(&self) -> Result<[usize; 4]> {
        const IN: &str = "(layer, head, d_model, d_head)";
        const OUT: &str = "(layer, head, d_head, d_model)";
        const AXES: [&str; 4] = ["layer", "head", "d_model", "d_head"];
        let expected: [usize; 4] = axes("W_Q", IN, &self.w_q)?;
        for (argument, weights) in [("W_K", &self.w_k), ("W_V", &self.w_v)] {
            let got: [usize; 4] = axes(argument, IN, weights)?;
            (0..4).try_for_each(|axis| fits(argument, AXES[axis], expected[axis], got[axis]))?;
        }
        let [layers, heads, d_head, d_model] = axes("W_O", OUT, &self.w_o)?;
        let got = [layers, heads, d_model, d_head];
        (0..4).try_for_each(|axis| fits("W_O", AXES[axis], expected[axis], got[axis]))?;
        Ok(expected)
    }
}

/// Scores `(layer, head, layer, head)`: earlier head, later head; 0 where the first is not in an earlier layer.
///
/// With `subtract_baseline`, what random heads would score, `1/sqrt(d_model)`, is taken off every pair. NaN where one
/// of the circuits is zero, or holds a NaN or an infinity.
pub fn composition_scores(
    weights: &Weights<'_>,
    kind: Kind,
    subtract_baseline: bool,
    cancel: &Cancel,
) -> Result<Array4<f64>> {
    let [layers, heads, d_model, _] = weights.dimensions()?;
    let baseline = if subtract_baseline { 1.0 / (d_model as f64).sqrt() } else { 0.0 };
    let mut scores = Array4::zeros((layers, heads, layers, heads));
    if layers < 2 || heads == 0 {
        return Ok(scores);
    }
    let writing = reduced(heads * (layers - 1), cancel, |head| {
        triangular_factor(&matrix(&weights.w_v, head)).dot(&matrix(&weights.w_o, head))
    })?;
    let reading = reduced(heads * (layers - 1), cancel, |later| {
        let of = |weights| matrix(weights, heads + later);
        let (inner, outer) = match kind {
            Kind::Q => (of(&weights.w_q), of(&weights.w_k)),
            Kind::K => (of(&weights.w_k), of(&weights.w_q)),
            Kind::V => (of(&weights.w_v), of(&weights.w_o).reversed_axes()),
        };
        triangular_factor(&outer).dot(&inner.t())
    })?;
    let (written, read): (Vec<f64>, Vec<f64>) = (norms(&writing), norms(&reading));

    // One task an earlier head and a later layer: blocks of a size that does not depend on the number of threads.
    let tasks: Vec<(usize, usize)> =
        (1..layers).flat_map(|layer| (0..layer * heads).map(move |head| (head, layer))).collect();
    let rows: Vec<Vec<f64>> = tasks
        .par_iter()
        .map(|&(earlier, layer)| {
            cancel.check()?;
            let first = (layer - 1) * heads;
            let together = stacked(&reading[first..first + heads]);
            let products = writing[earlier].dot(&together.t());
            let width = reading[first].nrows();
            let norm = |head: usize| frobenius(products.slice(s![.., head * width..(head + 1) * width]));
            Ok((0..heads).map(|head| norm(head) / (written[earlier] * read[first + head])).collect())
        })
        .collect::<Result<_>>()?;
    for (&(earlier, layer), row) in tasks.iter().zip(rows) {
        for (head, score) in row.into_iter().enumerate() {
            scores[[earlier / heads, earlier % heads, layer, head]] = score - baseline;
        }
    }
    Ok(scores)
}

fn reduced(
    count: usize,
    cancel: &Cancel,
    reduce: impl Fn(usize) -> Array2<f64> + Sync + Send,
) -> Result<Vec<Array2<f64>>> {
    let checked = |head| {
        cancel.check()?;
        Ok(reduce(head))
    };
    (0..count).into_par_iter().map(checked).collect()
}

/// The matrices of a layer's heads, below each other.
fn stacked(heads: &[Array2<f64>]) -> Array2<f64> {
    let (rows, columns) = heads[0].dim();
    let mut together = Array2::zeros((heads.len() * rows, columns));
    for (head, mut part) in heads.iter().zip(together.exact_chunks_mut((rows.max(1), columns.max(1)))) {
        part.assign(head);
    }
    together
}

fn norms(matrices: &[Array2<f64>]) -> Vec<f64> {
    matrices.iter().map(|matrix| frobenius(matrix.view())).collect()
}

fn frobenius(matrix: ArrayView2<'_, f64>) -> f64 {
    matrix.rows().into_iter().fold(0.0, |sum, row| sum + row.dot(&row)).sqrt()
}
