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
//!
//! Numbers of sixteen bits are so few that all their `p ln p` fit a table, of which those from 0 to 1 take a quarter of
//! a megabyte: looking them up takes a quarter of the time of computing them.

use std::sync::LazyLock;

use half::{bf16, f16};

use crate::tensor::{Dtype, Element};
use crate::vectorize::vectorize;

/// Partial sums, added side by side: as many as two registers hold.
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
    match (T::sixteen_bits(row), T::DTYPE) {
        (Some(bits), Dtype::F16) => looked_up(bits, &F16),
        (Some(bits), _) => looked_up(bits, &BF16),
        (None, _) => vectorize(
            #[inline(always)]
            || of_row(row),
        ),
    }
}

/// `p` and `p ln p` of every number of sixteen bits, by its bits.
type Table = Box<[[f64; 2]; 1 << 16]>;

static F16: LazyLock<Table> = LazyLock::new(|| table(|bits| f16::from_bits(bits).to_f64()));
static BF16: LazyLock<Table> = LazyLock::new(|| table(|bits| bf16::from_bits(bits).to_f64()));

fn table(value: fn(u16) -> f64) -> Table {
    let mut table = Box::new([[0.0; 2]; 1 << 16]);
    for (bits, entry) in (0..=u16::MAX).zip(table.iter_mut()) {
        let p = value(bits);
        *entry = [p, p_ln_p(p)];
    }
    table
}

fn looked_up(bits: &[u16], table: &Table) -> RowSums {
    let mut lanes = [[0.0; 2]; LANES];
    let mut add = |lane: usize, bits: u16| {
        let [p, p_ln_p] = table[usize::from(bits)];
        lanes[lane][0] += p;
        lanes[lane][1] += p_ln_p;
    };
    let (chunks, rest) = bits.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &bits) in chunk.iter().enumerate() {
            add(lane, bits);
        }
    }
    for (lane, &bits) in rest.iter().enumerate() {
        add(lane, bits);
    }
    RowSums { entropy: 0.0 - together(lanes.map(|[_, p_ln_p]| p_ln_p)), mass: together(lanes.map(|[p, _]| p)) }
}

#[inline(always)]
fn of_row<T: Element>(row: &[T]) -> RowSums {
    let (mut entropy, mut mass) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, entry) in chunk.iter().enumerate() {
            let p = entry.to_f64();
            mass[lane] += p;
            entropy[lane] += p_ln_p(p);
        }
    }
    // The last few in registers as full as the others: zeros add nothing.
    let mut last = [0.0; LANES];
    for (p, entry) in last.iter_mut().zip(rest) {
        *p = entry.to_f64();
    }
    for lane in 0..LANES {
        mass[lane] += last[lane];
        entropy[lane] += p_ln_p(last[lane]);
    }
    RowSums { entropy: 0.0 - together(entropy), mass: together(mass) }
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

    #[test]
    fn what_is_looked_up_is_what_is_computed() {
        let row: Vec<f16> = (0..333_u16).map(|number| f16::from_bits(number * 46)).collect();
        let wide: Vec<f64> = row.iter().map(|p| p.to_f64()).collect();
        assert_eq!(row_sums(&row), row_sums(&wide));
        let row: Vec<bf16> = (0..333_u16).map(|number| bf16::from_bits(number * 48)).collect();
        let wide: Vec<f64> = row.iter().map(|p| p.to_f64()).collect();
        assert_eq!(row_sums(&row), row_sums(&wide));
        assert!(row_sums(&[f16::NAN, f16::ONE]).entropy.is_nan());
        assert!(row_sums(&[bf16::NEG_ONE]).entropy.is_nan());
    }

    proptest! {
        #[test]
        fn the_logarithm_agrees_with_the_library(exponent in -126.0_f64..2.0) {
            let p = exponent.exp2();
            prop_assert!((ln(p) - p.ln()).abs() <= 2.0 * f64::EPSILON * p.ln().abs());
        }
    }
}
