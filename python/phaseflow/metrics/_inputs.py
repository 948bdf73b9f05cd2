"""Arguments of the measures, as the core takes them: no copies, no silent casts, errors by name."""

import numbers
import operator
from typing import Any

import numpy as np

from phaseflow import _core
from phaseflow.exceptions import DtypeError, ParameterError, ShapeError

_INT64 = np.iinfo(np.int64)


def tensor(argument: str, value: Any) -> Any:
    """``value`` as something the core can borrow: an array numpy can view, or a tensor of an archive as it is."""
    if type(value).__module__ == _core.__name__:
        return value
    if np.ma.is_masked(value):
        raise DtypeError(f"{argument} has masked entries; pass {argument}.filled(numpy.nan), NaN is an undefined value")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{argument} is not a rectangular array: {error}") from error
    except (TypeError, RuntimeError) as error:
        raise DtypeError(
            f"{argument} is a {type(value).__name__} that numpy cannot view ({error}); pass an array in main memory "
            "of dtype float16, bfloat16 (as ml_dtypes), float32 or float64, for torch: x.detach().float().cpu()"
        ) from error
    if array.dtype.kind not in "fiubV":  # bfloat16 is of kind V; what can be converted is told how by the core
        raise DtypeError(
            f"{argument} holds {array.dtype}, expected numbers of dtype float16, bfloat16, float32 or float64"
        )
    return array


def token_ids(argument: str, value: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Token ids of any integer dtype as int64; anything that is not an integer is refused, not rounded."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{argument} has dtype {array.dtype}, expected integer token ids")
    if array.dtype.kind == "u" and array.size and array.max() > _INT64.max:
        raise ParameterError(f"{argument} holds {array.max()}, expected token ids below 2**63")
    return array.astype(np.int64, copy=False)


def matrix(argument: str, value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A small table of numbers as float64 with two axes."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 2:
        raise ShapeError(f"{argument} has shape {array.shape}, expected two axes")
    return array


def integer(argument: str, value: Any, *, least: int | None = None) -> int:
    """``value`` as an int that fits 64 bits; a bool or a float is refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise ParameterError(f"{argument} is {value!r}, expected an integer")
    number = operator.index(value)
    if least is not None and number < least:
        raise ParameterError(f"{argument} is {number}, expected an integer from {least} on")
    if not _INT64.min <= number <= _INT64.max:
        raise ParameterError(f"{argument} is {number}, expected an integer of 64 bits")
    return number


def optional_integer(argument: str, value: Any, *, least: int | None = None) -> int | None:
    """None stays None."""
    return None if value is None else integer(argument, value, least=least)


def real(argument: str, value: Any) -> float:
    """``value`` as a float; a bool or a string is refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise ParameterError(f"{argument} is {value!r}, expected a number")
    return float(value)


def name(argument: str, value: Any) -> str:
    """``value`` as a string; the core knows which names there are."""
    if not isinstance(value, str):
        raise ParameterError(f"{argument} is {value!r}, expected a name in quotes")
    return value
