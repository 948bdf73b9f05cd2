//! Scores read off attention patterns.
//!
//! A pattern is the softmax output, axes `(batch, head, query_pos, key_pos)`; only its causal part,
//! `key_pos <= query_pos`, is ever read.

mod chance;
mod compact;
mod entropy;
mod exponential;
mod head_scores;
mod input;
mod prefix_matching;
mod tally;
mod targets;

pub use compact::Compact;
pub use head_scores::{HeadScores, Metric, head_scores, head_scores_of_compact};
pub use prefix_matching::{PrefixMatching, Reduce, prefix_matching_score, prefix_matching_score_of_compact};
