"""Measures: array in, array out."""

from phaseflow.metrics.attention import head_scores, pack_pattern, prefix_matching_score
from phaseflow.metrics.circuit import (
    composition_scores,
    copying_score,
    factored_eigenvalues,
    ov_copying_statistic,
    ov_eigenvalues,
    qk_previous_token_term,
    qk_previous_token_traces,
)
from phaseflow.metrics.compact import CompactPattern
from phaseflow.metrics.function_space import FunctionSpace, function_space_pca
from phaseflow.metrics.loss import (
    in_context_learning_interval,
    in_context_learning_matrix,
    in_context_learning_score,
    position_losses,
)
from phaseflow.metrics.loss_derivative import loss_log_derivative, loss_log_derivative_error
from phaseflow.metrics.summary import LossSummary, loss_summary
from phaseflow.metrics.superposition import (
    dimensions_per_feature,
    example_dimensionality,
    feature_dimensionality,
    feature_geometry,
)
from phaseflow.metrics.superposition_phases import superposition_losses
from phaseflow.metrics.token_change import token_changes
from phaseflow.metrics.training_derivative import loss_training_derivative

__all__ = [
    "CompactPattern",
    "FunctionSpace",
    "LossSummary",
    "composition_scores",
    "copying_score",
    "dimensions_per_feature",
    "example_dimensionality",
    "factored_eigenvalues",
    "feature_dimensionality",
    "feature_geometry",
    "function_space_pca",
    "head_scores",
    "in_context_learning_interval",
    "in_context_learning_matrix",
    "in_context_learning_score",
    "loss_log_derivative",
    "loss_log_derivative_error",
    "loss_summary",
    "loss_training_derivative",
    "ov_copying_statistic",
    "ov_eigenvalues",
    "pack_pattern",
    "position_losses",
    "prefix_matching_score",
    "qk_previous_token_term",
    "qk_previous_token_traces",
    "superposition_losses",
    "token_changes",
]
