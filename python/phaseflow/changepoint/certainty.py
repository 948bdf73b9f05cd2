"""How certain the changes between neighbouring segments are: place, size and existence, each between its neighbours.

The neighbouring changepoints are taken as given, and noise within the two segments for independent between samples, or
for AR(1) where the penalty was made for that. The place: the samples at which the two segments may meet with nearly the
same likelihood (``place.rs`` has the cut, after Hansen 2000, for each cost). The size: Student's interval of a
difference of means; ``effects.py`` has what else a cost measures. Existence: the p-value of :func:`detect_many` for
cost l2 of one feature, else that of shuffled samples; in AR(1) noise that of series drawn anew (``existence.rs``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core, schema
from phaseflow.changepoint.effects import Stretch, mean_half

Array = NDArray[np.float64]

WITHOUT_LEVEL = ("linear", "clinear", "variance")  # costs whose segments have no level of their own


@dataclass(frozen=True, eq=False)
class Certainty:
    """One entry a changepoint; NaN where the cost has no such measure."""

    places: NDArray[np.int64]  # (changepoint, 2): first and last sample at which the new segment may begin
    sizes: Array  # (changepoint, feature)
    size_intervals: Array  # (changepoint, feature, 2)


def certainty(
    x: Array,
    signal: Array,
    changepoints: NDArray[np.int64],
    cost: str,
    min_size: int,
    order: int,
    level: float,
    autocorrelation: float,
) -> Certainty:
    """Of the changes of ``signal`` (sample, feature), which misses no sample, on the axis ``x``."""
    n_changes, n_features = len(changepoints), signal.shape[1]
    bounds = [0, *changepoints.tolist(), len(signal)]
    places = _core.place_intervals(
        x,
        signal,
        changepoints.tolist(),
        cost=cost,
        min_size=min_size,
        order=order,
        lasting=autocorrelation > 0,
        level=level,
    ).reshape(n_changes, 2)
    sizes = np.full((n_changes, n_features), np.nan)
    intervals = np.full((n_changes, n_features, 2), np.nan)
    if cost in WITHOUT_LEVEL:
        return Certainty(places, sizes, intervals)
    for index in range(n_changes):
        start, place, end = bounds[index : index + 3]
        sizes[index] = signal[place:end].mean(0) - signal[start:place].mean(0)
        for feature, size in enumerate(sizes[index]):
            y = signal[start:end, feature]
            stretch = Stretch(x[start:end], y, place - start, order, level, autocorrelation)
            below, above = mean_half(stretch, equal=cost != "normal")
            intervals[index, feature] = size - below, size + above
    return Certainty(places, sizes, intervals)


def existence(
    x: Array,
    signal: Array,
    changepoints: NDArray[np.int64],
    cost: str,
    min_size: int,
    order: int,
    *,
    lasting: bool,
) -> Array:
    """The p-value of every changepoint, ``(changepoint,)``; NaN where the stretch is too long or too short.

    In noise that may be autocorrelated where it is ``lasting``.
    """
    if lasting or cost != "l2" or signal.shape[1] != 1 or not len(changepoints):
        return _core.existence_p_values(
            x, signal, changepoints.tolist(), cost=cost, min_size=min_size, order=order, lasting=lasting, threads=None
        )
    bounds = [0, *changepoints.tolist(), len(signal)]
    parts = [signal[bounds[index] : bounds[index + 2], 0] for index in range(len(changepoints))]
    cuts = np.cumsum([0, *map(len, parts)]).astype(np.uint64)
    best = _core.single_changes(np.concatenate(parts), cuts, direction="any", min_size=min_size, threads=1)
    p_values = np.full(len(changepoints), np.nan)
    p_values[best[schema.SERIES]] = best[schema.P_VALUE]
    return p_values
