//! Matrix products in f64, a block of terms at a time, from panels that lie in memory as the registers read them.
//!
//! ```text
//! for each block of 256 terms:
//!     pack the left in panels of 8 rows and the right in panels of 16 columns, term after term
//!     for each panel of columns, for each panel of rows:  add their product to the result
//! ```
//!
//! A panel of columns stays in the nearest cache while all rows pass. Both sides are padded with zeros to whole panels,
//! and the blocks are added in order.

use ndarray::{Array2, ArrayView2, s};

use super::registers::{COLUMNS, ROWS, Side, add_product};
use crate::tensor::Element;

/// Terms of the sum packed at once: a panel of each side together fill the nearest cache.
pub(super) const TERMS: usize = 256;

/// `left @ right`, `(rows, terms)` by `(terms, columns)`, by one thread.
pub(super) fn multiply(left: ArrayView2<'_, f64>, right: ArrayView2<'_, f64>) -> Array2<f64> {
    let (rows, terms, columns) = (left.nrows(), left.ncols(), right.ncols());
    let padded = (rows.next_multiple_of(ROWS), columns.next_multiple_of(COLUMNS));
    let mut result = vec![0.0; padded.0 * padded.1];
    let (mut packed_left, mut packed_right) = (vec![0.0; padded.0 * TERMS], vec![0.0; padded.1 * TERMS]);
    for start in (0..terms).step_by(TERMS) {
        let end = (start + TERMS).min(terms);
        let (left, right) = (left.slice(s![.., start..end]), right.slice(s![start..end, ..]));
        let packed_left = &mut packed_left[..padded.0 * (end - start)];
        let packed_right = &mut packed_right[..padded.1 * (end - start)];
        for (number, panel) in packed_left.chunks_exact_mut(ROWS * (end - start)).enumerate() {
            pack(left, number, ROWS, panel);
        }
        for (number, panel) in packed_right.chunks_exact_mut(COLUMNS * (end - start)).enumerate() {
            pack(right.t(), number, COLUMNS, panel);
        }
        add_panels(end - start, packed_left, packed_right, &mut result, padded.1);
    }
    trimmed(result, padded.1, (rows, columns))
}

/// Adds the product of all panels of rows with all panels of columns to `result`, whose rows lie `stride` apart.
pub(super) fn add_panels(terms: usize, left: &[f64], right: &[f64], result: &mut [f64], stride: usize) {
    for (column, right) in right.chunks_exact(COLUMNS * terms).enumerate() {
        let right = Side { numbers: right, stride: COLUMNS, width: COLUMNS };
        for (row, left) in left.chunks_exact(ROWS * terms).enumerate() {
            let left = Side { numbers: left, stride: ROWS, width: ROWS };
            add_product(terms, left, right, &mut result[row * ROWS * stride + column * COLUMNS..], stride);
        }
    }
}

/// Writes panel `number` of `lines (line, term)`: `width` lines, term after term, zeros where there are no lines.
pub(super) fn pack<T: Element>(lines: ArrayView2<'_, T>, number: usize, width: usize, panel: &mut [f64]) {
    let lines = lines.slice(s![number * width..((number + 1) * width).min(lines.nrows()), ..]);
    if lines.nrows() < width {
        panel.fill(0.0);
    }
    if lines.stride_of(ndarray::Axis(0)) == 1 {
        for (packed, term) in panel.chunks_exact_mut(width).zip(lines.columns()) {
            packed.iter_mut().zip(term).for_each(|(packed, stored)| *packed = stored.to_f64());
        }
    } else {
        for (place, line) in lines.outer_iter().enumerate() {
            for (packed, stored) in panel[place..].iter_mut().step_by(width).zip(line) {
                *packed = stored.to_f64();
            }
        }
    }
}

/// The rows and columns that are not padding.
pub(super) fn trimmed(padded: Vec<f64>, stride: usize, (rows, columns): (usize, usize)) -> Array2<f64> {
    let mut result = Array2::zeros((rows, columns));
    for (mut row, padded) in result.outer_iter_mut().zip(padded.chunks_exact(stride.max(1))) {
        row.iter_mut().zip(padded).for_each(|(entry, &padded)| *entry = padded);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn two_by_two_by_hand() {
        let product = multiply(array![[1.0, 2.0], [3.0, 4.0]].view(), array![[5.0, 6.0], [7.0, 8.0]].view());
        assert_eq!(product, array![[19.0, 22.0], [43.0, 50.0]]);
    }

    #[test]
    fn any_sizes_and_strides_give_what_plain_sums_give() {
        for (rows, terms, columns) in
            [(1, 1, 1), (9, 257, 17), (8, 512, 16), (3, 5, 40), (0, 3, 2), (2, 0, 3), (2, 3, 0)]
        {
            let mut random = crate::random::Random::new((rows * 1000 + terms * 10 + columns) as u64);
            let left = Array2::from_shape_simple_fn((rows, terms), || random.normal());
            let right = Array2::from_shape_simple_fn((terms, columns), || random.normal());
            let expected = Array2::from_shape_fn((rows, columns), |(r, c)| {
                (0..terms).fold(0.0, |sum, k| sum + left[[r, k]] * right[[k, c]])
            });
            let turned = (left.t().as_standard_layout().to_owned(), right.t().as_standard_layout().to_owned());
            let product = multiply(left.view(), right.view());
            assert!((&product - &expected).iter().all(|d| d.abs() < 1e-12), "{rows} {terms} {columns}");
            assert_eq!(multiply(turned.0.t(), turned.1.t()), product);
        }
    }
}
