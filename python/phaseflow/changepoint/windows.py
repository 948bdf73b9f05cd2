"""Phase-change windows: smooth, then steep between a start and an end, then smooth again."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow import _core, schema
from phaseflow.changepoint.arguments import check_counts, check_names, check_numbers
from phaseflow.changepoint.grids import Options, grid, grid_of_curves
from phaseflow.changepoint.panel import LEAST_SAMPLES, by_present_samples, sample_vector, series_rows, stretch_table
from phaseflow.changepoint.uneven import UnevenPanel
from phaseflow.discovery import check_rate, discoveries
from phaseflow.exceptions import UnknownNameError

if TYPE_CHECKING:
    import polars as pl

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
    variance: ArrayLike | Literal["auto"] | None = "auto",
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
        How strong the noise is along the curve. ``"auto"``: read off each curve, and a window must be one in all noise
        that the curve allows; its p-value is the largest. ``(sample,)``: the noise variance of every checkpoint, where
        it is known. Only its shape counts; its scale is estimated from the curve. None: equally strong everywhere,
        known beforehand; where it is not (that of a loss shrinks with the loss), p-values are far too small.
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

    With ``variance="auto"`` the noise's log variance is a multiple of a straight line or of a step along the axis, or
    none: whichever makes likeliest what the curve has beside its windows. A curve without a window in even noise, or
    in that which its neighbouring samples clearly show, is left at that: its p-value could only grow. A significant
    window is tried with the multiple at both ends of its 90 % interval and, unless that is ruled out, in even noise;
    with few samples also in the noise that neighbours show, and below 20 in even noise alone. The p-values that reach
    the table, or decide on ``fdr``, have gone through all of that.

    At level 0.05 a window is found in .00 to .10 of smooth curves, .03 on average: power laws, exponentials, sums,
    saturating curves, a learning rate that decays at the end; independent and AR(1) noise, and noise in proportion to
    a level that falls forty-fold; 30 to 10,000 samples, evenly or log-spaced (.02 to .09, .07 on average, in noise
    with the level on a grid spaced in two ways; up to .17 known, evenly spaced with very small noise). With
    ``variance=None`` that is .04 to .85 in noise with the level. Reading the variance off costs a drop of 5 deviations
    among 120 even or log-spaced checkpoints in even noise .03 to .11 of its power. docs/window-calibration.md has the
    tables, with coverage.

    A window that starts in the last half of the run must make the curve likelier than one more bend from its best place
    to the end of the run does: a learning rate that decays bends the curve so.

    A window says that the curve is steeper there than any mixture of relaxations makes it, not why: the end of
    warm-up or a change of learning rate gives one too. Several windows of one curve are found one after the other, so a
    second, smaller one raises the noise estimate while the first is tested. A further one is tested beside those before
    it, in noise with three degrees of freedom fewer for each of them. With ``variance="auto"`` it must be one in all
    noise tried too: its p-value is the largest of the windows there that overlap it, and it is none where nothing does.
    Beside one true drop, smooth else, a second window is found at level 0.05 in .02 of curves on average (.15 in the
    worst of 96 settings: noise with the level, a drop of 200 deviations); with ``variance=None``, in even noise, in .04
    (.09).

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
    check_names(scale=scale, base=base)
    check_numbers("fdr", "max_width", level=level, fdr=fdr, min_size=min_size, max_width=max_width)
    check_counts("threads", max_windows=max_windows, flank=flank, simulations=simulations, seed=seed, threads=threads)
    rows = series_rows("signal", signal)
    n_samples = rows.shape[1]
    steps = np.arange(1.0, n_samples + 1.0) if x is None else sample_vector("x", x, "signal", n_samples)
    read_off = isinstance(variance, str)
    if read_off and variance != "auto":
        raise UnknownNameError(f"variance is {variance!r}, expected 'auto', an array (sample,) or None")
    given = None if variance is None or read_off else sample_vector("variance", variance, "signal", n_samples)
    check_rate("fdr", fdr)

    options = Options(scale, base, flank, max_width, simulations, seed)
    limits: dict[str, Any] = {"max_windows": max_windows, "min_size": min_size, "threads": threads}
    p_values = np.ones(len(rows))
    if not len(rows) and n_samples >= least_samples(flank):
        grid(steps, None, options).detect(rows, level=level, **limits)  # no curve is at fault where an option is
    panels, tables = [], []
    for members, present in by_present_samples("signal", rows, least_samples(flank)):
        x_of_group = steps[present]
        curves = np.ascontiguousarray(rows[np.ix_(members, present)])
        if read_off:
            panel = _uneven_panel(curves, x_of_group, options, level, limits)
            p_values[members] = panel.p_values
            panels.append((members, panel))
        else:
            shape = None if given is None else given[present]
            columns, p_values[members], *_ = grid(x_of_group, shape, options).detect(curves, level=level, **limits)
            tables.append(columns | {schema.SERIES: members[columns[schema.SERIES]]})
    if panels:
        # Raising p-values never adds a discovery: what is none now need not be looked at further.
        sure = p_values <= level if fdr is None else discoveries(_no_smaller(p_values, level), fdr)
        for members, panel in panels:
            panel.hold_against_all(np.flatnonzero(sure[members]))
            p_values[members] = panel.p_values
            for table in panel.tables:
                table[schema.SERIES] = members[table[schema.SERIES]]
                tables.append(_still_sure(table, p_values, level))
        p_values = _no_smaller(p_values, level)
    return stretch_table(tables, _COLUMNS, None if fdr is None else discoveries(p_values, fdr))


def least_samples(flank: int) -> int:
    """Fewest samples of a curve that a window is looked for in: room for both flanks and the window."""
    return max(LEAST_SAMPLES, 2 * flank + 6)


def _uneven_panel(
    curves: NDArray[np.float64], x: NDArray[np.float64], options: Options, level: float, limits: dict[str, Any]
) -> UnevenPanel:
    def make(
        variance: NDArray[np.float64] | None, thresholds_of: "_core.WindowDetector | None"
    ) -> "_core.WindowDetector":
        return grid(x, None, options) if variance is None else grid_of_curves(x, variance, options, thresholds_of)

    axis = np.log10(x) if options.scale == "log" and (x > 0).all() else x  # or refused
    return UnevenPanel(curves, axis, make, level, **limits)


def _no_smaller(p_values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Those above the level may be larger than they were found: 1."""
    return np.where(p_values <= level, p_values, 1.0)


def _still_sure(columns: dict[str, NDArray[Any]], least: NDArray[np.float64], level: float) -> dict[str, NDArray[Any]]:
    """The windows that are sure enough once no p-value is below ``least`` of its series."""
    p_values = np.maximum(columns[schema.P_VALUE], least[columns[schema.SERIES]])
    return {name: values[p_values <= level] for name, values in (columns | {schema.P_VALUE: p_values}).items()}
