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
//! is kept by its own mean and lowest value and updated as Welford does, so that no large sums are subtracted.

use super::changepoints;
use crate::{Cancel, Result};

/// A start of the last segment and the levels up to which it is the lowest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) until: f64,
    pub(super) count: f64,
    pub(super) mean: f64,
    pub(super) level: f64,
    pub(super) from: usize,
}

impl Piece {
    pub(super) fn fresh(from: usize, level: f64, until: f64) -> Self {
        Self { until, count: 0.0, mean: 0.0, level, from }
    }

    #[inline(always)]
    pub(super) fn at(&self, mu: f64) -> f64 {
        self.level + self.count * (mu - self.mean) * (mu - self.mean)
    }

    /// Adds `(value - mu)^2`.
    #[inline(always)]
    pub(super) fn add(&mut self, value: f64) {
        let distance = value - self.mean;
        self.count += 1.0;
        self.mean += distance / self.count;
        self.level += distance * (value - self.mean);
    }

    /// The lowest value from `left` on.
    #[inline(always)]
    pub(super) fn lowest(&self, left: f64) -> f64 {
        if self.mean < left || self.mean > self.until {
            self.at(if self.mean < left { left } else { self.until })
        } else {
            self.level
        }
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
    pieces.push(Piece::fresh(0, 0.0, highest));
    for (sample, &value) in y.iter().enumerate() {
        cancel.check()?;
        let (best, from) = add(pieces, value, lowest);
        before[sample + 1] = from;
        cut(pieces, next, best + penalty, sample + 1, lowest);
        std::mem::swap(pieces, next);
    }
    Ok(changepoints(before))
}

/// Adds a sample to every parabola; the lowest value of the envelope and the start it belongs to.
#[inline(always)]
fn add(pieces: &mut [Piece], value: f64, lowest: f64) -> (f64, usize) {
    let mut best = (f64::INFINITY, 0);
    let mut left = lowest;
    for piece in pieces {
        piece.add(value);
        let here = piece.lowest(left);
        if here < best.0 {
            best = (here, piece.from);
        }
        left = piece.until;
    }
    best
}

/// The envelope after a segment that starts at `from` may take over wherever that costs no more than `price`.
#[inline(always)]
pub(super) fn cut(pieces: &[Piece], next: &mut Vec<Piece>, price: f64, from: usize, lowest: f64) {
    next.clear();
    let mut left = lowest;
    // Where the fresh start's turn has come and not yet ended.
    let mut open: Option<f64> = None;
    for piece in pieces {
        let right = piece.until;
        let (mut start, mut end) = (left, right);
        if piece.at(left) > price || piece.at(right) > price {
            let reach = ((price - piece.level) / piece.count).sqrt();
            // NaN, where the parabola lies above the price everywhere, fails every comparison.
            start = if piece.mean - reach > left { piece.mean - reach } else { left };
            end = if piece.mean + reach < right { piece.mean + reach } else { right };
            if reach.is_nan() || start >= end {
                open = Some(right);
                left = right;
                continue;
            }
        }
        if start > left {
            open = Some(start);
        }
        if let Some(until) = open.take() {
            next.push(Piece::fresh(from, price, until));
        }
        next.push(Piece { until: end, ..*piece });
        if end < right {
            open = Some(right);
        }
        left = right;
    }
    if let Some(until) = open {
        next.push(Piece::fresh(from, price, until));
    }
}
