"""Patterns that a library has to decode, some heads of some examples at a time, so that any size fits."""

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow.archive.binding import Place, bound
from phaseflow.archive.formats import Opened, chunks, reader
from phaseflow.archive.in_place import BYTES

#: Of the memory allowed, what one part may take: one is computed on while the next is decoded, chunk by chunk.
_SHARE = 4


@dataclass(frozen=True)
class Part:
    """Heads of examples of a pattern, from these on: ``(batch, head, query_pos, key_pos)`` or packed."""

    example: int
    head: int
    array: NDArray[Any]


@dataclass(frozen=True)
class DecodedPattern:
    """A pattern in a file that a library decodes, and the bytes of memory that it may take.

    A part is never less than what is decoded together: the pattern of one head on one example, or the chunk it is in.
    """

    opened: Opened
    place: Place
    memory: int

    @property
    def shape(self) -> tuple[int, ...]:
        """``(batch, head, query_pos, key_pos)``, or packed."""
        return self.place.shape

    def __iter__(self) -> Iterator[Part]:
        """One after the other in the order in which they are stored, the next being decoded while one is used."""
        place = self.place

        def decode(run: dict[str, slice]) -> Part:
            at = {**dict(place.outer), **run}
            index = tuple(at.get(axis, slice(None)) for axis in place.binding.axes)
            found = np.asarray(read(index))
            example, head = (run[axis].start if axis in run else 0 for axis in ("batch", "head"))
            return Part(example, head, np.asarray(bound(found, place)))

        runs = cut(place, chunks(self.opened, place.inside) or (), self.memory // _SHARE)
        with (
            reader(Path(place.file), self.opened, place.inside) as read,
            ThreadPoolExecutor(1, "phaseflow-decode") as ahead,
        ):
            coming = ahead.submit(decode, runs[0])
            for following in runs[1:]:
                part, coming = coming.result(), ahead.submit(decode, following)
                yield part
            yield coming.result()


def too_large(opened: Opened, place: Place, memory: int) -> bool:
    """Whether a tensor has to be decoded and does not fit so many bytes."""
    return chunks(opened, place.inside) is not None and _bytes(place, place.shape) > memory


def cut(place: Place, together: tuple[int, ...], most: int) -> list[dict[str, slice]]:
    """Which examples and heads each part is of, in the order in which they are stored.

    Only axes in front of those of a head's own are cut: others would have all of it decoded for each part.
    """
    axes = [axis for axis in place.binding.axes if axis not in dict(place.outer)]
    sizes = dict(zip(place.binding.inner, place.shape, strict=True))
    chunk = dict(zip(place.binding.axes, together, strict=True))
    apart = list(takewhile(lambda axis: axis in ("batch", "head"), axes))
    left = most // max(1, _bytes(place, [size for axis, size in sizes.items() if axis not in apart]))
    runs: list[dict[str, slice]] = [{}]
    for axis in reversed(apart):
        size, least = sizes[axis], max(1, chunk[axis])
        each = min(size, max(left // least * least, least))
        left //= each
        slices = [slice(at, min(at + each, size)) for at in range(0, size, each)]
        runs = [{axis: one, **inner} for one in slices for inner in runs]
    return runs


def _bytes(place: Place, lengths: Iterable[int]) -> int:
    return math.prod(lengths) * BYTES[place.dtype]
