//! Standard error, over examples, of the derivative with respect to the logarithm of the token index.
//!
//! The slope at a position is a weighted sum of the means in its window, so each example has a slope of its own, with the
//! same weights. Their scatter holds whatever the tokens of an example have in common, which one over the summed weights
//! would not:
//!
//! ```text
//! slope(e, i) = sum w_j (x_j - x̄_i) d_ej / run_i     over the window of i,   d = loss - mean,   run_i = sum w_j (x_j - x̄_i)²
//! se(i)² = sum over e of slope(e, i)² / (n (n - 1))
//! ```
//!
//! Windows, weights `w` and `x = ln(i)` are those of `derivative.rs`. A window holds a quarter of all positions and more,
//! and nearly those of the next one, so its sums are differences of running sums of `w d` and `w (x - x_b) d`. They start
//! anew every [`BLOCK`] positions, from the block's own `x_b`: a difference then loses the few digits by which a block's
//! terms exceed those of a window in it. Where more would be lost, as beside a position that hardly varies and so weighs a
//! million times as much as its neighbours, the window is added up term by term.
//!
//! NaN with fewer than two examples, and where the slope is NaN.

use ndarray::{ArrayD, ArrayView2, Axis};
use rayon::prelude::*;

use super::derivative::{check, sum, window};
use super::in_context::in_shape;
use super::layout::Layout;
use super::position::summaries;
use super::sums::Summary;
use crate::tensor::{Element, TensorView};
use crate::vectorize::vectorize;
use crate::{Cancel, Result, with_view};

/// Examples of one task. Fixed, so that the order of all sums is the same on any number of threads.
const TASK: usize = 64;
/// Examples side by side.
const LANES: usize = 4;
/// Positions after which the running sums start anew.
const BLOCK: usize = 256;
/// A window of no more positions is added up term by term.
const SHORT: usize = 8;
/// So is one in a block whose weights differ by a larger factor.
const EVEN: f64 = 1e4;

/// One number for each of the examples side by side.
type Lanes = [f64; LANES];

/// Standard error over examples, `(..., pos)`, of [`loss_log_derivative`](super::loss_log_derivative).
pub fn loss_log_derivative_error(
    per_token_loss: &TensorView<'_>,
    bandwidth: f64,
    cancel: &Cancel,
) -> Result<ArrayD<f64>> {
    check(bandwidth)?;
    with_view!(per_token_loss, |losses| {
        let layout = Layout::new(losses.view())?;
        let summaries = summaries(&layout, None, cancel)?;
        let errors = layout
            .losses
            .par_iter()
            .zip(&summaries)
            .map(|(losses, summary)| error_of(losses, summary, bandwidth, cancel))
            .collect::<Result<Vec<_>>>()?;
        in_shape(layout.shape_with(layout.context), errors.concat())
    })
}

fn error_of<T: Element>(
    losses: &ArrayView2<'_, T>,
    summary: &Summary,
    bandwidth: f64,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let (examples, context) = losses.dim();
    let mean: Vec<f64> = (0..context).map(|i| summary.mean(i)).collect();
    let standard_error: Vec<f64> = (0..context).map(|i| summary.standard_error(i)).collect();
    let plan = Plan::new(&mean, &standard_error, bandwidth);
    let tasks: Vec<_> = losses.axis_chunks_iter(Axis(0), TASK).collect();
    let squares = tasks
        .into_par_iter()
        .map(|examples| {
            let mut squares = vec![[0.0; LANES]; context];
            let mut sums = Sums::new(context);
            for some in examples.axis_chunks_iter(Axis(0), LANES) {
                cancel.check()?;
                sums.distance.fill([0.0; LANES]);
                for (lane, example) in some.outer_iter().enumerate() {
                    for ((distance, loss), mean) in sums.distance.iter_mut().zip(example).zip(&mean) {
                        let from_mean = loss.to_f64() - mean;
                        distance[lane] = if from_mean.is_finite() { from_mean } else { 0.0 };
                    }
                }
                vectorize(
                    #[inline(always)]
                    || plan.add_squares(&mut sums, &mut squares),
                );
            }
            Ok(squares.iter().map(|lanes| lanes.iter().sum()).collect())
        })
        .collect::<Result<Vec<Vec<f64>>>>()?;
    let n = examples as f64;
    let error = |position: usize| {
        let squares = squares.iter().fold(0.0, |sum, part| sum + part[position]);
        let defined = examples > 1 && !matches!(plan.slopes[position], Slope::Undefined);
        if defined { (squares / (n * (n - 1.0))).sqrt() } else { f64::NAN }
    };
    Ok((0..context).map(error).collect())
}

/// What the slopes of all examples have in common.
struct Plan {
    x: Vec<f64>,
    /// For each kind of [`Slope::Sums`] the weights; none where no position needs them.
    weights: [Vec<f64>; 2],
    slopes: Vec<Slope>,
}

/// How an example's slope at one position is found.
enum Slope {
    /// A mean in the window is undefined.
    Undefined,
    /// What each loss from a position on weighs in it.
    Line(usize, Vec<f64>),
    /// Running sums `kind` from `start` to `end`, about `x_mean`, over `run`.
    Sums { kind: usize, start: usize, end: usize, x_mean: f64, run: f64 },
}

impl Plan {
    fn new(mean: &[f64], standard_error: &[f64], bandwidth: f64) -> Self {
        let x: Vec<f64> = (1..=mean.len()).map(|index| (index as f64).ln()).collect();
        let weight: Vec<f64> = standard_error.iter().map(|error| 1.0 / (error * error)).collect();
        let usable = |weight: f64| weight.is_finite() && weight > 0.0;
        let even: Vec<bool> = weight
            .chunks(BLOCK)
            .map(|block| {
                let used = block.iter().copied().filter(|&weight| usable(weight));
                let (least, most) = used.fold((f64::INFINITY, 0.0), |(a, b): (f64, f64), w| (a.min(w), b.max(w)));
                most <= EVEN * least
            })
            .collect();
        let slope_at = |position: usize| {
            let (start, end) = window(&x, position, bandwidth / 2.0);
            if mean[start..end].iter().any(|mean| !mean.is_finite()) {
                return Slope::Undefined;
            }
            let kind = usize::from(!weight[start..end].iter().all(|&weight| usable(weight)));
            let weight = |j: usize| if kind == 0 { weight[start + j] } else { 1.0 };
            let n = end - start;
            // From the heaviest position: its distance from a mean next to it keeps all its digits.
            let heaviest = (0..n).fold(0, |most, j| if weight(j) > weight(most) { j } else { most });
            let from = |j: usize| x[start + j] - x[start + heaviest];
            let x_mean = sum(n, |j| weight(j) * from(j)) / sum(n, weight);
            let centred = |j: usize| from(j) - x_mean;
            let run = sum(n, |j| weight(j) * centred(j) * centred(j));
            if n <= SHORT || (kind == 0 && even[start / BLOCK..=(end - 1) / BLOCK].contains(&false)) {
                return Slope::Line(start, (0..n).map(|j| weight(j) * centred(j) / run).collect());
            }
            Slope::Sums { kind, start, end, x_mean: x[start + heaviest] + x_mean, run }
        };
        let slopes: Vec<Slope> = (0..mean.len()).map(slope_at).collect();
        let needed = |of: usize| slopes.iter().any(|slope| matches!(slope, Slope::Sums { kind, .. } if *kind == of));
        let own = weight.iter().map(|&weight| if usable(weight) { weight } else { 0.0 });
        let weights = [
            if needed(0) { own.collect() } else { Vec::new() },
            if needed(1) { vec![1.0; mean.len()] } else { Vec::new() },
        ];
        Self { x, weights, slopes }
    }

    /// Adds the squared slopes of the examples whose distances from the mean are in `sums`.
    #[inline(always)]
    fn add_squares(&self, sums: &mut Sums, squares: &mut [Lanes]) {
        for (kind, weights) in self.weights.iter().enumerate() {
            sums.run(kind, &self.x, weights);
        }
        for (square, slope) in squares.iter_mut().zip(&self.slopes) {
            let mut found = [0.0; LANES];
            match slope {
                Slope::Undefined => {}
                Slope::Line(start, line) => {
                    for (distance, weight) in sums.distance[*start..].iter().zip(line) {
                        for lane in 0..LANES {
                            found[lane] += weight * distance[lane];
                        }
                    }
                }
                Slope::Sums { kind, start, end, x_mean, run } => {
                    for block in start / BLOCK..=(end - 1) / BLOCK {
                        let origin = block * BLOCK;
                        let (first, last) = ((*start).max(origin), (*end).min(origin + BLOCK) - 1);
                        let shift = self.x[origin] - x_mean;
                        let (plain, moment) = (&sums.plain[*kind], &sums.moment[*kind]);
                        let (plain_before, moment_before) = match first > origin {
                            true => (plain[first - 1], moment[first - 1]),
                            false => ([0.0; LANES], [0.0; LANES]),
                        };
                        for lane in 0..LANES {
                            found[lane] += moment[last][lane] - moment_before[lane];
                            found[lane] += shift * (plain[last][lane] - plain_before[lane]);
                        }
                    }
                    found.iter_mut().for_each(|rise| *rise /= run);
                }
            }
            for lane in 0..LANES {
                square[lane] += found[lane] * found[lane];
            }
        }
    }
}

/// Buffers of a few examples, a row a position.
struct Sums {
    /// Losses less their mean; 0 where that is undefined.
    distance: Vec<Lanes>,
    /// Running sums of `w d` and of `w (x - x_b) d`, with and after each position, for either kind of weights.
    plain: [Vec<Lanes>; 2],
    moment: [Vec<Lanes>; 2],
}

impl Sums {
    fn new(context: usize) -> Self {
        let zeros = vec![[0.0; LANES]; context];
        let [plain, moment] = [[zeros.clone(), zeros.clone()], [zeros.clone(), zeros.clone()]];
        Self { distance: zeros, plain, moment }
    }

    #[inline(always)]
    fn run(&mut self, kind: usize, x: &[f64], weights: &[f64]) {
        let (mut plain, mut moment) = ([0.0; LANES], [0.0; LANES]);
        for (at, (weight, distance)) in weights.iter().zip(&self.distance).enumerate() {
            if at % BLOCK == 0 {
                (plain, moment) = ([0.0; LANES], [0.0; LANES]);
            }
            let from_origin = x[at] - x[at / BLOCK * BLOCK];
            for lane in 0..LANES {
                let term = weight * distance[lane];
                plain[lane] += term;
                moment[lane] += from_origin * term;
            }
            (self.plain[kind][at], self.moment[kind][at]) = (plain, moment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_derivative;
    use super::*;

    /// One "example" whose distances are `mean`: the square of its slope is that of the mean's.
    fn slopes(mean: &[f64], standard_error: &[f64], bandwidth: f64) -> Vec<f64> {
        let plan = Plan::new(mean, standard_error, bandwidth);
        let mut sums = Sums::new(mean.len());
        sums.distance.iter_mut().zip(mean).for_each(|(distance, mean)| *distance = [*mean, 0.0, 0.0, -mean]);
        let mut squares = vec![[0.0; LANES]; mean.len()];
        plan.add_squares(&mut sums, &mut squares);
        assert!(squares.iter().all(|square| square[0] == square[3] && square[1] == 0.0));
        squares.iter().map(|square| square[0].sqrt()).collect()
    }

    #[test]
    fn the_weights_of_a_window_give_its_slope_back() {
        let mean: Vec<f64> = (0..900).map(|i| f64::from((i * 7919) % 101) / 50.0).collect();
        let even = |i: i32| 0.1 + f64::from(i % 7);
        let steep = |i: i32| if i == 300 { 1e-9 } else { even(i) };
        let zero = |i: i32| if i == 300 { 0.0 } else { even(i) };
        for error in [&even as &dyn Fn(i32) -> f64, &steep, &zero] {
            let standard_error: Vec<f64> = (0..900).map(error).collect();
            for bandwidth in [1e-3, 0.25, 3.0, 20.0] {
                let expected = log_derivative(&mean, &standard_error, bandwidth).unwrap();
                for (slope, found) in expected.iter().zip(slopes(&mean, &standard_error, bandwidth)) {
                    assert!((found - slope.abs()).abs() < 1e-9 * slope.abs().max(1.0), "{bandwidth} {slope} {found}");
                }
            }
        }
    }
}
