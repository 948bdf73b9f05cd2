"""What a person sees in the terminal: progress bars with a time estimate, and the verdict as a table.

Bars go to standard error and stay silent when it is not a terminal; tables go to standard output.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from phaseflow import schema
from phaseflow.analysis import Archive, OnProgress
from phaseflow.archive import RunSource
from phaseflow.reporting import words

SHOWN_PROBLEMS = 20


MOST_COLUMNS = 100_000  # of text: no table is wider


@contextmanager
def progress_bars() -> Iterator[OnProgress]:
    """A ``progress(what, done, total)`` callback, in bytes, that draws one bar for each ``what``."""
    console = Console(file=sys.stderr)
    bars = Progress(
        TextColumn("{task.description:<44}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks = {}
    with bars:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


def print_json(table: pl.DataFrame) -> None:
    """A table as one JSON array of objects; what is undefined is null."""
    floats = [name for name, dtype in table.schema.items() if dtype.is_float()]
    sys.stdout.write(table.with_columns(pl.col(floats).fill_nan(None)).write_json() + "\n")


def print_verdicts(verdicts: pl.DataFrame, console: Console | None = None) -> None:
    """For each run the answer, and under it what carries it."""
    console = console or Console()
    for verdict in verdicts.iter_rows(named=True):
        colour = "dark_orange" if verdict[schema.PHASE_CHANGE] else "default"
        console.print(
            f"[bold]{escape(verdict[schema.RUN])}[/]  [bold {colour}]{words.answer(verdict)}[/]", highlight=False
        )
        facts = Table(show_header=False, box=None, padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, value in words.facts(verdict):
            facts.add_row(name, escape(value))
        console.print(facts, highlight=False)
        if note := words.caution(verdict):
            console.print(f"  [yellow]{escape(note)}[/]", highlight=False)
        console.print()


def print_problems(problems: pl.DataFrame, console: Console | None = None) -> None:
    """What could not be read, on standard error; nothing where all could."""
    if problems.is_empty():
        return
    console = console or Console(stderr=True)
    console.print(f"[yellow]{problems.height} unreadable or undefined:[/]", highlight=False)
    for problem in problems.head(SHOWN_PROBLEMS).iter_rows(named=True):
        console.print(
            f"  {problem[schema.RUN]}/{problem[schema.FILE]}: {problem[schema.OBJECT]}: "
            f"expected {problem[schema.EXPECTED]}, found {problem[schema.FOUND]}",
            highlight=False,
            markup=False,
        )
    if problems.height > SHOWN_PROBLEMS:
        console.print(f"  and {problems.height - SHOWN_PROBLEMS} more", highlight=False)


def contents(archive: Archive) -> pl.DataFrame:
    """What an archive holds: one row a run."""
    return pl.DataFrame([contents_of_run(run) for run in archive.runs])


def contents_of_run(run: RunSource) -> dict[str, object]:
    """The row of one run."""
    files = {run.path / name for name in run.index[schema.FILE].unique()}
    return {
        "run": run.name,
        "checkpoints": len(run.steps),
        "first_step": run.steps[0] if run.steps else None,
        "last_step": run.steps[-1] if run.steps else None,
        "probes": [f"{name} {probe.tokens.shape[0]}×{probe.tokens.shape[1]}" for name, probe in run.probes.items()],
        "tensors": run.index.height,
        "bytes": sum(file.stat().st_size for file in files if file.exists()),
        "problems": run.problems.height,
    }


def print_contents(archive: Archive, console: Console | None = None) -> None:
    """What an archive holds, as a table."""
    console = console or Console()
    rows = contents(archive)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "checkpoints", "steps", "probes", "tensors", "size", "problems"):
        table.add_column(name, justify="left" if name in {"run", "steps", "probes"} else "right", overflow="fold")
    for row in rows.iter_rows(named=True):
        table.add_row(
            escape(row["run"]),
            f"{row['checkpoints']:,}",
            words.steps(row["first_step"], row["last_step"]) if row["checkpoints"] else "none",
            escape(", ".join(row["probes"])),
            f"{row['tensors']:,}",
            readable_bytes(row["bytes"]),
            str(row["problems"]),
        )
    console.print(table, highlight=False)


def print_table(rows: pl.DataFrame, *, empty: str) -> None:
    """Any table, numbers to a few digits; `empty` instead of one without rows. Wide ones run over the edge uncut."""
    if rows.is_empty():
        Console().print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, dtype in rows.schema.items():
        table.add_column(name.replace("_", "\n"), justify="right" if dtype.is_numeric() else "left", no_wrap=True)
    for row in rows.iter_rows():
        table.add_row(*(escape(figure(value)) for value in row))
    needed = Console(width=MOST_COLUMNS).measure(table).maximum
    Console(width=max(needed, Console().width)).print(table, highlight=False)


def figure(value: object) -> str:
    """A number as people read it: ``12,500``, ``0.001234``."""
    if isinstance(value, float):
        return (
            f"{value:,.0f}"
            if value.is_integer() and abs(value) < 1e15
            else f"{value:,.3g}"
            if abs(value) < 1e-3
            else f"{value:,.5g}"
        )
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_page(page: Path, kept: Path, minutes: float, console: Console) -> None:
    """Where the page of an experiment is, where its runs are, and the minutes it took."""
    console.print(
        f"\n[bold]{escape(str(page))}[/] has the figures; open it in a browser. "
        f"[dim]{minutes:.1f} minutes; the runs are kept in {escape(str(kept))}.[/]",
        highlight=False,
        soft_wrap=True,
    )


def readable_bytes(count: float) -> str:
    """``1.2 GB``: powers of ten, as disks are sold."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"
