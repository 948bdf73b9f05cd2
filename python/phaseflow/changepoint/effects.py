"""What changes from one segment to the next, in the words of the cost, with intervals.

| cost | effect | interval |
|---|---|---|
| l2, cosine | ``mean`` | Student's, equal spreads |
| normal | ``mean``; ``log_scale`` | Welch's; F of the variances |
| variance | ``log_scale``, about the mean of both | F of the variances |
| l1, biweight, rank | ``median`` | of each median by its order statistics (Price and Bonett 2002) |
| poisson | ``log_rate`` | normal, half a count added on either side; overdispersed counts as quasi-Poisson |
| linear | ``level`` at the changepoint, ``slope`` | Student's, of the two lines |
| clinear | ``slope`` | Student's, of the two lines that meet |
| ar | ``lag_1``, ``lag_2``, ...; ``constant`` | Student's, of the two predictions |

A ``log_`` effect is a difference of natural logarithms: its exponential is a ratio. Cost rbf has no parameter that
could change. The place is taken as given: as it was chosen where the effect looks large, small effects are somewhat
overstated.

Noise is taken for independent between samples, or for AR(1) with a coefficient ``rho``. Then estimates spread by the
long-run variance ``lambda = (1 + rho) / (1 - rho)`` times as much, and n samples are worth ``n / lambda`` (for scales
``(1 + rho^2) / (1 - rho^2)``):

    variance of the noise = rest / (n - p lambda)      freedom = n / lambda - p, at least 1      p parameters
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
    x: Array,
    signal: Array,
    changepoints: NDArray[np.int64],
    cost: str,
    order: int,
    level: float,
    autocorrelation: float,
) -> Iterator[Effect]:
    """Of ``signal`` (sample, feature), which misses no sample: by changepoint, feature and parameter."""
    measure = _MEASURES.get(cost)
    if measure is None:
        return
    bounds = [0, *changepoints.tolist(), len(signal)]
    for changepoint, (start, place, end) in enumerate(zip(bounds, bounds[1:], bounds[2:], strict=False)):
        for feature in range(signal.shape[1]):
            stretch = Stretch(x[start:end], signal[start:end, feature], place - start, order, level, autocorrelation)
            for name, before, after, half in measure(stretch):
                size = after - before
                yield Effect(changepoint, feature, name, before, after, size, size - half[0], size + half[1])


class Stretch(NamedTuple):
    """The samples between two neighbours of a changepoint."""

    x: Array
    y: Array
    place: int
    order: int
    level: float
    autocorrelation: float

    @property
    def sides(self) -> tuple[Array, Array]:
        """The samples before the changepoint, and those from it on."""
        return self.y[: self.place], self.y[self.place :]

    @property
    def inflation(self) -> float:
        """Long-run variance of the noise over its variance."""
        return (1 + self.autocorrelation) / (1 - self.autocorrelation)

    def students(self, rest: float, spread: float, parameters: int) -> tuple[float, float]:
        """How far the interval reaches to either side, for ``rest`` left by so many parameters.

        ``spread`` is the estimate's variance in noise of variance 1.
        """
        count = len(self.y)
        if count <= parameters:
            return np.nan, np.nan
        # Parameters that take up most of what the samples are worth leave too little to tell the noise by.
        left = max(count - parameters * self.inflation, (count - parameters) / 4)
        error = math.sqrt(max(rest / left * spread, 0.0))
        return self.widened(error, max(count / self.inflation - parameters, 1))

    def widened(self, error: float, freedom: float, inflation: float | None = None) -> tuple[float, float]:
        """How far it reaches for an error in independent noise."""
        inflation = self.inflation if inflation is None else inflation
        half = student_quantile(0.5 + self.level / 2, freedom) * error * math.sqrt(inflation)
        return half, half

    def normals(self, error: float) -> tuple[float, float]:
        """The same for an error that is known: Student's where the noise lasts, of which less is known."""
        if self.autocorrelation > 0:
            return self.widened(error, max(len(self.y) / self.inflation - 2, 1))
        half = NormalDist().inv_cdf(0.5 + self.level / 2) * error
        return half, half


_Measured = Iterator[tuple[str, float, float, tuple[float, float]]]


def _mean(stretch: Stretch) -> _Measured:
    before, after = stretch.sides
    yield "mean", float(before.mean()), float(after.mean()), mean_half(stretch, equal=True)


def mean_half(stretch: Stretch, *, equal: bool) -> tuple[float, float]:
    """How far the interval of the difference of the means reaches: Welch's where the spreads need not be equal."""
    before, after = stretch.sides
    if equal:
        rest = len(before) * before.var() + len(after) * after.var()
        return stretch.students(float(rest), 1 / len(before) + 1 / len(after), 2)
    if min(len(before), len(after)) < 2:
        return np.nan, np.nan
    parts = [side.var(ddof=1) / len(side) for side in (before, after)]
    freedom = welch_freedom(parts, (before, after)) / stretch.inflation
    return stretch.widened(math.sqrt(sum(parts)), max(freedom, 1))


def _mean_and_scale(stretch: Stretch) -> _Measured:
    before, after = stretch.sides
    yield "mean", float(before.mean()), float(after.mean()), mean_half(stretch, equal=False)
    yield from _scale(stretch, (before - before.mean(), after - after.mean()), 1)


def _scale_alone(stretch: Stretch) -> _Measured:
    middle = stretch.y.mean()
    return _scale(stretch, (stretch.sides[0] - middle, stretch.sides[1] - middle), 0)


def _scale(stretch: Stretch, rests: tuple[Array, Array], used: int) -> _Measured:
    # Squares of AR(1) noise last half as long as the noise.
    worth = (1 - stretch.autocorrelation**2) / (1 + stretch.autocorrelation**2)
    freedoms = [(len(rest) - used) * worth for rest in rests]
    squares = [float((rest**2).sum()) for rest in rests]
    if min(len(rest) - used for rest in rests) < 1 or min(squares) <= 0:
        logs = [np.nan, np.nan]
        half = (np.nan, np.nan)
    else:
        logs = [0.5 * math.log(square / (len(rest) - used)) for square, rest in zip(squares, rests, strict=True)]
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


def _median(stretch: Stretch) -> _Measured:
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


def _log_rate(stretch: Stretch) -> _Measured:
    counts = [float(side.sum()) + 0.5 for side in stretch.sides]
    before, after = (math.log(count / len(side)) for count, side in zip(counts, stretch.sides, strict=True))
    error = math.sqrt(_dispersion(stretch.sides) * (1 / counts[0] + 1 / counts[1]))
    yield "log_rate", before, after, stretch.normals(error)


def _dispersion(sides: tuple[Array, Array]) -> float:
    """How much more counts vary than Poisson's law lets them, at least 1: Pearson's statistic over its freedom."""
    pearson = sum(float(((side - side.mean()) ** 2).sum() / side.mean()) for side in sides if side.any())
    freedom = sum(len(side) - 1 for side in sides if side.any())
    return max(pearson / freedom, 1.0) if freedom else 1.0


def _level_and_slope(stretch: Stretch) -> _Measured:
    design = np.zeros((len(stretch.y), 4))
    along = stretch.x - stretch.x[stretch.place]
    design[: stretch.place, 0] = 1
    design[stretch.place :, 1] = 1
    design[: stretch.place, 2] = along[: stretch.place]
    design[stretch.place :, 3] = along[stretch.place :]
    yield from _differences(stretch, design, stretch.y, [("level", 0, 1), ("slope", 2, 3)])


def _slope(stretch: Stretch) -> _Measured:
    along = stretch.x - stretch.x[min(stretch.place, len(stretch.x) - 1)]
    design = np.stack([np.ones_like(along), np.minimum(along, 0), np.maximum(along, 0)], axis=1)
    yield from _differences(stretch, design, stretch.y, [("slope", 1, 2)])


def _prediction(stretch: Stretch) -> _Measured:
    order, y = stretch.order, stretch.y
    if len(y) <= order:
        return
    lags = np.stack([y[order - lag : len(y) - lag] for lag in range(1, order + 1)] + [np.ones(len(y) - order)], axis=1)
    later = (np.arange(order, len(y)) >= stretch.place)[:, None]
    names = [*(f"lag_{lag}" for lag in range(1, order + 1)), "constant"]
    pairs = [(name, index, index + order + 1) for index, name in enumerate(names)]
    yield from _differences(stretch, np.hstack([lags * ~later, lags * later]), y[order:], pairs)


def _differences(stretch: Stretch, design: Array, y: Array, pairs: list[tuple[str, int, int]]) -> _Measured:
    """Second coefficient less first of each pair, by least squares; NaN where a coefficient is not determined."""
    size = np.linalg.norm(design, axis=0)
    scaled = design / np.where(size > 0, size, 1)
    left, values, right = np.linalg.svd(scaled, full_matrices=False)
    determined = values > 1e-10 * values.max(initial=0)
    inverse = np.where(determined, 1 / np.where(determined, values, 1), 0)
    pseudo = (right.T * inverse) / np.where(size > 0, size, 1)[:, None]
    found = pseudo @ (left.T @ y)
    covariance = pseudo @ pseudo.T
    rest = float(((y - design @ found) ** 2).sum())
    for name, first, second in pairs:
        if not determined.all() or min(size[first], size[second]) == 0:
            yield name, np.nan, np.nan, (np.nan, np.nan)
            continue
        spread = covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
        half = stretch._replace(y=y).students(rest, float(spread), design.shape[1])
        yield name, float(found[first]), float(found[second]), half


_MEASURES: dict[str, Callable[[Stretch], _Measured]] = {
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
