//! All scores of a head in one pass over its pattern.
//!
//! | score | mean over | of |
//! |---|---|---|
//! | prefix matching | queries with a target | `sum over targets k of pattern[q, k]`, targets one after the earlier copies |
//! | duplicate token | queries with a target | the same, targets the earlier copies themselves |
//! | previous token | `q >= 1` | `pattern[q, q - 1]` |
//! | first token | `q >= 1` | `pattern[q, 0]` |
//! | attention entropy | all rows | `-sum p ln p` over `k <= q`, nats |
//!
//! Olsson 2022 for prefix matching; see `definitions` of each in `prefix_matching.rs` and `entropy.rs`. Means run over
//! the queries of all examples, standard errors over examples (`tally.rs`), chance is the uniform causal pattern's
//! value (`chance.rs`). A score over no query is NaN; a NaN entry makes NaN the scores it enters.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewD};
use rayon::prelude::*;

use super::chance;
use super::compact::{Compact, Head};
use super::entropy::entropy;
use super::input::{Input, Rows};
use super::tally::{self, Tally};
use super::targets::Targets;
use crate::tensor::{Element, TensorView};
use crate::{Cancel, Result, with_view};

/// The scores, in the order of every array of [`HeadScores`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Attention to what followed the current token before.
    PrefixMatching,
    /// Attention to earlier copies of the current token.
    DuplicateToken,
    /// Attention to the token before.
    PreviousToken,
    /// Attention to the first token.
    FirstToken,
    /// Entropy of the attention, nats.
    Entropy,
}

impl Metric {
    /// All of them, in order.
    pub const ALL: [Self; 5] =
        [Self::PrefixMatching, Self::DuplicateToken, Self::PreviousToken, Self::FirstToken, Self::Entropy];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrefixMatching => "prefix_matching_score",
            Self::DuplicateToken => "duplicate_token_score",
            Self::PreviousToken => "previous_token_score",
            Self::FirstToken => "first_token_score",
            Self::Entropy => "attention_entropy",
        }
    }
}

const METRICS: usize = Metric::ALL.len();

/// What [`head_scores`] finds.
#[derive(Debug, Clone)]
pub struct HeadScores {
    /// `(head, metric)`
    pub value: Array2<f64>,
    /// `(head, metric)`, over examples; NaN with fewer than two.
    pub standard_error: Array2<f64>,
    /// The value of a uniform causal pattern on the same tokens, one a metric.
    pub chance: [f64; METRICS],
    /// How many queries a value is the mean over, one a metric.
    pub n_queries: [usize; METRICS],
}

/// All scores of every head of a pattern `(batch, head, query_pos, key_pos)`, or packed `(batch, head, entry)`, with
/// tokens `(batch, pos)`, or of one example without the batch axis. `bos` is neither query nor target of prefix
/// matching and duplicate tokens; the other scores do not look at tokens.
pub fn head_scores(
    pattern: &TensorView<'_>,
    tokens: ArrayViewD<'_, i64>,
    bos: Option<i64>,
    cancel: &Cancel,
) -> Result<HeadScores> {
    with_view!(pattern, |pattern| {
        let Input { pattern, tokens } = Input::new(pattern.view(), tokens)?;
        let (_, heads) = pattern.batch_and_heads();
        scores(tokens, heads, bos, cancel, |of, example, head| of.rows(&pattern.rows(example, head)))
    })
}

/// The same of a pattern that is kept as queries, keys and log-sum-exp, with tokens `(batch, pos)`.
pub fn head_scores_of_compact(
    compact: &Compact<'_>,
    tokens: ArrayViewD<'_, i64>,
    bos: Option<i64>,
    cancel: &Cancel,
) -> Result<HeadScores> {
    let (lengths, tokens) = compact.check(tokens)?;
    scores(tokens, lengths.heads, bos, cancel, |of, example, head| of.compact(&compact.head(lengths, example, head)))
}

/// What the tokens of one example fix for all heads.
struct Example {
    prefix: Targets,
    duplicate: Targets,
    context: usize,
}

impl Example {
    fn new(tokens: ArrayView1<'_, i64>, bos: Option<i64>) -> Self {
        Self { prefix: Targets::new(tokens, 1, bos), duplicate: Targets::new(tokens, 0, bos), context: tokens.len() }
    }

    fn counts(&self) -> [usize; METRICS] {
        let later = self.context.saturating_sub(1);
        [self.prefix.n_queries(), self.duplicate.n_queries(), later, later, self.context]
    }

    fn chance(&self) -> [f64; METRICS] {
        let one_key = chance::on_one_key(self.context);
        [
            chance::on_targets(&self.prefix, self.context),
            chance::on_targets(&self.duplicate, self.context),
            one_key,
            one_key,
            chance::entropy(self.context),
        ]
    }

    /// Sums over the queries of one head's pattern of this example.
    fn rows<T: Element>(&self, rows: &Rows<'_, T>) -> [f64; METRICS] {
        let mut sums = [0.0; METRICS];
        let mut copy = Vec::new();
        for query in 0..self.context {
            let row = rows.row(query);
            // A row whose keys do not lie side by side is copied once, so that one loop serves every stride.
            let row = match row.to_slice() {
                Some(row) => row,
                None => {
                    copy.clear();
                    copy.extend(row.iter().copied());
                    &copy
                }
            };
            self.add(&mut sums, query, row, entropy(row));
        }
        sums
    }

    /// The same, every row rebuilt.
    fn compact(&self, head: &Head) -> [f64; METRICS] {
        let mut sums = [0.0; METRICS];
        let mut row = Vec::with_capacity(self.context);
        for query in 0..self.context {
            let entropy = head.row(query, &mut row);
            self.add(&mut sums, query, &row, entropy);
        }
        sums
    }

    fn add<T: Element>(
        &self,
        [prefix, duplicate, previous, first, entropies]: &mut [f64; METRICS],
        query: usize,
        row: &[T],
        entropy: f64,
    ) {
        *prefix += gather(row, self.prefix.of(query));
        *duplicate += gather(row, self.duplicate.of(query));
        if query > 0 {
            *previous += row[query - 1].to_f64();
            *first += row[0].to_f64();
        }
        *entropies += entropy;
    }
}

fn gather<T: Element>(row: &[T], keys: &[u32]) -> f64 {
    keys.iter().fold(0.0, |sum, &key| sum + row[key as usize].to_f64())
}

/// `sums_of` an example and a head, put together.
fn scores(
    tokens: ArrayView2<'_, i64>,
    heads: usize,
    bos: Option<i64>,
    cancel: &Cancel,
    sums_of: impl Fn(&Example, usize, usize) -> [f64; METRICS] + Sync,
) -> Result<HeadScores> {
    let batch = tokens.nrows();
    let examples: Vec<Example> =
        (0..batch).into_par_iter().map(|example| Example::new(tokens.row(example), bos)).collect();
    let sums = (0..heads * batch)
        .into_par_iter()
        .map(|task| {
            cancel.check()?;
            let (head, example) = (task / batch, task % batch);
            Ok(sums_of(&examples[example], example, head))
        })
        .collect::<Result<Vec<_>>>()?;
    let counts: Vec<_> = examples.iter().map(Example::counts).collect();
    let tallies = |sums: &[[f64; METRICS]], metric: usize| -> Vec<Tally> {
        sums.iter().zip(&counts).map(|(sums, counts)| Tally { sum: sums[metric], count: counts[metric] }).collect()
    };
    let of_head = |head: usize| &sums[head * batch..(head + 1) * batch];
    let chance: Vec<_> = examples.iter().map(Example::chance).collect();
    Ok(HeadScores {
        value: Array2::from_shape_fn((heads, METRICS), |(head, metric)| tally::mean(&tallies(of_head(head), metric))),
        standard_error: Array2::from_shape_fn((heads, METRICS), |(head, metric)| {
            tally::standard_error(&tallies(of_head(head), metric))
        }),
        chance: std::array::from_fn(|metric| tally::mean(&tallies(&chance, metric))),
        n_queries: std::array::from_fn(|metric| counts.iter().map(|counts| counts[metric]).sum()),
    })
}
