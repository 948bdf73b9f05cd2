//! Changes of level that may only go some ways: down, up, up then down. Functional pruning on a graph of states
//! (Hocking, Rigaill, Fearnhead, Bourque 2020; Runge et al. 2023), for the cost l2. Exact.
//!
//! A state is a direction. Within it, and on the step into it from the one before, levels change that way only. With
//! F(k, mu) the least cost so far in state k at level mu,
//!
//! ```text
//! F_t(k, mu) = (y_t - mu)^2 + min of  F(k, mu)
//!                                     F(k, mu') + penalty       for mu' on the right side of mu
//!                                     F(k - 1, mu') + penalty   likewise
//! ```
//!
//! Every function is a list of pieces in order of mu, as in [`functional`](super::functional). The second and third are
//! stairs: at the best segmentation no change has size 0 (joining the two would cost the same without the penalty), so
//! every level is a mean of its segment, and only means, where F is stationary, need to be looked at for mu'.

use super::piece::Piece;
use crate::changepoint::names::lookup;
use crate::{Cancel, Result};

/// Costs of a signal of unit size are right to this, times the number of samples: a change must be worth that.
const ROUNDING: f64 = 1e-14;

/// Which way levels may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Either way.
    Any,
    /// Never up.
    Down,
    /// Never down.
    Up,
    /// Up any number of times, then down any number of times: a bump.
    UpDown,
    /// A dip.
    DownUp,
}

impl Shape {
    const NAMED: [(&'static str, Self); 5] = [
        ("any", Self::Any),
        ("down", Self::Down),
        ("up", Self::Up),
        ("up-down", Self::UpDown),
        ("down-up", Self::DownUp),
    ];

    /// The shape of this name.
    pub fn from_name(name: &str) -> Result<Self> {
        lookup("shape", name, &Self::NAMED)
    }

    /// Its states in order: whether levels rise in them.
    fn rising(self) -> &'static [bool] {
        match self {
            Self::Any => &[],
            Self::Down => &[false],
            Self::Up => &[true],
            Self::UpDown => &[true, false],
            Self::DownUp => &[false, true],
        }
    }
}

/// A segment's first sample, and the segment before it.
#[derive(Debug, Clone, Copy)]
struct Node {
    sample: usize,
    before: usize,
}

/// What a new segment costs up to some level, and after which segment.
#[derive(Debug, Clone, Copy)]
struct Stair {
    until: f64,
    price: f64,
    before: usize,
}

/// Stands for no segment.
const NONE: usize = usize::MAX;

/// The cheapest segmentation of `y` at a penalty with levels of that shape, segments of any size.
pub(crate) fn shaped(y: &[f64], penalty: f64, shape: Shape, cancel: &Cancel) -> Result<Vec<usize>> {
    let lowest = y.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let penalty = penalty.max(ROUNDING * y.len() as f64);
    let rising = shape.rising();
    if lowest >= highest || rising.is_empty() {
        return Ok(Vec::new());
    }
    let mut nodes = vec![Node { sample: 0, before: NONE }];
    let mut states: Vec<Vec<Piece>> = rising.iter().map(|_| vec![Piece::fresh(NONE, f64::INFINITY, highest)]).collect();
    states[0][0] = Piece::fresh(0, 0.0, highest);
    for (sample, &value) in y.iter().enumerate() {
        cancel.check()?;
        if sample > 0 {
            // From the last state back, so that each still finds the one before it as it was.
            for state in (0..rising.len()).rev() {
                for from in (state.saturating_sub(1)..=state).rev() {
                    let stairs = stairs(&states[from], rising[state], penalty, (lowest, highest));
                    states[state] = cheaper(&states[state], &stairs, sample, lowest, &mut nodes);
                }
            }
        }
        states.iter_mut().flatten().for_each(|piece| piece.add(value));
    }
    let mut best = (f64::INFINITY, NONE);
    for pieces in &states {
        let mut left = lowest;
        for piece in pieces {
            // Outside of its own levels a piece may be of another shape.
            let here = piece.at(piece.mean().max(left).min(piece.until));
            if here < best.0 {
                best = (here, piece.from);
            }
            left = piece.until;
        }
    }
    let mut found = Vec::new();
    let mut node = nodes[best.1];
    while node.before != NONE {
        found.push(node.sample);
        node = nodes[node.before];
    }
    found.reverse();
    Ok(found)
}

/// The least cost of a segment whose level lies above (or below) the one before it.
fn stairs(pieces: &[Piece], rising: bool, penalty: f64, (lowest, highest): (f64, f64)) -> Vec<Stair> {
    let mut left = lowest;
    let mut means: Vec<&Piece> = Vec::new();
    for piece in pieces {
        if piece.level < f64::INFINITY && piece.mean() >= left && piece.mean() <= piece.until {
            means.push(piece);
        }
        left = piece.until;
    }
    let mut price = f64::INFINITY;
    let mut before = NONE;
    let mut found = Vec::new();
    if rising {
        for piece in means {
            if piece.lowest() + penalty < price {
                found.push(Stair { until: piece.mean(), price, before });
                (price, before) = (piece.lowest() + penalty, piece.from);
            }
        }
        found.push(Stair { until: highest, price, before });
    } else {
        let mut until = highest;
        for piece in means.into_iter().rev() {
            if piece.lowest() + penalty < price {
                found.push(Stair { until, price, before });
                (until, price, before) = (piece.mean(), piece.lowest() + penalty, piece.from);
            }
        }
        found.push(Stair { until, price, before });
        found.reverse();
    }
    found
}

/// The lower of the two: a segment goes on, or a new one starts at `sample`.
fn cheaper(pieces: &[Piece], stairs: &[Stair], sample: usize, lowest: f64, nodes: &mut Vec<Node>) -> Vec<Piece> {
    let mut next: Vec<Piece> = Vec::with_capacity(pieces.len() + 2);
    let mut push = |piece: Piece, left: f64| {
        if piece.until > left {
            match next.last_mut() {
                Some(last) if last.from == piece.from => last.until = piece.until,
                _ => next.push(piece),
            }
        }
    };
    let mut left = lowest;
    let mut at = 0;
    for stair in stairs {
        let mut node = NONE;
        let mut fresh = |until: f64| {
            if node == NONE {
                nodes.push(Node { sample, before: stair.before });
                node = nodes.len() - 1;
            }
            Piece::fresh(node, stair.price, until)
        };
        while at < pieces.len() && left < stair.until {
            let piece = pieces[at];
            let right = piece.until.min(stair.until);
            let (first, last) = piece.below(stair.price);
            if stair.price == f64::INFINITY || (piece.at(left) <= stair.price && piece.at(right) <= stair.price) {
                push(Piece { until: right, ..piece }, left);
            } else if piece.level == f64::INFINITY || first.is_nan() {
                push(fresh(right), left);
            } else {
                let (start, end) = (first.max(left), last.min(right));
                if start < end {
                    if start > left {
                        push(fresh(start), left);
                    }
                    push(Piece { until: end, ..piece }, start);
                    if end < right {
                        push(fresh(right), end);
                    }
                } else {
                    push(fresh(right), left);
                }
            }
            left = right;
            if piece.until <= right {
                at += 1;
            }
        }
    }
    next
}
