//! Costs and searches by name, and what of a cost does not depend on a signal.

use crate::{Error, Result};

/// What a segment costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostName {
    /// Squared distance from the segment's mean.
    L2,
    /// Absolute distance from the segment's median.
    L1,
    /// Squared distance from the segment's level, a multiple of the noise at most.
    Biweight,
    /// Twice the negative log-likelihood of normal samples with the segment's mean and covariance.
    Normal,
    /// The same with one mean for all segments.
    Variance,
    /// Twice the negative log-likelihood of counts with the segment's rate.
    Poisson,
    /// Squared distance from the segment's own line in x.
    Linear,
    /// Squared distance from a continuous curve of lines in x.
    ContinuousLinear,
    /// Squared distance from a linear prediction by the samples before.
    Autoregressive,
    /// l2 of the samples' ranks.
    Rank,
    /// l2 of the samples' directions.
    Cosine,
    /// l2 in the space of the Gaussian kernel.
    Rbf,
}

/// How the cheapest segmentation is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchName {
    /// The fastest exact one for the cost.
    Auto,
    /// All pairs of changepoints; exact.
    Optimal,
    /// All pairs, with starts dropped that cannot win; exact.
    Pelt,
    /// Costs as functions of the last value, dropped where they are nowhere the lowest; exact.
    Functional,
    /// Cut after cut where it gains most.
    BinarySegmentation,
    /// Join after join where it costs least.
    BottomUp,
    /// The cuts of a fixed set of intervals, the narrowest first.
    Seeded,
    /// Where a sliding window is cut at the largest gain.
    Window,
}

impl CostName {
    const NAMED: [(&'static str, Self); 12] = [
        ("l2", Self::L2),
        ("l1", Self::L1),
        ("biweight", Self::Biweight),
        ("normal", Self::Normal),
        ("variance", Self::Variance),
        ("poisson", Self::Poisson),
        ("linear", Self::Linear),
        ("clinear", Self::ContinuousLinear),
        ("ar", Self::Autoregressive),
        ("rank", Self::Rank),
        ("cosine", Self::Cosine),
        ("rbf", Self::Rbf),
    ];

    /// The cost of this name.
    pub fn from_name(name: &str) -> Result<Self> {
        lookup("cost", name, &Self::NAMED)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, cost)| *cost == self).map_or("", |(name, _)| name)
    }

    /// Parameters that one changepoint adds: its place, and what a segment has of its own.
    pub(crate) fn parameters(self, features: usize, order: usize) -> usize {
        match self {
            Self::Autoregressive => 1 + features * (1 + order),
            Self::L2 | Self::L1 | Self::Biweight | Self::Poisson | Self::Rank | Self::Cosine => 1 + features,
            Self::Normal => 1 + features + features * (features + 1) / 2,
            Self::Variance => 1 + features * (features + 1) / 2,
            Self::Linear => 1 + 2 * features,
            Self::ContinuousLinear | Self::Rbf => 2,
        }
    }

    /// The least samples with which a segment's own parameters say anything.
    pub(crate) fn least_size(self, features: usize, order: usize) -> usize {
        match self {
            Self::Normal | Self::Variance => 1 + features,
            Self::Autoregressive => 2 + order,
            _ => 1,
        }
    }

    /// The least samples of a segment that penalty "auto" believes. Of m normal samples of one feature the variance is by
    /// chance so small that they gain BIC's `3 ln(n)` with a probability of the order of `n^(-3 (m - 1) / 2m)`; there are n
    /// places for them, so that with three or fewer the longer the signal the more surely some do. And one sample alone
    /// gains its distance, which has no bound where tails are heavy.
    pub(crate) fn least_believed(self, features: usize) -> usize {
        match self {
            Self::Normal => 4 + features,
            Self::Variance => 2 + features,
            Self::L1 => 2,
            _ => 1,
        }
    }

    /// Whether a segment costs the least sum of losses that each see one sample's value alone, not where it lies.
    pub(crate) fn sees_samples_alone(self) -> bool {
        !matches!(self, Self::Linear | Self::ContinuousLinear | Self::Autoregressive)
    }

    /// The power of the signal's unit in the cost.
    pub(crate) fn dimension(self) -> i32 {
        match self {
            Self::L2 | Self::Biweight | Self::Linear | Self::ContinuousLinear | Self::Autoregressive => 2,
            Self::L1 => 1,
            Self::Normal | Self::Variance | Self::Poisson | Self::Rank | Self::Cosine | Self::Rbf => 0,
        }
    }
}

impl SearchName {
    const NAMED: [(&'static str, Self); 8] = [
        ("auto", Self::Auto),
        ("optimal", Self::Optimal),
        ("pelt", Self::Pelt),
        ("functional", Self::Functional),
        ("binseg", Self::BinarySegmentation),
        ("bottom-up", Self::BottomUp),
        ("seeded", Self::Seeded),
        ("window", Self::Window),
    ];

    /// The search of this name.
    pub fn from_name(name: &str) -> Result<Self> {
        lookup("search", name, &Self::NAMED)
    }

    /// Whether it takes cut after cut, so that its answer need not be the cheapest.
    pub(crate) fn greedy(self) -> bool {
        matches!(self, Self::BinarySegmentation | Self::BottomUp | Self::Seeded | Self::Window)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, search)| *search == self).map_or("", |(name, _)| name)
    }
}

pub(crate) fn lookup<T: Copy>(argument: &'static str, name: &str, known: &[(&'static str, T)]) -> Result<T> {
    known.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| *value).ok_or_else(|| Error::UnknownName {
        argument,
        got: name.into(),
        known: known.iter().map(|(candidate, _)| (*candidate).into()).collect(),
    })
}
