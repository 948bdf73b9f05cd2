"""The files of a run: written by a Recorder, read back without copies."""

from phaseflow._core import StoredTensor
from phaseflow.archive.derived import Derived
from phaseflow.archive.probe import Probe
from phaseflow.archive.recorder import Recorder
from phaseflow.archive.run import Run, find_runs

__all__ = ["Derived", "Probe", "Recorder", "Run", "StoredTensor", "find_runs"]
