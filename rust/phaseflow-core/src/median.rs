//! The middle of some numbers.

/// The middle value, or the mean of the two in the middle; reorders, needs at least one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    let count = values.len();
    let (below, &mut upper, _) = values.select_nth_unstable_by(count / 2, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| count.is_multiple_of(2)).unwrap_or(upper);
    0.5 * lower + 0.5 * upper
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [8.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
        // Half of each: their sum would overflow.
        assert_eq!(median(&mut [f64::MAX, f64::MAX]), f64::MAX);
    }
}
