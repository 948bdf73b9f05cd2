"""What changes from one segment to the next, in the words of the cost, with intervals.

| cost | effect | interval |
|---|---|---|
| l2, cosine | ``mean`` | Student's, equal spreads |
| normal | ``mean``; ``log_scale`` | Welch's; F of the variances |
| variance | ``log_scale``, about the mean of both | F of the variances |
| l1, biweight, rank | ``median`` | of each median by its order statistics (Price and Bonett 2002) |
| poisson | ``log_rate`` | normal, half a count added on either side |
| linear | ``level`` at the changepoint, ``slope`` | Student's, of the two lines |
| clinear | ``slope`` | Student's, of the two lines that meet |
| ar | ``lag_1``, ``lag_2``, ...; ``constant`` | Student's, of the two predictions |

A ``log_`` effect is a difference of natural logarithms: its exponential is a ratio. Cost rbf has no parameter that
could change. The place is taken as given, and noise for independent between samples: as the place was chosen where the
effect looks large, small effects are somewhat overstated.
"""

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phaseflow.changepoint.student import student_quantile, welch_freedom

Array = NDArray[np.float64]


class Effect(NamedTuple):
    """One parameter on both sides of a changepoint; NaN where there are too few samples for it."""

    changepoint: int
    feature: int
    name: str
    before: float
    after: float
    size: float
    lower: float
    upper: float


def effects(
    x: Array, signal: Array, changepoints: NDArray[np.int64], cost: str, order: int, level: float
) -> Iterator[Effect]:
    """Of ``signal`` (sample, feature), which misses no sample: by changepoint, feature and parameter."""
    measure = _MEASURES.get(cost)
    if measure is None:
        return
    bounds = [0, *changepoints.tolist(), len(signal)]
    for changepoint, (start, place, end) in enumerate(zip(bounds, bounds[1:], bounds[2:], strict=False)):
        for feature in range(signal.shape[1]):
            stretch = _Stretch(x[start:end], signal[start:end, feature], place - start, order, level)
            for name, before, after, half in measure(stretch):
                size = after - before
                yield Effect(changepoint, feature, name, before, after, size, size - half[0], size + half[1])


class _Stretch(NamedTuple):
    """The samples between two neighbours of a changepoint."""

    x: Array
    y: Array
    place: int
    order: int
    level: float

    @property
    def sides(self) -> tuple[Array, Array]:
        return self.y[: self.place], self.y[self.place :]

    def students(self, error: float, freedom: float) -> tuple[float, float]:
        """How far the interval reaches to either side."""
        if not freedom >= 1:
            return np.nan, np.nan
        half = student_quantile(0.5 + self.level / 2, freedom) * error
        return half, half

    def normals(self, error: float) -> tuple[float, float]:
        half = NormalDist().inv_cdf(0.5 + self.level / 2) * error
        return half, half


_Measured = Iterator[tuple[str, float, float, tuple[float, float]]]


def _mean(stretch: _Stretch) -> _Measured:
    before, after = stretch.sides
    freedom = len(stretch.y) - 2
    rest = len(before) * before.var() + len(after) * after.var()
    error = math.sqrt(rest / max(freedom, 1) * (1 / len(before) + 1 / len(after)))
    yield "mean", float(before.mean()), float(after.mean()), stretch.students(error, freedom)


def _mean_and_scale(stretch: _Stretch) -> _Measured:
    before, after = stretch.sides
    if min(len(before), len(after)) > 1:
        parts = [side.var(ddof=1) / len(side) for side in (before, after)]
        half = stretch.students(math.sqrt(sum(parts)), welch_freedom(parts, (before, after)))
    else:
        half = (np.nan, np.nan)
    yield "mean", float(before.mean()), float(after.mean()), half
    yield from _scale(stretch, (before - before.mean(), after - after.mean()), 1)


def _scale_alone(stretch: _Stretch) -> _Measured:
    middle = stretch.y.mean()
    return _scale(stretch, (stretch.sides[0] - middle, stretch.sides[1] - middle), 0)


def _scale(stretch: _Stretch, rests: tuple[Array, Array], used: int) -> _Measured:
    freedoms = [len(rest) - used for rest in rests]
    squares = [float((rest**2).sum()) for rest in rests]
    if min(freedoms) < 1 or min(squares) <= 0:
        logs = [np.nan, np.nan]
        half = (np.nan, np.nan)
    else:
        logs = [0.5 * math.log(square / freedom) for square, freedom in zip(squares, freedoms, strict=True)]
        upper = 0.5 + stretch.level / 2
        # ln(s2 / s1) less its true value is half the logarithm of an F.
        half = (
            0.5 * log_f_quantile(upper, freedoms[1], freedoms[0]),
            0.5 * log_f_quantile(upper, freedoms[0], freedoms[1]),
        )
    yield "log_scale", logs[0], logs[1], half


def log_f_quantile(probability: float, first: float, second: float) -> float:
    """Logarithm of a quantile of the F distribution (Abramowitz and Stegun 26.6.16); NaN for 1 degree of freedom."""
    if min(first, second) <= 1:
        return math.nan
    x = NormalDist().inv_cdf(probability)
    harmonic = 2 / (1 / (first - 1) + 1 / (second - 1))
    third = (x * x - 3) / 6
    return 2 * (
        x * math.sqrt(harmonic + third) / harmonic
        - (1 / (first - 1) - 1 / (second - 1)) * (third + 5 / 6 - 2 / (3 * harmonic))
    )


def _median(stretch: _Stretch) -> _Measured:
    before, after = (np.sort(side) for side in stretch.sides)
    error = math.hypot(_error_of_median(before), _error_of_median(after))
    yield "median", float(np.median(before)), float(np.median(after)), stretch.normals(error)


def _error_of_median(y: Array) -> float:
    """Standard error by Price and Bonett: the distance of two order statistics over what it covers in a normal."""
    count = len(y)
    if count < 5:
        return math.nan
    rank = max(round((count + 1) / 2 - math.sqrt(count)), 1)
    outside = sum(math.comb(count, k) for k in range(rank)) / 2**count if count <= 1000 else 0.0228
    return float(y[count - rank] - y[rank - 1]) / (2 * NormalDist().inv_cdf(1 - outside))


def _log_rate(stretch: _Stretch) -> _Measured:
    counts = [float(side.sum()) + 0.5 for side in stretch.sides]
    before, after = (math.log(count / len(side)) for count, side in zip(counts, stretch.sides, strict=True))
    yield "log_rate", before, after, stretch.normals(math.sqrt(1 / counts[0] + 1 / counts[1]))


def _level_and_slope(stretch: _Stretch) -> _Measured:
    design = np.zeros((len(stretch.y), 4))
    along = stretch.x - stretch.x[stretch.place]
    design[: stretch.place, 0] = 1
    design[stretch.place :, 1] = 1
    design[: stretch.place, 2] = along[: stretch.place]
    design[stretch.place :, 3] = along[stretch.place :]
    yield from _differences(stretch, design, stretch.y, [("level", 0, 1), ("slope", 2, 3)])


def _slope(stretch: _Stretch) -> _Measured:
    along = stretch.x - stretch.x[min(stretch.place, len(stretch.x) - 1)]
    design = np.stack([np.ones_like(along), np.minimum(along, 0), np.maximum(along, 0)], axis=1)
    yield from _differences(stretch, design, stretch.y, [("slope", 1, 2)])


def _prediction(stretch: _Stretch) -> _Measured:
    order, y = stretch.order, stretch.y
    if len(y) <= order:
        return
    lags = np.stack([y[order - lag : len(y) - lag] for lag in range(1, order + 1)] + [np.ones(len(y) - order)], axis=1)
    later = (np.arange(order, len(y)) >= stretch.place)[:, None]
    names = [*(f"lag_{lag}" for lag in range(1, order + 1)), "constant"]
    pairs = [(name, index, index + order + 1) for index, name in enumerate(names)]
    yield from _differences(stretch, np.hstack([lags * ~later, lags * later]), y[order:], pairs)


def _differences(stretch: _Stretch, design: Array, y: Array, pairs: list[tuple[str, int, int]]) -> _Measured:
    """Second coefficient less first of each pair, by least squares; NaN where a coefficient is not determined."""
    size = np.linalg.norm(design, axis=0)
    scaled = design / np.where(size > 0, size, 1)
    left, values, right = np.linalg.svd(scaled, full_matrices=False)
    determined = values > 1e-10 * values.max(initial=0)
    inverse = np.where(determined, 1 / np.where(determined, values, 1), 0)
    pseudo = (right.T * inverse) / np.where(size > 0, size, 1)[:, None]
    found = pseudo @ (left.T @ y)
    covariance = pseudo @ pseudo.T
    freedom = len(y) - design.shape[1]
    rest = float(((y - design @ found) ** 2).sum())
    for name, first, second in pairs:
        if not determined.all() or min(size[first], size[second]) == 0:
            yield name, np.nan, np.nan, (np.nan, np.nan)
            continue
        spread = covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
        error = math.sqrt(max(rest / max(freedom, 1) * spread, 0.0))
        yield name, float(found[first]), float(found[second]), stretch.students(error, freedom)


_MEASURES: dict[str, Callable[[_Stretch], _Measured]] = {
    "l2": _mean,
    "cosine": _mean,
    "normal": _mean_and_scale,
    "variance": _scale_alone,
    "l1": _median,
    "biweight": _median,
    "rank": _median,
    "poisson": _log_rate,
    "linear": _level_and_slope,
    "clinear": _slope,
    "ar": _prediction,
}
