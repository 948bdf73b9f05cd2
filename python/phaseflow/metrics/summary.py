"""Everything that one reading of the losses gives."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phaseflow import _core
from phaseflow.metrics import _inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class LossSummary:
    """Per-token losses over examples, in nats.

    Attributes
    ----------
    mean : array (..., pos)
        Mean over examples. NaN without examples.
    variance : array (..., pos)
        Variance over examples (``n - 1``). NaN with fewer than two.
    standard_error : array (..., pos)
        Of the mean: ``sqrt(variance / n)``.
    undefined : array of int64 (..., pos)
        Losses that are NaN or infinite; mean, variance and standard error are NaN where there is one.
    late_minus_early : array (..., batch)
        Loss of the late token less that of the early one, example by example: their mean is the in-context learning
        score. NaN where a loss that enters is NaN.
    """

    mean: "NDArray[np.float64]"
    variance: "NDArray[np.float64]"
    standard_error: "NDArray[np.float64]"
    undefined: "NDArray[np.int64]"
    late_minus_early: "NDArray[np.float64]"


def loss_summary(
    per_token_loss: "ArrayLike",
    *,
    early: int = 50,
    late: int = 500,
    bandwidth: float = 0.0,
    threads: int | None = None,
) -> LossSummary:
    """Mean, variance, undefined losses and late-minus-early differences, in nats, from one pass over the data.

    What :func:`phaseflow.position_losses` and :func:`phaseflow.in_context_learning_score` read one after the other is
    read once here.

    Parameters
    ----------
    per_token_loss : array (..., batch, pos)
        Losses in nats; float16, bfloat16, float32 or float64, of any strides, never copied whole.
    early, late : int
        The two tokens compared, counted from 1. Contexts shorter than 500 need another ``late``.
    bandwidth : float
        As in :func:`phaseflow.in_context_learning_score`.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    LossSummary
        ``mean``, ``variance``, ``standard_error``, ``undefined``, each (..., pos), and ``late_minus_early``
        (..., batch).

    Raises
    ------
    ShapeError
        ``per_token_loss`` has fewer than two axes.
    ParameterError
        ``early`` or ``late`` lies outside the context, they are equal, or their windows meet.

    References
    ----------
    Olsson 2022, *In-context Learning and Induction Heads*, arXiv 2209.11895.

    Examples
    --------
    >>> import phaseflow as pf
    >>> found = pf.loss_summary([[4.0, 3.0], [2.0, 3.0]], early=1, late=2)
    >>> found.mean, found.variance, found.late_minus_early
    (array([3., 3.]), array([2., 0.]), array([-1.,  1.]))
    """
    mean, variance, standard_error, undefined, late_minus_early = _core.loss_summary(
        _inputs.tensor("per_token_loss", per_token_loss),
        _inputs.integer("early", early, least=1),
        _inputs.integer("late", late, least=1),
        _inputs.real("bandwidth", bandwidth),
        _inputs.optional_integer("threads", threads, least=1),
    )
    return LossSummary(mean, variance, standard_error, undefined.astype(np.int64), late_minus_early)
