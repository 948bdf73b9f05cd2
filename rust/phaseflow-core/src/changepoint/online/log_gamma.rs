//! The logarithm of the gamma function for positive arguments, to rounding: Stirling's series from 10 on (Abramowitz and
//! Stegun 6.1.41), the recurrence below.

const HALF_LOG_TWO_PI: f64 = 0.918_938_533_204_672_7;

pub(super) fn log_gamma(argument: f64) -> f64 {
    let (mut x, mut product) = (argument, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let coefficients = [-691.0 / 360_360.0, 1.0 / 1188.0, -1.0 / 1680.0, 1.0 / 1260.0, -1.0 / 360.0, 1.0 / 12.0];
    let series = coefficients.iter().fold(0.0, |sum, coefficient| sum * square + coefficient) / x;
    (x - 0.5) * x.ln() - x + HALF_LOG_TWO_PI + series - f64::ln(product)
}

#[cfg(test)]
mod tests {
    use super::log_gamma;

    #[test]
    fn it_is_the_log_of_the_factorial_and_of_the_root_of_pi() {
        assert!((log_gamma(1.0)).abs() < 1e-14);
        assert!((log_gamma(6.0) - 120.0_f64.ln()).abs() < 1e-14);
        assert!((log_gamma(0.5) - 0.5 * std::f64::consts::PI.ln()).abs() < 1e-14);
        let factorial: f64 = (1..=170).map(|k| f64::from(k).ln()).sum();
        assert!((log_gamma(171.0) / factorial - 1.0).abs() < 1e-14);
        assert!(log_gamma(1e-300).is_finite());
    }
}
