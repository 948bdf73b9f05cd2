//! Balancing (Parlett and Reinsch 1969): a diagonal similarity that brings each row and its column to like size.
//!
//! Eigenvalues stay as they are, since the scales are powers of two; rounding errors of what follows are relative to
//! the norm, which this makes as small as scales can.

use ndarray::Array2;

/// A step is worth its while if it shrinks a row and its column together to this part.
const WORTH: f64 = 0.95;

/// Replaces `matrix` (entries near 1 at most) by `D⁻¹ matrix D`.
pub(super) fn balance(matrix: &mut Array2<f64>) {
    let size = matrix.nrows();
    let mut changed = true;
    while changed {
        changed = false;
        for i in 0..size {
            let beside = (0..size).filter(|&j| j != i);
            let (column, row) =
                beside.fold((0.0, 0.0), |(c, r), j| (c + matrix[[j, i]].abs(), r + matrix[[i, j]].abs()));
            if column == 0.0 || row == 0.0 {
                continue;
            }
            // The power of two nearest to what makes both alike.
            let factor = (row.log2() / 2.0 - column.log2() / 2.0).round().clamp(-500.0, 500.0).exp2();
            if column * factor + row / factor < WORTH * (column + row) {
                changed = true;
                matrix.row_mut(i).mapv_inplace(|entry| entry / factor);
                matrix.column_mut(i).mapv_inplace(|entry| entry * factor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_row_sixteen_times_its_column_becomes_its_equal() {
        let mut matrix = array![[1.0, 16.0], [1.0, 1.0]];
        balance(&mut matrix);
        assert_eq!(matrix, array![[1.0, 4.0], [4.0, 1.0]]);
    }
}
