//! Squared distance from the segment's own least-squares line in x, for changes of slope and level:
//! `min over a, b of sum_i (y_i - a - b x_i)^2`. Neighbouring lines need not meet.

use ndarray::ArrayView2;

use super::super::compensated::{Pair, PrefixSums};
use super::{Cost, NeverRaisedBySplitting};

/// Sums over any segment of x, x^2, y, x y and y^2 for one feature.
#[derive(Debug)]
pub(crate) struct LineMoments {
    x: PrefixSums,
    xx: PrefixSums,
    y: PrefixSums,
    xy: PrefixSums,
    yy: PrefixSums,
}

/// Moments of one segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) count: usize,
    pub(crate) x: Pair,
    pub(crate) xx: Pair,
    pub(crate) y: Pair,
    pub(crate) xy: Pair,
    pub(crate) yy: Pair,
}

impl LineMoments {
    pub(crate) fn new<'a>(x: &[f64], y: impl Iterator<Item = &'a f64> + Clone) -> Self {
        Self {
            x: PrefixSums::new(x.iter().map(|x| Pair::from(*x))),
            xx: PrefixSums::new(x.iter().map(|x| Pair::product(*x, *x))),
            y: PrefixSums::new(y.clone().map(|y| Pair::from(*y))),
            xy: PrefixSums::new(x.iter().zip(y.clone()).map(|(x, y)| Pair::product(*x, *y))),
            yy: PrefixSums::new(y.map(|y| Pair::product(*y, *y))),
        }
    }

    pub(crate) fn over(&self, start: usize, end: usize) -> Moments {
        Moments {
            count: end - start,
            x: self.x.over(start, end),
            xx: self.xx.over(start, end),
            y: self.y.over(start, end),
            xy: self.xy.over(start, end),
            yy: self.yy.over(start, end),
        }
    }
}

/// The cost; one set of moments a feature.
#[derive(Debug)]
pub(crate) struct Linear(Vec<LineMoments>);

impl Linear {
    /// `signal` is (sample, feature); `x` strictly increasing.
    pub(crate) fn new(x: &[f64], signal: ArrayView2<'_, f64>) -> Self {
        Self(signal.columns().into_iter().map(|y| LineMoments::new(x, y.iter())).collect())
    }
}

impl Cost for Linear {
    fn of(&self, start: usize, end: usize) -> f64 {
        if end - start <= 2 {
            return 0.0;
        }
        let one = |moments: &LineMoments| {
            let Moments { count, x, xx, y, xy, yy } = moments.over(start, end);
            let spread = xx.minus(x.times(x).over(count));
            let shared = xy.minus(x.times(y).over(count));
            let total = yy.minus(y.times(y).over(count));
            // The slope is rounded to a double; as the minimum of the quadratic below, that costs its square only.
            let slope = shared.value() / spread.value();
            let left =
                total.minus(shared.times(Pair::from(2.0 * slope))).plus(Pair::product(slope, slope).times(spread));
            left.value().max(0.0)
        };
        self.0.iter().map(one).sum()
    }
}

impl NeverRaisedBySplitting for Linear {}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::{Cost, Linear};

    #[test]
    fn points_on_a_line_cost_nothing_on_an_uneven_axis() {
        let x = [0.0, 1.0, 10.0, 11.0];
        let cost = Linear::new(&x, array![[3.0], [5.0], [23.0], [25.0]].view());
        assert!(cost.of(0, 4) < 1e-28);
    }

    #[test]
    fn three_points_cost_what_least_squares_leaves() {
        // y = 0, 1, 0 at x = 0, 1, 2: slope 0, mean 1/3, squared distances 1/9 + 4/9 + 1/9.
        let cost = Linear::new(&[0.0, 1.0, 2.0], array![[0.0], [1.0], [0.0]].view());
        assert!((cost.of(0, 3) - 6.0 / 9.0).abs() < 1e-15);
    }
}
