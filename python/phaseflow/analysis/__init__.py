"""From archives to tidy tables and phase changes."""

from phaseflow.analysis.archive import Archive, open
from phaseflow.analysis.tables import OnProgress

__all__ = ["Archive", "OnProgress", "open"]
