"""How certain the changes between neighbouring segments are: place, size and existence, each between its neighbours.

Independent noise within the two segments is assumed, and the neighbouring changepoints are taken as given. The place:
the samples at which the two segments may meet with nearly the same likelihood (``place.rs`` has the cut, after Hansen
2000, for each cost). The size: Student's interval of a difference of means; ``effects.py`` has what else a cost
measures. Existence: the p-value of :func:`detect_many` for cost l2 of one feature, else that of shuffled samples
(``existence.rs``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core, schema
from phaseflow.changepoint.student import student_quantile, welch_freedom

Array = NDArray[np.float64]

WITHOUT_LEVEL = ("linear", "clinear", "variance")  # costs whose segments have no level of their own


@dataclass(frozen=True, eq=False)
class Certainty:
    """One entry a changepoint; NaN where the cost has no such measure."""

    places: NDArray[np.int64]  # (changepoint, 2): first and last sample at which the new segment may begin
    sizes: Array  # (changepoint, feature)
    size_intervals: Array  # (changepoint, feature, 2)


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
    if cost in WITHOUT_LEVEL:
        return Certainty(places, sizes, intervals)
    for index in range(n_changes):
        start, place, end = bounds[index : index + 3]
        before, after = signal[start:place], signal[place:end]
        sizes[index] = after.mean(0) - before.mean(0)
        half = _half_width(before, after, level, equal=cost != "normal")
        intervals[index] = np.stack([sizes[index] - half, sizes[index] + half], axis=1)
    return Certainty(places, sizes, intervals)


def existence(x: Array, signal: Array, changepoints: NDArray[np.int64], cost: str, min_size: int, order: int) -> Array:
    """The p-value of every changepoint, ``(changepoint,)``; NaN where the stretch is too long or too short."""
    if cost != "l2" or signal.shape[1] != 1 or not len(changepoints):
        return _core.existence_p_values(
            x, signal, changepoints.tolist(), cost=cost, min_size=min_size, order=order, threads=None
        )
    bounds = [0, *changepoints.tolist(), len(signal)]
    parts = [signal[bounds[index] : bounds[index + 2], 0] for index in range(len(changepoints))]
    cuts = np.cumsum([0, *map(len, parts)]).astype(np.uint64)
    best = _core.single_changes(np.concatenate(parts), cuts, direction="any", min_size=min_size, threads=1)
    p_values = np.full(len(changepoints), np.nan)
    p_values[best[schema.SERIES]] = best[schema.P_VALUE]
    return p_values


def _half_width(before: Array, after: Array, level: float, *, equal: bool) -> Array:
    """Of Student's interval for the difference of the two means, each feature by itself; NaN for too few samples.

    Welch's where the spreads need not be equal.
    """
    if not equal:
        return np.array([_welch_half(*sides, level) for sides in zip(before.T, after.T, strict=True)])
    freedom = len(before) + len(after) - 2
    if freedom < 1:
        return np.full(before.shape[1], np.nan)
    rest = ((before - before.mean(0)) ** 2).sum(0) + ((after - after.mean(0)) ** 2).sum(0)
    error = np.sqrt(rest / freedom * (1 / len(before) + 1 / len(after)))
    return np.asarray(student_quantile(0.5 + level / 2, freedom) * error)


def _welch_half(before: Array, after: Array, level: float) -> float:
    if min(len(before), len(after)) < 2:
        return np.nan
    parts = [side.var(ddof=1) / len(side) for side in (before, after)]
    return student_quantile(0.5 + level / 2, welch_freedom(parts, (before, after))) * float(np.sqrt(sum(parts)))
