"""The scan behind :func:`phaseflow.token_changes`: any number of tokens, a few hundred thousand at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core
from phaseflow.exceptions import ShapeError
from phaseflow.metrics._reading import length, ranges, release

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
    some = sample(losses)
    grid = _core.TokenGrid(steps)
    grid = grid.with_noise(grid.noise(some, threads=threads))
    far_share = grid.far_share(some, threads=threads)
    parts = [grid.scan(losses, 0, 0, threads=threads)]
    parts += [grid.scan(losses, start, stop, threads=threads) for start, stop in ranges(losses, CHUNK)]
    n_tokens = sum(len(part["statistic"]) for part in parts)
    column = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ramps = np.array(grid.ramps, dtype=np.int64)
    defined = np.isfinite(column["statistic"])
    if defined.any():
        wander = column["wander"][defined]
        null = grid.null(wander, far_share, simulations=simulations, seed=seed, threads=threads)
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


def sample(losses: Sequence[Any]) -> NDArray[np.float64]:
    """Losses (checkpoint, token) of a few tokens, the same at every checkpoint; nothing stays mapped."""
    taken = []
    for index, tensor in enumerate(losses):
        if tensor.shape != losses[0].shape:
            raise ShapeError(
                f"per_token_loss has shape {losses[0].shape} at checkpoint 0 and {tensor.shape} at {index}"
            )
        taken.append(_core.sample_tokens(tensor))
        release([tensor], 0, length(tensor), stays_cached=True)
    return np.stack(taken)
