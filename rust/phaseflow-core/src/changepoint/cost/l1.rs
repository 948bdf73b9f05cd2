//! Absolute distance from the segment's median: `sum_i |y_i - median|`, for changes of level under heavy-tailed noise.
//!
//! A wavelet matrix (Claude, Navarro, Ordóñez 2015) holds the samples by rank, one bit of the rank a level, with the
//! sum of what goes left at each: the sum of the k smallest of any segment takes one step a level. The cost is what lies
//! above the median less what lies below.

use ndarray::{ArrayView1, ArrayView2};

use super::super::compensated::{Pair, PrefixSums};
use super::{Cost, NeverRaisedBySplitting};
use crate::{Cancel, Result};

/// One wavelet matrix a feature.
#[derive(Debug)]
pub(crate) struct L1(Vec<Ranked>);

impl L1 {
    /// `signal` is (sample, feature).
    pub(crate) fn new(signal: ArrayView2<'_, f64>, cancel: &Cancel) -> Result<Self> {
        Ok(Self(signal.columns().into_iter().map(|y| Ranked::new(y, cancel)).collect::<Result<_>>()?))
    }
}

impl Cost for L1 {
    fn of(&self, start: usize, end: usize) -> f64 {
        self.0.iter().map(|feature| feature.distance(start, end)).sum()
    }
}

impl NeverRaisedBySplitting for L1 {}

#[derive(Debug)]
struct Ranked {
    sorted: Vec<f64>,
    total: PrefixSums,
    levels: Vec<Level>,
}

/// One bit of the ranks, in the order the bits above it have brought them.
#[derive(Debug)]
struct Level {
    /// How many of the first i have bit 0.
    zeros: Vec<usize>,
    /// Sums of those that have.
    sums: PrefixSums,
}

impl Ranked {
    fn new(y: ArrayView1<'_, f64>, cancel: &Cancel) -> Result<Self> {
        let mut order: Vec<usize> = (0..y.len()).collect();
        order.sort_by(|&a, &b| y[a].total_cmp(&y[b]));
        let sorted: Vec<f64> = order.iter().map(|&index| y[index]).collect();
        let mut ranks = vec![0; y.len()];
        for (rank, &index) in order.iter().enumerate() {
            ranks[index] = rank;
        }
        let bits = usize::BITS - y.len().saturating_sub(1).leading_zeros();
        let mut levels = Vec::new();
        for bit in (0..bits).rev() {
            cancel.check()?;
            let is_zero = |rank: &usize| rank >> bit & 1 == 0;
            let mut zeros = vec![0; ranks.len() + 1];
            for (index, rank) in ranks.iter().enumerate() {
                zeros[index + 1] = zeros[index] + usize::from(is_zero(rank));
            }
            let part = |rank: &usize| if is_zero(rank) { Pair::from(sorted[*rank]) } else { Pair::default() };
            levels.push(Level { zeros, sums: PrefixSums::new(ranks.iter().map(part)) });
            let (left, right): (Vec<usize>, Vec<usize>) = ranks.iter().partition(|rank| is_zero(rank));
            ranks = left;
            ranks.extend(right);
        }
        Ok(Self { sorted, total: PrefixSums::new(y.iter().map(|y| Pair::from(*y))), levels })
    }

    fn distance(&self, start: usize, end: usize) -> f64 {
        let count = end - start;
        let (below, median) = self.lowest(start, end, count / 2);
        let above = self.total.over(start, end).minus(below);
        let odd = if count % 2 == 1 { Pair::from(median) } else { Pair::default() };
        above.minus(odd).minus(below).value().max(0.0)
    }

    /// The sum of the `count` smallest samples of a segment, and the next one.
    fn lowest(&self, mut start: usize, mut end: usize, mut count: usize) -> (Pair, f64) {
        let mut sum = Pair::default();
        let mut rank = 0;
        for Level { zeros, sums } in &self.levels {
            let (left, right) = (zeros[start], zeros[end]);
            rank <<= 1;
            if count < right - left {
                (start, end) = (left, right);
            } else {
                sum = sum.plus(sums.over(start, end));
                count -= right - left;
                let all = zeros[zeros.len() - 1];
                (start, end) = (all + start - left, all + end - right);
                rank |= 1;
            }
        }
        (sum, self.sorted[rank])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{Cost, L1};
    use crate::Cancel;
    use crate::random::Random;

    #[test]
    fn every_segment_costs_its_distances_from_its_median() {
        let mut random = Random::new(4);
        for n in [1, 2, 3, 8, 21] {
            let y: Vec<f64> = (0..n).map(|_| (4.0 * random.normal()).round()).collect();
            let signal = Array2::from_shape_fn((n, 1), |(i, _)| y[i]);
            let cost = L1::new(signal.view(), &Cancel::new()).unwrap();
            for start in 0..n {
                for end in start + 1..=n {
                    let mut part = y[start..end].to_vec();
                    part.sort_by(f64::total_cmp);
                    let expected: f64 = part.iter().map(|y| (y - part[part.len() / 2]).abs()).sum();
                    assert_eq!(cost.of(start, end), expected, "{part:?}");
                }
            }
        }
    }
}
