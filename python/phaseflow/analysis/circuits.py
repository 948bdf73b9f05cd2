"""What the weights of a run say at every step that stored them: copying, composition, previous-token traces.

Unlike the measures of single tensors this one needs all weights of a step together: ``weights/W_Q/L00``, ... of every
layer, and ``weights/W_E``, ``weights/W_U`` for what goes from token to token.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import metrics, schema
from phaseflow.analysis.tables import PROBLEM_SCHEMA, OnBytes, OnProgress, computed
from phaseflow.archive import RunSource
from phaseflow.exceptions import PhaseflowError

OF_HEADS = ("W_Q", "W_K", "W_V", "W_O")
PREVIOUS_TOKEN_TRACE = "qk_previous_token_trace"
PREVIOUS_TOKEN_TERM = "qk_previous_token_term"
FORM = pl.DataFrame(
    schema={
        schema.RUN: pl.String,
        schema.STEP: pl.Int64,
        schema.TOKENS_SEEN: pl.Int64,
        schema.METRIC: pl.String,
        schema.LAYER: pl.Int32,
        schema.HEAD: pl.Int32,
        schema.EARLIER_LAYER: pl.Int32,
        schema.EARLIER_HEAD: pl.Int32,
        schema.VALUE: pl.Float64,
        schema.CHANCE: pl.Float64,
    }
)


def table(run: RunSource, progress: OnProgress | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All rows of a run but the previous-token term, and what kept them from being more."""
    names_at = steps_with_weights(run)
    if not names_at:
        return FORM, pl.DataFrame(schema=PROBLEM_SCHEMA)
    problems = []

    def problem(step: int, expected: str, found: str) -> None:
        file = run.index.filter((pl.col(schema.STEP) == step) & (pl.col(schema.NAME) == names_at[step][0]))
        problems.append((run.name, file[schema.FILE][0], f"weights at step {step}", expected, found))

    def rows_of_step(steps: list[int], _: OnBytes) -> pl.DataFrame | None:
        [step] = steps
        try:
            weights = {name: np.asarray(run.tensor(step, name)) for name in names_at[step]}
        except (PhaseflowError, OSError) as error:
            problem(step, "readable tensors", str(error))
            return None
        return rows(weights).with_columns(pl.lit(step, pl.Int64).alias(schema.STEP))

    result = computed(run, "circuit_scores", {}, names_at, rows_of_step, FORM, progress)
    undefined = result.filter(pl.col(schema.VALUE).is_nan()).group_by(schema.STEP, maintain_order=True).len()
    for step, count in undefined.iter_rows():
        problem(step, "finite weights, none of them all zero", f"heads that leave {count} circuit scores undefined")
    return result, pl.DataFrame(problems, schema=PROBLEM_SCHEMA, orient="row")


def steps_with_weights(run: RunSource) -> dict[int, list[str]]:
    """The weights of each step that has W_Q, W_K, W_V and W_O of one shape in all its layers."""
    index = run.index.filter(pl.col(schema.NAME).str.starts_with("weights/")).sort(schema.STEP, schema.NAME)
    shapes: dict[int, dict[str, tuple[int, ...]]] = {}
    for step, name, shape in index.select(schema.STEP, schema.NAME, schema.SHAPE).iter_rows():
        shapes.setdefault(step, {})[name] = tuple(shape)
    return {step: names for step, at in shapes.items() if (names := usable(at))}


def usable(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The weights among tensors of these shapes; none unless every layer has its four, of one shape."""
    layers = sorted(name.removeprefix("weights/W_Q/") for name in shapes if name.startswith("weights/W_Q/"))
    names = [f"weights/{weight}/{layer}" for weight in OF_HEADS for layer in layers]
    found = {(name.split("/")[1], shapes.get(name)) for name in names}
    if not names or len(found) != len(OF_HEADS) or None in (shape for _, shape in found):
        return []
    return names + [name for name in ("weights/W_E", "weights/W_U") if name in shapes]


def rows(weights: Mapping[str, NDArray[Any]]) -> pl.DataFrame:
    """The rows of one step's weights, without run, step and tokens_seen."""
    W_Q, W_K, W_V, W_O = (
        np.stack([array for name, array in weights.items() if name.startswith(f"weights/{weight}/")])
        for weight in OF_HEADS
    )
    W_E, W_U = weights.get("weights/W_E"), weights.get("weights/W_U")
    random_composition = float(W_Q.shape[2]) ** -0.5
    frames = []
    if W_E is not None and W_U is not None:
        frames.append(of_heads("ov_copying_statistic", metrics.ov_copying_statistic(W_E, W_V, W_O, W_U)))
    kinds: tuple[Literal["Q", "K", "V"], ...] = ("Q", "K", "V")
    for kind in kinds:
        scores = metrics.composition_scores(W_Q, W_K, W_V, W_O, kind=kind)
        frames.append(of_pairs(f"{kind.lower()}_composition", scores, random_composition))
    if W_E is not None:
        traces = metrics.qk_previous_token_traces(W_E, W_Q, W_K, W_V, W_O)
        frames.append(of_pairs(PREVIOUS_TOKEN_TRACE, traces, 0.0))
    return pl.concat(frames)


def of_heads(metric: str, values: NDArray[np.float64]) -> pl.DataFrame:
    """One row a head of ``(layer, head)``."""
    layer, head = np.indices(values.shape).reshape(2, -1)
    nobody = np.full(layer.shape, None)
    return frame(metric, layer, head, nobody, nobody, values.ravel(), 0.0)


def of_pairs(metric: str, values: NDArray[np.float64], chance: float) -> pl.DataFrame:
    """One row a pair of ``(earlier layer, earlier head, layer, head)``."""
    earlier_layer, earlier_head, layer, head = np.indices(values.shape).reshape(4, -1)
    pairs = earlier_layer < layer
    places = (layer[pairs], head[pairs], earlier_layer[pairs], earlier_head[pairs])
    return frame(metric, *places, values.ravel()[pairs], chance)


def frame(
    metric: str, layer: Any, head: Any, earlier_layer: Any, earlier_head: Any, value: Any, chance: float
) -> pl.DataFrame:
    """A tidy frame of these columns in the order of ``FORM``."""
    columns = {
        schema.METRIC: [metric] * len(value),
        schema.LAYER: layer,
        schema.HEAD: head,
        schema.EARLIER_LAYER: earlier_layer,
        schema.EARLIER_HEAD: earlier_head,
        schema.VALUE: value,
        schema.CHANCE: [chance] * len(value),
    }
    return pl.DataFrame(columns, schema_overrides={name: FORM.schema[name] for name in columns})


def with_previous_token_term(circuits: pl.DataFrame, head_scores: pl.DataFrame) -> pl.DataFrame:
    """Adds the QK previous-token term: the traces, weighted by how much each earlier head attends to the token before.

    Where several probes have patterns, their mean counts. Heads of the first layer have no earlier ones and no row.
    """
    at = [schema.RUN, schema.STEP]
    previous = (
        head_scores.filter(pl.col(schema.METRIC) == "previous_token_score")
        .group_by(*at, schema.LAYER, schema.HEAD)
        .agg(pl.col(schema.VALUE).mean().alias("weight"))
        .rename({schema.LAYER: schema.EARLIER_LAYER, schema.HEAD: schema.EARLIER_HEAD})
    )
    by = [*at, schema.TOKENS_SEEN, schema.LAYER, schema.HEAD]
    terms = (
        circuits.filter(pl.col(schema.METRIC) == PREVIOUS_TOKEN_TRACE)
        .join(previous, on=[*at, schema.EARLIER_LAYER, schema.EARLIER_HEAD], maintain_order="left")
        .group_by(by, maintain_order=True)
        .agg((pl.col(schema.VALUE) * pl.col("weight")).sum(), pl.col(schema.CHANCE).first())
        .with_columns(
            pl.lit(PREVIOUS_TOKEN_TERM).alias(schema.METRIC),
            *(pl.lit(None, pl.Int32).alias(name) for name in (schema.EARLIER_LAYER, schema.EARLIER_HEAD)),
        )
    )
    return pl.concat([circuits, terms.select(circuits.columns)])
