"""False discoveries over many tests."""

import numpy as np
from numpy.typing import NDArray

from phaseflow.exceptions import ParameterError


def check_rate(argument: str, value: float | None) -> None:
    """Whether a level or a rate is None or above 0 and at most 1."""
    if value is not None and not 0 < value <= 1:
        raise ParameterError(f"{argument} is {value}, expected above 0, at most 1")


def discoveries(p_values: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Which of the tests pass Benjamini and Hochberg's procedure (1995) at this false-discovery rate."""
    ordered = np.sort(p_values)
    passing = np.flatnonzero(ordered <= rate * np.arange(1, len(ordered) + 1) / len(ordered))
    return p_values <= (ordered[passing[-1]] if len(passing) else -1.0)
