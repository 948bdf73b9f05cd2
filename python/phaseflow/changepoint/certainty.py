"""How certain the changes between neighbouring segments are: place, size and existence, each between its neighbours.

Independent noise within the two segments is assumed, and the neighbouring changepoints are taken as given. The place:
the samples at which the two segments may meet with nearly the same likelihood (``place.rs`` has the cut, after Hansen
2000, for each cost). The size: Student's interval of a difference of means. Existence: the p-value of
:func:`detect_many`.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core, schema

Array = NDArray[np.float64]

WITHOUT_LEVEL = ("linear", "clinear", "variance")  # costs whose segments have no level of their own


@dataclass(frozen=True, eq=False)
class Certainty:
    """One entry a changepoint; NaN where the cost has no such measure."""

    places: NDArray[np.int64]  # (changepoint, 2): first and last sample at which the new segment may begin
    sizes: Array  # (changepoint, feature)
    size_intervals: Array  # (changepoint, feature, 2)
    p_values: Array  # (changepoint,)


def certainty(
    x: Array, signal: Array, changepoints: NDArray[np.int64], cost: str, min_size: int, order: int, level: float
) -> Certainty:
    """Of the changes of ``signal`` (sample, feature), which misses no sample, on the axis ``x``."""
    n_changes, n_features = len(changepoints), signal.shape[1]
    bounds = [0, *changepoints.tolist(), len(signal)]
    places = _core.place_intervals(
        x, signal, changepoints.tolist(), cost=cost, min_size=min_size, order=order, level=level
    ).reshape(n_changes, 2)
    sizes = np.full((n_changes, n_features), np.nan)
    intervals = np.full((n_changes, n_features, 2), np.nan)
    p_values = np.full(n_changes, np.nan)
    if cost in WITHOUT_LEVEL:
        return Certainty(places, sizes, intervals, p_values)
    for index in range(n_changes):
        start, place, end = bounds[index : index + 3]
        before, after = signal[start:place], signal[place:end]
        sizes[index] = after.mean(0) - before.mean(0)
        half = _half_width(before, after, level)
        intervals[index] = np.stack([sizes[index] - half, sizes[index] + half], axis=1)
    if cost == "l2" and n_features == 1 and n_changes:
        parts = [signal[bounds[index] : bounds[index + 2], 0] for index in range(n_changes)]
        cuts = np.cumsum([0, *map(len, parts)]).astype(np.uint64)
        best = _core.single_changes(np.concatenate(parts), cuts, direction="any", min_size=min_size, threads=1)
        p_values[best[schema.SERIES]] = best[schema.P_VALUE]
    return Certainty(places, sizes, intervals, p_values)


def _half_width(before: Array, after: Array, level: float) -> Array:
    """Of Student's interval for the difference of the two means, each feature by itself; NaN for two samples."""
    freedom = len(before) + len(after) - 2
    if freedom < 1:
        return np.full(before.shape[1], np.nan)
    rest = ((before - before.mean(0)) ** 2).sum(0) + ((after - after.mean(0)) ** 2).sum(0)
    error = np.sqrt(rest / freedom * (1 / len(before) + 1 / len(after)))
    return np.asarray(student_quantile(0.5 + level / 2, freedom) * error)


def student_quantile(probability: float, freedom: int) -> float:
    """Of Student's distribution, for a probability above 1/2: exact for 1 and 2, else Hill's expansion (1970)."""
    tail = 2 * (1 - probability)
    if freedom == 1:
        return 1 / math.tan(tail * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (tail * (2 - tail)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * tail) ** (2 / freedom)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(tail / 2)
        y = x * x
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) + 0.5 / (freedom + 4)) * y
            - 1
        ) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)
