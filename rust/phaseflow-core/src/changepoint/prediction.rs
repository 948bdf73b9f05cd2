//! A series as its own linear prediction by the samples before, and series like it: `y_t = a + sum_k b_k y_(t-k) + e_t`
//! by least squares, drawn anew from the rests `e` in another order.

use ndarray::ArrayView1;

use super::linear_algebra::dot;
use crate::random::Random;

/// One prediction for the whole series.
#[derive(Debug)]
pub(crate) struct Prediction {
    /// The samples that come before any rest.
    first: Vec<f64>,
    level: f64,
    coefficients: Vec<f64>,
    rests: Vec<f64>,
}

impl Prediction {
    pub(crate) fn new(y: ArrayView1<'_, f64>, order: usize) -> Self {
        let y = y.to_vec();
        let order = order.min(y.len());
        let count = y.len() - order;
        let centred = |lag: usize| -> (Vec<f64>, f64) {
            let part = &y[order - lag..y.len() - lag];
            let mean = part.iter().sum::<f64>() / count.max(1) as f64;
            (part.iter().map(|value| value - mean).collect(), mean)
        };
        let (target, target_mean) = centred(0);
        let lags: Vec<(Vec<f64>, f64)> = (1..=order).map(centred).collect();
        let mut equations: Vec<Vec<f64>> = lags
            .iter()
            .map(|(lag, _)| lags.iter().map(|(other, _)| dot(lag, other)).chain([dot(lag, &target)]).collect())
            .collect();
        let coefficients = solve(&mut equations);
        let rests = (0..count)
            .map(|t| target[t] - lags.iter().zip(&coefficients).map(|((lag, _), b)| b * lag[t]).sum::<f64>())
            .collect();
        let level = target_mean - lags.iter().zip(&coefficients).map(|((_, mean), b)| b * mean).sum::<f64>();
        Self { first: y[..order].to_vec(), level, coefficients, rests }
    }

    /// A series with the same first samples and the same rests in another order.
    pub(crate) fn draw(&self, random: &mut Random) -> Vec<f64> {
        let mut rests = self.rests.clone();
        for last in (1..rests.len()).rev() {
            rests.swap(last, random.below(last + 1));
        }
        let mut y = self.first.clone();
        for rest in rests {
            let before = y.iter().rev().zip(&self.coefficients).map(|(value, b)| b * value).sum::<f64>();
            y.push(self.level + before + rest);
        }
        y
    }
}

/// The solution of symmetric equations, the right side in the last column; 0 for what depends on the others.
fn solve(equations: &mut [Vec<f64>]) -> Vec<f64> {
    let count = equations.len();
    let sizes: Vec<f64> = (0..count).map(|k| equations[k][k]).collect();
    let mut used = vec![false; count];
    for pivot in 0..count {
        if equations[pivot][pivot] <= 1e-12 * sizes[pivot] || sizes[pivot] <= 0.0 {
            continue;
        }
        used[pivot] = true;
        let row = equations[pivot].clone();
        for (_, equation) in equations.iter_mut().enumerate().filter(|(other, _)| *other != pivot) {
            let factor = equation[pivot] / row[pivot];
            equation.iter_mut().zip(&row).for_each(|(value, own)| *value -= factor * own);
        }
    }
    (0..count).map(|k| if used[k] { equations[k][count] / equations[k][k] } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::Prediction;
    use crate::random::Random;

    #[test]
    fn a_series_that_follows_its_prediction_exactly_is_drawn_as_it_is() {
        // y_t = 1 + y_(t-1) / 2 - y_(t-2) / 4
        let mut y = vec![3.0, -1.0];
        for t in 2..12 {
            y.push(1.0 + 0.5 * y[t - 1] - 0.25 * y[t - 2]);
        }
        let prediction = Prediction::new(Array1::from(y.clone()).view(), 2);
        assert!((prediction.coefficients[0] - 0.5).abs() < 1e-9 && (prediction.coefficients[1] + 0.25).abs() < 1e-9);
        let drawn = prediction.draw(&mut Random::new(0));
        assert!(y.iter().zip(&drawn).all(|(a, b)| (a - b).abs() < 1e-8));
    }
}
