//! Copying score: whether what a head moves raises the logit of the token it was moved from (Olsson 2022).
//!
//! A key at position `k`, holding token `t`, adds `pattern[q, k] · v_k W_O` to the stream of a query. Straight to the
//! unembedding, less the mean over the vocabulary, and without what is below it, that raises token `u` of the sample by
//!
//! ```text
//! r(q, k, u) = pattern[q, k] · max(0, v_k W_O (W_U[:, u] - mean over the vocabulary of W_U))
//! ratio      = sum r(q, k, t_k) / ( sum r(q, k, t_k) + sum over u of r(q, k, u) )        sums over examples, q, k
//! score      = 4 ratio - 1
//! ```
//!
//! `u` runs over the tokens of the sample, `t` among them, each once: the ratio is at most a half, the score from −1 to
//! 1. The pattern entry is positive and so stands outside the maximum: only its sum over queries matters.

use ndarray::{Array1, Array2, ArrayView1, ArrayViewD, Axis, Ix2, s};
use rayon::prelude::*;

use super::weights::{axes, fits, matrix};
use crate::tensor::{Element, TensorView};
use crate::{Cancel, Error, Result, with_view};

/// The score of every head, `(head,)`, of a pattern `(batch, head, query_pos, key_pos)` with values `(batch, head,
/// key_pos, d_head)`, `W_O (head, d_head, d_model)`, `W_U (d_model, vocab)` and tokens `(batch, pos)`.
///
/// NaN where nothing of the sample is raised, or where a number that enters is NaN.
pub fn copying_score(
    pattern: &TensorView<'_>,
    values: &TensorView<'_>,
    w_o: &TensorView<'_>,
    w_u: &TensorView<'_>,
    tokens: ArrayViewD<'_, i64>,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let [batch, heads, queries, keys] = axes("pattern", "(batch, head, query_pos, key_pos)", pattern)?;
    let value_axes: [usize; 4] = axes("values", "(batch, head, key_pos, d_head)", values)?;
    let [o_heads, d_head, d_model] = axes("W_O", "(head, d_head, d_model)", w_o)?;
    let [width, vocab] = axes("W_U", "(d_model, vocab)", w_u)?;
    let rank = tokens.ndim();
    let tokens = tokens.into_dimensionality::<Ix2>().map_err(|_| Error::WrongRank {
        argument: "tokens",
        expected: "(batch, pos)",
        got: rank,
    })?;
    fits("pattern", "key_pos", queries, keys)?;
    for (axis, expected, got) in [
        ("batch", batch, value_axes[0]),
        ("head", heads, value_axes[1]),
        ("key_pos", keys, value_axes[2]),
        ("d_head", d_head, value_axes[3]),
    ] {
        fits("values", axis, expected, got)?;
    }
    fits("W_O", "head", heads, o_heads)?;
    fits("W_U", "d_model", d_model, width)?;
    fits("tokens", "batch", batch, tokens.nrows())?;
    fits("tokens", "pos", keys, tokens.ncols())?;
    let known = i64::try_from(vocab).unwrap_or(i64::MAX);
    if let Some(token) = tokens.iter().find(|token| !(0..known).contains(token)) {
        return Err(Error::OutOfRange {
            argument: "tokens",
            expected: format!("token ids from 0 to {}, the columns of W_U", known - 1),
            got: token.to_string(),
        });
    }
    let mean = mean_column(w_u);
    let sample = |tokens: ArrayView1<'_, i64>| Sample::new(tokens.iter().map(|&token| token as usize), w_u, &mean);
    let samples: Vec<Sample> = tokens.outer_iter().map(sample).collect();
    let score_of = |head: usize| {
        let output = matrix(w_o, head);
        let (mut own, mut all) = (0.0, 0.0);
        for (example, sample) in samples.iter().enumerate() {
            cancel.check()?;
            let moved = matrix(values, example * heads + head).dot(&output);
            let raised = moved.dot(&sample.columns);
            let attention = causal_sums(&matrix(pattern, example * heads + head));
            for (key, (&weight, raised)) in attention.iter().zip(raised.outer_iter()).enumerate() {
                // Not `max`, which would drop a NaN.
                let above = |raise: f64| if raise < 0.0 { 0.0 } else { weight * raise };
                own += above(raised[sample.place[key]]);
                all += raised.iter().fold(0.0, |sum, &raise| sum + above(raise));
            }
        }
        Ok(4.0 * own / (own + all) - 1.0)
    };
    (0..heads).into_par_iter().map(score_of).collect()
}

/// The distinct tokens of one example.
struct Sample {
    /// Their columns of `W_U` less the mean column, `(d_model, distinct token)`.
    columns: Array2<f64>,
    /// Which of them stands at each position.
    place: Vec<usize>,
}

impl Sample {
    fn new(tokens: impl Iterator<Item = usize> + Clone, w_u: &TensorView<'_>, mean: &Array1<f64>) -> Self {
        let mut distinct: Vec<usize> = tokens.clone().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let place = tokens.map(|token| distinct.partition_point(|&other| other < token)).collect();
        let mut columns = with_view!(w_u, |w_u| w_u.select(Axis(1), &distinct).mapv(Element::to_f64))
            .into_dimensionality::<Ix2>()
            .unwrap_or_default();
        columns.axis_iter_mut(Axis(1)).for_each(|mut column| column -= mean);
        Self { columns, place }
    }
}

fn mean_column(w_u: &TensorView<'_>) -> Array1<f64> {
    with_view!(w_u, |w_u| w_u
        .map_axis(Axis(1), |row| { row.iter().fold(0.0, |sum, &entry| sum + entry.to_f64()) / row.len() as f64 }))
    .into_dimensionality()
    .unwrap_or_default()
}

/// How much attention each key gets from the queries that may look at it.
fn causal_sums(pattern: &Array2<f64>) -> Vec<f64> {
    (0..pattern.ncols()).map(|key| pattern.slice(s![key.., key]).iter().fold(0.0, |sum, entry| sum + entry)).collect()
}
