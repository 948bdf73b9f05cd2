//! Everything that one reading of the losses gives: mean, variance and standard error at every position, how many losses
//! there are undefined, and for every example the late window's loss less the early one's.

use ndarray::ArrayD;

use super::in_context::{InContext, in_shape};
use super::layout::Layout;
use super::position::summaries;
use super::sums::Summary;
use crate::tensor::TensorView;
use crate::{Cancel, Result, with_view};

/// What [`loss_summary`] finds, in nats.
#[derive(Debug, Clone)]
pub struct LossSummary {
    /// Mean over examples, `(..., pos)`; NaN without examples, or where a loss is NaN or infinite.
    pub mean: ArrayD<f64>,
    /// Variance over examples with `n - 1`, `(..., pos)`; NaN with fewer than two, or where a loss is not finite.
    pub variance: ArrayD<f64>,
    /// Standard error of the mean, `(..., pos)`.
    pub standard_error: ArrayD<f64>,
    /// Losses that are NaN or infinite, `(..., pos)`.
    pub undefined: ArrayD<f64>,
    /// Late less early, `(..., batch)`.
    pub late_minus_early: ArrayD<f64>,
}

/// The summary of `per_token_loss`, `(..., batch, pos)`.
pub fn loss_summary(per_token_loss: &TensorView<'_>, tokens: InContext, cancel: &Cancel) -> Result<LossSummary> {
    with_view!(per_token_loss, |losses| {
        let layout = Layout::new(losses.view())?;
        let windows = tokens.windows(layout.context)?;
        let found = summaries(&layout, Some(&windows), cancel)?;
        let at_positions = |of: fn(&Summary, usize) -> f64| {
            let values = found.iter().flat_map(|one| (0..layout.context).map(move |position| of(one, position)));
            in_shape(layout.shape_with(layout.context), values.collect())
        };
        let batch = losses.shape()[losses.ndim() - 2];
        let differences = found.iter().flat_map(|one| one.differences.iter().copied()).collect();
        Ok(LossSummary {
            mean: at_positions(Summary::mean)?,
            variance: at_positions(Summary::variance)?,
            standard_error: at_positions(Summary::standard_error)?,
            undefined: at_positions(|one, position| one.undefined[position] as f64)?,
            late_minus_early: in_shape(layout.shape_with(batch), differences)?,
        })
    })
}
