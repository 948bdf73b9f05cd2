"""Trajectories of runs in function space: :func:`phaseflow.function_space_pca` over all checkpoints of all runs.

Only losses of the same tokens can be compared: the runs whose probe of one name has the same tokens share a space.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl

from phaseflow import schema
from phaseflow.analysis.losses import EXPECTED, defect
from phaseflow.analysis.tables import PROBLEM_SCHEMA, OnProgress
from phaseflow.archive import RunSource
from phaseflow.archive.in_place import BYTES
from phaseflow.exceptions import UnknownNameError
from phaseflow.metrics._reading import in_turn
from phaseflow.metrics.function_space import function_space

_PREFIX = "loss/"
TOKENS = ("all", "one")

SPACE_SCHEMA = pl.Schema(
    {
        schema.RUN: pl.String,
        schema.STEP: pl.Int64,
        schema.TOKENS_SEEN: pl.Int64,
        schema.PROBE: pl.String,
        schema.COMPONENT: pl.Int32,
        schema.VALUE: pl.Float64,
        schema.SHARE: pl.Float64,
    }
)


@dataclass(frozen=True)
class Checkpoint:
    """Where a row of the matrix comes from."""

    run: RunSource
    step: int
    name: str
    nbytes: int

    def losses(self) -> Any:
        """Its losses, where they lie."""
        return self.run.tensor(self.step, self.name)


def function_spaces(
    runs: list[RunSource], *, components: int, tokens: str, seed: int, progress: OnProgress | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Table and problems; see :meth:`phaseflow.Archive.function_space`."""
    if tokens not in TOKENS:
        raise UnknownNameError(f"tokens is {tokens!r}, known: {', '.join(TOKENS)}")
    problems: list[tuple[str, str, str, str, str]] = []
    spaces = rows_by_space(runs, problems)
    tables = [pl.DataFrame(schema=SPACE_SCHEMA)]
    sizes = [sum(row.nbytes for row in rows) for rows in spaces.values()]
    for done, ((name, _, shape), rows) in zip(accumulate(sizes), spaces.items(), strict=True):
        chosen = one_a_row(shape, seed) if tokens == "one" else None
        space = function_space(
            [row.losses() for row in rows] if chosen is None else few_losses(rows, chosen),
            components=min(components, len(rows)),
            threads=None,
        )
        lost = (shape[0] if tokens == "one" else int(np.prod(shape))) - space.n_tokens
        if lost:
            names = ", ".join(dict.fromkeys(row.run.name for row in rows))
            text = f"{lost} tokens with a NaN or infinite loss at some of them, left out of function space"
            problems.append((names, "tensors", f"{name} at {len(rows)} checkpoints", "finite losses", text))
        tables.append(tidy(rows, space.positions, space.share))
        if progress is not None:
            progress("function space", done, sum(sizes))
    return pl.concat(tables), pl.DataFrame(problems, PROBLEM_SCHEMA, orient="row")


def rows_by_space(
    runs: list[RunSource], problems: list[tuple[str, str, str, str, str]]
) -> dict[tuple[str, str, tuple[int, ...]], list[Checkpoint]]:
    """The checkpoints whose losses are of the same tokens: by name, hash of the tokens and shape."""
    spaces: dict[tuple[str, str, tuple[int, ...]], list[Checkpoint]] = defaultdict(list)
    for run in runs:
        index = run.index.filter(pl.col(schema.NAME).str.starts_with(_PREFIX)).unique([schema.STEP, schema.NAME])
        rows = index.sort(schema.NAME, schema.STEP).select(
            schema.STEP, schema.NAME, schema.SHAPE, schema.DTYPE, schema.FILE
        )
        for step, name, shape, dtype, file in rows.iter_rows():
            probe = run.probes.get(name.removeprefix(_PREFIX))
            if probe is None or len(shape) != 2:
                continue
            found = defect(run, step, name)
            if found is None:
                spaces[name, probe.tokens_hash, tuple(shape)].append(
                    Checkpoint(run, step, name, math.prod(shape) * BYTES[dtype])
                )
            else:
                problems.append((run.name, file, f"{name} at step {step}", EXPECTED, found.text))
    return spaces


def few_losses(rows: list[Checkpoint], chosen: Any) -> list[Any]:
    """The losses of the chosen flat tokens: copied, since they lie in most pages of their files."""
    found = []
    for _, losses in in_turn(rows, Checkpoint.losses, sum(row.nbytes for row in rows)):
        if isinstance(losses, Exception):
            raise losses
        found.append(np.asarray(losses).reshape(-1)[chosen])
    return found


def one_a_row(shape: tuple[int, ...], seed: int) -> Any:
    """Flat index of one random token of each example, the same at all checkpoints."""
    batch, context = shape
    return np.arange(batch) * context + np.random.default_rng(seed).integers(0, context, batch)


def tidy(rows: list[Checkpoint], positions: Any, share: Any) -> pl.DataFrame:
    """One row a checkpoint and component."""
    n_components = positions.shape[1]
    table = pl.DataFrame(
        {
            schema.RUN: np.repeat([row.run.name for row in rows], n_components),
            schema.STEP: np.repeat([row.step for row in rows], n_components),
            schema.PROBE: np.repeat([row.name.removeprefix(_PREFIX) for row in rows], n_components),
            schema.COMPONENT: np.tile(np.arange(1, n_components + 1, dtype=np.int32), len(rows)),
            schema.VALUE: positions.reshape(-1),
            schema.SHARE: np.tile(share, len(rows)),
        }
    )
    runs = {row.run.name: row.run for row in rows}
    seen = pl.concat(
        [
            run.tokens_seen().select(pl.lit(name).alias(schema.RUN), schema.STEP, schema.TOKENS_SEEN)
            for name, run in runs.items()
        ]
    )
    table = table.join(seen, on=[schema.RUN, schema.STEP], how="left", maintain_order="left")
    return table.select(SPACE_SCHEMA.names()).cast(SPACE_SCHEMA)
