//! Whether there is a change between two neighbours at all: the best cut of a stretch against its best cuts once the
//! samples are shuffled.
//!
//! Without a change, independent samples of one distribution come in any order equally often, so the statistic
//!
//! ```text
//! T = whole - min over k (cost(start, k) + cost(k, end))          normal, variance, poisson: twice a log-likelihood
//! T = N ln(whole / min over k (...))                              the others
//! ```
//!
//! has the same distribution for every order, and the share of orders with as large a T is a p-value for the search over
//! all places in it (Antoch and Hušková 2001), whatever the distribution is. Costs of lines see no line, so what one line
//! leaves is shuffled; of cost "ar", what one prediction leaves, and the samples are built anew from it (Kirch 2007):
//! these two are right for long stretches. The neighbours are taken as given.
//!
//! Where noise may last from sample to sample ([`Penalty::Auto`](super::Penalty)) and shows a coefficient rho, orders are no
//! longer equally likely. Then series are drawn anew (Kirch 2007; a bootstrap of residuals): AR(1) with that coefficient, of
//! innovations `u_i - rho u_(i-1)` in any order, u being what the levels or lines on either side leave. T grows with
//! the long-run variance over the variance, `(1 + rho) / (1 - rho)`, and rho is known badly, so each T is divided by that
//! of the rho which its own series shows: a series is drawn as long as the signal that the coefficient was read
//! off ([`MOST_READ`] samples tell it well enough), and its first samples are the stretch.
//!
//! A T larger than that of every order tried is given the tail of an exponential with the mean excess of the largest
//! tenth, not below [`LEAST`]: "very small", not how small.

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::centred::unit_axis;
use super::cost::{Cost, Rbf};
use super::linear_algebra::{orthonormalise, project_out};
use super::names::CostName;
use super::noise::lasting_noise;
use super::place::{cost_of, lasting_of, noise_of, profile};
use super::prediction::Prediction;
use super::prepare::{Prepared, prepare};
use super::request::Request;
use super::search::clipped_costs;
use super::segmentation::clip;
use crate::random::Random;
use crate::{Cancel, Result};

/// Orders tried.
const ORDERS: usize = 199;
/// The largest part of the orders that the tail is fitted to.
const TAIL: f64 = 0.1;
/// Smallest p-value told: so few orders say no more.
const LEAST: f64 = 1e-6;
/// Least part of a stretch's cost that a cut leaves: less is rounding.
const ROUNDING: f64 = 1e-24;
/// Longest stretch that is shuffled, and the longest for cost "rbf", whose time is quadratic.
const MOST: usize = 20_000;
const MOST_RBF: usize = 1_000;

/// Samples that a coefficient is read off in a drawn series, at most, where the stretch is no longer.
const MOST_READ: usize = 1_000;
/// What is left of a coefficient's first sample once drawn series begin.
const FORGOTTEN: f64 = 1e-3;

/// For each of `changepoints` (increasing) the p-value of a change between its neighbours; NaN where the stretch is
/// longer than is shuffled or too short to be cut.
pub fn existence(
    x: &[f64],
    signal: ArrayView2<'_, f64>,
    changepoints: &[usize],
    request: Request,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let request = request.raised(signal.ncols(), signal.nrows());
    request.check(x, &signal)?;
    let Prepared { signal, unit } = prepare(request.cost, signal)?;
    let x = unit_axis(x);
    let noise = noise_of(request.cost, &x, signal.view(), unit);
    let lasting = lasting_of(request, &x, signal.view());
    let bounds: Vec<usize> = [0].into_iter().chain(changepoints.iter().copied()).chain([signal.nrows()]).collect();
    let most = if request.cost == CostName::Rbf { MOST_RBF } else { MOST };
    bounds
        .windows(3)
        .map(|bound| {
            let (start, end) = (bound[0], bound[2]);
            if end - start > most || end - start < 2 * request.min_size.max(1) {
                return Ok(f64::NAN);
            }
            let stretch = Stretch { request, x: &x[start..end], noise, cancel };
            let samples = signal.slice(s![start..end, ..]);
            match lasting.autocorrelation {
                Some(rho) if rho > 0.0 => {
                    let rests = stretch.rests(samples, bound[1] - start);
                    let read = x.len().min(MOST_READ).max(end - start);
                    stretch.lasting_p_value(samples, &Lasts { rho, inflation: lasting.inflation, rests, x: &x, read })
                }
                _ => stretch.p_value(samples),
            }
        })
        .collect()
}

/// Makes samples as they might be without a change.
type Draw = Box<dyn Fn(&mut Random) -> Array2<f64> + Sync>;

/// Noise of a stretch that lasts.
struct Lasts<'a> {
    rho: f64,
    inflation: f64,
    rests: Array2<f64>,
    /// Of the signal.
    x: &'a [f64],
    /// Samples that a coefficient is read off.
    read: usize,
}

impl Lasts<'_> {
    /// A series without a change.
    fn draw(&self, random: &mut Random) -> Array2<f64> {
        let (count, features) = self.rests.dim();
        let fresh = (FORGOTTEN.ln() / self.rho.ln()).ceil() as usize;
        let mut state = vec![0.0; features];
        let mut drawn = Array2::zeros((self.read, features));
        for step in 0..fresh + self.read {
            let sample = 1 + random.below(count - 1);
            for (feature, state) in state.iter_mut().enumerate() {
                let new = self.rests[[sample, feature]] - self.rho * self.rests[[sample - 1, feature]];
                *state = self.rho * *state + new;
                if step >= fresh {
                    drawn[[step - fresh, feature]] = *state;
                }
            }
        }
        drawn
    }
}

/// The samples between two neighbours.
struct Stretch<'a> {
    request: Request,
    x: &'a [f64],
    noise: f64,
    cancel: &'a Cancel,
}

impl Stretch<'_> {
    fn p_value(&self, samples: ArrayView2<'_, f64>) -> Result<f64> {
        let observed = self.statistic(samples)?;
        let draw: Draw = match self.request.cost {
            CostName::Linear | CostName::ContinuousLinear => {
                let rest = without_line(self.x, samples);
                Box::new(move |random| shuffled(rest.view(), random))
            }
            CostName::Autoregressive => {
                let predictions: Vec<_> =
                    samples.columns().into_iter().map(|y| Prediction::new(y, self.request.order)).collect();
                Box::new(move |random| {
                    let columns: Vec<Vec<f64>> = predictions.iter().map(|prediction| prediction.draw(random)).collect();
                    Array2::from_shape_fn((columns[0].len(), columns.len()), |(sample, feature)| {
                        columns[feature][sample]
                    })
                })
            }
            _ => {
                let samples = samples.to_owned();
                Box::new(move |random| shuffled(samples.view(), random))
            }
        };
        let drawn = (0..ORDERS)
            .into_par_iter()
            .map(|index| self.statistic(draw(&mut Random::stream(0, index as u64)).view()))
            .collect::<Result<Vec<f64>>>()?;
        Ok(share_above(drawn, observed))
    }

    /// The same for noise that lasts.
    fn lasting_p_value(&self, samples: ArrayView2<'_, f64>, noise: &Lasts<'_>) -> Result<f64> {
        let count = samples.nrows();
        let lines = matches!(self.request.cost, CostName::Linear | CostName::ContinuousLinear);
        let mean = samples.mean_axis(Axis(0)).unwrap_or_default();
        let drawn = (0..ORDERS)
            .into_par_iter()
            .map(|index| {
                let series = noise.draw(&mut Random::stream(0, index as u64));
                let inflation = lasting_noise(&noise.x[..noise.read], series.view(), lines).inflation;
                let mut stretch = series.slice(s![..count, ..]).to_owned();
                if self.request.cost == CostName::Poisson {
                    stretch.rows_mut().into_iter().for_each(|mut row| row += &mean);
                    stretch.mapv_inplace(|value| value.max(0.0));
                }
                Ok(self.statistic(stretch.view())? / inflation)
            })
            .collect::<Result<Vec<f64>>>()?;
        Ok(share_above(drawn, self.statistic(samples)? / noise.inflation))
    }

    /// What levels, or lines, on both sides of `place` leave.
    fn rests(&self, samples: ArrayView2<'_, f64>, place: usize) -> Array2<f64> {
        let lines = matches!(self.request.cost, CostName::Linear | CostName::ContinuousLinear);
        let mut rests = samples.to_owned();
        for (from, to) in [(0, place), (place, samples.nrows())] {
            let x = if lines { self.x[from..to].to_vec() } else { vec![0.0; to - from] };
            rests.slice_mut(s![from..to, ..]).assign(&without_line(&x, samples.slice(s![from..to, ..])));
        }
        rests
    }

    /// T.
    fn statistic(&self, samples: ArrayView2<'_, f64>) -> Result<f64> {
        self.cancel.check()?;
        let count = samples.nrows();
        let (whole, lowest) = if self.request.cost == CostName::Rbf {
            kernel_cut(samples, self.request.min_size.max(1))
        } else {
            let cost = cost_of(self.request, self.x, samples, self.noise, self.cancel)?;
            let least = self.request.min_size.max(1);
            let places = least..count + 1 - least;
            let cuts =
                profile(cost.as_deref(), self.request, (self.x, samples), self.noise, 0..count, places, self.cancel)?;
            let lowest = cuts.iter().copied().fold(f64::INFINITY, f64::min);
            (self.uncut(cost.as_deref(), samples)?, lowest)
        };
        let gain = (whole - lowest).max(0.0);
        Ok(match self.request.cost {
            CostName::Normal | CostName::Variance | CostName::Poisson => gain,
            _ if whole <= 0.0 => 0.0,
            _ => count as f64 * (gain / lowest.max(ROUNDING * whole)).ln_1p(),
        })
    }

    /// The cost of the stretch in one piece.
    fn uncut(&self, cost: Option<&dyn Cost>, samples: ArrayView2<'_, f64>) -> Result<f64> {
        if let Some(cost) = cost {
            return Ok(cost.of(0, samples.nrows()));
        }
        Ok(match self.request.cost {
            CostName::Biweight => {
                let clipped = clipped_costs(&samples.column(0).to_vec(), clip(self.noise), self.cancel)?;
                clipped.last().copied().unwrap_or(0.0)
            }
            _ => without_line(self.x, samples).iter().map(|rest| rest * rest).sum(),
        })
    }
}

/// Probability of a statistic as large as `observed`, from those of shuffled samples.
fn share_above(mut drawn: Vec<f64>, observed: f64) -> f64 {
    if !observed.is_finite() || drawn.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    drawn.sort_by(f64::total_cmp);
    let count = drawn.len() as f64;
    let above = drawn.iter().filter(|value| **value >= observed).count() as f64;
    let share = (above + 1.0) / (count + 1.0);
    if above > 0.0 {
        return share;
    }
    let tail = ((count * TAIL) as usize).max(1);
    let threshold = drawn[drawn.len() - tail];
    let excess = drawn[drawn.len() - tail..].iter().map(|value| value - threshold).sum::<f64>() / tail as f64;
    let beyond = (tail as f64 + 1.0) / (count + 1.0) * (-(observed - threshold) / excess.max(1e-3)).exp();
    beyond.clamp(LEAST, share)
}

/// The samples in another order.
fn shuffled(samples: ArrayView2<'_, f64>, random: &mut Random) -> Array2<f64> {
    let mut order: Vec<usize> = (0..samples.nrows()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    samples.select(Axis(0), &order)
}

/// What a line in x leaves of every feature.
fn without_line(x: &[f64], samples: ArrayView2<'_, f64>) -> Array2<f64> {
    let (basis, _) = orthonormalise(vec![vec![1.0; x.len()], x.to_vec()]);
    let mut rest = samples.to_owned();
    for mut column in rest.columns_mut() {
        let mut values = column.to_vec();
        project_out(&mut values, &basis);
        column.iter_mut().zip(values).for_each(|(into, value)| *into = value);
    }
    rest
}

/// Cost "rbf" of the samples in one piece, and of their best cut.
fn kernel_cut(samples: ArrayView2<'_, f64>, least: usize) -> (f64, f64) {
    let count = samples.nrows();
    let rows = Rbf::new(samples).rows();
    let totals: Vec<f64> =
        (0..count).map(|i| rows[i].iter().sum::<f64>() + rows[i + 1..].iter().map(|row| row[i]).sum::<f64>()).collect();
    let total: f64 = totals.iter().sum();
    let (mut within, mut across, mut lowest) = (0.0, 0.0, f64::INFINITY);
    for place in 1..count {
        // Sample place - 1 moves to the left part.
        let row = &rows[place - 1];
        within += 2.0 * row.iter().sum::<f64>() - row[place - 1];
        across += totals[place - 1];
        if place >= least && place + least <= count {
            let after = total - 2.0 * across + within;
            lowest = lowest.min(count as f64 - within / place as f64 - after / (count - place) as f64);
        }
    }
    (count as f64 - total / count as f64, lowest)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{existence, kernel_cut, share_above};
    use crate::Cancel;
    use crate::changepoint::cost::{Cost, Rbf};
    use crate::changepoint::{CostName, Penalty, Request, SearchName, Shape};
    use crate::random::Random;

    fn request(cost: CostName) -> Request {
        let (search, penalty, shape) = (SearchName::Auto, Penalty::Value(0.0), Shape::Any);
        Request { cost, search, penalty, n_changepoints: None, min_size: 1, jump: 1, width: None, shape, order: 1 }
    }

    #[test]
    fn a_share_is_counted_and_beyond_all_extrapolated() {
        let drawn: Vec<f64> = (1..=199).map(f64::from).collect();
        assert_eq!(share_above(drawn.clone(), 190.0), 11.0 / 200.0);
        assert_eq!(share_above(drawn.clone(), 0.0), 1.0);
        // The largest 19 are 181 to 199, 9 over 181 on average.
        let beyond = 20.0 / 200.0 * (-(250.0_f64 - 181.0) / 9.0).exp();
        assert!((share_above(drawn.clone(), 250.0) / beyond - 1.0).abs() < 1e-12);
        assert_eq!(share_above(drawn, 1e4), 1e-6);
        assert!(share_above(vec![1.0, f64::NAN], 1.0).is_nan());
    }

    #[test]
    fn the_best_cut_of_a_kernel_is_that_of_its_segments() {
        let mut random = Random::new(4);
        let y = Array2::from_shape_fn((20, 2), |_| random.normal());
        let cost = Rbf::new(y.view());
        let lowest = (3..=17).map(|k| cost.of(0, k) + cost.of(k, 20)).fold(f64::INFINITY, f64::min);
        let found = kernel_cut(y.view(), 3);
        assert!((found.0 - cost.of(0, 20)).abs() < 1e-12 && (found.1 - lowest).abs() < 1e-12);
    }

    #[test]
    fn a_clear_change_is_unlikely_and_none_is_not() {
        let mut random = Random::new(1);
        let x: Vec<f64> = (0..60).map(f64::from).collect();
        let noise = Array2::from_shape_fn((60, 1), |_| 5.0 + random.normal().abs());
        for cost in [CostName::L2, CostName::L1, CostName::Normal, CostName::Poisson, CostName::Rank, CostName::Rbf] {
            let at = |y: &Array2<f64>| existence(&x, y.view(), &[30], request(cost), &Cancel::default()).unwrap()[0];
            let mut stepped = noise.clone();
            stepped.slice_mut(ndarray::s![30.., ..]).mapv_inplace(|value| 4.0 * value);
            assert!(at(&stepped) < 1e-3, "{cost:?}: {}", at(&stepped));
            assert!(at(&noise) > 0.01, "{cost:?}: {}", at(&noise));
        }
    }
}
