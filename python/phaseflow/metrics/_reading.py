"""Stored tensors read in order: the disk ahead of the computation, and memory free of what lies behind it.

A kernel that meets a page of a map that is not in memory waits for the disk, and the disk then waits for the kernel.
Tensor after tensor, those that are not in memory are therefore read ahead into memory of their own by a few threads,
which is the disk's full rate and twice that of a map; of a range of many tensors the system is told beforehand. What
has been used is given back. Arrays in memory pass through.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from phaseflow._core import StoredTensor, may_stay_cached
from phaseflow.exceptions import PhaseflowError

#: Bytes the disk is kept ahead, and the most of a tensor that is read as a whole; larger ones come through their map.
AHEAD = 64 << 20
#: Tensors opened ahead, where they are small.
OPEN_AHEAD = 16
#: Threads that read: while one has its answer, the disk works for the others.
READERS = 4

Place = TypeVar("Place")


def in_turn(
    places: Iterable[Place], open_one: Callable[[Place], Any], total: int = 0
) -> Iterator[tuple[Place, Any | Exception]]:
    """Each place with its tensor, or with the exception that says why it cannot be opened or read.

    ``total``, the bytes of all of them, tells whether they may stay in the system's cache.
    """
    keep = may_stay_cached(total)
    waiting: deque[tuple[Place, Any, Future[None] | None]] = deque()
    ahead = 0

    def first() -> Iterator[tuple[Place, Any]]:
        nonlocal ahead
        place, tensor, coming = waiting.popleft()
        ahead -= stored_bytes(tensor)
        try:
            if coming is not None:
                coming.result()
        except (PhaseflowError, OSError) as error:
            yield place, error
            return
        yield place, tensor
        if not keep:
            release([tensor], 0, length(tensor), keep)

    with ThreadPoolExecutor(READERS, "phaseflow-read") as readers:
        for place in places:
            coming = None
            try:
                tensor = open_one(place)
            except (PhaseflowError, OSError) as error:
                tensor = error
            if isinstance(tensor, StoredTensor) and tensor.nbytes <= AHEAD:
                coming = readers.submit(tensor.load)
            waiting.append((place, tensor, coming))
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
