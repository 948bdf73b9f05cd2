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
//! with `G = W_Eᵀ W_E`, it is the sum of the entries of `(W_V^eᵀ G W_Q^h) ∘ (W_O^e W_K^h)`. The traces by themselves
//! depend on weights alone.

use ndarray::{Array2, Array4, ArrayView2, Zip};
use rayon::prelude::*;

use super::composition::Weights;
use super::product::product;
use super::weights::{axes, fits, matrix};
use crate::tensor::TensorView;
use crate::{Cancel, Result};

/// The traces `(layer, head, layer, head)`: earlier head `e`, later head `h`; 0 where `e` is not in an earlier layer.
///
/// `w_e (vocab, d_model)`. NaN where a number that enters is.
pub fn qk_previous_token_traces(w_e: &TensorView<'_>, weights: &Weights<'_>, cancel: &Cancel) -> Result<Array4<f64>> {
    let [layers, heads, d_model, _] = weights.dimensions()?;
    let [_, width] = axes("W_E", "(vocab, d_model)", w_e)?;
    fits("W_E", "d_model", d_model, width)?;
    let gram = product(&w_e.transposed(), w_e, cancel)?;
    let heads_before_last = layers.saturating_sub(1) * heads;
    let writing: Vec<(Array2<f64>, Array2<f64>)> = (0..heads_before_last)
        .into_par_iter()
        .map(|earlier| (matrix(&weights.w_v, earlier).t().dot(&gram), matrix(&weights.w_o, earlier)))
        .collect();
    let traces_of = |later: usize| {
        cancel.check()?;
        let (w_q, w_k) = (matrix(&weights.w_q, later), matrix(&weights.w_k, later));
        let in_earlier_layers = &writing[..later / heads * heads];
        let trace = |(values, outputs): &(Array2<f64>, Array2<f64>)| {
            Zip::from(&values.dot(&w_q)).and(&outputs.dot(&w_k)).fold(0.0, |sum, a, b| sum + a * b)
        };
        Ok(in_earlier_layers.iter().map(trace).collect())
    };
    let traces: Vec<Vec<f64>> = (0..layers * heads).into_par_iter().map(traces_of).collect::<Result<_>>()?;
    Ok(Array4::from_shape_fn((layers, heads, layers, heads), |(layer, head, later_layer, later)| {
        traces[later_layer * heads + later].get(layer * heads + head).copied().unwrap_or(0.0)
    }))
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
