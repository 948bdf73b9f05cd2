//! Noise that lasts from sample to sample, AR(1): its coefficients as they are tried, and what makes it white.
//!
//! ```text
//! V = S R S       R = rho^|i - j|,   S = diag(deviations)
//! ```

/// AR(1) coefficients tried.
pub(crate) const RHOS: [f64; 11] = [-0.3, -0.15, 0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 0.96];

/// `W y` with `W' W = (S R S)^-1`: divide by the deviation, subtract rho times the sample before.
pub(crate) fn whiten(rho: f64, deviations: &[f64], y: &[f64]) -> Vec<f64> {
    innovations(rho, &standardised(deviations, y))
}

/// `y` in units of its deviations.
pub(crate) fn standardised(deviations: &[f64], y: &[f64]) -> Vec<f64> {
    y.iter().zip(deviations).map(|(value, deviation)| value / deviation).collect()
}

/// What is new in each sample of standardised noise.
#[inline(always)]
pub(crate) fn innovations(rho: f64, standardised: &[f64]) -> Vec<f64> {
    let scale = 1.0 / (1.0 - rho * rho).sqrt();
    let mut found = standardised.to_vec();
    for index in 1..found.len() {
        found[index] = (standardised[index] - rho * standardised[index - 1]) * scale;
    }
    found
}

/// [`innovations`] of several vectors side by side.
#[inline(always)]
pub(crate) fn innovations_together<const N: usize>(rho: f64, standardised: &[[f64; N]]) -> Vec<[f64; N]> {
    let scale = 1.0 / (1.0 - rho * rho).sqrt();
    let mut found = standardised.to_vec();
    for index in 1..found.len() {
        for lane in 0..N {
            found[index][lane] = (standardised[index][lane] - rho * standardised[index - 1][lane]) * scale;
        }
    }
    found
}

/// `W' v`.
pub(crate) fn unwhiten(rho: f64, deviations: &[f64], v: &[f64]) -> Vec<f64> {
    let scale = 1.0 / (1.0 - rho * rho).sqrt();
    (0..v.len())
        .map(|index| {
            let own = if index == 0 { v[0] } else { v[index] * scale };
            let next = if index + 1 < v.len() { v[index + 1] * scale * rho } else { 0.0 };
            (own - next) / deviations[index]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{unwhiten, whiten};

    #[test]
    fn whitening_twice_inverts_the_correlation_matrix() {
        let (rho, deviations) = (0.6_f64, vec![1.0, 2.0, 0.5, 3.0]);
        for i in 0..4 {
            let column: Vec<f64> =
                (0..4).map(|j: usize| deviations[i] * deviations[j] * rho.powi(i.abs_diff(j) as i32)).collect();
            let unit = unwhiten(rho, &deviations, &whiten(rho, &deviations, &column));
            for (j, value) in unit.iter().enumerate() {
                assert!((value - f64::from(u8::from(i == j))).abs() < 1e-14);
            }
        }
    }
}
