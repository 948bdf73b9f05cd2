//! What the tokens of a batch fix for every head and every checkpoint: where the targets are, how many queries count,
//! and what a uniform causal pattern would score. Made once a batch.

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::chance;
use super::input::check_context;
use super::metric::{Matching, Metric, SUMS};
use super::prefix_matching::Reduce;
use super::targets::Targets;
use crate::Result;

/// The token occurrences of every example of a batch.
pub struct TokenIndex {
    examples: Vec<Example>,
    context: usize,
}

/// Those of one example.
pub(super) struct Example {
    /// The targets of each matching.
    pub(super) matching: [Targets; Matching::ALL.len()],
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
        let matching = Matching::ALL.map(|matching| Targets::new(tokens, matching.offset(), bos));
        Self { matching, context: tokens.len() }
    }

    /// Number of queries that a metric is a mean over, or of (query, target) entries.
    pub(super) fn count(&self, metric: Metric) -> usize {
        match metric {
            Metric::Matching(matching, Reduce::Mean) => self.matching[matching as usize].n_entries(),
            Metric::Matching(matching, _) => self.matching[matching as usize].n_queries(),
            Metric::PreviousToken | Metric::FirstToken => self.context.saturating_sub(1),
            Metric::Entropy => self.context,
        }
    }

    /// The sums of a uniform causal pattern.
    pub(super) fn chance(&self) -> [f64; SUMS] {
        let [prefix, duplicate, literal] = &self.matching;
        let one_key = chance::on_one_key(self.context);
        [
            chance::on_targets(prefix, self.context),
            chance::on_targets(duplicate, self.context),
            chance::on_targets(literal, self.context),
            chance::on_nearest(prefix, self.context),
            chance::on_nearest(duplicate, self.context),
            chance::on_nearest(literal, self.context),
            one_key,
            one_key,
            chance::entropy(self.context),
        ]
    }
}
