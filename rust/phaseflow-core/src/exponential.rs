//! `exp(x)` without a branch and without a call, so that a loop over it runs in vector registers; the library's is most
//! of the work of rebuilding a row of attention, or of a Gaussian kernel.
//!
//! ```text
//! x = k ln 2 + r,  |r| <= ln(2) / 2;   exp x = 2^k · (1 + r + r²/2! + ... + r¹³/13!)
//! ```
//!
//! The series' rest is below 2^-57 there; the result is good to one unit in the last place. Below -708, where doubles
//! begin to lose bits, it is 0; above 709 infinite.

/// `exp(x)`; NaN of NaN.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    exp_by::<false>(x)
}

/// `exp(x)`, with products and sums rounded once where `FUSED` says that the machine has an instruction for it.
#[inline(always)]
pub(crate) fn exp_by<const FUSED: bool>(x: f64) -> f64 {
    /// 1.5 · 2^52: a double plus this has been rounded to an integer, which stands in its lowest bits.
    const INTEGER: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const LEAST: f64 = -708.0;
    const MOST: f64 = 709.0;
    let clamped = if x < LEAST { LEAST } else { x };
    let clamped = if clamped > MOST { MOST } else { clamped };
    let shifted = multiply_add::<FUSED>(clamped, std::f64::consts::LOG2_E, INTEGER);
    let k = shifted - INTEGER;
    let r = multiply_add::<FUSED>(k, -LN2_LOW, multiply_add::<FUSED>(k, -LN2_HIGH, clamped));
    let mut series = 1.0 / 6_227_020_800.0;
    for factorial in
        [479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0]
    {
        series = multiply_add::<FUSED>(series, r, 1.0 / factorial);
    }
    let power = f64::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 52));
    let power = if x < LEAST { 0.0 } else { power };
    if x > MOST { f64::INFINITY } else { power }
}

/// `a · b + c`, rounded once where `FUSED` says that the machine has an instruction for it.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use super::{exp, exp_by};
    use proptest::prelude::*;

    #[test]
    fn the_ends_are_zero_one_infinity_and_nan() {
        assert_eq!(
            [f64::NEG_INFINITY, -709.0, 0.0, 710.0, f64::INFINITY].map(exp),
            [0.0, 0.0, 1.0, f64::INFINITY, f64::INFINITY]
        );
        assert!(exp(f64::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_library(x in -708.0_f64..709.0) {
            for exp in [exp, exp_by::<true>] {
                prop_assert!((exp(x) - x.exp()).abs() <= 2.0 * f64::EPSILON * x.exp());
            }
        }
    }
}
