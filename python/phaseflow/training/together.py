"""Several runs at once, each in a process and on one thread of its own.

A step of a small model is too short to be shared: on two busy cores a step of the demo's two-layer model took 28 to
43 ms on one thread and 364 ms on two, which wait for each other by spinning. One thread also makes a run's numbers
the same on machines with other numbers of cores.
"""

import math
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from phaseflow.training.config import TrainConfig
from phaseflow.training.data import Data
from phaseflow.training.loop import train
from phaseflow.training.progress import bars

_POLL = 0.2  # seconds
_EVERY = 10  # updates between reports

# In a worker: where it says how far it is. Set once, when the process starts.
_progress: Any = None


def train_together(
    configs: Mapping[Path, TrainConfig],
    corpus: Data | Mapping[Path, Data],
    *,
    labels: Mapping[Path, str],
    device: str | None = None,
    start_by: Mapping[Path, float] | None = None,
) -> None:
    """Train every run, as many at once as there are cores; each as :func:`phaseflow.training.train` does.

    Parameters
    ----------
    configs : mapping of path to TrainConfig
        The runs' archives. Finished runs are left as they are, stopped ones go on.
    corpus : Data, or a mapping of path to Data
        What they train on, all of them or each.
    labels : mapping of path to str
        In front of the progress bars.
    device : str, optional
        A torch device; CUDA where there is one, else the CPU.
    start_by : mapping of path to float, optional
        When it is too late to begin a run, in seconds as of `time.time`; such a run is left as it is. Runs begin in the
        order of `configs`.

    Raises
    ------
    ParameterError
        A directory holds a run with another configuration. The other runs are trained first.
    """
    context = multiprocessing.get_context("spawn")  # a forked process would inherit torch's threads, half alive
    progress = context.Queue()
    totals = {labels[run_dir]: config.work(config.steps) for run_dir, config in configs.items()}
    workers = max(1, min(len(configs), os.cpu_count() or 1))
    # Leaving the pool stops its processes: interrupted runs go on from their last checkpoint the next time.
    with _started(context, workers, progress) as pool, bars(totals) as move:
        results = [
            pool.apply_async(
                _train,
                (
                    config,
                    run_dir,
                    corpus if isinstance(corpus, Data) else corpus[run_dir],
                    labels[run_dir],
                    device,
                    math.inf if start_by is None else start_by[run_dir],
                ),
            )
            for run_dir, config in configs.items()
        ]
        while not all(result.ready() for result in results):
            with suppress(queue.Empty):
                move(*progress.get(timeout=_POLL))
        while not progress.empty():
            move(*progress.get())
        for result in results:
            result.get()


def _started(context: Any, workers: int, progress: Any) -> Any:
    """A pool whose processes leave Ctrl-C, which reaches every process of the terminal, to this one to answer."""
    if threading.current_thread() is not threading.main_thread():  # which alone may change what a signal does
        return context.Pool(workers, _start, (progress,))
    # Inherited: a process that is still importing when Ctrl-C comes has nobody else to tell it.
    answered = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return context.Pool(workers, _start, (progress,))
    finally:
        signal.signal(signal.SIGINT, answered)


def _start(progress: Any) -> None:
    global _progress
    _progress = progress
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _train(config: TrainConfig, run_dir: Path, corpus: Data, label: str, device: str | None, start_by: float) -> None:
    if time.time() > start_by:
        _progress.put((label, 0, "no time left"))
        return

    def on_step(done: int, note: str | None) -> None:
        if note is not None or done % _EVERY == 0:
            _progress.put((label, done, note))

    train(config, run_dir, corpus=corpus, device=device, on_step=on_step)
