"""Compact attention in an archive: one tensor a part, ``attention/<probe>/L00/queries``, ``.../keys``, ..."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow._core import StoredTensor
from phaseflow.archive.host import stored_array
from phaseflow.archive.source import RunSource
from phaseflow.exceptions import ShapeError
from phaseflow.metrics import CompactPattern

PARTS = ("queries", "keys", "log_sum_exp", "scale")


def stored_parts(name: str, pattern: CompactPattern, batch: int, pos: int) -> list[tuple[str, str, NDArray[Any]]]:
    """Name, dtype name and array of every part; the parts must fit each other and the probe."""
    heads, width = pattern.queries.shape[1], pattern.queries.shape[3]
    key_heads = pattern.keys.shape[1]
    expected: dict[str, tuple[int, ...]] = {
        "queries": (batch, heads, pos, width),
        "keys": (batch, key_heads, pos, width),
        "log_sum_exp": (batch, heads, pos),
    }
    for part, shape in expected.items():
        found = tuple(getattr(pattern, part).shape)
        if found != shape:
            raise ShapeError(f"{name}/{part} has shape {found}, expected {shape}")
    return [(f"{name}/{part}", *stored_array(f"{name}/{part}", np.asarray(getattr(pattern, part)))) for part in PARTS]


def whole_name(name: str) -> str:
    """The name of the pattern that a tensor is, or is a part of."""
    return name.rpartition("/")[0] if is_part(name) else name


def is_part(name: str) -> bool:
    """Whether a tensor is a part of a compact pattern."""
    return name.startswith("attention/") and name.rpartition("/")[2] in PARTS


def read_whole(run: RunSource, step: int, name: str) -> StoredTensor | NDArray[Any] | CompactPattern:
    """The tensor of that name, or the compact pattern whose parts are stored under it."""
    if f"{name}/queries" not in run.checksums(step):
        return run.tensor(step, name)
    queries, keys, log_sum_exp, scale = (run.tensor(step, f"{name}/{part}") for part in PARTS)
    return CompactPattern(queries, keys, log_sum_exp, scale=float(np.asarray(scale)))
