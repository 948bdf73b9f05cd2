"""Trajectories of runs in function space: :func:`phaseflow.function_space_pca` over all checkpoints of all runs.

Only losses of the same tokens can be compared: the runs whose probe of one name has the same tokens share a space. Its
result is kept beside the first of these runs.
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
from phaseflow.archive import DerivedWhole, RunSource
from phaseflow.archive.in_place import BYTES
from phaseflow.exceptions import UnknownNameError
from phaseflow.metrics import _inputs
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


# What is kept of a space: rows are numbers of its checkpoints, so that runs may be called anything.
_ROW, _ROWS = "row", "rows"
_POSITIONS = pl.Schema({_ROW: pl.Int64, schema.COMPONENT: pl.Int32, schema.VALUE: pl.Float64, schema.SHARE: pl.Float64})
_TOLD = list(PROBLEM_SCHEMA)[1:]
_PROBLEMS = pl.Schema([(_ROWS, pl.List(pl.Int64)), *((name, pl.String()) for name in _TOLD)])


@dataclass(frozen=True)
class Checkpoint:
    """Where a row of the matrix comes from."""

    run: RunSource
    step: int
    name: str
    file: str
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
    components, seed = _inputs.integer("components", components, least=1), _inputs.integer("seed", seed, least=0)
    spaces = checkpoints_by_space(runs)
    tables, problems = [pl.DataFrame(schema=SPACE_SCHEMA)], [pl.DataFrame(schema=PROBLEM_SCHEMA)]
    sizes = [sum(row.nbytes for row in rows) for rows in spaces.values()]
    for done, ((_, tokens_hash, shape), rows) in zip(accumulate(sizes), spaces.items(), strict=True):
        options = {"components": components, "tokens": tokens, "seed": seed if tokens == "one" else None}
        found = kept_or_computed(rows, shape, {**options, "tokens_hash": tokens_hash})
        tables.append(tidy(rows, found["positions"]))
        problems.append(told(rows, found["problems"]))
        if progress is not None:
            progress("function space", done, sum(sizes))
    return pl.concat(tables), pl.concat(problems)


def checkpoints_by_space(runs: list[RunSource]) -> dict[tuple[str, str, tuple[int, ...]], list[Checkpoint]]:
    """The checkpoints whose losses are of the same tokens: by name, hash of the tokens and shape."""
    spaces: dict[tuple[str, str, tuple[int, ...]], list[Checkpoint]] = defaultdict(list)
    for run in runs:
        index = run.index.filter(pl.col(schema.NAME).str.starts_with(_PREFIX)).unique([schema.STEP, schema.NAME])
        rows = index.sort(schema.NAME, schema.STEP).select(
            schema.STEP, schema.NAME, schema.SHAPE, schema.DTYPE, schema.FILE
        )
        for step, name, shape, dtype, file in rows.iter_rows():
            probe = run.probes.get(name.removeprefix(_PREFIX))
            if probe is not None and len(shape) == 2:
                checkpoint = Checkpoint(run, step, name, file, math.prod(shape) * BYTES[dtype])
                spaces[name, probe.tokens_hash, tuple(shape)].append(checkpoint)
    return spaces


def kept_or_computed(
    rows: list[Checkpoint], shape: tuple[int, ...], options: dict[str, Any]
) -> dict[str, pl.DataFrame]:
    """Positions and problems of one space, by number of the checkpoint."""
    # With other runs beside it a run has another space: results of as many runs replace each other, not those of fewer.
    depends_on = {**options, "probe": rows[0].name, "shape": shape, "runs": len({row.run.name for row in rows})}
    kept = DerivedWhole(rows[0].run, "function_space", depends_on, [(row.run, row.step, row.name) for row in rows])
    tables = kept.read(("positions", "problems"))
    if tables is None:
        tables, damaged = computed(rows, shape, options)
        # A file that cannot be read now may be put back without any checksum changing.
        if not damaged:
            kept.write(tables)
    return tables


def computed(
    rows: list[Checkpoint], shape: tuple[int, ...], options: dict[str, Any]
) -> tuple[dict[str, pl.DataFrame], bool]:
    """The same from the losses themselves, and whether some cannot be read."""
    problems: list[tuple[list[int], str, str, str, str]] = []
    usable, damaged = [], False
    for number, row in enumerate(rows):
        found = defect(row.run, row.step, row.name)
        if found is None:
            usable.append(number)
        else:
            problems.append(([number], row.file, f"{row.name} at step {row.step}", EXPECTED, found.text))
            damaged |= found.unreadable
    positions = pl.DataFrame(schema=_POSITIONS)
    if usable:
        left = [rows[number] for number in usable]
        chosen = one_a_row(shape, options["seed"]) if options["tokens"] == "one" else None
        space = function_space(
            [row.losses() for row in left] if chosen is None else few_losses(left, chosen),
            components=min(options["components"], len(left)),
            threads=None,
        )
        lost = (math.prod(shape) if chosen is None else shape[0]) - space.n_tokens
        if lost:
            text = f"{lost} tokens with a NaN or infinite loss at some of them, left out of function space"
            problems.append((usable, "tensors", f"{rows[0].name} at {len(left)} checkpoints", "finite losses", text))
        positions = positions_table(usable, space.positions, space.share)
    return {"positions": positions, "problems": pl.DataFrame(problems, _PROBLEMS, orient="row")}, damaged


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


def positions_table(numbers: list[int], positions: Any, share: Any) -> pl.DataFrame:
    """One row a checkpoint and component."""
    n_components = positions.shape[1]
    return pl.DataFrame(
        {
            _ROW: np.repeat(numbers, n_components),
            schema.COMPONENT: np.tile(np.arange(1, n_components + 1, dtype=np.int32), len(numbers)),
            schema.VALUE: positions.reshape(-1),
            schema.SHARE: np.tile(share, len(numbers)),
        },
        _POSITIONS,
    )


def tidy(rows: list[Checkpoint], positions: pl.DataFrame) -> pl.DataFrame:
    """The positions with run, step, tokens seen and probe."""
    where = pl.DataFrame(
        {
            _ROW: range(len(rows)),
            schema.RUN: [row.run.name for row in rows],
            schema.STEP: [row.step for row in rows],
            schema.PROBE: [row.name.removeprefix(_PREFIX) for row in rows],
        }
    )
    runs = {row.run.name: row.run for row in rows}
    seen = pl.concat(
        [
            run.tokens_seen().select(pl.lit(name).alias(schema.RUN), schema.STEP, schema.TOKENS_SEEN)
            for name, run in runs.items()
        ]
    )
    table = positions.join(where, on=_ROW, how="left", maintain_order="left")
    table = table.join(seen, on=[schema.RUN, schema.STEP], how="left", maintain_order="left")
    return table.select(SPACE_SCHEMA.names()).cast(SPACE_SCHEMA)


def told(rows: list[Checkpoint], problems: pl.DataFrame) -> pl.DataFrame:
    """The problems with the names of their runs."""
    names = [", ".join(dict.fromkeys(rows[number].run.name for number in numbers)) for numbers in problems[_ROWS]]
    return problems.select(pl.Series(schema.RUN, names, pl.String), *_TOLD)
