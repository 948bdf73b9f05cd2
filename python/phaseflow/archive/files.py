"""Where the files of a run lie, and how they are written: whole or not at all.

::

    run/phaseflow.json                      what the run is: `manifest`
    run/probes/<probe>.safetensors          the fixed tokens: `probe`
    run/scalars/part-*.parquet, live*.jsonl  `scalars`
    run/tensors/<step>-r<rank>.safetensors  `recorder`, `index`
    run/index.parquet                       `index`, rebuilt from the files whenever it is missing or does not fit them
    run/derived/                            `derived`

A table has its checksum in a file beside it (``index.parquet.xxh3``): a Parquet file with a flipped bit may decode to
wrong numbers without any error, so no table is decoded before its bytes are known to be the written ones.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from phaseflow._core import checksum, write_file
from phaseflow.exceptions import CorruptArchiveError, ParameterError

MANIFEST = "phaseflow.json"
PROBES = "probes"
SCALARS = "scalars"
TENSORS = "tensors"
INDEX = "index.parquet"
DERIVED = "derived"

MOST_STEP = 10**18 - 1  # of a shard's name
_SHARD = re.compile(r"(\d{1,18})-r(\d{1,9})\.safetensors", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", re.ASCII)


def shard_name(step: int, rank: int) -> str:
    """Name of the file with the tensors of ``step``; ten digits, so that a listing is in order."""
    return f"{step:010d}-r{rank}.safetensors"


def parse_shard_name(name: str) -> tuple[int, int] | None:
    """``(step, rank)`` of a shard's file name; None for any other name."""
    match = _SHARD.fullmatch(name)
    if match is None:
        return None
    step, rank = int(match[1]), int(match[2])
    return (step, rank) if shard_name(step, rank) == name else None


def check_plain_name(argument: str, name: object) -> str:
    """``name``, if it can be part of a file name and of a tensor's name."""
    if not isinstance(name, str) or _PLAIN_NAME.fullmatch(name) is None:
        raise ParameterError(
            f"{argument} is {name!r}, expected letters, digits, '_', '-', '.', and no '.' or '-' in front"
        )
    return name


def is_temporary(name: str) -> bool:
    """Whether a writer that died may have left this file; such a file was never part of the archive."""
    return name.startswith(".") and name.endswith(".tmp")


def remove_leftovers(folder: Path, of: str = "") -> None:
    """Remove what dead writers left of files whose names contain ``of``; no other writer of those may be alive."""
    for path in folder.iterdir():
        if is_temporary(path.name) and of in path.name:
            path.unlink(missing_ok=True)


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write ``table`` whole, and its checksum.

    The checksums of the old and the new table are there before the new one is, so that a writer that dies in between
    leaves a table that can be checked.
    """
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    content = buffer.getvalue()
    old = checksum(path.read_bytes()) if path.exists() else None
    good = [known for known in _checksums(path) if known == old]
    write_file(_checksum_file(path), "\n".join([*good, checksum(content)]).encode())
    write_file(path, content)


def read_table(path: Path) -> pl.DataFrame:
    """Read a table written by `write_table`.

    Raises
    ------
    CorruptArchiveError
        When its bytes are not the ones that were written.
    FileNotFoundError
        When there is none.
    """
    content = path.read_bytes()
    expected = _checksums(path)
    found = checksum(content)
    if found not in expected:
        written = " or ".join(expected) or "a checksum beside it"
        raise CorruptArchiveError(
            f"{path}: table: expected {written}, found {found}; restore the file from a copy, or remove it"
        )
    return pl.read_parquet(io.BytesIO(content))


def _checksums(path: Path) -> list[str]:
    try:
        return _checksum_file(path).read_bytes().decode("ascii", "replace").split()
    except FileNotFoundError:
        return []


def _checksum_file(path: Path) -> Path:
    return path.with_name(path.name + ".xxh3")


@contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path``; a second holder is refused at once, a dead one's lock is gone with it.

    Without ``fcntl`` (Windows), or on a file system without locks, nothing is checked.
    """
    with path.open("ab") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ParameterError(
                f"another Recorder is writing {what}; close it, or give this one another directory or rank"
            ) from None
        except (ImportError, OSError):
            pass
        yield
