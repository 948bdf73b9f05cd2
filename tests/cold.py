"""Files taken out of the system's cache, so that reading them reaches the disk."""

import ctypes
import mmap
import os
import time
from pathlib import Path

import pytest

PATIENCE = 10  # seconds

needs_fadvise = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="makes files cold as Linux does")


def evict(path: Path) -> None:
    """Until no page of it is left: on a busy machine the system keeps some back for a moment."""
    patience = time.monotonic() + PATIENCE
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while is_cached(file.fileno()):
            if time.monotonic() > patience:
                pytest.skip(f"the system keeps {path.name} in its cache")
            time.sleep(0.001)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def is_cached(descriptor: int) -> bool:
    """Whether a page of the file is in memory. A look at the map tells; a read that may not wait would fetch it."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return False
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) as mapped:
        view = ctypes.c_char.from_buffer(mapped)
        told = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(size), pages)
        del view
    return told != 0 or any(page & 1 for page in pages)
