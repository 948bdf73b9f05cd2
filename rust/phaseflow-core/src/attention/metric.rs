//! The names of the scores, in the order of every array of them.

/// A score read off the pattern of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Attention to what followed the current token before.
    PrefixMatching,
    /// Attention to earlier copies of the current token.
    DuplicateToken,
    /// Attention to the token before.
    PreviousToken,
    /// Attention to the first token.
    FirstToken,
    /// Entropy of the attention, nats.
    Entropy,
}

impl Metric {
    /// All of them, in order.
    pub const ALL: [Self; 5] =
        [Self::PrefixMatching, Self::DuplicateToken, Self::PreviousToken, Self::FirstToken, Self::Entropy];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrefixMatching => "prefix_matching_score",
            Self::DuplicateToken => "duplicate_token_score",
            Self::PreviousToken => "previous_token_score",
            Self::FirstToken => "first_token_score",
            Self::Entropy => "attention_entropy",
        }
    }
}

/// How many there are.
pub(super) const METRICS: usize = Metric::ALL.len();
