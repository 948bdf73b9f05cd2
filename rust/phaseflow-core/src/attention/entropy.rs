//! Entropy of one row of a pattern: `-sum p ln p` in nats, `0 ln 0 = 0`; and the sum of the row, which comes along.
//!
//! The logarithm is most of the work of reading a pattern, and the library's is a call per number. The one below has
//! no branch and no call, so a loop over it runs in vector registers. It is the classic reduction
//!
//! ```text
//! p = 2^k · m,  m in [sqrt(1/2), sqrt(2));   f = m - 1,  s = f / (2 + f);   ln m = 2 artanh s
//! ```
//!
//! with the minimax polynomial of FreeBSD's `e_log.c` for the tail of `artanh` (error below 2^-58.45), good to one
//! unit in the last place.

use crate::tensor::Element;
use crate::vectorize::vectorize;

/// Terms computed before they are added: a loop over them without a sum is one the compiler vectorises.
const BLOCK: usize = 64;
/// Partial sums, added side by side.
const LANES: usize = 8;

/// What one pass over a row finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RowSums {
    /// `-sum p ln p`; NaN if an entry is negative or NaN.
    pub(super) entropy: f64,
    /// `sum p`, which is 1 in a row of a pattern.
    pub(super) mass: f64,
}

/// Entropy and sum of a row.
pub(super) fn row_sums<T: Element>(row: &[T]) -> RowSums {
    vectorize(
        #[inline(always)]
        || of_row(row),
    )
}

#[inline(always)]
fn of_row<T: Element>(row: &[T]) -> RowSums {
    let (mut terms, mut masses) = ([0.0; BLOCK], [0.0; BLOCK]);
    let (mut entropy, mut mass) = ([0.0; LANES], [0.0; LANES]);
    let (blocks, rest) = row.as_chunks::<BLOCK>();
    for block in blocks {
        fill(&mut terms, &mut masses, block);
        add(&mut entropy, &terms);
        add(&mut mass, &masses);
    }
    (terms, masses) = ([0.0; BLOCK], [0.0; BLOCK]);
    fill(&mut terms, &mut masses, rest);
    add(&mut entropy, &terms);
    add(&mut mass, &masses);
    RowSums { entropy: 0.0 - together(entropy), mass: together(mass) }
}

#[inline(always)]
fn fill<T: Element>(terms: &mut [f64; BLOCK], masses: &mut [f64; BLOCK], entries: &[T]) {
    for ((term, mass), p) in terms.iter_mut().zip(masses).zip(entries) {
        let p = p.to_f64();
        *mass = p;
        *term = p_ln_p(p);
    }
}

#[inline(always)]
fn add(lanes: &mut [f64; LANES], terms: &[f64; BLOCK]) {
    for chunk in terms.as_chunks::<LANES>().0 {
        for (lane, term) in lanes.iter_mut().zip(chunk) {
            *lane += term;
        }
    }
}

#[inline(always)]
fn together([a, b, c, d, e, f, g, h]: [f64; LANES]) -> f64 {
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// `p ln p`, 0 at 0; at 0 the formula for `ln` gives some finite number, which the product wipes out.
#[inline(always)]
fn p_ln_p(p: f64) -> f64 {
    let product = p * ln(p);
    if p >= 0.0 { product } else { f64::NAN }
}

#[inline(always)]
fn ln(p: f64) -> f64 {
    /// Bits of sqrt(1/2), rounded down to the upper word: the least `m`.
    const LEAST: u64 = 0x3fe6_a09e_0000_0000;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const MANTISSA: u64 = 0x000f_ffff_ffff_ffff;
    /// 2^52: an integer below it, put in the mantissa, is the double 2^52 + that integer.
    const INTEGER: u64 = 0x4330_0000_0000_0000;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const LG1: f64 = 6.666_666_666_666_735e-1;
    const LG2: f64 = 3.999_999_999_940_942e-1;
    const LG3: f64 = 2.857_142_874_366_239e-1;
    const LG4: f64 = 2.222_219_843_214_978_4e-1;
    const LG5: f64 = 1.818_357_216_161_805e-1;
    const LG6: f64 = 1.531_383_769_920_937_3e-1;
    const LG7: f64 = 1.479_819_860_511_658_6e-1;

    let shifted = p.to_bits().wrapping_add(ONE - LEAST);
    let k = f64::from_bits((shifted >> 52) | INTEGER) - (f64::from_bits(INTEGER) + 1023.0);
    let f = f64::from_bits((shifted & MANTISSA) + LEAST) - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (LG2 + w * (LG4 + w * LG6));
    let odd = z * (LG1 + w * (LG3 + w * (LG5 + w * LG7)));
    s * (half_square + (odd + even)) + k * LN2_LOW - half_square + f + k * LN2_HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entropy<T: Element>(row: &[T]) -> f64 {
        row_sums(row).entropy
    }

    #[test]
    fn a_row_of_a_pattern_sums_to_one_whatever_its_length() {
        for length in [1, 7, 64, 100, 129] {
            let row = vec![1.0 / length as f64; length];
            assert!((row_sums(&row).mass - 1.0).abs() < 1e-14);
        }
        assert_eq!(row_sums::<f64>(&[]).mass, 0.0);
    }

    #[test]
    fn certainty_has_no_entropy_and_a_fair_choice_has_its_logarithm() {
        assert_eq!(entropy(&[0.0_f32, 1.0, 0.0]), 0.0);
        assert!((entropy(&[0.25_f32; 4]) - 4.0_f64.ln()).abs() < 1e-15);
        assert_eq!(entropy::<f64>(&[]), 0.0);
    }

    #[test]
    fn what_is_no_probability_has_no_entropy() {
        assert!(entropy(&[0.5_f32, f32::NAN, 0.5]).is_nan());
        assert!(entropy(&[1.5_f32, -0.5]).is_nan());
    }

    proptest! {
        #[test]
        fn the_logarithm_agrees_with_the_library(exponent in -126.0_f64..2.0) {
            let p = exponent.exp2();
            prop_assert!((ln(p) - p.ln()).abs() <= 2.0 * f64::EPSILON * p.ln().abs());
        }
    }
}
