"""What is in the shards: one row a tensor.

Read from the headers of the files. ``index.parquet`` only spares reading headers again: a row of it counts when its
file still has the size and the time of last change that it had, every other file is read anew, and without the index
nothing is lost. Opening a tensor always goes by the header of its file.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from phaseflow._core import read_shard_header
from phaseflow.archive.files import INDEX, TENSORS, is_temporary, parse_shard_name, read_table, write_table
from phaseflow.archive.problem import Problem
from phaseflow.exceptions import CorruptArchiveError
from phaseflow.schema import CHECKSUM, DTYPE, FILE, NAME, OFFSET, RANK, SHAPE, STEP

_COLUMNS: dict[str, Any] = {
    STEP: pl.Int64,
    RANK: pl.Int64,
    NAME: pl.String,
    FILE: pl.String,
    OFFSET: pl.Int64,
    DTYPE: pl.String,
    SHAPE: pl.List(pl.Int64),
    CHECKSUM: pl.String,
}
SCHEMA = pl.Schema(_COLUMNS)
_SIZE, _CHANGED = "file_size", "file_changed_ns"
_STORED_SCHEMA = pl.Schema({**_COLUMNS, _SIZE: pl.Int64, _CHANGED: pl.Int64})


@dataclass(frozen=True)
class Index:
    """The tensors of a run, and the files that hold none that can be used."""

    #: Columns of `SCHEMA`, sorted by step, rank and name.
    table: pl.DataFrame
    problems: list[Problem]
    #: The steps that each rank has a shard for, readable or not: a file that has its name was complete.
    steps: dict[int, set[int]]
    #: Whether ``index.parquet`` says all this already.
    stored: bool
    _full: pl.DataFrame

    def write(self, run_dir: Path) -> None:
        """Keep it as ``index.parquet``."""
        write_table(run_dir / INDEX, self._full)


def shard_notes(run_id: str, step: int, rank: int) -> dict[str, str]:
    """What a shard says about where it belongs; its seal covers this."""
    return {"run": run_id, "step": str(step), "rank": str(rank)}


def read_index(run_dir: Path, run_id: str) -> Index:
    """Find every tensor of the run."""
    problems: list[Problem] = []
    files = _list_shards(run_dir / TENSORS, problems)
    known = _read_stored(run_dir, problems)
    listed = pl.DataFrame(
        [(name, size, changed) for name, (size, changed) in files.items()],
        schema={FILE: pl.String, _SIZE: pl.Int64, _CHANGED: pl.Int64},
        orient="row",
    )
    kept = known.join(listed, on=[FILE, _SIZE, _CHANGED], how="semi")
    lost = sorted(set(known[FILE].unique()) - files.keys())
    problems.extend(Problem(name, "file", f"the shard that {INDEX} lists", "none") for name in lost)
    rows = []
    for name in sorted(files.keys() - set(kept[FILE].unique())):
        try:
            rows += _read_rows(run_dir, name, *files[name], run_id)
        except FileNotFoundError:
            continue  # gone since it was listed
        except _Unusable as error:
            problems.append(error.problem)
        except (CorruptArchiveError, OSError) as error:
            problems.append(Problem(name, "shard", "a readable safetensors file", str(error)))
    full = pl.concat([kept, pl.DataFrame(rows, schema=_STORED_SCHEMA, orient="row")]).sort(STEP, RANK, NAME)
    stored = not rows and full.height == known.height
    return Index(full.select(list(SCHEMA)), problems, _steps(files), stored, full)


def _steps(files: Iterable[str]) -> dict[int, set[int]]:
    steps: dict[int, set[int]] = {}
    for file in files:
        if (place := parse_shard_name(Path(file).name)) is not None:
            steps.setdefault(place[1], set()).add(place[0])
    return steps


class _Unusable(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def _list_shards(folder: Path, problems: list[Problem]) -> dict[str, tuple[int, int]]:
    """Shards by their path in the run, with size and time of last change."""
    found = {}
    for entry in os.scandir(folder) if folder.is_dir() else []:
        if is_temporary(entry.name):
            continue
        file = f"{TENSORS}/{entry.name}"
        try:
            status = entry.stat()
        except OSError as error:
            problems.append(Problem(file, "file", "a readable file", str(error)))
            continue
        if parse_shard_name(entry.name) is None:
            problems.append(Problem(file, "file name", "<step>-r<rank>.safetensors", "a foreign file"))
        elif not stat.S_ISREG(status.st_mode):
            problems.append(Problem(file, "file", "a regular file", stat.filemode(status.st_mode)))
        else:
            found[file] = (status.st_size, status.st_mtime_ns)
    return found


def _read_stored(run_dir: Path, problems: list[Problem]) -> pl.DataFrame:
    path = run_dir / INDEX
    try:
        table = read_table(path)
        if table.schema == _STORED_SCHEMA:
            return table
        problems.append(
            Problem(INDEX, "columns", str(list(_STORED_SCHEMA)), f"{table.columns}, rebuilt from the files")
        )
    except FileNotFoundError:
        pass
    except (CorruptArchiveError, OSError) as error:
        problems.append(Problem(INDEX, "index", "a table with its checksum", f"{error}; rebuilt from the files"))
    return pl.DataFrame(schema=_STORED_SCHEMA)


def _read_rows(run_dir: Path, file: str, size: int, changed: int, run_id: str) -> list[tuple[object, ...]]:
    entries, notes, sealed = read_shard_header(run_dir / file)
    place = parse_shard_name(Path(file).name)
    if place is None or not sealed:
        raise _Unusable(Problem(file, "seal", "a shard written by phaseflow", "none"))
    step, rank = place
    expected = shard_notes(run_id, step, rank)
    if notes != expected:
        raise _Unusable(Problem(file, "origin", str(expected), f"{notes}: a shard of another run, step or rank"))
    return [
        (step, rank, name, file, offset, dtype, list(shape), checksum, size, changed)
        for name, dtype, shape, offset, _length, checksum in entries
    ]
