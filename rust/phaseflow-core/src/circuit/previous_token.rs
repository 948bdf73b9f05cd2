//! QK previous-token term: does a head look for its current token behind the previous-token heads below it?
//!
//! Olsson 2022 and Elhage 2021: a key that a previous-token head `e` has written to holds `W_OV^e` of the token before it;
//! an induction head `h` looks for keys whose token *before* is its own current one,
//!
//! ```text
//! term(h) = sum over heads e of earlier layers of  w_e · tr( W_E W_QK^h (W_E W_OV^e)ᵀ )
//! ```
//!
//! with `w_e` the mean attention of `e` to the previous token. The trace over the vocabulary is one over `d_head`:
//! with `G = W_Eᵀ W_E`, it is the sum of the entries of `(W_V^eᵀ G W_Q^h) ∘ (W_O^e W_K^h)`, or, where that is less
//! arithmetic, the inner product of `W_OV^e` and `G W_QK^h`. The traces by themselves depend on weights alone.

use ndarray::{Array2, Array4, ArrayView2, Zip};
use rayon::prelude::*;

use super::composition::{Weights, before};
use super::inner_products::{Factor, Matrices, entries_are_cheaper, inner_products};
use super::panels::multiply;
use super::product::product;
use super::weights::{axes, fits, matrix};
use crate::tensor::TensorView;
use crate::{Cancel, Result};

/// The traces `(layer, head, layer, head)`: earlier head `e`, later head `h`; 0 where `e` is not in an earlier layer.
///
/// `w_e (vocab, d_model)`. NaN where a number that enters is.
pub fn qk_previous_token_traces(w_e: &TensorView<'_>, weights: &Weights<'_>, cancel: &Cancel) -> Result<Array4<f64>> {
    let [layers, heads, d_model, d_head] = weights.dimensions()?;
    let [_, width] = axes("W_E", "(vocab, d_model)", w_e)?;
    fits("W_E", "d_model", d_model, width)?;
    let gram = product(&w_e.transposed(), w_e, cancel)?;
    let earlier_heads = layers.saturating_sub(1) * heads;
    let pairs = heads * earlier_heads * layers / 2;
    let found = if entries_are_cheaper(2 * earlier_heads, pairs, d_head, d_model) {
        by_entries(&gram, weights, earlier_heads, heads, cancel)?
    } else {
        by_factors(&gram, weights, earlier_heads, heads, cancel)?
    };
    Ok(Array4::from_shape_fn((layers, heads, layers, heads), |(layer, head, later_layer, later)| {
        if layer < later_layer { found[[layer * heads + head, (later_layer - 1) * heads + later]] } else { 0.0 }
    }))
}

/// Traces `(earlier, later)`, the later heads counted from the second layer on; those of heads that are not in an
/// earlier layer may be anything.
fn by_factors(
    gram: &Array2<f64>,
    weights: &Weights<'_>,
    count: usize,
    heads: usize,
    cancel: &Cancel,
) -> Result<Array2<f64>> {
    let seen = |earlier| multiply(matrix(&weights.w_v, earlier).t(), gram.view());
    let writing: Vec<(Array2<f64>, Array2<f64>)> =
        (0..count).into_par_iter().map(|earlier| (seen(earlier), matrix(&weights.w_o, earlier))).collect();
    let traces_of = |later: usize| {
        cancel.check()?;
        let (w_q, w_k) = (matrix(&weights.w_q, heads + later), matrix(&weights.w_k, heads + later));
        let trace = |(values, outputs): &(Array2<f64>, Array2<f64>)| {
            let (values, outputs) = (multiply(values.view(), w_q.view()), multiply(outputs.view(), w_k.view()));
            Zip::from(&values).and(&outputs).fold(0.0, |sum, a, b| sum + a * b)
        };
        Ok(writing[..before(later, heads)].iter().map(trace).collect())
    };
    let traces: Vec<Vec<f64>> = (0..count).into_par_iter().map(traces_of).collect::<Result<_>>()?;
    Ok(Array2::from_shape_fn((count, count), |(earlier, later)| traces[later].get(earlier).copied().unwrap_or(0.0)))
}

/// The same, entry by entry.
fn by_entries(
    gram: &Array2<f64>,
    weights: &Weights<'_>,
    count: usize,
    heads: usize,
    cancel: &Cancel,
) -> Result<Array2<f64>> {
    let factors = |factor: &(dyn Fn(usize) -> Array2<f64> + Sync)| -> Result<Vec<Factor>> {
        let checked = |head| cancel.check().map(|()| Factor::new(factor(head).view()));
        (0..count).into_par_iter().map(checked).collect()
    };
    let values = factors(&|head| matrix(&weights.w_v, head).reversed_axes())?;
    let outputs = factors(&|head| matrix(&weights.w_o, head))?;
    let queries = factors(&|head| multiply(matrix(&weights.w_q, heads + head).t(), gram.view()))?;
    let keys = factors(&|head| matrix(&weights.w_k, heads + head).reversed_axes())?;
    let (writing, reading) = (Matrices { x: &values, y: &outputs }, Matrices { x: &queries, y: &keys });
    inner_products(writing, reading, false, |later| before(later, heads), cancel)
}

/// The term of every head, `(layer, head)`; 0 in the first layer, where there is no earlier head.
///
/// `previous_token_scores (layer, head)`: the weights `w_e`.
pub fn qk_previous_token_term(
    w_e: &TensorView<'_>,
    weights: &Weights<'_>,
    previous_token_scores: ArrayView2<'_, f64>,
    cancel: &Cancel,
) -> Result<Array2<f64>> {
    let [layers, heads, ..] = weights.dimensions()?;
    fits("previous_token_scores", "layer", layers, previous_token_scores.nrows())?;
    fits("previous_token_scores", "head", heads, previous_token_scores.ncols())?;
    let traces = qk_previous_token_traces(w_e, weights, cancel)?;
    Ok(Array2::from_shape_fn((layers, heads), |(layer, head)| {
        // A score of NaN counts only where its head is an earlier one.
        let earlier = (0..layer).flat_map(|layer| (0..heads).map(move |head| (layer, head)));
        earlier.fold(0.0, |sum, (l, h)| sum + previous_token_scores[[l, h]] * traces[[l, h, layer, head]])
    }))
}
