"""Changepoints and phase-change windows of curves."""

from phaseflow.changepoint.windows import detect_windows

__all__ = ["detect_windows"]
