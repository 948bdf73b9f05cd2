"""Changepoints of a signal: cost, search and penalty, freely combined where the search is exact for the cost."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow import _core
from phaseflow.changepoint.arguments import check_counts, check_names, check_numbers, check_penalty, float_array
from phaseflow.changepoint.segmentation import Segmentation
from phaseflow.exceptions import NotFiniteError, ParameterError, ShapeError

_INDEPENDENT = "noise independent between samples and equally strong everywhere"
_LASTING = (
    "noise autocorrelated as AR(1), coefficient {:.2f} estimated, and everywhere as strong as in its strongest stretch"
    "; of p-values and intervals, that AR(1) noise is equally strong between neighbours"
)
_DISPERSED = ", and counts that vary around their rate by one factor more than Poisson's law lets them"
_PREDICTED = "that what the prediction leaves is independent between samples and equally strong everywhere"
_GIVEN = "that the {} is right for this signal's noise"


def detect(
    signal: ArrayLike,
    *,
    x: ArrayLike | None = None,
    cost: str = "l2",
    search: str = "auto",
    penalty: float | str = "auto",
    n_changepoints: int | None = None,
    min_size: int = 1,
    jump: int = 1,
    width: int | None = None,
    shape: str = "any",
    order: int = 1,
    level: float = 0.95,
    threads: int | None = None,
) -> Segmentation:
    """The segmentation with the least sum of segment costs plus ``penalty`` times the number of changepoints.

    Parameters
    ----------
    signal
        ``(sample,)`` or ``(sample, feature)``. A sample with a NaN or None, or masked, is missing and left out;
        infinities are refused. An offset or a change of unit changes no changepoint, but for ``"poisson"`` and
        ``"cosine"``, which have a zero.
    x
        ``(sample,)``: axis of the lines, strictly increasing, evenly spaced or not (step, tokens, or their log). The
        sample number without it. Costs of levels do not look at it.
    cost
        What a segment costs; several features add up unless said otherwise.

        * ``"l2"``: squared distance from the segment's mean, for changes of level. (The kernel "linear" is this.)
        * ``"l1"``: absolute distance from its median, for heavy-tailed noise.
        * ``"biweight"``: squared distance from its level, but never more than 3 standard deviations of the noise
          squared: single wild samples count little. For scores that jump and stay; one feature only.
        * ``"normal"``: ``count * ln det(covariance)``, for changes of level, spread or correlation.
        * ``"variance"``: the same about one mean for all segments, for changes of spread or correlation alone.
        * ``"poisson"``: twice the negative log-likelihood of counts, for changes of rate; they may add up to 2**40.
        * ``"linear"``: squared distance from the segment's own least-squares line in x.
        * ``"clinear"``: the same where neighbouring lines meet at the changepoint, for kinks; one feature only.
        * ``"ar"``: squared distance from the segment's own linear prediction by the ``order`` samples before, for
          changes of dynamics. No sample between others may be missing.
        * ``"rank"``: l2 of the ranks in uncorrelated coordinates, for changes of level whatever the distribution.
        * ``"cosine"``: l2 of the samples over their lengths, for changes of direction.
        * ``"rbf"``: l2 in the space of the Gaussian kernel, its width from the median distance, for changes of any
          property; quadratic in the samples.
    search
        Exact: ``"optimal"``, every pair of samples, quadratic; ``"pelt"``, the same with pruning; ``"functional"``,
        functional pruning, linear in practice, for ``"clinear"``, ``"biweight"``, and for ``"l2"``, ``"rank"`` and
        ``"cosine"`` of one feature with ``min_size=1`` and ``jump=1``. ``"auto"``: the fastest exact one for the cost.
        Approximate: ``"binseg"`` cuts where it gains most, again and again; ``"bottom-up"`` joins where it costs least;
        ``"seeded"`` takes the best cuts of a fixed set of overlapping intervals, the narrowest over the penalty first
        (of a given number, those that gain most), and leaves out what is not worth the penalty between its neighbours;
        ``"window"`` those places where a sliding window is cut best.
    penalty
        ``"auto"``: BIC in the long-run variance of noise that may be autocorrelated and stronger in places (Notes).
        ``"bic"``, ``"aic"``, ``"hannan-quinn"``, ``"mbic"``: that criterion for independent noise, its variance from
        differences of neighbouring samples where the cost is no likelihood by itself; ``"mbic"`` also charges for the
        length of each segment, so it needs a cost of segments. A number: that value, in the unit of the cost, which is
        what ruptures' ``pen`` is.
    n_changepoints
        Exactly so many; ``penalty`` is then not used.
    min_size
        Least samples of a segment; raised to one more than the number of features for ``"normal"`` and
        ``"variance"``, and to two more than the order for ``"ar"``. Penalty ``"auto"`` believes no shorter segments
        than four more than the number of features for ``"normal"``, two more for ``"variance"``, and two samples for
        ``"l1"``.
    jump
        Changepoints are multiples of this.
    width
        Samples that ``"window"`` looks at, half on either side; 100 without it, or a fifth of the samples where that is
        less.
    shape
        Which way levels may change: ``"any"``; ``"down"`` or ``"up"`` only; ``"up-down"``, up any number of times, then
        down (a bump); ``"down-up"``. Exact, for cost ``"l2"`` of one feature with a penalty, ``min_size=1`` and
        ``jump=1``.
    order
        Samples that cost ``"ar"`` predicts each sample from, 1 to 32; others do not look at it.
    level
        Confidence of the intervals in the result, between 0 and 1.
    threads
        Accepted for symmetry with the other functions; one signal is searched by one thread.

    Returns
    -------
    Segmentation
        Changepoints, segments and costs; for each changepoint an interval of its place, a p-value, and what of its cost
        changed by how much. It prints as a table; :meth:`Segmentation.to_polars`, :meth:`Segmentation.changes` and
        :meth:`Segmentation.effects` make it one, :meth:`Segmentation.plot` a figure.

    Raises
    ------
    DtypeError
        ``signal`` or ``x`` holds what is no real number: text, dates, durations, complex numbers, other objects.
    ShapeError
        ``signal`` has no samples, none without a NaN, or not one or two axes, is ragged, or does not fit ``x``.
    NotFiniteError
        An infinity in ``signal``, a NaN or an infinity in ``x``, or a NaN between samples for cost ``"ar"``, named by
        its index.
    ParameterError
        A search that does not fit the cost, negative counts, a direction of length 0, more changepoints than fit, or a
        parameter out of its range.
    UnknownNameError
        A cost, search or criterion that does not exist.

    Notes
    -----
    BIC, mBIC, AIC and Hannan-Quinn assume independent noise of equal variance, which a learning curve seldom has: in
    200 samples of AR(1) noise without a change, cost l2, BIC finds one in .76, .99, 1.00 and 1.00 of signals at
    coefficient .3, .5, .8 and .9, and in .85 where the noise falls from 2 to 1/2 along the signal. That is why it is
    not the default. ``"auto"`` finds one in .03, .03, .08, .11 and .10, and in .00 of signals with independent noise
    (BIC: .05), and still finds a step of 8 standard errors in .75 to 1.00 (benches/penalty_calibration.py). It fits
    AR(1) noise to the variance of differences at lags of 1 to 4 samples, which changes hardly reach, charges BIC in the
    long-run variance ``variance * (1 + rho) / (1 - rho)``, and takes the noise everywhere for as strong as in the
    strongest of up to 8 stretches. Costs that are likelihoods are charged ``(1 + rho) / (1 - rho)`` times as much, and
    "poisson" also by as much as neighbouring counts vary more than Poisson's law lets them. With fewer than 20 samples
    autocorrelation cannot be told, and noise that lasts is taken for changes. What few samples do to BIC itself "auto"
    makes up for: it charges no less than for 30, and where the variance is guessed from d differences, as the
    likelihood of an unknown variance does, ``f (exp(c / f) - 1)`` variances for a charge of c, f = d/3 degrees of
    freedom. (Neither where most neighbours are equal, whose differences then hold the changes; and from "biweight" no
    more than .9 of what a clear step in the middle can gain.) Of 6 to 200 samples of independent noise a change is
    found in .00 to .07, whatever the cost ("bic": l2 .28 to .06, normal .56 to .11; docs/changepoints.md). The result's
    ``assumption`` says what was assumed.

    Counts are taken to vary around a constant rate between changes. Overdispersed ones do (negative binomial: a change
    is found in .07 to .13 of series without one, and charged as Poisson's in .57 to 1). Where the rate itself wanders,
    as AR(1) with coefficient .5, .8 or .9, p-values of "poisson" are at most .05 in .08 to .19, .25 to .41 or .47 to
    .78 of such series (docs/changepoints.md).

    What drifts has a long-run variance so large that nothing is found: a drift cannot be told from noise that lasts. A
    smooth decay is no piecewise constant either: for "is there a phase change in this curve" use
    :func:`detect_windows`; for a series that drifts by itself, cost ``"ar"``. Its prediction by the sample before, the
    AR(1) of "auto" and of :func:`detect_windows`, takes drift and autocorrelation up, and what it leaves is what BIC
    is made for: with this cost "auto" is "bic". It needs no other setting: with all defaults, cost ``"ar"`` scores
    mean F1 .759 and cover .719 on the 11 univariate series of the Turing Change Point Dataset that the tests hold,
    where the best published method with its defaults has .687 (binary segmentation) and .704 (at most one change), and
    finding nothing .675 and .595. (With "auto", l2 scores .665 and .640 there, and linear, clinear and normal find
    nothing at all.)

    BIC charges ``ln(n)`` for every parameter a changepoint adds, in units of twice the log-likelihood: its place, and a
    level, a slope (clinear), both (linear), mean and covariance (normal), covariance (variance), or ``order``
    coefficients and a level (ar) for every feature; for rbf, one more. mBIC charges ``2 ln(n)`` for a place and
    ``ln(length)`` for each parameter of a segment. For the squared costs that unit is the noise variance (ar: the mean
    square of what one prediction of the whole signal leaves); for l1 half the scale of Laplace noise of that variance,
    whose likelihood it is, and with "auto" 1.8 times as much, ``sqrt(2 pi) / 4`` of the deviation, which is what a
    median gains in normal noise, times the long-run variance of its signs; for rbf, as a rule of thumb, half the mean
    squared distance of neighbours in the kernel's space.

    Certainty is that of each changepoint between its neighbours, which are taken as given; that the signal was
    searched for it counts in the p-value and in the interval of the place, not in that of the size. With penalty
    "auto" all three hold in the AR(1) noise that the penalty was made for (docs/changepoints.md has their size and
    coverage); with the criteria of the textbooks, a given penalty or number, in independent noise. The place: the
    profile of the cost against the cut of Hansen 2000, for every cost but rbf; it holds the place in .94 to 1.00 of
    simulated signals at level .95, less often where the cost is wrong about the noise (docs/changepoints.md).

    PELT: Killick, Fearnhead and Eckley 2012, with pruning delayed so that it stays exact for ``min_size > 1``, and with
    room for the lengths of mBIC (Zhang and Siegmund 2007), which a split may raise. Noise seen through changes: Chakar,
    Lebarbier, Lévy-Leduc and Robin 2017; Romano, Rigaill, Runge and Fearnhead 2022. Autoregressions by segments: Davis,
    Lee and Rodriguez-Yam 2006.
    Functional pruning: FPOP, Maidstone, Hocking, Rigaill and Fearnhead 2017; for the biweight loss Fearnhead and
    Rigaill 2019; shapes: Hocking, Rigaill, Fearnhead and Bourque 2020; seeded intervals: Kovács, Bühlmann, Li and Munk
    2023, narrowest over threshold: Baranowski, Chen and Fryzlewicz 2019; continuous lines: CPOP, Fearnhead, Maidstone
    and Letchford 2019. Kernels: Arlot, Celisse and Harchaoui 2019. Ranks: Lung-Yut-Fong, Lévy-Leduc and Cappé 2015.

    Examples
    --------
    >>> import phaseflow as pf
    >>> pf.detect([0.0, 0.1, 0.0, 5.0, 5.1, 4.9], penalty=1.0).changepoints
    array([3])
    """
    values = float_array("signal", signal)
    if values.ndim not in (1, 2):
        raise ShapeError(f"signal must have axes (sample,) or (sample, feature), got {values.ndim} axes")
    features = values if values.ndim == 2 else values[:, None]
    axis = np.arange(len(features), dtype=np.float64) if x is None else float_array("x", x)
    if axis.shape != (len(features),):
        raise ShapeError(f"x has shape {axis.shape}, expected ({len(features)},), one for every sample of signal")
    check_counts("n_changepoints", "width", "threads", n_changepoints=n_changepoints, width=width, threads=threads)
    check_counts(min_size=min_size, jump=jump, order=order)
    check_penalty(penalty)
    check_names(cost=cost, search=search, shape=shape)
    check_numbers(level=level)
    if not 0 < level < 1:
        raise ParameterError(f"level is {level}, expected between 0 and 1")
    there = None if np.isfinite(features).all() else _present(features, cost)
    changepoints, costs, price, noise_variance, autocorrelation, ran = _core.detect(
        axis if there is None else axis[there],
        features if there is None else features[there],
        cost=cost,
        search=search,
        penalty=penalty,
        n_changepoints=n_changepoints,
        min_size=min_size,
        jump=jump,
        width=width,
        shape=shape,
        order=order,
        threads=threads,
    )
    changepoints = changepoints if there is None else np.flatnonzero(there)[changepoints]
    if n_changepoints is not None:
        criterion, assumption = "number given", _GIVEN.format("given number of changepoints")
    elif isinstance(penalty, str):
        assumed = _INDEPENDENT if autocorrelation is None else _LASTING.format(autocorrelation)
        if cost == "poisson" and penalty == "auto":
            assumed += _DISPERSED
        criterion, assumption = penalty, _PREDICTED if cost == "ar" else assumed
    else:
        criterion, assumption = "given", _GIVEN.format("given penalty")
    if shape != "any":
        assumption += f", and levels that only go {shape}"
    return Segmentation(
        changepoints=changepoints,
        x=axis,
        signal=features.copy(),
        costs=costs,
        level=level,
        min_size=_core.least_segment(
            cost=cost,
            penalty=penalty,
            n_changepoints=n_changepoints,
            min_size=min_size,
            order=order,
            features=features.shape[1],
        ),
        order=order,
        penalty=price,
        noise_variance=noise_variance,
        autocorrelation=autocorrelation,
        cost_name=cost,
        search=ran,
        criterion=criterion,
        assumption=assumption,
    )


def _present(features: NDArray[np.float64], cost: str) -> NDArray[np.bool_]:
    """Which samples have no NaN, if some have and the cost can do without the others."""
    there: NDArray[np.bool_] = np.logical_not(np.isnan(features).any(axis=1))
    if not there.any():
        raise ShapeError("signal has a NaN at every sample, needs at least 1 without")
    if np.isinf(features).any():
        sample, feature = np.argwhere(np.isinf(features))[0]
        raise NotFiniteError(f"signal[{sample}, {feature}] is {features[sample, feature]}, expected a number or NaN")
    if cost == "ar":
        first, last = np.flatnonzero(there)[[0, -1]]
        if not there[first : last + 1].all():
            gap = first + int(np.argmin(there[first:]))
            raise NotFiniteError(
                f'signal[{gap}] is NaN, and cost "ar" predicts each sample from those before it: '
                "fill the gap, pass the parts one by one, or pass another cost"
            )
    return there
