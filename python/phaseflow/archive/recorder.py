"""The writer of a run: what a training loop logs, on disk step by step.

Order of writes for a step: the line of scalars (`live`), synced; then the shard, synced and renamed, which completes
the step. Whenever the process dies, every step that ``log`` returned from is there, and no reader ever sees a part of
one. Only lines of steps without tensors are synced by the second rather than at once: when the *machine* dies, those
of the last second may be lost.
"""

import operator
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import ArrayLike

from phaseflow._core import write_shard
from phaseflow.archive.content import Tensor, step_tensors
from phaseflow.archive.files import (
    MANIFEST,
    MOST_STEP,
    PROBES,
    SCALARS,
    TENSORS,
    check_plain_name,
    is_temporary,
    only_writer,
    remove_leftovers,
    shard_name,
)
from phaseflow.archive.host import raw_bytes
from phaseflow.archive.index import read_index, shard_notes
from phaseflow.archive.live import Line, LiveFile, live_path, read_live
from phaseflow.archive.manifest import Manifest, check_same, new_manifest, read_manifest, write_manifest
from phaseflow.archive.probe import Probe, write_probe
from phaseflow.archive.scalars import fresh_lines, last_part_step, write_part
from phaseflow.exceptions import CorruptArchiveError, MissingDataError, ParameterError


class Recorder:
    """Write a run from any training loop; reopening a run appends to it.

    Parameters
    ----------
    run_dir : path
        Directory of the run; made if need be.
    config : mapping, optional
        Model, optimiser, schedule, data: whatever JSON can hold. A run that exists must have the same; None takes it
        as it is.
    probes : mapping of str to Probe or integer array (batch, pos), optional
        The fixed tokens that attention patterns and per-token losses belong to. A run that exists must have the same
        ones; None takes them as they are.
    rank : int
        Of this process, when several write one run; each has files of its own, and rank 0 makes the run.
    packed : bool
        Store of attention patterns the lower triangle alone, all that a causal model has: half the room, the same
        scores.

    Raises
    ------
    ParameterError
        When the run exists with another config or other probes, or another Recorder is writing it.
    MissingDataError
        When ``rank`` is not 0 and rank 0 has not made the run yet.
    CorruptArchiveError
        When the directory holds tensors but no manifest, or a manifest or a probe that cannot be read.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from phaseflow.archive import Probe, Recorder, Run
    >>> folder = tempfile.mkdtemp()
    >>> with Recorder(f"{folder}/a", config={"seed": 0}, probes={"text": Probe([[1, 2, 3]])}) as recorder:
    ...     recorder.log(10, tokens_seen=640, scalars={"loss": 3.5}, per_token_loss={"text": np.ones((1, 3))})
    >>> Run(f"{folder}/a").tensor(10, "loss/text")
    StoredTensor(name="loss/text", dtype="float64", shape=[1, 3])
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        *,
        config: Mapping[str, Any] | None = None,
        probes: Mapping[str, Probe | ArrayLike] | None = None,
        rank: int = 0,
        packed: bool = False,
    ) -> None:
        self.packed = packed
        self.path = Path(run_dir)
        self.rank = _whole("rank", rank)
        self._last_step: int | None = None
        known = None if probes is None else _probes(probes)
        with ExitStack() as opened:
            for folder in (PROBES, SCALARS, TENSORS):
                (self.path / folder).mkdir(parents=True, exist_ok=True)
            opened.enter_context(
                only_writer(self.path / SCALARS / f"r{self.rank}.lock", f"{self.path} as rank {self.rank}")
            )
            self._manifest = self._reopen_or_create(config, known)
            self._live: LiveFile | None = self._take_up()
            self._closing = opened.pop_all()

    @property
    def last_step(self) -> int | None:
        """The last step of this rank that is fully on disk; None before the first."""
        return self._last_step

    @property
    def probes(self) -> dict[str, Probe]:
        """The probes of the run, by name."""
        return dict(self._manifest.probes)

    def log(
        self,
        step: int,
        *,
        tokens_seen: int | None = None,
        scalars: Mapping[str, float] | None = None,
        attention: Mapping[str, Sequence[Any]] | None = None,
        per_token_loss: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a step; when this returns, it is on disk.

        Arrays are numpy's or torch tensors on any device, of float16, bfloat16, float32 or float64, stored as they
        are. They are not looked into: NaN is kept.

        Parameters
        ----------
        step : int
            Of the optimiser, greater than ``last_step``.
        tokens_seen : int, optional
            Tokens the model was trained on so far.
        scalars : mapping of str to float, optional
            NaN and infinities are kept.
        attention : mapping of probe to a sequence, one pattern a layer, (batch, head, query_pos, key_pos)
            Stored as ``attention/<probe>/L00``, ... Packed patterns (:func:`phaseflow.pack_pattern`) and
            :class:`phaseflow.CompactPattern` are taken too.
        per_token_loss : mapping of probe to array, (batch, pos)
            In nats; ``pos`` may be one less than the probe has tokens. Stored as ``loss/<probe>``.
        weights : mapping of str to array
            Stored as ``weights/<name>``.

        Raises
        ------
        ParameterError, ShapeError, DtypeError, UnknownNameError
            Nothing of the step is written.
        OSError
            The disk refused; nothing of the step is written.
        """
        if self._live is None:
            raise is_closed(self.path, self)
        step = _whole("step", step)
        if step > MOST_STEP:
            raise ParameterError(f"step is {step}, expected at most {MOST_STEP}, which file names have room for")
        if self._last_step is not None and step <= self._last_step:
            raise ParameterError(f"step is {step}, expected more than {self._last_step}, the last step on disk")
        tokens = None if tokens_seen is None else _whole("tokens_seen", tokens_seen)
        values = {_scalar_name(name): _scalar(name, value) for name, value in (scalars or {}).items()}
        tensors = step_tensors(self._manifest.probes, attention, per_token_loss, weights, packed=self.packed)
        if not values and not tensors:
            raise ParameterError(f"step {step} has neither scalars nor tensors; log something, or do not log it")
        self._write(self._live, Line(step, tokens, time.time(), bool(tensors), values), tensors)
        # The step is complete. If the disk has no room for a part, its lines stay where they are.
        with suppress(OSError):
            self._live.roll()

    def close(self) -> None:
        """Roll the scalars into a part and write the index. Closing twice does nothing."""
        live, self._live = self._live, None
        if live is None:
            return
        with self._closing:
            live.close()
            self._write_index()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reopen_or_create(self, config: Mapping[str, Any] | None, probes: Mapping[str, Probe] | None) -> Manifest:
        if (self.path / MANIFEST).exists():
            manifest, problems = read_manifest(self.path)
            if problems:
                damage = "; ".join(f"{problem.file}: {problem.found}" for problem in problems)
                raise CorruptArchiveError(f"{self.path} cannot be continued, its probes are damaged: {damage}")
            check_same(self.path, manifest, config, probes)
            return manifest
        if self.rank != 0:
            raise MissingDataError(
                f"{self.path} is not a run yet; open it with rank 0 first, then with rank {self.rank}"
            )
        shards = [path.name for path in (self.path / TENSORS).iterdir() if not is_temporary(path.name)]
        if shards:
            raise CorruptArchiveError(
                f"{self.path}: {MANIFEST}: expected a manifest beside {len(shards)} files of tensors, found none; "
                "restore it from a copy, or record into another directory"
            )
        manifest = new_manifest(config, probes or {})
        for name, probe in manifest.probes.items():
            write_probe(self.path / PROBES / f"{check_plain_name('probes', name)}.safetensors", probe)
        write_manifest(self.path, manifest)
        return manifest

    def _take_up(self) -> LiveFile:
        """Bring what a dead Recorder left into order: its files half written, its lines not yet in a part."""
        remove_leftovers(self.path / TENSORS, f"-r{self.rank}.safetensors.")
        remove_leftovers(self.path / SCALARS, f"-r{self.rank}.parquet.")
        if self.rank == 0:
            remove_leftovers(self.path)
            remove_leftovers(self.path / PROBES)
        shard_steps = self._write_index().get(self.rank, set())
        live = live_path(self.path, self.rank)
        last_part = last_part_step(self.path, self.rank)
        lines = fresh_lines(read_live(live, shard_steps, []), last_part)
        if lines:
            write_part(self.path, self.rank, lines)
        known = [*shard_steps, *(line.step for line in lines), *([] if last_part is None else [last_part])]
        self._last_step = max(known, default=None)
        return LiveFile(live, lambda lines: write_part(self.path, self.rank, lines))

    def _write_index(self) -> dict[int, set[int]]:
        index = read_index(self.path, self._manifest.run_id)
        if self.rank == 0 and not index.stored:
            index.write(self.path)
        return index.steps

    def _write(self, live: LiveFile, line: Line, tensors: list[Tensor]) -> None:
        path = self.path / TENSORS / shard_name(line.step, self.rank)
        parts = [(name, dtype, array.shape, raw_bytes(array)) for name, dtype, array in tensors]
        try:
            live.append(line)
            if parts:
                write_shard(path, parts, shard_notes(self._manifest.run_id, line.step, self.rank))
            self._last_step = line.step
        except BaseException:
            # Ctrl-C may come when the shard is there: then the step is complete, and stays.
            if parts and path.exists():
                self._last_step = line.step
            elif self._last_step != line.step:
                live.retract(line)
            raise


def is_closed(path: Path, recorder: object) -> ParameterError:
    """What a closed recorder of a run says to whom logs."""
    kind = type(recorder).__name__
    return ParameterError(f"{path}: the {kind} is closed; make a new one, it goes on where this one stopped")


def _whole(argument: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ParameterError(f"{argument} is {value!r}, expected a whole number from 0") from None
    if not 0 <= number < 2**63:
        raise ParameterError(f"{argument} is {number}, expected a whole number from 0 to 2^63 - 1")
    return number


def _scalar_name(name: Any) -> str:
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ParameterError(f"scalars has the name {name!r}, expected printable text")
    return name


def _scalar(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"scalars[{name!r}] is {value!r}, expected a number") from None


def _probes(probes: Any) -> dict[str, Probe]:
    if not isinstance(probes, Mapping):
        raise ParameterError(
            f"probes is a {type(probes).__name__}, expected names with their tokens: {{'text': tokens}}"
        )
    return {name: probe if isinstance(probe, Probe) else Probe(probe) for name, probe in probes.items()}
