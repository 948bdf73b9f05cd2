"""Results of many steps together, kept beside the run they were computed from, or the first of these runs.

What :mod:`phaseflow.archive.derived` is to a measure of one step: the tables of one computation over a set of tensors
are ``derived/<measure>-<hash>-<inputs>-<table>.parquet``. The first hash covers the measure, its parameters and
phaseflow's version, the second the checksums of the tensors; with another tensor everything is computed anew and the
older results are removed. A damaged table counts as none. Where the run cannot be written to, nothing is kept.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from phaseflow._core import checksum
from phaseflow.archive.derived import computation_name, keep_table
from phaseflow.archive.files import check_plain_name, read_table
from phaseflow.archive.source import RunSource
from phaseflow.exceptions import CorruptArchiveError


class DerivedWhole:
    """The kept tables of one computation.

    Parameters
    ----------
    run : RunSource
        Where the results are kept.
    measure : str
        Letters, digits, ``_``, ``-``, ``.``.
    parameters : mapping
        Everything besides the tensors that the results depend on; JSON can hold it.
    tensors : iterable of (run, step, name)
        What the computation reads, in its order.
    """

    def __init__(
        self, run: RunSource, measure: str, parameters: Mapping[str, Any], tensors: Iterable[tuple[RunSource, int, str]]
    ) -> None:
        self._computation = computation_name(measure, parameters)
        inputs = [[step, name, source.checksums(step).get(name)] for source, step, name in tensors]
        self._inputs = checksum(json.dumps(inputs).encode())
        self._folder = run.derived

    def read(self, tables: Iterable[str]) -> dict[str, pl.DataFrame] | None:
        """The kept tables by name; None where one of them is missing or damaged."""
        if self._folder is None:
            return None
        try:
            return {table: read_table(self._path(self._folder, table)) for table in tables}
        except (CorruptArchiveError, OSError):
            return None

    def write(self, tables: Mapping[str, pl.DataFrame]) -> None:
        """Keeps the tables, and no longer those of other tensors."""
        if self._folder is None:
            return
        with suppress(OSError):  # A run that cannot be written to is analysed all the same.
            for name, table in tables.items():
                keep_table(self._path(self._folder, name), table)
            for path in self._folder.glob(f"{self._computation}-*"):
                if not path.name.startswith(f"{self._computation}-{self._inputs}-"):
                    path.unlink(missing_ok=True)

    def _path(self, folder: Path, table: str) -> Path:
        return folder / f"{self._computation}-{self._inputs}-{check_plain_name('table', table)}.parquet"
