"""Arguments that the detectors of changes share: arrays of numbers, counts, numbers, names, penalties.

Each is looked at once, here, before anything is computed: what numpy would read in a way that nobody meant (text and
dates as numbers, a mask that is dropped), and what would else end in an error that names no argument.
"""

import operator
import sys
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow.exceptions import DtypeError, ParameterError, ShapeError

_NUMBERS = "fiub"
_NO_NUMBER = (complex, np.complexfloating, np.datetime64, np.timedelta64, np.character)
_MOST = sys.maxsize
_FLOAT64 = np.dtype(np.float64)


def masked_as_nan(argument: str, values: ArrayLike) -> NDArray[Any]:
    """The values as an array of their own type of real numbers, False and True 0 and 1; what is none is refused.

    Where some are masked, float64 with NaN there: a missing sample. ``None``, as pandas' and polars' nulls, likewise.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        data = masked_as_nan(argument, np.ma.getdata(values))
        return np.where(np.ma.getmaskarray(values), np.nan, data.astype(np.float64))
    if type(values) is not np.ndarray:
        values = _array(argument, values)
    if values.dtype.kind in _NUMBERS:
        return values
    return _unusual(argument, values)


def float_array(argument: str, values: ArrayLike) -> NDArray[np.float64]:
    """The same in float64."""
    if type(values) is np.ndarray and values.dtype is _FLOAT64:  # as most are: for short signals the checks count
        return values
    return np.asarray(masked_as_nan(argument, values), dtype=np.float64)


def _array(argument: str, values: object) -> NDArray[Any]:
    if callable(getattr(values, "toarray", None)) and hasattr(values, "nnz"):
        raise DtypeError(
            f"{argument} is a sparse {type(values).__name__}, expected an array: pass {argument}.toarray()"
        )
    if isinstance(values, dict | set | frozenset):
        raise DtypeError(f"{argument} is a {type(values).__name__}, expected an array of numbers: pass a list of them")
    try:
        if isinstance(values, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in values):
            return masked_as_nan(argument, np.ma.stack(values))
        return np.asarray(values)
    except ValueError as error:  # numpy's way to say that lengths differ
        raise ShapeError(
            f"{argument} is ragged, expected rows of one length ({error}): pad the short ones with NaN, which is a "
            "missing sample"
        ) from error
    except (TypeError, RuntimeError, OverflowError) as error:  # a tensor on a device, or one that has a gradient
        raise DtypeError(f"{argument} is a {type(values).__name__} that numpy cannot read: {error}") from error


def _unusual(argument: str, values: NDArray[Any]) -> NDArray[Any]:
    kind = values.dtype.kind
    if kind == "O":
        numbers = [_number(argument, value) for value in values.flat]
        return np.array(numbers, dtype=np.float64).reshape(values.shape)
    if kind == "V" and values.dtype.fields is None and np.can_cast(values.dtype, np.float64):  # bfloat16 and its like
        return values
    hint = {
        "c": f"pass np.abs({argument}), or real and imaginary part as two features",
        "M": f'pass numbers, such as the seconds ({argument} - {argument}[0]) / np.timedelta64(1, "s")',
        "m": f'pass numbers, such as the seconds {argument} / np.timedelta64(1, "s")',
        "U": f"pass numbers, such as np.array({argument}, dtype=float)",
        "S": f"pass numbers, such as np.array({argument}, dtype=float)",
    }.get(kind, "pass one of its fields")
    raise DtypeError(f"{argument} has dtype {values.dtype}, expected real numbers: {hint}")


def _number(argument: str, value: Any) -> float:
    """One entry of an array of Python objects."""
    if value is None or type(value).__name__ == "NAType":  # pandas' null
        return np.nan
    if isinstance(value, list | tuple | np.ndarray) and np.ndim(value):
        raise ShapeError(
            f"{argument} is ragged, it holds a {type(value).__name__} of {len(value)}, expected rows of one length: "
            "pad the short ones with NaN, a missing sample"
        )
    real = hasattr(value, "__float__") and not isinstance(value, _NO_NUMBER)
    if isinstance(value, np.ndarray):
        real = value.dtype.kind in _NUMBERS
    try:
        if real:
            return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last from a complex tensor
        pass
    raise DtypeError(
        f"{argument} holds {value!r}, a {type(value).__name__}, expected real numbers that a double can hold: convert "
        "it first, and pass NaN or None for what is missing"
    )


def sample_number(argument: str, value: Any) -> float:
    """One number that comes by itself; NaN for None and what is masked."""
    if type(value) is float:
        return value
    if value is np.ma.masked:
        return np.nan
    if isinstance(value, list | tuple) or getattr(value, "ndim", False):
        raise ShapeError(f"{argument} is {value!r}, expected one number: pass the samples one by one")
    return _number(argument, value)


def check_counts(*may_be_none: str, **counts: Any) -> None:
    """Refuses what is no integer from 0 on, by name; what else they must be depends on the signal."""
    for name, count in counts.items():
        if (count is None and name in may_be_none) or (type(count) is int and 0 <= count <= _MOST):
            continue
        try:
            number = None if isinstance(count, bool | np.bool_ | np.ndarray) else operator.index(count)
        except TypeError:
            number = None
        if number is None:
            raise ParameterError(
                f"{name} is {count!r}, a {type(count).__name__}, expected an integer: pass one, such as 1"
            )
        if number < 0:
            raise ParameterError(f"{name} is {number}, expected 0 or above")
        if number > _MOST:
            raise ParameterError(f"{name} is {number}, expected at most {_MOST}: pass no more than there are samples")


def check_numbers(*may_be_none: str, **numbers: Any) -> None:
    """Refuses what is no number, by name; how large it may be is seen where it is used."""
    for name, number in numbers.items():
        if type(number) is float or (number is None and name in may_be_none):
            continue
        if isinstance(number, bool | np.bool_ | np.timedelta64) or not isinstance(number, Real):
            raise ParameterError(f"{name} is {number!r}, a {type(number).__name__}, expected a number")
        try:
            float(number)
        except OverflowError as error:
            raise ParameterError(f"{name} is beyond what a double can hold, expected a smaller number") from error


def check_names(**names: Any) -> None:
    """Refuses what is no string, by name; which it may be is seen where it is looked up."""
    for argument, name in names.items():
        if not isinstance(name, str):
            raise ParameterError(f"{argument} is {name!r}, a {type(name).__name__}, expected a name in quotes")


def check_penalty(penalty: object) -> None:
    """A name or a number; which, and how large, is seen when it is used."""
    if isinstance(penalty, str):
        return
    if not isinstance(penalty, Real):
        raise ParameterError(f"penalty is {penalty!r}, expected a number or a criterion's name")
    check_numbers(penalty=penalty)
