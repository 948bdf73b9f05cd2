"""False discoveries over many tests."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow.exceptions import ParameterError, UnknownNameError

_SPLIT = 0.5  # p-values above it are taken to be of tests without an effect
METHODS = ("benjamini-hochberg", "storey")


def q_values(p_values: ArrayLike, *, method: str = "benjamini-hochberg") -> NDArray[np.float64]:
    """The smallest false-discovery rate at which each test passes, 0 to 1; of those kept, at most that share is false.

    Parameters
    ----------
    p_values
        Any shape: all of them are one family of tests. NaN is no test: it does not count and stays NaN.
    method
        ``"benjamini-hochberg"`` (1995): ``min over p' >= p of p' m / rank(p')``. ``"storey"``: the same times an
        estimate of the share of tests without an effect, ``(1 + count(p > 1/2)) / (m / 2)``, at most 1, and 1 for
        p above 1/2 (Storey, Taylor and Siegmund 2004): more power where many tests have one.

    Returns
    -------
    ndarray
        Of the shape of ``p_values``.

    Raises
    ------
    ParameterError
        A p-value below 0 or above 1.
    UnknownNameError
        A method that does not exist.

    Notes
    -----
    Both hold for independent tests and p-values that are uniform, or larger, without an effect; Benjamini and
    Hochberg's also for positively dependent ones. p-values of 1 that stand for "nothing found" keep both on the safe
    side.

    Examples
    --------
    >>> import phaseflow as pf
    >>> pf.q_values([0.01, 0.02, 0.06, 0.8]).round(2).tolist()
    [0.04, 0.04, 0.08, 0.8]
    >>> pf.q_values([0.001, 0.002, 0.003, 0.004, 0.005, 0.8], method="storey").round(4).tolist()
    [0.004, 0.004, 0.004, 0.004, 0.004, 1.0]
    """
    check_method("method", method)
    values = np.asarray(p_values, dtype=np.float64)
    there = ~np.isnan(values)
    tests = values[there]
    wrong = tests[(tests < 0) | (tests > 1)]
    if wrong.size:
        raise ParameterError(f"p_values hold {wrong[0]}, expected 0 to 1")
    count = tests.size
    order = np.argsort(tests, kind="stable")
    scaled = tests[order] * (count / np.arange(1, count + 1))
    if method == "storey" and count:
        above = np.count_nonzero(tests > _SPLIT)
        scaled *= min(1.0, (1 + above) / (count * (1 - _SPLIT)))
        scaled[count - above :] = 1.0
    adjusted = np.empty(count)
    adjusted[order] = np.minimum.accumulate(np.minimum(scaled, 1.0)[::-1])[::-1]
    found = np.full(values.shape, np.nan)
    found[there] = adjusted
    return found


def check_method(argument: str, name: str) -> None:
    """Whether there is such a method."""
    if name not in METHODS:
        raise UnknownNameError(f'{argument} is "{name}", known: {", ".join(METHODS)}')


def check_rate(argument: str, value: float | None) -> None:
    """Whether a level or a rate is None or above 0 and at most 1."""
    if value is not None and not 0 < value <= 1:
        raise ParameterError(f"{argument} is {value}, expected above 0, at most 1")


def discoveries(p_values: NDArray[np.float64], rate: float, method: str = "benjamini-hochberg") -> NDArray[np.bool_]:
    """Which of the tests pass at this false-discovery rate."""
    return np.asarray(q_values(p_values, method=method) <= rate)
