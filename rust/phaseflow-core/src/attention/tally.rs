//! A mean over the queries of all examples, and how sure it is.
//!
//! Example `e` contributes a sum `s_e` over `n_e` queries. The value is the ratio `v = sum s_e / sum n_e`; queries of
//! one example are not independent, examples are, so the standard error is that of a ratio over examples:
//!
//! ```text
//! se² = m / (m - 1) · sum (s_e - v n_e)² / (sum n_e)²        over the m examples with n_e > 0
//! ```
//!
//! With equally many queries in every example this is the standard deviation of the examples' means over `sqrt(m)`.

/// What one example contributes: the sum over its queries, and their number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    pub(super) sum: f64,
    pub(super) count: usize,
}

/// `v`; NaN when there is no query.
pub(super) fn mean(tallies: &[Tally]) -> f64 {
    total(tallies) / count(tallies) as f64
}

/// `se`; NaN with fewer than two examples that have queries.
pub(super) fn standard_error(tallies: &[Tally]) -> f64 {
    let examples = tallies.iter().filter(|tally| tally.count > 0).count() as f64;
    if examples < 2.0 {
        return f64::NAN;
    }
    let value = mean(tallies);
    let squares = tallies.iter().fold(0.0, |squares, tally| squares + (tally.sum - value * tally.count as f64).powi(2));
    (examples / (examples - 1.0) * squares).sqrt() / count(tallies) as f64
}

fn total(tallies: &[Tally]) -> f64 {
    tallies.iter().fold(0.0, |total, tally| total + tally.sum)
}

fn count(tallies: &[Tally]) -> usize {
    tallies.iter().map(|tally| tally.count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_equal_counts_it_is_the_standard_error_of_the_examples_means() {
        let tallies = [1.0, 2.0, 6.0].map(|sum| Tally { sum, count: 2 });
        // Means 1/2, 1, 3: mean 3/2, variance (1 + 1/4 + 9/4) / 2 = 7/4.
        assert_eq!(mean(&tallies), 1.5);
        assert!((standard_error(&tallies) - (7.0_f64 / 12.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn examples_without_queries_do_not_count() {
        let with = [Tally { sum: 1.0, count: 1 }, Tally { sum: 0.0, count: 0 }, Tally { sum: 0.0, count: 1 }];
        assert_eq!(mean(&with), 0.5);
        assert_eq!(standard_error(&with), 0.5);
        assert!(standard_error(&with[..2]).is_nan());
        assert!(mean(&with[1..2]).is_nan());
    }
}
