"""How fast the loss of every token index falls along training: `phaseflow.loss_training_derivative`, probe by probe."""

import numpy as np
import polars as pl

from phaseflow import metrics, schema
from phaseflow.exceptions import MissingDataError, ParameterError, UnknownNameError

#: What the slope is over: the column whose logarithm it is.
AXES = {"step": schema.STEP, "tokens_seen": schema.TOKENS_SEEN}

DERIVATIVE_SCHEMA = pl.Schema(
    {
        schema.RUN: pl.String,
        schema.STEP: pl.Int64,
        schema.TOKENS_SEEN: pl.Int64,
        schema.PROBE: pl.String,
        schema.TOKEN_INDEX: pl.Int32,
        schema.VALUE: pl.Float64,
    }
)
_CHECKPOINT = [schema.STEP, schema.TOKENS_SEEN]


def training_derivative(position_losses: pl.DataFrame, *, x: str, bandwidth: float) -> pl.DataFrame:
    """The slopes of every curve; see :meth:`phaseflow.Archive.loss_training_derivative`."""
    if x not in AXES:
        raise UnknownNameError(f"x is {x!r}, known: {', '.join(AXES)}")
    metrics.loss_training_derivative(np.empty(0), np.empty(0), bandwidth=bandwidth)
    found = [pl.DataFrame(schema=DERIVATIVE_SCHEMA)]
    for (run, probe), rows in position_losses.group_by([schema.RUN, schema.PROBE], maintain_order=True):
        if rows[AXES[x]].null_count():
            raise MissingDataError(f"run {run!r} logged no {x} at some checkpoints; use x='step'")
        # ln(0) is none: the checkpoint before the first step has no slope.
        curves = rows.filter(pl.col(AXES[x]) > 0).pivot(
            schema.TOKEN_INDEX, index=_CHECKPOINT, values=schema.VALUE, sort_columns=False
        )
        curves = curves.sort(schema.STEP)
        at = curves[AXES[x]].to_numpy().astype(np.float64)
        if (np.diff(at) <= 0).any():
            raise ParameterError(f"{x} of run {run!r} does not increase from step to step; use x='step'")
        indices = [name for name in curves.columns if name not in _CHECKPOINT]
        slopes = metrics.loss_training_derivative(
            curves.select(indices).to_numpy().astype(np.float64).T, at, bandwidth=bandwidth
        )
        table = curves.select(_CHECKPOINT).with_columns(pl.DataFrame(slopes.T, schema=indices))
        table = table.unpivot(indices, index=_CHECKPOINT, variable_name=schema.TOKEN_INDEX, value_name=schema.VALUE)
        where = [pl.lit(run).alias(schema.RUN), pl.lit(probe).alias(schema.PROBE)]
        table = table.with_columns(*where).select(DERIVATIVE_SCHEMA.names()).cast(DERIVATIVE_SCHEMA)
        found.append(table.sort(schema.STEP, schema.TOKEN_INDEX))
    return pl.concat(found)
