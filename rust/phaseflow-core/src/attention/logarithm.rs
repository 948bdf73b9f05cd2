//! The natural logarithm without a branch and without a call, so that a loop over it runs in vector registers.
//!
//! The classic reduction
//!
//! ```text
//! p = 2^k · m,  m in [sqrt(1/2), sqrt(2));   f = m - 1,  s = f / (2 + f);   ln m = 2 artanh s
//! ```
//!
//! with the minimax polynomials of FreeBSD's `e_log.c` and `e_logf.c` for the tail of `artanh` (errors below 2^-58.45 and
//! 2^-34.24): good to one unit in the last place (singles to two) of normal numbers above 0. Of others it is some number, no trap: whoever
//! calls it decides what those mean.

/// `ln p` of a double.
#[inline(always)]
pub(super) fn ln(p: f64) -> f64 {
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

/// `ln p` of a single.
#[inline(always)]
pub(super) fn single_ln(p: f32) -> f32 {
    /// Bits of sqrt(1/2): the least `m`.
    const LEAST: u32 = 0x3f35_04f3;
    const ONE: u32 = 0x3f80_0000;
    const MANTISSA: u32 = 0x007f_ffff;
    const LG1: f32 = 6.666_666e-1;
    const LG2: f32 = 4.000_097_2e-1;
    const LG3: f32 = 2.849_878_7e-1;
    const LG4: f32 = 2.427_907_9e-1;

    let shifted = p.to_bits().wrapping_add(ONE - LEAST);
    let k = ((shifted >> 23) as i32 - 127) as f32;
    let f = f32::from_bits((shifted & MANTISSA) + LEAST) - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (LG2 + w * LG4);
    let odd = z * (LG1 + w * LG3);
    s * (half_square + (odd + even)) + (f - half_square) + k * std::f32::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_agrees_with_the_library(exponent in -126.0_f64..2.0) {
            let p = exponent.exp2();
            prop_assert!((ln(p) - p.ln()).abs() <= 2.0 * f64::EPSILON * p.ln().abs());
        }

        #[test]
        fn so_does_that_of_singles(exponent in -126.0_f64..2.0) {
            let p = exponent.exp2() as f32;
            let expected = f64::from(p).ln();
            prop_assert!((f64::from(single_ln(p)) - expected).abs() <= f64::from(f32::EPSILON) * expected.abs());
        }
    }
}
