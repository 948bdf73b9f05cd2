//! What may be asked for: cost, search and penalty by name, and which of them go together.

use ndarray::ArrayView2;

use super::penalty::Penalty;
use crate::{Error, Result};

/// What a segment costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostName {
    /// Squared distance from the segment's mean.
    L2,
    /// Squared distance from the segment's own line in x.
    Linear,
    /// Squared distance from a continuous curve of lines in x.
    ContinuousLinear,
}

/// How the cheapest segmentation is sought; all are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchName {
    /// The fastest exact one for the cost.
    Auto,
    /// All pairs of changepoints.
    Optimal,
    /// All pairs, with starts dropped that cannot win.
    Pelt,
    /// Costs as functions of the last value, dropped where they are nowhere the lowest.
    Functional,
}

impl CostName {
    const NAMED: [(&'static str, Self); 3] =
        [("l2", Self::L2), ("linear", Self::Linear), ("clinear", Self::ContinuousLinear)];

    /// The cost named `"l2"`, `"linear"` or `"clinear"`.
    pub fn from_name(name: &str) -> Result<Self> {
        lookup("cost", name, &Self::NAMED)
    }

    /// Parameters that one changepoint adds: its place and, for every feature, a level, a slope, or both.
    pub(crate) fn parameters(self, features: usize) -> usize {
        match self {
            Self::L2 | Self::ContinuousLinear => 1 + features,
            Self::Linear => 1 + 2 * features,
        }
    }
}

impl SearchName {
    const NAMED: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("optimal", Self::Optimal), ("pelt", Self::Pelt), ("functional", Self::Functional)];

    /// The search named `"auto"`, `"optimal"`, `"pelt"` or `"functional"`.
    pub fn from_name(name: &str) -> Result<Self> {
        lookup("search", name, &Self::NAMED)
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

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// What a segment costs.
    pub cost: CostName,
    /// How to search.
    pub search: SearchName,
    /// What a changepoint must be worth, where their number is not given.
    pub penalty: Penalty,
    /// How many changepoints, where that is known.
    pub n_changepoints: Option<usize>,
    /// Least samples of a segment.
    pub min_size: usize,
    /// Changepoints are multiples of this.
    pub jump: usize,
}

impl Request {
    /// The search that is meant, where it is exact for the cost.
    pub(crate) fn resolve(self, features: usize) -> Result<SearchName> {
        let refuse = |what: &str, next: &str| Err(Error::Unsupported { what: what.into(), next: next.into() });
        if self.cost == CostName::ContinuousLinear && features != 1 {
            return refuse(
                &format!("cost \"clinear\" is defined for one feature, signal has {features}"),
                "pass one feature at a time, or cost=\"linear\"",
            );
        }
        let levels = self.cost == CostName::L2 && features == 1 && self.min_size == 1 && self.jump == 1;
        match (self.search, self.cost, self.n_changepoints.is_some()) {
            (SearchName::Auto | SearchName::Functional, CostName::ContinuousLinear, _) => Ok(SearchName::Functional),
            (_, CostName::ContinuousLinear, _) => refuse(
                "cost \"clinear\" ties neighbouring segments together, which this search does not see",
                "pass search=\"functional\" or \"auto\"",
            ),
            (SearchName::Auto, _, true) | (SearchName::Optimal, _, _) => Ok(SearchName::Optimal),
            (SearchName::Pelt | SearchName::Functional, _, true) => refuse(
                "this search prunes by a penalty, which a given number of changepoints does not have",
                "pass search=\"optimal\" or \"auto\"",
            ),
            (SearchName::Auto | SearchName::Functional, _, false) if levels => Ok(SearchName::Functional),
            (SearchName::Functional, _, false) => refuse(
                "search \"functional\" is exact for cost \"clinear\", and for cost \"l2\" of one feature with \
                 min_size=1 and jump=1",
                "pass search=\"pelt\" or \"auto\"",
            ),
            (SearchName::Auto | SearchName::Pelt, _, false) => Ok(SearchName::Pelt),
        }
    }

    /// The penalty in squared units of a signal that was divided by `unit`, and the noise variance it was made from.
    pub(crate) fn price(
        self,
        features: usize,
        n_samples: usize,
        unit: f64,
        variance: impl FnOnce() -> f64,
    ) -> (f64, Option<f64>) {
        match self.penalty {
            Penalty::Value(value) => (value / unit / unit, None),
            criterion => {
                let variance = variance();
                let price = criterion.criterion(self.cost.parameters(features), n_samples, variance);
                (price.unwrap_or(0.0), Some(variance))
            }
        }
    }

    /// Whether the signal (sample, feature), its axis and the parameters make sense.
    pub(crate) fn check(self, x: &[f64], signal: &ArrayView2<'_, f64>) -> Result<()> {
        let n_samples = signal.nrows();
        if n_samples == 0 || signal.ncols() == 0 {
            let axis = if n_samples == 0 { "sample" } else { "feature" };
            return Err(Error::TooShort { argument: "signal", axis, least: 1, got: 0 });
        }
        if x.len() != n_samples {
            return Err(Error::ShapeMismatch { argument: "x", axis: "sample", expected: n_samples, got: x.len() });
        }
        if let Some((index, &value)) = x.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { argument: "x", index: index.to_string(), value });
        }
        if let Some(index) = (1..n_samples).find(|&index| x[index] <= x[index - 1]) {
            return Err(Error::OutOfRange {
                argument: "x",
                expected: "strictly increasing".into(),
                got: format!("{} then {} at index {index}", x[index - 1], x[index]),
            });
        }
        if let Some(((sample, feature), &value)) = signal.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { argument: "signal", index: format!("{sample}, {feature}"), value });
        }
        self.check_parameters()?;
        if self.min_size > n_samples {
            return Err(Error::OutOfRange {
                argument: "min_size",
                expected: format!("at most the {n_samples} samples of the signal"),
                got: self.min_size.to_string(),
            });
        }
        Ok(())
    }

    /// Whether the parameters make sense for any signal.
    pub(crate) fn check_parameters(self) -> Result<()> {
        for (argument, value) in [("min_size", self.min_size), ("jump", self.jump)] {
            if value == 0 {
                return Err(Error::OutOfRange { argument, expected: "at least 1".into(), got: "0".into() });
            }
        }
        if let Penalty::Value(value) = self.penalty
            && !(value.is_finite() && value >= 0.0)
        {
            return Err(Error::OutOfRange {
                argument: "penalty",
                expected: "finite, 0 or above".into(),
                got: value.to_string(),
            });
        }
        Ok(())
    }
}
