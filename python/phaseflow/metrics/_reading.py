"""Stored tensors read in order: the disk ahead of the computation, and memory free of what lies behind it.

A kernel that meets a page of a map that is not in memory waits for the disk, and the disk then waits for the kernel.
So the system is told beforehand what will be needed next: the following tensors, or the following range of all of them.
What has been used is given back. Arrays in memory pass through.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from phaseflow._core import StoredTensor, may_stay_cached
from phaseflow.exceptions import PhaseflowError

#: Bytes the disk is kept ahead: several of the blocks that give its full rate.
AHEAD = 24 << 20
#: Tensors opened ahead, where they are small.
OPEN_AHEAD = 16
#: Bytes of one tensor that are asked for at once; the rest of a larger one comes as the map reads it.
AT_ONCE = 256 << 20

Place = TypeVar("Place")


def in_turn(
    places: Iterable[Place], open_one: Callable[[Place], Any], total: int = 0
) -> Iterator[tuple[Place, Any | Exception]]:
    """Each place with its tensor, or with the exception that says why it cannot be opened.

    ``total``, the bytes of all of them, tells whether they may stay in the system's cache.
    """
    keep = may_stay_cached(total)
    waiting: deque[tuple[Place, Any]] = deque()
    ahead = 0

    def first() -> Iterator[tuple[Place, Any]]:
        nonlocal ahead
        place, tensor = waiting.popleft()
        ahead -= stored_bytes(tensor)
        yield place, tensor
        if not keep:
            release([tensor], 0, length(tensor), keep)

    for place in places:
        try:
            tensor = open_one(place)
        except (PhaseflowError, OSError) as error:
            tensor = error
        ask_for([tensor], 0, min(length(tensor), AT_ONCE))
        waiting.append((place, tensor))
        ahead += stored_bytes(tensor)
        while waiting and (ahead > AHEAD or len(waiting) > OPEN_AHEAD):
            yield from first()
    while waiting:
        yield from first()


def ranges(tensors: Sequence[Any], size: int) -> Iterator[tuple[int, int]]:
    """``start, stop`` of every ``size`` elements, which all tensors have alike."""
    n = math.prod(tensors[0].shape)
    keep = may_stay_cached(sum(map(stored_bytes, tensors)))
    ask_for(tensors, 0, min(size, n))
    for start in range(0, n, size):
        stop = min(start + size, n)
        ask_for(tensors, stop, min(stop + size, n))
        yield start, stop
        release(tensors, start, stop, keep)


def ask_for(tensors: Iterable[Any], start: int, stop: int) -> None:
    """Tells the system that these elements will be read."""
    for tensor in tensors:
        if isinstance(tensor, StoredTensor) and start < stop:
            tensor.prefetch(start, stop)


def release(tensors: Iterable[Any], start: int, stop: int, stays_cached: bool) -> None:
    """Gives back what is mapped of these elements."""
    for tensor in tensors:
        if isinstance(tensor, StoredTensor):
            tensor.release(start, stop, stays_cached)


def length(tensor: Any) -> int:
    """Elements of a stored tensor, 0 of anything else."""
    return math.prod(tensor.shape) if isinstance(tensor, StoredTensor) else 0


def stored_bytes(tensor: Any) -> int:
    """Bytes of a stored tensor, 0 of anything else."""
    return tensor.nbytes if isinstance(tensor, StoredTensor) else 0
