//! How much of a dimension each feature has, and what it shares with the others (Elhage 2022).
//!
//! With `W_i` column `i` and `Ŵ_i` its unit vector,
//!
//! ```text
//! norm_i            ‖W_i‖
//! dimensionality_i  ‖W_i‖² / sum over j of (Ŵ_i · W_j)²         j = i included; 0 for a zero column
//! interference_i    sum over j ≠ i of (Ŵ_i · W_j)²              0 for a zero column
//! leverage_i        length² of the projection of unit vector i on the row space of W
//! ```
//!
//! `0 <= dimensionality <= leverage <= 1`, and the leverages sum to the rank of `W`.
//!
//! The rows of `W` are made orthonormal, `W = C Q`, the row with most left first (Gram and Schmidt, each projected twice,
//! which keeps `Q` orthonormal to rounding). Then the sum over `j` is `‖Cᵀ Ŵ_i‖²`, over at most `hidden` squares instead of
//! `feature` of them, none of which cancels; and the leverage is the length² of column `i` of `Q`.

use ndarray::{Array2, Array3, ArrayD, ArrayView2, Axis, IxDyn};
use rayon::prelude::*;

use crate::tensor::{Element, TensorView};
use crate::{Cancel, Error, Result, with_view};

/// Measures of every feature, each `(..., feature)`.
#[derive(Debug, Clone)]
pub struct Features {
    /// Length of the column.
    pub norm: ArrayD<f64>,
    /// Share of a dimension, 0 to 1.
    pub dimensionality: ArrayD<f64>,
    /// What the other features put on its direction.
    pub interference: ArrayD<f64>,
    /// Share of the row space, 0 to 1.
    pub leverage: ArrayD<f64>,
}

const MEASURES: usize = 4;

/// The measures of every feature of `w (..., hidden, feature)`; NaN throughout a matrix with a number that is not
/// finite.
pub fn features(w: &TensorView<'_>, cancel: &Cancel) -> Result<Features> {
    let (found, shape) = of_matrices(w, cancel, measures)?;
    let mut all = Array3::zeros((MEASURES, found.len(), shape[shape.len() - 1]));
    for (mut place, found) in all.axis_iter_mut(Axis(1)).zip(&found) {
        place.assign(found);
    }
    let measure = |index: usize| {
        let mut values = all.index_axis(Axis(0), index).to_owned().into_iter();
        ArrayD::from_shape_simple_fn(IxDyn(&shape), || values.next().expect("one value for each place"))
    };
    Ok(Features { norm: measure(0), dimensionality: measure(1), interference: measure(2), leverage: measure(3) })
}

/// [`Features::dimensionality`] alone, which needs no basis: with `M = W Wᵀ`, the sum over `j` is `Ŵ_iᵀ M Ŵ_i`.
pub fn feature_dimensionality(w: &TensorView<'_>, cancel: &Cancel) -> Result<ArrayD<f64>> {
    let (found, shape) = of_matrices(w, cancel, dimensionalities)?;
    let mut values = found.into_iter().flatten();
    Ok(ArrayD::from_shape_simple_fn(IxDyn(&shape), || values.next().expect("one value for each place")))
}

/// A column whose square is below this share of all squares loses too many digits in `M`: its sum is taken term by term.
const SMALL: f64 = 1e-3;

fn dimensionalities(w: &Array2<f64>) -> Vec<f64> {
    let features = w.ncols();
    let largest = w.iter().fold(0.0, |largest: f64, entry| if entry.abs() > largest { entry.abs() } else { largest });
    if !w.iter().all(|entry| entry.is_finite()) {
        return vec![f64::NAN; features];
    }
    if largest == 0.0 {
        return vec![0.0; features];
    }
    // The size of all of it does not matter: with a largest entry near 1 no fourth power is lost.
    let w = w / largest;
    let moments = w.dot(&w.t());
    let along = moments.dot(&w);
    let (mut squares, mut shared) = (vec![0.0; features], vec![0.0; features]);
    for (own, all) in w.rows().into_iter().zip(along.rows()) {
        for (feature, (own, all)) in own.iter().zip(all).enumerate() {
            squares[feature] += own * own;
            shared[feature] += own * all;
        }
    }
    let least = SMALL * moments.diag().sum();
    (0..features)
        .map(|feature| match squares[feature] {
            0.0 => 0.0,
            square if square >= least => square / (shared[feature] / square),
            square => {
                let direction = &w.column(feature) / square.sqrt();
                square / sum_of_squares(w.t().dot(&direction).iter())
            }
        })
        .collect()
}

/// What `of` says of every matrix along the leading axes, in their order, and the shape `(..., feature)`.
pub(super) fn of_matrices<T: Send>(
    w: &TensorView<'_>,
    cancel: &Cancel,
    of: impl Fn(&Array2<f64>) -> T + Sync,
) -> Result<(Vec<T>, Vec<usize>)> {
    let [leading @ .., hidden, feature] = w.shape() else {
        return Err(Error::WrongRank { argument: "W", expected: "(..., hidden, feature)", got: w.shape().len() });
    };
    let of_matrix = |index| {
        cancel.check()?;
        Ok(of(&matrix(w, leading, [*hidden, *feature], index)))
    };
    let found = (0..leading.iter().product()).into_par_iter().map(of_matrix).collect::<Result<_>>()?;
    Ok((found, leading.iter().copied().chain([*feature]).collect()))
}

/// Matrix number `index` along the leading axes, in f64.
fn matrix(w: &TensorView<'_>, leading: &[usize], last: [usize; 2], mut index: usize) -> Array2<f64> {
    with_view!(w, |w| {
        let mut view = w.view();
        for (axis, length) in leading.iter().enumerate().rev() {
            view = view.index_axis_move(Axis(axis), index % length);
            index /= length;
        }
        let mut values = view.iter();
        Array2::from_shape_simple_fn(last, || values.next().map_or(f64::NAN, |value| value.to_f64()))
    })
}

/// `(measure, feature)` of one matrix.
fn measures(w: &Array2<f64>) -> Array2<f64> {
    let features = w.ncols();
    if !w.iter().all(|entry| entry.is_finite()) {
        return Array2::from_elem((MEASURES, features), f64::NAN);
    }
    let (coefficients, basis) = orthonormal_rows(w);
    // Column i: what the basis vectors, that is all features together, have along W_i.
    let along = coefficients.t().dot(w);
    let mut found = Array2::zeros((MEASURES, features));
    for (feature, mut found) in found.columns_mut().into_iter().enumerate() {
        let square = sum_of_squares(w.column(feature).iter());
        if square > 0.0 {
            let shared = sum_of_squares(along.column(feature).iter()) / square;
            found[0] = square.sqrt();
            found[1] = square / shared;
            found[2] = (shared - square).max(0.0);
        }
        found[3] = sum_of_squares(basis.column(feature).iter());
    }
    found
}

/// `(C, Q)` with `W = C Q` and orthonormal rows of `Q`, as many as the rank of `W`.
fn orthonormal_rows(w: &Array2<f64>) -> (Array2<f64>, Array2<f64>) {
    let (hidden, features) = w.dim();
    let mut left = w.clone();
    let mut basis: Vec<ndarray::Array1<f64>> = Vec::with_capacity(hidden.min(features));
    let size = |row: ndarray::ArrayView1<'_, f64>| sum_of_squares(row.iter()).sqrt();
    let largest = left.rows().into_iter().map(size).fold(0.0, f64::max);
    let nothing = largest * f64::EPSILON * hidden.max(features) as f64;
    while basis.len() < hidden.min(features) {
        let longest = left.rows().into_iter().map(size).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((row, length)) = longest.filter(|&(_, length)| length > nothing) else { break };
        let mut direction = &left.row(row) / length;
        for earlier in &basis {
            let share = earlier.dot(&direction);
            direction.scaled_add(-share, earlier);
        }
        let length = size(direction.view());
        direction /= length;
        let shares = left.dot(&direction);
        for (mut row, &share) in left.rows_mut().into_iter().zip(&shares) {
            row.scaled_add(-share, &direction);
        }
        basis.push(direction);
    }
    let rank = basis.len();
    let basis = Array2::from_shape_fn((rank, features), |(row, feature)| basis[row][feature]);
    (w.dot(&basis.t()), basis)
}

fn sum_of_squares<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value * value)
}

/// Columns scaled to length 1; zero columns stay.
pub(super) fn unit_columns(w: ArrayView2<'_, f64>) -> (Array2<f64>, Vec<f64>) {
    let norms: Vec<f64> = w.columns().into_iter().map(|column| sum_of_squares(column.iter()).sqrt()).collect();
    let unit = |(row, feature)| if norms[feature] > 0.0 { w[[row, feature]] / norms[feature] } else { 0.0 };
    (Array2::from_shape_fn(w.dim(), unit), norms)
}
