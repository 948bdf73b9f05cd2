//! Derivative of the mean loss with respect to the logarithm of the token index, `d loss(i) / d ln(i)`, nats.
//!
//! Olsson 2022 shows this map over training; it does not say how it is estimated. Here: a weighted straight line of
//! loss on `x = ln(i)` (i is 1-based) through the positions near `i`,
//!
//! ```text
//! slope(i) = sum w_j (x_j - x̄)(y_j - ȳ) / sum w_j (x_j - x̄)²     over |x_j - x_i| <= bandwidth / 2,   w_j = 1 / se_j²
//! ```
//!
//! with weighted means `x̄`, `ȳ`; exact on any loss that is linear in `ln(i)`. Two rules where that is not defined:
//!
//! * At small `i` the window holds `i` alone, or one neighbour. It is widened to the three nearest indices (`i - 1` to
//!   `i + 1`; the first or last three at the ends), so below about `2 / bandwidth` the estimate is a plain neighbour
//!   slope and smooths over more of `ln(i)` than asked for.
//! * If a standard error in the window is 0 or NaN (a single example, identical examples), all weights there are equal.
//!
//! NaN where a mean in the window is NaN or infinite, and everywhere with fewer than two positions.

use ndarray::ArrayD;
use rayon::prelude::*;

use super::in_context::in_shape;
use super::layout::Layout;
use super::position::summaries;
use crate::tensor::TensorView;
use crate::vectorize::vectorize;
use crate::{Cancel, Error, Result, with_view};

/// The least number of positions a line is drawn through, where there are as many.
const LEAST: usize = 3;

/// The derivative at every position, `(..., pos)`, of `per_token_loss`, `(..., batch, pos)`.
pub fn loss_log_derivative(per_token_loss: &TensorView<'_>, bandwidth: f64, cancel: &Cancel) -> Result<ArrayD<f64>> {
    check(bandwidth)?;
    with_view!(per_token_loss, |losses| {
        let layout = Layout::new(losses.view())?;
        let summaries = summaries(&layout, None, cancel)?;
        let derivatives = summaries
            .par_iter()
            .map(|summary| {
                cancel.check()?;
                let mean: Vec<f64> = (0..layout.context).map(|i| summary.mean(i)).collect();
                let standard_error: Vec<f64> = (0..layout.context).map(|i| summary.standard_error(i)).collect();
                log_derivative(&mean, &standard_error, bandwidth)
            })
            .collect::<Result<Vec<_>>>()?;
        in_shape(layout.shape_with(layout.context), derivatives.concat())
    })
}

/// The derivative at every position of one curve, from its means and standard errors, both `(pos,)`.
pub fn log_derivative(mean: &[f64], standard_error: &[f64], bandwidth: f64) -> Result<Vec<f64>> {
    check(bandwidth)?;
    if mean.len() != standard_error.len() {
        return Err(Error::ShapeMismatch {
            argument: "standard_error",
            axis: "pos",
            expected: mean.len(),
            got: standard_error.len(),
        });
    }
    let x: Vec<f64> = (1..=mean.len()).map(|index| (index as f64).ln()).collect();
    let weight: Vec<f64> = standard_error.iter().map(|error| 1.0 / (error * error)).collect();
    let equal = vec![1.0; mean.len()];
    let slope_at = |position| {
        let (start, end) = window(&x, position, bandwidth / 2.0);
        let usable = weight[start..end].iter().all(|weight| weight.is_finite() && *weight > 0.0);
        let weight = if usable { &weight } else { &equal };
        slope(&x[start..end], &mean[start..end], &weight[start..end])
    };
    Ok(vectorize(
        #[inline(always)]
        || (0..mean.len()).map(slope_at).collect(),
    ))
}

pub(super) fn check(bandwidth: f64) -> Result<()> {
    if bandwidth.is_finite() && bandwidth > 0.0 {
        return Ok(());
    }
    Err(Error::OutOfRange {
        argument: "bandwidth",
        expected: "a positive finite width in ln(token index)".into(),
        got: bandwidth.to_string(),
    })
}

/// `[start, end)`: the positions within `half` of `position`, or the nearest [`LEAST`].
pub(super) fn window(x: &[f64], position: usize, half: f64) -> (usize, usize) {
    let start = x.partition_point(|&at| at < x[position] - half);
    let end = x.partition_point(|&at| at <= x[position] + half);
    if end - start >= LEAST.min(x.len()) {
        return (start, end);
    }
    let start = position.saturating_sub(LEAST / 2).min(x.len().saturating_sub(LEAST));
    (start, (start + LEAST).min(x.len()))
}

/// Slope of the weighted least-squares line of `y` on `x`; 0/0, so NaN, through a single point.
#[inline(always)]
fn slope(x: &[f64], y: &[f64], weight: &[f64]) -> f64 {
    let total = sum(weight.len(), |j| weight[j]);
    // Measured from the first point before anything is multiplied: a large common loss costs no digits.
    let (x0, y0) = (x[0], y[0]);
    let x_mean = sum(x.len(), |j| weight[j] * (x[j] - x0)) / total;
    let y_mean = sum(x.len(), |j| weight[j] * (y[j] - y0)) / total;
    let rise = sum(x.len(), |j| weight[j] * (x[j] - x0 - x_mean) * (y[j] - y0 - y_mean));
    let run = sum(x.len(), |j| weight[j] * (x[j] - x0 - x_mean) * (x[j] - x0 - x_mean));
    rise / run
}

/// Sum over `0..n` in four interleaved parts, which vector registers add side by side.
#[inline(always)]
pub(super) fn sum(n: usize, term: impl Fn(usize) -> f64) -> f64 {
    let mut lanes = [0.0; 4];
    for start in (0..n / 4 * 4).step_by(4) {
        for (lane, part) in lanes.iter_mut().enumerate() {
            *part += term(start + lane);
        }
    }
    let rest = (n / 4 * 4..n).fold(0.0, |rest, j| rest + term(j));
    let [a, b, c, d] = lanes;
    (a + b) + (c + d) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_linear_in_the_logarithm_has_its_slope_everywhere() {
        let mean: Vec<f64> = (1..=300).map(|i| 7.0 - 0.75 * f64::from(i).ln()).collect();
        let standard_error: Vec<f64> = (1..=300).map(|i| 0.1 + f64::from(i % 7)).collect();
        for slope in log_derivative(&mean, &standard_error, 0.25).unwrap() {
            assert!((slope + 0.75).abs() < 1e-10, "{slope}");
        }
    }

    #[test]
    fn weights_are_inverse_variances() {
        // Three points; the slope of the weighted line through (0, 0), (ln 2, 1), (ln 3, 1) by Cramer's rule.
        let (mean, standard_error) = ([0.0, 1.0, 1.0], [1.0, 0.5, 2.0]);
        let weight = [1.0, 4.0, 0.25];
        let x = [0.0, 2.0_f64.ln(), 3.0_f64.ln()];
        let dot = |f: &dyn Fn(usize) -> f64| (0..3).map(|j| weight[j] * f(j)).sum::<f64>();
        let (s, sx, sy) = (dot(&|_| 1.0), dot(&|j| x[j]), dot(&|j| mean[j]));
        let expected = (s * dot(&|j| x[j] * mean[j]) - sx * sy) / (s * dot(&|j| x[j] * x[j]) - sx * sx);
        let found = log_derivative(&mean, &standard_error, 0.25).unwrap();
        assert!((found[1] - expected).abs() < 1e-14);
    }

    #[test]
    fn the_window_widens_to_the_three_nearest_indices() {
        let x: Vec<f64> = (1..=500).map(|i| f64::from(i).ln()).collect();
        assert_eq!(window(&x, 0, 0.125), (0, 3));
        assert_eq!(window(&x, 4, 0.125), (3, 6));
        // |ln(j / 100)| <= 1/8: 88.2 <= j <= 113.3.
        assert_eq!(window(&x, 99, 0.125), (88, 113));
        assert_eq!(window(&x, 499, 1e-9), (497, 500));
        // |ln(j / 2)| <= ln 2: both ends belong to it.
        assert_eq!(window(&x, 1, 2.0_f64.ln()), (0, 4));
    }

    #[test]
    fn too_few_positions_have_no_slope() {
        assert!(log_derivative(&[1.0], &[0.1], 0.25).unwrap()[0].is_nan());
        let two = log_derivative(&[1.0, 2.0], &[f64::NAN, 0.0], 0.25).unwrap();
        assert!((two[0] - 1.0 / 2.0_f64.ln()).abs() < 1e-15 && two[0] == two[1]);
        assert!(log_derivative(&[], &[], 0.25).unwrap().is_empty());
    }
}
