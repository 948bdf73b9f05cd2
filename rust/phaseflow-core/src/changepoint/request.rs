//! What is asked for, and which cost, search and penalty go together.

use ndarray::ArrayView2;

use super::names::{CostName, SearchName};
use super::penalty::{Penalty, Worth};
use super::search::Shape;
use crate::{Error, Result};

/// Most samples that cost "ar" may predict from: its sums take the square of that for every sample.
const MOST_ORDER: usize = 32;

/// Most samples for costs that take quadratic time where little changes, whatever the search.
const MOST_QUADRATIC: usize = 200_000;

/// Nanoseconds: what is not worth a thread that can be interrupted, and what a segment's price and a parabola cost.
const SHORT: usize = 500_000_000;
const PRICE: usize = 100;
const PARABOLA: usize = 4;

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
    /// Samples that the window search looks at.
    pub width: Option<usize>,
    /// Which way levels may change.
    pub shape: Shape,
    /// Samples that cost "ar" predicts each sample from.
    pub order: usize,
}

impl Request {
    /// The search that is meant, where it is what it says for the cost.
    pub(crate) fn resolve(self, features: usize) -> Result<SearchName> {
        let refuse = |what: String, next: &str| Err(Error::Unsupported { what, next: next.into() });
        let cost = self.cost.name();
        let fixed = self.n_changepoints.is_some();
        let whole = matches!(self.cost, CostName::ContinuousLinear | CostName::Biweight);
        if whole && features != 1 {
            return refuse(
                format!("cost \"{cost}\" is defined for one feature, signal has {features}"),
                "pass one feature at a time, or another cost",
            );
        }
        if self.cost == CostName::Biweight && (fixed || self.min_size > 1 || self.jump > 1) {
            return refuse(
                "cost \"biweight\" is searched by functional pruning, which needs a penalty, min_size=1 and jump=1"
                    .into(),
                "leave those out, or pass cost=\"l1\"",
            );
        }
        let lengths = self.penalty == Penalty::Mbic && !fixed;
        if whole && lengths {
            return refuse(
                format!(
                    "penalty \"mbic\" charges for the length of each segment, which cost \"{cost}\" does not split into"
                ),
                "pass penalty=\"auto\" or \"bic\", or another cost",
            );
        }
        let levels = !lengths
            && matches!(self.cost, CostName::L2 | CostName::Rank | CostName::Cosine)
            && features == 1
            && self.min_size == 1
            && self.jump == 1;
        if self.shape != Shape::Any {
            let possible = levels
                && self.cost == CostName::L2
                && !fixed
                && matches!(self.search, SearchName::Auto | SearchName::Functional);
            return if possible {
                Ok(SearchName::Functional)
            } else {
                refuse(
                    "a shape is for cost \"l2\" of one feature with a penalty, min_size=1, jump=1 and search=\"functional\""
                        .into(),
                    "leave the others out, or the shape",
                )
            };
        }
        match self.search {
            SearchName::Auto | SearchName::Functional if whole => Ok(SearchName::Functional),
            _ if whole => refuse(
                format!("cost \"{cost}\" does not split into segments for this search"),
                "pass search=\"functional\" or \"auto\"",
            ),
            search if search.greedy() && self.cost == CostName::Rbf => refuse(
                "cost \"rbf\" of single segments takes quadratic time, which this search asks for again and again"
                    .into(),
                "pass search=\"auto\", which is exact",
            ),
            search if search.greedy() => Ok(search),
            SearchName::Auto if fixed => Ok(SearchName::Optimal),
            SearchName::Optimal => Ok(SearchName::Optimal),
            SearchName::Pelt | SearchName::Functional if fixed => refuse(
                "this search prunes by a penalty, which a given number of changepoints does not have".into(),
                "pass search=\"optimal\" or \"auto\"",
            ),
            SearchName::Auto | SearchName::Functional if levels => Ok(SearchName::Functional),
            SearchName::Functional => refuse(
                "search \"functional\" is for the costs \"clinear\" and \"biweight\", and for \"l2\", \"rank\" and \
                 \"cosine\" of one feature with min_size=1 and jump=1, without a penalty on lengths (\"mbic\")"
                    .into(),
                "pass search=\"pelt\" or \"auto\"",
            ),
            _ => Ok(SearchName::Pelt),
        }
    }

    /// The request with `min_size` at what the cost and penalty "auto" need, where the signal is long enough for that.
    pub(crate) fn raised(self, features: usize, n_samples: usize) -> Self {
        let auto = self.penalty == Penalty::Auto && self.n_changepoints.is_none();
        let believed = if auto { self.cost.least_believed(features) } else { 1 };
        let least = self.cost.least_size(features, self.order).max(believed).min(n_samples);
        Self { min_size: if self.min_size > 0 { self.min_size.max(least) } else { 0 }, ..self }
    }

    /// The least samples of a segment, of a signal that is long enough for several.
    pub fn least_segment(self, features: usize) -> usize {
        self.raised(features, usize::MAX).min_size
    }

    /// Whether the search takes a fraction of a second whatever the signal, so that nobody would want to interrupt it.
    pub fn is_short(self, features: usize, n_samples: usize) -> bool {
        if self.cost == CostName::ContinuousLinear {
            return false; // The pieces of its functions are not bounded by the segments.
        }
        // At worst all segments are priced, once for every changepoint where their number is given, and each price is a
        // small linear system. Functional pruning at worst looks at a parabola for each of them.
        let any = self.shape == Shape::Any && self.cost != CostName::Biweight;
        let parabolas = any && matches!(self.resolve(features), Ok(SearchName::Functional));
        let rounds = self.n_changepoints.unwrap_or(0).saturating_add(1);
        let unknowns = features.saturating_add(if self.cost == CostName::Autoregressive { self.order } else { 0 });
        let each = if parabolas { PARABOLA } else { PRICE.saturating_mul(unknowns.saturating_pow(3)) };
        n_samples.saturating_pow(2).saturating_mul(rounds).saturating_mul(each) <= SHORT
    }

    /// The price of a changepoint for a signal that was divided by `unit`. A criterion charges for parameters in what
    /// `worth` says.
    pub(crate) fn price(self, features: usize, n_samples: usize, unit: f64, worth: impl FnOnce() -> Worth) -> f64 {
        match self.penalty {
            // Once for every power of the unit: the power itself may overflow.
            Penalty::Value(value) => (0..self.cost.dimension()).fold(value, |value, _| value / unit),
            criterion => {
                // What predictions leave is what BIC is made for.
                let predicted = self.cost == CostName::Autoregressive && criterion == Penalty::Auto;
                let criterion = if predicted { Penalty::Bic } else { criterion };
                let parameters = self.cost.parameters(features, self.order);
                criterion.criterion(parameters, n_samples, worth()).unwrap_or(0.0)
            }
        }
    }

    /// What a segment is charged for the log of its length.
    pub(crate) fn charge_for_length(self, features: usize, worth: f64) -> f64 {
        let own = self.cost.parameters(features, self.order) - 1;
        if self.penalty == Penalty::Mbic && self.n_changepoints.is_none() { own as f64 * worth } else { 0.0 }
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
        // Where all is well, which is quick to see, no index is asked for.
        let ends_finite = x[0].is_finite() && x[n_samples - 1].is_finite();
        let increasing = ends_finite && x.windows(2).fold(true, |so_far, pair| so_far & (pair[0] < pair[1]));
        if !increasing && let Some((index, &value)) = x.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { argument: "x", index: index.to_string(), value });
        }
        if !increasing && let Some(index) = (1..n_samples).find(|&index| x[index] <= x[index - 1]) {
            return Err(Error::OutOfRange {
                argument: "x",
                expected: "strictly increasing".into(),
                got: format!("{} then {} at index {index}", x[index - 1], x[index]),
            });
        }
        if !signal.iter().all(|value| value.is_finite())
            && let Some(((sample, feature), &value)) = signal.indexed_iter().find(|(_, value)| !value.is_finite())
        {
            return Err(Error::NotFinite { argument: "signal", index: format!("{sample}, {feature}"), value });
        }
        self.check_parameters()?;
        if matches!(self.cost, CostName::Rbf | CostName::ContinuousLinear) && n_samples > MOST_QUADRATIC {
            let cost = self.cost.name();
            return Err(Error::Unsupported {
                what: format!(
                    "cost \"{cost}\" takes quadratic time, hours for the {n_samples} samples of signal; it takes {MOST_QUADRATIC} at most"
                ),
                next: "thin the signal out, or pass another cost".into(),
            });
        }
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
        for (argument, value) in [("min_size", self.min_size), ("jump", self.jump), ("width", self.width.unwrap_or(1))]
        {
            if value == 0 {
                return Err(Error::OutOfRange { argument, expected: "at least 1".into(), got: "0".into() });
            }
        }
        if !(1..=MOST_ORDER).contains(&self.order) {
            return Err(Error::OutOfRange {
                argument: "order",
                expected: format!("1 to {MOST_ORDER}"),
                got: self.order.to_string(),
            });
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

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::changepoint::names::{CostName, SearchName};
    use crate::changepoint::penalty::Penalty;
    use crate::changepoint::search::Shape;

    #[test]
    fn what_may_take_long_is_not_short() {
        let request = Request {
            cost: CostName::L2,
            search: SearchName::Auto,
            penalty: Penalty::Value(1.0),
            n_changepoints: None,
            min_size: 1,
            jump: 1,
            width: None,
            shape: Shape::Any,
            order: 1,
        };
        // 4 n^2 nanoseconds by functional pruning, 100 n^2 for prices of segments: half a second.
        assert!(request.is_short(1, 11_000) && !request.is_short(1, 12_000));
        let priced = Request { search: SearchName::Pelt, ..request };
        assert!(priced.is_short(1, 2_200) && !priced.is_short(1, 2_300));
        assert!(priced.is_short(3, 400) && !priced.is_short(3, 500));
        let of_order = |order| Request { cost: CostName::Autoregressive, order, ..request };
        assert!(of_order(1).is_short(1, 700) && !of_order(10).is_short(1, 700));
        let counted = |count| Request { n_changepoints: Some(count), ..request };
        assert!(counted(4).is_short(1, 900) && !counted(9).is_short(1, 900));
        assert!(!Request { cost: CostName::ContinuousLinear, ..request }.is_short(1, 10));
        let shaped = Request { shape: Shape::Down, ..request };
        assert!(shaped.is_short(1, 2_200) && !shaped.is_short(1, 2_300));
        assert!(!request.is_short(usize::MAX, usize::MAX));
    }
}
