//! The triangular factor of a matrix: `R` with `RᵀR = AᵀA`, so that `‖A M‖ = ‖R M‖` for every `M`.
//!
//! By Householder reflections on `A` itself. The Cholesky factor of the Gram matrix is the same `R`, but squares the
//! numbers first, which leaves half the digits of what nearly cancels, and does not exist for a rank-deficient `A`.

use ndarray::Array2;

use crate::vectorize::vectorize;

/// `R`, `(min(rows, columns), columns)`, of a matrix `(rows, columns)`.
pub(super) fn triangular_factor(matrix: &Array2<f64>) -> Array2<f64> {
    let (rows, columns) = matrix.dim();
    // One column after the other in memory.
    let mut column: Vec<Vec<f64>> = matrix.columns().into_iter().map(|column| column.to_vec()).collect();
    vectorize(|| reflect(&mut column, rows));
    Array2::from_shape_fn((rows.min(columns), columns), |(i, j)| if i <= j { column[j][i] } else { 0.0 })
}

#[inline(always)]
fn reflect(column: &mut [Vec<f64>], rows: usize) {
    for k in 0..rows.min(column.len()) {
        let (done, rest) = column.split_at_mut(k + 1);
        let mirror = &mut done[k][k..];
        let norm = dot(mirror, mirror).sqrt();
        if norm == 0.0 {
            continue;
        }
        let diagonal = if mirror[0] > 0.0 { -norm } else { norm };
        mirror[0] -= diagonal;
        let half_square = dot(mirror, mirror) / 2.0;
        for other in rest {
            let other = &mut other[k..];
            let share = dot(mirror, other) / half_square;
            other.iter_mut().zip(&*mirror).for_each(|(other, mirror)| *other -= share * mirror);
        }
        mirror[0] = diagonal;
    }
}

/// Eight running sums, so that the loop fills vector registers.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail = a_blocks.remainder().iter().zip(b_blocks.remainder()).fold(0.0, |sum, (a, b)| sum + a * b);
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().fold(tail, |sum, lane| sum + lane)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_matrix_of_three_and_four_has_a_factor_of_five() {
        let factor = triangular_factor(&array![[3.0, 5.0], [4.0, 10.0]]);
        // AᵀA = [[25, 55], [55, 125]] = RᵀR with R = ±[[5, 11], [0, 2]].
        assert!((factor[[0, 0]].abs() - 5.0).abs() < 1e-15);
        assert!((factor[[0, 1]] / factor[[0, 0]] - 11.0 / 5.0).abs() < 1e-15);
        assert!((factor[[1, 1]].abs() - 2.0).abs() < 1e-14);
        assert_eq!(factor[[1, 0]], 0.0);
    }

    #[test]
    fn wide_tall_and_deficient_matrices_keep_their_gram_matrix() {
        for (rows, columns) in [(1, 1), (2, 5), (9, 3), (20, 20), (0, 3), (3, 0)] {
            let mut random = crate::random::Random::new((rows * 100 + columns) as u64);
            let mut matrix = Array2::from_shape_simple_fn((rows, columns), || random.normal());
            if columns > 2 {
                let doubled = &matrix.column(0) * 2.0;
                matrix.column_mut(1).assign(&doubled);
            }
            let factor = triangular_factor(&matrix);
            let difference = factor.t().dot(&factor) - matrix.t().dot(&matrix);
            assert!(difference.iter().all(|d| d.abs() < 1e-12), "{rows} × {columns}");
        }
    }
}
