"""Changepoints and phase-change windows of curves."""

from phaseflow.changepoint.convexity import non_convexity
from phaseflow.changepoint.detection import detect
from phaseflow.changepoint.evaluation import Evaluation, evaluate_changepoints
from phaseflow.changepoint.many import detect_many
from phaseflow.changepoint.online import OnlineChange, OnlineDetector
from phaseflow.changepoint.path import detect_path
from phaseflow.changepoint.run_length import run_length_posterior
from phaseflow.changepoint.segmentation import Segmentation
from phaseflow.changepoint.windows import detect_windows
from phaseflow.discovery import q_values

__all__ = [
    "Evaluation",
    "OnlineChange",
    "OnlineDetector",
    "Segmentation",
    "detect",
    "detect_many",
    "detect_path",
    "detect_windows",
    "evaluate_changepoints",
    "non_convexity",
    "q_values",
    "run_length_posterior",
]
