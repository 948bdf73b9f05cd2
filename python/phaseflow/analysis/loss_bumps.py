"""Where the loss curves of runs are not convex: :func:`phaseflow.non_convexity` on each text probe of each run.

Checkpoints are the samples; a stretch starts and ends at one of them.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import schema
from phaseflow.changepoint import non_convexity
from phaseflow.exceptions import MissingDataError, UnknownNameError

#: Fewest checkpoints that :func:`phaseflow.non_convexity` works with; a curve of fewer has no stretches.
LEAST_CHECKPOINTS = 12

#: What a curve may be convex in: the column, and what is made of it.
AXES: dict[str, tuple[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "step": (schema.STEP, np.asarray),
    "log_step": (schema.STEP, np.log),
    "tokens_seen": (schema.TOKENS_SEEN, np.asarray),
    "log_tokens_seen": (schema.TOKENS_SEEN, np.log),
}

BUMPS_SCHEMA = pl.Schema(
    {
        schema.RUN: pl.String,
        schema.PROBE: pl.String,
        schema.START: pl.Float64,
        schema.END: pl.Float64,
        schema.SIZE: pl.Float64,
        schema.STANDARD_ERROR: pl.Float64,
        schema.P_VALUE: pl.Float64,
    }
)


def loss_bumps(loss_curve: pl.DataFrame, *, x: str, level: float) -> pl.DataFrame:
    """The stretches of every curve; see :meth:`phaseflow.Archive.loss_bumps`."""
    if x not in AXES:
        raise UnknownNameError(f"x is {x!r}, known: {', '.join(AXES)}")
    column, axis = AXES[x]
    found = [pl.DataFrame(schema=BUMPS_SCHEMA)]
    for (run, probe), rows in loss_curve.group_by([schema.RUN, schema.PROBE], maintain_order=True):
        curve = rows.filter(pl.col(schema.VALUE).is_finite()).sort(schema.STEP)
        if curve[column].null_count():
            raise MissingDataError(f"run {run!r} logged no {column} at some checkpoints; use x='step' or 'log_step'")
        if axis is np.log:
            curve = curve.filter(pl.col(column) > 0)
        if curve.height < LEAST_CHECKPOINTS:
            continue
        steps = curve[schema.STEP].to_numpy()
        at = axis(curve[column].to_numpy().astype(np.float64))
        stretches = non_convexity(curve[schema.VALUE].to_numpy(), x=at, level=level)
        ends = [
            pl.Series(edge, steps[np.searchsorted(at, stretches[edge].to_numpy())])
            for edge in (schema.START, schema.END)
        ]
        where = [pl.lit(run).alias(schema.RUN), pl.lit(probe).alias(schema.PROBE)]
        found.append(stretches.with_columns(*where, *ends).select(BUMPS_SCHEMA.names()).cast(BUMPS_SCHEMA))
    return pl.concat(found)
