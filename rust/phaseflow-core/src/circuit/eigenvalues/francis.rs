//! Eigenvalues of a Hessenberg matrix by double-shift QR steps (Francis 1961; Golub and Van Loan, 7.5).
//!
//! ```text
//! while a block is left:
//!     a subdiagonal entry that is rounding error splits the block: go on with the lower part
//!     a part of one or two rows: its eigenvalues are read off
//!     otherwise: one step with the two eigenvalues of its last two rows as shifts
//! ```
//!
//! The step multiplies the first column of `(H - s₁)(H - s₂)`, real for conjugate shifts, into the block by a
//! reflection of three rows, and chases the bulge it makes down the subdiagonal.

use ndarray::Array2;

use super::dense::Complex;

/// Steps allowed for each eigenvalue; two or three are usual.
const STEPS: usize = 60;
/// After so many steps without a split, shifts of no meaning break a cycle that the usual ones can be caught in.
const PATIENCE: usize = 10;

/// The eigenvalues, which it destroys `h` to find; `None` if the steps run out.
pub(super) fn eigenvalues_of_hessenberg(h: &mut Array2<f64>) -> Option<Vec<Complex>> {
    let mut found = Vec::with_capacity(h.nrows());
    let (mut end, mut steps, mut left) = (h.nrows(), 0, STEPS * h.nrows());
    while end > 0 {
        let start = split(h, end);
        match end - start {
            1 => found.push(Complex { re: h[[start, start]], im: 0.0 }),
            2 => found.extend(of_two(h, start)),
            _ => {
                left = left.checked_sub(1)?;
                steps += 1;
                step(h, start, end, steps % PATIENCE == 0);
                continue;
            }
        }
        (end, steps) = (start, 0);
    }
    Some(found)
}

/// Where the last block that no longer splits begins, in rows `..end`.
fn split(h: &mut Array2<f64>, end: usize) -> usize {
    for row in (1..end).rev() {
        let mut beside = h[[row - 1, row - 1]].abs() + h[[row, row]].abs();
        if beside == 0.0 {
            // Nothing on the diagonal to compare with: the entries around stand in.
            beside = h[[row - 1, row]].abs() + if row + 1 < end { h[[row + 1, row]].abs() } else { 0.0 };
        }
        if h[[row, row - 1]].abs() <= f64::EPSILON * beside {
            h[[row, row - 1]] = 0.0;
            return row;
        }
    }
    0
}

/// Eigenvalues of rows `start` and `start + 1`.
fn of_two(h: &Array2<f64>, start: usize) -> [Complex; 2] {
    let (a, b) = (h[[start, start]], h[[start, start + 1]]);
    let (c, d) = (h[[start + 1, start]], h[[start + 1, start + 1]]);
    let half = (a - d) / 2.0;
    let discriminant = half * half + b * c;
    if discriminant < 0.0 {
        let (re, im) = (d + half, (-discriminant).sqrt());
        return [Complex { re, im }, Complex { re, im: -im }];
    }
    // The larger step from d first, without cancellation; their product is -bc.
    let far = half + discriminant.sqrt().copysign(half);
    let near = if far == 0.0 { 0.0 } else { -b * c / far };
    [Complex { re: d + far, im: 0.0 }, Complex { re: d + near, im: 0.0 }]
}

/// Sum and product of the two shifts, in a matrix whose entries `h` gives: the eigenvalues of its last two rows.
fn shifts(h: impl Fn(usize, usize) -> f64, end: usize) -> (f64, f64) {
    let (a, b, c, d) = (h(end - 2, end - 2), h(end - 2, end - 1), h(end - 1, end - 2), h(end - 1, end - 1));
    (a + d, a * d - b * c)
}

/// Sum and product of two conjugate shifts about as large as the last entries; LAPACK's constants.
fn odd_shifts(h: impl Fn(usize, usize) -> f64, end: usize) -> (f64, f64) {
    let size = h(end - 1, end - 2).abs() + h(end - 2, end - 3).abs();
    let centre = h(end - 1, end - 1) + 0.75 * size;
    (2.0 * centre, centre * centre + 0.4375 * size * size)
}

/// One double step on rows and columns `start..end`, at least three.
fn step(h: &mut Array2<f64>, start: usize, end: usize, odd: bool) {
    // The first column is needed up to a factor: in units of the block's largest corner its squares do not underflow.
    let corners = [start, end - 2].map(|i| [h[[i, i]], h[[i, i + 1]], h[[i + 1, i]], h[[i + 1, i + 1]]]);
    let unit = corners.iter().flatten().fold(f64::MIN_POSITIVE, |unit, entry| unit.max(entry.abs()));
    let scaled = |i: usize, j: usize| h[[i, j]] / unit;
    let (sum, product) = if odd { odd_shifts(scaled, end) } else { shifts(scaled, end) };
    let [a, b, c, d] = corners[0].map(|entry| entry / unit);
    let mut bulge = [a * a + b * c - sum * a + product, c * (a + d - sum), c * scaled(start + 2, start + 1)];
    for row in start..end - 1 {
        let rows = (end - row).min(3);
        if let Some(mirror) = mirror(&bulge[..rows]) {
            reflect(h, row, &mirror[..rows], start, end);
        }
        if row + 2 < end {
            for (place, entry) in bulge.iter_mut().enumerate() {
                *entry = if row + 1 + place < end { h[[row + 1 + place, row]] } else { 0.0 };
            }
        }
    }
}

/// `v` with `(1 - v vᵀ) x` along the first axis; none if `x` is zero.
fn mirror(x: &[f64]) -> Option<[f64; 3]> {
    let size = x.iter().fold(0.0, |size: f64, x| size.max(x.abs()));
    if size == 0.0 {
        return None;
    }
    let mut v = [0.0; 3];
    v.iter_mut().zip(x).for_each(|(v, x)| *v = x / size);
    let square = |v: &[f64; 3]| v.iter().fold(0.0, |sum, v| sum + v * v);
    v[0] += square(&v).sqrt().copysign(v[0]);
    let root = (square(&v) / 2.0).sqrt();
    Some(v.map(|v| v / root))
}

/// The reflection of rows and columns `row..` of the block, from both sides.
fn reflect(h: &mut Array2<f64>, row: usize, mirror: &[f64], start: usize, end: usize) {
    for column in row.saturating_sub(1).max(start)..end {
        let share = mirror.iter().enumerate().fold(0.0, |sum, (i, v)| sum + v * h[[row + i, column]]);
        mirror.iter().enumerate().for_each(|(i, v)| h[[row + i, column]] -= share * v);
    }
    for upper in start..(row + 4).min(end) {
        let share = mirror.iter().enumerate().fold(0.0, |sum, (i, v)| sum + v * h[[upper, row + i]]);
        mirror.iter().enumerate().for_each(|(i, v)| h[[upper, row + i]] -= share * v);
    }
}
