"""Which checkpoints' losses can be used at all: readable, and most of them finite."""

from dataclasses import dataclass

import numpy as np

from phaseflow.archive import RunSource
from phaseflow.exceptions import PhaseflowError
from phaseflow.metrics._reading import ask_for

EXPECTED = "readable losses, most of them finite"
# Of a checkpoint's losses some runs of neighbours are looked at: single ones would lie in every page of a cold file.
_RUNS = 8
_RUN = 512
_MOST_UNDEFINED = 0.5


@dataclass(frozen=True)
class Defect:
    """Why a checkpoint's losses are not used."""

    text: str
    unreadable: bool  # may be put right without any checksum changing


def defect(run: RunSource, step: int, name: str) -> Defect | None:
    """What keeps the losses of that name from being used; so many of them undefined that it would cost most tokens."""
    try:
        tensor = run.tensor(step, name)
        losses = np.asarray(tensor).reshape(-1)
    except (PhaseflowError, OSError) as error:
        return Defect(str(error), unreadable=True)
    starts = np.linspace(0, max(losses.size - _RUN, 0), _RUNS if losses.size > _RUNS * _RUN else 1).astype(int)
    length = losses.size if len(starts) == 1 else _RUN
    for start in starts:
        ask_for([tensor], int(start), int(start) + length)
    sample = np.concatenate([losses[start : start + length] for start in starts]).astype(np.float32)
    share = 1.0 - float(np.isfinite(sample).mean()) if sample.size else 0.0
    if share <= _MOST_UNDEFINED:
        return None
    return Defect(f"{100 * share:.0f}% NaN or infinite; the checkpoint is left out", unreadable=False)
