"""The scalars of a recording run: a text file with one line of JSON for each call of ``Recorder.log``.

``{"step", "tokens_seen", "wall_time", "tensors", "scalars": {name: value}}``. ``tensors`` says that a shard belongs
to the step; the line is written first, so it counts only once the shard has its name: **the shard's rename is the
moment a step with tensors becomes complete**; for a step without, it is the last byte of its line. Lines that do not
count (a torn last one, one whose shard never came) are left out by every reader, and dropped when the run is next
opened for recording.
"""

import errno
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from phaseflow.archive.files import SCALARS
from phaseflow.archive.problem import Problem

_LARGEST = 2**63
#: Lines kept as text before they become a Parquet part.
_LINES_PER_PART = 4096
#: How often lines without tensors are pushed to the disk itself.
_SYNC_SECONDS = 1.0


@dataclass(frozen=True)
class Line:
    """What one call of ``Recorder.log`` says besides its tensors."""

    step: int
    tokens_seen: int | None
    wall_time: float
    tensors: bool
    scalars: Mapping[str, float]

    def encode(self) -> bytes:
        """The line of JSON, with its newline."""
        return json.dumps(vars(self), ensure_ascii=False).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Line":
        """The line back; ValueError for anything that `encode` does not write."""
        match json.loads(line):
            case {
                "step": int(step),
                "tokens_seen": int() | None as tokens_seen,
                "wall_time": float(wall_time),
                "tensors": bool(tensors),
                "scalars": dict(scalars),
            } if 0 <= step < _LARGEST and 0 <= (tokens_seen or 0) < _LARGEST:
                if all(isinstance(value, float) for value in scalars.values()):
                    return cls(step, tokens_seen, wall_time, tensors, scalars)
        raise ValueError("not a line of scalars")


def live_path(run_dir: Path, rank: int) -> Path:
    """Where ``rank`` appends its lines."""
    return run_dir / SCALARS / ("live.jsonl" if rank == 0 else f"live-r{rank}.jsonl")


def live_paths(run_dir: Path) -> dict[int, Path]:
    """The live file of every rank that has one."""
    found = {}
    for path in (run_dir / SCALARS).glob("live*.jsonl"):
        rank = path.stem.removeprefix("live").removeprefix("-r") or "0"
        if rank.isdecimal() and live_path(run_dir, int(rank)) == path:
            found[int(rank)] = path
    return found


def read_live(path: Path, shard_steps: set[int], problems: list[Problem]) -> list[Line]:
    """The lines that count, where ``shard_steps`` are the steps whose shard is there; other whole lines are told."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = []
    # What follows the last newline is torn.
    for number, raw in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            line = Line.decode(raw)
        except (ValueError, RecursionError):
            problems.append(Problem(f"{SCALARS}/{path.name}", f"line {number}", "scalars of a step", repr(raw[:40])))
            continue
        if not line.tensors or line.step in shard_steps:
            lines.append(line)
    return lines


class LiveFile:
    """The open live file of one rank, empty at first; ``roll`` is called with its lines before they leave it."""

    def __init__(self, path: Path, roll: Callable[[list[Line]], None]) -> None:
        self._file = path.open("ab", buffering=0)
        self._file.truncate(0)
        self._roll = roll
        self._lines: list[Line] = []
        self._synced = time.monotonic()

    def append(self, line: Line) -> None:
        """Add a line; on disk at once if tensors follow, else within a second of further lines."""
        content = line.encode()
        self._start = self._file.seek(0, os.SEEK_END)
        self._lines.append(line)
        if self._file.write(content) != len(content):
            raise OSError(errno.ENOSPC, "the disk took only a part of a line of scalars")
        if line.tensors or time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def retract(self, line: Line) -> None:
        """Take ``line`` back, however far `append` came with it: the step could not be written."""
        if self._lines and self._lines[-1] is line:
            self._file.truncate(self._start)
            self._lines.pop()

    def roll(self, *, at_least: int = _LINES_PER_PART) -> None:
        """Turn the lines into a part, once there are enough of them."""
        if self._lines and len(self._lines) >= at_least:
            self._roll(self._lines)
            # From here the lines count by their part; those still in the file are known to be old.
            self._lines = []
            self._file.truncate(0)

    def close(self) -> None:
        """Turn what is left into a part."""
        try:
            self.roll(at_least=1)
        finally:
            self._file.close()
