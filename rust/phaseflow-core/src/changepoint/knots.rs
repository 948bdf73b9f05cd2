//! The least-squares continuous curve of lines with kinks at given samples.

use super::linear_algebra::{add_scaled, dot, orthonormalise};

/// Fitted values at every sample. The curves with these kinks are spanned by a constant, x, and one hinge
/// `max(x - kink, 0)` each; y is projected on an orthonormal basis of them.
pub(crate) fn fit(x: &[f64], y: &[f64], kinks: &[usize]) -> Vec<f64> {
    let hinge = |place: f64| x.iter().map(|x| (x - place).max(0.0)).collect::<Vec<f64>>();
    let mut columns = vec![vec![1.0; x.len()], x.to_vec()];
    columns.extend(kinks.iter().map(|&kink| hinge(x[kink])));
    let (basis, _) = orthonormalise(columns);
    let mut rest = y.to_vec();
    for _ in 0..2 {
        for column in &basis {
            let part = dot(column, &rest);
            add_scaled(&mut rest, -part, column);
        }
    }
    y.iter().zip(rest).map(|(y, rest)| y - rest).collect()
}
