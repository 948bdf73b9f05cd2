"""How much of a measure's total change falls inside an interval, with its uncertainty over examples.

``share = (value(end) - value(start)) / (value(last) - value(first))``. A measure that is a mean over the same fixed
examples at every checkpoint is resampled jointly: one draw of examples gives all four values, so what the examples
have in common cancels, as it does in the measure itself.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def share_of_change(
    at_first: Floats,
    at_start: Floats,
    at_end: Floats,
    at_last: Floats,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Share of the total change that happens between start and end, with a bootstrap interval.

    Parameters
    ----------
    at_first, at_start, at_end, at_last : (example,)
        The measure of every example at the run's first checkpoint, the interval's start and end, the last checkpoint.
    level : float
        Coverage of the percentile interval.
    resamples, seed : int
        Bootstrap draws over examples, and their seed.

    Returns
    -------
    (share, lower, upper)
        1 means all of the change is inside. Values above 1 or below 0 occur where the measure moves back outside.
        NaN where the total change is exactly 0.
    """
    values = np.stack([at_first, at_start, at_end, at_last])
    n_examples = values.shape[1]
    counts = np.random.default_rng(seed).multinomial(n_examples, np.full(n_examples, 1 / n_examples), size=resamples)
    drawn = values @ counts.T / n_examples
    inside, total = drawn[2] - drawn[1], drawn[3] - drawn[0]
    mean = values.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = inside / total
        share = (mean[2] - mean[1]) / (mean[3] - mean[0])
    if not np.isfinite(shares).all():
        return float(share), float("nan"), float("nan")
    lower, upper = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return float(share), float(lower), float(upper)
