//! The shapes a pattern and its tokens must have.
//!
//! | pattern | tokens |
//! |---|---|
//! | `(batch, head, query_pos, key_pos)` | `(batch, pos)` |
//! | `(batch, head, entry)`, packed | `(batch, pos)` |
//! | either without the batch axis | `(pos,)` |
//!
//! A packed pattern is its lower triangle row after row, `[0, 0], [1, 0], [1, 1], [2, 0], ...`: all a causal head has,
//! in half the room. Which of the two a pattern is, its number of axes beside that of the tokens says.

use ndarray::{ArrayView1, ArrayView2, ArrayView3, ArrayView4, ArrayViewD, Axis, Ix2, Ix3, Ix4, s};

use crate::tensor::Element;
use crate::{Error, Result};

const AXES: &str = "(batch, head, query_pos, key_pos), packed (batch, head, entry), or either without batch";

/// A pattern whose axes fit its tokens, both with a batch axis.
pub(super) struct Input<'a, T> {
    pub(super) pattern: Pattern<'a, T>,
    /// `(batch, pos)`
    pub(super) tokens: ArrayView2<'a, i64>,
}

/// The patterns of all heads.
pub(super) enum Pattern<'a, T> {
    /// `(batch, head, query_pos, key_pos)`
    Dense(ArrayView4<'a, T>),
    /// `(batch, head, entry)`
    Packed(ArrayView3<'a, T>),
}

/// The pattern of one head on one example.
pub(super) enum Rows<'a, T> {
    /// `(query_pos, key_pos)`
    Dense(ArrayView2<'a, T>),
    /// `(entry,)`
    Packed(ArrayView1<'a, T>),
}

impl<'a, T: Element> Input<'a, T> {
    pub(super) fn new(pattern: ArrayViewD<'a, T>, tokens: ArrayViewD<'a, i64>) -> Result<Self> {
        let axes = pattern.ndim();
        let (pattern, tokens) = match (axes, tokens.ndim()) {
            (2 | 3, 1) => (pattern.insert_axis(Axis(0)), tokens.insert_axis(Axis(0))),
            (3 | 4, 2) => (pattern, tokens),
            (2..=4, got) => {
                let expected = if axes == 4 { "(batch, pos), as pattern has a batch axis" } else { "(pos,)" };
                return Err(Error::WrongRank { argument: "tokens", expected, got });
            }
            _ => return Err(Error::WrongRank { argument: "pattern", expected: AXES, got: axes }),
        };
        let tokens = tokens.into_dimensionality::<Ix2>().map_err(|_| Error::WrongRank {
            argument: "tokens",
            expected: "(batch, pos)",
            got: axes,
        })?;
        let context = tokens.ncols();
        check_context(context)?;
        let pattern = Pattern::new(pattern, context)?;
        fits("tokens", "batch", pattern.batch_and_heads().0, tokens.nrows())?;
        Ok(Self { pattern, tokens })
    }
}

impl<'a, T: Element> Pattern<'a, T> {
    /// With a batch axis, of tokens of this length.
    pub(super) fn new(pattern: ArrayViewD<'a, T>, context: usize) -> Result<Self> {
        let got = pattern.ndim();
        let wrong_rank = |_| Error::WrongRank { argument: "pattern", expected: AXES, got };
        Ok(match got {
            3 => Self::Packed(packed(pattern.into_dimensionality::<Ix3>().map_err(wrong_rank)?, context)?),
            _ => Self::Dense(dense(pattern.into_dimensionality::<Ix4>().map_err(wrong_rank)?, context)?),
        })
    }

    pub(super) fn batch_and_heads(&self) -> (usize, usize) {
        match self {
            Self::Dense(pattern) => (pattern.shape()[0], pattern.shape()[1]),
            Self::Packed(pattern) => (pattern.shape()[0], pattern.shape()[1]),
        }
    }

    pub(super) fn rows(&self, example: usize, head: usize) -> Rows<'a, T> {
        match self {
            Self::Dense(pattern) => {
                Rows::Dense((*pattern).index_axis_move(Axis(0), example).index_axis_move(Axis(0), head))
            }
            Self::Packed(pattern) => {
                Rows::Packed((*pattern).index_axis_move(Axis(0), example).index_axis_move(Axis(0), head))
            }
        }
    }
}

impl<T: Element> Rows<'_, T> {
    /// What the query attends to: the keys up to itself.
    pub(super) fn row(&self, query: usize) -> ArrayView1<'_, T> {
        match self {
            Self::Dense(rows) => rows.slice(s![query, ..=query]),
            Self::Packed(entries) => {
                let first = triangle(query);
                entries.slice(s![first..=first + query])
            }
        }
    }

    /// One entry, `key <= query`.
    pub(super) fn at(&self, query: usize, key: usize) -> &T {
        match self {
            Self::Dense(rows) => &rows[(query, key)],
            Self::Packed(entries) => &entries[triangle(query) + key],
        }
    }
}

/// Positions are kept in 32 bits.
pub(super) fn check_context(context: usize) -> Result<()> {
    if u32::try_from(context).is_err() {
        return Err(Error::OutOfRange {
            argument: "tokens",
            expected: "at most 4294967295 along pos".into(),
            got: context.to_string(),
        });
    }
    Ok(())
}

/// Entries of the lower triangle of so many rows.
fn triangle(rows: usize) -> usize {
    rows * (rows + 1) / 2
}

fn dense<T>(pattern: ArrayView4<'_, T>, context: usize) -> Result<ArrayView4<'_, T>> {
    let (.., queries, keys) = pattern.dim();
    fits("pattern", "key_pos", queries, keys)?;
    fits("tokens", "pos", queries, context)?;
    Ok(pattern)
}

fn packed<T>(pattern: ArrayView3<'_, T>, context: usize) -> Result<ArrayView3<'_, T>> {
    fits(
        "pattern",
        "entry (as tokens have one axis less, pattern is taken as packed)",
        triangle(context),
        pattern.shape()[2],
    )?;
    Ok(pattern)
}

pub(super) fn fits(argument: &'static str, axis: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::ShapeMismatch { argument, axis, expected, got }) }
}
