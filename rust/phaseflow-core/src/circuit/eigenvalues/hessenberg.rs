//! Hessenberg form: zeros below the first subdiagonal, by an orthogonal similarity of Householder reflections.

use ndarray::{Array2, s};

/// Replaces `matrix` by `Qᵀ matrix Q` with zeros below the first subdiagonal.
pub(super) fn reduce_to_hessenberg(matrix: &mut Array2<f64>) {
    let size = matrix.nrows();
    for k in 0..size.saturating_sub(2) {
        let mut mirror = matrix.slice(s![k + 1.., k]).to_owned();
        let norm = mirror.dot(&mirror).sqrt();
        if norm == 0.0 {
            continue;
        }
        let below = if mirror[0] > 0.0 { -norm } else { norm };
        mirror[0] -= below;
        let half_square = mirror.dot(&mirror) / 2.0;
        // The reflection 1 - mirror mirrorᵀ / half_square, from the left, then from the right.
        let mut rows = matrix.slice_mut(s![k + 1.., k..]);
        let shares = mirror.dot(&rows) / half_square;
        for (mut row, &component) in rows.rows_mut().into_iter().zip(&mirror) {
            row.scaled_add(-component, &shares);
        }
        let mut columns = matrix.slice_mut(s![.., k + 1..]);
        let shares = columns.dot(&mirror) / half_square;
        for (mut row, &share) in columns.rows_mut().into_iter().zip(&shares) {
            row.scaled_add(-share, &mirror);
        }
        matrix[[k + 1, k]] = below;
        matrix.slice_mut(s![k + 2.., k]).fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_and_size_stay_and_the_lower_corner_is_zero() {
        let mut random = crate::random::Random::new(5);
        let matrix = Array2::from_shape_simple_fn((7, 7), || random.normal());
        let mut reduced = matrix.clone();
        reduce_to_hessenberg(&mut reduced);
        let size = |m: &Array2<f64>| m.iter().map(|x| x * x).sum::<f64>();
        assert!((matrix.diag().sum() - reduced.diag().sum()).abs() < 1e-13);
        assert!((size(&matrix) - size(&reduced)).abs() < 1e-12);
        let cube = |m: &Array2<f64>| m.dot(m).dot(m).diag().sum();
        assert!((cube(&matrix) - cube(&reduced)).abs() < 1e-11);
        assert!(reduced.indexed_iter().all(|((i, j), &entry)| i <= j + 1 || entry == 0.0));
    }
}
