"""Which checkpoints' losses can be used at all: readable, and most of them finite."""

from dataclasses import dataclass

import numpy as np

from phaseflow.archive import RunSource
from phaseflow.exceptions import PhaseflowError

EXPECTED = "readable losses, most of them finite"
_LOOKED_AT = 4096  # of a checkpoint's losses
_MOST_UNDEFINED = 0.5


@dataclass(frozen=True)
class Defect:
    """Why a checkpoint's losses are not used."""

    text: str
    unreadable: bool  # may be put right without any checksum changing


def defect(run: RunSource, step: int, name: str) -> Defect | None:
    """What keeps the losses of that name from being used; so many of them undefined that it would cost most tokens."""
    try:
        sample = np.asarray(run.tensor(step, name)).reshape(-1)
    except (PhaseflowError, OSError) as error:
        return Defect(str(error), unreadable=True)
    sample = sample[:: max(1, sample.size // _LOOKED_AT)].astype(np.float32)
    share = 1.0 - float(np.isfinite(sample).mean())
    if share <= _MOST_UNDEFINED:
        return None
    return Defect(f"{100 * share:.0f}% NaN or infinite; the checkpoint is left out", unreadable=False)
