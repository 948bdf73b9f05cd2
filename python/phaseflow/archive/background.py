"""A Recorder that writes in a thread, so that training goes on while the disk works.

    log:     copy what the step shows, where it lies; wait for room in the queue; go on
    thread:  take a step off the queue, bring it to the host, write it as `Recorder.log` does

The queue is bounded: memory holds at most ``waiting + 2`` steps, and a disk slower than training slows training down
rather than filling the memory. What is on disk is what a Recorder writes: every step whole or not at all.
"""

import atexit
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from phaseflow.archive.probe import Probe
from phaseflow.archive.recorder import Recorder, is_closed
from phaseflow.exceptions import ParameterError
from phaseflow.metrics import CompactPattern


@dataclass(frozen=True)
class _Waiting:
    """A step that waits for the disk."""

    logged: dict[str, Any]
    copied: Any  # comes when the copies are made; None where they are
    then: Callable[[], None] | None


class BackgroundRecorder:
    """Write a run from a thread beside the training loop; used as a :class:`Recorder`.

    Parameters
    ----------
    run_dir, config, probes, rank, packed
        As of :class:`Recorder`.
    waiting : int
        Steps that may wait for the disk before ``log`` waits itself.
    gaps : bool
        Whether steps after one that could not be written are. Without gaps none is, and every ``log`` raises from then
        on: the run ends where it broke, and can go on from there.

    Notes
    -----
    ``log`` returns before the step is on disk: a process that is killed loses the steps that wait, ``waiting + 2`` at
    most. ``flush`` returns when all are on disk; so does ``close``, which loses none.

    An error of the thread is raised by the next ``log``, ``flush`` or ``close``, with a note that names its step. Of
    that step nothing is written; with ``gaps`` other steps are. The step handed to a ``log`` that raises is not
    taken: log it again.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from phaseflow.archive import BackgroundRecorder, Probe, Run
    >>> folder = tempfile.mkdtemp()
    >>> with BackgroundRecorder(f"{folder}/a", probes={"text": Probe([[1, 2, 3]])}) as recorder:
    ...     recorder.log(10, per_token_loss={"text": np.ones((1, 3))})
    >>> Run(f"{folder}/a").steps
    [10]
    """

    def __init__(
        self,
        run_dir: str | PathLike[str],
        *,
        config: Mapping[str, Any] | None = None,
        probes: Mapping[str, Probe | ArrayLike] | None = None,
        rank: int = 0,
        packed: bool = False,
        waiting: int = 2,
        gaps: bool = True,
    ) -> None:
        if waiting < 1:
            raise ParameterError(f"waiting is {waiting}, expected at least 1; a Recorder writes without a queue")
        self._recorder = Recorder(run_dir, config=config, probes=probes, rank=rank, packed=packed)
        self._queue: Queue[_Waiting | None] = Queue(maxsize=waiting)
        self._errors: list[Exception] = []  # not yet told
        self._gaps = gaps
        self._broken: Exception | None = None  # the first error, where no gap is allowed
        self._thread: Thread | None = Thread(target=self._write, name=f"recording {run_dir}", daemon=True)
        self._thread.start()
        # A program may end without closing; the thread would die with what waits.
        atexit.register(self.close)

    @property
    def last_step(self) -> int | None:
        """The last step that is fully on disk; None before the first."""
        return self._recorder.last_step

    @property
    def probes(self) -> dict[str, Probe]:
        """The probes of the run, by name."""
        return self._recorder.probes

    def log(
        self,
        step: int,
        *,
        tokens_seen: int | None = None,
        scalars: Mapping[str, float] | None = None,
        attention: Mapping[str, Sequence[Any]] | None = None,
        per_token_loss: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Hand a step over to be written; arguments as of :meth:`Recorder.log`.

        Arrays are copied before it returns, on the device they lie on: what training does to them afterwards does not
        matter. ``then`` is called by the thread when the step is on disk, and not at all if it cannot be written: for
        what must not be ahead of the archive, such as the state that training is resumed from. An error of its own is
        told like one of the disk.

        Raises
        ------
        PhaseflowError, OSError
            An earlier step could not be written. This one is not taken.
        """
        if self._thread is None:
            raise is_closed(self._recorder.path, self)
        self._raise_errors()
        if self._broken is not None:
            raise self._broken
        copied = {
            "step": step,
            "tokens_seen": tokens_seen,
            "scalars": dict(scalars or {}),
            "attention": {name: [_copy(layer) for layer in layers] for name, layers in (attention or {}).items()},
            "per_token_loss": {name: _copy(loss) for name, loss in (per_token_loss or {}).items()},
            "weights": {name: _copy(weight) for name, weight in (weights or {}).items()},
        }
        self._queue.put(_Waiting(copied, _copies_made(), then))

    def flush(self) -> None:
        """Wait until everything that was logged is on disk, or has failed, which raises."""
        self._queue.join()
        self._raise_errors()

    def close(self) -> None:
        """Write what waits, then close the run as a Recorder does. Closing twice does nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.close)
        self._queue.put(None)
        thread.join()
        self._recorder.close()
        self._raise_errors()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        while (step := self._queue.get()) is not None:
            try:
                if self._broken is not None:
                    continue
                if step.copied is not None:
                    step.copied.synchronize()
                self._recorder.log(**step.logged)
                if step.then is not None:
                    step.then()
            except Exception as error:
                error.add_note(f"in the background, writing step {step.logged['step']} of {self._recorder.path}")
                self._errors.append(error)
                self._broken = None if self._gaps else error
            finally:
                self._queue.task_done()

    def _raise_errors(self) -> None:
        if self._errors:
            first, self._errors = self._errors[0], self._errors[1:]
            raise first


def _copy(value: Any) -> Any:
    """A copy on the same device."""
    if isinstance(value, CompactPattern):
        parts = (_copy(part) for part in (value.queries, value.keys, value.log_sum_exp))
        return CompactPattern(*parts, scale=value.scale)
    if hasattr(value, "detach") and hasattr(value, "clone"):
        return value.detach().clone()
    return np.array(value)


def _copies_made() -> Any:
    """An event that comes when the GPU has made the copies that were asked for; None where no GPU is used."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    event = torch.cuda.Event()
    event.record()
    return event
