"""Changepoints of a signal: cost, search and penalty, freely combined where the search is exact for the cost."""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from phaseflow import _core
from phaseflow.changepoint.segmentation import Segmentation
from phaseflow.exceptions import ParameterError, ShapeError

_INDEPENDENT = "noise independent between samples and equally strong everywhere"
_GIVEN = "that the {} is right for this signal's noise"


def detect(
    signal: ArrayLike,
    *,
    x: ArrayLike | None = None,
    cost: str = "l2",
    search: str = "auto",
    penalty: float | str = "bic",
    n_changepoints: int | None = None,
    min_size: int = 1,
    jump: int = 1,
    threads: int | None = None,
) -> Segmentation:
    """The segmentation with the least sum of segment costs plus ``penalty`` times the number of changepoints.

    Parameters
    ----------
    signal
        ``(sample,)`` or ``(sample, feature)``, finite. An offset or a change of unit changes no changepoint.
    x
        ``(sample,)``: axis of the lines, strictly increasing, evenly spaced or not (step, tokens, or their log). The
        sample number without it. Costs of levels do not look at it.
    cost
        ``"l2"``: squared distance from the segment's mean, for changes of level. ``"linear"``: squared distance from
        the segment's own least-squares line in x. ``"clinear"``: squared distance from the least-squares line in x
        where neighbouring lines meet at the changepoint, for kinks; one feature only.
    search
        All are exact. ``"optimal"``: every pair of samples, quadratic. ``"pelt"``: the same with pruning.
        ``"functional"``: functional pruning, linear in practice, for ``"clinear"`` and for ``"l2"`` of one feature with
        ``min_size=1`` and ``jump=1``. ``"auto"``: the fastest for the cost.
    penalty
        ``"bic"``, ``"aic"``, ``"hannan-quinn"``: that criterion, with the noise variance from differences of
        neighbouring samples. A number: that value, in squared units of the signal, which is what ruptures' ``pen`` is.
    n_changepoints
        Exactly so many; ``penalty`` is then not used.
    min_size
        Least samples of a segment.
    jump
        Changepoints are multiples of this.
    threads
        Accepted for symmetry with the other functions; one signal is searched by one thread.

    Returns
    -------
    Segmentation
        Changepoints, segments and costs; prints as a table; :meth:`Segmentation.to_polars` makes it one.

    Raises
    ------
    ShapeError
        ``signal`` has no samples or not one or two axes, or does not fit ``x``.
    NotFiniteError
        A NaN or an infinity in ``signal`` or ``x``, named by its index.
    ParameterError
        A search that is not exact for the cost, more changepoints than fit, or a parameter out of its range.
    UnknownNameError
        A cost, search or criterion that does not exist.

    Notes
    -----
    The criteria assume independent noise of equal variance. A learning curve seldom has it, and a smooth decay is no
    piecewise constant: for "is there a phase change in this curve" use :func:`detect_windows`.

    BIC charges ``ln(n)`` noise variances for every parameter a changepoint adds: its place, and a level (l2), a slope
    (clinear) or both (linear) for every feature. PELT: Killick, Fearnhead and Eckley 2012, with pruning delayed so that
    it stays exact for ``min_size > 1``. Functional pruning: FPOP,
    Maidstone, Hocking, Rigaill and Fearnhead 2017. Continuous lines: CPOP, Fearnhead, Maidstone and Letchford 2019.

    Examples
    --------
    >>> import phaseflow as pf
    >>> pf.detect([0.0, 0.1, 0.0, 5.0, 5.1, 4.9], penalty=1.0).changepoints
    array([3])
    """
    values = np.asarray(signal, dtype=np.float64)
    if values.ndim not in (1, 2):
        raise ShapeError(f"signal must have axes (sample,) or (sample, feature), got {values.ndim} axes")
    features = values if values.ndim == 2 else values[:, None]
    axis = np.arange(len(features), dtype=np.float64) if x is None else np.asarray(x, dtype=np.float64)
    if axis.shape != (len(features),):
        raise ShapeError(f"x has shape {axis.shape}, expected ({len(features)},), one for every sample of signal")
    for name, count in (("n_changepoints", n_changepoints), ("min_size", min_size), ("jump", jump)):
        if count is not None and count < 0:
            raise ParameterError(f"{name} is {count}, expected 0 or above")
    changepoints, costs, price, noise_variance, ran = _core.detect(
        axis,
        features,
        cost=cost,
        search=search,
        penalty=penalty,
        n_changepoints=n_changepoints,
        min_size=min_size,
        jump=jump,
        threads=threads,
    )
    bounds = np.array([0, *changepoints, len(features)])
    if n_changepoints is not None:
        criterion, assumption = "number given", _GIVEN.format("given number of changepoints")
    elif isinstance(penalty, str):
        criterion, assumption = penalty, _INDEPENDENT
    else:
        criterion, assumption = "given", _GIVEN.format("given penalty")
    return Segmentation(
        changepoints=changepoints,
        x=axis,
        means=np.stack([features[start:end].mean(axis=0) for start, end in pairwise(bounds)]),
        costs=costs,
        penalty=price,
        noise_variance=noise_variance,
        cost_name=cost,
        search=ran,
        criterion=criterion,
        assumption=assumption,
    )
