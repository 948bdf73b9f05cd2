"""One offline HTML page about the phase changes of an archive."""

from phaseflow.reporting.compose import report

__all__ = ["report"]
