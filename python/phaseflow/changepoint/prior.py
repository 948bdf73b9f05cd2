"""Priors for segments, where none is given: from the first samples of a run, wide for what a segment may differ in.

The noise comes from differences of neighbouring samples (for lines, from the distance to the line through the
neighbours), which a change among the first samples does not reach: median absolute value, as good as about a third of
the samples. A segment's level may lie some ten standard deviations of the noise from where the run began, and more at a
price.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from phaseflow.changepoint.arguments import check_numbers
from phaseflow.exceptions import NotFiniteError, ParameterError

_LEVEL_SAMPLES = 0.01  # what the prior's mean is worth: levels spread over 1 / sqrt(0.01) = 10 noise deviations
_NOISE_SHARE = 1 / 6  # alpha for one sample: the noise estimate is worth a third of them
_FREEDOM = 4.0  # degrees of freedom of heavy tails: one sample in a hundred lies beyond 4.6 scales
_CORRELATION = 0.5  # standard deviation of the prior of what is left of a sample in the next one
_ROUNDING = 1e-12  # less than that part of a sample is no noise
_LEAST_OF_ZEROS, _TINY, _HUGE = 1e-150, 1e-140, 1e140
_MEDIAN_OF_NORMAL = 0.6744897501960817


def check_prior(prior: Mapping[str, float] | None) -> dict[str, float] | None:
    """The parameters that are given, as numbers; which they must be is seen where the observation is made."""
    if prior is None:
        return None
    if not isinstance(prior, Mapping) or not all(isinstance(name, str) for name in prior):
        raise ParameterError(f"prior is {prior!r}, a {type(prior).__name__}, expected a dict of its parameters by name")
    check_numbers(**{f"prior[{name!r}]": number for name, number in prior.items()})
    return {name: float(number) for name, number in prior.items()}


def fixed_prior(observation: str) -> dict[str, float] | None:
    """The prior that needs no samples: Jeffreys' for ``"bernoulli"``; ``None`` for others."""
    return {"alpha": 0.5, "beta": 0.5} if observation == "bernoulli" else None


def default_prior(observation: str, x: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, float]:
    """The prior from samples of which few lie behind a change; at least 4."""
    if len(values) < 4:
        raise ParameterError(f"prior is None and there are {len(values)} samples to make one from; 4 are needed")
    if observation == "bernoulli":
        return {"alpha": 0.5, "beta": 0.5}
    if observation == "poisson":
        return {"alpha": 1.0, "beta": 1.0 / max(float(values.mean()), 1.0 / len(values))}
    noise = _noise_variance(x, values, lines=observation == "linear")
    mean = float(np.median(values))
    if observation == "level":
        return {"mean": mean, "variance": noise / _LEVEL_SAMPLES, "noise_variance": noise}
    alpha = _NOISE_SHARE * len(values)
    prior = {"mean": mean, "kappa": _LEVEL_SAMPLES, "alpha": alpha, "beta": alpha * noise}
    if observation == "student":
        prior["freedom"] = _FREEDOM
    if observation == "linear":
        prior["slope_kappa"] = _LEVEL_SAMPLES * _span(x) ** 2
    if observation == "autoregressive":
        prior["slope_kappa"] = noise / _CORRELATION**2
    return prior


def _span(x: NDArray[np.float64]) -> float:
    span = float(x[-1] - x[0])
    if not _TINY < span < _HUGE:
        raise ParameterError(
            f"x spans {span:.3g} in the first {len(x)} samples, expected {_TINY:g} to {_HUGE:g}, whose squares double "
            "precision holds; pass x in another unit"
        )
    return span


def _noise_variance(x: NDArray[np.float64], values: NDArray[np.float64], *, lines: bool) -> float:
    largest = float(np.abs(values).max())
    if largest >= _HUGE / _ROUNDING:
        raise ParameterError(
            f"value is up to {largest:.3g} in size in the first {len(values)} samples, expected below "
            f"{_HUGE / _ROUNDING:g}, so that double precision can square its noise; pass the values in another unit"
        )
    if lines:
        left = (x[2:] - x[1:-1]) / (x[2:] - x[:-2])
        right = 1 - left
        weight = np.sqrt(1 + left**2 + right**2)
        differences = (values[1:-1] - left * values[:-2] - right * values[2:]) / weight
    else:
        differences = np.diff(values) / math.sqrt(2)
    deviation = float(np.median(np.abs(differences))) / _MEDIAN_OF_NORMAL or _root_mean_square(differences)
    if deviation == 0:  # Samples that are all alike know their noise to a part in a million.
        deviation = max(1e-6 * largest, _LEAST_OF_ZEROS)
    elif not _TINY < deviation < _HUGE:
        raise ParameterError(
            f"value varies by {deviation:.3g} in the first {len(values)} samples, expected {_TINY:g} to {_HUGE:g}, "
            "whose squares double precision holds; pass the values in another unit"
        )
    return max(deviation, _ROUNDING * largest) ** 2


def _root_mean_square(numbers: NDArray[np.float64]) -> float:
    largest = float(np.abs(numbers).max())
    return largest and largest * float(np.sqrt(np.mean((numbers / largest) ** 2)))


def check_sample(observation: str, x: float, value: float, last_x: float) -> None:
    """Whether a sample may wait for the prior."""
    for name, number in (("x", x), ("value", value)):
        if not math.isfinite(number):
            raise NotFiniteError(f"{name} is {number}, expected a finite number")
    if x <= last_x:
        raise ParameterError(f"x is {x}, expected above the last one, {last_x}")
    if observation == "poisson" and (value < 0 or value != int(value)):
        raise ParameterError(f'value is {value}, expected a count, for observation "poisson"')
