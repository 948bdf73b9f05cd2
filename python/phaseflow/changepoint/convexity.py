"""Where a learning curve is not convex: the bump of the loss curve, with a test that knows the noise."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow import _core, schema
from phaseflow.changepoint.arguments import check_counts, check_numbers
from phaseflow.changepoint.panel import by_present_samples, sample_vector, series_rows, stretch_table
from phaseflow.changepoint.spikes import drawn_in
from phaseflow.discovery import check_rate, discoveries
from phaseflow.exceptions import NotFiniteError

if TYPE_CHECKING:
    import polars as pl

_KEPT_GRIDS = 16
_LARGEST = 1e300
_COLUMNS = (schema.START, schema.END, schema.SIZE, schema.STANDARD_ERROR, schema.P_VALUE)


def non_convexity(
    curve: ArrayLike,
    *,
    x: ArrayLike | None = None,
    level: float = 0.05,
    fdr: float | None = None,
    variance: ArrayLike | None = None,
    simulations: int = 1000,
    seed: int = 0,
    threads: int | None = None,
) -> "pl.DataFrame":
    """Stretches where a learning curve is not convex: from where to where, how far above a chord, how sure.

    Smooth learning curves are convex: they fall ever more slowly. Where one bends down instead, something new is being
    learned; Olsson 2022 takes the bump of the loss curve, the only place in training where it is not convex, for the
    phase change. Here every three neighbouring blocks of samples, of all lengths, are compared: the middle one's
    mean with the straight line between its neighbours' means. Only where it lies above beyond what noise explains the
    curve is called not convex.

    Parameters
    ----------
    curve
        ``(sample,)`` or ``(series, sample)``: one value a checkpoint; at least 12 that are not NaN. NaN means that the
        checkpoint is missing for that series; infinities are refused.
    x
        ``(sample,)``, increasing: steps, tokens seen, or the logarithm of either; without it samples are evenly spaced.
        What is convex depends on it: a power law is convex in steps and in their logarithm, ``exp(-step)`` in
        steps alone.
    level
        False-alarm rate of one series, above 0 and at most 1.
    fdr
        With several series: keep the stretches of those series only whose p-values pass Benjamini and Hochberg's
        procedure at this false-discovery rate.
    variance
        ``(sample,)``: the noise variance of every sample, where it is known how it changes along the curve. Only its
        shape counts; its scale is estimated from the curve.
    simulations
        Simulated convex curves for each correlation that the noise may have, at least 100. They are kept between calls
        with the same x.
    seed
        Seed of those.
    threads
        Number of threads, all by default. The result does not depend on it.

    Returns
    -------
    polars.DataFrame
        One row a stretch, by series and start: ``series`` (0 for a single curve); ``start`` and ``end``, values of
        ``x`` at samples: the curve is not convex somewhere from the one to the other; ``size``, how far it lies above a
        chord there (of the surest comparison), and its ``standard_error``, both in units of the curve; ``p_value``.

    Raises
    ------
    ShapeError
        ``curve`` has no or more than two axes, fewer than 12 samples, or does not fit ``x`` or ``variance``.
    NotFiniteError
        An infinity in ``curve`` or a value beyond 1e300 there or in ``variance``, a NaN or an infinity in ``x``.
    ParameterError
        ``x`` does not increase; a parameter is out of its range.

    Notes
    -----
    The weights of such a comparison have the signs -, +, - and vanish on straight lines, so on any convex curve its
    mean is at most 0, and 0 on a line. Of all convex curves a straight line gives the most false alarms; with the noise
    known, a threshold simulated on lines holds for all of them, all comparisons together. As the noise is not known,
    lines with a sharp corner after a steep fall are simulated as well, beside which its estimate is worst, and the
    larger p-value counts. Every row holds at the same time with that confidence.

    The noise is estimated: AR(1) by sample, its deviation changing slowly along the curve or in proportion to its
    level (above the lowest, plus an offset). Over the coefficients that a curve cannot tell apart the p-value is
    averaged, so short curves with a few sharp corners are judged with caution.

    Simulated at level 0.05 on 15 convex courses and grids (lines, power laws, exponentials, kinks), 300 curves each,
    with 30, 60 and 100 samples and noise that is independent, AR(1) of coefficient 0.5 or 0.8, or in proportion to the
    level: stretches were found in .00 to .04 of the curves on average over the courses, in .06 at the worst. Short
    curves pay for it: a drop of 12 deviations of independent noise over a tenth of a uniform grid was found at its
    corner in .3 to .4 of curves with 30 samples, .8 to .9 with 100, all with 300. Correlation must be told from few
    samples: at 0.8 a hundred show a drop of 25 deviations in .8, three hundred in all.
    docs/convexity-calibration.md has the table.

    A loss spike is no bump: samples further off the median of five around them than four mean distances are drawn in
    to those first, so a bump must last three samples. One sample off by 6 or 10 deviations then makes a stretch in .01
    to .04 of the curves, in .12 of those with 30 log-spaced samples (else in .4 to 1), and noise of Student's t with 5
    or 3 degrees of freedom in .01 to .05 or .01 to .08 (else in .07 to .7), of 30 to 200 samples. In normal noise what
    is found of drops stays the same.

    A stretch says that the curve bends down, not why: a learning rate that is lowered does it too, and so does
    an end of warm-up.

    References
    ----------
    Olsson 2022, *In-context Learning and Induction Heads*, arXiv 2209.11895.
    Dümbgen and Walther 2008, *Multiscale inference about a density*, for the intervals.

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> step = np.linspace(10, 5000, 200)
    >>> smooth = 3 + 4 * step**-0.3 + np.random.default_rng(0).normal(0, 0.005, 200)
    >>> pf.non_convexity(smooth, x=step).height
    0
    >>> found = pf.non_convexity(smooth - 0.1 * np.clip((step - 2000) / 500, 0, 1), x=step)
    >>> found.height, bool(found["start"][0] < 2000 < found["end"][0])
    (1, True)
    """
    rows = series_rows("curve", curve)
    n_samples = rows.shape[1]
    axis = np.arange(n_samples, dtype=np.float64) if x is None else sample_vector("x", x, "curve", n_samples)
    shape = None if variance is None else sample_vector("variance", variance, "curve", n_samples)
    _check_size("curve", rows)
    if shape is not None:
        _check_size("variance", shape)
    check_numbers("fdr", level=level, fdr=fdr)
    check_rate("fdr", fdr)
    check_counts("threads", simulations=simulations, seed=seed, threads=threads)
    p_values = np.ones(len(rows))
    tables = []
    for members, present in by_present_samples("curve", rows):
        known = None if shape is None else shape[present].tobytes()
        test = _test(axis[present].tobytes(), known, simulations, seed)
        curves = drawn_in(rows[np.ix_(members, present)], None if shape is None else np.sqrt(shape[present]))
        columns, p_values[members] = test.bumps(curves, level=level, threads=threads)
        columns[schema.SERIES] = members[columns[schema.SERIES]]
        for edge in (schema.START, schema.END):
            columns[edge] = axis[present][columns[edge]]
        tables.append(columns)
    return stretch_table(tables, _COLUMNS, None if fdr is None else discoveries(p_values, fdr))


def _check_size(argument: str, values: NDArray[np.float64]) -> None:
    """Refuses what has no differences or squares."""
    far = np.flatnonzero(np.abs(values) > _LARGEST)
    if far.size:
        raise NotFiniteError(f"{argument} holds {values.flat[far[0]]:g}, expected values up to {_LARGEST:g} in size")


@lru_cache(maxsize=_KEPT_GRIDS)
def _test(x: bytes, variance: bytes | None, simulations: int, seed: int) -> "_core.ConvexityTest":
    shape = None if variance is None else np.frombuffer(variance)
    return _core.ConvexityTest(np.frombuffer(x), shape, simulations=simulations, seed=seed)
