//! A logarithm from below, for bounds: without a call or a branch, so that a loop over it runs in vector registers.
//!
//! `ln(2^e m) = e ln 2 + ln m`, m in [1, 2): a polynomial of degree 8 in `2 m - 3`, interpolating at Chebyshev's places, is
//! within 4e-8.

const COEFFICIENTS: [f64; 9] = [
    0.405_465_108_108_164_44,
    0.333_333_087_771_684_47,
    -0.055_555_481_596_977_485,
    0.012_348_930_681_143_167,
    -0.003_087_398_976_852_479,
    0.000_811_556_003_192_708_5,
    -0.000_225_164_888_958_918_2,
    7.998_577_932_964_673e-5,
    -2.346_330_097_009_228_5e-5,
];

/// At most this below the logarithm.
#[cfg(test)]
const BELOW: f64 = 1.1e-7;
const MARGIN: f64 = 6e-8;

/// Of a positive normal number: never above its logarithm, and near it.
#[inline(always)]
pub(super) fn log_below(x: f64) -> f64 {
    /// 2^52: a double with these exponent bits holds a whole number in its lowest bits.
    const WHOLE: u64 = 0x4330_0000_0000_0000;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const BIAS: f64 = 1023.0;
    let bits = x.to_bits();
    let exponent = f64::from_bits((bits >> 52) | WHOLE) - f64::from_bits(WHOLE) - BIAS;
    let u = 2.0 * f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | ONE) - 3.0;
    // Written out, in pairs: a loop over the coefficients becomes a call, and Horner's rule waits for itself.
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8] = COEFFICIENTS;
    let (square, fourth) = (u * u, u * u * (u * u));
    let (low, high) = ((c0 + c1 * u) + (c2 + c3 * u) * square, (c4 + c5 * u) + (c6 + c7 * u) * square);
    let series = low + high * fourth + c8 * (fourth * fourth);
    exponent * std::f64::consts::LN_2 + (series - MARGIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BELOW, log_below};

    proptest! {
        #[test]
        fn it_lies_below_and_near(x in 1e-300_f64..1e300, exponent in -300_i32..300) {
            for x in [x, x.sqrt(), 1.0 + 1.0 / x.abs().max(1.0), 10.0_f64.powi(exponent)] {
                let below = x.ln() - log_below(x);
                prop_assert!((0.0..BELOW).contains(&below), "{x}: {below}");
            }
        }
    }
}
