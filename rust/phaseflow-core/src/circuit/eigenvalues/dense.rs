//! All eigenvalues of a square matrix: balance, reduce to Hessenberg form, then QR steps until it is triangular.

use ndarray::Array2;

use super::balance::balance;
use super::francis::eigenvalues_of_hessenberg;
use super::hessenberg::reduce_to_hessenberg;

/// A complex number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Complex {
    /// Real part.
    pub re: f64,
    /// Imaginary part.
    pub im: f64,
}

impl Complex {
    /// Not a number.
    pub const NAN: Self = Self { re: f64::NAN, im: f64::NAN };

    /// Distance from 0.
    pub fn abs(self) -> f64 {
        self.re.hypot(self.im)
    }
}

/// The eigenvalues of a square `matrix`, largest first; conjugates side by side, the one above the real axis first.
///
/// All NaN if an entry is not finite, or if the steps do not converge (no such matrix is known).
pub(in crate::circuit) fn eigenvalues(mut matrix: Array2<f64>) -> Vec<Complex> {
    let size = matrix.nrows();
    let largest = matrix.iter().fold(0.0, |largest: f64, entry| largest.max(entry.abs()));
    if !matrix.iter().all(|entry| entry.is_finite()) {
        return vec![Complex::NAN; size];
    }
    if largest == 0.0 {
        return vec![Complex { re: 0.0, im: 0.0 }; size];
    }
    // A power of two near the largest entry: dividing by it rounds nothing, and no square overflows afterwards.
    let scale = largest.log2().floor().clamp(-1022.0, 1023.0).exp2();
    matrix.mapv_inplace(|entry| entry / scale);
    balance(&mut matrix);
    reduce_to_hessenberg(&mut matrix);
    let Some(mut found) = eigenvalues_of_hessenberg(&mut matrix) else {
        return vec![Complex::NAN; size];
    };
    for value in &mut found {
        *value = Complex { re: value.re * scale, im: value.im * scale };
    }
    let order = |value: &Complex| (value.abs(), value.re, value.im);
    found.sort_by(|a, b| {
        let ((a_abs, a_re, a_im), (b_abs, b_re, b_im)) = (order(a), order(b));
        b_abs.total_cmp(&a_abs).then(b_re.total_cmp(&a_re)).then(b_im.total_cmp(&a_im))
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn complex(re: f64, im: f64) -> Complex {
        Complex { re, im }
    }

    fn close(found: &[Complex], expected: &[Complex], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!(complex(f.re - e.re, f.im - e.im).abs() <= tolerance, "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn a_quarter_turn_has_the_eigenvalues_i_and_minus_i() {
        close(&eigenvalues(array![[0.0, -1.0], [1.0, 0.0]]), &[complex(0.0, 1.0), complex(0.0, -1.0)], 1e-16);
    }

    #[test]
    fn small_matrices_by_hand() {
        assert!(eigenvalues(Array2::zeros((0, 0))).is_empty());
        close(&eigenvalues(array![[-3.0]]), &[complex(-3.0, 0.0)], 0.0);
        // Characteristic polynomial x² - 5x + 6.
        close(&eigenvalues(array![[4.0, 1.0], [-2.0, 1.0]]), &[complex(3.0, 0.0), complex(2.0, 0.0)], 1e-14);
        // Companion of (x - 1)(x - 2)(x - 3).
        let companion = array![[6.0, -11.0, 6.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        close(&eigenvalues(companion), &[complex(3.0, 0.0), complex(2.0, 0.0), complex(1.0, 0.0)], 1e-12);
    }

    #[test]
    fn a_cyclic_permutation_has_the_roots_of_one() {
        for size in 2..=40 {
            let cycle = Array2::from_shape_fn((size, size), |(i, j)| f64::from(u8::from(i == (j + 1) % size)));
            let found = eigenvalues(cycle);
            for k in 0..size {
                let angle = std::f64::consts::TAU * k as f64 / size as f64;
                let distance = |f: &Complex| complex(f.re - angle.cos(), f.im - angle.sin()).abs();
                assert!(found.iter().any(|f| distance(f) < 1e-13), "root {k} of {size}: {found:?}");
            }
        }
    }

    #[test]
    fn rows_of_unlike_scale_cost_no_digits() {
        let plain =
            Array2::from_shape_fn(
                (8, 8),
                |(i, j)| {
                    if i == j { (i + 1) as f64 } else { 0.1 * ((i * 7 + j * 3) % 5) as f64 }
                },
            );
        let expected = eigenvalues(plain.clone());
        for power in [2, 8, 24] {
            let graded =
                Array2::from_shape_fn((8, 8), |(i, j)| plain[[i, j]] * 2_f64.powi(power * (i as i32 - j as i32)));
            close(&eigenvalues(graded), &expected, 1e-12);
        }
    }

    #[test]
    fn blocks_of_unlike_size_do_not_stop_each_other() {
        let mut random = crate::random::Random::new(8);
        let mut matrix = Array2::zeros((16, 16));
        for (block, size) in [1.0, 1e-100, 1e-200, 1e-300].into_iter().enumerate() {
            let range = 4 * block..4 * block + 4;
            matrix.slice_mut(ndarray::s![range.clone(), range]).mapv_inplace(|_: f64| size * random.normal());
        }
        let found = eigenvalues(matrix);
        for (block, size) in [1.0, 1e-100, 1e-200, 1e-300].into_iter().enumerate() {
            assert!(found[4 * block..4 * block + 4].iter().all(|λ| (0.01 * size..10.0 * size).contains(&λ.abs())));
        }
    }

    #[test]
    fn huge_and_tiny_matrices_scale() {
        for scale in [1e300, 1e-300, f64::MIN_POSITIVE / 1024.0] {
            let found = eigenvalues(array![[0.0, scale], [scale, 0.0]]);
            close(&found, &[complex(scale, 0.0), complex(-scale, 0.0)], scale * 1e-15);
        }
    }

    #[test]
    fn a_number_that_is_not_finite_leaves_nothing_defined() {
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(eigenvalues(array![[1.0, bad], [0.0, 1.0]]).iter().all(|value| value.re.is_nan()));
        }
    }
}
