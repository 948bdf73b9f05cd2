"""The losses of many checkpoints, read once: means, their standard errors, and late less early example by example.

Losses whose bytes lie in a file as they are, are read by the compiled scanner, many tensors in one call, by all cores,
in blocks that stay in their caches. Those that a library has to decode come one at a time through it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core
from phaseflow._core import StoredTensor
from phaseflow.exceptions import PhaseflowError

Tokens = tuple[int, int, float]  # early, late, bandwidth
Place = tuple[int, str]  # step and name of the losses


class Losses(NamedTuple):
    """Of one tensor ``(batch, pos)``, in nats, all float64."""

    mean: NDArray[np.float64]  # (pos,)
    standard_error: NDArray[np.float64]  # (pos,)
    late_minus_early: NDArray[np.float64]  # (batch,), or empty where no tokens are compared


def losses_of(
    places: Iterable[Place],
    open_one: Callable[[Place], Any],
    tokens: Callable[[int], Tokens | None],
    total: int,
    on_bytes: Callable[[int], None],
) -> Iterator[tuple[Place, Losses | Exception]]:
    """The losses at each place, or the exception that says why they cannot be read.

    ``tokens`` says what is compared in a context of that length; ``total``, the bytes of all that will be read, whether
    they may stay in the system's cache; ``on_bytes`` is told the bytes read so far.
    """
    stored: dict[Place, StoredTensor] = {}
    read = 0
    for place in places:
        try:
            tensor = open_one(place)
            if isinstance(tensor, StoredTensor):
                stored[place] = tensor
                continue
            found = of_array(tensor, tokens(tensor.shape[1]))
        except (PhaseflowError, OSError) as error:
            yield place, error
            continue
        read += tensor.nbytes
        on_bytes(read)
        yield place, found
    outcomes = _core.scan_losses(
        list(stored.values()),
        [tokens(tensor.shape[1]) for tensor in stored.values()],
        _core.may_stay_cached(total),
        None,
        lambda more: on_bytes(read + more),
    )
    for place, outcome in zip(stored, outcomes, strict=True):
        yield place, outcome if isinstance(outcome, Exception) else Losses(*outcome)


def of_array(losses: NDArray[Any], tokens: Tokens | None) -> Losses:
    """The same of an array in memory."""
    if tokens is None:
        return Losses(*_core.position_losses(losses, None), np.empty(0))
    mean, _, standard_error, _, late_minus_early = _core.loss_summary(losses, *tokens, None)
    return Losses(mean, standard_error, late_minus_early)
