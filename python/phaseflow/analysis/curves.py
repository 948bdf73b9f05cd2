"""Changepoints and phase-change windows of curves that come from a table instead of an archive."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import schema
from phaseflow.changepoint import detect, detect_windows
from phaseflow.exceptions import ParameterError


class NamedCurve(Protocol):
    """A curve and what tells it from others."""

    @property
    def name(self) -> Mapping[str, str]:
        """Columns and their values; the same columns for all curves."""
        ...

    @property
    def x(self) -> NDArray[np.float64]:
        """``(sample,)``, ascending."""
        ...

    @property
    def y(self) -> NDArray[np.float64]:
        """``(sample,)``."""
        ...


def segments_of_curves(curves: Sequence[NamedCurve], *, cost: str, penalty: float | str) -> pl.DataFrame:
    """The segments of every curve: its name, then the columns of `Segmentation.to_polars`."""
    return pl.concat(
        [named(curve, detect(curve.y, x=curve.x, cost=cost, penalty=penalty).to_polars()) for curve in curves]
    )


def windows_of_curves(curves: Sequence[NamedCurve]) -> pl.DataFrame:
    """The windows of every curve over log x: its name, then the columns of `detect_windows`.

    Samples at x = 0, which have no logarithm, are left out.
    """
    return pl.concat(
        [
            named(curve, detect_windows(curve.y[curve.x > 0], x=curve.x[curve.x > 0]).drop(schema.SERIES))
            for curve in curves
        ]
    )


def named(curve: NamedCurve, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the curve's name in front."""
    if clash := set(curve.name) & set(rows.columns):
        raise ParameterError(f"the column {clash.pop()!r} is also one of the result; rename it in the table")
    return rows.select(*(pl.lit(value).alias(column) for column, value in curve.name.items()), pl.all())
