//! Eight vectors at a time as one correlation sees them.
//!
//! Taking a vector's parts along some columns off it reads every column twice for little arithmetic. Eight vectors lie side
//! by side instead, and a number of a column is loaded once for all of them:
//!
//! ```text
//! part_k  = sum over samples i of column_k[i] y[i]
//! y[i]   -= sum over columns k of column_k[i] part_k       y[i], part_k: eight numbers, one of each vector
//! ```
//!
//! Every sum has the terms and the order that [`dot`](super::super::linear_algebra::dot) and its like give it for one vector
//! alone, so that the bits are the same.

use super::super::autoregression::innovations_together;
use super::noise::Correlation;
use crate::vectorize::{has_wide_registers, vectorize_laid_out};

/// Vectors: side by side they fill one wide register or two narrow ones.
pub(crate) const TOGETHER: usize = 8;
/// Sums that an inner product consists of.
const SUMS: usize = 8;

/// One number of each vector.
pub(crate) type Lanes = [f64; TOGETHER];

/// Standardised vectors after whitening and removing the base, and their parts along the relaxations' directions, which are
/// removed as well.
pub(crate) fn project(correlation: &Correlation, standardised: &[Lanes]) -> (Vec<Lanes>, Vec<Lanes>) {
    let wide = has_wide_registers();
    vectorize_laid_out(
        wide,
        #[inline(always)]
        |_| match wide {
            true => project_by::<8>(correlation, standardised),
            false => project_by::<4>(correlation, standardised),
        },
    )
}

/// With `N` sums in registers at a time.
#[inline(always)]
fn project_by<const N: usize>(correlation: &Correlation, standardised: &[Lanes]) -> (Vec<Lanes>, Vec<Lanes>) {
    let mut rests = innovations_together(correlation.rho, standardised);
    remove::<N>(&mut rests, &correlation.base);
    let parts = remove::<N>(&mut rests, &correlation.directions);
    (rests, parts)
}

/// Takes the parts of the vectors along orthonormal columns off them, and gives these.
// Plain loops: what a closure or an iterator's adapter hides may be compiled for the narrower registers.
#[inline(always)]
fn remove<const N: usize>(vectors: &mut [Lanes], columns: &[Vec<f64>]) -> Vec<Lanes> {
    let mut parts = Vec::with_capacity(columns.len());
    for column in columns {
        parts.push(dot::<N>(column, vectors));
    }
    let (chunks, others) = vectors.as_chunks_mut::<N>();
    for (index, chunk) in chunks.iter_mut().enumerate() {
        let mut left = *chunk;
        for (column, part) in columns.iter().zip(&parts) {
            let off = negative(part);
            let numbers = &column[index * N..][..N];
            for k in 0..N {
                add_product(&mut left[k], numbers[k], &off);
            }
        }
        *chunk = left;
    }
    let first = N * chunks.len();
    for (index, left) in others.iter_mut().enumerate() {
        for (column, part) in columns.iter().zip(&parts) {
            add_product(left, column[first + index], &negative(part));
        }
    }
    parts
}

/// The inner product of a column with every vector.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "iterators may be compiled for the narrower registers")]
fn dot<const N: usize>(column: &[f64], vectors: &[Lanes]) -> Lanes {
    let (eights, tail) = column.as_chunks::<SUMS>();
    let (vectors, vectors_of_tail) = vectors.as_chunks::<SUMS>();
    let mut found = [0.0; TOGETHER];
    for first in (0..SUMS).step_by(N) {
        let mut sums = [[0.0; TOGETHER]; N];
        for (numbers, vectors) in eights.iter().zip(vectors) {
            for k in 0..N {
                add_product(&mut sums[k], numbers[first + k], &vectors[first + k]);
            }
        }
        for k in 0..N {
            add_product(&mut found, 1.0, &sums[k]);
        }
    }
    let mut rest = [0.0; TOGETHER];
    for (number, vectors) in tail.iter().zip(vectors_of_tail) {
        add_product(&mut rest, *number, vectors);
    }
    add_product(&mut found, 1.0, &rest);
    found
}

/// `sums += factor * vectors`.
#[inline(always)]
fn add_product(sums: &mut Lanes, factor: f64, vectors: &Lanes) {
    for lane in 0..TOGETHER {
        sums[lane] += factor * vectors[lane];
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "iterators may be compiled for the narrower registers")]
fn negative(numbers: &Lanes) -> Lanes {
    let mut negative = *numbers;
    for lane in 0..TOGETHER {
        negative[lane] = -negative[lane];
    }
    negative
}

/// Vectors of one length side by side, zeros behind the last.
pub(crate) fn side_by_side(vectors: &[Vec<f64>]) -> Vec<Lanes> {
    let mut together = vec![[0.0; TOGETHER]; vectors.first().map_or(0, Vec::len)];
    for (lane, vector) in vectors.iter().enumerate() {
        together.iter_mut().zip(vector).for_each(|(lanes, value)| lanes[lane] = *value);
    }
    together
}

/// One of them.
pub(crate) fn of_lane(together: &[Lanes], lane: usize) -> Vec<f64> {
    together.iter().map(|lanes| lanes[lane]).collect()
}

#[cfg(test)]
mod tests {
    use super::{project_by, side_by_side};
    use crate::Cancel;
    use crate::changepoint::window::noise::Noise;

    #[test]
    fn narrow_and_wide_registers_give_the_same_bits() {
        let u: Vec<f64> = (0..29).map(|i| f64::from(i) / 28.0).collect();
        let relaxations = (1..5).map(|k| u.iter().map(|u| (-f64::from(k * k) * u).exp()).collect()).collect();
        let noise = Noise::new(&[vec![1.0; 29], u.clone()], relaxations, vec![1.0; 29], &Cancel::new()).unwrap();
        let curves: Vec<Vec<f64>> =
            (1..6).map(|k| u.iter().map(|u| (31.0 * f64::from(k) * u).sin()).collect()).collect();
        for correlation in &noise.correlations {
            let together = side_by_side(&curves);
            assert_eq!(project_by::<4>(correlation, &together), project_by::<8>(correlation, &together));
        }
    }
}
