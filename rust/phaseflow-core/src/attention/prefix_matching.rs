//! Prefix matching score: how much of its attention a head gives to what followed the current token before.
//!
//! Olsson 2022, "Head Activation Evaluators". With the targets of `targets.rs`,
//!
//! ```text
//! score = mean over queries q that have a target of  ( sum over targets k of pattern[q, k] )
//! ```
//!
//! over the queries of all examples; NaN if no query has a target, or if an entry that counts is NaN.

use ndarray::{ArrayView2, ArrayViewD};
use rayon::prelude::*;

use super::compact::{Compact, OwnedHead};
use super::input::{Input, Rows};
use super::tally::{self, Tally};
use super::targets::Targets;
use crate::tensor::{Element, TensorView, prefetch};
use crate::{Cancel, Error, Result, with_view};

/// What is averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduce {
    /// The sum over a query's targets, averaged over queries: from 0 to 1.
    #[default]
    Sum,
    /// All (query, target) entries alike: bounded by one over the mean number of targets of a query.
    Mean,
    /// Only the latest target of a query, averaged over queries.
    Nearest,
}

impl Reduce {
    /// The names a user may write.
    pub const NAMES: [&str; 3] = ["sum", "mean", "nearest"];
}

impl std::str::FromStr for Reduce {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "sum" => Ok(Self::Sum),
            "mean" => Ok(Self::Mean),
            "nearest" => Ok(Self::Nearest),
            _ => Err(Error::UnknownName {
                argument: "reduce",
                got: name.into(),
                known: Self::NAMES.map(String::from).to_vec(),
            }),
        }
    }
}

/// Which entries count, and how they are averaged.
#[derive(Debug, Clone, Copy)]
pub struct PrefixMatching {
    /// The target is this far after the earlier copy: 1 for induction, 0 for duplicate tokens, −1 the literal wording.
    pub offset: i64,
    /// What is averaged.
    pub reduce: Reduce,
    /// The start-of-sequence token, neither query nor target.
    pub bos: Option<i64>,
}

impl Default for PrefixMatching {
    fn default() -> Self {
        Self { offset: 1, reduce: Reduce::Sum, bos: None }
    }
}

/// The score of every head, `(head,)`, of a pattern `(batch, head, query_pos, key_pos)`, or packed
/// `(batch, head, entry)`, with tokens `(batch, pos)`, or of one example without the batch axis.
pub fn prefix_matching_score(
    pattern: &TensorView<'_>,
    tokens: ArrayViewD<'_, i64>,
    how: PrefixMatching,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    with_view!(pattern, |pattern| {
        let Input { pattern, tokens } = Input::new(pattern.view(), tokens)?;
        let (_, heads) = pattern.batch_and_heads();
        score(tokens, heads, how, cancel, |example, head| pattern.rows(example, head))
    })
}

/// The same of a pattern that is kept as queries, keys and log-sum-exp, with tokens `(batch, pos)`. Only the entries
/// that count are rebuilt.
pub fn prefix_matching_score_of_compact(
    compact: &Compact<'_>,
    tokens: ArrayViewD<'_, i64>,
    how: PrefixMatching,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let (lengths, tokens) = compact.check(tokens)?;
    score(tokens, lengths.heads, how, cancel, |example, head| compact.head::<f64>(lengths, example, head))
}

/// The entries of one head on one example.
trait Entries {
    fn at(&self, query: usize, key: usize) -> f64;
    /// Asks memory for entries of a query whose turn is to come.
    fn prefetch(&self, _query: usize, _keys: &[u32]) {}
}

impl<T: Element> Entries for Rows<'_, T> {
    fn at(&self, query: usize, key: usize) -> f64 {
        self.at(query, key).to_f64()
    }
    fn prefetch(&self, query: usize, keys: &[u32]) {
        keys.iter().for_each(|&key| prefetch(std::slice::from_ref(self.at(query, key as usize))));
    }
}

impl Entries for OwnedHead<f64> {
    fn at(&self, query: usize, key: usize) -> f64 {
        self.as_head().at(query, key)
    }
}

/// Queries whose entries memory is asked for before their turn: few of a row are read, each of a place of its own.
const AHEAD: usize = 8;

/// `entries_of` an example and a head.
fn score<E: Entries>(
    tokens: ArrayView2<'_, i64>,
    heads: usize,
    how: PrefixMatching,
    cancel: &Cancel,
    entries_of: impl Fn(usize, usize) -> E + Sync,
) -> Result<Vec<f64>> {
    let (batch, context) = tokens.dim();
    let targets: Vec<Targets> =
        (0..batch).into_par_iter().map(|example| Targets::new(tokens.row(example), how.offset, how.bos)).collect();
    let score_of_head = |head| {
        let tally = |example: usize| {
            cancel.check()?;
            let entries = entries_of(example, head);
            let targets = &targets[example];
            let keys_of = |query| match targets.of(query) {
                [.., latest] if how.reduce == Reduce::Nearest => std::slice::from_ref(latest),
                keys => keys,
            };
            let mut sum = 0.0;
            for query in 0..context {
                if query + AHEAD < context {
                    entries.prefetch(query + AHEAD, keys_of(query + AHEAD));
                }
                sum += keys_of(query).iter().fold(0.0, |sum, &key| sum + entries.at(query, key as usize));
            }
            let count = if how.reduce == Reduce::Mean { targets.n_entries() } else { targets.n_queries() };
            Ok(Tally { sum, count })
        };
        // Collected in the order of the examples, so that the sum over them does not depend on the threads.
        let tallies = (0..batch).into_par_iter().map(tally).collect::<Result<Vec<_>>>()?;
        Ok(tally::mean(&tallies))
    };
    (0..heads).into_par_iter().map(score_of_head).collect()
}
