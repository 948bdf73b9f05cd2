//! What the tokens of a batch fix for every head and every checkpoint: where the targets are, how many queries count,
//! and what a uniform causal pattern would score. Made once a batch.

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::chance;
use super::input::check_context;
use super::metric::METRICS;
use super::targets::Targets;
use crate::Result;

/// The token occurrences of every example of a batch.
pub struct TokenIndex {
    examples: Vec<Example>,
    context: usize,
}

/// Those of one example.
pub(super) struct Example {
    pub(super) prefix: Targets,
    pub(super) duplicate: Targets,
    context: usize,
}

impl TokenIndex {
    /// Of tokens `(batch, pos)`; `bos` is neither query nor target of prefix matching and duplicate tokens.
    pub fn new(tokens: ArrayView2<'_, i64>, bos: Option<i64>) -> Result<Self> {
        check_context(tokens.ncols())?;
        let example = |index: usize| Example::new(tokens.row(index), bos);
        Ok(Self { examples: (0..tokens.nrows()).into_par_iter().map(example).collect(), context: tokens.ncols() })
    }

    /// Number of examples.
    pub fn batch(&self) -> usize {
        self.examples.len()
    }

    /// Number of positions of each.
    pub fn context(&self) -> usize {
        self.context
    }

    pub(super) fn example(&self, index: usize) -> &Example {
        &self.examples[index]
    }

    pub(super) fn examples(&self) -> &[Example] {
        &self.examples
    }
}

impl Example {
    fn new(tokens: ArrayView1<'_, i64>, bos: Option<i64>) -> Self {
        Self { prefix: Targets::new(tokens, 1, bos), duplicate: Targets::new(tokens, 0, bos), context: tokens.len() }
    }

    /// Number of queries that each metric is a mean over.
    pub(super) fn counts(&self) -> [usize; METRICS] {
        let later = self.context.saturating_sub(1);
        [self.prefix.n_queries(), self.duplicate.n_queries(), later, later, self.context]
    }

    /// Sums over those queries of what a uniform causal pattern has.
    pub(super) fn chance(&self) -> [f64; METRICS] {
        let one_key = chance::on_one_key(self.context);
        [
            chance::on_targets(&self.prefix, self.context),
            chance::on_targets(&self.duplicate, self.context),
            one_key,
            one_key,
            chance::entropy(self.context),
        ]
    }
}
