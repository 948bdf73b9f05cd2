//! All rows of a head that is kept as queries and keys: `row[k] = exp(query · key_k - lse)`, keys up to the query.
//!
//! A product with one key after the other would load every number of the keys for every query. Keys lie in panels instead,
//! `PANEL` of them side by side, number after number:
//!
//! ```text
//! panel p, d-th line:  keys[p · PANEL][d], keys[p · PANEL + 1][d], ...
//! sums[i] += query[d] · line[i]        for every d; PANEL sums stay in registers
//! ```
//!
//! Numbers of sixteen bits are multiplied, summed and exponentiated in single precision (`lane.rs`): their products are
//! exact there, and what the rest loses (about 1e-6) is far below what storing them lost. Others are taken in double
//! precision. Row sums and entropies are summed in double precision in either case.

use super::compact::Head;
use super::entropy::RowSums;
use super::lane::Lane;
use crate::vectorize::vectorize_fused;

/// Partial sums of a row, added side by side.
const LANES: usize = 8;

/// The keys of a head in panels of so many, and its queries. Eight registers of sums keep the arithmetic busy while it
/// waits for the ones before: 64 singles or 32 doubles.
pub(super) struct Panels<L, const PANEL: usize> {
    queries: Vec<L>,
    panels: Vec<L>,
    log_sum_exp: Vec<L>,
    width: usize,
}

impl<L: Lane, const PANEL: usize> Panels<L, PANEL> {
    pub(super) fn new(head: &Head<'_>) -> Self {
        let context = head.log_sum_exp.len();
        let mut panels = vec![L::default(); context.div_ceil(PANEL) * PANEL * head.width];
        for (position, key) in head.keys.chunks_exact(head.width.max(1)).enumerate() {
            let panel = &mut panels[position / PANEL * PANEL * head.width..];
            for (line, &number) in panel.chunks_exact_mut(PANEL).zip(key) {
                line[position % PANEL] = L::narrow(number);
            }
        }
        let narrow = |numbers: &[f64]| numbers.iter().map(|&number| L::narrow(number)).collect();
        Self { queries: narrow(head.queries), panels, log_sum_exp: narrow(head.log_sum_exp), width: head.width }
    }

    /// How much room a row needs: all its panels, whole.
    pub(super) fn room(&self) -> usize {
        self.log_sum_exp.len().next_multiple_of(PANEL)
    }

    /// What a query attends to, the keys up to itself, into the first of `row`, which is as long as `room`; with the sum
    /// of these, and the entropy, for which the logarithms are at hand: `0 - sum p ln p`.
    pub(super) fn row(&self, query: usize, row: &mut [L]) -> RowSums {
        vectorize_fused(
            #[inline(always)]
            |fused| {
                if fused {
                    self.logarithms::<true>(query, row);
                } else {
                    self.logarithms::<false>(query, row);
                }
                rebuild(&mut row[..=query])
            },
        )
    }

    // Plain loops: what a closure or an iterator's adapter hides may be compiled for the narrower registers.
    #[inline(always)]
    fn logarithms<const FUSED: bool>(&self, query: usize, row: &mut [L]) {
        let numbers = &self.queries[query * self.width..][..self.width];
        let log_sum_exp = self.log_sum_exp[query];
        let length = PANEL * self.width;
        for (panel, out) in row.as_chunks_mut::<PANEL>().0.iter_mut().take(query / PANEL + 1).enumerate() {
            let lines = self.panels[panel * length..][..length].as_chunks::<PANEL>().0;
            let mut sums = [L::default(); PANEL];
            for (line, &number) in lines.iter().zip(numbers) {
                for key in 0..PANEL {
                    sums[key] = L::multiply_add::<FUSED>(number, line[key], sums[key]);
                }
            }
            for key in 0..PANEL {
                out[key] = sums[key] - log_sum_exp;
            }
        }
    }
}

/// Turns logarithms into their numbers `p`; the sums of `p` and of `-p ln p`, 0 at 0.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the same loop over zipped iterators takes half as long again")]
fn rebuild<L: Lane>(row: &mut [L]) -> RowSums {
    let (mut entropy, mut mass) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        let logarithms = *chunk;
        for lane in 0..LANES {
            chunk[lane] = logarithms[lane].exp();
        }
        for lane in 0..LANES {
            let p = chunk[lane].to_f64();
            mass[lane] += p;
            entropy[lane] += if p == 0.0 { 0.0 } else { p * logarithms[lane].to_f64() };
        }
    }
    for (lane, entry) in rest.iter_mut().enumerate() {
        let logarithm = *entry;
        *entry = logarithm.exp();
        let p = entry.to_f64();
        mass[lane] += p;
        entropy[lane] += if p == 0.0 { 0.0 } else { p * logarithm.to_f64() };
    }
    RowSums { entropy: 0.0 - entropy.iter().sum::<f64>(), mass: mass.iter().sum() }
}
