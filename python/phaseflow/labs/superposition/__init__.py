"""Toy models of superposition: phase diagram, pentagon to digons, correlated features, energy levels (Elhage 2022)."""

from phaseflow.labs.superposition.lab import PARTS, run

__all__ = ["PARTS", "run"]
