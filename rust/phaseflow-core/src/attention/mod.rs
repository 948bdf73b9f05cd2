//! Scores read off attention patterns.
//!
//! A pattern is the softmax output, axes `(batch, head, query_pos, key_pos)`; only its causal part,
//! `key_pos <= query_pos`, is ever read.

mod block;
mod chance;
mod compact;
mod entropy;
mod head_scores;
mod input;
mod lane;
mod logarithm;
mod metric;
mod panels;
mod parts;
mod prefix_matching;
mod sums;
mod tally;
mod targets;
mod token_index;

pub use block::Layout;
pub use compact::Compact;
pub use head_scores::{HeadScores, head_scores, head_scores_of_compact};
pub(crate) use lane::Lane;
pub use metric::{Matching, Metric};
pub(crate) use panels::InPanels;
pub use parts::PatternParts;
pub use prefix_matching::{PrefixMatching, Reduce, prefix_matching_score, prefix_matching_score_of_compact};
pub use sums::Sums;
pub use token_index::TokenIndex;
