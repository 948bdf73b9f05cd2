"""Changepoints and phase-change windows of curves."""

from phaseflow.changepoint.detection import detect
from phaseflow.changepoint.segmentation import Segmentation
from phaseflow.changepoint.windows import detect_windows

__all__ = ["Segmentation", "detect", "detect_windows"]
