"""The scalars of a run as a table: Parquet parts and the live lines that are not yet in one.

One row a step and name: ``step, tokens_seen, name, value, wall_time`` (seconds since 1970). Values are kept as they
were logged, NaN and infinities too.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from phaseflow.archive.files import SCALARS, is_temporary, read_table, write_table
from phaseflow.archive.live import Line, live_paths, read_live
from phaseflow.archive.problem import Problem
from phaseflow.exceptions import CorruptArchiveError
from phaseflow.schema import NAME, STEP, TOKENS_SEEN, VALUE, WALL_TIME

# A step without scalars leaves one row whose name is null, so that its `tokens_seen` is kept.
SCHEMA = pl.Schema({STEP: pl.Int64, TOKENS_SEEN: pl.Int64, NAME: pl.String, VALUE: pl.Float64, WALL_TIME: pl.Float64})

_PART = re.compile(r"part-(\d{10,19})-(\d{10,19})-r(\d{1,9})\.parquet", re.ASCII)
_BESIDE = re.compile(r"live(-r\d+)?\.jsonl|r\d+\.lock|part-.*\.parquet\.xxh3", re.ASCII)


@dataclass
class Scalars:
    """What the scalar files of a run hold."""

    table: pl.DataFrame
    #: Last step in the scalars of each rank.
    last_step: dict[int, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def write_part(run_dir: Path, rank: int, lines: list[Line]) -> None:
    """Roll lines of ascending steps into a part."""
    name = f"part-{lines[0].step:010d}-{lines[-1].step:010d}-r{rank}.parquet"
    write_table(run_dir / SCALARS / name, to_table(lines))


def to_table(lines: Iterable[Line]) -> pl.DataFrame:
    """One row a step and scalar."""
    rows = [
        (line.step, line.tokens_seen, name, value, line.wall_time)
        for line in lines
        for name, value in (line.scalars.items() or [(None, None)])
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def read_scalars(run_dir: Path, shard_steps: Mapping[int, set[int]]) -> Scalars:
    """Read all of them; ``shard_steps`` maps a rank to the steps whose shard is there."""
    problems: list[Problem] = []
    # Live files first: a line that becomes part of a part meanwhile is then seen twice, and left out below, not missed.
    live = {
        rank: read_live(path, shard_steps.get(rank, set()), problems)
        for rank, path in sorted(live_paths(run_dir).items())
    }
    tables, last_step = _read_parts(run_dir / SCALARS, problems)
    for rank, lines in live.items():
        fresh = fresh_lines(lines, last_step.get(rank))
        if fresh:
            tables.append(to_table(fresh))
            last_step[rank] = fresh[-1].step
    table = pl.concat(tables) if tables else pl.DataFrame(schema=SCHEMA)
    return Scalars(table.sort(STEP, NAME, maintain_order=True), last_step, problems)


def fresh_lines(lines: list[Line], last_step: int | None) -> list[Line]:
    """The lines after ``last_step``, the last step of the parts."""
    return lines if last_step is None else [line for line in lines if line.step > last_step]


def last_part_step(run_dir: Path, rank: int) -> int | None:
    """Last step that is in a part of ``rank``, readable or not: file names say it."""
    found = [_PART.fullmatch(path.name) for path in (run_dir / SCALARS).iterdir()]
    return max((int(match[2]) for match in found if match and int(match[3]) == rank), default=None)


def _read_parts(folder: Path, problems: list[Problem]) -> tuple[list[pl.DataFrame], dict[int, int]]:
    tables: list[pl.DataFrame] = []
    last_step: dict[int, int] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _BESIDE.fullmatch(path.name) or is_temporary(path.name):
            continue
        file = f"{SCALARS}/{path.name}"
        match = _PART.fullmatch(path.name)
        if match is None:
            problems.append(Problem(file, "file name", "part-<first>-<last>-r<rank>.parquet", "a foreign file"))
            continue
        rank = int(match[3])
        last_step[rank] = max(last_step.get(rank, -1), int(match[2]))
        try:
            table = read_table(path)
            if table.schema != SCHEMA:
                raise CorruptArchiveError(f"columns {table.columns}")
        except (CorruptArchiveError, OSError) as error:
            problems.append(Problem(file, "part", f"a table of {', '.join(SCHEMA)}", str(error)))
            continue
        tables.append(table)
    return tables, last_step
