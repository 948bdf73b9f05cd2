"""Where the data measured by others lies: ``shared/data`` beside the repository, or where PHASEFLOW_SHARED points."""

import os
from pathlib import Path

import pytest


def shared(*parts: str) -> Path:
    """The file or folder ``shared/data/parts...``; skips the test where it is absent."""
    repository = Path(__file__).resolve().parents[1]
    named = os.environ.get("PHASEFLOW_SHARED")
    homes = [Path(named)] if named else [parent / "shared" for parent in (repository, *repository.parents)]
    for home in homes:
        if (path := home.joinpath("data", *parts)).exists():
            return path
    pytest.skip(f"outside data {'/'.join(parts)} is absent: set PHASEFLOW_SHARED to the folder that holds data/")
