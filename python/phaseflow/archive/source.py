"""What the analysis needs to know of a run, whoever wrote its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from numpy.typing import NDArray

from phaseflow._core import StoredTensor
from phaseflow.archive.parts import DecodedPattern
from phaseflow.archive.probe import Probe


class RunSource(Protocol):
    """A run: `Run` reads what a Recorder wrote, `ForeignRun` what anybody else did."""

    name: str
    path: Path
    config: dict[str, Any]
    probes: dict[str, Probe]

    @property
    def derived(self) -> Path | None:
        """Directory of kept results; None where nothing is kept."""
        ...

    @property
    def steps(self) -> list[int]:
        """The checkpoints that hold tensors, ascending."""
        ...

    @property
    def index(self) -> pl.DataFrame:
        """One row a tensor, at least ``step, rank, name, file, dtype, shape, checksum``."""
        ...

    @property
    def problems(self) -> pl.DataFrame:
        """One row for whatever could not be used."""
        ...

    def scalars(self) -> pl.DataFrame:
        """One row a scalar: ``step, tokens_seen, name, value, wall_time``."""
        ...

    def tokens_seen(self) -> pl.DataFrame:
        """``step, tokens_seen``."""
        ...

    def tensor(self, step: int, name: str) -> StoredTensor | NDArray[Any]:
        """One tensor, not copied."""
        ...

    def decoded(self, step: int, name: str, memory: int) -> DecodedPattern | None:
        """A pattern that has to be decoded and does not fit so many bytes, in parts that do; else None."""
        ...

    def checksums(self, step: int) -> dict[str, str]:
        """What tells a tensor of a step from another, by name."""
        ...

    def verify(self, progress: Callable[[int], object] | None = None) -> pl.DataFrame:
        """Reads everything once; ``problems`` with what was found. ``progress`` is told the bytes read so far."""
        ...
