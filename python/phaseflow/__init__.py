"""phaseflow: what changed in training, when, in which heads or tokens, across which runs, and how sure is that.

The names below are loaded on first use, so that ``import phaseflow`` and ``phaseflow --help`` stay quick and
never load torch or plotly.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from phaseflow._core import __version__

if TYPE_CHECKING:
    from phaseflow.analysis import Archive, open
    from phaseflow.archive import BackgroundRecorder, Probe, Recorder
    from phaseflow.changepoint import (
        Evaluation,
        OnlineChange,
        OnlineDetector,
        Segmentation,
        detect,
        detect_many,
        detect_path,
        detect_windows,
        evaluate_changepoints,
        non_convexity,
        q_values,
        run_length_posterior,
    )
    from phaseflow.metrics import (
        CompactPattern,
        FunctionSpace,
        LossSummary,
        composition_scores,
        copying_score,
        dimensions_per_feature,
        example_dimensionality,
        factored_eigenvalues,
        feature_dimensionality,
        feature_geometry,
        function_space_pca,
        head_scores,
        in_context_learning_interval,
        in_context_learning_matrix,
        in_context_learning_score,
        loss_log_derivative,
        loss_log_derivative_error,
        loss_summary,
        loss_training_derivative,
        ov_copying_statistic,
        ov_eigenvalues,
        pack_pattern,
        position_losses,
        prefix_matching_score,
        qk_previous_token_term,
        superposition_losses,
        token_changes,
    )
    from phaseflow.reporting import report

_HOME = {
    "Archive": "analysis",
    "BackgroundRecorder": "archive",
    "CompactPattern": "metrics",
    "Evaluation": "changepoint",
    "OnlineChange": "changepoint",
    "OnlineDetector": "changepoint",
    "FunctionSpace": "metrics",
    "LossSummary": "metrics",
    "Probe": "archive",
    "Recorder": "archive",
    "Segmentation": "changepoint",
    "composition_scores": "metrics",
    "copying_score": "metrics",
    "detect": "changepoint",
    "detect_many": "changepoint",
    "detect_path": "changepoint",
    "detect_windows": "changepoint",
    "dimensions_per_feature": "metrics",
    "evaluate_changepoints": "changepoint",
    "example_dimensionality": "metrics",
    "factored_eigenvalues": "metrics",
    "feature_dimensionality": "metrics",
    "feature_geometry": "metrics",
    "function_space_pca": "metrics",
    "head_scores": "metrics",
    "in_context_learning_interval": "metrics",
    "in_context_learning_matrix": "metrics",
    "in_context_learning_score": "metrics",
    "loss_log_derivative": "metrics",
    "loss_log_derivative_error": "metrics",
    "loss_summary": "metrics",
    "loss_training_derivative": "metrics",
    "non_convexity": "changepoint",
    "open": "analysis",
    "ov_copying_statistic": "metrics",
    "ov_eigenvalues": "metrics",
    "pack_pattern": "metrics",
    "position_losses": "metrics",
    "prefix_matching_score": "metrics",
    "q_values": "changepoint",
    "qk_previous_token_term": "metrics",
    "report": "reporting",
    "run_length_posterior": "changepoint",
    "superposition_losses": "metrics",
    "token_changes": "metrics",
}

__all__ = [
    "Archive",
    "BackgroundRecorder",
    "CompactPattern",
    "Evaluation",
    "FunctionSpace",
    "LossSummary",
    "OnlineChange",
    "OnlineDetector",
    "Probe",
    "Recorder",
    "Segmentation",
    "__version__",
    "composition_scores",
    "copying_score",
    "detect",
    "detect_many",
    "detect_path",
    "detect_windows",
    "dimensions_per_feature",
    "evaluate_changepoints",
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
    "non_convexity",
    "open",
    "ov_copying_statistic",
    "ov_eigenvalues",
    "pack_pattern",
    "position_losses",
    "prefix_matching_score",
    "q_values",
    "qk_previous_token_term",
    "report",
    "run_length_posterior",
    "superposition_losses",
    "token_changes",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'phaseflow' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(f"phaseflow.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
