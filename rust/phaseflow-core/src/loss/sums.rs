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

use crate::tensor::{Element, prefetch};

/// Examples added before the sums of a task are touched.
pub(crate) const ROWS: usize = 16;
/// Positions whose sums stay in registers over all rows: a line of the cache, in single precision.
const STRIP: usize = 16;
/// The same in single precision.
const SINGLES: usize = 32;
/// Positions of [`ROWS`] losses of sixteen bits that are widened together: two lines as they are stored.
pub(super) const TILE: usize = 64;

/// Sums over examples at every position.
pub(crate) struct Summary {
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
    pub(crate) differences: Vec<f64>,
}

impl Summary {
    pub(crate) fn new(pivot: Vec<f64>) -> Self {
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

    pub(crate) fn mean(&self, position: usize) -> f64 {
        let (n, sum) = (self.n as f64, self.sum[position]);
        let shift = sum / n;
        let rest = ((-n).mul_add(shift, sum) + self.lost[position]) / n;
        let (mean, lost) = two_sum(self.pivot[position], shift);
        mean + (lost + rest)
    }

    pub(crate) fn standard_error(&self, position: usize) -> f64 {
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
    pub(crate) fn join(mut self, other: &Self) -> Self {
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

    /// The next examples, all as long as the context; `following` are asked for, strip by strip, as they come after
    /// them: the processor expects a row to go on where these runs end.
    #[inline(always)]
    pub(super) fn add<T: Element>(&mut self, rows: &[&[T]], following: &[&[T]]) {
        let context = self.sum.len();
        let strips = context / STRIP * STRIP;
        for first in (0..strips).step_by(STRIP) {
            self.add_strip::<T, STRIP>(first, rows, following);
        }
        for first in strips..context {
            self.add_strip::<T, 1>(first, rows, &[]);
        }
        self.n += rows.len();
    }

    /// `N` positions from `first` on.
    #[inline(always)]
    fn add_strip<T: Element, const N: usize>(&mut self, first: usize, rows: &[&[T]], following: &[&[T]]) {
        let positions = first..first + N;
        let pivots: [f64; N] = std::array::from_fn(|at| self.pivot[first + at]);
        let (mut sums, mut squares) = ([0.0; N], [0.0; N]);
        for (number, row) in rows.iter().enumerate() {
            if let Some(row) = following.get(number) {
                prefetch(&row[positions.clone()]);
            }
            let row = &row[positions.clone()];
            for at in 0..N {
                let distance = row[at].to_f64() - pivots[at];
                sums[at] += distance;
                squares[at] += distance * distance;
            }
        }
        self.add_sums(positions, &sums, &squares);
    }

    /// Some positions of the next examples, stored in sixteen bits and widened: `(example, TILE)`.
    #[inline(always)]
    pub(super) fn add_widened(&mut self, positions: Range<usize>, tile: &[f32]) {
        let (mut sums, mut squares) = ([0.0_f32; TILE], [0.0_f32; TILE]);
        let mut pivots = [0.0_f32; TILE];
        pivots.iter_mut().zip(&self.pivot[positions.clone()]).for_each(|(single, &pivot)| *single = pivot as f32);
        let strips = pivots.as_chunks::<SINGLES>().0.iter();
        let (rows, _) = tile.as_chunks::<TILE>();
        for (strip, pivots) in strips.enumerate() {
            let at = strip * SINGLES..(strip + 1) * SINGLES;
            let (mut sum, mut square) = ([0.0; SINGLES], [0.0; SINGLES]);
            for row in rows {
                let row = &row[at.clone()];
                for at in 0..SINGLES {
                    let distance = row[at] - pivots[at];
                    sum[at] += distance;
                    square[at] += distance * distance;
                }
            }
            sums[at.clone()].copy_from_slice(&sum);
            squares[at].copy_from_slice(&square);
        }
        // A sum of finite squares is finite, of losses below 1e18; bfloat16 can hold larger ones.
        if squares[..positions.len()].iter().fold(true, |finite, square| finite & square.is_finite()) {
            let (sums, squares) = (sums.map(f64::from), squares.map(f64::from));
            self.add_sums(positions.clone(), &sums[..positions.len()], &squares[..positions.len()]);
            return;
        }
        for (at, position) in positions.enumerate() {
            let distances = rows.iter().map(|row| f64::from(row[at]) - self.pivot[position]);
            let (sum, squares) = distances.fold((0.0, 0.0), |(sum, squares), d| (sum + d, d.mul_add(d, squares)));
            self.add_sums(position..position + 1, &[sum], &[squares]);
        }
    }

    /// What one block of examples adds at some positions.
    #[inline(always)]
    fn add_sums(&mut self, positions: Range<usize>, sums: &[f64], squares: &[f64]) {
        let (sum, lost) = (&mut self.sum[positions.clone()], &mut self.lost[positions.clone()]);
        let all = &mut self.squares[positions];
        for at in 0..sums.len() {
            let (more, rounded) = two_sum(sum[at], sums[at]);
            sum[at] = more;
            lost[at] += rounded;
            all[at] += squares[at];
        }
    }
}

/// `a + b` rounded, and what the rounding took; NaN beside an infinite sum.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}
