//! One number from many, in eight parts side by side: no step waits for the one before, and the order is always the same.

/// The extreme of the values: `further` of two picks one.
#[inline(always)]
pub(crate) fn extreme(values: &[f64], start: f64, further: impl Fn(f64, f64) -> f64) -> f64 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut found = [start; 8];
    for eight in eights {
        for (found, &value) in found.iter_mut().zip(eight) {
            *found = further(*found, value);
        }
    }
    found.iter().chain(rest).fold(start, |found, &value| further(found, value))
}

/// The sum of a term for each value.
#[inline(always)]
pub(crate) fn sum(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        for (sum, &value) in sums.iter_mut().zip(eight) {
            *sum += term(value);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&value| term(value)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::{extreme, sum};

    #[test]
    fn every_value_counts_once_wherever_it_is() {
        for count in 0..30 {
            let values: Vec<f64> = (0..count).map(|index| f64::from(1 << index)).collect();
            assert_eq!(sum(&values, |value| 2.0 * value), 2.0 * f64::from((1 << count) - 1));
            for largest in 0..values.len() {
                let mut values = vec![1.0; values.len()];
                values[largest] = 3.0;
                assert_eq!(extreme(&values, f64::NEG_INFINITY, f64::max), 3.0);
            }
        }
        assert_eq!(extreme(&[], -1.0, f64::max), -1.0);
    }
}
