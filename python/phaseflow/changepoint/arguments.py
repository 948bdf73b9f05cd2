"""Arguments that the detectors of changes share: masked signals, counts, penalties."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow.exceptions import ParameterError


def masked_as_nan(values: ArrayLike) -> NDArray[Any]:
    """The values as an array of their own type; where some are masked, float64 with NaN there: a missing sample."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        return np.where(np.ma.getmaskarray(values), np.nan, np.ma.getdata(values)).astype(np.float64)
    return np.asarray(values)


def check_counts(**counts: int | None) -> None:
    """Refuses negative ones by name; what else they must be depends on the signal."""
    for name, count in counts.items():
        if count is not None and count < 0:
            raise ParameterError(f"{name} is {count}, expected 0 or above")


def check_penalty(penalty: object) -> None:
    """A name or a number; which, and how large, is seen when it is used."""
    if not isinstance(penalty, str | Real):
        raise ParameterError(f"penalty is {penalty!r}, expected a number or a criterion's name")
