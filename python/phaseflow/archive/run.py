"""The reader of a run: nothing is read until it is asked for, and tensors stay where they lie.

A `Run` sees the files that are there when it first looks; make a new one to see later steps. What cannot be used (a
truncated, foreign or empty file) is a row of ``problems``; everything else stays readable.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from phaseflow._core import Shard, StoredTensor
from phaseflow.archive.files import DERIVED, MANIFEST
from phaseflow.archive.index import Index, read_index
from phaseflow.archive.manifest import read_manifest
from phaseflow.archive.probe import Probe
from phaseflow.archive.problem import Problem, problem_table
from phaseflow.archive.scalars import Scalars, read_scalars
from phaseflow.exceptions import CorruptArchiveError, MissingDataError
from phaseflow.schema import CHECKSUM, FILE, NAME, RANK, STEP, TOKENS_SEEN

#: Files kept mapped for the next tensor from them; a tensor in use keeps its own file mapped.
_OPEN_SHARDS = 16


class Run:
    """One run of an archive.

    Parameters
    ----------
    path : path
        The directory that a `Recorder` wrote.
    name : str, optional
        What tables call the run; the directory's name by default.

    Attributes
    ----------
    name, path, run_id
        What it is called, where it lies, and the identity it was given when it was made.
    config : dict
        As it was recorded.
    probes : dict of str to Probe
        The fixed tokens; one whose file is damaged is left out and told in ``problems``.

    Raises
    ------
    MissingDataError
        When ``path`` is not a run.
    CorruptArchiveError
        When its manifest is damaged, or was written by a newer phaseflow.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        self.path = Path(path)
        manifest, self._probe_problems = read_manifest(self.path)
        self.name = name or self.path.resolve().name
        self.run_id: str = manifest.run_id
        self.config: dict[str, Any] = manifest.config
        self.probes: dict[str, Probe] = manifest.probes
        self._shards: OrderedDict[str, Shard] = OrderedDict()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def derived(self) -> Path:
        """Where results computed from the run are kept."""
        return self.path / DERIVED

    @property
    def steps(self) -> list[int]:
        """The checkpoints: steps that hold tensors, ascending. Scalars may have more steps."""
        return sorted({step for step, _ in self._files})

    @property
    def index(self) -> pl.DataFrame:
        """One row a tensor: ``step, rank, name, file, offset, dtype, shape, checksum``."""
        return self._index.table

    @property
    def problems(self) -> pl.DataFrame:
        """One row for whatever could not be used: ``run, file, object, expected, found``."""
        return problem_table(self.name, self._probe_problems + self._index.problems + self._scalars.problems)

    def scalars(self) -> pl.DataFrame:
        """One row a scalar: ``step, tokens_seen, name, value, wall_time``, sorted by step and name. NaN is kept."""
        return self._scalars.table.filter(pl.col(NAME).is_not_null())

    def tokens_seen(self) -> pl.DataFrame:
        """``step, tokens_seen`` for every step that was logged with ``tokens_seen``, ascending."""
        table = self._scalars.table.select(STEP, TOKENS_SEEN).drop_nulls()
        return table.group_by(STEP).agg(pl.col(TOKENS_SEEN).max()).sort(STEP)

    def tensor(self, step: int, name: str) -> StoredTensor:
        """One tensor, mapped: ``numpy.asarray`` views it, phaseflow's measures take it as it is.

        Parameters
        ----------
        step : int
        name : str
            ``"attention/<probe>/L00"``, ``"loss/<probe>"``, ``"weights/<name>"``.

        Raises
        ------
        MissingDataError
            When the step or the name is not there.
        CorruptArchiveError
            When the file was damaged since the index was read.
        """
        file = self._files.get((step, name))
        if file is None:
            raise MissingDataError(self._missing(step, name))
        return self._shard(file).tensor(name)

    def decoded(self, step: int, name: str, memory: int) -> None:
        """None: nothing that a Recorder wrote has to be decoded."""

    def checksums(self, step: int) -> dict[str, str]:
        """Checksum of every tensor of a step, by name: what results computed from them depend on."""
        return self._checksums.get(step, {})

    def verify(self, progress: Callable[[int], object] | None = None) -> pl.DataFrame:
        """Read every tensor and compare with its checksum; ``problems`` with what differs. Reads the whole run once.

        ``progress`` is called with the bytes read so far; the sum of the files' sizes is a little more.
        """
        found = []
        done = 0

        def told(read: int) -> None:
            if progress is not None:
                progress(done + read)

        for file in self.index[FILE].unique().sort():
            try:
                shard = Shard(self.path / file)
                found += [Problem(file, f"tensor {name}", was, now) for name, was, now in shard.verify(told)]
                done += sum(length for *_, length, _ in shard.entries)
            except (CorruptArchiveError, OSError) as error:
                found.append(Problem(file, "shard", "a readable safetensors file", str(error)))
            told(0)
        return pl.concat([self.problems, problem_table(self.name, found)])

    @cached_property
    def _index(self) -> Index:
        return read_index(self.path, self.run_id)

    @cached_property
    def _scalars(self) -> Scalars:
        return read_scalars(self.path, self._index.steps)

    @cached_property
    def _files(self) -> dict[tuple[int, str], str]:
        # The lowest rank comes last and so wins where several ranks stored one name.
        rows = self.index.sort(RANK, descending=True).select(STEP, NAME, FILE).iter_rows()
        return {(step, name): file for step, name, file in rows}

    @cached_property
    def _checksums(self) -> dict[int, dict[str, str]]:
        checksums: dict[int, dict[str, str]] = {}
        for step, name, checksum in self.index.sort(RANK, descending=True).select(STEP, NAME, CHECKSUM).iter_rows():
            checksums.setdefault(step, {})[name] = checksum
        return checksums

    def _shard(self, file: str) -> Shard:
        shard = self._shards.pop(file, None) or Shard(self.path / file)
        self._shards[file] = shard
        if len(self._shards) > _OPEN_SHARDS:
            self._shards.popitem(last=False)
        return shard

    def _missing(self, step: int, name: str) -> str:
        steps = self.steps
        if step not in set(steps):
            there = f"{len(steps)} steps from {steps[0]} to {steps[-1]}" if steps else "no step with tensors"
            return f"{self.path} has no tensors at step {step}, it has {there}; Run.steps lists them"
        names = ", ".join(sorted(self.checksums(step)))
        return f'{self.path} has no tensor "{name}" at step {step}, it has {names}'


def find_runs(path: str | os.PathLike[str], problems: list[pl.DataFrame] | None = None) -> list[Run]:
    """The runs at or under ``path``, sorted by name.

    One whose manifest is damaged is left out and told in ``problems``, if there is another. A run that is ``path``
    itself is called as its directory, others by their path from ``path``: ``"seed0/two-layer"``.

    Raises
    ------
    MissingDataError
        When there is none.
    CorruptArchiveError
        When one of them has a damaged manifest, and there is no other or no ``problems`` to tell it in.
    """
    root = Path(path)
    if (root / MANIFEST).exists():
        return [Run(root)]
    if not root.is_dir():
        raise MissingDataError(f"{root} is not a directory; give the directory of a run, or one that holds runs")
    runs: list[Run] = []
    damaged: list[CorruptArchiveError] = []
    seen = set()
    for folder, below, files in os.walk(root, followlinks=True):
        # A link back up would be followed for ever.
        real = os.path.realpath(folder)
        if real in seen or MANIFEST in files:
            below.clear()
        if real not in seen and MANIFEST in files:
            name = Path(folder).relative_to(root).as_posix()
            try:
                runs.append(Run(folder, name=name))
            except CorruptArchiveError as error:
                damaged.append(error)
                if problems is not None:
                    found = Problem(MANIFEST, "manifest", "one a Recorder wrote", str(error))
                    problems.append(problem_table(name, [found]))
        seen.add(real)
    if damaged and (not runs or problems is None):
        raise damaged[0]
    if not runs:
        raise MissingDataError(f"{root} holds no run: no {MANIFEST} at or under it; record one with phaseflow.Recorder")
    return sorted(runs, key=lambda run: run.name)
