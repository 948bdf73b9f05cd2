"""Results kept beside the run they were computed from, step by step, so that a second analysis only does what is new.

One table for each measure and set of parameters: ``derived/<measure>-<hash>.parquet``, where the hash covers the
measure, its parameters and phaseflow's version. Each row carries its step and a hash of that step's inputs; a row
whose inputs have changed is computed anew. A damaged table is computed anew. Where the run cannot be written to,
everything is computed and nothing is kept. Of several processes that write at once the last one wins, with a whole
table.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from phaseflow._core import __version__, checksum
from phaseflow.archive.files import check_plain_name, read_table, write_table
from phaseflow.archive.source import RunSource
from phaseflow.exceptions import CorruptArchiveError
from phaseflow.schema import STEP

_INPUTS = "inputs"
#: Stands for the inputs of a step that is not to be believed the next time.
_UNKNOWN = ""
#: How often the table is written while it grows.
_SAVE_SECONDS = 30.0


def one_by_one(steps: list[int]) -> Iterable[list[int]]:
    """Every step alone."""
    return ([step] for step in steps)


def computation_name(measure: str, parameters: Mapping[str, Any]) -> str:
    """What the files of a computation are called: the measure, and a hash of it, its parameters and the version."""
    key = json.dumps([measure, parameters, __version__], sort_keys=True)
    return f"{check_plain_name('measure', measure)}-{checksum(key.encode())}"


def keep_table(path: Path, table: pl.DataFrame) -> None:
    """Writes a table, into a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, table)


class Derived:
    """The kept results of one measure with one set of parameters.

    Parameters
    ----------
    run : RunSource
        Where the inputs are, and where the results are kept; without a place for them everything is computed anew.
    measure : str
        Letters, digits, ``_``, ``-``, ``.``.
    parameters : mapping
        Everything besides the tensors that the result depends on; JSON can hold it.

    Examples
    --------
    ::

        kept = Derived(run, "head_scores", {"probe": "repeated", "bos": 0})
        table = kept.update(run.steps, ["loss/text"], lambda steps: score(run.tensor(steps[0], "loss/text")))
    """

    def __init__(self, run: RunSource, measure: str, parameters: Mapping[str, Any]) -> None:
        self.run = run
        name = computation_name(measure, parameters)
        self.path: Path | None = None if run.derived is None else run.derived / f"{name}.parquet"

    def pending(self, steps: Iterable[int], names: Iterable[str]) -> list[int]:
        """The steps among ``steps`` that `update` would compute, ascending."""
        wanted = self._wanted(steps, names)
        return self._pending(wanted, self._read())

    def update(
        self,
        steps: Iterable[int],
        names: Iterable[str],
        compute: Callable[[list[int]], pl.DataFrame | None],
        *,
        batches: Callable[[list[int]], Iterable[list[int]]] = one_by_one,
        incomplete: Collection[int] = (),
    ) -> pl.DataFrame:
        """The results of all ``steps``; ``compute`` is called for those that are not kept or whose inputs changed.

        Parameters
        ----------
        steps : iterable of int
        names : iterable of str
            The tensors that ``compute`` reads; a step may lack some of them.
        compute : callable
            Takes some steps, returns a frame of the same columns every time, at least one row a step, with the step in
            ``step``; None, or a frame without it, where a step has no result, which is then tried again the next time.
        batches : callable
            Cuts ascending steps into what ``compute`` takes at once; each alone by default.
        incomplete : collection of int
            Steps whose rows are not all there are, as ``compute`` finds them: returned, and tried again the next time.

        Returns
        -------
        DataFrame
            The frames of all steps, in the order of steps.

        Notes
        -----
        When ``compute`` fails or is interrupted, what was computed before is kept; when the process is killed, what was
        computed until half a minute before.
        """
        wanted = self._wanted(steps, names)
        kept = self._read()
        fresh: list[pl.DataFrame] = []
        saved = time.monotonic()
        try:
            for batch in batches(self._pending(wanted, kept)):
                frame = compute(batch)
                if frame is None or frame.is_empty():
                    continue
                inputs = {step: _UNKNOWN if step in incomplete else wanted[step] for step in batch}
                fresh.append(frame.with_columns(pl.col(STEP).replace_strict(inputs).alias(_INPUTS)))
                if time.monotonic() - saved > _SAVE_SECONDS:
                    kept, fresh = self._save(kept, fresh), []
                    saved = time.monotonic()
        finally:
            table = self._save(kept, fresh)
        if table is None:
            return pl.DataFrame(schema={STEP: pl.Int64})
        return table.filter(pl.col(STEP).is_in(list(wanted))).drop(_INPUTS)

    def _save(self, kept: pl.DataFrame | None, fresh: list[pl.DataFrame]) -> pl.DataFrame | None:
        table = self._merge(kept, fresh)
        if fresh and table is not None and self.path is not None:
            with suppress(OSError):  # A run that cannot be written to is analysed all the same.
                keep_table(self.path, table)
        return table

    def _wanted(self, steps: Iterable[int], names: Iterable[str]) -> dict[int, str]:
        names = tuple(names)
        return {step: self._inputs(step, names) for step in sorted(set(steps))}

    @staticmethod
    def _pending(wanted: Mapping[int, str], kept: pl.DataFrame | None) -> list[int]:
        valid = {} if kept is None else dict(kept.select(STEP, _INPUTS).unique().iter_rows())
        return [step for step, inputs in wanted.items() if valid.get(step) != inputs]

    def _inputs(self, step: int, names: tuple[str, ...]) -> str:
        checksums = self.run.checksums(step)
        return checksum(json.dumps([[name, checksums.get(name)] for name in sorted(names)]).encode())

    def _read(self) -> pl.DataFrame | None:
        if self.path is None:
            return None
        try:
            table = read_table(self.path)
        except (CorruptArchiveError, OSError):
            return None
        return table if {STEP, _INPUTS} <= set(table.columns) else None

    def _merge(self, kept: pl.DataFrame | None, fresh: list[pl.DataFrame]) -> pl.DataFrame | None:
        done = {step for frame in fresh for step in frame[STEP].unique()}
        tables = [] if kept is None else [kept.filter(~pl.col(STEP).is_in(list(done)))]
        tables += fresh
        if not tables:
            return None
        table = pl.concat(tables)
        return table if table[STEP].is_sorted() else table.sort(STEP, maintain_order=True)
