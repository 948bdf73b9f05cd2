"""The scan behind :func:`phaseflow.token_changes`: any number of tokens, a few hundred thousand at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core
from phaseflow.metrics._reading import ranges

#: Tokens of one pass over the checkpoints: what is mapped at a time is this many losses of each, and as many ahead.
CHUNK = 1 << 18


@dataclass(frozen=True)
class TokenBreaks:
    """The best ramp of every token, in row-major order of (batch, pos), and what chance gives."""

    start: NDArray[np.int64]  # checkpoint index: the last before
    end: NDArray[np.int64]  # checkpoint index: the first after
    height: NDArray[np.float32]  # in standard errors, on the scale of the odds
    before: NDArray[np.float64]  # nats
    after: NDArray[np.float64]
    p_value: NDArray[np.float64]  # NaN where a loss of the token is not finite
    ramps: NDArray[np.int64]  # (ramp, 2): checkpoint indices of every ramp tried
    placed: NDArray[np.float64]  # for each ramp the share of false findings that chance puts there


def token_breaks(
    losses: Sequence[Any], steps: NDArray[np.float64], *, simulations: int, seed: int, threads: int | None
) -> TokenBreaks:
    """Scans every token; ``losses`` has a (batch, pos) tensor for each of ``steps``."""
    grid = _core.TokenGrid(steps)
    grid = grid.with_noise(grid.noise(losses, threads=threads))
    parts = [grid.scan(losses, start, stop, threads=threads) for start, stop in ranges(losses, CHUNK)]
    n_tokens = sum(len(part["statistic"]) for part in parts)
    column = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ramps = np.array(grid.ramps, dtype=np.int64)
    defined = np.isfinite(column["statistic"])
    if defined.any():
        null = grid.null(column["wander"][defined], simulations=simulations, seed=seed, threads=threads)
        p_value, placed = null.p_values(column["statistic"]), null.placed
    else:
        p_value, placed = np.full(n_tokens, np.nan), np.zeros(len(ramps))
    return TokenBreaks(
        start=ramps[column["ramp"], 0],
        end=ramps[column["ramp"], 1],
        height=column["height"],
        before=column["before"],
        after=column["after"],
        p_value=p_value,
        ramps=ramps,
        placed=placed,
    )
