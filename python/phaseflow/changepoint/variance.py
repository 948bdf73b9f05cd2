"""How the noise of a learning curve changes along it, read off squares of what it has beside its smooth part.

``ln variance = amplitude * profile``, with the profile one of a few over the model's axis u: a straight line (noise
that fades as a power of the step), and steps from one level to another at places along the axis (noise that follows a
loss that falls and then stays, or a window). They are those of the axis and not of the curve, and amplitudes are
rounded to `STEP`, so that curves share what is prepared and simulated for them.

The amplitude makes squares likeliest as those of normal noise,
``mean over samples of (square / variance - 1) profile = 0``, with squares cut at `_WILD` variances, so that single wild
samples, or what is left of a window, count little. Its error is that of this mean, from the curve's own squares and at
least normal noise's. The likeliest profile is taken: one of the coarse ones, or, where their amplitude is `_FINE`
errors from 0, of all.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

#: Samples below which an amplitude cannot be told from none.
LEAST = 20
#: Added to squares of a curve in units of its own size: rounding is noise too, of a size that says nothing.
FLOOR = 1e-24
#: Of amplitudes.
STEP = 0.25
_FINE = 4.0
_STEEPEST = 12.0  # of ln variance from one end of a curve to the other
_WIDTHS = {0.27: 8, 0.13: 15}  # of steps, over half the axis (10 to 90 % over 2.2 of it), and how many of them
_CENTRES = (-1.0, 4 / 3)  # the last one is half a step, at the end
_FEW = 12.0  # fourth moment of a step that sets too few samples apart: one in twelve or fewer
_WILD = 6.25  # variances: 2.5 standard deviations
_ROUNDS = 12
_TRIMS = 6
_REACH = 2  # neighbours on either side
# Of squared normal noise cut at _WILD: its mean; how fast that grows with ln variance, over it; its variance over its
# square.
_MEAN, _GROWTH, _SPREAD = 0.97756, 0.92060, 1.75965


class Slope(NamedTuple):
    """Of every curve."""

    profile: NDArray[np.int64]
    amplitude: Vector
    #: Standard error of the amplitude.
    error: Vector
    #: The largest amplitude that the profile may have.
    most: Vector


@lru_cache(maxsize=16)
def profiles_of(u: bytes) -> tuple[NDArray[np.float64], int]:
    """``(profile, sample)`` of the axis u: mean 0 and variance 1; and how many of them are the coarse ones."""
    axis = np.frombuffer(u)
    places = 2.0 * (axis - axis[0]) / (axis[-1] - axis[0]) - 1.0
    profiles = [standardised(places[None])]
    for width, count in _WIDTHS.items():
        steps = standardised(np.tanh((places - np.linspace(*_CENTRES, count)[:, None]) / width))
        profiles.append(steps[(steps**4).mean(1) < _FEW])
    return np.concatenate(profiles), 1 + len(profiles[1])


def standardised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 and variance 1 along each row."""
    apart = rows - rows.mean(1, keepdims=True)
    scaled: NDArray[np.float64] = apart / apart.std(1, keepdims=True)
    return scaled


def slopes(squares: NDArray[np.float64], profiles: NDArray[np.float64], coarse: int, independent: float) -> Slope:
    """The likeliest profile and amplitude of each row of squares.

    Parameters
    ----------
    squares : array (series, sample)
        Above 0; NaN says nothing.
    profiles : array (profile, sample)
        Those of the axis, the coarse ones first.
    coarse : int
        How many these are.
    independent : float
        The share of the squares that count as independent.
    """
    n_series = len(squares)
    best = Slope(np.zeros(n_series, np.int64), *np.zeros((3, n_series)))
    least = np.full(n_series, np.inf)
    seen = np.isfinite(squares).astype(np.float64)
    logs = np.log(np.where(seen > 0, squares, 1.0))
    members = np.arange(n_series)
    for index, profile in enumerate(profiles):
        if index == coarse:
            members = np.flatnonzero(errors(best) > _FINE)
        if not len(members):
            break
        most = _STEEPEST / float(np.ptp(profile))
        amplitude, error, deviance = _fit(logs[members], seen[members], profile, most)
        better = deviance < least[members]
        where = members[better]
        least[where] = deviance[better]
        best.profile[where] = index
        best.amplitude[where] = amplitude[better]
        best.error[where] = error[better] / np.sqrt(independent)
        best.most[where] = most
    return best


def errors(found: Slope) -> Vector:
    """How many standard errors the amplitudes are from 0."""
    number: Vector = np.abs(found.amplitude) / np.maximum(found.error, 1e-300)
    return number


def _fit(
    logs: NDArray[np.float64], seen: NDArray[np.float64], profile: Vector, most: float
) -> tuple[Vector, Vector, Vector]:
    """Amplitude, its error were all squares independent, and the deviance."""
    count = seen.sum(1)
    own = (profile - (seen @ profile / count)[:, None]) * seen
    unit = np.maximum((own**2).sum(1) / count, 1e-12)
    middle = _log_mean(logs, seen, count)
    amplitude = np.zeros(len(logs))

    def ratios() -> NDArray[np.float64]:
        ratio: NDArray[np.float64] = np.exp(np.minimum(logs - middle[:, None] - amplitude[:, None] * own, 700)) * seen
        return ratio

    for _ in range(_ROUNDS):
        excess = (np.minimum(ratios(), _WILD) / _MEAN - 1.0) * seen
        middle = middle + np.clip(excess.sum(1) / (count * _GROWTH), -1.0, 1.0)
        step = (excess * own).sum(1) / (count * unit * _GROWTH)
        amplitude = np.clip(amplitude + np.clip(step, -1.0, 1.0), -most, most)
    ratio = ratios()
    cut = np.minimum(ratio, _WILD)
    excess = (cut / _MEAN - 1.0) * seen
    spread = np.maximum((excess**2 * own**2).sum(1) / (count * unit**2), _SPREAD / unit)
    lost = (cut + _WILD * np.log(np.maximum(ratio / _WILD, 1.0))) / _MEAN
    return amplitude, np.sqrt(spread / count) / _GROWTH, middle * count + lost.sum(1)


def _log_mean(logs: NDArray[np.float64], seen: NDArray[np.float64], count: Vector) -> Vector:
    """Of squares cut at so many times their mean."""
    largest = logs.max(1)
    squares = np.exp(logs - largest[:, None]) * seen
    mean = squares.sum(1) / count
    for _ in range(_TRIMS):
        mean = np.minimum(squares, _WILD * mean[:, None]).sum(1) / count
    middle: Vector = np.log(mean) + largest
    return middle


def contradicted(squares: NDArray[np.float64], profiles: NDArray[np.float64], independent: float) -> Vector:
    """How many standard errors the squares of each row speak against even noise, along the profile that says most.

    The score test that belongs to `slopes`: nothing is fitted.
    """
    middle = squares.mean(1, keepdims=True)
    for _ in range(_TRIMS):
        middle = np.minimum(squares, _WILD * middle).mean(1, keepdims=True)
    excess = np.minimum(squares, _WILD * middle) / middle - 1.0
    spread = np.maximum((excess**2).mean(1), _SPREAD)
    score: Vector = np.abs(excess @ standardised(profiles).T).max(1) / np.sqrt(spread * squares.shape[1] / independent)
    return score


def neighbour_squares(u: Vector, signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(series, sample - 4)``: the square of each value less the cubic through its four neighbours.

    Over what independent noise of variance 1 gives, in units of the curve's largest deviation from its mean. Smooth
    learning leaves next to nothing of it. Never 0: see `FLOOR`.
    """
    inner = np.arange(_REACH, len(u) - _REACH)
    offsets = [-2, -1, 1, 2]
    at = np.stack([u[inner + offset] for offset in offsets])
    weights = np.ones_like(at)
    for i in range(len(offsets)):
        for j in range(len(offsets)):
            if i != j:
                weights[i] *= (u[inner] - at[j]) / (at[i] - at[j])
    signals = scaled(signals)
    left = signals[:, _REACH:-_REACH].copy()
    for weight, offset in zip(weights, offsets, strict=True):
        left -= weight * signals[:, inner[0] + offset : inner[-1] + offset + 1]
    left /= np.sqrt(1.0 + (weights**2).sum(0))
    squares: NDArray[np.float64] = left**2 + FLOOR
    return squares


def scaled(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row less its mean over its largest deviation from it, in any unit; zeros for a constant."""
    unit = signals / np.maximum(np.abs(signals).max(1, keepdims=True), np.finfo(float).tiny)
    apart = unit - unit.mean(1, keepdims=True)
    largest = np.abs(apart).max(1, keepdims=True)
    rows: NDArray[np.float64] = apart / np.where(largest > 0, largest, 1.0)
    return rows
