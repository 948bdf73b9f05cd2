"""One measure over one run, as a tidy table: computed step by step, kept on disk, only what is new the next time."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from phaseflow import schema
from phaseflow.analysis.loss_scan import Losses, Place, losses_of
from phaseflow.analysis.measures import Measure, Values
from phaseflow.archive import Derived, RunSource
from phaseflow.archive.compact import whole_name
from phaseflow.archive.derived import one_by_one
from phaseflow.archive.in_place import BYTES
from phaseflow.metrics._reading import in_turn

OnProgress = Callable[[str, int, int], None]  # what is being computed, how many bytes are read, of how many
OnBytes = Callable[[int], None]  # how many bytes of a batch of steps are read

#: Of a batch of steps: a tensor may hold a file open, and a second or so of reading is what an interruption may cost.
MOST_TENSORS = 128
MOST_BYTES = 2 << 30

PROBLEM_SCHEMA = {
    schema.RUN: pl.String,
    schema.FILE: pl.String,
    schema.OBJECT: pl.String,
    schema.EXPECTED: pl.String,
    schema.FOUND: pl.String,
}


def table(run: RunSource, measure: Measure, progress: OnProgress | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The measure at every step of a run, and what kept it from being more.

    Returns
    -------
    (table, problems)
        ``run, step, tokens_seen, probe`` and the measure's columns; and one row for every tensor that could not be
        read or gave an undefined value.
    """
    names_at = applicable(run, measure.prefix, measure.applies)
    unreadable: dict[Place, str] = {}
    incomplete: set[int] = set()

    def rows_of_steps(steps: list[int], on_bytes: OnBytes) -> pl.DataFrame | None:
        places = [(step, name) for step in steps for name in names_at[step]]
        found: dict[Place, Losses] = {}
        for place, losses in losses_of(places, lambda place: run.tensor(*place), measure.compared, total, on_bytes):
            if isinstance(losses, Exception):
                unreadable[place] = str(losses)
                incomplete.add(place[0])
            else:
                found[place] = losses
        ordered = [(step, name) for step, name in places if (step, name) in found]

        def again() -> Iterator[Any]:
            for _, tensor in in_turn(ordered, lambda place: run.tensor(*place), total):
                if isinstance(tensor, Exception):
                    raise tensor
                yield tensor

        rows = measure.rows([found[place] for place in ordered], again)
        probes = [name.removeprefix(measure.prefix) for _, name in ordered]
        return rows_of_tensors(measure, [step for step, _ in ordered], probes, rows) if found else None

    total = sum(bytes_of(run, names_at).values())
    result = computed(
        run,
        measure.name,
        {**measure.parameters(), "probes": probes_of(run)},
        names_at,
        rows_of_steps,
        empty(measure),
        progress,
        batches=lambda steps, sizes: batches(steps, sizes, names_at),
        incomplete=incomplete,
    )
    return result, problems(run, measure, result, unreadable)


def batches(steps: list[int], sizes: Mapping[int, int], names_at: Mapping[int, Collection[str]]) -> Iterator[list[int]]:
    """Cuts steps into some that are computed together; at the end of each the results are kept."""
    batch: list[int] = []
    tensors = size = 0
    for step in steps:
        tensors += len(names_at[step])
        size += sizes[step]
        if batch and (tensors > MOST_TENSORS or size > MOST_BYTES):
            yield batch
            batch, tensors, size = [], len(names_at[step]), sizes[step]
        batch.append(step)
    if batch:
        yield batch


def computed(
    run: RunSource,
    name: str,
    depends_on: dict[str, Any],
    names_at: dict[int, list[str]],
    rows_of_steps: Callable[[list[int], OnBytes], pl.DataFrame | None],
    form: pl.DataFrame,
    progress: OnProgress | None,
    *,
    batches: Callable[[list[int], Mapping[int, int]], Iterable[list[int]]] | None = None,
    incomplete: Collection[int] = (),
) -> pl.DataFrame:
    """The rows of every step in ``names_at`` (which tensors each reads), those kept on disk not computed again.

    ``form`` is an empty table with the columns of the result, run, step and tokens_seen among them. ``rows_of_steps``
    takes the steps of a batch and may tell how many of their bytes it has read; ``batches`` cuts steps, whose bytes it
    is given, each alone without it. A step in ``incomplete`` is not kept.
    """
    if not names_at:
        return form
    kept = Derived(run, name, {**depends_on, "columns": form.columns})
    every_name = sorted({name for names in names_at.values() for name in names})
    sizes = bytes_of(run, names_at)
    total = done = 0

    def cut(pending: list[int]) -> Iterable[list[int]]:
        nonlocal total
        total = sum(sizes[step] for step in pending)
        return one_by_one(pending) if batches is None else batches(pending, sizes)

    def told(within: int) -> None:
        if progress is not None:
            progress(f"{run.name}: {name.replace('_', ' ')}", done + within, total)

    def counted(steps: list[int]) -> pl.DataFrame | None:
        nonlocal done
        rows = rows_of_steps(steps, told)
        done += sum(sizes[step] for step in steps)
        told(0)
        return rows

    rows = kept.update(names_at, every_name, counted, batches=cut, incomplete=incomplete)
    if rows.is_empty():
        return form
    rows = rows.join(run.tokens_seen(), on=schema.STEP, how="left", maintain_order="left")
    return rows.with_columns(pl.lit(run.name).alias(schema.RUN)).select(form.columns)


def told_of(run: RunSource, progress: OnProgress | None) -> OnBytes | None:
    """Progress over all tensors of a run."""
    if progress is None:
        return None
    rows = run.index.select(schema.DTYPE, schema.SHAPE).iter_rows()
    total = sum(math.prod(shape) * BYTES.get(dtype, 0) for dtype, shape in rows)
    return lambda done: progress(f"{run.name}: verify", done, total)


def bytes_of(run: RunSource, names_at: dict[int, list[str]]) -> dict[int, int]:
    """The size of the tensors of each step, as they are stored."""
    names = [(step, name) for step, names in names_at.items() for name in names]
    wanted = pl.DataFrame(names, schema={schema.STEP: pl.Int64, schema.NAME: pl.String}, orient="row")
    rows = run.index.join(wanted, on=[schema.STEP, schema.NAME], how="semi")
    sizes: dict[int, int] = {}
    for step, dtype, shape in rows.select(schema.STEP, schema.DTYPE, schema.SHAPE).iter_rows():
        sizes[step] = sizes.get(step, 0) + math.prod(shape) * BYTES[dtype]
    return sizes


def applicable(run: RunSource, prefix: str, applies: Callable[[tuple[int, ...]], bool]) -> dict[int, list[str]]:
    """The tensors of each step that have this prefix, a known probe, and a fitting shape; steps and names ascending."""
    index = run.index.filter(pl.col(schema.NAME).str.starts_with(prefix)).sort(schema.STEP, schema.NAME)
    # Several ranks may have stored one tensor.
    index = index.unique([schema.STEP, schema.NAME], maintain_order=True)
    found: dict[int, list[str]] = {}
    for step, name, shape in index.select(schema.STEP, schema.NAME, schema.SHAPE).iter_rows():
        # A probe whose tokens are damaged is told in the run's problems.
        if name.removeprefix(prefix).partition("/")[0] in run.probes and applies(tuple(shape)):
            found.setdefault(step, []).append(name)
    return found


def shapes(run: RunSource, prefix: str) -> list[tuple[int, ...]]:
    """The shapes that tensors with this prefix have."""
    rows = run.index.filter(pl.col(schema.NAME).str.starts_with(prefix))
    return [tuple(shape) for shape in rows[schema.SHAPE].unique()]


def probes_of(run: RunSource) -> dict[str, list[str | int | None]]:
    """What the numbers depend on besides the tensors: the probes' tokens."""
    return {name: [probe.tokens_hash, probe.bos] for name, probe in run.probes.items()}


def rows_of_tensors(measure: Measure, steps: list[int], probes: list[str], rows: list[Values]) -> pl.DataFrame:
    """The measure's rows of many tensors, with the columns that say where they belong."""
    lengths = [len(next(iter(values.values()))) for values in rows]
    columns = {column: np.concatenate([values[column] for values in rows]) for column in measure.columns}
    where = {
        schema.STEP: np.repeat(steps, lengths),
        schema.PROBE: pl.Series(probes, dtype=pl.String).gather(np.repeat(np.arange(len(probes)), lengths)),
    }
    return pl.DataFrame(where | columns, {schema.STEP: pl.Int64, schema.PROBE: pl.String, **measure.columns})


def problems(
    run: RunSource, measure: Measure, rows: pl.DataFrame, unreadable: dict[tuple[int, str], str]
) -> pl.DataFrame:
    """Tensors that could not be read, and those whose values make the measure undefined."""
    found = [(step, name, "a readable tensor", text) for (step, name), text in unreadable.items()]
    undefined = rows.filter(pl.col(schema.VALUE).is_nan())
    for step, probe, count in undefined.group_by(schema.STEP, schema.PROBE, maintain_order=True).len().iter_rows():
        text = f"NaN, which leaves {count} values of {measure.name} undefined"
        found.append((step, f"{measure.prefix}{probe}", "finite numbers", text))
    return problem_rows(run, found)


def problem_rows(run: RunSource, found: Iterable[tuple[int, str, str, str]]) -> pl.DataFrame:
    """Rows of :data:`PROBLEM_SCHEMA` from ``(step, name of the tensor, expected, found)``."""
    files = {
        (step, whole_name(name)): file
        for step, name, file in run.index.select(schema.STEP, schema.NAME, schema.FILE).iter_rows()
    }
    rows = [
        (run.name, files[step, name], f"{name} at step {step}", expected, text) for step, name, expected, text in found
    ]
    return pl.DataFrame(rows, schema=PROBLEM_SCHEMA, orient="row")


def empty(measure: Measure) -> pl.DataFrame:
    """The measure's table over nothing: its columns, no row."""
    where = {schema.RUN: pl.String, schema.STEP: pl.Int64, schema.TOKENS_SEEN: pl.Int64, schema.PROBE: pl.String}
    return pl.DataFrame(schema={**where, **measure.columns})
