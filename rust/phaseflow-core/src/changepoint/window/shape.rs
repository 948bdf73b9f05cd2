//! Forms a change may take between its start and its end.
//!
//! Each rises from 0 to 1, and `start` and `end` are where the steepest tangent meets 0 and 1: for the ramp its two
//! kinks; for the softer shapes a little of the change lies outside (0.08 on either side of a cosine, 0.12 of a
//! logistic curve). The scan uses ramps only; what it finds is fitted with all three, because a score that rises along
//! a sigmoid leaves shoulders beside a ramp that are large against the small noise of a learning curve.

/// One of the forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `clip(z, 0, 1)` with `z = (u - start) / (end - start)`.
    Ramp,
    /// Half a cosine wave.
    Cosine,
    /// `1 / (1 + exp(-4 (z - 1/2)))`.
    Logistic,
}

impl Shape {
    pub(crate) const ALL: [Self; 3] = [Self::Ramp, Self::Cosine, Self::Logistic];

    /// The form over the samples `u`.
    pub(crate) fn over(self, u: &[f64], start: f64, end: f64) -> Vec<f64> {
        use std::f64::consts::{FRAC_PI_2, PI};
        let width = end - start;
        u.iter()
            .map(|u| {
                let z = (u - start) / width;
                match self {
                    Self::Ramp => z.clamp(0.0, 1.0),
                    Self::Cosine => 0.5 - 0.5 * (PI * ((z - 0.5) / FRAC_PI_2 + 0.5).clamp(0.0, 1.0)).cos(),
                    Self::Logistic => 1.0 / (1.0 + (-4.0 * (z - 0.5)).exp()),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn every_shape_has_slope_one_over_its_width_in_the_middle() {
        for shape in Shape::ALL {
            let near = shape.over(&[2.999, 3.0, 3.001], 2.0, 4.0);
            assert!(((near[2] - near[0]) / 0.002 - 0.5).abs() < 1e-5, "{shape:?}");
            assert!((near[1] - 0.5).abs() < 1e-15);
        }
    }
}
