//! All rows of a head that is kept as queries and keys: `row[k] = exp(query · key_k - lse)`, keys up to the query.
//!
//! A product with one key after the other would load every number of the keys for every query. Queries and keys lie in
//! panels instead, so many of them side by side, number after number, and a panel of queries meets a panel of keys:
//!
//! ```text
//! panel p, d-th line:     keys[p · KEYS][d], keys[p · KEYS + 1][d], ...
//! sums[i][j] += queries[d][i] · keys[d][j]        for every d; all sums stay in registers
//! ```
//!
//! Numbers of sixteen bits are multiplied, summed and exponentiated in single precision (`lane.rs`): their products are
//! exact there, and what the rest loses (about 1e-6) is far below what storing them lost. Others are taken in double
//! precision. Row sums and entropies are summed in double precision in either case, four numbers at a time.

use super::compact::Head;
use super::entropy::RowSums;
use super::lane::Lane;
use crate::vectorize::{has_wide_registers, vectorize_laid_out};

/// Numbers that are added up as they are, before the sum goes on in double precision.
const ADDED: usize = 4;

/// Numbers of which whole heads are rebuilt.
pub(crate) trait InPanels: Lane {
    /// Calls `each` with every query in order, what it attends to, the keys up to itself, and the sums of that row; in
    /// panels laid out for the machine's registers.
    fn each_row(head: &Head<'_, Self>, each: impl FnMut(usize, &[Self], RowSums));
}

impl InPanels for f64 {
    fn each_row(head: &Head<'_, Self>, each: impl FnMut(usize, &[Self], RowSums)) {
        match has_wide_registers() {
            true => Panels::<Self, 12, 8>::new(head).each_row(each),
            false => Panels::<Self, 6, 4>::new(head).each_row(each),
        }
    }
}

impl InPanels for f32 {
    fn each_row(head: &Head<'_, Self>, each: impl FnMut(usize, &[Self], RowSums)) {
        match has_wide_registers() {
            true => Panels::<Self, 12, 16>::new(head).each_row(each),
            false => Panels::<Self, 6, 8>::new(head).each_row(each),
        }
    }
}

/// Registers of keys in a panel.
const REGISTERS: usize = 2;

/// The queries and keys of a head in panels of `QUERIES` queries and two registers of keys, `LANES` numbers each.
///
/// With six queries twelve registers hold the sums, which keeps the arithmetic busy while it waits for the ones before
/// and leaves room for what they are made of; machines of thirty-two [wide](has_wide_registers) ones take twelve.
struct Panels<L, const QUERIES: usize, const LANES: usize> {
    /// `(panel, d_head, QUERIES)`, zeros behind the last.
    queries: Vec<L>,
    /// `(panel, d_head, REGISTERS, LANES)`, zeros behind the last.
    keys: Vec<L>,
    log_sum_exp: Vec<L>,
    width: usize,
}

impl<L: Lane, const QUERIES: usize, const LANES: usize> Panels<L, QUERIES, LANES> {
    const KEYS: usize = REGISTERS * LANES;
    /// Laid out for wide registers.
    const WIDE: bool = size_of::<[L; LANES]>() == 64;

    fn new(head: &Head<'_, L>) -> Self {
        Self {
            queries: in_panels(head.queries, head.width, QUERIES),
            keys: in_panels(head.keys, head.width, Self::KEYS),
            log_sum_exp: head.log_sum_exp.to_vec(),
            width: head.width,
        }
    }

    fn each_row(&self, mut each: impl FnMut(usize, &[L], RowSums)) {
        let context = self.log_sum_exp.len();
        let room = context.next_multiple_of(Self::KEYS);
        let mut rows = vec![L::default(); QUERIES * room];
        let mut sums = [RowSums::default(); QUERIES];
        for first in (0..context).step_by(QUERIES) {
            vectorize_laid_out(
                Self::WIDE,
                #[inline(always)]
                |fused| match fused {
                    true => self.rebuild::<true>(first, &mut rows, room, &mut sums),
                    false => self.rebuild::<false>(first, &mut rows, room, &mut sums),
                },
            );
            for (query, (row, &sums)) in (first..context).zip(rows.chunks_exact(room).zip(&sums)) {
                each(query, &row[..=query], sums);
            }
        }
    }

    /// Rows and sums of the panel of queries that begins with `first`.
    #[inline(always)]
    fn rebuild<const FUSED: bool>(&self, first: usize, rows: &mut [L], room: usize, sums: &mut [RowSums; QUERIES]) {
        self.products::<FUSED>(first, rows, room);
        for (query, (row, sums)) in rows.chunks_exact_mut(room).zip(sums).enumerate() {
            if let Some(&log_sum_exp) = self.log_sum_exp.get(first + query) {
                *sums = exponentials::<L, FUSED, LANES>(&mut row[..=first + query], log_sum_exp);
            }
        }
    }

    /// The products of the panel of queries that begins with `first`, with all keys that one of them may see.
    // Plain loops: what a closure or an iterator's adapter hides may be compiled for the narrower registers.
    #[inline(always)]
    fn products<const FUSED: bool>(&self, first: usize, rows: &mut [L], room: usize) {
        let queries = self.queries[first * self.width..][..QUERIES * self.width].as_chunks::<QUERIES>().0;
        let last = (first + QUERIES - 1).min(self.log_sum_exp.len() - 1);
        for panel in 0..=last / Self::KEYS {
            let keys = &self.keys[panel * Self::KEYS * self.width..][..Self::KEYS * self.width];
            let keys = keys.as_chunks::<LANES>().0.as_chunks::<REGISTERS>().0;
            let mut sums = [[[L::default(); LANES]; REGISTERS]; QUERIES];
            for (numbers, registers) in queries.iter().zip(keys) {
                for query in 0..QUERIES {
                    for register in 0..REGISTERS {
                        add_products::<L, FUSED, LANES>(
                            numbers[query],
                            &registers[register],
                            &mut sums[query][register],
                        );
                    }
                }
            }
            for query in 0..QUERIES {
                rows[query * room + panel * Self::KEYS..][..Self::KEYS].copy_from_slice(sums[query].as_flattened());
            }
        }
    }
}

/// One register: `sums += query · keys`.
#[inline(always)]
fn add_products<L: Lane, const FUSED: bool, const LANES: usize>(query: L, keys: &[L; LANES], sums: &mut [L; LANES]) {
    for lane in 0..LANES {
        sums[lane] = L::multiply_add::<FUSED>(query, keys[lane], sums[lane]);
    }
}

/// Vectors `(pos, width)` in panels of so many positions: `(panel, width, side)`, zeros behind the last.
fn in_panels<L: Lane>(vectors: &[L], width: usize, side: usize) -> Vec<L> {
    let width_or_one = width.max(1);
    let mut panels = vec![L::default(); (vectors.len() / width_or_one).div_ceil(side) * side * width];
    for (position, vector) in vectors.chunks_exact(width_or_one).enumerate() {
        let panel = &mut panels[position / side * side * width..];
        for (line, &number) in panel.chunks_exact_mut(side).zip(vector) {
            line[position % side] = number;
        }
    }
    panels
}

/// Turns products into `p = exp(product - lse)`; the sums of `p` and of `-p ln p`, 0 at 0.
#[inline(always)]
fn exponentials<L: Lane, const FUSED: bool, const LANES: usize>(row: &mut [L], log_sum_exp: L) -> RowSums {
    let (mut entropy, mut mass) = ([0.0; LANES], [0.0; LANES]);
    let mut chunks = row.chunks_exact_mut(LANES * ADDED);
    for chunk in &mut chunks {
        exponentials_of_chunk::<L, FUSED, LANES>(chunk, log_sum_exp, &mut entropy, &mut mass);
    }
    // The last few in registers as full as the others: what is infinitely unlikely adds nothing.
    let rest = chunks.into_remainder();
    let mut last = [[L::narrow(f64::NEG_INFINITY); LANES]; ADDED];
    let last = last.as_flattened_mut();
    last[..rest.len()].copy_from_slice(rest);
    exponentials_of_chunk::<L, FUSED, LANES>(last, log_sum_exp, &mut entropy, &mut mass);
    rest.copy_from_slice(&last[..rest.len()]);
    RowSums { entropy: 0.0 - entropy.iter().sum::<f64>(), mass: mass.iter().sum() }
}

#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the same loop over zipped iterators takes half as long again")]
fn exponentials_of_chunk<L: Lane, const FUSED: bool, const LANES: usize>(
    chunk: &mut [L],
    log_sum_exp: L,
    entropy: &mut [f64; LANES],
    mass: &mut [f64; LANES],
) {
    let (mut terms, mut entries) = ([L::default(); LANES], [L::default(); LANES]);
    for numbers in chunk.as_chunks_mut::<LANES>().0 {
        for lane in 0..LANES {
            let logarithm = numbers[lane] - log_sum_exp;
            let p = logarithm.exp::<FUSED>();
            numbers[lane] = p;
            entries[lane] = entries[lane] + p;
            terms[lane] = terms[lane] + if p == L::default() { p } else { p * logarithm };
        }
    }
    for lane in 0..LANES {
        entropy[lane] += terms[lane].to_f64();
        mass[lane] += entries[lane].to_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows and their sums, from the definition.
    fn by_definition(head: &Head<'_, f64>) -> Vec<(Vec<f64>, RowSums)> {
        let vector = |of: &[f64], position: usize| of[position * head.width..(position + 1) * head.width].to_vec();
        let entry = |query: usize, key: usize| {
            let pairs = vector(head.queries, query).into_iter().zip(vector(head.keys, key));
            (pairs.map(|(q, k)| q * k).sum::<f64>() - head.log_sum_exp[query]).exp()
        };
        let row = |query: usize| (0..=query).map(|key| entry(query, key)).collect::<Vec<_>>();
        let sums =
            |row: &[f64]| RowSums { entropy: -row.iter().map(|p| p * p.ln()).sum::<f64>(), mass: row.iter().sum() };
        (0..head.log_sum_exp.len()).map(|query| (row(query), sums(&row(query)))).collect()
    }

    /// What a layout finds: as the machine runs it, and without fused products.
    fn both<L: Lane, const QUERIES: usize, const LANES: usize>(head: &Head<'_, L>) -> [Vec<(Vec<f64>, RowSums)>; 2] {
        let panels = Panels::<L, QUERIES, LANES>::new(head);
        let wide = |row: &[L]| row.iter().map(|entry| entry.to_f64()).collect::<Vec<_>>();
        let mut machine = Vec::new();
        panels.each_row(|_, row, sums| machine.push((wide(row), sums)));
        let context = head.log_sum_exp.len();
        let room = context.next_multiple_of(Panels::<L, QUERIES, LANES>::KEYS);
        let (mut rows, mut sums) = (vec![L::default(); QUERIES * room], [RowSums::default(); QUERIES]);
        let mut plain = Vec::new();
        for first in (0..context).step_by(QUERIES) {
            panels.rebuild::<false>(first, &mut rows, room, &mut sums);
            let found = (first..context).zip(rows.chunks_exact(room).zip(&sums));
            plain.extend(found.map(|(query, (row, &sums))| (wide(&row[..=query]), sums)));
        }
        [machine, plain]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_layout_rebuilds_the_same_rows(context in 1..70_usize, width in 0..9_usize, seed in 0..u32::MAX) {
            let mut state = seed;
            let mut number = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Exact in single precision.
                f64::from(state >> 16) / 16_384.0 - 2.0
            };
            let (queries, keys): (Vec<_>, Vec<_>) = (0..context * width).map(|_| (number(), number())).unzip();
            let log_sum_exp: Vec<_> = (0..context).map(|_| number() + 3.0).collect();
            let head = Head { queries: &queries, keys: &keys, log_sum_exp: &log_sum_exp, width };
            let expected = by_definition(&head);
            let [queries, keys, log_sum_exp] =
                [&queries, &keys, &log_sum_exp].map(|of| of.iter().map(|&x| x as f32).collect::<Vec<_>>());
            let single = Head { queries: &queries, keys: &keys, log_sum_exp: &log_sum_exp, width };
            let doubles = [both::<f64, 6, 4>(&head), both::<f64, 12, 8>(&head)].into_iter().flatten();
            let singles = [both::<f32, 6, 8>(&single), both::<f32, 12, 16>(&single)].into_iter().flatten();
            for (rows, tolerance) in doubles.map(|rows| (rows, 1e-13)).chain(singles.map(|rows| (rows, 2e-5))) {
                prop_assert_eq!(rows.len(), context);
                for ((row, sums), (expected_row, expected)) in rows.iter().zip(&expected) {
                    let near = |a: f64, b: f64, scale: f64| (a - b).abs() <= tolerance * scale;
                    prop_assert_eq!(row.len(), expected_row.len());
                    prop_assert!(row.iter().zip(expected_row).all(|(&a, &b)| near(a, b, b)));
                    prop_assert!(near(sums.mass, expected.mass, expected.mass));
                    let scale = expected_row.iter().map(|p| p + (p * p.ln()).abs()).sum();
                    prop_assert!(near(sums.entropy, expected.entropy, scale));
                }
            }
        }
    }
}
