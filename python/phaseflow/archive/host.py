"""What a training loop holds, as bytes in this machine's memory.

numpy arrays (float16, float32, float64, and bfloat16 of ``ml_dtypes``) and torch tensors on any device, recognised by
what they can do: torch is never imported here. A bfloat16 keeps its 16 bits on the whole way.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow.exceptions import DtypeError

_STORED = ("float16", "bfloat16", "float32", "float64")


def on_host(value: Any) -> Any:
    """``value`` itself, or a torch tensor brought to the CPU and cut from its graph."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return value.detach().cpu()
    return value


def stored_array(argument: str, value: Any) -> tuple[str, NDArray[Any]]:
    """``value`` as ``(dtype name, C-contiguous array)``; a bfloat16 comes as the uint16 of the same bits.

    A contiguous CPU array is not copied.

    Raises
    ------
    DtypeError
        For any element type but the four that an archive stores.
    """
    value = on_host(value)
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        # numpy alone has no bfloat16 to view it as; the caller holds a torch tensor, so torch is loaded.
        return "bfloat16", value.contiguous().view(sys.modules["torch"].int16).numpy().view(np.uint16)
    try:
        array = np.asarray(value)
    except TypeError as error:
        raise DtypeError(f"{argument} is not an array that numpy can view: {error}; convert it first") from None
    if array.dtype.name not in _STORED:
        raise DtypeError(f"{argument} has dtype {array.dtype}, expected one of {', '.join(_STORED)}; convert it first")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    name = array.dtype.name
    # ascontiguousarray would give a 0-d array one axis.
    array = np.asarray(array, order="C")
    return name, array.view(np.uint16) if name == "bfloat16" else array


def raw_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of a C-contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8)
