//! A line through samples that come one by one: Bayesian regression on a constant and one regressor, by Welford's moments.
//!
//! Given the noise variance, a segment's line has precision `k (level at c)^2 + s slope^2` over it, with c the mean of the
//! regressor, weighted as the prior is; a sample (x, y) moves them on as in Welford 1962:
//!
//! ```text
//! h = k / (k + 1)     dx = x - c     dy = y - m     distance = dy - slope dx
//! spread = (1 + 1 / k) (1 + h dx^2 / s)             of the sample over the noise variance, before it
//! k <- k + 1          c <- c + dx / k               m <- m + dy / k      (k the new one)
//! s <- s + h dx^2     slope <- slope + h dx distance / s                 (s the new one)
//! ```
//!
//! This is U' D U of the precision, D = (k, s) and c in U. Both only grow, by sums of what is not negative, so no rounding
//! makes them 0 or less. The update of the covariance, `v - v h h' v / spread`, subtracts what is nearly equal: with regressors
//! of 1e8 its spread is wrong in the third digit, or infinite, and after zeros, whose noise is taken for 1e-150, infinite at
//! once. Against exact fractions the log of the spread is right to 1e-13 here in all of that; Joseph's form and the
//! factors of the covariance (Bierman 1977) are as good until zeros are followed by 1e8, where they overflow.

/// What is known of a line before or after some samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    /// Its value at `centre`.
    pub(super) middle: f64,
    /// How many samples that is worth.
    pub(super) weight: f64,
    /// Mean of the regressor.
    pub(super) centre: f64,
    /// Its slope there.
    pub(super) slope: f64,
    /// Sum of squares of the regressor around `centre`, the prior's worth included.
    pub(super) squares: f64,
}

/// How far a sample lay from a line.
pub(super) struct Surprise {
    /// In standard deviations of what was expected, over that of the noise.
    pub(super) distance: f64,
    /// Log of what was expected of it, squared, over the noise variance.
    pub(super) log_spread: f64,
}

impl Line {
    /// With one sample more, and how far that lay off.
    pub(super) fn with(self, x: f64, y: f64) -> (Self, Surprise) {
        let Self { middle, weight, centre, slope, squares } = self;
        let (dx, dy) = (x - centre, y - middle);
        let share = weight / (weight + 1.0);
        let distance = dy - slope * dx;
        // The square root of 1 + h dx^2 / s: dx^2 / s is no number where a regressor is 1e8 and s is that of 1e-150.
        let reach = f64::hypot(1.0, share.sqrt() * dx / squares.sqrt());
        let after_squares = squares + share * dx * dx;
        let after = Self {
            middle: middle + dy / (weight + 1.0),
            weight: weight + 1.0,
            centre: centre + dx / (weight + 1.0),
            slope: slope + share * dx / after_squares * distance,
            squares: after_squares,
        };
        let surprise = Surprise {
            distance: share.sqrt() * distance / reach,
            log_spread: (1.0 / weight).ln_1p() + 2.0 * reach.ln(),
        };
        (after, surprise)
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn two_samples_by_hand() {
        // Worth one sample at 0 and slope 0 with squares 1, then (2, 4): h = 1/2, spread 2 (1 + 2) = 6, the new
        // squares 3, slope 1/2 * 2 * 4 / 3 = 4/3. Then (1, 0): dx 0, dy -2, spread 3/2.
        let line = Line { middle: 0.0, weight: 1.0, centre: 0.0, slope: 0.0, squares: 1.0 };
        let (line, first) = line.with(2.0, 4.0);
        assert_eq!((line.middle, line.weight, line.centre, line.squares), (2.0, 2.0, 1.0, 3.0));
        assert!((line.slope - 4.0 / 3.0).abs() < 1e-15);
        assert!((first.log_spread - 6.0_f64.ln()).abs() < 1e-15);
        assert!((first.distance.powi(2) - 16.0 / 6.0).abs() < 1e-14);
        let (line, second) = line.with(1.0, 0.0);
        assert!((line.middle - 4.0 / 3.0).abs() < 1e-15 && (line.slope - 4.0 / 3.0).abs() < 1e-15);
        assert!((second.log_spread - 1.5_f64.ln()).abs() < 1e-15);
        assert!((second.distance.powi(2) - 4.0 / 1.5).abs() < 1e-14);
    }

    #[test]
    fn regressors_of_1e8_after_a_unit_of_1e_150_are_no_infinity() {
        let mut line = Line { middle: 0.0, weight: 0.01, centre: 0.0, slope: 0.0, squares: 4e-300 };
        for sample in 0..50 {
            let (next, surprise) = line.with(1e8 + f64::from(sample % 7), 1.0);
            assert!(surprise.log_spread.is_finite() && surprise.log_spread > 0.0);
            assert!(next.squares >= line.squares);
            line = next;
        }
    }
}
