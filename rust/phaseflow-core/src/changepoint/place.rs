//! Where else a changepoint may lie: the profile of the cost as it moves between its neighbours, against a cut.
//!
//! With `D(k) = cost(start, k) + cost(k, end) - (the least of these)`, the places k in the interval are those with
//!
//! ```text
//! deviance(k) <= -2 ln(1 - sqrt(level))
//! ```
//!
//! the quantile of twice the log-likelihood ratio of a place (Hansen 2000). Near the change D is a random walk away from
//! 0 on either side. Where it is twice a log-likelihood ratio, `E exp(-D / 2) = 1`, so that it falls `t` below 0 on one
//! side with a probability of at most `exp(-t / 2)` whatever the size of the change: the cut holds for steps of any size,
//! and is cautious for large ones. So all costs are brought to that unit:
//!
//! | cost | deviance |
//! |---|---|
//! | normal, variance, poisson | D: they are twice a log-likelihood |
//! | l2, rank, cosine | `N ln(1 + D / (N s^2))`, s^2 the variance of the rests along the jump |
//! | linear, clinear, ar | `(N - 2 slopes) ln(1 + D / least)` |
//! | l1 | the lesser of `2 N ln(1 + D / least)`, Laplace's likelihood, and `N ln(1 + c D / N)` |
//! | biweight | the lesser of `N ln(1 + D / least)` and `N ln(1 + c D / N)` |
//!
//! N: samples between the neighbours. The walk's steps being d, of variance v around their mean m, `c = 4 m / v` has the
//! small-step limit of `E exp(-c d / 2) = 1` whatever the noise is. Over several features the sum of their variances
//! stands for s^2 in the costs of lines and predictions: cautious, whatever the correlation between features.
//!
//! Where noise may last from sample to sample ([`Penalty::Auto`](super::Penalty)), the walk is as long as in noise of its
//! long-run variance: deviances are divided by that over the variance, but for cost "ar", whose rests do not last; those of
//! counts also by their [`dispersion`].

use std::ops::Range;

use ndarray::{ArrayView2, s};

use super::centred::{self, unit_axis};
use super::cost::{Autoregressive, Cost, L1, L2, Linear, Normal, Poisson};
use super::dispersion::dispersion;
use super::names::CostName;
use super::noise::{Lasting, lasting_noise};
use super::penalty::{Estimate, Penalty, noise_variance};
use super::prepare::{Prepared, prepare};
use super::request::Request;
use super::search::clipped_costs;
use super::segmentation::{clip, floor};
use crate::median::median;
use crate::{Cancel, Result};

/// For each of `changepoints` (increasing) the first and the last sample at which its segment may begin, with the
/// changepoint itself; that alone for cost "rbf".
pub fn place_intervals(
    x: &[f64],
    signal: ArrayView2<'_, f64>,
    changepoints: &[usize],
    request: Request,
    level: f64,
    cancel: &Cancel,
) -> Result<Vec<(usize, usize)>> {
    let request = request.raised(signal.ncols(), signal.nrows());
    request.check(x, &signal)?;
    let Prepared { signal, unit } = prepare(request.cost, signal)?;
    let x = unit_axis(x);
    let noise = noise_of(request.cost, &x, signal.view(), unit);
    let cost = cost_of(request, &x, signal.view(), noise, cancel)?;
    let bounds: Vec<usize> = [0].into_iter().chain(changepoints.iter().copied()).chain([signal.nrows()]).collect();
    let inflation = lasting_of(request, &x, signal.view()).inflation;
    let counts = request.penalty == Penalty::Auto && request.cost == CostName::Poisson;
    let dispersion = if counts { dispersion(signal.view()) } else { 1.0 };
    let cut = -2.0 * (-level.sqrt()).ln_1p() * inflation * dispersion;
    let mut found = Vec::with_capacity(changepoints.len());
    for bound in bounds.windows(3) {
        let (start, best, end) = (bound[0], bound[1], bound[2]);
        let least = request.min_size.max(1);
        let places = start + least..(end + 1).saturating_sub(least).max(start + least);
        let profile =
            profile(cost.as_deref(), request, (&x, signal.view()), noise, bound[0]..end, places.clone(), cancel)?;
        let lowest = profile.iter().copied().fold(f64::INFINITY, f64::min);
        let unit = Unit::new(request, signal.slice(s![start..end, ..]), best - start, lowest, clip(noise));
        let inside: Vec<usize> = places
            .zip(&profile)
            .filter(|(_, cost)| unit.deviance(*cost - lowest) <= cut)
            .map(|place| place.0)
            .collect();
        let first = inside.first().map_or(best, |&first| first.min(best));
        found.push((first, inside.last().map_or(best, |&last| last.max(best))));
    }
    Ok(found)
}

/// The variance of the noise, at least what its numbers can resolve.
pub(crate) fn noise_of(cost: CostName, x: &[f64], signal: ArrayView2<'_, f64>, unit: centred::Unit) -> f64 {
    let lines = matches!(cost, CostName::Linear | CostName::ContinuousLinear);
    noise_variance(x, signal, lines).max(unit.resolution * unit.resolution)
}

/// How long the noise of a prepared signal lasts, where the request allows for that.
pub(crate) fn lasting_of(request: Request, x: &[f64], signal: ArrayView2<'_, f64>) -> Lasting {
    let lines = matches!(request.cost, CostName::Linear | CostName::ContinuousLinear);
    if request.penalty == Penalty::Auto && request.cost != CostName::Autoregressive {
        lasting_noise(x, signal, lines)
    } else {
        Lasting::not(Estimate::known(0.0))
    }
}

/// The cost of any segment of a prepared signal, for the costs that have one and price it quickly.
pub(crate) fn cost_of(
    request: Request,
    x: &[f64],
    signal: ArrayView2<'_, f64>,
    noise: f64,
    cancel: &Cancel,
) -> Result<Option<Box<dyn Cost>>> {
    cancel.check()?;
    Ok(Some(match request.cost {
        CostName::L2 | CostName::Rank | CostName::Cosine => Box::new(L2::new(signal)),
        CostName::L1 => Box::new(L1::new(signal, cancel)?),
        CostName::Normal | CostName::Variance => {
            Box::new(Normal::new(signal, floor(noise), request.cost == CostName::Variance))
        }
        CostName::Poisson => Box::new(Poisson::new(signal)),
        CostName::Linear => Box::new(Linear::new(x, signal)),
        CostName::Autoregressive => Box::new(Autoregressive::new(signal, request.order)),
        CostName::Biweight | CostName::ContinuousLinear | CostName::Rbf => return Ok(None),
    }))
}

/// What the samples `between` two neighbours cost, cut at each of `places`; nothing for cost "rbf".
pub(crate) fn profile(
    cost: Option<&dyn Cost>,
    request: Request,
    (x, signal): (&[f64], ArrayView2<'_, f64>),
    noise: f64,
    between: Range<usize>,
    places: Range<usize>,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let (start, end) = (between.start, between.end);
    let mut profile = Vec::with_capacity(places.len());
    match (cost, request.cost) {
        (Some(cost), _) => {
            for place in places {
                cancel.check()?;
                profile.push(cost.of(start, place) + cost.of(place, end));
            }
        }
        (_, CostName::ContinuousLinear) => {
            // The line after the kink ends at the next one.
            let upto = (end + 1).min(signal.nrows());
            let y = signal.slice(s![start..upto, 0]).to_vec();
            profile = kinked(&unit_axis(&x[start..upto]), &y, places.start - start..places.end - start);
        }
        (_, CostName::Biweight) => {
            let mut y = signal.slice(s![start..end, 0]).to_vec();
            let before = clipped_costs(&y, clip(noise), cancel)?;
            y.reverse();
            let after = clipped_costs(&y, clip(noise), cancel)?;
            profile.extend(places.map(|place| before[place - start - 1] + after[end - place - 1]));
        }
        _ => {}
    }
    Ok(profile)
}

/// What turns a difference of costs into twice a log-likelihood ratio: the least of `count ln(1 + D / scale)`.
struct Unit(Vec<(f64, f64)>);

impl Unit {
    /// `window` are the samples between the neighbours, cut at `place`; `lowest` their least cost.
    fn new(request: Request, window: ArrayView2<'_, f64>, place: usize, lowest: f64, clip: f64) -> Self {
        let count = window.nrows() as f64;
        let (before, after) = window.split_at(ndarray::Axis(0), place);
        Self(match request.cost {
            CostName::Normal | CostName::Variance | CostName::Poisson | CostName::Rbf => vec![],
            CostName::L2 | CostName::Rank | CostName::Cosine if window.ncols() > 1 => {
                vec![(count, along_jump(before, after))]
            }
            CostName::L2 | CostName::Rank | CostName::Cosine => vec![(count, lowest)],
            CostName::Linear | CostName::ContinuousLinear => vec![((count - 2.0).max(1.0), lowest)],
            CostName::Autoregressive => vec![((count - 2.0 * request.order as f64).max(1.0), lowest)],
            CostName::L1 => {
                let steps = steps(before, after, f64::abs);
                vec![(2.0 * count, lowest), (count, count * steps)]
            }
            CostName::Biweight => {
                let steps = steps(before, after, |distance| (distance * distance).min(clip * clip));
                vec![(count, lowest), (count, count * steps)]
            }
        })
    }

    fn deviance(&self, difference: f64) -> f64 {
        if self.0.is_empty() || difference <= 0.0 {
            return difference.max(0.0);
        }
        self.0.iter().map(|(count, scale)| count * (difference / scale).ln_1p()).fold(f64::INFINITY, f64::min)
    }
}

/// Sum of squares that the two means leave in the direction from one to the other.
fn along_jump(before: ArrayView2<'_, f64>, after: ArrayView2<'_, f64>) -> f64 {
    let mean = |side: ArrayView2<'_, f64>| side.sum_axis(ndarray::Axis(0)) / side.nrows() as f64;
    let means = [mean(before), mean(after)];
    let jump = &means[1] - &means[0];
    let length = jump.dot(&jump).sqrt();
    let squares = |side: ArrayView2<'_, f64>, mean: &ndarray::Array1<f64>| {
        side.rows().into_iter().map(|row| ((&row - mean).dot(&jump) / length).powi(2)).sum::<f64>()
    };
    if length > 0.0 { squares(before, &means[0]) + squares(after, &means[1]) } else { 0.0 }
}

/// `v / (4 m)` of what a sample's loss grows by at the other side's medians; infinite where it does not grow.
fn steps(before: ArrayView2<'_, f64>, after: ArrayView2<'_, f64>, loss: impl Fn(f64) -> f64) -> f64 {
    let medians = |side: ArrayView2<'_, f64>| -> Vec<f64> {
        side.columns().into_iter().map(|column| median(&mut column.to_vec())).collect()
    };
    let levels = [medians(before), medians(after)];
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for (side, own, other) in [(before, &levels[0], &levels[1]), (after, &levels[1], &levels[0])] {
        let grows = |row: ndarray::ArrayView1<'_, f64>| -> f64 {
            row.iter().zip(own).zip(other).map(|((y, own), other)| loss(y - other) - loss(y - own)).sum()
        };
        let each: Vec<f64> = side.rows().into_iter().map(grows).collect();
        let mean = each.iter().sum::<f64>() / each.len() as f64;
        squares += each.iter().map(|step| (step - mean).powi(2)).sum::<f64>();
        sum += each.iter().sum::<f64>();
        count += each.len() as f64;
    }
    if sum > 0.0 { squares / count / (4.0 * sum / count) } else { f64::INFINITY }
}

/// The squares left by a line with a kink at each of `kinks`; x within -1 and 1.
fn kinked(x: &[f64], y: &[f64], kinks: std::ops::Range<usize>) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(x), mean(y));
    let spread: f64 = x.iter().map(|x| (x - x_mean).powi(2)).sum();
    let shared: f64 = x.iter().zip(y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let slope = if spread > 0.0 { shared / spread } else { 0.0 };
    let rest: Vec<f64> = x.iter().zip(y).map(|(x, y)| (y - y_mean) - slope * (x - x_mean)).collect();
    let total: f64 = rest.iter().map(|rest| rest * rest).sum();
    // Sums over the samples from k on of 1, x, x^2 and of the rest and its product with x.
    let mut sums = vec![[0.0; 5]; x.len() + 1];
    for k in (0..x.len()).rev() {
        let of = [1.0, x[k], x[k] * x[k], rest[k], rest[k] * x[k]];
        sums[k] = std::array::from_fn(|index| sums[k + 1][index] + of[index]);
    }
    let gain = |kink: usize| {
        let ([ones, xs, squares, rests, products], at) = (sums[kink], x[kink]);
        // The hinge max(x - at, 0), less what a line explains of it.
        let (hinge, with_x) = (xs - at * ones, squares - at * xs);
        let along = with_x - x_mean * hinge;
        let left = (squares - 2.0 * at * xs + at * at * ones) - hinge * hinge / count - along * along / spread;
        let explained = products - at * rests;
        if left > 1e-13 * count && spread > 0.0 { explained * explained / left } else { 0.0 }
    };
    kinks.map(|kink| if kink < x.len() { (total - gain(kink)).max(0.0) } else { total }).collect()
}

#[cfg(test)]
mod tests {
    use super::{kinked, steps};
    use crate::changepoint::knots;
    use ndarray::array;

    #[test]
    fn a_kinks_rest_is_that_of_the_least_squares_curve() {
        let x = [-1.0, -0.7, -0.1, 0.2, 0.6, 1.0];
        let y = [0.3, 0.1, 0.5, -0.2, 0.9, 1.4];
        for (kink, found) in (1..5).zip(kinked(&x, &y, 1..5)) {
            let fit = knots::fit(&x, &y, &[kink]);
            let expected: f64 = y.iter().zip(fit).map(|(y, fit)| (y - fit).powi(2)).sum();
            assert!((found - expected).abs() < 1e-13, "{kink}: {found}, {expected}");
        }
    }

    #[test]
    fn the_steps_of_a_walk_of_absolute_distances() {
        // Medians 0 and 4. Before: 4, 2 (3 is 1 from 4 and 3 from 0: -2), 4; after 4, 4, 4: mean 4 + 4 - 2 = 6 over 3.
        let found = steps(array![[0.0], [3.0], [-1.0]].view(), array![[4.0], [4.0], [5.0]].view(), f64::abs);
        // Steps 4, -2, 4 (mean 2, squares 24) and 4, 4, 4: v = 24 / 6, m = 18 / 6.
        assert!((found - 4.0 / (4.0 * 3.0)).abs() < 1e-15);
    }
}
