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
//! with `G = W_Eᵀ W_E`, it is the sum of the entries of `(W_V^eᵀ G W_Q^h) ∘ (W_O^e W_K^h)`.

use ndarray::{Array2, ArrayView2, Zip};
use rayon::prelude::*;

use super::composition::Weights;
use super::product::product;
use super::weights::{axes, fits, matrix};
use crate::tensor::TensorView;
use crate::{Cancel, Result};

/// The term of every head, `(layer, head)`; 0 in the first layer, where there is no earlier head.
///
/// `w_e (vocab, d_model)`; `previous_token (layer, head)`: the weights `w_e`, previous-token scores. NaN where a
/// number that enters is.
pub fn qk_previous_token_term(
    w_e: &TensorView<'_>,
    weights: &Weights<'_>,
    previous_token: ArrayView2<'_, f64>,
    cancel: &Cancel,
) -> Result<Array2<f64>> {
    let [layers, heads, d_model, _] = weights.dimensions()?;
    let [_, width] = axes("W_E", "(vocab, d_model)", w_e)?;
    fits("W_E", "d_model", d_model, width)?;
    fits("previous_token_scores", "layer", layers, previous_token.nrows())?;
    fits("previous_token_scores", "head", heads, previous_token.ncols())?;
    let gram = product(&w_e.transposed(), w_e, cancel)?;
    let heads_before_last = layers.saturating_sub(1) * heads;
    let writing: Vec<(Array2<f64>, Array2<f64>)> = (0..heads_before_last)
        .into_par_iter()
        .map(|earlier| (matrix(&weights.w_v, earlier).t().dot(&gram), matrix(&weights.w_o, earlier)))
        .collect();
    let term = |head: usize| {
        cancel.check()?;
        let (w_q, w_k) = (matrix(&weights.w_q, head), matrix(&weights.w_k, head));
        let earlier_layers = head / heads * heads;
        Ok((0..earlier_layers).fold(0.0, |sum, earlier| {
            let (values, outputs) = &writing[earlier];
            let trace = Zip::from(&values.dot(&w_q)).and(&outputs.dot(&w_k)).fold(0.0, |sum, a, b| sum + a * b);
            sum + previous_token[[earlier / heads, earlier % heads]] * trace
        }))
    };
    let terms: Vec<f64> = (0..layers * heads).into_par_iter().map(term).collect::<Result<_>>()?;
    Ok(Array2::from_shape_fn((layers, heads), |(layer, head)| terms[layer * heads + head]))
}
