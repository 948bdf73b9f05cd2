//! Sums over examples at every position, from which means and variances come.
//!
//! Memory is read once, for sums of `d = loss - pivot` and of `d²` in double precision:
//!
//! ```text
//! mean = pivot + sum d / n          sum of squares = sum d² - (sum d)² / n
//! ```
//!
//! The second difference would cancel with a far pivot. Position by position the pivot is one of the first [`ROWS`]
//! examples' losses, the one nearest to their mean. As those losses are among the data, the difference is never less
//! than about `1 / n` of its first term, and on ordinary data nearly all of it; as it is a loss, `d` is exact for
//! single precision, and identical examples have a standard error of exactly 0. What adding to a long sum rounds off is
//! kept beside it (Knuth's two-sum), so that the mean is right to the last place however many examples there are.
//!
//! Losses stored in sixteen bits are added in single precision, [`ROWS`] at a time, before they reach those sums: good to
//! 1e-7 of what storing them lost.

use std::ops::Range;

use ndarray::ArrayView2;

use crate::tensor::Element;

/// Examples added in registers before the sums in memory are touched.
pub(super) const ROWS: usize = 16;
/// Positions worked on side by side, in registers.
pub(super) const LANES: usize = 16;
/// Positions whose losses of sixteen bits are widened at once, a multiple of [`LANES`]: with all [`ROWS`] they fit the
/// fastest cache.
pub(super) const TILE: usize = 256;

/// Sums over examples at every position.
pub(super) struct Summary {
    pub(super) n: usize,
    pivot: Vec<f64>,
    /// `sum d`
    sum: Vec<f64>,
    /// What rounding took from `sum`.
    lost: Vec<f64>,
    /// `sum d²`
    squares: Vec<f64>,
    /// NaN and infinite losses.
    pub(super) undefined: Vec<u64>,
    /// For each example the late window's mean less the early one's, where windows were asked for.
    pub(super) differences: Vec<f64>,
}

impl Summary {
    pub(super) fn new(pivot: Vec<f64>) -> Self {
        let zeros = vec![0.0; pivot.len()];
        let undefined = vec![0; pivot.len()];
        Self {
            n: 0,
            pivot,
            sum: zeros.clone(),
            lost: zeros.clone(),
            squares: zeros,
            undefined,
            differences: Vec::new(),
        }
    }

    pub(super) fn mean(&self, position: usize) -> f64 {
        let (n, sum) = (self.n as f64, self.sum[position]);
        let shift = sum / n;
        let rest = ((-n).mul_add(shift, sum) + self.lost[position]) / n;
        let (mean, lost) = two_sum(self.pivot[position], shift);
        mean + (lost + rest)
    }

    pub(super) fn standard_error(&self, position: usize) -> f64 {
        (self.variance(position) / self.n as f64).sqrt()
    }

    /// Over examples, with `n - 1`.
    pub(super) fn variance(&self, position: usize) -> f64 {
        if self.n < 2 {
            return f64::NAN;
        }
        let (n, sum) = (self.n as f64, self.sum[position]);
        let squares = self.squares[position] - sum * (sum / n);
        // Rounding may leave a little less than nothing; NaN stays NaN.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        squares / (n - 1.0)
    }

    /// Looks a second time where a sum says that there is something: a sum of finite losses is finite.
    pub(super) fn count_undefined<T: Element>(&mut self, examples: &ArrayView2<'_, T>) {
        for (position, count) in self.undefined.iter_mut().enumerate() {
            if !(self.sum[position] + self.squares[position]).is_finite() {
                let losses = examples.column(position);
                *count = losses.iter().filter(|loss| !loss.to_f64().is_finite()).count() as u64;
            }
        }
    }

    /// The examples of `other` after those of `self`; both are measured from the same pivot.
    pub(super) fn join(mut self, other: &Self) -> Self {
        for position in 0..self.sum.len() {
            let (sum, lost) = two_sum(self.sum[position], other.sum[position]);
            self.sum[position] = sum;
            self.lost[position] += lost + other.lost[position];
            self.squares[position] += other.squares[position];
            self.undefined[position] += other.undefined[position];
        }
        self.differences.extend_from_slice(&other.differences);
        self.n += other.n;
        self
    }

    /// The next examples, all as long as the context.
    #[inline(always)]
    pub(super) fn add<T: Element>(&mut self, rows: &[&[T]]) {
        let whole = self.sum.len() / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            self.add_lanes::<T, LANES>(rows, start);
        }
        for start in whole..self.sum.len() {
            self.add_lanes::<T, 1>(rows, start);
        }
        self.n += rows.len();
    }

    /// Some positions of the next examples, stored in sixteen bits and widened: `(example, TILE)`.
    #[inline(always)]
    pub(super) fn add_widened(&mut self, positions: Range<usize>, tile: &[f32]) {
        let (mut sums, mut squares) = ([0.0_f32; TILE], [0.0_f32; TILE]);
        let mut pivots = [0.0_f32; TILE];
        pivots.iter_mut().zip(&self.pivot[positions.clone()]).for_each(|(single, &pivot)| *single = pivot as f32);
        for start in (0..positions.len()).step_by(LANES) {
            let (mut sum, mut square) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            let pivot = &pivots[start..start + LANES];
            for row in tile.chunks_exact(TILE) {
                let losses = &row[start..start + LANES];
                for lane in 0..LANES {
                    let distance = losses[lane] - pivot[lane];
                    sum[lane] += distance;
                    square[lane] += distance * distance;
                }
            }
            sums[start..start + LANES].copy_from_slice(&sum);
            squares[start..start + LANES].copy_from_slice(&square);
        }
        // A sum of finite squares is finite, of losses below 1e18; bfloat16 can hold larger ones.
        if squares.iter().all(|square| square.is_finite()) {
            let (sum, lost) = (&mut self.sum[positions.clone()], &mut self.lost[positions.clone()]);
            let all = &mut self.squares[positions];
            let (sums, squares) = (&sums[..sum.len()], &squares[..sum.len()]);
            for at in 0..sum.len() {
                let (more, rounded) = two_sum(sum[at], f64::from(sums[at]));
                sum[at] = more;
                lost[at] += rounded;
                all[at] += f64::from(squares[at]);
            }
            return;
        }
        for (at, position) in positions.enumerate() {
            let distances = tile.chunks_exact(TILE).map(|row| f64::from(row[at]) - self.pivot[position]);
            let (sum, squares) = distances.fold((0.0, 0.0), |(sum, squares), d| (sum + d, d.mul_add(d, squares)));
            self.add_sums(position, sum, squares);
        }
    }

    #[inline(always)]
    fn add_lanes<T: Element, const N: usize>(&mut self, rows: &[&[T]], start: usize) {
        let pivot: [f64; N] = std::array::from_fn(|lane| self.pivot[start + lane]);
        let (mut sum, mut squares) = ([0.0; N], [0.0; N]);
        for row in rows {
            let losses = &row[start..start + N];
            for lane in 0..N {
                let distance = losses[lane].to_f64() - pivot[lane];
                sum[lane] += distance;
                squares[lane] += distance * distance;
            }
        }
        for lane in 0..N {
            self.add_sums(start + lane, sum[lane], squares[lane]);
        }
    }

    #[inline(always)]
    fn add_sums(&mut self, position: usize, sum: f64, squares: f64) {
        let (sum, lost) = two_sum(self.sum[position], sum);
        self.sum[position] = sum;
        self.lost[position] += lost;
        self.squares[position] += squares;
    }
}

/// `a + b` rounded, and what the rounding took; NaN beside an infinite sum.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}
