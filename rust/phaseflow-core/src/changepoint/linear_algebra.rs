//! The little dense linear algebra the detector needs: vectors as slices, matrices as lists of columns.

/// Inner product, in eight fixed lanes so that the compiler may use vector registers without changing the result.
///
/// Plain loops here and below, because they are compiled anew for wide registers, and an iterator's methods need not be.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len().min(b.len());
    let (a, b) = (&a[..count], &b[..count]);
    let whole = count - count % 8;
    let mut lanes = [0.0; 8];
    let mut index = 0;
    while index < whole {
        for lane in 0..8 {
            lanes[lane] += a[index + lane] * b[index + lane];
        }
        index += 8;
    }
    let mut tail = 0.0;
    while index < count {
        tail += a[index] * b[index];
        index += 1;
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    sum + tail
}

/// [`dot`] of `a` with itself and with `b`, in one pass.
#[inline(always)]
pub(crate) fn dot_itself_and(a: &[f64], b: &[f64]) -> (f64, f64) {
    let count = a.len().min(b.len());
    let (eights, tail) = a[..count].as_chunks::<8>();
    let (eights_of_b, tail_of_b) = b[..count].as_chunks::<8>();
    let (mut squares, mut products) = ([0.0; 8], [0.0; 8]);
    for (a, b) in eights.iter().zip(eights_of_b) {
        add_products(&mut squares, a, a);
        add_products(&mut products, a, b);
    }
    let (mut square, mut product) = (0.0, 0.0);
    for index in 0..tail.len() {
        square += tail[index] * tail[index];
        product += tail[index] * tail_of_b[index];
    }
    (sum_of(squares) + square, sum_of(products) + product)
}

#[inline(always)]
fn sum_of(lanes: [f64; 8]) -> f64 {
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    sum
}

/// `target += factor * source`.
#[inline(always)]
pub(crate) fn add_scaled(target: &mut [f64], factor: f64, source: &[f64]) {
    let count = target.len().min(source.len());
    let (target, source) = (&mut target[..count], &source[..count]);
    for index in 0..count {
        target[index] += factor * source[index];
    }
}

/// The inner products of `vector` with every column: four columns at a time, so that one's sums are not waited for.
#[inline(always)]
pub(crate) fn dots(columns: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    let mut found = Vec::with_capacity(columns.len());
    let mut fours = columns.chunks_exact(4);
    for four in &mut fours {
        found.extend(dot_four([&four[0], &four[1], &four[2], &four[3]], vector));
    }
    for column in fours.remainder() {
        found.push(dot(column, vector));
    }
    found
}

/// Four times [`dot`], with the same bits.
#[inline(always)]
fn dot_four(columns: [&[f64]; 4], vector: &[f64]) -> [f64; 4] {
    let mut lanes = [[0.0; 8]; 4];
    let [first, second, third, fourth] = columns.map(|column| column.as_chunks::<8>().0);
    let (eights, tail) = vector.as_chunks::<8>();
    let count = eights.len();
    let (first, second, third, fourth) = (&first[..count], &second[..count], &third[..count], &fourth[..count]);
    for index in 0..count {
        let vector = &eights[index];
        add_products(&mut lanes[0], &first[index], vector);
        add_products(&mut lanes[1], &second[index], vector);
        add_products(&mut lanes[2], &third[index], vector);
        add_products(&mut lanes[3], &fourth[index], vector);
    }
    let mut found = [0.0; 4];
    for which in 0..4 {
        let mut rest = 0.0;
        for index in 0..tail.len() {
            rest += columns[which][8 * count + index] * tail[index];
        }
        for lane in &lanes[which] {
            found[which] += lane;
        }
        found[which] += rest;
    }
    found
}

#[inline(always)]
fn add_products(lanes: &mut [f64; 8], a: &[f64; 8], b: &[f64; 8]) {
    for lane in 0..8 {
        lanes[lane] += a[lane] * b[lane];
    }
}

/// `target += sum of factor_k * column_k`, in order, four columns a pass over `target`.
#[inline(always)]
pub(crate) fn add_all_scaled(target: &mut [f64], factors: &[f64], columns: &[Vec<f64>]) {
    let count = factors.len().min(columns.len());
    let whole = count - count % 4;
    let mut k = 0;
    while k < whole {
        let length = target.len();
        let four =
            [&columns[k][..length], &columns[k + 1][..length], &columns[k + 2][..length], &columns[k + 3][..length]];
        let by = [factors[k], factors[k + 1], factors[k + 2], factors[k + 3]];
        for index in 0..length {
            let value = target[index] + by[0] * four[0][index];
            let value = value + by[1] * four[1][index];
            let value = value + by[2] * four[2][index];
            target[index] = value + by[3] * four[3][index];
        }
        k += 4;
    }
    while k < count {
        add_scaled(target, factors[k], &columns[k]);
        k += 1;
    }
}

/// Removes from `vector` its part in the span of the orthonormal `basis`; twice, so that rounding does not add up.
pub(crate) fn project_out(vector: &mut [f64], basis: &[Vec<f64>]) {
    for _ in 0..2 {
        for column in basis {
            let part = dot(column, vector);
            add_scaled(vector, -part, column);
        }
    }
}

/// Orthonormal columns with the span of `columns`, and the log of the product of the lengths removed
/// (`ln |det R|` of a QR decomposition). A column that depends on earlier ones to 1e-12 is left out.
pub(crate) fn orthonormalise(columns: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, f64) {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(columns.len());
    let mut log_det = 0.0;
    for mut column in columns {
        let before = dot(&column, &column).sqrt();
        project_out(&mut column, &basis);
        let length = dot(&column, &column).sqrt();
        if length > 1e-12 * before && length > 0.0 {
            column.iter_mut().for_each(|value| *value /= length);
            log_det += length.ln();
            basis.push(column);
        }
    }
    (basis, log_det)
}

/// Left singular vectors and squared singular values of `columns`, largest first, by one-sided Jacobi rotations;
/// those below `1e-14` of the largest squared value are left out.
pub(crate) fn principal_directions(mut columns: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, Vec<f64>) {
    const SWEEPS: usize = 30;
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for j in 1..columns.len() {
            let (left, right) = columns.split_at_mut(j);
            let second = &mut right[0];
            for first in left {
                let (aa, bb, ab) = (dot(first, first), dot(second, second), dot(first, second));
                if ab.abs() <= 1e-15 * (aa * bb).sqrt() || ab == 0.0 {
                    continue;
                }
                rotated = true;
                let zeta = (bb - aa) / (2.0 * ab);
                let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
                let sine = cosine * tangent;
                for (x, y) in first.iter_mut().zip(second.iter_mut()) {
                    (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                }
            }
        }
        if !rotated {
            break;
        }
    }
    let mut found: Vec<(f64, Vec<f64>)> = columns.into_iter().map(|column| (dot(&column, &column), column)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let largest = found.first().map_or(0.0, |first| first.0);
    found.retain(|(strength, _)| *strength > 1e-14 * largest);
    let strengths = found.iter().map(|(strength, _)| *strength).collect();
    let (directions, _) = orthonormalise(found.into_iter().map(|(_, column)| column).collect());
    (directions, strengths)
}

#[cfg(test)]
mod tests {
    use super::{add_all_scaled, add_scaled, dot, dot_itself_and, dots, orthonormalise, principal_directions};

    #[test]
    fn several_columns_at_a_time_give_the_bits_of_one_by_one() {
        for (count, length) in [(0, 5), (1, 8), (4, 3), (7, 21), (9, 40)] {
            let value = |k: usize, i: usize| ((k * 31 + i * 17) as f64 * 0.7).sin();
            let columns: Vec<Vec<f64>> = (0..count).map(|k| (0..length).map(|i| value(k, i)).collect()).collect();
            let vector: Vec<f64> = (0..length).map(|i| value(99, i)).collect();
            let factors: Vec<f64> = columns.iter().map(|column| dot(column, &vector)).collect();
            assert_eq!(dots(&columns, &vector), factors);
            for (column, factor) in columns.iter().zip(&factors) {
                assert_eq!(dot_itself_and(column, &vector), (dot(column, column), *factor));
            }
            let (mut at_once, mut one_by_one) = (vector.clone(), vector);
            add_all_scaled(&mut at_once, &factors, &columns);
            columns.iter().zip(&factors).for_each(|(column, factor)| add_scaled(&mut one_by_one, *factor, column));
            assert_eq!(at_once, one_by_one);
        }
    }

    #[test]
    fn principal_directions_of_a_diagonal_matrix_are_its_axes() {
        let (directions, strengths) = principal_directions(vec![vec![0.0, 2.0, 0.0], vec![3.0, 0.0, 0.0]]);
        assert_eq!(strengths, vec![9.0, 4.0]);
        assert_eq!(directions, vec![vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0]]);
    }

    #[test]
    fn principal_directions_rebuild_the_matrix_product() {
        let columns: Vec<Vec<f64>> =
            (0..6).map(|k| (0..20).map(|i| (-0.3 * f64::from(k) * f64::from(i)).exp()).collect()).collect();
        let (directions, strengths) = principal_directions(columns.clone());
        for i in 0..20 {
            for j in 0..20 {
                let expected: f64 = columns.iter().map(|c| c[i] * c[j]).sum();
                let rebuilt: f64 = directions.iter().zip(&strengths).map(|(u, s)| s * u[i] * u[j]).sum();
                assert!((expected - rebuilt).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn orthonormal_columns_are_orthonormal_and_dependent_ones_are_dropped() {
        let (basis, log_det) = orthonormalise(vec![vec![2.0, 0.0], vec![4.0, 0.0], vec![1.0, 3.0]]);
        assert_eq!(basis.len(), 2);
        assert!((log_det - 6.0_f64.ln()).abs() < 1e-15);
        assert!(dot(&basis[0], &basis[1]).abs() < 1e-15);
    }
}
