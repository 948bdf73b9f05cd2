"""Archives that several tests look at are written once a session."""

from pathlib import Path

import pytest

from synthetic import planted_run


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: ``with`` holds a planted phase change, ``without`` none. Treat as read-only but for derived/."""
    root = tmp_path_factory.mktemp("planted")
    planted_run(root / "with", induction=True)
    planted_run(root / "without", induction=False, seed=1)
    return root
