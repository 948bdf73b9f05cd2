"""A process that records until it is killed; every number it writes follows from the step."""

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from phaseflow.archive import Probe, Recorder, live

PROBE = Probe(np.arange(12).reshape(2, 6))


def pattern(step: int, layer: int) -> np.ndarray:
    return np.full((2, 3, 6, 6), 10 * step + layer, dtype="float32")


def loss(step: int) -> np.ndarray:
    return np.full((2, 6), step, dtype="float64")


def has_tensors(step: int) -> bool:
    return step % 4 != 3


def record(path: Path, acknowledge: Connection) -> None:
    """Say that the process is up, then log step after step; each is sent once ``log`` has returned."""
    acknowledge.send(None)
    # Parts and the index are written often, so that a kill hits them too.
    live._LINES_PER_PART = 3
    while True:
        with Recorder(path, config={"seed": 0}, probes={"fixed": PROBE}) as recorder:
            last = -1 if recorder.last_step is None else recorder.last_step
            for step in range(last + 1, last + 12):
                tensors = {
                    "attention": {"fixed": [pattern(step, layer) for layer in range(2)]},
                    "per_token_loss": {"fixed": loss(step)},
                }
                recorder.log(
                    step,
                    tokens_seen=64 * step,
                    scalars={"loss": step / 7, "lr": 0.5},
                    **(tensors if has_tensors(step) else {}),
                )
                acknowledge.send(step)
