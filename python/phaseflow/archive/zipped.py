"""The arrays of ``.npz`` files: where they lie if not compressed, else decoded as far as they are asked for."""

import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from phaseflow._core import StoredTensor
from phaseflow.archive.in_place import in_place

#: What stands in front of a file inside a zip file, up to its name: the lengths of name and extra field come last.
_ZIP_HEADER = struct.Struct("<4s5H3I2H")


class ZippedArray:
    """An array of an ``.npz`` file: its form from its header, its numbers when they are asked for.

    Compressed ones are decoded from the front on; where the next to be asked for lie behind the last, none twice.
    """

    def __init__(self, path: Path, member: str) -> None:
        self._path, self._member = path, member
        with zipfile.ZipFile(path) as files, files.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, self.columns_first, self.dtype = read(file)
            self._header = file.tell()

    @cached_property
    def mapped(self) -> StoredTensor | None:
        """The numbers where they lie, if they are neither compressed nor column-major."""
        with zipfile.ZipFile(self._path) as files:
            member = files.getinfo(self._member)
        if member.compress_type != zipfile.ZIP_STORED or self.columns_first:
            return None
        with self._path.open("rb") as file:
            file.seek(member.header_offset)
            *_, name, extra = _ZIP_HEADER.unpack(file.read(_ZIP_HEADER.size))
        offset = member.header_offset + _ZIP_HEADER.size + name + extra + self._header
        return in_place(self._path, self._member, self.dtype, self.shape, offset)

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """All of it where its columns come first."""
        return self.shape if self.columns_first else None

    def __getitem__(self, index: Any) -> "NDArray[Any] | StoredTensor":
        if self.mapped is not None:
            return self.mapped
        with self.decoded() as array:
            return array[index]

    @contextmanager
    def decoded(self) -> "Iterator[_Decoded]":
        """The array while its file is open."""
        with zipfile.ZipFile(self._path) as files, files.open(self._member) as file:
            yield _Decoded(self, file, self._header)


class _Decoded:
    """A compressed array: read on from where the last ended, or once more from the front on."""

    def __init__(self, of: ZippedArray, file: IO[bytes], header: int) -> None:
        self._of, self._file, self._header = of, file, header

    def __getitem__(self, index: Any) -> NDArray[Any]:
        run = None if self._of.columns_first else run_of(index, self._of.shape)
        if run is None:
            self._file.seek(0)
            array: NDArray[Any] = np.lib.format.read_array(self._file, allow_pickle=False)[index]
            return array
        first, shape = run
        dtype = self._of.dtype
        self._file.seek(self._header + first * dtype.itemsize)
        content = self._file.read(math.prod(shape) * dtype.itemsize)
        return np.frombuffer(content, dtype, math.prod(shape)).reshape(shape)


def run_of(index: Any, shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]] | None:
    """First number and shape of what an index of whole numbers and slices takes, if it lies in one row-major run."""
    if index is ...:
        return 0, shape
    first, taken, together = 0, [], True
    for axis, (at, length) in enumerate(zip(index, shape, strict=True)):
        begin, end, step = (at, at + 1, 1) if isinstance(at, int) else at.indices(length)
        # Nothing after an axis of which several, and not before one of which some are left out.
        if step != 1 or not 0 <= begin <= end <= length or (not together and (begin, end) != (0, length)):
            return None
        together = together and end - begin == 1
        first += begin * math.prod(shape[axis + 1 :])
        taken += [] if isinstance(at, int) else [end - begin]
    return first, tuple(taken)
