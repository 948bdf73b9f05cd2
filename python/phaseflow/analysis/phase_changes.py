"""What changed, when, in which heads, and how sure is that: the windows in every measured curve of a run.

Three kinds of curve are searched, each over the log of the step:

* the in-context learning score of every text probe,
* the prefix matching score of every head, as one panel with a bound on the false-discovery rate,
* the mean loss of every text probe, where a window is a stretch that falls faster than the smooth decay around it:
  the bump of the loss curve (Olsson 2022) seen from its steep side.

The windows come from :func:`phaseflow.detect_windows`; this file adds what they mean for the measure: its values at
both ends and the share of its total change that falls inside.
"""

from typing import Any

import numpy as np
import polars as pl

from phaseflow import schema
from phaseflow.changepoint import detect_windows

IN_CONTEXT_LEARNING = "in_context_learning_score"
PREFIX_MATCHING = "prefix_matching_score"
LOSS = "loss"

#: The fewest that :func:`phaseflow.detect_windows` works with; a curve of fewer has no windows.
LEAST_CHECKPOINTS = 12

WINDOW_COLUMNS = [
    schema.START,
    schema.END,
    schema.lower(schema.START),
    schema.upper(schema.START),
    schema.lower(schema.END),
    schema.upper(schema.END),
    schema.SIZE,
    schema.lower(schema.SIZE),
    schema.upper(schema.SIZE),
    schema.P_VALUE,
]


def windows_of_curves(table: pl.DataFrame, by: list[str], **options: Any) -> pl.DataFrame:
    """The windows of every curve of ``table``: one row a window, with the curve's columns ``by`` in front.

    Parameters
    ----------
    table : polars.DataFrame
        ``step``, ``value`` and the columns ``by``. Curves may be on different steps, and undefined at some.
    by : list of str
        The columns that tell the curves apart.
    **options
        Passed to :func:`phaseflow.detect_windows`.

    Returns
    -------
    polars.DataFrame
        ``by``, the columns of :func:`phaseflow.detect_windows`, ``before``, ``after`` and ``share``.
    """
    # Step 0 has no logarithm. A checkpoint where one curve is undefined is missing in that curve alone.
    table = table.filter(pl.col(schema.VALUE).is_finite() & (pl.col(schema.STEP) > 0)).sort(schema.STEP)
    parts = table.partition_by(by, as_dict=True, maintain_order=True)
    curves = [(key, part) for key, part in parts.items() if part.height >= LEAST_CHECKPOINTS]
    if not curves:
        return empty(by, table)
    steps = np.unique(np.concatenate([part[schema.STEP].to_numpy() for _, part in curves]))
    signals = np.full((len(curves), len(steps)), np.nan)
    for signal, (_, part) in zip(signals, curves, strict=True):
        signal[np.searchsorted(steps, part[schema.STEP].to_numpy())] = part[schema.VALUE].to_numpy()
    found = detect_windows(signals, x=steps.astype(np.float64), **options)
    rows = []
    for window in found.iter_rows(named=True):
        key, curve = curves[window[schema.SERIES]]
        rows.append(row_of(key, curve, by, window))
    return pl.DataFrame(rows, schema=empty(by, table).schema)


def row_of(key: tuple[Any, ...], curve: pl.DataFrame, by: list[str], window: dict[str, Any]) -> dict[str, Any]:
    """A window of one curve, from the last checkpoint before it to the first after: what was observed.

    The intervals of its ends are rounded outward likewise.
    """
    steps, values = curve[schema.STEP].to_numpy(), curve[schema.VALUE].to_numpy()

    def before(step: float) -> int:
        return max(int(np.searchsorted(steps, step, side="right")) - 1, 0)

    def after(step: float) -> int:
        return min(int(np.searchsorted(steps, step)), len(steps) - 1)

    start, end = before(window[schema.START]), after(window[schema.END])
    ends = {
        name(edge): float(steps[rounded(window[name(edge)])])
        for edge in (schema.START, schema.END)
        for name, rounded in ((schema.lower, before), (schema.upper, after))
    }
    total = values[-1] - values[0]
    return {
        **dict(zip(by, key, strict=True)),
        **{column: window[column] for column in WINDOW_COLUMNS},
        **ends,
        schema.START: steps[start],
        schema.END: steps[end],
        schema.BEFORE: values[start],
        schema.AFTER: values[end],
        schema.SHARE: (values[end] - values[start]) / total if total != 0.0 else float("nan"),
    }


def empty(by: list[str], table: pl.DataFrame) -> pl.DataFrame:
    """No window, with the columns and types of the real thing."""
    numbers = [*WINDOW_COLUMNS, schema.BEFORE, schema.AFTER, schema.SHARE]
    return pl.DataFrame(schema={**{name: table.schema[name] for name in by}, **dict.fromkeys(numbers, pl.Float64)})


CURVE = [schema.METRIC, schema.PROBE, schema.LAYER, schema.HEAD]


def phase_changes(
    heads: pl.DataFrame, in_context: pl.DataFrame, loss_curve: pl.DataFrame, *, level: float
) -> pl.DataFrame:
    """The windows of all runs, from their tables; see :meth:`phaseflow.Archive.phase_changes`."""
    matching = heads.filter(pl.col(schema.METRIC) == PREFIX_MATCHING)
    panels: list[tuple[pl.DataFrame, dict[str, Any]]] = [
        # A difference of losses, which starts at 0: its noise does not go with its level.
        (as_curves(in_context, IN_CONTEXT_LEARNING), {"level": level, "variance": None}),
        (as_curves(matching, PREFIX_MATCHING), {"level": level, "fdr": level}),
        (as_curves(loss_curve, LOSS), {"level": level}),
    ]
    found = []
    for table, options in panels:
        for (run,), rows in table.group_by([schema.RUN], maintain_order=True):
            windows = windows_of_curves(rows, CURVE, **options)
            found.append(windows.select(pl.lit(run).alias(schema.RUN), pl.all()))
    if not found:
        return empty(CURVE, as_curves(loss_curve, LOSS)).insert_column(0, pl.Series(schema.RUN, [], pl.String))
    return pl.concat(found).sort([schema.RUN, schema.METRIC, schema.LAYER, schema.HEAD, schema.START], nulls_last=True)


def as_curves(table: pl.DataFrame, metric: str) -> pl.DataFrame:
    """A table of one measure with the columns every curve has; layer and head are null where it has none."""
    layers = [schema.LAYER, schema.HEAD]
    return table.select(
        schema.RUN,
        pl.lit(metric).alias(schema.METRIC),
        schema.PROBE,
        *((pl.col(name) if name in table.columns else pl.lit(None)).cast(pl.Int32).alias(name) for name in layers),
        schema.STEP,
        schema.VALUE,
    )
