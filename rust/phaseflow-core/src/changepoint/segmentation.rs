//! Detection: a signal cut into segments, by cost, search and penalty.

use std::borrow::Cow;
use std::f64::consts::TAU;

use ndarray::ArrayView2;

use super::centred::unit_axis;
use super::cost::{Autoregressive, L1, L2, Lengths, Linear, NeverRaisedBySplitting, Normal, Poisson, Rbf};
use super::dispersion::dispersion;
use super::eights::sum;
use super::names::{CostName, SearchName};
use super::noise::{Lasting, lasting_noise};
use super::penalty::{Penalty, Worth, noise_variance};
use super::prepare::{Prepared, prepare};
use super::request::Request;
use super::search::{
    Envelope, Grid, Shape, Stop, binary_segmentation, bottom_up, clipped_cost, continuous_fixed, continuous_penalised,
    functional, optimal_fixed, optimal_penalised, pelt, robust, seeded, shaped, window,
};
use crate::{Cancel, Error, Result};

/// The biweight loss stops growing at so many standard deviations of the noise (Fearnhead and Rigaill 2019).
const CLIP: f64 = 3.0;
/// Part of what a clear step in the middle gains that penalty "auto" may ask for, cost "biweight".
const MOST_CLIPPED: f64 = 0.9;
/// Part of the noise variance that a segment's own variance is raised by.
const FLOOR: f64 = 1e-6;

/// What the variance of a segment is raised by, given that of the noise.
pub(crate) fn floor(noise: f64) -> f64 {
    (FLOOR * noise).max(f64::MIN_POSITIVE)
}

/// Where the biweight loss stops growing, given the variance of the noise.
pub(crate) fn clip(noise: f64) -> f64 {
    CLIP * noise.sqrt()
}

/// What is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// First sample of every segment but the first.
    pub changepoints: Vec<usize>,
    /// Cost of every segment, in the unit of the cost.
    pub costs: Vec<f64>,
    /// Price of a changepoint, where their number was not given.
    pub penalty: Option<f64>,
    /// Noise variance the penalty was made from, where it was: the long-run variance for [`Penalty::Auto`].
    pub noise_variance: Option<f64>,
    /// Coefficient of the noise from one sample to the next, where the penalty was made from it.
    pub autocorrelation: Option<f64>,
    /// The search that ran.
    pub search: SearchName,
}

/// The cheapest segmentation of `signal` (sample, feature) on the axis `x`.
pub fn detect(x: &[f64], signal: ArrayView2<'_, f64>, request: Request, cancel: &Cancel) -> Result<Segmentation> {
    let features = signal.ncols();
    let request = request.raised(features, signal.nrows());
    request.check(x, &signal)?;
    let search = request.resolve(features)?;
    let Prepared { signal, unit } = prepare(request.cost, signal)?;
    cancel.check()?;
    let lines = matches!(request.cost, CostName::Linear | CostName::ContinuousLinear);
    // No other cost looks at it.
    let x = if lines { unit_axis(x) } else { Vec::new() };
    let fixed = request.n_changepoints.is_some();
    let dimension = request.cost.dimension();
    // A given penalty or number asks for no noise; sorting it out would take as long as the fastest search.
    let given = fixed || matches!(request.penalty, Penalty::Value(_));
    let noise = if given && !matches!(request.cost, CostName::Normal | CostName::Variance | CostName::Biweight) {
        0.0
    } else {
        noise_variance(&x, signal.view(), lines).max(unit.resolution * unit.resolution)
    };
    cancel.check()?;
    let kernel = (request.cost == CostName::Rbf).then(|| Rbf::new(signal.view()));
    let mut predicted =
        (request.cost == CostName::Autoregressive).then(|| Autoregressive::new(signal.view(), request.order));
    // Predictions leave what is new in each sample, which does not last.
    let lasting = (request.penalty == Penalty::Auto && !fixed && predicted.is_none())
        .then(|| lasting_noise(&x, signal.view(), lines));
    cancel.check()?;
    let charged = match (&predicted, lasting) {
        (Some(cost), _) => cost.innovation_variance().max(unit.resolution * unit.resolution),
        (None, Some(Lasting { long_run, .. })) => long_run.max(noise),
        (None, None) => noise,
    };
    let inflation = lasting.map_or(1.0, |lasting| lasting.inflation);
    let (freedom, bound) = lasting.map_or((f64::INFINITY, false), |lasting| (lasting.freedom, lasting.bound));
    // What a criterion charges a parameter in: twice the log-likelihood is 1 a unit of this.
    let worth = match request.cost {
        // A median's gain is `(the long-run variance of signs) / (4 density at the median)` times chi-squared, here in normal
        // noise: independent, 1.8 times as much as in Laplace noise, whose likelihood the cost is; charged so, changes would
        // be found in a quarter of normal signals without. A deviation is known as from four times the degrees of freedom.
        CostName::L1 if lasting.is_some() => {
            let signs = lasting.map_or(1.0, Lasting::inflation_of_signs);
            Worth { unit: 0.25 * (TAU * charged / inflation).sqrt() * signs, freedom: 4.0 * freedom, bound }
        }
        CostName::L1 => Worth::known(0.5 * (0.5 * charged).sqrt()), // half the scale of Laplace noise of that variance
        CostName::Normal | CostName::Variance | CostName::Rank => Worth::known(inflation),
        CostName::Poisson if lasting.is_some() => Worth::known(inflation * dispersion(signal.view())),
        CostName::Poisson => Worth::known(1.0),
        CostName::Rbf => Worth::known(inflation * kernel.as_ref().map_or(1.0, Rbf::noise_variance)),
        _ => Worth { unit: charged, freedom, bound },
    };
    let clip = clip(noise);
    let mut penalty = request.price(features, signal.nrows(), unit.size, || worth);
    if request.cost == CostName::Biweight && request.penalty == Penalty::Auto {
        // However large a step, its clipped squares gain no more than those of half of the samples.
        penalty = penalty.min(MOST_CLIPPED * clip * clip * (signal.nrows() / 2) as f64);
    }
    let charge = request.charge_for_length(features, worth.unit);
    let run = Run { x: &x, signal: signal.view(), request, search, penalty, charge, clip };
    let (changepoints, costs) = match (request.cost, kernel, &mut predicted) {
        (_, Some(mut kernel), _) => run.separate(&mut kernel, cancel)?,
        (_, _, Some(cost)) => run.separate(cost, cancel)?,
        (CostName::L1, ..) => run.separate(&mut L1::new(signal.view(), cancel)?, cancel)?,
        (CostName::Normal | CostName::Variance, ..) => {
            let one_mean = request.cost == CostName::Variance;
            run.separate(&mut Normal::new(signal.view(), floor(noise), one_mean), cancel)?
        }
        (CostName::Poisson, ..) => run.separate(&mut Poisson::new(signal.view()), cancel)?,
        (CostName::Linear, ..) => run.separate(&mut Linear::new(&x, signal.view()), cancel)?,
        (CostName::ContinuousLinear, ..) => run.continuous(cancel)?,
        (CostName::Biweight, ..) => run.clipped(cancel)?,
        (CostName::L2 | CostName::Rank | CostName::Cosine, ..) if search == SearchName::Functional => {
            run.levels(cancel)?
        }
        (CostName::L2 | CostName::Rank | CostName::Cosine | CostName::Rbf | CostName::Autoregressive, ..) => {
            run.separate(&mut L2::new(signal.view()), cancel)?
        }
    };
    let in_unit = |value: f64, dimension: i32| (0..dimension).fold(value, |value, _| value * unit.size);
    // The log-likelihood of a segment moves by the log of the unit for each of its numbers.
    let of_numbers = matches!(request.cost, CostName::Normal | CostName::Variance);
    let per_sample = if of_numbers { 2.0 * features as f64 * unit.size.ln() } else { 0.0 };
    let bounds = run.bounds(&changepoints);
    let costs = bounds
        .windows(2)
        .zip(costs)
        .map(|(bound, cost)| in_unit(cost, dimension) + per_sample * (bound[1] - bound[0]) as f64);
    Ok(Segmentation {
        costs: costs.collect(),
        penalty: (!fixed).then_some(match request.penalty {
            Penalty::Value(value) => value,
            _ => in_unit(penalty, dimension),
        }),
        noise_variance: (!fixed && dimension > 0 && !matches!(request.penalty, Penalty::Value(_)))
            .then(|| in_unit(charged, 2)),
        autocorrelation: lasting.and_then(|lasting| lasting.autocorrelation),
        changepoints,
        search,
    })
}

struct Run<'a> {
    x: &'a [f64],
    signal: ArrayView2<'a, f64>,
    request: Request,
    search: SearchName,
    penalty: f64,
    charge: f64,
    clip: f64,
}

impl Run<'_> {
    fn grid(&self) -> Grid {
        Grid { n_samples: self.signal.nrows(), min_size: self.request.min_size, jump: self.request.jump }
    }

    /// The only feature, as it lies in memory where that is in order.
    fn feature(&self) -> Cow<'_, [f64]> {
        match self.signal.as_slice() {
            Some(y) if self.signal.ncols() == 1 => Cow::Borrowed(y),
            _ => Cow::Owned(self.signal.column(0).to_vec()),
        }
    }

    /// For costs whose segments do not know of each other.
    fn separate(&self, cost: &mut impl NeverRaisedBySplitting, cancel: &Cancel) -> Result<(Vec<usize>, Vec<f64>)> {
        let grid = self.grid();
        let stop = self.request.n_changepoints.map_or(Stop::Penalty(self.penalty), Stop::Count);
        let cost = &mut Lengths { cost, charge: self.charge };
        let changepoints = match (self.search, self.request.n_changepoints) {
            (SearchName::BinarySegmentation, _) => self.counted(binary_segmentation(cost, grid, stop, cancel)?)?,
            (SearchName::BottomUp, _) => self.counted(bottom_up(cost, grid, stop, cancel)?)?,
            (SearchName::Seeded, _) => self.counted(seeded(cost, grid, stop, cancel)?)?,
            (SearchName::Window, _) => self.counted(window(cost, grid, self.request.width, stop, cancel)?)?,
            (_, Some(count)) => self.enough(optimal_fixed(cost, grid, count, cancel)?)?,
            (SearchName::Pelt, _) if self.request.cost.sees_samples_alone() && self.charge == 0.0 => {
                pelt(cost, grid, grid.ends_near_changes(self.signal), self.penalty, cancel)?
            }
            (SearchName::Pelt, _) => pelt(cost, grid, grid.ends(), self.penalty, cancel)?,
            _ => optimal_penalised(cost, grid, self.penalty, cancel)?,
        };
        let bounds = self.bounds(&changepoints);
        let costs = bounds.windows(2).map(|bound| cost.cost.of(bound[0], bound[1])).collect();
        Ok((changepoints, costs))
    }

    /// For levels of one feature by functional pruning, which needs no sums over all segments.
    fn levels(&self, cancel: &Cancel) -> Result<(Vec<usize>, Vec<f64>)> {
        let y = self.feature();
        let changepoints = match self.request.shape {
            Shape::Any => functional(&y, self.penalty, &mut Envelope::default(), cancel)?,
            shape => shaped(&y, self.penalty, shape, cancel)?,
        };
        let cost = |part: &[f64]| {
            // About its first sample, so that a constant costs exactly 0; the rest corrects the rounded mean.
            let count = part.len() as f64;
            let mean = sum(part, |y| y - part[0]) / count;
            let rest = sum(part, |y| (y - part[0]) - mean);
            let squares = sum(part, |y| ((y - part[0]) - mean).powi(2));
            (squares - rest * rest / count).max(0.0)
        };
        let costs = self.bounds(&changepoints).windows(2).map(|bound| cost(&y[bound[0]..bound[1]])).collect();
        Ok((changepoints, costs))
    }

    /// For the biweight loss.
    fn clipped(&self, cancel: &Cancel) -> Result<(Vec<usize>, Vec<f64>)> {
        let y = self.feature();
        let changepoints = robust(&y, self.penalty, self.clip, cancel)?;
        let bounds = self.bounds(&changepoints);
        let costs = bounds.windows(2).map(|bound| clipped_cost(&y[bound[0]..bound[1]], self.clip)).collect();
        Ok((changepoints, costs))
    }

    fn continuous(&self, cancel: &Cancel) -> Result<(Vec<usize>, Vec<f64>)> {
        let y = self.feature();
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

    /// What an approximate search found, where it is as many as were asked for.
    fn counted(&self, found: Vec<usize>) -> Result<Vec<usize>> {
        match self.request.n_changepoints {
            Some(count) if count != found.len() => Err(Error::OutOfRange {
                argument: "n_changepoints",
                expected: format!("at most the {} that search \"{}\" finds", found.len(), self.search.name()),
                got: count.to_string(),
            }),
            _ => Ok(found),
        }
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
