//! What a head that looks everywhere alike would score on the same tokens.
//!
//! The uniform causal pattern is `pattern[q, k] = 1 / (q + 1)` for `k <= q`.

use super::targets::Targets;

/// Sum over queries of the attention on their targets.
pub(super) fn on_targets(targets: &Targets, context: usize) -> f64 {
    (0..context).fold(0.0, |sum, query| sum + targets.of(query).len() as f64 / (query + 1) as f64)
}

/// Sum over queries with a target of the attention on the latest.
pub(super) fn on_nearest(targets: &Targets, context: usize) -> f64 {
    (0..context).filter(|&query| !targets.of(query).is_empty()).fold(0.0, |sum, query| sum + 1.0 / (query + 1) as f64)
}

/// Sum over `q >= 1` of the attention on any one key.
pub(super) fn on_one_key(context: usize) -> f64 {
    (1..context).fold(0.0, |sum, query| sum + 1.0 / (query + 1) as f64)
}

/// Sum over rows of the entropy, `ln(q + 1)`, in nats.
pub(super) fn entropy(context: usize) -> f64 {
    (0..context).fold(0.0, |sum, query| sum + ((query + 1) as f64).ln())
}
