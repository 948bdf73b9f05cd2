//! Detection: a signal cut into segments, by cost, search and penalty.

use ndarray::ArrayView2;

use super::centred::{Unit, centre, unit_axis};
use super::cost::{L2, Linear, NeverRaisedBySplitting};
use super::penalty::{Penalty, noise_variance};
use super::request::{CostName, Request, SearchName};
use super::search::{
    Envelope, Grid, continuous_fixed, continuous_penalised, functional, optimal_fixed, optimal_penalised, pelt,
};
use crate::{Cancel, Error, Result};

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
    request.check(x, &signal)?;
    let search = request.resolve(signal.ncols())?;
    let mut signal = signal.to_owned();
    let Unit { size: unit, resolution } = centre(signal.view_mut());
    let x = unit_axis(x);
    let lines = request.cost != CostName::L2;
    let (penalty, variance) = request.price(signal.ncols(), signal.nrows(), unit, || {
        noise_variance(&x, signal.view(), lines).max(resolution * resolution)
    });
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
            (None, SearchName::Functional) => {
                let y: Vec<f64> = self.signal.column(0).to_vec();
                functional(&y, self.penalty, &mut Envelope::default(), cancel)?
            }
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
