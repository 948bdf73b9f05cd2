//! Weights as the circuits read them: their axes checked, one head's matrix at a time widened to f64.

use ndarray::{Array2, ArrayView2, Axis, Ix2, Zip};

use crate::tensor::{Element, TensorView};
use crate::{Error, Result, with_view};

/// The lengths of all axes, as many as `N`.
pub(super) fn axes<const N: usize>(
    argument: &'static str,
    expected: &'static str,
    weights: &TensorView<'_>,
) -> Result<[usize; N]> {
    let shape = weights.shape();
    shape.try_into().map_err(|_| Error::WrongRank { argument, expected, got: shape.len() })
}

/// One axis must have the length another argument gives it.
pub(super) fn fits(argument: &'static str, axis: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::ShapeMismatch { argument, axis, expected, got }) }
}

/// Matrices on the last two axes: the leading axes, and the two lengths.
pub(super) fn stack<'a>(
    argument: &'static str,
    expected: &'static str,
    weights: &'a TensorView<'_>,
) -> Result<(&'a [usize], usize, usize)> {
    match weights.shape() {
        [leading @ .., rows, columns] => Ok((leading, *rows, *columns)),
        shape => Err(Error::WrongRank { argument, expected, got: shape.len() }),
    }
}

/// The leading axes of two stacks must be the same.
pub(super) fn same_heads(argument: &'static str, expected: &[usize], got: &[usize]) -> Result<()> {
    if expected.len() != got.len() {
        let expected = "the same leading axes as the weights before it";
        return Err(Error::WrongRank { argument, expected, got: got.len() + 2 });
    }
    expected.iter().zip(got).try_for_each(|(&expected, &got)| fits(argument, "a leading axis", expected, got))
}

/// Matrix number `index` of a stack, counted along the leading axes in row-major order: f64, row-major.
pub(super) fn matrix(weights: &TensorView<'_>, index: usize) -> Array2<f64> {
    with_view!(weights, |array| {
        let mut array = array.view();
        let mut index = index;
        for axis in (0..array.ndim().saturating_sub(2)).rev() {
            let length = array.len_of(Axis(axis));
            array = array.index_axis_move(Axis(axis), index % length);
            index /= length;
        }
        match array.into_dimensionality::<Ix2>() {
            Ok(array) => widened(array),
            // A stack has two axes left.
            Err(_) => Array2::zeros((0, 0)),
        }
    })
}

/// The same numbers in f64, row-major whatever the strides were, so that products have the same bits.
pub(super) fn widened<T: Element>(array: ArrayView2<'_, T>) -> Array2<f64> {
    let mut wide = Array2::zeros(array.dim());
    Zip::from(&mut wide).and(array).for_each(|wide, &stored| *wide = stored.to_f64());
    wide
}
