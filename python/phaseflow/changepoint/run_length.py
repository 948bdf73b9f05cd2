"""How long the current segment of a signal has lasted, after every sample of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from phaseflow import _core, schema
from phaseflow.changepoint.arguments import check_counts, check_names, check_numbers, float_array
from phaseflow.changepoint.prior import check_prior, default_prior, fixed_prior
from phaseflow.exceptions import ParameterError, ShapeError

if TYPE_CHECKING:
    import polars as pl


def run_length_posterior(
    signal: ArrayLike,
    *,
    x: ArrayLike | None = None,
    observation: str = "normal",
    prior: Mapping[str, float] | None = None,
    expected_length: float = 250.0,
    min_size: int = 1,
    least: float = 1e-12,
    most: int = 1000,
    shown: float = 1e-3,
) -> "pl.DataFrame":
    """After every sample, how long the current segment has lasted, with what probability.

    Parameters
    ----------
    signal
        ``(sample,)``. A NaN is a missing sample and left out; infinities are refused.
    x
        ``(sample,)``: strictly increasing, for ``"linear"``; the sample number without it.
    observation, prior, expected_length, min_size, least, most
        As in :class:`OnlineDetector`; without a prior it is made from the whole signal.
    shown
        Least probability of a row; 0 for all that are kept, up to ``most`` a sample.

    Returns
    -------
    polars.DataFrame
        By ``sample`` and ``start``: ``start``, where the segment that holds the sample began; ``run_length``, samples
        of it so far, without missing ones, from 1 (one more than in Adams and MacKay 2007, who count up to the sample
        before); ``probability``. Those of one sample sum to 1, but for rows that are not shown.

    Raises
    ------
    ShapeError
        ``signal`` has not one axis, or does not fit ``x``.
    DtypeError, NotFiniteError, ParameterError, UnknownNameError
        As :class:`OnlineDetector`.

    Examples
    --------
    >>> import phaseflow as pf
    >>> coin = {"alpha": 1, "beta": 1}
    >>> found = pf.run_length_posterior([1, 0], observation="bernoulli", prior=coin, expected_length=4)
    >>> found["run_length"].to_list(), found["probability"].round(3).to_list()
    ([1, 2, 1], [1.0, 0.667, 0.333])
    """
    import polars as pl

    check_names(observation=observation)
    check_counts(min_size=min_size, most=most)
    check_numbers(expected_length=expected_length, least=least, shown=shown)
    given_prior = check_prior(prior)
    if not 0 <= shown <= 1:
        raise ParameterError(f"shown is {shown}, expected a probability, 0 to 1")
    values = float_array("signal", signal)
    if values.ndim != 1:
        raise ShapeError(f"signal must have one axis, (sample,), got {values.ndim} axes")
    axis = np.arange(len(values), dtype=np.float64) if x is None else float_array("x", x)
    if axis.shape != values.shape:
        raise ShapeError(f"x has shape {axis.shape}, expected {values.shape}, one for every sample of signal")
    there = np.flatnonzero(~np.isnan(values))
    known = fixed_prior(observation) if given_prior is None else given_prior
    if known is None:
        known = default_prior(observation, axis[there], values[there])
    columns, _ = _core.run_length_posterior(
        axis[there],
        values[there],
        observation,
        list(known.items()),
        expected_length=expected_length,
        min_size=min_size,
        least=least,
        most=most,
        shown=shown,
    )
    sample, start = columns[schema.SAMPLE], columns[schema.START]
    return pl.DataFrame(
        {
            schema.SAMPLE: there[sample],
            schema.START: there[start],
            schema.RUN_LENGTH: sample - start + 1,
            schema.PROBABILITY: columns[schema.PROBABILITY],
        }
    )
