"""One offline HTML page about the phase changes of an archive."""

from phaseflow.reporting.report import report

__all__ = ["report"]
