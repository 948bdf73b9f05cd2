"""Archives that several tests look at are written once a session.

Properties are tested on the same examples every time, so that a failure is of the change at hand; with
PHASEFLOW_EXPLORE=1 on new ones.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from phaseflow import _core
from synthetic import planted_run

# How long an example takes depends on what else the machine does; no test asserts speed.
settings.register_profile("phaseflow", deadline=None, derandomize="PHASEFLOW_EXPLORE" not in os.environ)
settings.load_profile("phaseflow")


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: ``with`` holds a planted phase change, ``without`` none. Treat as read-only but for derived/."""
    root = tmp_path_factory.mktemp("planted")
    planted_run(root / "with", induction=True)
    planted_run(root / "without", induction=False, seed=1)
    return root


@pytest.fixture
def detectors_made(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each window detector that is made from here on: whether its noise is even."""
    made = []
    new = _core.WindowDetector

    def counted(x, variance, **options):
        made.append(variance is None)
        return new(x, variance, **options)

    monkeypatch.setattr(_core, "WindowDetector", counted)
    return made
