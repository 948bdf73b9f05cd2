"""How well changepoints agree with those that people, or a simulation, put there.

Conventions of TCPDBench (van den Burg and Williams 2020, arXiv 2003.06222) where it defines a measure; each measure
against several annotators is the mean over them, but for precision, which is against the union of their changepoints.
"""

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow.changepoint.arguments import check_counts, check_numbers, float_array
from phaseflow.exceptions import NotFiniteError, ParameterError, ShapeError


@dataclass(frozen=True)
class Evaluation:
    """Agreement of found changepoints with true ones.

    Attributes
    ----------
    covering
        0 to 1, more is better: mean over true segments, weighted by their lengths, of the largest Jaccard index with a
        found segment.
    f1, precision, recall
        0 to 1, more is better: a changepoint is met by one within the margin, each at most once; the start of the
        signal counts as one on both sides.
    rand
        0 to 1, more is better: share of pairs of samples that both put together or both keep apart.
    hausdorff
        0 and above, less is better, in units of x: the largest distance of a changepoint to the nearest one of the
        other side. NaN where one side has none and the other has some, for any annotator; 0 where neither has.
    annotation_error
        0 and above, less is better: the difference of the numbers of changepoints.
    """

    covering: float
    f1: float
    precision: float
    recall: float
    rand: float
    hausdorff: float
    annotation_error: float

    def __str__(self) -> str:
        return ", ".join(f"{field.name} {getattr(self, field.name):.4g}" for field in fields(self))


def evaluate_changepoints(
    truth: Iterable[int] | Iterable[Iterable[int]] | Mapping[str, Iterable[int]],
    found: Iterable[int],
    n_samples: int,
    *,
    margin: float = 5,
    x: ArrayLike | None = None,
) -> Evaluation:
    """Covering, F1, Rand index, Hausdorff distance and annotation error of found changepoints.

    Parameters
    ----------
    truth
        True changepoints, 0-based indices of the first sample of every new segment; one list, or one for each of
        several annotators (a list of lists, or a dict of them). 0 and repeats are left out, as in TCPDBench.
    found
        Changepoints to evaluate, the same convention.
    n_samples
        Samples of the signal.
    margin
        Largest distance, in units of ``x``, at which a changepoint meets another.
    x
        ``(sample,)``: axis of the distances, strictly increasing; the sample number without it. Covering and Rand
        index count samples whatever the axis.

    Returns
    -------
    Evaluation
        The measures by name.

    Raises
    ------
    ParameterError
        A changepoint outside 0 to ``n_samples`` - 1 or not an integer, no annotator, no sample, a negative margin.
    ShapeError, NotFiniteError
        ``x`` does not fit, or holds a NaN or an infinity.

    Notes
    -----
    F1 is the harmonic mean of precision (against the union of the annotators) and recall (mean over annotators). Each
    true changepoint, in order, takes the nearest found one that is still free; of two equally near the earlier.

    Examples
    --------
    >>> import phaseflow as pf
    >>> print(pf.evaluate_changepoints([[50], [48, 80]], [52], 100, margin=5))
    covering 0.8297, f1 0.9091, precision 1, recall 0.8333, rand 0.8929, hausdorff 15, annotation_error 0.5
    """
    check_counts(n_samples=n_samples)
    check_numbers(margin=margin)
    if n_samples < 1:
        raise ParameterError(f"n_samples is {n_samples}, expected 1 or more")
    if not margin >= 0:
        raise ParameterError(f"margin is {margin}, expected 0 or above")
    axis = _axis(x, n_samples)
    annotators = [_checked("truth", places, n_samples) for places in _annotators(truth)]
    mine = _checked("found", found, n_samples)

    def mean(measure: Iterable[float]) -> float:
        return float(np.mean(list(measure)))

    def at(changepoints: list[int]) -> NDArray[np.float64]:
        return np.array(changepoints, np.float64) if axis is None else axis[changepoints]

    def places(changepoints: list[int]) -> list[float]:
        return list(at([0, *changepoints]))

    union = sorted(set().union(*annotators))
    precision = _met(places(union), places(mine), margin) / (1 + len(mine))
    recall = mean(_met(places(true), places(mine), margin) / (1 + len(true)) for true in annotators)
    overlaps = [_overlaps(true, mine, n_samples) for true in annotators]
    return Evaluation(
        covering=mean(_covering(overlap) for overlap in overlaps),
        f1=2 * precision * recall / (precision + recall),
        precision=precision,
        recall=recall,
        rand=mean(_rand(overlap) for overlap in overlaps),
        hausdorff=mean(_hausdorff(at(true), at(mine)) for true in annotators),
        annotation_error=mean(abs(len(true) - len(mine)) for true in annotators),
    )


def _axis(x: ArrayLike | None, n_samples: int) -> NDArray[np.float64] | None:
    if x is None:
        return None
    axis = float_array("x", x)
    if axis.shape != (n_samples,):
        raise ShapeError(f"x has shape {axis.shape}, expected ({n_samples},), one for every sample")
    if not np.isfinite(axis).all():
        raise NotFiniteError(f"x[{np.flatnonzero(~np.isfinite(axis))[0]}] is not a finite number")
    back = axis[1:] <= axis[:-1]
    if back.any():
        raise ParameterError(f"x must increase strictly, it does not at index {int(back.argmax()) + 1}")
    return axis


def _annotators(truth: Iterable[int] | Iterable[Iterable[int]] | Mapping[str, Iterable[int]]) -> list[Iterable[int]]:
    if isinstance(truth, Mapping):
        lists: list[Iterable[int]] = list(truth.values())
    else:
        entries = _listed("truth", truth)
        nested = [isinstance(entry, Iterable) for entry in entries]
        if any(nested) and not all(nested):
            raise ParameterError("truth mixes changepoints with lists of them; pass one list, or one a person")
        lists = entries if any(nested) else [entries]
    if not lists:
        raise ParameterError("truth has no annotator; pass [] for one who saw no changepoint, or [[], ...]")
    return lists


def _checked(argument: str, changepoints: Iterable[int], n_samples: int) -> list[int]:
    """The changepoints in order, once each, without 0."""
    entries = _listed(argument, changepoints)
    wrong = [entry for entry in entries if isinstance(entry, bool | np.bool_) or not hasattr(entry, "__index__")]
    wrong += [entry for entry in entries if entry is np.ma.masked or np.ndim(entry)] if not wrong else []
    values = []
    for entry in entries if not wrong else []:
        try:
            values.append(operator.index(entry))
        except TypeError:  # a tensor of a fraction
            wrong = [entry]
    if wrong:
        raise ParameterError(
            f"{argument} holds {wrong[0]!r}, a {type(wrong[0]).__name__}, expected sample indices (integers): pass "
            "those of the first sample of every new segment"
        )
    outside = [value for value in values if not 0 <= value < n_samples]
    if outside:
        raise ParameterError(f"{argument} holds {outside[0]}, expected sample indices from 0 to {n_samples - 1}")
    return sorted({*values} - {0})


def _listed(argument: str, changepoints: Any) -> list[Any]:
    if isinstance(changepoints, str | bytes) or not isinstance(changepoints, Iterable):
        hint = ": pass its changepoints" if hasattr(changepoints, "changepoints") else ""
        raise ParameterError(
            f"{argument} is a {type(changepoints).__name__}, expected a list of sample indices (integers){hint}"
        )
    try:
        return list(changepoints)
    except TypeError as error:  # an array without an axis
        raise ParameterError(f"{argument} has no axis, expected a list of sample indices (integers)") from error


def _met(true: list[float], found: list[float], margin: float) -> int:
    """How many of the true places have one of the found ones to themselves."""
    free, count = list(found), 0
    for place in true:
        near = [(abs(place - other), other) for other in free if abs(place - other) <= margin]
        if near:
            free.remove(min(near)[1])
            count += 1
    return count


def _overlaps(true: list[int], found: list[int], n_samples: int) -> NDArray[np.float64]:
    """Samples that each true segment (row) shares with each found one (column)."""
    rows, columns = (np.array(list(pairwise([0, *cuts, n_samples]))) for cuts in (true, found))
    starts = np.maximum(rows[:, None, 0], columns[None, :, 0])
    ends = np.minimum(rows[:, None, 1], columns[None, :, 1])
    lengths: NDArray[np.float64] = np.maximum(ends - starts, 0).astype(np.float64)
    return lengths


def _covering(overlaps: NDArray[np.float64]) -> float:
    lengths, others = overlaps.sum(1), overlaps.sum(0)
    jaccard = overlaps / (lengths[:, None] + others[None, :] - overlaps)
    return float(lengths @ jaccard.max(1) / lengths.sum())


def _rand(overlaps: NDArray[np.float64]) -> float:
    def pairs(counts: NDArray[np.float64]) -> float:
        return float((counts * (counts - 1) / 2).sum())

    every = pairs(overlaps.sum(keepdims=True))
    together = pairs(overlaps)
    return 1.0 if every == 0 else (every + 2 * together - pairs(overlaps.sum(0)) - pairs(overlaps.sum(1))) / every


def _hausdorff(true: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    if not (len(true) and len(found)):
        return 0.0 if len(true) == len(found) else float("nan")
    distances = np.abs(np.subtract.outer(true, found))
    return float(max(distances.min(0).max(), distances.min(1).max()))
