//! Entropy of one row of a pattern: `-sum p ln p` in nats, `0 ln 0 = 0`; and the sum of the row, which comes along.
//!
//! The logarithm (`logarithm.rs`) is most of the work of reading a pattern.
//!
//! Singles are taken in single precision, four numbers added up before the sum goes on in double precision: the result
//! is good to 3e-7 of itself, what storing singles lost already, and takes a quarter of the time.
//!
//! Numbers of sixteen bits are so few that all their `p ln p` fit a table, of which those from 0 to 1 take a quarter of
//! a megabyte: looking them up takes a quarter of the time of computing them in double precision.

use std::sync::LazyLock;

use half::{bf16, f16};

use super::logarithm::{ln, single_ln};
use crate::tensor::{Dtype, Element};
use crate::vectorize::vectorize;

/// Partial sums, added side by side: as many as two registers hold.
const LANES: usize = 8;
/// Singles that are added up as such.
const ADDED: usize = 4;

/// What one pass over a row finds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RowSums {
    /// `-sum p ln p`; NaN if an entry is negative or NaN.
    pub(super) entropy: f64,
    /// `sum p`, which is 1 in a row of a pattern.
    pub(super) mass: f64,
}

/// Entropy and sum of a row.
pub(super) fn row_sums<T: Element>(row: &[T]) -> RowSums {
    match (T::sixteen_bits(row), T::singles(row), T::DTYPE) {
        (Some(bits), _, Dtype::F16) => looked_up(bits, &F16),
        (Some(bits), ..) => looked_up(bits, &BF16),
        (None, Some(singles), _) => vectorize(
            #[inline(always)]
            || of_singles(singles),
        ),
        (None, None, _) => vectorize(
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
fn of_singles(row: &[f32]) -> RowSums {
    let (mut entropy, mut mass) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, rest) = row.as_chunks::<{ LANES * ADDED }>();
    for chunk in chunks {
        add_singles(chunk, &mut entropy, &mut mass);
    }
    let mut last = [0.0; LANES * ADDED];
    last[..rest.len()].copy_from_slice(rest);
    add_singles(&last, &mut entropy, &mut mass);
    RowSums { entropy: 0.0 - together(entropy), mass: together(mass) }
}

#[inline(always)]
fn add_singles(chunk: &[f32; LANES * ADDED], entropy: &mut [f64; LANES], mass: &mut [f64; LANES]) {
    let (mut terms, mut entries) = ([0.0; LANES], [0.0; LANES]);
    for numbers in chunk.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let p = numbers[lane];
            let term = p * single_ln(p);
            entries[lane] += p;
            terms[lane] += if p >= 0.0 { term } else { f32::NAN };
        }
    }
    for lane in 0..LANES {
        entropy[lane] += f64::from(terms[lane]);
        mass[lane] += f64::from(entries[lane]);
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
        assert!((entropy(&[0.25_f64; 4]) - 4.0_f64.ln()).abs() < 1e-15);
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
        fn singles_are_good_to_what_storing_them_lost(
            row in prop::collection::vec(0.0_f32..1.0, 0..200), scale in -30_i32..1,
        ) {
            let row: Vec<f32> = row.iter().map(|p| p * 2.0_f32.powi(scale)).collect();
            let expected = -row.iter().map(|&p| f64::from(p)).filter(|&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>();
            prop_assert!((entropy(&row) - expected).abs() <= 3e-7 * expected);
            let mass = row.iter().map(|&p| f64::from(p)).sum::<f64>();
            prop_assert!((row_sums(&row).mass - mass).abs() <= 3e-7 * mass);
        }
    }
}
