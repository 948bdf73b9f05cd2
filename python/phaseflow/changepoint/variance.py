"""How the noise of a learning curve changes along it, read off the curve itself.

Residuals: each value less the cubic through its two neighbours on either side, over what independent noise of variance
1 would give; smooth learning leaves next to nothing of it. Their logarithm is regressed on nothing, on the model's axis
(noise that fades with time), on the logarithm of the curve's own level, and on that level (noise that fades with the
loss); the regression is taken that explains enough to pay for its slope, or none.

A slope from a hundred logarithms is uncertain, and one that does not pay for itself need not be 0. `other_variances`
are those at the ends of the slope's 90 % interval and in its middle: what is found with one variance is sure only if it
is with all that the curve allows (the largest p-value over a confidence set: Berger and Boos 1994).

``ln`` of a squared normal residual has variance pi^2 / 2; residuals that share neighbours are less than independent,
which `_SHARED` makes up for. A long lower tail, of residuals that happen to be small, counts less (Huber).
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

#: Samples below which a slope cannot be told from none.
LEAST = 20
_REACH = 2  # neighbours on either side
_LOG_CHI_SQUARE = np.pi**2 / 2
_SHARED = 1.6
_PRICE = 6.0  # of a slope, in units of twice the log-likelihood: one in seventy of curves without one pays it by chance
_TAIL = 4.0  # residuals of the logarithm further below count less
_ROUNDS = 6
_REACH_OF_SLOPE = 1.645  # standard errors on either side
_WINDOW = 9  # samples of the running median that is the curve's level
_FLOOR = 0.02  # of the curve's range, added to its level: the logarithm of nothing


def noise_variance(u: Vector, signal: Vector) -> Vector:
    """The variance of the noise at every sample, up to a common factor.

    Parameters
    ----------
    u : array (sample,)
        The model's axis, strictly increasing.
    signal : array (sample,)
        The curve, finite.

    Returns
    -------
    array (sample,)
        Above 0; all alike where nothing else can be shown, and for fewer than `LEAST` samples.
    """
    fit = _Slope(u, signal)
    return fit.variance(0.0) if fit.pays else np.ones_like(signal)


def other_variances(u: Vector, signal: Vector) -> list[Vector]:
    """The variances that the curve allows as well, the steepest first; none where it says nothing."""
    fit = _Slope(u, signal)
    reaches = (1, -1) if fit.pays else (1, 0, -1)
    return [fit.variance(reach * _REACH_OF_SLOPE) for reach in reaches] if fit.says_anything else []


class _Slope:
    """The regressor that explains most, its slope, and how sure that is."""

    def __init__(self, u: Vector, signal: Vector) -> None:
        spread = float(np.ptp(signal))
        self.says_anything = len(signal) >= LEAST and spread > 0.0
        self.pays = False
        if not self.says_anything:
            return
        residuals = neighbour_residuals(u, signal)
        seen = slice(_REACH, -_REACH)
        # Rounding of the curve's own numbers is noise too, of a size that says nothing.
        least = (spread * 1e-12) ** 2
        logs = np.log(residuals**2 + least)
        level = running_median(signal)
        everywhere = np.ones_like(signal)
        unit = _LOG_CHI_SQUARE * _SHARED
        best = np.inf
        for values in (u, np.log(np.abs(level) + _FLOOR * spread), level):
            regressor = standardised(values)
            coefficients, squares = robust_fit(np.stack([everywhere, regressor], axis=1)[seen], logs)
            if squares < best:
                best, self._regressor, self._slope = squares, regressor, float(coefficients[1])
        apart = self._regressor[seen] - self._regressor[seen].mean()
        self._error = float(np.sqrt(unit / max(apart @ apart, 1.0)))
        self.pays = bool((robust_fit(everywhere[seen, None], logs)[1] - best) / unit > _PRICE)

    def variance(self, errors: float) -> Vector:
        """With the slope so many standard errors further from 0."""
        slope = self._slope + errors * np.sign(self._slope) * self._error
        variance: Vector = np.exp(slope * (self._regressor - self._regressor.mean()))
        return variance


def neighbour_residuals(u: Vector, signal: Vector) -> Vector:
    """``(sample - 4,)``: each value less the cubic through its four neighbours, scaled to the noise's own size."""
    inner = np.arange(_REACH, len(u) - _REACH)
    offsets = [-2, -1, 1, 2]
    at = np.stack([u[inner + offset] for offset in offsets])
    weights = np.ones_like(at)
    for i in range(len(offsets)):
        for j in range(len(offsets)):
            if i != j:
                weights[i] *= (u[inner] - at[j]) / (at[i] - at[j])
    values = np.stack([signal[inner + offset] for offset in offsets])
    residuals: Vector = (signal[inner] - (weights * values).sum(0)) / np.sqrt(1.0 + (weights**2).sum(0))
    return residuals


def running_median(signal: Vector) -> Vector:
    """The median of the samples around each, fewer at the ends."""
    half = _WINDOW // 2
    padded = np.concatenate([np.full(half, np.nan), signal, np.full(half, np.nan)])
    medians: Vector = np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, _WINDOW), axis=1)
    return medians


def standardised(values: Vector) -> Vector:
    """Mean 0 and variance 1; zeros where they do not vary."""
    deviation = values.std()
    return (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)


def robust_fit(design: Vector, values: Vector) -> tuple[NDArray[np.floating], float]:
    """Coefficients, and the weighted sum of squares that is left."""
    weights = np.ones_like(values)
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        left = values - design @ coefficients
        squares = float((weights * left**2).sum())
        weights = np.where(left < -_TAIL, _TAIL / np.maximum(-left, _TAIL), 1.0)
    return coefficients, squares
