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
use crate::vectorize::vectorize_fused;

/// Partial sums of a row, added side by side.
const LANES: usize = 8;
/// Numbers that are added up as they are, before the sum goes on in double precision.
const ADDED: usize = 4;

/// Queries that are taken at once: with two registers of keys each, twelve of sums, which keeps the arithmetic busy
/// while it waits for the ones before and leaves room for what they are made of.
const QUERIES: usize = 6;

/// The queries and keys of a head in panels, of `KEYS` keys.
pub(super) struct Panels<L, const KEYS: usize> {
    queries: Vec<L>,
    keys: Vec<L>,
    log_sum_exp: Vec<L>,
    width: usize,
}

impl<L: Lane, const KEYS: usize> Panels<L, KEYS> {
    pub(super) fn new(head: &Head<'_, L>) -> Self {
        Self {
            queries: in_panels::<L, QUERIES>(head.queries, head.width),
            keys: in_panels::<L, KEYS>(head.keys, head.width),
            log_sum_exp: head.log_sum_exp.to_vec(),
            width: head.width,
        }
    }

    /// Calls `each` with every query in order, what it attends to, the keys up to itself, and the sums of that row.
    pub(super) fn each_row(&self, mut each: impl FnMut(usize, &[L], RowSums)) {
        let context = self.log_sum_exp.len();
        let room = context.next_multiple_of(KEYS);
        let mut rows = vec![L::default(); QUERIES * room];
        let mut sums = [RowSums::default(); QUERIES];
        for first in (0..context).step_by(QUERIES) {
            let queries = first..context.min(first + QUERIES);
            vectorize_fused(
                #[inline(always)]
                |fused| {
                    if fused {
                        self.logarithms::<true>(first, &mut rows, room);
                    } else {
                        self.logarithms::<false>(first, &mut rows, room);
                    }
                    for (query, row) in queries.clone().zip(rows.chunks_exact_mut(room)) {
                        sums[query - first] = rebuild(&mut row[..=query], self.log_sum_exp[query]);
                    }
                },
            );
            for (query, row) in queries.zip(rows.chunks_exact(room)) {
                each(query, &row[..=query], sums[query - first]);
            }
        }
    }

    /// The products of the panel of queries that begins with `first`, with all keys that one of them may see.
    // Plain loops: what a closure or an iterator's adapter hides may be compiled for the narrower registers.
    #[inline(always)]
    fn logarithms<const FUSED: bool>(&self, first: usize, rows: &mut [L], room: usize) {
        let queries = self.queries[first * self.width..][..QUERIES * self.width].as_chunks::<QUERIES>().0;
        let last = (first + QUERIES - 1).min(self.log_sum_exp.len() - 1);
        for panel in 0..=last / KEYS {
            let keys = self.keys[panel * KEYS * self.width..][..KEYS * self.width].as_chunks::<KEYS>().0;
            let mut sums = [[L::default(); KEYS]; QUERIES];
            for (numbers, line) in queries.iter().zip(keys) {
                for query in 0..QUERIES {
                    for key in 0..KEYS {
                        sums[query][key] = L::multiply_add::<FUSED>(numbers[query], line[key], sums[query][key]);
                    }
                }
            }
            for query in 0..QUERIES {
                rows[query * room + panel * KEYS..][..KEYS].copy_from_slice(&sums[query]);
            }
        }
    }
}

/// Vectors `(pos, width)` in panels of `SIDE`: `(panel, width, SIDE)`, zeros behind the last.
fn in_panels<L: Lane, const SIDE: usize>(vectors: &[L], width: usize) -> Vec<L> {
    let width_or_one = width.max(1);
    let mut panels = vec![L::default(); (vectors.len() / width_or_one).div_ceil(SIDE) * SIDE * width];
    for (position, vector) in vectors.chunks_exact(width_or_one).enumerate() {
        let panel = &mut panels[position / SIDE * SIDE * width..];
        for (line, &number) in panel.chunks_exact_mut(SIDE).zip(vector) {
            line[position % SIDE] = number;
        }
    }
    panels
}

/// Turns products into `p = exp(product - lse)`; the sums of `p` and of `-p ln p`, 0 at 0.
#[inline(always)]
fn rebuild<L: Lane>(row: &mut [L], log_sum_exp: L) -> RowSums {
    let (mut entropy, mut mass) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, rest) = row.as_chunks_mut::<{ LANES * ADDED }>();
    for chunk in chunks {
        rebuild_chunk(chunk, log_sum_exp, &mut entropy, &mut mass);
    }
    // The last few in registers as full as the others: what is infinitely unlikely adds nothing.
    let mut last = [L::narrow(f64::NEG_INFINITY); LANES * ADDED];
    last[..rest.len()].copy_from_slice(rest);
    rebuild_chunk(&mut last, log_sum_exp, &mut entropy, &mut mass);
    rest.copy_from_slice(&last[..rest.len()]);
    RowSums { entropy: 0.0 - entropy.iter().sum::<f64>(), mass: mass.iter().sum() }
}

#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the same loop over zipped iterators takes half as long again")]
fn rebuild_chunk<L: Lane>(
    chunk: &mut [L; LANES * ADDED],
    log_sum_exp: L,
    entropy: &mut [f64; LANES],
    mass: &mut [f64; LANES],
) {
    let (mut terms, mut entries) = ([L::default(); LANES], [L::default(); LANES]);
    for numbers in chunk.as_chunks_mut::<LANES>().0 {
        for lane in 0..LANES {
            let logarithm = numbers[lane] - log_sum_exp;
            let p = logarithm.exp();
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
