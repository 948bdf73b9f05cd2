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
//! factors `R_A` of `A` and `R_D` of `Dᵀ`, `‖A B C D‖ = ‖P Qᵀ‖` for `P = R_A B` and `Q = R_D Cᵀ`, each `(d_head,
//! d_model)`: one of each a head, whose norms are those of the two circuits. (The inner factors may not be cycled: only
//! traces and eigenvalues bear that.) From there, whichever is less arithmetic:
//!
//! * **factors**: `P Qᵀ` of every pair, `d_head² d_model` products each;
//! * **entries**: `‖P Qᵀ‖² = <PᵀP, QᵀQ>`, half of `d_model²` products each, once the entries of `PᵀP` and `QᵀQ` are
//!   there. A square is right to some 1e-16 of the largest it could be, so scores below 1/256, of which that would leave
//!   less than eleven digits, are computed from their factors.

use ndarray::{Array2, Array4, ArrayView2, s};
use rayon::prelude::*;

use super::inner_products::{Factor, Matrices, entries_are_cheaper, inner_products};
use super::panels::multiply;
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
    let [layers, heads, d_model, d_head] = weights.dimensions()?;
    let baseline = if subtract_baseline { 1.0 / (d_model as f64).sqrt() } else { 0.0 };
    let mut scores = Array4::zeros((layers, heads, layers, heads));
    if layers < 2 || heads == 0 {
        return Ok(scores);
    }
    let writing = reduced(heads * (layers - 1), cancel, |head| {
        let (outer, inner) = (matrix(&weights.w_v, head), matrix(&weights.w_o, head));
        multiply(triangular_factor(&outer).view(), inner.view())
    })?;
    let reading = reduced(heads * (layers - 1), cancel, |later| {
        let of = |weights| matrix(weights, heads + later);
        let (inner, outer) = match kind {
            Kind::Q => (of(&weights.w_q), of(&weights.w_k)),
            Kind::K => (of(&weights.w_k), of(&weights.w_q)),
            Kind::V => (of(&weights.w_v), of(&weights.w_o).reversed_axes()),
        };
        multiply(triangular_factor(&outer).view(), inner.t())
    })?;
    let pairs = heads * heads * layers * (layers - 1) / 2;
    let found = if entries_are_cheaper(2 * writing.len(), pairs, d_head.min(d_model), d_model) {
        by_entries(writing, reading, heads, cancel)?
    } else {
        by_factors(&writing, &reading, heads, cancel)?
    };
    let in_order = found.indexed_iter().filter(|((earlier, later), _)| *earlier < before(*later, heads));
    for ((earlier, later), score) in in_order {
        scores[[earlier / heads, earlier % heads, 1 + later / heads, later % heads]] = score - baseline;
    }
    Ok(scores)
}

/// How many heads are in layers before that of head `later`, counted from the second layer on.
pub(super) fn before(later: usize, heads: usize) -> usize {
    (later / heads + 1) * heads
}

/// Scores `(earlier, later)` through the product of each pair's factors.
fn by_factors(writing: &[Array2<f64>], reading: &[Array2<f64>], heads: usize, cancel: &Cancel) -> Result<Array2<f64>> {
    let (written, read): (Vec<f64>, Vec<f64>) = (norms(writing), norms(reading));
    // One task an earlier head and a later layer: blocks of a size that does not depend on the number of threads.
    let later_layers: Vec<Array2<f64>> = reading.chunks(heads).map(stacked).collect();
    let tasks: Vec<(usize, usize)> = (0..later_layers.len())
        .flat_map(|layer| (0..before(layer * heads, heads)).map(move |earlier| (earlier, layer)))
        .collect();
    let of_task = |&(earlier, layer): &(usize, usize)| {
        cancel.check()?;
        let products = multiply(writing[earlier].view(), later_layers[layer].t());
        let width = products.ncols() / heads;
        let norm = |head: usize| frobenius(products.slice(s![.., head * width..(head + 1) * width]));
        Ok((0..heads).map(|head| norm(head) / (written[earlier] * read[layer * heads + head])).collect())
    };
    let found: Vec<Vec<f64>> = tasks.par_iter().map(of_task).collect::<Result<_>>()?;
    let mut scores = Array2::zeros((writing.len(), reading.len()));
    for (&(earlier, layer), found) in tasks.iter().zip(found) {
        for (head, score) in found.into_iter().enumerate() {
            scores[[earlier, layer * heads + head]] = score;
        }
    }
    Ok(scores)
}

/// Below this a score is computed from its factors.
const SMALL: f64 = 1.0 / 256.0;

/// Scores `(earlier, later)` through the entries of all heads' `PᵀP` and `QᵀQ`, of factors scaled to norm 1.
fn by_entries(
    writing: Vec<Array2<f64>>,
    reading: Vec<Array2<f64>>,
    heads: usize,
    cancel: &Cancel,
) -> Result<Array2<f64>> {
    let scaled = |factors: Vec<Array2<f64>>| -> Vec<Factor> {
        let scaled = |factor: Array2<f64>| Factor::new((&factor / frobenius(factor.view())).view());
        factors.into_par_iter().map(scaled).collect()
    };
    let (writing, reading) = (scaled(writing), scaled(reading));
    let wanted = |later| before(later, heads);
    let mut scores =
        inner_products(Matrices::grams(&writing), Matrices::grams(&reading), true, wanted, cancel)?.mapv(f64::sqrt);
    // The root of a square that came out below 0 is NaN, and small too.
    let small: Vec<(usize, usize)> = scores
        .indexed_iter()
        .filter(|((earlier, later), score)| *earlier < wanted(*later) && (score.is_nan() || **score < SMALL))
        .map(|(place, _)| place)
        .collect();
    let again = |&(earlier, later): &(usize, usize)| {
        cancel.check()?;
        Ok(frobenius(multiply(writing[earlier].whole().view(), reading[later].whole().t()).view()))
    };
    let again: Vec<f64> = small.par_iter().map(again).collect::<Result<_>>()?;
    small.into_iter().zip(again).for_each(|(place, score)| scores[place] = score);
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
