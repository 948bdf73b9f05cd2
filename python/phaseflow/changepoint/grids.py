"""Prepared window detectors, kept between calls: their simulated thresholds are worth keeping.

Detectors for variances read off curves are many and hold the larger part of their memory by checkpoint, so they are
kept apart from those that all curves on a grid share, and fewer of them where checkpoints are many.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core

_KEPT = 16
_FEW_SAMPLES, _MANY_SAMPLES = 512, 2048


class Options(NamedTuple):
    """How a grid is looked at."""

    scale: str
    base: str
    flank: int
    max_width: float | None
    simulations: int
    seed: int


def grid(x: NDArray[np.float64], variance: NDArray[np.float64] | None, options: Options) -> "_core.WindowDetector":
    """The detector for these checkpoints and a variance that the caller knows, or even noise."""
    return _shared(x.tobytes(), None if variance is None else variance.tobytes(), options)


def grid_of_curves(
    x: NDArray[np.float64],
    variance: NDArray[np.float64],
    options: Options,
    thresholds_of: "_core.WindowDetector | None",
) -> "_core.WindowDetector":
    """The detector for a variance read off curves, with the thresholds of another one or its own."""
    kept = _few if len(x) <= _FEW_SAMPLES else _some if len(x) <= _MANY_SAMPLES else _many
    return kept(x.tobytes(), variance.tobytes(), options, thresholds_of)


def _new(
    x: bytes, variance: bytes | None, options: Options, thresholds_of: "_core.WindowDetector | None" = None
) -> "_core.WindowDetector":
    return _core.WindowDetector(
        np.frombuffer(x),
        None if variance is None else np.frombuffer(variance),
        **options._asdict(),
        thresholds_of=thresholds_of,
    )


_shared = lru_cache(maxsize=_KEPT)(_new)
_few = lru_cache(maxsize=4 * _KEPT)(_new)  # 3 MB each at 200 checkpoints
_some = lru_cache(maxsize=_KEPT)(_new)
_many = lru_cache(maxsize=2)(_new)  # 100 MB each at 10,000
