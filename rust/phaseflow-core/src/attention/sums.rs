//! What one head on one example comes to: sums over its queries, row by row in their order, so that a pattern gives the
//! same bits however it is cut into blocks of rows.

use super::compact::Head;
use super::entropy::{RowSums, row_sums};
use super::input::Rows;
use super::metric::{ENTROPY, FIRST, NEAREST, PREVIOUS, SUMS};
use super::panels::InPanels;
use super::token_index::Example;
use crate::tensor::{Element, prefetch};

/// How far the sum of a row may be from 1: rows rounded to bfloat16 entry by entry stay within 0.004.
pub(super) const ROW_TOLERANCE: f64 = 0.01;

/// Rows that memory is asked for before their turn.
const AHEAD: usize = 2;

/// Sums over the queries of one head on one example, and what is wrong with its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    pub(super) of: [f64; SUMS],
    /// Rows of finite entries that do not sum to 1 within 0.01.
    pub(super) unnormalised_rows: u64,
    /// Entries that are NaN or infinite.
    pub(super) nonfinite_entries: u64,
}

impl Sums {
    /// Adds the row of one query: its keys up to itself.
    pub(super) fn add_row<T: Element>(&mut self, example: &Example, query: usize, row: &[T]) {
        self.add(example, query, row, row_sums(row));
    }

    /// Adds all rows of a pattern in memory; one whose keys do not lie side by side is copied, so that one loop serves
    /// every stride.
    pub(super) fn of_rows<T: Element>(example: &Example, context: usize, rows: &Rows<'_, T>) -> Self {
        let mut sums = Self::default();
        let mut copy = Vec::new();
        for query in 0..context {
            if query + AHEAD < context
                && let Some(row) = rows.row(query + AHEAD).to_slice()
            {
                prefetch(row);
            }
            let row = rows.row(query);
            let row = match row.to_slice() {
                Some(row) => row,
                None => {
                    copy.clear();
                    copy.extend(row.iter().copied());
                    &copy
                }
            };
            sums.add_row(example, query, row);
        }
        sums
    }

    /// Adds all rows, each rebuilt from queries and keys.
    pub(super) fn of_head<L: InPanels>(example: &Example, head: &Head<'_, L>) -> Self {
        let mut sums = Self::default();
        L::each_row(head, |query, row, found| sums.add(example, query, row, found));
        sums
    }

    fn add<T: Element>(&mut self, example: &Example, query: usize, row: &[T], found: RowSums) {
        for (matching, targets) in example.matching.iter().enumerate() {
            if let keys @ [.., nearest] = targets.of(query) {
                self.of[matching] += gather(row, keys);
                self.of[NEAREST + matching] += row[*nearest as usize].to_f64();
            }
        }
        if query > 0 {
            self.of[PREVIOUS] += row[query - 1].to_f64();
            self.of[FIRST] += row[0].to_f64();
        }
        self.of[ENTROPY] += found.entropy;
        let nonfinite = match found.mass.is_finite() {
            true => 0,
            false => row.iter().filter(|entry| !entry.to_f64().is_finite()).count() as u64,
        };
        self.nonfinite_entries += nonfinite;
        let whole = (found.mass - 1.0).abs() <= ROW_TOLERANCE;
        self.unnormalised_rows += u64::from(!whole && nonfinite == 0);
    }
}

fn gather<T: Element>(row: &[T], keys: &[u32]) -> f64 {
    keys.iter().fold(0.0, |sum, &key| sum + row[key as usize].to_f64())
}
