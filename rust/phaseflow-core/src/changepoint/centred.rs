//! Signals and axes in a unit of their own, so that neither an offset nor the unit of the input matters.

use ndarray::{ArrayView2, ArrayViewMut2};

use super::eights::extreme;

/// What [`centre`] did to a signal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    /// What the values were divided by.
    pub(crate) size: f64,
    /// Half a unit in the last place of the largest sample as it came, in the new unit: nothing is known better.
    pub(crate) resolution: f64,
}

/// Moves each feature (column) near 0 and divides all by a power of two near their largest value: no digit is lost.
pub(crate) fn centre(mut signal: ArrayViewMut2<'_, f64>) -> Unit {
    // Powers of two and their inverses are exact, and so is what they do to a value.
    let largest_as_it_came = largest(signal.view());
    let first = power_of_two(largest_as_it_came);
    let unscaled = 1.0 / first;
    for mut column in signal.columns_mut() {
        // The first sample goes before the mean, so that a constant becomes exactly 0.
        let origin = column[0] * unscaled;
        column.mapv_inplace(|value| value * unscaled - origin);
        let mean = column.sum() / column.len() as f64;
        column.mapv_inplace(|value| value - mean);
    }
    let second = power_of_two(largest(signal.view()));
    let unscaled_again = 1.0 / second;
    signal.mapv_inplace(|value| value * unscaled_again);
    Unit { size: first * second, resolution: 0.5 * f64::EPSILON * (largest_as_it_came * unscaled) / second }
}

/// The largest absolute value, 0 of none.
fn largest(signal: ArrayView2<'_, f64>) -> f64 {
    let further = |largest: f64, value: f64| largest.max(value.abs());
    match signal.as_slice_memory_order() {
        Some(values) => extreme(values, 0.0, further),
        None => signal.iter().fold(0.0, |largest, &value| further(largest, value)),
    }
}

/// The largest power of two that is at most `value`, 1 for 0; kept where its inverse is a normal number.
pub(crate) fn power_of_two(value: f64) -> f64 {
    if value > 0.0 { value.log2().floor().clamp(-1000.0, 1000.0).exp2() } else { 1.0 }
}

/// x moved and stretched to [-1, 1], which changes no line and no cost.
pub(crate) fn unit_axis(x: &[f64]) -> Vec<f64> {
    let (Some(&first), Some(&last)) = (x.first(), x.last()) else { return Vec::new() };
    // Halved first: the range of two large numbers of opposite sign may overflow.
    let (centre, half) = (0.5 * first + 0.5 * last, 0.5 * last - 0.5 * first);
    x.iter().map(|value| if half > 0.0 { (value - centre) / half } else { 0.0 }).collect()
}
