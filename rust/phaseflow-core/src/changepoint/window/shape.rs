//! Forms a change may take between its start and its end.
//!
//! Each rises from 0 to 1, and `start` and `end` are where the steepest tangent meets 0 and 1: for the ramp its two
//! kinks; for the softer shapes a little of the change lies outside (0.08 on either side of a cosine, 0.12 of a
//! logistic curve). The scan uses ramps only; what it finds is fitted with all three, because a score that rises along
//! a sigmoid leaves shoulders beside a ramp that are large against the small noise of a learning curve.

use std::f64::consts::{FRAC_PI_2, PI};

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
        let width = end - start;
        u.iter().map(|u| self.at((u - start) / width)).collect()
    }

    fn at(self, z: f64) -> f64 {
        match self {
            Self::Ramp => z.clamp(0.0, 1.0),
            Self::Cosine => 0.5 - 0.5 * (PI * ((z - 0.5) / FRAC_PI_2 + 0.5).clamp(0.0, 1.0)).cos(),
            Self::Logistic => 1.0 / (1.0 + (-4.0 * (z - 0.5)).exp()),
        }
    }

    /// The samples at which the form is neither 0 (before) nor 1 (after), to rounding.
    pub(crate) fn between(self, u: &[f64], start: f64, end: f64) -> std::ops::Range<usize> {
        let reach = match self {
            Self::Ramp => 0.5,
            Self::Cosine => 0.5 * FRAC_PI_2,
            Self::Logistic => 10.0, // e^-40 is left
        };
        let (middle, width) = (0.5 * (start + end), end - start);
        let from = u.partition_point(|u| *u <= middle - reach * width);
        from..u.partition_point(|u| *u < middle + reach * width).max(from)
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn before_and_after_what_lies_between_every_shape_is_0_and_1() {
        let u: Vec<f64> = (0..400).map(|i| 0.2 * f64::from(i)).collect();
        for shape in Shape::ALL {
            let whole = shape.over(&u, 39.03, 40.21);
            let between = shape.between(&u, 39.03, 40.21);
            assert!(!between.is_empty() && between.len() < u.len(), "{shape:?}");
            assert!(whole[..between.start].iter().all(|value| *value < 1e-16), "{shape:?}");
            assert!(whole[between.end..].iter().all(|value| *value == 1.0), "{shape:?}");
            assert!(whole[between].iter().all(|value| *value > 0.0 && *value <= 1.0), "{shape:?}");
        }
    }

    #[test]
    fn every_shape_has_slope_one_over_its_width_in_the_middle() {
        for shape in Shape::ALL {
            let near = shape.over(&[2.999, 3.0, 3.001], 2.0, 4.0);
            assert!(((near[2] - near[0]) / 0.002 - 0.5).abs() < 1e-5, "{shape:?}");
            assert!((near[1] - 0.5).abs() < 1e-15);
        }
    }
}
