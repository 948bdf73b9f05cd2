//! Detection: a signal cut into segments, by cost, search and penalty.

use ndarray::{Array2, ArrayView2};

use super::cost::{L2, Linear, NeverRaisedBySplitting};
use super::penalty::{Penalty, noise_variance};
use super::search::{Grid, continuous_fixed, continuous_penalised, optimal_fixed, optimal_penalised, pelt};
use crate::{Cancel, Error, Result};

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
    fn parameters(self, features: usize) -> usize {
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

    /// The search that is meant, where it is exact for the cost.
    fn resolve(self, cost: CostName, fixed: bool) -> Result<Self> {
        let refuse = |what: &str, next: &str| Err(Error::Unsupported { what: what.into(), next: next.into() });
        match (self, cost, fixed) {
            (Self::Auto | Self::Functional, CostName::ContinuousLinear, _) => Ok(Self::Functional),
            (_, CostName::ContinuousLinear, _) => refuse(
                "cost \"clinear\" ties neighbouring segments together, which this search does not see",
                "pass search=\"functional\" or \"auto\"",
            ),
            (Self::Functional, _, _) => {
                refuse("search \"functional\" is for cost \"clinear\"", "pass search=\"pelt\" or \"auto\"")
            }
            (Self::Pelt, _, true) => refuse(
                "search \"pelt\" prunes by a penalty, which a given number of changepoints does not have",
                "pass search=\"optimal\" or \"auto\"",
            ),
            (Self::Auto, _, true) | (Self::Optimal, _, _) => Ok(Self::Optimal),
            (Self::Auto | Self::Pelt, _, false) => Ok(Self::Pelt),
        }
    }
}

fn lookup<T: Copy>(argument: &'static str, name: &str, known: &[(&'static str, T)]) -> Result<T> {
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

/// What is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// First sample of every segment but the first.
    pub changepoints: Vec<usize>,
    /// Cost of every segment, in squared units of the signal.
    pub costs: Vec<f64>,
    /// Price of a changepoint, where their number was not given.
    pub penalty: Option<f64>,
    /// Noise variance the penalty was made from, where it was.
    pub noise_variance: Option<f64>,
    /// The search that ran.
    pub search: SearchName,
}

/// The cheapest segmentation of `signal` (sample, feature) on the axis `x`.
pub fn detect(x: &[f64], signal: ArrayView2<'_, f64>, request: Request, cancel: &Cancel) -> Result<Segmentation> {
    check(x, &signal, request)?;
    let search = request.search.resolve(request.cost, request.n_changepoints.is_some())?;
    if request.cost == CostName::ContinuousLinear && signal.ncols() != 1 {
        return Err(Error::Unsupported {
            what: format!("cost \"clinear\" is defined for one feature, signal has {}", signal.ncols()),
            next: "pass one feature at a time, or cost=\"linear\"".into(),
        });
    }
    let Centred { signal, unit, resolution } = Centred::new(signal);
    let x = unit_axis(x);
    let lines = request.cost != CostName::L2;
    let (penalty, variance) = match request.penalty {
        Penalty::Value(value) => (value / unit / unit, None),
        criterion => {
            let variance = noise_variance(&x, signal.view(), lines).max(resolution * resolution);
            let parameters = request.cost.parameters(signal.ncols());
            (criterion.criterion(parameters, signal.nrows(), variance).unwrap_or(0.0), Some(variance))
        }
    };
    let run = Run { x: &x, signal: signal.view(), request, search, penalty };
    let (changepoints, costs) = match request.cost {
        CostName::L2 => run.separate(&L2::new(signal.view()), cancel)?,
        CostName::Linear => run.separate(&Linear::new(&x, signal.view()), cancel)?,
        CostName::ContinuousLinear => run.continuous(cancel)?,
    };
    let fixed = request.n_changepoints.is_some();
    Ok(Segmentation {
        changepoints,
        costs: costs.into_iter().map(|cost| cost * unit * unit).collect(),
        penalty: (!fixed).then_some(match request.penalty {
            Penalty::Value(value) => value,
            _ => penalty * unit * unit,
        }),
        noise_variance: variance.filter(|_| !fixed).map(|variance| variance * unit * unit),
        search,
    })
}

struct Run<'a> {
    x: &'a [f64],
    signal: ArrayView2<'a, f64>,
    request: Request,
    search: SearchName,
    penalty: f64,
}

impl Run<'_> {
    fn grid(&self) -> Grid {
        Grid { n_samples: self.signal.nrows(), min_size: self.request.min_size, jump: self.request.jump }
    }

    /// For costs whose segments do not know of each other.
    fn separate(&self, cost: &impl NeverRaisedBySplitting, cancel: &Cancel) -> Result<(Vec<usize>, Vec<f64>)> {
        let changepoints = match (self.request.n_changepoints, self.search) {
            (Some(count), _) => self.enough(optimal_fixed(cost, self.grid(), count, cancel)?)?,
            (None, SearchName::Pelt) => pelt(cost, self.grid(), self.penalty, cancel)?,
            (None, _) => optimal_penalised(cost, self.grid(), self.penalty, cancel)?,
        };
        let bounds = self.bounds(&changepoints);
        let costs = bounds.windows(2).map(|bound| cost.of(bound[0], bound[1])).collect();
        Ok((changepoints, costs))
    }

    fn continuous(&self, cancel: &Cancel) -> Result<(Vec<usize>, Vec<f64>)> {
        let y: Vec<f64> = self.signal.column(0).to_vec();
        let changepoints = match self.request.n_changepoints {
            Some(count) => self.enough(continuous_fixed(self.x, &y, self.grid(), count, cancel)?)?,
            None => continuous_penalised(self.x, &y, self.grid(), self.penalty, cancel)?,
        };
        let fitted = super::knots::fit(self.x, &y, &changepoints);
        let squares: Vec<f64> = y.iter().zip(&fitted).map(|(y, fit)| (y - fit) * (y - fit)).collect();
        let costs =
            self.bounds(&changepoints).windows(2).map(|bound| squares[bound[0]..bound[1]].iter().sum()).collect();
        Ok((changepoints, costs))
    }

    fn bounds(&self, changepoints: &[usize]) -> Vec<usize> {
        std::iter::once(0).chain(changepoints.iter().copied()).chain([self.signal.nrows()]).collect()
    }

    fn enough(&self, found: Option<Vec<usize>>) -> Result<Vec<usize>> {
        found.ok_or_else(|| Error::OutOfRange {
            argument: "n_changepoints",
            expected: format!(
                "few enough for segments of {} samples between multiples of {} in {} samples",
                self.request.min_size,
                self.request.jump,
                self.signal.nrows()
            ),
            got: self.request.n_changepoints.unwrap_or(0).to_string(),
        })
    }
}

fn check(x: &[f64], signal: &ArrayView2<'_, f64>, request: Request) -> Result<()> {
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
    for (argument, value) in [("min_size", request.min_size), ("jump", request.jump)] {
        if value == 0 {
            return Err(Error::OutOfRange { argument, expected: "at least 1".into(), got: "0".into() });
        }
    }
    if request.min_size > n_samples {
        return Err(Error::OutOfRange {
            argument: "min_size",
            expected: format!("at most the {n_samples} samples of the signal"),
            got: request.min_size.to_string(),
        });
    }
    if let Penalty::Value(value) = request.penalty
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

/// The signal with each feature moved near 0, over a power of two near its largest value: no digit is lost, and neither
/// an offset nor the unit of the signal matters.
struct Centred {
    signal: Array2<f64>,
    /// What the values were divided by.
    unit: f64,
    /// Half a unit in the last place of the largest sample as it came, in the new unit: nothing is known better.
    resolution: f64,
}

impl Centred {
    fn new(signal: ArrayView2<'_, f64>) -> Self {
        let largest = |signal: &Array2<f64>| signal.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let mut signal = signal.to_owned();
        let first = power_of_two(largest(&signal));
        signal.mapv_inplace(|value| value / first);
        let before = largest(&signal);
        for mut column in signal.columns_mut() {
            // The first sample goes before the mean, so that a constant becomes exactly 0.
            let origin = column[0];
            column.mapv_inplace(|value| value - origin);
            let mean = column.sum() / column.len() as f64;
            column.mapv_inplace(|value| value - mean);
        }
        let second = power_of_two(largest(&signal));
        signal.mapv_inplace(|value| value / second);
        Self { signal, unit: first * second, resolution: 0.5 * f64::EPSILON * before / second }
    }
}

/// The largest power of two that is at most `value`, 1 for 0; kept where its inverse is a normal number.
fn power_of_two(value: f64) -> f64 {
    if value > 0.0 { value.log2().floor().clamp(-1000.0, 1000.0).exp2() } else { 1.0 }
}

/// x moved and stretched to [-1, 1], which changes no line and no cost.
fn unit_axis(x: &[f64]) -> Vec<f64> {
    let (Some(&first), Some(&last)) = (x.first(), x.last()) else { return Vec::new() };
    // Halved first: the range of two large numbers of opposite sign may overflow.
    let (centre, half) = (0.5 * first + 0.5 * last, 0.5 * last - 0.5 * first);
    x.iter().map(|value| if half > 0.0 { (value - centre) / half } else { 0.0 }).collect()
}
