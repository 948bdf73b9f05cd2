"""Phase-change windows: smooth, then steep between a start and an end, then smooth again."""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow import _core, schema
from phaseflow.changepoint.panel import by_present_samples, sample_vector, series_rows, stretch_table
from phaseflow.changepoint.variance import noise_variance, other_variances
from phaseflow.discovery import check_rate, discoveries
from phaseflow.exceptions import UnknownNameError

if TYPE_CHECKING:
    import polars as pl

_KEPT_GRIDS = 16
_NOTHING = 1e-300  # a level at which no window is worth describing
_COLUMNS = (
    *(
        name
        for column in (schema.START, schema.END, schema.SIZE)
        for name in (column, schema.lower(column), schema.upper(column))
    ),
    schema.P_VALUE,
)


def detect_windows(
    signal: ArrayLike,
    *,
    x: ArrayLike | None = None,
    scale: str = "log",
    base: str = "decay",
    level: float = 0.05,
    fdr: float | None = None,
    variance: ArrayLike | Literal["auto"] | None = None,
    max_windows: int = 3,
    min_size: float = 0.0,
    max_width: float | None = None,
    flank: int = 3,
    simulations: int = 1000,
    seed: int = 0,
    threads: int | None = None,
) -> "pl.DataFrame":
    """Where a learning curve changes faster than smooth learning does: start, end and size, each with its certainty.

    A curve is modelled as a smooth base, plus ``size * shape((u - start) / (end - start))`` with a shape that rises
    from 0 to 1, plus noise that may be correlated from one checkpoint to the next. Every pair of checkpoints is tried
    as (start, end) by generalised least squares; the largest improvement is held against its distribution on simulated
    curves without a window, on the same checkpoints and with the same estimated noise.

    Parameters
    ----------
    signal
        ``(sample,)`` or ``(series, sample)``: one value a checkpoint; at least 12 that are not NaN. NaN means that the
        checkpoint is missing for that series; infinities are refused.
    x
        ``(sample,)``: the step (or tokens seen) of every checkpoint, strictly increasing. Without it the checkpoints
        are numbered 1, 2, 3, ...
    scale
        ``"log"``: the model is smooth, and a window has its width, in log10(x); needs ``x > 0``, so leave out step 0.
        ``"linear"``: in x itself.
    base
        What smooth learning may look like. ``"decay"``: the span of 1, u, x^-1/4, x^-1/2 (u is log10(x) or x) plus a
        mixture of exponential relaxations exp(-rate x) whose weights are random with one estimated variance; it
        follows power laws, exponentials and their sums however small the noise, and calls a window only what is
        sharper in log x than one relaxation (10 to 90 % within 1.34 decades); and bends from 0.7 and 0.85 of the run
        on that last to its end, as a decaying learning rate makes them. ``"power"``: power laws and lines alone.
        ``"cubic"``, ``"line"``, ``"constant"``: a polynomial in u.
    level
        False-alarm rate of one series, above 0 and at most 1.
    fdr
        With several series: keep the windows of those series only whose p-values pass Benjamini and Hochberg's
        procedure at this false-discovery rate.
    variance
        ``(sample,)``: the noise variance of every checkpoint, where it changes along the curve. Only its shape counts;
        its scale is estimated from the curve. ``"auto"``: read off each curve, as a power of its level or of x; a
        window must be one with every power that the curve allows, and its p-value is the largest. A curve whose noise
        is not even, or that has a window, is held against simulations of its own, half a second or so for each. None:
        the noise is taken for equally strong everywhere, and where it is not, p-values are far too small.
    max_windows
        Most windows of one series.
    min_size
        Smallest absolute size to report, in units of the signal. A curve with very small noise has windows that are
        certain and of no interest.
    max_width
        Widest window, in decades of x (scale ``"log"``) or in x.
    flank
        Checkpoints that must lie before a start and after an end.
    simulations
        Simulated curves for each noise level that occurs, at least 100. They are kept between calls with the same x.
    seed
        Seed of those.
    threads
        Number of threads, all by default. The result does not depend on it.

    Returns
    -------
    polars.DataFrame
        One row a window, by series and start: ``series`` (0 for a single curve); ``start`` and ``end`` in units of
        ``x``, where the steepest tangent of the window meets its lower and upper level; ``size`` in units of the
        signal, negative for a drop; ``*_lower`` and ``*_upper``, their 95 % profile-likelihood intervals; ``p_value``.
        The two answer different questions: ``p_value`` whether any window is needed, the intervals which windows that
        overlap this one fit nearly as well. Some of those may be of the other sign, so that the interval of ``size``
        can hold 0 beside a small ``p_value``.

    Raises
    ------
    ShapeError
        ``signal`` has no or more than two axes, fewer than 12 samples, or does not fit ``x`` or ``variance``.
    NotFiniteError
        An infinity in ``signal``, a NaN or an infinity in ``x``.
    ParameterError
        ``x`` does not increase or has no logarithm; a parameter is out of its range.
    UnknownNameError
        ``variance`` is a word other than "auto".

    Notes
    -----
    The noise is AR(1) by checkpoint. Its coefficient is chosen by restricted maximum likelihood with and without the
    window, and so is the relaxations' variance for windows of at most 0.35 decades; for wider ones, which could stand
    in for a relaxation, that is ten times the likeliest without a window. The simulated curves go through the same. A
    p-value below about ``1 / simulations`` is an extrapolation by an exponential tail and says "very small", not how
    small.

    At level 0.05 a window is found in .02 to .14 of smooth curves, .05 to .07 on average: power laws, exponentials,
    sums, saturating curves of any time scale, a learning rate that decays at the end; log-spaced, mixed and even
    grids; independent and AR(1) noise (up to .17 evenly spaced with very small noise, and in .85 of runs of 10,000 even
    samples whose learning rate decays from 0.8 of them on). In noise proportional to a
    level that falls sixty-fold, in .07 to .83, in .02 to .12 with ``variance`` given, and in .02 to .12 (mean .04) with
    ``"auto"``. docs/window-calibration.md
    has the tables, with power and coverage.

    A window says that the curve is steeper there than any mixture of relaxations makes it, not why: the end of
    warm-up or a change of learning rate gives one too. Several windows of one curve are found one after the other, so a
    second, smaller one raises the noise estimate while the first is tested.

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> step = np.logspace(1, 4, 120)
    >>> noise = np.random.default_rng(0).normal(0, 0.02, 120)
    >>> drop = np.clip((np.log10(step) - 2.5) / 0.3, 0, 1)
    >>> found = pf.detect_windows(step**-0.3 - 0.4 * drop + noise, x=step)
    >>> len(found), bool(found["p_value"][0] < 0.001)
    (1, True)
    """
    rows = series_rows("signal", signal)
    n_samples = rows.shape[1]
    steps = np.arange(1.0, n_samples + 1.0) if x is None else sample_vector("x", x, "signal", n_samples)
    read_off = isinstance(variance, str)
    if read_off and variance != "auto":
        raise UnknownNameError(f"variance is {variance!r}, expected 'auto', an array (sample,) or None")
    given = None if variance is None or read_off else sample_vector("variance", variance, "signal", n_samples)
    check_rate("fdr", fdr)

    def detector(x: NDArray[np.float64], shape: NDArray[np.float64] | None) -> "_core.WindowDetector":
        known = None if shape is None else shape.tobytes()
        kept = _grid_of_one_curve if read_off and known is not None else _grid
        return kept(x.tobytes(), known, scale, base, flank, max_width, simulations, seed)

    tables, p_values = [], np.ones(len(rows))
    for members, present in by_present_samples(rows):
        x_of_group = steps[present]
        axis = np.log10(x_of_group) if scale == "log" and (x_of_group > 0).all() else x_of_group  # or refused
        group = rows[np.ix_(members, present)]
        shapes = (
            _by_variance(group, axis)
            if read_off
            else [(np.arange(len(group)), None if given is None else given[present])]
        )
        for part, shape in shapes:
            curves = np.ascontiguousarray(group[part])
            columns, own = detector(x_of_group, shape).detect(
                curves, level=level, max_windows=max_windows, min_size=min_size, threads=threads
            )
            if read_off:
                for series in np.flatnonzero(own <= level):
                    curve = curves[series : series + 1]
                    for other in other_variances(axis, curve[0]):
                        again = detector(x_of_group, other).detect(
                            curve, level=_NOTHING, max_windows=1, min_size=0.0, threads=threads
                        )[1]
                        own[series] = max(own[series], again[0])
                        if own[series] > level:
                            break
                columns = _still_sure(columns, own, level)
            p_values[members[part]] = own
            columns[schema.SERIES] = members[part][columns[schema.SERIES]]
            tables.append(columns)
    return stretch_table(tables, _COLUMNS, None if fdr is None else discoveries(p_values, fdr))


def _by_variance(
    rows: NDArray[np.float64], axis: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64] | None]]:
    """Rows whose noise is the same everywhere, then each of the others with its own variance."""
    shapes = [noise_variance(axis, row) for row in rows]
    flat = np.array([np.ptp(shape) == 0.0 for shape in shapes])
    if flat.any():
        yield np.flatnonzero(flat), None
    for series in np.flatnonzero(~flat):
        yield np.array([series]), shapes[series]


def _still_sure(columns: dict[str, NDArray[Any]], least: NDArray[np.float64], level: float) -> dict[str, NDArray[Any]]:
    """The windows that are sure enough once no p-value is below ``least`` of its series."""
    p_values = np.maximum(columns[schema.P_VALUE], least[columns[schema.SERIES]])
    return {name: values[p_values <= level] for name, values in (columns | {schema.P_VALUE: p_values}).items()}


def _new_grid(
    x: bytes,
    variance: bytes | None,
    scale: str,
    base: str,
    flank: int,
    max_width: float | None,
    simulations: int,
    seed: int,
) -> "_core.WindowDetector":
    return _core.WindowDetector(
        np.frombuffer(x),
        None if variance is None else np.frombuffer(variance),
        scale=scale,
        base=base,
        flank=flank,
        max_width=max_width,
        simulations=simulations,
        seed=seed,
    )


_grid = lru_cache(maxsize=_KEPT_GRIDS)(_new_grid)
# Variances read off curves are seldom met again: they must not push out the grids that all curves share.
_grid_of_one_curve = lru_cache(maxsize=_KEPT_GRIDS)(_new_grid)
