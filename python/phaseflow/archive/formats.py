"""Tensor files that others wrote, opened where they lie by the libraries they were written with.

| suffix | how | memory |
|---|---|---|
| ``.npy`` | numpy, mapped | none |
| ``.npz`` | numpy, one array at a time | that array |
| ``.safetensors`` | phaseflow's reader, mapped | none |
| ``.pt``, ``.pth`` | torch (extra ``train``), weights only: nothing in the file is executed; mapped | none |
| ``.h5``, ``.hdf5`` | h5py (extra ``hdf5``), one array at a time | that array |
| ``.zarr`` | zarr (extra ``zarr``), one array at a time | that array |
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow._core import Shard, StoredTensor
from phaseflow.exceptions import CorruptArchiveError, MissingDataError, MissingExtraError, PhaseflowError

Opened = Mapping[str, Any]
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
    try:
        opened = _READERS[suffix](path)
    except (PhaseflowError, FileNotFoundError):
        raise
    except Exception as error:
        # Every reader has its own exceptions for a file that is not what its name says.
        raise CorruptArchiveError(
            f"{path}: expected a readable {suffix} file, found: {first_line(error)}; restore it from a copy"
        ) from error
    try:
        yield opened
    finally:
        close = getattr(opened, "close", None)
        if close is not None:
            close()


def load(path: Path, opened: Opened, name: str) -> StoredTensor | NDArray[Any]:
    """One tensor of an open file, in native byte order."""
    if name not in opened:
        there = ", ".join(sorted(opened)[:8]) or "nothing"
        raise MissingDataError(f"{path} holds no tensor {name!r}, it holds {there}")
    try:
        value = opened[name]
        if isinstance(value, StoredTensor):
            return value
        array = value if isinstance(value, np.ndarray) else np.asarray(value[...])  # a data set is read here
    except PhaseflowError:
        raise
    except Exception as error:
        raise CorruptArchiveError(
            f"{path}: {name or 'array'}: expected a readable tensor, found: {first_line(error)}; restore it from a copy"
        ) from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def first_line(error: Exception) -> str:
    """What an exception of another library says, in a line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _npy(path: Path) -> Opened:
    return {WHOLE: np.load(path, mmap_mode="r", allow_pickle=False)}


def _npz(path: Path) -> Opened:
    if not zipfile.is_zipfile(path):
        raise CorruptArchiveError(f"{path}: expected a zip file of arrays, found another; restore it from a copy")
    opened: Opened = np.load(path, allow_pickle=False)
    return opened


def _safetensors(path: Path) -> Opened:
    shard = Shard(path)
    return {name: shard.tensor(name) for name, *_ in shard.entries}


def _torch(path: Path) -> Opened:
    torch = _extra("torch", "train", path)
    value = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    found: dict[str, Any] = {}
    _flatten(value, WHOLE, found, torch.Tensor)
    return found


def _flatten(value: Any, name: str, found: dict[str, Any], tensor: type) -> None:
    """Tensors in nested dicts and lists by their path: ``"cache.3"``."""
    if isinstance(value, tensor):
        found[name] = as_numpy(value)
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in items:
        _flatten(item, f"{name}.{key}" if name else str(key), found, tensor)


def as_numpy(value: Any) -> Any:
    """A torch tensor as numpy; bfloat16, which numpy lacks, as the float32 of the same numbers."""
    value = value.detach()
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()


def _hdf5(path: Path) -> Opened:
    h5py = _extra("h5py", "hdf5", path)
    found: dict[str, Any] = {}
    # The data sets hold the file open.
    h5py.File(path, "r").visititems(lambda name, item: found.update({name: item} if hasattr(item, "shape") else {}))
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
