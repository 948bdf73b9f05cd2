"""A panel of curves over one axis, as the detectors of stretches take it, and the table of what they find."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow import schema
from phaseflow.changepoint.arguments import float_array
from phaseflow.exceptions import NotFiniteError, ShapeError

if TYPE_CHECKING:
    import polars as pl


def series_rows(argument: str, values: ArrayLike) -> NDArray[np.float64]:
    """``(series, sample)`` of one curve or many; NaN or masked is a missing sample, an infinity is refused."""
    array = float_array(argument, values)
    if array.ndim not in (1, 2):
        raise ShapeError(f"{argument} must have axes (sample,) or (series, sample), got {array.ndim} axes")
    rows = np.ascontiguousarray(np.atleast_2d(array))
    if np.isinf(rows).any():
        series, sample = np.argwhere(np.isinf(rows))[0]
        raise NotFiniteError(
            f"{argument}[{series}, {sample}] is {rows[series, sample]}, expected a number, or NaN where it is missing"
        )
    return rows


def sample_vector(argument: str, value: ArrayLike, of: str, n_samples: int) -> NDArray[np.float64]:
    """One number for every sample of the argument ``of``."""
    given = float_array(argument, value)
    vector = np.ascontiguousarray(given) if given.ndim else given  # which would give it an axis
    if vector.shape != (n_samples,):
        raise ShapeError(f"{argument} has shape {vector.shape}, expected ({n_samples},), one for every sample of {of}")
    return vector


#: Fewest samples of a curve that the detectors of stretches take.
LEAST_SAMPLES = 12


def by_present_samples(
    argument: str, rows: NDArray[np.float64], least: int = LEAST_SAMPLES
) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Series that miss the same checkpoints share a grid; a series with fewer than ``least`` is refused by name."""
    missing = np.isnan(rows)
    present = missing.shape[1] - missing.sum(axis=1)
    if len(rows) and present.min() < least:
        short = int(present.argmin())
        name = argument if len(rows) == 1 else f"{argument}[{short}]"
        raise ShapeError(
            f"{name} has {present[short]} along sample, needs at least {least} that are not NaN: "
            "leave out what is too short"
        )
    if not missing.any():
        return [(np.arange(len(rows)), ~missing[0])] if len(rows) else []
    patterns, member_of = np.unique(missing, axis=0, return_inverse=True)
    return [(np.flatnonzero(member_of.ravel() == index), ~pattern) for index, pattern in enumerate(patterns)]


def stretch_table(
    tables: list[dict[str, NDArray[np.float64]]], columns: Sequence[str], keep: NDArray[np.bool_] | None
) -> "pl.DataFrame":
    """``series`` and ``columns`` of all of them, of the series to ``keep``, by series and start."""
    import polars as pl

    types: dict[str, type[pl.DataType]] = {schema.SERIES: pl.Int64, **dict.fromkeys(columns, pl.Float64)}
    parts = [pl.DataFrame({name: table[name] for name in types}, schema=types) for table in tables]
    frame = pl.concat([pl.DataFrame(schema=types), *parts])
    if keep is not None:
        frame = frame.filter(pl.Series(keep[frame[schema.SERIES].to_numpy()], dtype=pl.Boolean))
    return frame.sort(schema.SERIES, schema.START)
