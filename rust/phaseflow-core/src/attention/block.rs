//! Scores of a pattern that comes in pieces: some rows of one head on one example at a time, in the order of rows.
//!
//! Whoever reads patterns too large for memory adds every block to the [`Sums`] of its head and example, and puts all of
//! them together with [`HeadScores::new`](super::HeadScores::new); the result has the bits of the whole pattern's.

use std::ops::Range;

use super::compact::Head;
use super::panels::InPanels;
use super::sums::Sums;
use super::token_index::TokenIndex;
use crate::tensor::Element;

/// How the rows of one head on one example lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Every row has a key for every position.
    Whole,
    /// Every row ends at its query.
    Packed,
}

impl Layout {
    /// Number of entries before the row of `query`.
    pub fn entries_before(self, query: usize, context: usize) -> usize {
        match self {
            Self::Whole => query * context,
            Self::Packed => query * (query + 1) / 2,
        }
    }
}

impl Sums {
    /// Adds the rows of `queries`; `entries` are theirs, side by side in that layout.
    pub fn add_block<T: Element>(
        &mut self,
        index: &TokenIndex,
        example: usize,
        queries: Range<usize>,
        entries: &[T],
        layout: Layout,
    ) {
        let context = index.context();
        let before = layout.entries_before(queries.start, context);
        for query in queries {
            let first = layout.entries_before(query, context) - before;
            self.add_row(index.example(example), query, &entries[first..=first + query]);
        }
    }

    /// Of a head whose queries (times the scale of their products) and keys, both `(pos, d_head)`, and log-sum-exp
    /// `(pos,)` are given; see [`Compact`](super::Compact).
    pub(crate) fn of_parts<L: InPanels>(
        index: &TokenIndex,
        example: usize,
        queries: &[L],
        keys: &[L],
        log_sum_exp: &[L],
    ) -> Self {
        let width = keys.len() / index.context().max(1);
        Self::of_head(index.example(example), &Head { queries, keys, log_sum_exp, width })
    }
}
