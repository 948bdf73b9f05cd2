"""The losses of single tokens over training, of a few of them: what a break looks like."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import schema
from phaseflow.analysis.token_changes import checkpoints
from phaseflow.archive import RunSource
from phaseflow.exceptions import PhaseflowError

#: Names a token: run, probe, example (from 0), token index (from 1).
Token = tuple[str, str, int, int]
#: Steps, and the loss in nats at each; both ``(checkpoint,)``.
Trajectory = tuple[NDArray[np.int64], NDArray[np.float64]]

TOKEN_COLUMNS = [schema.RUN, schema.PROBE, schema.EXAMPLE, schema.TOKEN_INDEX]


def trajectories(runs: list[RunSource], tokens: pl.DataFrame) -> dict[Token, Trajectory]:
    """The trajectory of each row of ``tokens`` over the checkpoints that :func:`phaseflow.token_changes` looks at.

    Checkpoints that cannot be read, or hold other tokens than the last one, are not among them.
    """
    by_name = {run.name: run for run in runs}
    found: dict[Token, Trajectory] = {}
    for (name, probe), rows in tokens.group_by([schema.RUN, schema.PROBE], maintain_order=True):
        example, index = rows[schema.EXAMPLE].to_numpy(), rows[schema.TOKEN_INDEX].to_numpy()
        at = checkpoints(by_name[str(name)], f"loss/{probe}", None)
        last = next((shape for _, shape in reversed(at.values())), None)
        steps, losses = [], []
        for step, (_, shape) in at.items():
            if shape != last:
                continue
            try:
                here = np.asarray(by_name[str(name)].tensor(step, f"loss/{probe}"))[example, index - 1]
            except (PhaseflowError, OSError):
                continue
            steps.append(step)
            losses.append(here.astype(np.float64))
        for token, trajectory in zip(rows.select(TOKEN_COLUMNS).iter_rows(), np.transpose(losses), strict=True):
            found[token] = np.array(steps), trajectory
    return found
