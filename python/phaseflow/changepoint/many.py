"""Changepoints of many short series at once."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow import _core, schema
from phaseflow.changepoint.arguments import (
    check_counts,
    check_names,
    check_numbers,
    check_penalty,
    float_array,
    masked_as_nan,
)
from phaseflow.discovery import check_method, check_rate, discoveries
from phaseflow.exceptions import ParameterError, ShapeError

if TYPE_CHECKING:
    import polars as pl

_STORED = ("float16", "bfloat16", "float32", "float64")
_SINGLE = "single"


def detect_many(
    signals: ArrayLike,
    *,
    x: ArrayLike | None = None,
    offsets: ArrayLike | None = None,
    cost: str = "l2",
    search: str = "auto",
    penalty: float | str = "auto",
    n_changepoints: int | None = None,
    min_size: int = 1,
    jump: int = 1,
    shape: str = "any",
    order: int = 1,
    direction: str = "any",
    level: float | None = None,
    fdr: float | None = None,
    fdr_method: str = "benjamini-hochberg",
    threads: int | None = None,
) -> "pl.DataFrame":
    """The changepoints of every series, one row each, with the p-value of each.

    Parameters
    ----------
    signals
        ``(series, sample)`` or ``(series, sample, feature)``, any strides; or ``(total,)`` with ``offsets``. float16,
        bfloat16, float32 and float64 are read where they lie. A NaN, or what is masked, is a missing sample (of all
        features) and is left out, so series of different lengths may be padded with NaN; an infinity is refused.
    x
        ``(sample,)``, or ``(total,)`` with ``offsets``: axis of the lines and of the column ``x``, strictly increasing
        within a series. Without it, sample numbers.
    offsets
        ``(series + 1,)``: series ``i`` is ``signals[offsets[i]:offsets[i + 1]]``.
    cost, search, penalty, n_changepoints, min_size, jump, shape, order
        As in :func:`detect`. A criterion takes its noise from each series. ``search="single"`` finds the one
        clearest change of level of every series, whatever it is worth; penalty, number and jump are then not used, and
        ``level`` or ``fdr`` decides.
    direction
        ``"down"``, ``"up"`` or ``"any"``: which changes ``search="single"`` looks for.
    level
        Keep the changepoints with at most this p-value.
    fdr
        Keep those of the series that pass at this false-discovery rate. The p-value of a series is its smallest, times
        the number of its changepoints; 1 where it has none.
    fdr_method
        ``"benjamini-hochberg"`` or ``"storey"``, as in :func:`q_values`.
    threads
        Number of threads, all by default. The result does not depend on it.

    Returns
    -------
    polars.DataFrame
        By series and sample: ``series``; ``changepoint``, index within the series of the first sample of the new
        segment; ``x`` there; ``before`` and ``after``, means of the segments on either side, and ``size``, after less
        before (for several features: null, null, and the length of the difference); ``p_value``.

    Raises
    ------
    DtypeError
        ``signals``, ``offsets`` or ``x`` holds what is no real number: text, dates, durations, complex numbers.
    ShapeError
        ``signals`` has other axes or is ragged, or ``x`` does not fit.
    NotFiniteError
        An infinity in ``signals``, or a NaN or an infinity in an ``x`` that is used.
    ParameterError
        As in :func:`detect`; a ``level`` or ``fdr`` outside (0, 1]; ``offsets`` that decrease or end past the samples.
    UnknownNameError
        A cost, search, criterion or direction that does not exist.

    Notes
    -----
    ``p_value`` is the probability that a series without a change, of independent normal noise of one unknown
    variance, shows a change this clear at any place between the neighbouring changepoints, which are taken as given.
    It comes from the exact distribution for pairs of neighbouring places (Worsley 1982) with Siegmund's correction
    for places further apart; simulation agrees within a tenth below 0.05, for 4 to 1000 samples. A slow drift and noise
    that is correlated between samples make it too small. It is null for costs other than l2 and for several features.

    The cost l2 of one feature with ``min_size=1`` runs by functional pruning, ``search="single"`` on several series
    in each instruction; neither allocates for a series. Everything else runs :func:`detect` on each.

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> losses = np.random.default_rng(0).normal(0, 0.1, (1000, 50))
    >>> losses[7, 30:] -= 1
    >>> found = pf.detect_many(losses, search="single", direction="down", fdr=0.01)
    >>> found["series"].to_list(), found["changepoint"].to_list()
    ([7], [30])
    """
    check_numbers("level", "fdr", level=level, fdr=fdr)
    check_names(cost=cost, search=search, shape=shape, direction=direction, fdr_method=fdr_method)
    check_rate("level", level)
    check_rate("fdr", fdr)
    check_method("fdr_method", fdr_method)
    check_counts("n_changepoints", "threads", n_changepoints=n_changepoints, threads=threads)
    check_counts(min_size=min_size, jump=jump, order=order)
    check_penalty(penalty)
    batch, starts = _batch(signals, offsets)
    axis = _axis(x, batch, starts)
    if search == _SINGLE:
        if cost != "l2":
            raise ParameterError(f'search "single" is for cost "l2", got "{cost}"; pass search="auto"')
        if shape != "any":
            raise ParameterError(f'shape "{shape}" is for several changes, search "single" finds one: pass direction')
        columns = _core.single_changes(batch, starts, direction=direction, min_size=min_size, threads=threads)
    elif direction != "any":
        raise ParameterError(f'direction "{direction}" needs search="single", got "{search}"')
    else:
        columns = _core.detect_series(
            axis,
            batch,
            starts,
            cost=cost,
            search=search,
            penalty=penalty,
            n_changepoints=n_changepoints,
            min_size=min_size,
            jump=jump,
            shape=shape,
            order=order,
            threads=threads,
        )
    n_series = len(batch) if starts is None else len(starts) - 1
    series, p_values = columns[schema.SERIES], columns[schema.P_VALUE]
    if np.isnan(p_values).any() and (level is not None or fdr is not None):
        raise ParameterError("level and fdr need p-values, which only cost l2 of one feature has")
    keep = np.ones(len(series), bool) if level is None else p_values <= level
    if fdr is not None:
        keep &= discoveries(_of_series(series, p_values, n_series), fdr, fdr_method)[series]
    return _table(columns, keep, axis, starts, given=x is not None, plain=batch.ndim < 3 or batch.shape[2] == 1)


def _batch(signals: ArrayLike, offsets: ArrayLike | None) -> tuple[Any, NDArray[np.uint64] | None]:
    """The signals as (series, sample, feature) or (total,), and where the latter is cut."""
    values = masked_as_nan("signals", signals)
    if values.dtype.name not in _STORED:
        values = values.astype(np.float64)
    if offsets is None:
        if values.ndim not in (2, 3):
            raise ShapeError(
                f"signals must have axes (series, sample) or (series, sample, feature), or (total,) with offsets, "
                f"got {values.ndim} axes"
            )
        return values[..., None] if values.ndim == 2 else values, None
    starts = masked_as_nan("offsets", offsets)
    if values.ndim != 1 or starts.ndim != 1:
        raise ShapeError(f"with offsets, signals and offsets have one axis each, got {values.ndim} and {starts.ndim}")
    if starts.dtype.kind not in "iu" or (starts.size and starts.min() < 0):
        raise ParameterError(f"offsets must be integers from 0 on, got dtype {starts.dtype}: {starts[:3].tolist()}...")
    return values, starts.astype(np.uint64)


def _axis(x: ArrayLike | None, batch: Any, starts: NDArray[np.uint64] | None) -> NDArray[np.float64]:
    n_samples = batch.shape[1] if starts is None else len(batch)
    axis = np.arange(n_samples, dtype=np.float64) if x is None else float_array("x", x)
    if axis.shape != (n_samples,):
        raise ShapeError(f"x has shape {axis.shape}, expected ({n_samples},), one for every sample of signals")
    increases = axis[1:] > axis[:-1]  # a difference may be no number
    if starts is not None and len(increases):
        # From the last sample of a series to the first of the next it may do what it likes.
        between = starts[(starts > 0) & (starts < n_samples)].astype(np.int64) - 1
        increases[between] = True
    if not increases.all():
        at = int(increases.argmin()) + 1
        raise ParameterError(f"x[{at}] is {axis[at]:g} after {axis[at - 1]:g}, expected strictly increasing numbers")
    return axis


def _of_series(series: NDArray[np.int64], p_values: NDArray[np.float64], n_series: int) -> NDArray[np.float64]:
    """One p-value a series: the smallest of its own, for as many as it has."""
    smallest = np.ones(n_series)
    np.minimum.at(smallest, series, p_values)
    return np.minimum(smallest * np.maximum(np.bincount(series, minlength=n_series), 1), 1.0)


def _table(
    columns: dict[str, NDArray[Any]],
    keep: NDArray[np.bool_],
    axis: NDArray[np.float64],
    starts: NDArray[np.uint64] | None,
    *,
    given: bool,
    plain: bool,
) -> "pl.DataFrame":
    import polars as pl

    kept = columns if keep.all() else {name: values[keep] for name, values in columns.items()}
    place = kept[schema.CHANGEPOINT]
    if starts is not None and given:
        place = place + starts[kept[schema.SERIES]].astype(np.int64)
    sides = (schema.BEFORE, schema.AFTER)
    return pl.DataFrame(
        {
            schema.SERIES: kept[schema.SERIES],
            schema.CHANGEPOINT: kept[schema.CHANGEPOINT],
            schema.X: axis[place] if given else place.astype(np.float64),
            **{
                side: pl.Series(kept[side]) if plain else pl.Series([None] * len(place), dtype=pl.Float64)
                for side in sides
            },
            schema.SIZE: kept[schema.SIZE],
            schema.P_VALUE: pl.Series(kept[schema.P_VALUE], nan_to_null=True),
        }
    )
