//! Scores read off attention patterns.
//!
//! A pattern is the softmax output, axes `(batch, head, query_pos, key_pos)`; only its causal part,
//! `key_pos <= query_pos`, is ever read.

mod chance;
mod entropy;
mod head_scores;
mod input;
mod prefix_matching;
mod tally;
mod targets;

pub use head_scores::{HeadScores, Metric, head_scores};
pub use prefix_matching::{PrefixMatching, Reduce, prefix_matching_score};
