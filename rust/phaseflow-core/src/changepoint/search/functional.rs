//! Optimal partitioning of one feature by functional pruning (FPOP: Maidstone, Hocking, Rigaill, Fearnhead 2017),
//! for the cost l2: the same answer as [`pelt`](super::pelt), linear in the samples in practice however few the changes.
//!
//! The cost of the samples so far is a function of the level `mu` of the last segment. For a last segment from s on it
//! is the parabola `count (mu - mean)^2 + level`, and only the lower envelope over all s matters:
//!
//! ```text
//! F_t(mu) = min( F_(t-1)(mu), min over mu' of F_(t-1)(mu') + penalty ) + (y_t - mu)^2
//! ```
//!
//! The envelope is a list of pieces in order of `mu`. A start that is nowhere the lowest is gone for good. Each parabola
//! is written about its segment's first sample, near its own mean, so that no large sums are subtracted and a sample is
//! added without a division.

use super::changepoints;
use crate::{Cancel, Result};

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

/// Memory that one search leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    pieces: Vec<Piece>,
    next: Vec<Piece>,
    before: Vec<usize>,
}

/// The cheapest segmentation of `y` at a penalty, segments of any size.
pub(crate) fn functional(y: &[f64], penalty: f64, memory: &mut Envelope, cancel: &Cancel) -> Result<Vec<usize>> {
    let Envelope { pieces, next, before } = memory;
    let (lowest, highest) =
        y.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &y| (low.min(y), high.max(y)));
    if lowest >= highest {
        return Ok(Vec::new());
    }
    before.clear();
    before.resize(y.len() + 1, 0);
    pieces.clear();
    let mut piece = Piece::fresh(0, 0.0, highest);
    piece.add(y[0]);
    pieces.push(piece);
    let mut best = (0.0, 0);
    for (sample, &value) in y.iter().enumerate().skip(1) {
        cancel.check()?;
        before[sample] = best.1;
        next.clear();
        let price = best.0 + penalty;
        best.0 = f64::INFINITY;
        // The sample is added to each piece as it is kept.
        cut(pieces, price, sample, lowest, |mut piece| {
            piece.add(value);
            let here = piece.lowest();
            if here < best.0 {
                best = (here, piece.from);
            }
            next.push(piece);
        });
        std::mem::swap(pieces, next);
    }
    before[y.len()] = best.1;
    Ok(changepoints(before))
}

/// The envelope, piece by piece, after a segment that starts at `from` may take over wherever that costs no more than
/// `price`.
#[inline(always)]
pub(super) fn cut(pieces: &[Piece], price: f64, from: usize, lowest: f64, mut keep: impl FnMut(Piece)) {
    let mut left = lowest;
    let mut left_above = pieces.first().is_some_and(|piece| piece.at(left) > price);
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
        keep(Piece { until: end, ..*piece });
        if end < right {
            open = Some(right);
        }
        left = right;
    }
    if let Some(until) = open {
        keep(Piece::fresh(from, price, until));
    }
}
