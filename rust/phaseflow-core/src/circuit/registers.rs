//! The loop every matrix product here ends in: a few rows by a few columns of the result, in registers throughout.
//!
//! ```text
//! result[r][c] += sum over k of  left[k][r] · right[k][c]
//! ```
//!
//! For each `k` some vectors of the right and one number after the other of the left are loaded, and every pair is
//! multiplied and added: more arithmetic than loads, which is what the machine can do at full rate. Left to itself the
//! compiler finds this form for one width of register at most, so the loop is written in terms of [`Lanes`] and
//! compiled for each width. A fused product is rounded once, so the last bits depend on the machine; they depend on
//! nothing else.

/// Rows of the result come in multiples of this.
pub(super) const ROWS: usize = 8;
/// Columns of the result come in multiples of this.
pub(super) const COLUMNS: usize = 16;

/// One side of a product: its numbers for each `k` are neighbours, those for the next lie `stride` further.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) numbers: &'a [f64],
    pub(super) stride: usize,
    /// How many there are for each `k`: a multiple of [`ROWS`] on the left, of [`COLUMNS`] on the right.
    pub(super) width: usize,
}

/// Adds the product of `terms` terms to `result`, whose rows lie `stride` apart.
pub(super) fn add_product(terms: usize, left: Side<'_>, right: Side<'_>, result: &mut [f64], stride: usize) {
    assert!(left.width.is_multiple_of(ROWS) && right.width.is_multiple_of(COLUMNS), "sides are whole tiles");
    if terms == 0 || left.width == 0 || right.width == 0 {
        return;
    }
    assert!(left.numbers.len() >= (terms - 1) * left.stride + left.width, "the left has all its terms");
    assert!(right.numbers.len() >= (terms - 1) * right.stride + right.width, "the right has all its terms");
    assert!(result.len() >= (left.width - 1) * stride + right.width, "the result has all its rows");
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the instruction set was detected one line above, the lengths have been checked.
            return unsafe { x86::with_avx512(terms, left, right, result, stride) };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the instruction sets were detected one line above, the lengths have been checked.
            return unsafe { x86::with_avx2(terms, left, right, result, stride) };
        }
    }
    // SAFETY: the lengths have been checked; pairs of numbers need no instruction set.
    unsafe { tiles::<[f64; 2], 4, 2>(terms, left, right, result, stride) }
}

/// A register of numbers.
///
/// Its functions may be called where the machine has the instructions of the type; `from` and `into` must have room.
trait Lanes: Copy {
    const LEN: usize;
    unsafe fn repeated(number: f64) -> Self;
    unsafe fn load(from: *const f64) -> Self;
    unsafe fn store(self, into: *mut f64);
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
}

/// # Safety
/// The machine has the instructions of `V`, and the sides and the result have the lengths `add_product` checks.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // iterators are calls in a build without link-time optimisation, and spill all sums
unsafe fn tiles<V: Lanes, const R: usize, const C: usize>(
    terms: usize,
    left: Side<'_>,
    right: Side<'_>,
    result: &mut [f64],
    stride: usize,
) {
    const { assert!(ROWS.is_multiple_of(R) && COLUMNS.is_multiple_of(C * V::LEN)) };
    for column in (0..right.width).step_by(C * V::LEN) {
        for row in (0..left.width).step_by(R) {
            // SAFETY: R rows and C registers from here lie within the widths, which are multiples of them.
            unsafe {
                let (left, left_stride) = (left.numbers.as_ptr().add(row), left.stride);
                let (right, right_stride) = (right.numbers.as_ptr().add(column), right.stride);
                let result = result.as_mut_ptr().add(row * stride + column);
                let mut sums = [[V::repeated(0.0); C]; R];
                for term in 0..terms {
                    let (left, right) = (left.add(term * left_stride), right.add(term * right_stride));
                    let mut columns = [V::repeated(0.0); C];
                    for c in 0..C {
                        columns[c] = V::load(right.add(c * V::LEN));
                    }
                    for r in 0..R {
                        let number = V::repeated(*left.add(r));
                        for c in 0..C {
                            sums[r][c] = sums[r][c].plus_product(number, columns[c]);
                        }
                    }
                }
                for r in 0..R {
                    for c in 0..C {
                        let place = result.add(r * stride + c * V::LEN);
                        sums[r][c].plus_product(V::repeated(1.0), V::load(place)).store(place);
                    }
                }
            }
        }
    }
}

impl Lanes for [f64; 2] {
    const LEN: usize = 2;
    #[inline(always)]
    unsafe fn repeated(number: f64) -> Self {
        [number; 2]
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        // SAFETY: the caller has room for two numbers.
        unsafe { [*from, *from.add(1)] }
    }
    #[inline(always)]
    unsafe fn store(self, into: *mut f64) {
        // SAFETY: the caller has room for two numbers.
        unsafe {
            *into = self[0];
            *into.add(1) = self[1];
        }
    }
    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        [self[0] + a[0] * b[0], self[1] + a[1] * b[1]]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lanes, Side, tiles};

    macro_rules! lanes {
        ($register:ty, $len:literal, $repeated:ident, $load:ident, $store:ident, $fused:ident) => {
            impl Lanes for $register {
                const LEN: usize = $len;
                #[inline(always)]
                unsafe fn repeated(number: f64) -> Self {
                    // SAFETY: the caller has the instructions.
                    unsafe { $repeated(number) }
                }
                #[inline(always)]
                unsafe fn load(from: *const f64) -> Self {
                    // SAFETY: the caller has the instructions, and numbers for the register; any alignment will do.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, into: *mut f64) {
                    // SAFETY: the caller has the instructions, and room for the register; any alignment will do.
                    unsafe { $store(into, self) }
                }
                #[inline(always)]
                unsafe fn plus_product(self, a: Self, b: Self) -> Self {
                    // SAFETY: the caller has the instructions.
                    unsafe { $fused(a, b, self) }
                }
            }
        };
    }
    lanes!(__m256d, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd);
    lanes!(__m512d, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd);

    /// Eight sums, of sixteen registers.
    ///
    /// # Safety
    /// As [`tiles`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn with_avx2(terms: usize, left: Side, right: Side, result: &mut [f64], stride: usize) {
        // SAFETY: the instructions are there, and the caller has checked the lengths.
        unsafe { tiles::<__m256d, 4, 2>(terms, left, right, result, stride) }
    }

    /// Sixteen sums, of thirty-two registers.
    ///
    /// # Safety
    /// As [`tiles`].
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn with_avx512(terms: usize, left: Side, right: Side, result: &mut [f64], stride: usize) {
        // SAFETY: the instructions are there, and the caller has checked the lengths.
        unsafe { tiles::<__m512d, 8, 2>(terms, left, right, result, stride) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f64> {
        let mut random = crate::random::Random::new(seed);
        (0..count).map(|_| random.normal()).collect()
    }

    #[test]
    fn one_term_of_ones_and_twos_adds_two() {
        let (left, right) = ([1.0; ROWS], [2.0; COLUMNS]);
        let mut result = vec![5.0; ROWS * COLUMNS];
        let side = |numbers, width| Side { numbers, stride: width, width };
        add_product(1, side(&left, ROWS), side(&right, COLUMNS), &mut result, COLUMNS);
        assert!(result.iter().all(|&sum| sum == 7.0));
    }

    #[test]
    fn every_instruction_set_adds_the_same_sums_and_touches_nothing_else() {
        for (terms, rows, columns) in [(1, 8, 16), (7, 8, 32), (64, 32, 16), (3, 16, 48)] {
            let (left_stride, right_stride, stride) = (rows + 3, columns + 1, columns + 5);
            let left = numbers(terms * left_stride, 1);
            let right = numbers(terms * right_stride, 2);
            let before = numbers(rows * stride, 3);
            let mut expected = before.clone();
            for r in 0..rows {
                for c in 0..columns {
                    for k in 0..terms {
                        expected[r * stride + c] += left[k * left_stride + r] * right[k * right_stride + c];
                    }
                }
            }
            let left = Side { numbers: &left, stride: left_stride, width: rows };
            let right = Side { numbers: &right, stride: right_stride, width: columns };
            let check = |found: Vec<f64>| {
                for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert!((found - expected).abs() < 1e-13, "{terms} {rows} {columns} {place}");
                    assert!(place % stride < columns || found == expected);
                }
            };
            let mut found = before.clone();
            add_product(terms, left, right, &mut found, stride);
            check(found);
            let mut found = before.clone();
            // SAFETY: the sides and the result are made above as long as they must be.
            unsafe { tiles::<[f64; 2], 4, 2>(terms, left, right, &mut found, stride) };
            check(found);
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                let mut found = before.clone();
                // SAFETY: likewise, and the instructions are there.
                unsafe { x86::with_avx2(terms, left, right, &mut found, stride) };
                check(found);
            }
        }
    }
}
