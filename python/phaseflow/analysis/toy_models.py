"""What toy models of superposition show at every step that stored them: every feature's share and figure, every loss.

They are stored as ``weights/toy/W (instance, hidden, feature)`` and ``weights/toy/loss (instance,)``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import metrics, schema
from phaseflow.analysis.tables import OnBytes, OnProgress, computed, problem_rows
from phaseflow.archive import RunSource
from phaseflow.exceptions import PhaseflowError

WEIGHTS = "weights/toy/W"
LOSSES = "weights/toy/loss"
WHERE = {schema.RUN: pl.String, schema.STEP: pl.Int64, schema.TOKENS_SEEN: pl.Int64, schema.INSTANCE: pl.Int32}
GEOMETRY = pl.DataFrame(
    schema={
        **WHERE,
        schema.FEATURE: pl.Int32,
        schema.NORM: pl.Float64,
        schema.DIMENSIONALITY: pl.Float64,
        schema.INTERFERENCE: pl.Float64,
        schema.LEVERAGE: pl.Float64,
        schema.COMPONENT: pl.Int32,
        schema.CORNERS: pl.Int32,
        schema.GEOMETRY: pl.String,
        schema.CERTAINTY: pl.Float64,
    }
)
LOSS = pl.DataFrame(schema={**WHERE, schema.VALUE: pl.Float64})


def geometry(
    run: RunSource, learned: float, edge: float, tolerance: float, progress: OnProgress | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of :func:`phaseflow.feature_geometry` for every instance at every step, and what went wrong."""

    def rows(W: NDArray[Any]) -> pl.DataFrame:
        table = metrics.feature_geometry(W, learned=learned, edge=edge, tolerance=tolerance)
        return table.rename({schema.MATRIX: schema.INSTANCE})

    parameters = {"learned": learned, "edge": edge, "tolerance": tolerance}
    return table(run, "feature_geometry", WEIGHTS, 3, rows, parameters, GEOMETRY, schema.DIMENSIONALITY, progress)


def losses(run: RunSource, progress: OnProgress | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The loss of every instance at every step, and what went wrong."""

    def rows(loss: NDArray[Any]) -> pl.DataFrame:
        return pl.DataFrame({schema.INSTANCE: np.arange(len(loss)), schema.VALUE: loss.astype(np.float64)})

    return table(run, "toy_losses", LOSSES, 1, rows, {}, LOSS, schema.VALUE, progress)


def table(
    run: RunSource,
    measure: str,
    name: str,
    axes: int,
    rows: Callable[[NDArray[Any]], pl.DataFrame],
    parameters: dict[str, float],
    form: pl.DataFrame,
    value: str,
    progress: OnProgress | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of one tensor of every step that has it, kept; and where ``value`` is undefined or nothing was read."""
    stored = run.index.filter((pl.col(schema.NAME) == name) & (pl.col(schema.SHAPE).list.len() == axes))
    names_at = {step: [name] for step in stored[schema.STEP].unique().sort()}
    found = []

    def rows_of_step(steps: list[int], _: OnBytes) -> pl.DataFrame | None:
        [step] = steps
        try:
            computed_rows = rows(np.asarray(run.tensor(step, name)))
        except (PhaseflowError, OSError) as error:
            found.append((step, name, "a readable tensor", str(error)))
            return None
        kinds = {column: dtype for column, dtype in form.schema.items() if column in computed_rows.columns}
        return computed_rows.select(
            pl.lit(step, pl.Int64).alias(schema.STEP), *(pl.col(column).cast(dtype) for column, dtype in kinds.items())
        )

    result = computed(run, measure, dict(parameters), names_at, rows_of_step, form, progress)
    undefined = result.filter(pl.col(value).is_nan()).group_by(schema.STEP, maintain_order=True).len()
    for step, count in undefined.iter_rows():
        found.append((step, name, "finite numbers", f"numbers that leave {count} values of {measure} undefined"))
    return result, problem_rows(run, found)
