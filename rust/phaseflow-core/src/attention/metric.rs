//! The names of the scores, in the order of every array of them.

use super::prefix_matching::Reduce;

/// A score read off the pattern of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Attention to targets of this matching, averaged so.
    Matching(Matching, Reduce),
    /// Attention to the token before.
    PreviousToken,
    /// Attention to the first token.
    FirstToken,
    /// Entropy of the attention, nats.
    Entropy,
}

/// Which key an earlier copy of the current token points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// The token after it: what an induction head looks at.
    Prefix,
    /// The copy itself.
    Duplicate,
    /// The token before it: the wording of Olsson 2022 taken literally.
    Literal,
}

impl Matching {
    /// All of them, in order.
    pub(super) const ALL: [Self; 3] = [Self::Prefix, Self::Duplicate, Self::Literal];

    /// How far after the earlier copy the target lies.
    pub(super) const fn offset(self) -> i64 {
        match self {
            Self::Prefix => 1,
            Self::Duplicate => 0,
            Self::Literal => -1,
        }
    }
}

impl Metric {
    /// All of them, in order.
    pub const ALL: [Self; 12] = {
        use Matching::{Duplicate, Literal, Prefix};
        use Reduce::{Mean, Nearest, Sum};
        [
            Self::Matching(Prefix, Sum),
            Self::Matching(Prefix, Mean),
            Self::Matching(Prefix, Nearest),
            Self::Matching(Duplicate, Sum),
            Self::Matching(Duplicate, Mean),
            Self::Matching(Duplicate, Nearest),
            Self::Matching(Literal, Sum),
            Self::Matching(Literal, Mean),
            Self::Matching(Literal, Nearest),
            Self::PreviousToken,
            Self::FirstToken,
            Self::Entropy,
        ]
    };

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        use Matching::{Duplicate, Literal, Prefix};
        use Reduce::{Mean, Nearest, Sum};
        match self {
            Self::Matching(Prefix, Sum) => "prefix_matching_score",
            Self::Matching(Prefix, Mean) => "prefix_matching_score_mean",
            Self::Matching(Prefix, Nearest) => "prefix_matching_score_nearest",
            Self::Matching(Duplicate, Sum) => "duplicate_token_score",
            Self::Matching(Duplicate, Mean) => "duplicate_token_score_mean",
            Self::Matching(Duplicate, Nearest) => "duplicate_token_score_nearest",
            Self::Matching(Literal, Sum) => "literal_prefix_matching_score",
            Self::Matching(Literal, Mean) => "literal_prefix_matching_score_mean",
            Self::Matching(Literal, Nearest) => "literal_prefix_matching_score_nearest",
            Self::PreviousToken => "previous_token_score",
            Self::FirstToken => "first_token_score",
            Self::Entropy => "attention_entropy",
        }
    }

    /// Which of the sums it is the mean of: `Sum` and `Mean` divide the same sum, by queries and by entries.
    pub(super) const fn sum(self) -> usize {
        match self {
            Self::Matching(matching, Reduce::Sum | Reduce::Mean) => matching as usize,
            Self::Matching(matching, Reduce::Nearest) => NEAREST + matching as usize,
            Self::PreviousToken => PREVIOUS,
            Self::FirstToken => FIRST,
            Self::Entropy => ENTROPY,
        }
    }
}

/// How many there are.
pub(super) const METRICS: usize = Metric::ALL.len();

// Where the sums over queries stand: attention on all targets of each matching, on their nearest ones, and the others.
pub(super) const NEAREST: usize = Matching::ALL.len();
pub(super) const PREVIOUS: usize = 2 * Matching::ALL.len();
pub(super) const FIRST: usize = PREVIOUS + 1;
pub(super) const ENTROPY: usize = FIRST + 1;
/// How many sums there are.
pub(super) const SUMS: usize = ENTROPY + 1;
