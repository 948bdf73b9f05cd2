//! Prefix sums whose differences are right to rounding.
//!
//! The cost of a short segment is a small difference of large sums. Every sum is kept as an unevaluated pair of
//! doubles, `high + low`, about 32 digits (Dekker 1971; Knuth's two-sum), so that neither the length of a signal nor a
//! large jump elsewhere in it costs digits in a segment.

/// `high + low`, `|low|` at most half a unit in the last place of `high`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pair {
    high: f64,
    low: f64,
}

impl Pair {
    pub(crate) const fn from(value: f64) -> Self {
        Self { high: value, low: 0.0 }
    }

    /// The product of two doubles, exactly.
    pub(crate) fn product(a: f64, b: f64) -> Self {
        let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
        let high = a * b;
        let low = ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low;
        Self { high, low }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let high = self.high + other.high;
        let part = high - self.high;
        let error = (self.high - (high - part)) + (other.high - part);
        Self::normal(high, error + self.low + other.low)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        self.plus(Self { high: -other.high, low: -other.low })
    }

    pub(crate) fn times(self, other: Self) -> Self {
        let exact = Self::product(self.high, other.high);
        Self::normal(exact.high, exact.low + (self.high * other.low + self.low * other.high))
    }

    /// Quotient by a whole number.
    pub(crate) fn over(self, count: usize) -> Self {
        let divisor = count as f64;
        let high = self.high / divisor;
        let rest = self.minus(Self::product(high, divisor));
        Self::normal(high, rest.value() / divisor)
    }

    pub(crate) fn value(self) -> f64 {
        self.high + self.low
    }

    fn normal(high: f64, low: f64) -> Self {
        let sum = high + low;
        Self { high: sum, low: low - (sum - high) }
    }
}

/// Two halves of 26 bits each (Veltkamp).
fn split(value: f64) -> (f64, f64) {
    const FACTOR: f64 = 134_217_729.0; // 2^27 + 1
    let scaled = FACTOR * value;
    let high = scaled - (scaled - value);
    (high, value - high)
}

/// Sums of a sequence over any range of indices.
#[derive(Debug, Clone)]
pub(crate) struct PrefixSums(Vec<Pair>);

impl PrefixSums {
    /// The rounded sum and what it has lost run on apart (Neumaier 1974): a step waits for one addition in each of them,
    /// not for a whole sum of pairs.
    pub(crate) fn new(terms: impl Iterator<Item = Pair>) -> Self {
        let (mut sum, mut lost) = (0.0, 0.0);
        let mut sums = Vec::with_capacity(terms.size_hint().0 + 1);
        sums.push(Pair::default());
        sums.extend(terms.map(|term| {
            let next = sum + term.high;
            let part = next - sum;
            lost += (sum - (next - part)) + (term.high - part) + term.low;
            sum = next;
            // What is lost may be the larger of the two where large terms have cancelled.
            Pair::from(sum).plus(Pair::from(lost))
        }));
        Self(sums)
    }

    /// Every sum from the beginning, rounded.
    pub(crate) fn as_doubles(&self) -> Vec<f64> {
        self.0.iter().map(|sum| sum.value()).collect()
    }

    /// The sum over `start..end`.
    pub(crate) fn over(&self, start: usize, end: usize) -> Pair {
        self.0[end].minus(self.0[start])
    }

    /// Adds to `squares[i]` the square of the sum from `start` to the `i`th place less as many times `mean`, in doubles;
    /// places are every `jump`th from `first`.
    #[inline(always)]
    pub(crate) fn add_squares_about(&self, start: usize, first: usize, jump: usize, mean: f64, squares: &mut [f64]) {
        let from = self.0[start];
        for (index, (square, to)) in squares.iter_mut().zip(self.0[first..].iter().step_by(jump)).enumerate() {
            let count = (first - start + index * jump) as f64;
            let apart = (to.high - from.high) + (to.low - from.low) - count * mean;
            *square += apart * apart;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pair, PrefixSums};

    #[test]
    fn a_short_sum_behind_a_huge_one_keeps_its_digits() {
        let terms = [1e16, 1.0, 3.0, -1e16, 0.1];
        let sums = PrefixSums::new(terms.into_iter().map(Pair::from));
        assert_eq!(sums.over(1, 3).value(), 4.0);
        assert_eq!(sums.over(0, 4).value(), 4.0);
        assert_eq!(sums.over(4, 5).value(), 0.1);
    }

    #[test]
    fn a_product_and_a_quotient_are_exact_beyond_doubles() {
        let third = Pair::from(1.0).over(3);
        assert!(third.plus(third).plus(third).minus(Pair::from(1.0)).value().abs() < 1e-31);
        let near = 1.0 + f64::EPSILON;
        assert_eq!(Pair::product(near, near).minus(Pair::from(1.0 + 2.0 * f64::EPSILON)).value(), f64::EPSILON.powi(2));
    }
}
