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
//! value (`chance.rs`). A score over no query is NaN; a NaN entry makes NaN the scores it enters. Rows that do not sum
//! to 1 and entries that are not finite are counted, not repaired.

use ndarray::{Array2, Array3, ArrayViewD};
use rayon::prelude::*;

use super::compact::Compact;
use super::input::Input;
use super::metric::{METRICS, Metric, SUMS};
use super::sums::Sums;
use super::tally::{self, Tally};
use super::token_index::{Example, TokenIndex};
use crate::tensor::TensorView;
use crate::{Cancel, Result, with_view};

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
    /// `(head, metric, example)`: the means over the queries of one example.
    pub example_value: Array3<f64>,
    /// `(metric, example)`: their uniform causal pattern's.
    pub example_chance: Array2<f64>,
    /// `(metric, example)`: how many those queries are.
    pub example_queries: Array2<usize>,
    /// `(head,)`: rows of finite entries that do not sum to 1 within 0.01.
    pub unnormalised_rows: Vec<u64>,
    /// `(head,)`: entries that are NaN or infinite.
    pub nonfinite_entries: Vec<u64>,
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
        let index = TokenIndex::new(tokens, bos)?;
        let sums = |example, head| Sums::of_rows(index.example(example), index.context(), &pattern.rows(example, head));
        Ok(HeadScores::new(&index, heads, &of_all(&index, heads, cancel, sums)?))
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
    let index = TokenIndex::new(tokens, bos)?;
    let sums = |example: usize, head| match compact.is_half() {
        true => Sums::of_head(index.example(example), &compact.head::<f32>(lengths, example, head).as_head()),
        false => Sums::of_head(index.example(example), &compact.head::<f64>(lengths, example, head).as_head()),
    };
    Ok(HeadScores::new(&index, lengths.heads, &of_all(&index, lengths.heads, cancel, sums)?))
}

/// `sums_of` every example and head, `(batch, head)` in row-major order, as patterns lie.
fn of_all(
    index: &TokenIndex,
    heads: usize,
    cancel: &Cancel,
    sums_of: impl Fn(usize, usize) -> Sums + Sync,
) -> Result<Vec<Sums>> {
    let one = |task: usize| {
        cancel.check()?;
        Ok(sums_of(task / heads, task % heads))
    };
    (0..index.batch() * heads).into_par_iter().map(one).collect()
}

impl HeadScores {
    /// Puts together the sums of every example and head, `(batch, head)` in row-major order.
    pub fn new(index: &TokenIndex, heads: usize, sums: &[Sums]) -> Self {
        let (batch, examples) = (index.batch(), index.examples());
        let uniform: Vec<_> = examples.iter().map(Example::chance).collect();
        let of = |head: usize, example: usize| &sums[example * heads + head];
        let count = |metric: usize, example: usize| examples[example].count(Metric::ALL[metric]);
        // Of one metric: the tallies of all examples whose sums those are.
        let tallies = |metric: usize, sums_of: &dyn Fn(usize) -> [f64; SUMS]| -> Vec<Tally> {
            let sum = Metric::ALL[metric].sum();
            (0..batch).map(|example| Tally { sum: sums_of(example)[sum], count: count(metric, example) }).collect()
        };
        let of_head = |head: usize, metric: usize| tallies(metric, &|example| of(head, example).of);
        let of_uniform = |metric: usize| tallies(metric, &|example| uniform[example]);
        let total = |head: usize, count: fn(&Sums) -> u64| (0..batch).map(|example| count(of(head, example))).sum();
        Self {
            value: Array2::from_shape_fn((heads, METRICS), |(head, metric)| tally::mean(&of_head(head, metric))),
            standard_error: Array2::from_shape_fn((heads, METRICS), |(head, metric)| {
                tally::standard_error(&of_head(head, metric))
            }),
            chance: std::array::from_fn(|metric| tally::mean(&of_uniform(metric))),
            n_queries: std::array::from_fn(|metric| (0..batch).map(|example| count(metric, example)).sum()),
            example_value: Array3::from_shape_fn((heads, METRICS, batch), |(head, metric, example)| {
                of(head, example).of[Metric::ALL[metric].sum()] / count(metric, example) as f64
            }),
            example_chance: Array2::from_shape_fn((METRICS, batch), |(metric, example)| {
                uniform[example][Metric::ALL[metric].sum()] / count(metric, example) as f64
            }),
            example_queries: Array2::from_shape_fn((METRICS, batch), |(metric, example)| count(metric, example)),
            unnormalised_rows: (0..heads).map(|head| total(head, |sums| sums.unnormalised_rows)).collect(),
            nonfinite_entries: (0..heads).map(|head| total(head, |sums| sums.nonfinite_entries)).collect(),
        }
    }
}
