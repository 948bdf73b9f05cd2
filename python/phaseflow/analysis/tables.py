"""One measure over one run, as a tidy table: computed step by step, kept on disk, only what is new the next time."""

from collections.abc import Callable
from typing import Any

import polars as pl

from phaseflow import schema
from phaseflow.analysis.measures import Measure
from phaseflow.archive import Derived, RunSource
from phaseflow.archive.compact import is_part, read_whole, whole_name
from phaseflow.exceptions import CorruptArchiveError

OnProgress = Callable[[str, int, int], None]  # what is being computed, how many steps are done, of how many

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
        ``run, step, tokens_seen, probe[, layer]`` and the measure's columns; and one row for every tensor that could
        not be read or gave an undefined value.
    """
    names_at = applicable(run, measure)
    if not names_at:
        return empty(measure), pl.DataFrame(schema=PROBLEM_SCHEMA)
    unreadable: dict[tuple[int, str], str] = {}

    def rows_of_step(step: int) -> pl.DataFrame | None:
        frames = []
        for name in dict.fromkeys(map(whole_name, names_at[step])):
            try:
                frames.append(rows_of_tensor(run, measure, step, name))
            except CorruptArchiveError as error:
                unreadable[step, name] = str(error)
        return pl.concat(frames) if frames else None

    depends_on = {**measure.parameters(), "probes": probes_of(run)}
    result = computed(run, measure.name, depends_on, names_at, rows_of_step, empty(measure), progress)
    return result, problems(run, measure, result, unreadable)


def computed(
    run: RunSource,
    name: str,
    depends_on: dict[str, Any],
    names_at: dict[int, list[str]],
    rows_of_step: Callable[[int], pl.DataFrame | None],
    form: pl.DataFrame,
    progress: OnProgress | None,
) -> pl.DataFrame:
    """The rows of every step in ``names_at`` (which tensors each reads), those kept on disk not computed again.

    ``form`` is an empty table with the columns of the result, run, step and tokens_seen among them.
    """
    done = 0

    def counted(step: int) -> pl.DataFrame | None:
        nonlocal done
        rows = rows_of_step(step)
        done += 1
        if progress is not None:
            progress(f"{run.name}: {name.replace('_', ' ')}", done, len(pending))
        return rows

    kept = Derived(run, name, depends_on)
    every_name = sorted({name for names in names_at.values() for name in names})
    pending = kept.pending(names_at, every_name)
    rows = kept.update(names_at, every_name, counted)
    if rows.is_empty():
        return form
    rows = rows.join(run.tokens_seen(), on=schema.STEP, how="left", maintain_order="left")
    return rows.with_columns(pl.lit(run.name).alias(schema.RUN)).select(form.columns)


def applicable(run: RunSource, measure: Measure) -> dict[int, list[str]]:
    """The tensors of each step that the measure reads, steps and names ascending."""
    index = run.index.filter(pl.col(schema.NAME).str.starts_with(measure.prefix)).sort(schema.STEP, schema.NAME)
    found: dict[int, list[str]] = {}
    for step, name, shape in index.select(schema.STEP, schema.NAME, schema.SHAPE).iter_rows():
        # A probe whose tokens are damaged is told in the run's problems.
        probe = name.removeprefix(measure.prefix).partition("/")[0]
        if probe in run.probes and (is_part(name) or measure.applies(tuple(shape))):
            found.setdefault(step, []).append(name)
    return found


def probes_of(run: RunSource) -> dict[str, list[str | int | None]]:
    """What the numbers depend on besides the tensors: the probes' tokens."""
    return {name: [probe.tokens_hash, probe.bos] for name, probe in run.probes.items()}


def rows_of_tensor(run: RunSource, measure: Measure, step: int, name: str) -> pl.DataFrame:
    """The measure's rows of one tensor, with the columns that say where they belong."""
    probe, _, layer = name.removeprefix(measure.prefix).partition("/")
    where = [pl.lit(step, pl.Int64).alias(schema.STEP), pl.lit(probe).alias(schema.PROBE)]
    if measure.layered:
        where.append(pl.lit(int(layer.removeprefix("L")), pl.Int32).alias(schema.LAYER))
    rows = measure.rows(read_whole(run, step, name), run.probes[probe])
    return rows.select(*where, *(pl.col(column).cast(dtype) for column, dtype in measure.columns.items()))


def problems(
    run: RunSource, measure: Measure, rows: pl.DataFrame, unreadable: dict[tuple[int, str], str]
) -> pl.DataFrame:
    """Tensors that could not be read, and those whose values make the measure undefined."""
    files = {
        (step, whole_name(name)): file
        for step, name, file in run.index.select(schema.STEP, schema.NAME, schema.FILE).iter_rows()
    }
    found = [
        (run.name, files[step, name], f"{name} at step {step}", "a readable tensor", text)
        for (step, name), text in unreadable.items()
    ]
    by = [column for column in (schema.STEP, schema.PROBE, schema.LAYER) if column in rows.columns]
    defined = pl.col(schema.N_QUERIES) > 0 if schema.N_QUERIES in rows.columns else pl.lit(True)
    undefined = rows.filter(defined & pl.col(schema.VALUE).is_nan()).group_by(by, maintain_order=True).len()
    for row in undefined.iter_rows(named=True):
        layer = f"/L{row[schema.LAYER]:02}" if schema.LAYER in row else ""
        name = f"{measure.prefix}{row[schema.PROBE]}{layer}"
        text = f"NaN, which leaves {row['len']} values of {measure.name} undefined"
        found.append(
            (run.name, files[row[schema.STEP], name], f"{name} at step {row[schema.STEP]}", "finite numbers", text)
        )
    return pl.DataFrame(found, schema=PROBLEM_SCHEMA, orient="row")


def empty(measure: Measure) -> pl.DataFrame:
    """The measure's table over nothing: its columns, no row."""
    where = {schema.RUN: pl.String, schema.STEP: pl.Int64, schema.TOKENS_SEEN: pl.Int64, schema.PROBE: pl.String}
    layer = {schema.LAYER: pl.Int32} if measure.layered else {}
    return pl.DataFrame(schema={**where, **layer, **measure.columns})
