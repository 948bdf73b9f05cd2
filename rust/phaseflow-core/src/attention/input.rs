//! The shapes a pattern and its tokens must have: `(batch, head, query_pos, key_pos)` with `(batch, pos)`, or one
//! example of it, `(head, query_pos, key_pos)` with `(pos,)`.

use ndarray::{ArrayView2, ArrayView4, ArrayViewD, Axis, Ix2, Ix4};

use crate::tensor::Element;
use crate::{Error, Result};

const AXES: &str = "(batch, head, query_pos, key_pos) or (head, query_pos, key_pos)";

/// A pattern whose axes fit its tokens, both with a batch axis.
pub(super) struct Input<'a, T> {
    /// `(batch, head, query_pos, key_pos)`
    pub(super) pattern: ArrayView4<'a, T>,
    /// `(batch, pos)`
    pub(super) tokens: ArrayView2<'a, i64>,
}

impl<'a, T: Element> Input<'a, T> {
    pub(super) fn new(pattern: ArrayViewD<'a, T>, tokens: ArrayViewD<'a, i64>) -> Result<Self> {
        let axes = pattern.ndim();
        let (pattern, tokens) = match axes {
            3 if tokens.ndim() == 1 => (pattern.insert_axis(Axis(0)), tokens.insert_axis(Axis(0))),
            4 if tokens.ndim() == 2 => (pattern, tokens),
            3 | 4 => {
                let expected = if axes == 4 { "(batch, pos), as pattern has a batch axis" } else { "(pos,)" };
                return Err(Error::WrongRank { argument: "tokens", expected, got: tokens.ndim() });
            }
            _ => return Err(Error::WrongRank { argument: "pattern", expected: AXES, got: axes }),
        };
        let wrong_rank = |_| Error::WrongRank { argument: "pattern", expected: AXES, got: axes };
        let pattern = pattern.into_dimensionality::<Ix4>().map_err(wrong_rank)?;
        let tokens = tokens.into_dimensionality::<Ix2>().map_err(wrong_rank)?;
        let (batch, _, queries, keys) = pattern.dim();
        let fits = |argument, axis, expected, got| {
            if expected == got { Ok(()) } else { Err(Error::ShapeMismatch { argument, axis, expected, got }) }
        };
        fits("pattern", "key_pos", queries, keys)?;
        fits("tokens", "batch", batch, tokens.nrows())?;
        fits("tokens", "pos", queries, tokens.ncols())?;
        if u32::try_from(queries).is_err() {
            return Err(Error::OutOfRange {
                argument: "pattern",
                expected: "at most 4294967295 along query_pos".into(),
                got: queries.to_string(),
            });
        }
        Ok(Self { pattern, tokens })
    }
}
