//! What a last segment costs as a function of its level, for the functional searches.
//!
//! For a segment from s on it is the parabola `count (mu - mean)^2 + level`. It is written about its segment's first
//! sample, near its own mean, so that no large sums are subtracted and a sample is added without a division.

use crate::changepoint::eights::extreme;

/// A start of the last segment and the levels up to which it is the lowest:
/// `count d^2 - 2 sum d + level`, `d = mu - origin`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) until: f64,
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) level: f64,
    pub(super) origin: f64,
    pub(super) from: usize,
}

impl Piece {
    #[inline(always)]
    pub(super) fn fresh(from: usize, level: f64, until: f64) -> Self {
        Self { until, count: 0.0, sum: 0.0, level, origin: 0.0, from }
    }

    #[inline(always)]
    pub(super) fn at(&self, mu: f64) -> f64 {
        let distance = mu - self.origin;
        (self.count * distance - 2.0 * self.sum) * distance + self.level
    }

    /// Adds `(value - mu)^2`.
    #[inline(always)]
    pub(super) fn add(&mut self, value: f64) {
        self.origin = if self.count > 0.0 { self.origin } else { value };
        let distance = value - self.origin;
        self.count += 1.0;
        self.sum += distance;
        self.level += distance * distance;
    }

    /// Where it is the lowest; needs a sample.
    #[inline(always)]
    pub(super) fn mean(&self) -> f64 {
        self.origin + self.sum / self.count
    }

    /// How low it gets: at any level, for outside of its own ones another is as low or lower.
    #[inline(always)]
    pub(super) fn lowest(&self) -> f64 {
        self.level - if self.count > 0.0 { self.sum * self.sum / self.count } else { 0.0 }
    }

    /// Between which levels it lies below `price`; NaN where it nowhere does.
    #[inline(always)]
    pub(super) fn below(&self, price: f64) -> (f64, f64) {
        let reach = (self.sum * self.sum - self.count * (self.level - price)).sqrt();
        (self.origin + (self.sum - reach) / self.count, self.origin + (self.sum + reach) / self.count)
    }
}

/// Smallest and largest sample, between which all levels lie; `None` where they are equal.
pub(super) fn range(y: &[f64]) -> Option<(f64, f64)> {
    let (lowest, highest) = (extreme(y, f64::INFINITY, f64::min), extreme(y, f64::NEG_INFINITY, f64::max));
    (lowest < highest).then_some((lowest, highest))
}

/// The envelope, piece by piece, after a segment that starts at `from` may take over wherever that costs no more than
/// `price`.
#[inline(always)]
pub(super) fn cut(
    pieces: impl IntoIterator<Item = Piece>,
    price: f64,
    from: usize,
    lowest: f64,
    mut keep: impl FnMut(Piece),
) {
    let mut pieces = pieces.into_iter().peekable();
    let mut left = lowest;
    let mut left_above = pieces.peek().is_some_and(|piece| piece.at(left) > price);
    // Where the fresh start's turn has come and not yet ended.
    let mut open: Option<f64> = None;
    for piece in pieces {
        let right = piece.until;
        let right_above = piece.at(right) > price;
        let (mut start, mut end) = (left, right);
        // Neighbours meet, so what lies above at the right end of one does so at the left end of the next.
        if left_above || right_above {
            left_above = right_above;
            let (first, last) = piece.below(price);
            // NaN, where the parabola lies above the price everywhere, fails every comparison.
            start = if first > left { first } else { left };
            end = if last < right { last } else { right };
            if first.is_nan() || start >= end {
                open = Some(right);
                left = right;
                continue;
            }
        }
        if start > left {
            open = Some(start);
        }
        if let Some(until) = open.take() {
            keep(Piece::fresh(from, price, until));
        }
        keep(Piece { until: end, ..piece });
        if end < right {
            open = Some(right);
        }
        left = right;
    }
    if let Some(until) = open {
        keep(Piece::fresh(from, price, until));
    }
}
