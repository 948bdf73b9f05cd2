"""Breaks of single tokens' losses in archives: :func:`phaseflow.token_changes` on the probes of each run.

The checkpoints are those of the last three decades of steps: earlier ones hold what every token does at once, and make
smooth learning harder to follow. Each probe of each run is a set of tests of its own, whose results are kept beside the
run until one of its checkpoints changes.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import schema
from phaseflow._core import checksum
from phaseflow.analysis.losses import EXPECTED, defect
from phaseflow.analysis.repeats import repeat_lengths
from phaseflow.analysis.tables import PROBLEM_SCHEMA, OnProgress, bytes_of
from phaseflow.archive import DerivedWhole, Probe, RunSource
from phaseflow.discovery import check_rate
from phaseflow.exceptions import ParameterError
from phaseflow.metrics import _inputs
from phaseflow.metrics._token_scan import token_breaks
from phaseflow.metrics.token_change import SIMULATIONS, table

#: Steps further than this factor before the last one are left out.
SPAN = 1000.0
#: Fewest checkpoints in that span.
LEAST_CHECKPOINTS = 16
#: Tokens shown in front of one, and behind it.
CONTEXT_TOKENS, FOLLOWING_TOKENS = 16, 8
_PREFIX = "loss/"

_COLUMNS: dict[str, type[pl.DataType]] = {
    schema.RUN: pl.String,
    schema.PROBE: pl.String,
    schema.EXAMPLE: pl.Int32,
    schema.TOKEN_INDEX: pl.Int32,
    schema.TOKEN: pl.Int64,
    schema.REPEAT_LENGTH: pl.Int32,
    schema.START: pl.Float64,
    schema.END: pl.Float64,
    schema.BEFORE: pl.Float64,
    schema.AFTER: pl.Float64,
    schema.SIZE: pl.Float64,
    schema.HEIGHT: pl.Float64,
    schema.P_VALUE: pl.Float64,
    schema.Q_VALUE: pl.Float64,
    schema.CONTEXT: pl.String,
    schema.TEXT: pl.String,
    schema.FOLLOWING: pl.String,
}
CHANGES_SCHEMA = pl.Schema(_COLUMNS)
#: Where chance puts breaks: one row a place that was tried, with its share; and what the tokens of the probe are like.
PLACES_SCHEMA = pl.Schema(
    {
        schema.RUN: pl.String,
        schema.PROBE: pl.String,
        schema.START: pl.Float64,
        schema.END: pl.Float64,
        schema.SHARE: pl.Float64,
        schema.REPEATED_SHARE_OF_ALL: pl.Float64,
    }
)


@dataclass(frozen=True)
class TokenChanges:
    """The tables of one archive."""

    changes: pl.DataFrame
    places: pl.DataFrame
    problems: pl.DataFrame


_TABLES: dict[str, pl.Schema] = {
    "changes": CHANGES_SCHEMA,
    "places": PLACES_SCHEMA,
    "problems": pl.Schema(PROBLEM_SCHEMA),
}


def token_changes(
    runs: list[RunSource], *, fdr: float, first_step: float | None, seed: int, progress: OnProgress | None
) -> TokenChanges:
    """The breaks of every run; see :meth:`phaseflow.Archive.token_changes`."""
    check_rate("fdr", _inputs.real("fdr", fdr))
    if first_step is not None and not _inputs.real("first_step", first_step) >= 0:
        raise ParameterError(f"first_step is {first_step}, expected a step from 0 on")
    options = {
        "fdr": float(fdr),
        "first_step": None if first_step is None else float(first_step),
        "seed": _inputs.integer("seed", seed, least=0),
    }
    found = [{name: pl.DataFrame(schema=columns) for name, columns in _TABLES.items()}]
    for run in runs:
        probes = [name for name in run.probes if run.index[schema.NAME].is_in([_PREFIX + name]).any()]
        sizes = [sum(bytes_of(run, {step: [_PREFIX + name] for step in run.steps}).values()) for name in probes]
        for probe, done in zip(probes, accumulate(sizes), strict=True):
            found.append(of_probe(run, probe, options))
            if progress is not None:
                progress(f"{run.name}: breaks of single tokens", done, sum(sizes))
    return TokenChanges(**{name: pl.concat([tables[name] for tables in found]) for name in _TABLES})


def of_probe(run: RunSource, probe: str, options: dict[str, Any]) -> dict[str, pl.DataFrame]:
    """The tables of one probe, kept or computed; without rows where it has too few checkpoints."""
    name = _PREFIX + probe
    files = checkpoints(run, name, options["first_step"])
    columns = [columns.names() for columns in _TABLES.values()]
    depends_on = {
        **options,
        "simulations": SIMULATIONS,
        "columns": columns,
        "probe": probe,
        **identity(run.probes[probe]),
    }
    kept = DerivedWhole(run, "token_changes", depends_on, [(run, step, name) for step in files])
    tables = kept.read(_TABLES)
    if tables is None:
        problems, readable, damaged = [], [], False
        shapes = {step: shape for step, (_, shape) in files.items()}
        for step, (file, shape) in files.items():
            found = defect(run, step, name)
            if shape != shapes[max(shapes)]:
                text = f"shape {shape}, not {shapes[max(shapes)]} as at the last step; the checkpoint is left out"
                problems.append((file, f"{name} at step {step}", "losses of the same tokens", text))
            elif found is None:
                readable.append(step)
            else:
                problems.append((file, f"{name} at step {step}", EXPECTED, found.text))
                damaged |= found.unreadable
        tables = {name: pl.DataFrame(schema=columns) for name, columns in _TABLES.items()}
        if len(readable) >= LEAST_CHECKPOINTS:
            tables["changes"], tables["places"], untested = computed(run, probe, readable, options)
            if untested:
                text = f"{untested} tokens with a NaN or infinite loss at some of them, not tested for breaks"
                problems.append(("tensors", f"{name} at {len(readable)} steps", "finite losses", text))
        tables["problems"] = pl.DataFrame(problems, list(PROBLEM_SCHEMA)[1:], orient="row")
        # A file that cannot be read now may be put back without any checksum changing.
        if not damaged:
            kept.write(tables)
    where = [pl.lit(run.name).alias(schema.RUN), pl.lit(probe).alias(schema.PROBE)]
    return {
        name: tables[name].with_columns(where).select(columns.names()).cast(columns)
        for name, columns in _TABLES.items()
    }


def checkpoints(run: RunSource, name: str, first_step: float | None) -> dict[int, tuple[str, list[int]]]:
    """The steps to look at, ascending, and the file and shape of each: the last three decades."""
    rows = run.index.filter((pl.col(schema.NAME) == name) & (pl.col(schema.STEP) > 0)).unique(schema.STEP)
    rows = rows.filter(pl.col(schema.SHAPE).list.len() == 2).sort(schema.STEP)
    if rows.is_empty():
        return {}
    first = rows[schema.STEP][-1] / SPAN if first_step is None else first_step
    places = rows.select(schema.STEP, schema.FILE, schema.SHAPE).iter_rows()
    return {step: (file, shape) for step, file, shape in places if step >= first}


def identity(probe: Probe) -> dict[str, str]:
    """What tells a probe's tokens and texts from another's."""
    vocabulary = sorted((probe.vocabulary or {}).items())
    return {"tokens": probe.tokens_hash, "vocabulary": checksum(json.dumps(vocabulary).encode())}


def computed(
    run: RunSource, probe: str, readable: list[int], options: dict[str, Any]
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Changes and places of one probe, and how many tokens could not be tested."""
    name = _PREFIX + probe
    shape = tuple(run.tensor(readable[0], name).shape)
    steps = np.array(readable, dtype=np.float64)
    breaks = token_breaks(
        [run.tensor(step, name) for step in readable],
        steps,
        simulations=SIMULATIONS,
        seed=options["seed"],
        threads=None,
    )
    changes = table(breaks, steps, context=shape[1], fdr=options["fdr"])
    tokens = predicted(run.probes[probe], shape)
    lengths = None if tokens is None else repeat_lengths(run.probes[probe].tokens)[:, -shape[1] :]
    changes = changes.with_columns(described(changes, run.probes[probe], tokens, lengths))
    places = pl.DataFrame(
        {
            schema.START: steps[breaks.ramps[:, 0]],
            schema.END: steps[breaks.ramps[:, 1]],
            schema.SHARE: breaks.placed,
            schema.REPEATED_SHARE_OF_ALL: np.full(
                len(breaks.ramps), np.nan if lengths is None else (lengths >= 2).mean()
            ),
        }
    )
    return changes, places, int(np.isnan(breaks.p_value).sum())


def predicted(probe: Probe, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """The token that each loss is of: the last ``pos`` of each example; None where the tokens are not known."""
    tokens = probe.tokens
    if tokens.shape[0] != shape[0] or tokens.shape[1] - shape[1] not in (0, 1):
        return None
    return tokens[:, tokens.shape[1] - shape[1] :]


def described(
    changes: pl.DataFrame,
    probe: Probe,
    tokens: NDArray[np.int64] | None,
    lengths: NDArray[np.int32] | None,
) -> list[pl.Series]:
    """Columns that say what token it is, what stands around it, and whether what is in front stood there before."""
    if tokens is None or lengths is None:
        empty = [schema.TOKEN, schema.REPEAT_LENGTH, schema.CONTEXT, schema.TEXT, schema.FOLLOWING]
        return [pl.Series(name, [None] * changes.height, dtype=CHANGES_SCHEMA[name]) for name in empty]
    example = changes[schema.EXAMPLE].to_numpy()
    pos = changes[schema.TOKEN_INDEX].to_numpy() - 1

    def words(ids: Iterable[int]) -> str | None:
        return None if probe.vocabulary is None else probe.text(ids)

    at = pos + probe.tokens.shape[1] - tokens.shape[1]
    before = [probe.tokens[e, max(0, t - CONTEXT_TOKENS) : t] for e, t in zip(example, at, strict=True)]
    behind = [probe.tokens[e, t + 1 : t + 1 + FOLLOWING_TOKENS] for e, t in zip(example, at, strict=True)]
    return [
        pl.Series(schema.TOKEN, tokens[example, pos]),
        pl.Series(schema.REPEAT_LENGTH, lengths[example, pos]),
        pl.Series(schema.CONTEXT, [words(ids) for ids in before], dtype=pl.String),
        pl.Series(schema.TEXT, [words([token]) for token in tokens[example, pos]], dtype=pl.String),
        pl.Series(schema.FOLLOWING, [words(ids) for ids in behind], dtype=pl.String),
    ]
