"""*In-context Learning and Induction Heads* (Olsson 2022) on small models, as one command: which claims hold."""

from phaseflow.labs.induction.lab import run

__all__ = ["run"]
