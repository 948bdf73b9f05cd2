"""Numbers that lie in a file as they are, used where they lie."""

from pathlib import Path
from typing import Any

from phaseflow._core import StoredTensor

#: Bytes of a number of each dtype that tensors have.
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int64": 8}
#: The dtypes of what is measured.
MEASURED = tuple(name for name in BYTES if "float" in name)
#: How numpy writes an array of ``ml_dtypes.bfloat16``, a type it does not know.
_BFLOAT16 = "void16"


def in_place(path: Path, name: str, dtype: Any, shape: tuple[int, ...], offset: int) -> StoredTensor | None:
    """Row-major numbers that lie in a file from a byte on, where they lie; None of those that have to be converted."""
    kind = "bfloat16" if dtype.name == _BFLOAT16 else dtype.name
    if kind not in MEASURED or not dtype.isnative or 0 in shape:
        return None
    return StoredTensor.in_file(path, name, kind, shape, offset)
