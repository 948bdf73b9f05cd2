"""Lone samples that are far off, drawn in: loss spikes, and noise with heavy tails.

What is further off the median of itself and two samples to either side than four times the mean distance around it is
moved to that distance: Hampel's identifier (Hampel 1974), Winsorised. In normal noise that is 1 sample in 100. A
monotone course, a corner and whatever lasts three samples keep their shape, because a running median does; so does the
top of a smooth course: nothing is moved closer than samples mostly are to the line through their neighbours, twice.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

#: How far is far, in mean distances.
LIMIT = 4.0
#: Distances beyond so many means count as this many in the means: few far ones hardly change them.
COUNTED = 3.0
#: Samples to either side whose mean distance counts, where it is larger than the mean of all: noise may change.
REACH = 8


def drawn_in(curves: NDArray[np.float64], deviation: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Curves (series, sample), at least five samples each, with far samples drawn in.

    ``deviation`` (sample,) is the noise's, where it is known; only its shape counts.
    """
    medians = curves.copy()
    medians[:, 1], medians[:, -2] = np.median(curves[:, :3], axis=1), np.median(curves[:, -3:], axis=1)
    medians[:, 2:-2] = np.median(sliding_window_view(curves, 5, axis=1), axis=2)
    unit = np.ones(curves.shape[1]) if deviation is None else deviation
    distance = np.abs(curves - medians) / unit
    distance = np.minimum(distance, COUNTED * distance.mean(axis=1, keepdims=True))
    # Of the samples around, without the one itself.
    sums = np.pad(np.cumsum(distance, axis=1), ((0, 0), (1, 0)))
    at = np.arange(curves.shape[1])
    first, end = np.maximum(at - REACH, 0), np.minimum(at + REACH + 1, len(at))
    around = (sums[:, end] - sums[:, first] - distance) / (end - first - 1)
    limit = LIMIT * np.maximum(around, distance.mean(axis=1, keepdims=True)) * unit
    limit = np.maximum(limit, np.median(np.abs(np.diff(curves, n=2, axis=1)), axis=1, keepdims=True))
    drawn: NDArray[np.float64] = np.clip(curves, medians - limit, medians + limit)
    return drawn
