"""From archives to tidy tables and phase changes."""

from phaseflow.analysis.archive import Archive, OnProgress, open

__all__ = ["Archive", "OnProgress", "open"]
