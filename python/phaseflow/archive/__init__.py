"""The files of a run: written by a Recorder, read back without copies."""

from phaseflow._core import StoredTensor
from phaseflow.archive.background import BackgroundRecorder
from phaseflow.archive.derived import Derived
from phaseflow.archive.derived_whole import DerivedWhole
from phaseflow.archive.foreign import ForeignRun, Numbers, find_foreign_runs
from phaseflow.archive.pattern import is_pattern
from phaseflow.archive.probe import Probe
from phaseflow.archive.recorder import Recorder
from phaseflow.archive.run import Run, find_runs
from phaseflow.archive.source import RunSource

__all__ = [
    "BackgroundRecorder",
    "Derived",
    "DerivedWhole",
    "ForeignRun",
    "Numbers",
    "Probe",
    "Recorder",
    "Run",
    "RunSource",
    "StoredTensor",
    "find_foreign_runs",
    "find_runs",
    "is_pattern",
]
