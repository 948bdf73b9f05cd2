"""Measures: array in, array out."""

from phaseflow.metrics.attention import head_scores, pack_pattern, prefix_matching_score
from phaseflow.metrics.loss import (
    in_context_learning_interval,
    in_context_learning_score,
    loss_log_derivative,
    position_losses,
)

__all__ = [
    "head_scores",
    "in_context_learning_interval",
    "in_context_learning_score",
    "loss_log_derivative",
    "pack_pattern",
    "position_losses",
    "prefix_matching_score",
]
