//! `(..., batch, pos)` as a list of `(batch, pos)` views, one for each index of the leading axes.

use ndarray::{ArrayView2, ArrayViewD, Axis, Ix2};

use crate::{Error, Result};

/// The leading axes' lengths and, in row-major order, their `(batch, pos)` views.
pub(super) struct Layout<'a, T> {
    pub(super) leading: Vec<usize>,
    pub(super) context: usize,
    pub(super) losses: Vec<ArrayView2<'a, T>>,
}

impl<'a, T> Layout<'a, T> {
    pub(super) fn new(per_token_loss: ArrayViewD<'a, T>) -> Result<Self> {
        let wrong_rank = |got| Error::WrongRank { argument: "per_token_loss", expected: "(..., batch, pos)", got };
        let shape = per_token_loss.shape().to_vec();
        let &[ref leading @ .., _, context] = shape.as_slice() else {
            return Err(wrong_rank(shape.len()));
        };
        let mut views = vec![per_token_loss];
        for &length in leading {
            views = views
                .iter()
                .flat_map(|view| (0..length).map(|index| view.clone().index_axis_move(Axis(0), index)))
                .collect();
        }
        let losses = views
            .into_iter()
            .map(|view| view.into_dimensionality::<Ix2>().map_err(|_| wrong_rank(shape.len())))
            .collect::<Result<_>>()?;
        Ok(Self { leading: leading.to_vec(), context, losses })
    }

    /// The leading axes followed by `last`.
    pub(super) fn shape_with(&self, last: usize) -> Vec<usize> {
        [self.leading.as_slice(), &[last]].concat()
    }
}
