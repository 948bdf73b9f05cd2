//! Signals and axes in a unit of their own, so that neither an offset nor the unit of the input matters.

use ndarray::ArrayViewMut2;

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
    let largest =
        |signal: &ArrayViewMut2<'_, f64>| signal.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let first = power_of_two(largest(&signal));
    signal.mapv_inplace(|value| value / first);
    let before = largest(&signal);
    for mut column in signal.columns_mut() {
        // The first sample goes before the mean, so that a constant becomes exactly 0.
        let origin = column[0];
        column.mapv_inplace(|value| value - origin);
        let mean = column.sum() / column.len() as f64;
        column.mapv_inplace(|value| value - mean);
    }
    let second = power_of_two(largest(&signal));
    signal.mapv_inplace(|value| value / second);
    Unit { size: first * second, resolution: 0.5 * f64::EPSILON * before / second }
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
