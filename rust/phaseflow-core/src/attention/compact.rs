//! Attention kept as queries, keys and the log-sum-exp of every row, from which entries are rebuilt when a score asks
//! for them: `pattern[q, k] = exp(scale · query_q · key_k - lse_q)`. `2 · pos · d_head + pos` numbers instead of `pos²`;
//! with a fused attention kernel the pattern itself never existed. Rotary or other position terms are part of the
//! stored queries and keys.
//!
//! The scores are those of the dense pattern to the rounding of what is stored.

use ndarray::{ArrayView2, ArrayViewD, Axis, Ix2};

use super::input::check_context;
use super::lane::Lane;
use crate::exponential::exp;
use crate::tensor::{Element, TensorView};
use crate::{Error, Result, with_view};

/// Partial sums, added side by side.
const LANES: usize = 4;

/// Queries, keys and log-sum-exp of the same examples.
#[derive(Debug, Clone)]
pub struct Compact<'a> {
    /// `(batch, head, pos, d_head)`
    pub queries: TensorView<'a>,
    /// `(batch, key_head, pos, d_head)`; the number of heads is a multiple of that of key heads, which they share in
    /// groups of neighbours.
    pub keys: TensorView<'a>,
    /// `(batch, head, pos)`, of the scaled products up to the query.
    pub log_sum_exp: TensorView<'a>,
    /// What products are multiplied by, `1 / sqrt(d_head)` mostly.
    pub scale: f64,
}

/// The lengths of the axes of a [`Compact`], checked against its tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) heads: usize,
    key_heads: usize,
    width: usize,
}

impl Compact<'_> {
    /// The lengths of all axes, and the tokens with theirs, if they fit.
    pub(super) fn check<'t>(&self, tokens: ArrayViewD<'t, i64>) -> Result<(Lengths, ArrayView2<'t, i64>)> {
        let four = |argument, view: &TensorView<'_>| match *view.shape() {
            [batch, heads, context, width] => Ok((batch, heads, context, width)),
            ref shape => Err(Error::WrongRank { argument, expected: "(batch, head, pos, d_head)", got: shape.len() }),
        };
        let (batch, heads, context, width) = four("queries", &self.queries)?;
        let (key_batch, key_heads, key_context, key_width) = four("keys", &self.keys)?;
        let lse = self.log_sum_exp.shape();
        let &[lse_batch, lse_heads, lse_context] = lse else {
            return Err(Error::WrongRank { argument: "log_sum_exp", expected: "(batch, head, pos)", got: lse.len() });
        };
        let axes = tokens.ndim();
        let tokens = tokens.into_dimensionality::<Ix2>().map_err(|_| Error::WrongRank {
            argument: "tokens",
            expected: "(batch, pos)",
            got: axes,
        })?;
        for (argument, axis, expected, got) in [
            ("keys", "batch", batch, key_batch),
            ("keys", "pos", context, key_context),
            ("keys", "d_head", width, key_width),
            ("log_sum_exp", "batch", batch, lse_batch),
            ("log_sum_exp", "head", heads, lse_heads),
            ("log_sum_exp", "pos", context, lse_context),
            ("tokens", "batch", batch, tokens.nrows()),
            ("tokens", "pos", context, tokens.ncols()),
        ] {
            if expected != got {
                return Err(Error::ShapeMismatch { argument, axis, expected, got });
            }
        }
        if heads > 0 && (key_heads == 0 || heads % key_heads != 0) {
            return Err(Error::OutOfRange {
                argument: "keys",
                expected: format!("a number of heads that divides the {heads} of queries"),
                got: key_heads.to_string(),
            });
        }
        if !self.scale.is_finite() {
            return Err(Error::OutOfRange {
                argument: "scale",
                expected: "a finite number".into(),
                got: self.scale.to_string(),
            });
        }
        check_context(context)?;
        Ok((Lengths { heads, key_heads, width }, tokens))
    }

    /// Whether queries and keys are stored in sixteen bits: then a head is computed in single precision.
    pub(super) fn is_half(&self) -> bool {
        [&self.queries, &self.keys].iter().all(|part| part.dtype().size() == 2)
    }

    /// One head on one example.
    pub(super) fn head<L: Lane>(&self, lengths: Lengths, example: usize, head: usize) -> OwnedHead<L> {
        let key_head = head / (lengths.heads / lengths.key_heads);
        let scale = L::narrow(self.scale);
        let mut queries = widened(&self.queries, example, head);
        queries.iter_mut().for_each(|query| *query = *query * scale);
        OwnedHead {
            queries,
            keys: widened(&self.keys, example, key_head),
            log_sum_exp: widened(&self.log_sum_exp, example, head),
            width: lengths.width,
        }
    }
}

/// The numbers of a [`Head`].
pub(super) struct OwnedHead<L> {
    queries: Vec<L>,
    keys: Vec<L>,
    log_sum_exp: Vec<L>,
    width: usize,
}

impl<L> OwnedHead<L> {
    pub(super) fn as_head(&self) -> Head<'_, L> {
        let Self { queries, keys, log_sum_exp, width } = self;
        Head { queries, keys, log_sum_exp, width: *width }
    }
}

/// Queries (times the scale) and keys `(pos, d_head)` and log-sum-exp `(pos,)` of one head on one example.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a, L> {
    pub(super) queries: &'a [L],
    pub(super) keys: &'a [L],
    pub(super) log_sum_exp: &'a [L],
    pub(super) width: usize,
}

impl Head<'_, f64> {
    /// One entry of the pattern.
    pub(super) fn at(&self, query: usize, key: usize) -> f64 {
        exp(self.logarithm(query, key))
    }

    #[inline(always)]
    fn logarithm(&self, query: usize, key: usize) -> f64 {
        let of = |index: usize| index * self.width..(index + 1) * self.width;
        dot(&self.queries[of(query)], &self.keys[of(key)]) - self.log_sum_exp[query]
    }
}

/// In four partial sums, which the compiler keeps in one register.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).fold(0.0, |sum, (a, b)| sum + a * b);
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

fn widened<L: Lane>(view: &TensorView<'_>, example: usize, head: usize) -> Vec<L> {
    with_view!(view, |array| {
        let part = array.view().index_axis_move(Axis(0), example).index_axis_move(Axis(0), head);
        match part.as_slice() {
            Some(side_by_side) => {
                let mut wide = vec![L::default(); side_by_side.len()];
                L::take(side_by_side, &mut wide);
                wide
            }
            None => part.iter().map(|value| L::narrow(value.to_f64())).collect(),
        }
    })
}
