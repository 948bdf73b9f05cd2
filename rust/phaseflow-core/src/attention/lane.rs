//! The arithmetic of rebuilding a row of attention, in single and in double precision.
//!
//! `exp(x)` in single precision is that of `exponential.rs` with a series to r⁷/7!, whose rest is below half a unit in
//! the last place; the result is good to one. Below -87, where singles begin to lose bits, it is 0; above 88 infinite.

use std::ops::{Add, Mul, Sub};

use crate::exponential::{exp_by, multiply_add};
use crate::tensor::Element;
use crate::vectorize::vectorize;

/// What a row is computed in.
pub(crate) trait Lane:
    Element + Default + PartialEq + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    fn narrow(value: f64) -> Self;
    /// Many stored numbers, as long as each other.
    fn take<T: Element>(from: &[T], into: &mut [Self]);
    /// `a · b + c`, rounded once where `FUSED` says that the machine has an instruction for it.
    fn multiply_add<const FUSED: bool>(a: Self, b: Self, c: Self) -> Self;
    fn exp<const FUSED: bool>(self) -> Self;
}

impl Lane for f64 {
    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value
    }
    fn take<T: Element>(from: &[T], into: &mut [Self]) {
        vectorize(
            #[inline(always)]
            || into.iter_mut().zip(from).for_each(|(into, value)| *into = value.to_f64()),
        );
    }
    #[inline(always)]
    fn multiply_add<const FUSED: bool>(a: Self, b: Self, c: Self) -> Self {
        multiply_add::<FUSED>(a, b, c)
    }
    #[inline(always)]
    fn exp<const FUSED: bool>(self) -> Self {
        exp_by::<FUSED>(self)
    }
}

impl Lane for f32 {
    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value as f32
    }
    fn take<T: Element>(from: &[T], into: &mut [Self]) {
        T::widen(from, into);
    }
    #[inline(always)]
    fn multiply_add<const FUSED: bool>(a: Self, b: Self, c: Self) -> Self {
        if FUSED { a.mul_add(b, c) } else { a * b + c }
    }
    #[inline(always)]
    fn exp<const FUSED: bool>(self) -> Self {
        single_exp::<FUSED>(self)
    }
}

/// `exp(x)` in single precision; NaN of NaN.
#[inline(always)]
fn single_exp<const FUSED: bool>(x: f32) -> f32 {
    /// 1.5 · 2^23.
    const INTEGER: f32 = 12_582_912.0;
    /// ln 2 to nine bits, so that a multiple of it is exact, and the rest of it.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const LEAST: f32 = -87.0;
    const MOST: f32 = 88.0;
    let clamped = if x < LEAST { LEAST } else { x };
    let clamped = if clamped > MOST { MOST } else { clamped };
    let multiply_add = f32::multiply_add::<FUSED>;
    let shifted = multiply_add(clamped, std::f32::consts::LOG2_E, INTEGER);
    let k = shifted - INTEGER;
    let r = multiply_add(k, -LN2_LOW, multiply_add(k, -LN2_HIGH, clamped));
    let series = 1.0 / 5_040.0;
    let series = multiply_add(series, r, 1.0 / 720.0);
    let series = multiply_add(series, r, 1.0 / 120.0);
    let series = multiply_add(series, r, 1.0 / 24.0);
    let series = multiply_add(series, r, 1.0 / 6.0);
    let series = multiply_add(series, r, 0.5);
    let series = multiply_add(series, r, 1.0);
    let series = multiply_add(series, r, 1.0);
    let power = f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23));
    let power = if x < LEAST { 0.0 } else { power };
    if x > MOST { f32::INFINITY } else { power }
}

#[cfg(test)]
mod tests {
    use super::single_exp;
    use proptest::prelude::*;

    #[test]
    fn the_ends_are_zero_one_infinity_and_nan() {
        let singles = [f32::NEG_INFINITY, -88.0, 0.0, 89.0, f32::INFINITY].map(single_exp::<false>);
        assert_eq!(singles, [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY]);
        assert!(single_exp::<false>(f32::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_library_in_single_precision(x in -87.0_f32..88.0) {
            let expected = f64::from(x).exp();
            for exp in [single_exp::<false>, single_exp::<true>] {
                prop_assert!((f64::from(exp(x)) - expected).abs() <= 2.0 * f64::from(f32::EPSILON) * expected);
            }
        }
    }
}
