"""Tensor files that others wrote, opened where they lie by the libraries they were written with.

| suffix | how | decoded |
|---|---|---|
| ``.npy`` | phaseflow's reader, mapped | by numpy, mapped, where not row-major and little endian |
| ``.npz`` | as ``.npy`` where it lies there uncompressed (``numpy.savez``) | from the front on where compressed |
| ``.safetensors`` | phaseflow's reader, mapped | never |
| ``.pt``, ``.pth`` | torch (extra ``train``), weights only: nothing in it is executed; mapped | bfloat16, to float32 |
| ``.h5``, ``.hdf5`` | h5py (extra ``hdf5``), mapped where in one piece | chunks where in chunks |
| ``.zarr`` | zarr (extra ``zarr``) | chunks |

What is mapped takes no memory. What is decoded takes what is asked for, and what has to be decoded with it.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property, lru_cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow._core import Shard, StoredTensor
from phaseflow.archive.in_place import in_place
from phaseflow.archive.zipped import ZippedArray
from phaseflow.exceptions import CorruptArchiveError, MissingDataError, MissingExtraError, PhaseflowError

Opened = Mapping[str, Any]
_USUAL_HEADER = 128  # bytes that numpy writes before an array of a few axes
WHOLE = ""  # the name of the tensor in a file that holds one


@contextmanager
def open_file(path: Path) -> Iterator[Opened]:
    """The tensors of a file by name, each with ``shape`` and ``dtype``; `load` makes an array of one.

    Raises
    ------
    MissingExtraError
        Its reader is not installed.
    MissingDataError
        No reader is known for its suffix.
    CorruptArchiveError
        It is damaged, or holds something else than tensors.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        known = ", ".join(sorted(_READERS))
        raise MissingDataError(f"{path}: no reader for {suffix!r}; known: {known}")
    with _told_as_damage(path, f"a readable {suffix} file"):
        opened = _READERS[suffix](path)
    try:
        yield opened
    finally:
        close = getattr(opened, "close", None)
        if close is not None:
            close()


def form(path: Path, opened: Opened, name: str) -> tuple[tuple[int, ...], str]:
    """Shape and name of the dtype of one tensor of an open file; its numbers are not read."""
    with _told_as_damage(path, f"{name or 'array'}: a readable tensor"):
        stored = opened[name]
        return tuple(stored.shape), getattr(stored.dtype, "name", str(stored.dtype))


def load(path: Path, opened: Opened, name: str, index: Any = ...) -> StoredTensor | NDArray[Any]:
    """One tensor of an open file, in native byte order: a mapped one whole, of others what stands at ``index``."""
    with reader(path, opened, name) as read:
        return read(index)


@contextmanager
def reader(path: Path, opened: Opened, name: str) -> Iterator[Callable[[Any], StoredTensor | NDArray[Any]]]:
    """What gives `load` of index after index; in the order in which they are stored, nothing is decoded twice."""
    if name not in opened:
        there = ", ".join(sorted(opened)[:8]) or "nothing"
        raise MissingDataError(f"{path} holds no tensor {name!r}, it holds {there}")
    with ExitStack() as held:
        with _told_as_damage(path, f"{name or 'array'}: a readable tensor"):
            stored = opened[name]
            if isinstance(stored, ZippedArray) and stored.mapped is None:
                stored = held.enter_context(stored.decoded())

        def read(index: Any) -> StoredTensor | NDArray[Any]:
            with _told_as_damage(path, f"{name or 'array'}: a readable tensor"):
                array = stored if isinstance(stored, StoredTensor) else stored[index]  # a data set is read here
                if isinstance(array, StoredTensor):
                    return array
                array = np.asarray(array)
                return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

        yield read


def chunks(opened: Opened, name: str) -> tuple[int, ...] | None:
    """How far, along each axis, what is decoded together reaches; None of a tensor that need not be decoded."""
    stored = opened[name]
    if isinstance(stored, np.ndarray | StoredTensor) or getattr(stored, "mapped", None) is not None:
        return None
    return getattr(stored, "chunks", None) or (1,) * len(stored.shape)


def check(path: Path) -> None:
    """Reads a file once where its format has checksums of its own: the members of ``.npz``.

    Raises
    ------
    CorruptArchiveError
        A member is not what its checksum says.
    """
    if path.suffix.lower() == ".npz":
        with _told_as_damage(path, "members with the checksums they were written with"), zipfile.ZipFile(path) as files:
            damaged = files.testzip()
        if damaged is not None:
            raise CorruptArchiveError(
                f"{path}: expected {damaged} with the checksum it was written with, found another;"
                " restore it from a copy"
            )


@contextmanager
def _told_as_damage(path: Path, expected: str) -> Iterator[None]:
    """Every reader has its own exceptions for what is not what its name says; ours, and a missing file, pass."""
    try:
        yield
    except (PhaseflowError, FileNotFoundError):
        raise
    except Exception as error:
        raise CorruptArchiveError(
            f"{path}: expected {expected}, found: {first_line(error)}; restore it from a copy"
        ) from error


def first_line(error: Exception) -> str:
    """What an exception of another library says, in a line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _npy(path: Path) -> Opened:
    with path.open("rb") as file:
        start = file.read(_USUAL_HEADER)
    if start[:8] == b"\x93NUMPY\x01\x00" and len(start) == (offset := 10 + int.from_bytes(start[8:10], "little")):
        shape, column_major, dtype = _npy_header(start)
        if not column_major and (mapped := in_place(path, path.name, dtype, shape, offset)) is not None:
            return {WHOLE: mapped}
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    mapped = in_place(path, path.name, array.dtype, array.shape, array.offset) if array.flags.c_contiguous else None
    return {WHOLE: array if mapped is None else mapped}


@lru_cache(64)
def _npy_header(start: bytes) -> Any:
    """Shape, whether column-major, dtype: a line of Python that numpy evaluates, alike in all files of a run."""
    return np.lib.format.read_array_header_1_0(BytesIO(start[8:]))


def _npz(path: Path) -> Opened:
    if not zipfile.is_zipfile(path):
        raise CorruptArchiveError(f"{path}: expected a zip file of arrays, found another; restore it from a copy")
    with zipfile.ZipFile(path) as files:
        members = [name for name in files.namelist() if name.endswith(".npy")]
    return {name.removesuffix(".npy"): ZippedArray(path, name) for name in members}


def _safetensors(path: Path) -> Opened:
    shard = Shard(path)
    return {name: shard.tensor(name) for name, *_ in shard.entries}


def _torch(path: Path) -> Opened:
    torch = _extra("torch", "train", path)
    value = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    found: dict[str, Any] = {}
    _flatten(value, WHOLE, found, torch.Tensor)
    return found


def _flatten(value: Any, name: str, found: dict[str, Any], tensor: Any) -> None:
    """Tensors in nested dicts and lists by their path: ``"cache.3"``."""
    if isinstance(value, tensor):
        found[name] = _Widened(value) if str(value.dtype) == "torch.bfloat16" else as_numpy(value)
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in items:
        _flatten(item, f"{name}.{key}" if name else str(key), found, tensor)


def as_numpy(value: Any) -> Any:
    """A torch tensor as numpy; bfloat16, which numpy lacks, as the float32 of the same numbers."""
    value = value.detach()
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()


class _Widened:
    """A torch tensor of bfloat16, as the float32 of what is asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, value: Any) -> None:
        self._value = value
        self.shape = tuple(value.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        array: NDArray[Any] = as_numpy(self._value[index])
        return array


class _DataSet:
    """A data set of an HDF5 file: its numbers where they lie, if it is stored in one piece."""

    def __init__(self, path: Path, name: str, stored: Any) -> None:
        self._path, self._name, self._stored = path, name, stored
        self.shape, self.dtype, self.chunks = stored.shape, stored.dtype, stored.chunks

    @cached_property
    def mapped(self) -> StoredTensor | None:
        """The numbers where they lie; None where they are in chunks, compressed, elsewhere, or not written."""
        offset = self._stored.id.get_offset()
        return None if offset is None else in_place(self._path, self._name, self.dtype, self.shape, offset)

    def __getitem__(self, index: Any) -> "NDArray[Any] | StoredTensor":
        if self.mapped is not None:
            return self.mapped
        array: NDArray[Any] = self._stored[index]
        return array


def _hdf5(path: Path) -> Opened:
    h5py = _extra("h5py", "hdf5", path)
    found: dict[str, Any] = {}

    def add(name: str, item: Any) -> None:
        if hasattr(item, "shape"):
            found[name] = _DataSet(path, name, item)

    h5py.File(path, "r").visititems(add)  # the data sets hold the file open
    return found


def _zarr(path: Path) -> Opened:
    opened = _extra("zarr", "zarr", path).open(path, mode="r")
    if hasattr(opened, "shape"):
        return {WHOLE: opened}
    return {name: item for name, item in opened.members(max_depth=None) if hasattr(item, "shape")}


def _extra(module: str, extra: str, path: Path) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{path} needs {module}, which is not installed: pip install 'phaseflow[{extra}]'"
        ) from error


_READERS: dict[str, Callable[[Path], Opened]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".zarr": _zarr,
}
