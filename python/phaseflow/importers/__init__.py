"""Logs of others as tables."""

from phaseflow.importers.curves import Curve, read_curves

__all__ = ["Curve", "read_curves"]
