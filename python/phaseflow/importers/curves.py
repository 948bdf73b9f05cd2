"""Curves out of a table: CSV (also gzipped), TSV, Parquet, JSON lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow.exceptions import CorruptArchiveError, DtypeError, MissingDataError, ParameterError, UnknownNameError

_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": pl.read_csv,
    ".csv.gz": pl.read_csv,
    ".tsv": lambda path: pl.read_csv(path, separator="\t"),
    ".parquet": pl.read_parquet,
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
}


@dataclass(frozen=True)
class Curve:
    """One curve: what tells it from the others of its table, and its samples in the order of x."""

    name: dict[str, str]
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def read_curves(path: str | Path, column: str, *, x: str | None = None, by: Sequence[str] = ()) -> list[Curve]:
    """The curves of a column, one for each combination of the columns ``by``.

    Parameters
    ----------
    path : path
        ``.csv``, ``.csv.gz``, ``.tsv``, ``.parquet``, ``.jsonl`` or ``.ndjson``.
    column : str
        The signal. Rows without a value are left out.
    x : str, optional
        The axis, a step or tokens seen; rows are sorted by it. Without it, rows are numbered 0, 1, 2, ...
    by : sequence of str
        Columns that tell curves apart.

    Returns
    -------
    list of Curve
        In the order of their names.

    Raises
    ------
    MissingDataError
        There is no such file, no reader for its suffix, or no row with a value.
    CorruptArchiveError
        It cannot be read as what its suffix says.
    UnknownNameError
        It has no such column.
    DtypeError
        A column that should hold numbers does not.
    ParameterError
        A curve has one x twice: another column tells its rows apart.
    """
    path = Path(path)
    table = read_table(path)
    for name in (column, *([] if x is None else [x]), *by):
        if name not in table.columns:
            raise UnknownNameError(f"{path} has no column {name!r}, it has {', '.join(table.columns)}")
    for name in (column, *([] if x is None else [x])):
        if not table.schema[name].is_numeric():
            raise DtypeError(f"{path}: column {name!r} holds {table.schema[name]}, expected numbers")
    table = table.filter(pl.col(column).is_not_null())
    if table.is_empty():
        raise MissingDataError(f"{path}: column {column!r} has no values")
    parts = table.sort(by).partition_by(by, as_dict=True, maintain_order=True) if by else {(): table}
    return [curve(path, dict(zip(by, map(str, key), strict=True)), part, column, x) for key, part in parts.items()]


def curve(path: Path, name: dict[str, str], rows: pl.DataFrame, column: str, x: str | None) -> Curve:
    """The rows of one curve."""
    if x is None:
        return Curve(name, np.arange(rows.height, dtype=np.float64), rows[column].cast(pl.Float64).to_numpy())
    rows = rows.sort(x)
    if rows[x].is_duplicated().any():
        twice = rows.filter(pl.col(x).is_duplicated())[x][0]
        of = f" of {', '.join(f'{key} {value}' for key, value in name.items())}" if name else ""
        raise ParameterError(
            f"{path}: {x} {twice} comes twice{of}; name the column that tells the rows apart: by (--by)"
        )
    return Curve(name, rows[x].cast(pl.Float64).to_numpy(), rows[column].cast(pl.Float64).to_numpy())


def read_table(path: Path) -> pl.DataFrame:
    """A table by the suffix of its file."""
    suffix = next((suffix for suffix in _READERS if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise MissingDataError(f"{path}: no reader for this file name; known: {', '.join(_READERS)}")
    try:
        return _READERS[suffix](path)
    except FileNotFoundError:
        raise MissingDataError(f"{path}: no such file") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).partition("\n")[0]
        raise CorruptArchiveError(f"{path}: expected a readable {suffix} table, found: {first}") from error
