"""What per-token losses say about in-context learning.

Losses are in nats, axes ``(..., batch, pos)``: the same fixed examples at every checkpoint. Leading axes (run,
checkpoint) may be any number, also none. Token indices are 1-based, as in the paper: the 500th token is position 499.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from phaseflow import _core
from phaseflow.exceptions import ParameterError, ShapeError
from phaseflow.metrics import _inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def position_losses(
    per_token_loss: "ArrayLike", *, threads: int | None = None
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Mean loss at every position and its standard error, over examples, in nats; one pass over the data.

    Parameters
    ----------
    per_token_loss : array (..., batch, pos)
        Losses in nats; float16, bfloat16, float32 or float64, of any strides, never copied whole.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    mean : array (..., pos)
        float64, accumulated in float64. NaN without examples.
    standard_error : array (..., pos)
        Standard deviation over examples (``n - 1``) over ``sqrt(n)``. NaN with fewer than two examples.
        A loss that is NaN or infinite makes both NaN at its position, and nowhere else.

    Raises
    ------
    ShapeError
        ``per_token_loss`` has fewer than two axes.
    DtypeError
        It is not floating point.

    Examples
    --------
    >>> import phaseflow as pf
    >>> mean, standard_error = pf.position_losses([[4.0, 3.0], [2.0, 3.0]])
    >>> mean, standard_error
    (array([3., 3.]), array([1., 0.]))
    """
    return _core.position_losses(
        _inputs.tensor("per_token_loss", per_token_loss), _inputs.optional_integer("threads", threads, least=1)
    )


def in_context_learning_score(
    per_token_loss: "ArrayLike",
    *,
    early: int = 50,
    late: int = 500,
    bandwidth: float = 0.0,
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """Loss of a late token minus loss of an early one, averaged over examples, in nats; more negative is better.

    Models that learn in context reach about -0.4 with the defaults; before the phase change, and in models of one
    layer, it stays above -0.15.

    One token of an example is a noisy measurement: the paper averages 10,000 examples. With a ``bandwidth`` each of the
    two becomes the mean over the tokens ``j`` with ``|ln(j) - ln(i)| <= bandwidth / 2``, the window of
    :func:`phaseflow.loss_log_derivative`. Where the loss is linear in ``ln(i)`` that leaves the score as it is (but for
    the part of a window that the end of the context cuts off). On one run of the demo, 256 examples, the scatter
    from checkpoint to checkpoint fell from 0.059 nats to 0.012 with a bandwidth of 0.25.

    Parameters
    ----------
    per_token_loss : array (..., batch, pos)
        Losses in nats; float16, bfloat16, float32 or float64, of any strides, never copied.
    early, late : int
        The two tokens compared, counted from 1. Contexts shorter than 500 need another ``late``.
    bandwidth : float
        Full width in ``ln(index)`` of the window averaged around either; 0 is the token alone, as in the paper.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (...)
        float64, one score for each index of the leading axes. NaN without examples, or if a loss that enters is NaN.

    Raises
    ------
    ShapeError
        ``per_token_loss`` has fewer than two axes.
    ParameterError
        ``early`` or ``late`` lies outside the context, they are equal, or their windows meet.

    References
    ----------
    Olsson 2022, *In-context Learning and Induction Heads*, arXiv 2209.11895. The paper uses both signs; this is the
    one of its definition, the 500th token's loss minus the 50th's.

    Examples
    --------
    >>> import phaseflow as pf
    >>> pf.in_context_learning_score([[4.0, 3.0, 1.0], [2.0, 3.0, 2.5]], early=1, late=3)
    array(-1.25)
    """
    return _core.in_context_learning_score(
        _inputs.tensor("per_token_loss", per_token_loss),
        _inputs.integer("early", early, least=1),
        _inputs.integer("late", late, least=1),
        _inputs.real("bandwidth", bandwidth),
        _inputs.optional_integer("threads", threads, least=1),
    )


def in_context_learning_matrix(
    per_token_loss: "ArrayLike",
    indices: "ArrayLike",
    *,
    bandwidth: float = 0.0,
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """In-context learning score of every pair of the given token indices, in nats; negative: the later token gains.

    Shows how much the choice of the 50th and the 500th token matters: entry ``[..., i, j]`` is the score with
    ``early=indices[i]`` and ``late=indices[j]``. The losses are read once, however many pairs there are.

    Parameters
    ----------
    per_token_loss : array (..., batch, pos)
        Losses in nats; float16, bfloat16, float32 or float64, of any strides, never copied whole.
    indices : array of int (index,)
        Tokens compared, counted from 1.
    bandwidth : float
        As in :func:`phaseflow.in_context_learning_score`. Windows of two indices may meet here; what they have in
        common cancels.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (..., index, index)
        float64: early index, late index. Antisymmetric, 0 on the diagonal. NaN without examples, or where a loss that
        enters is NaN or infinite.

    Raises
    ------
    ShapeError
        ``per_token_loss`` has fewer than two axes, or ``indices`` more than one.
    ParameterError
        An index lies outside the context, or ``bandwidth`` is negative.

    Examples
    --------
    >>> import phaseflow as pf
    >>> pf.in_context_learning_matrix([[4.0, 3.0, 1.0], [2.0, 3.0, 2.5]], [1, 3])
    array([[ 0.  , -1.25],
           [ 1.25,  0.  ]])
    """
    mean, _ = position_losses(per_token_loss, threads=threads)
    tokens = _inputs.token_ids("indices", indices)
    if tokens.ndim != 1:
        raise ShapeError(f"indices must have axes (index,), got {tokens.ndim} axes")
    context = mean.shape[-1]
    outside = tokens[(tokens < 1) | (tokens > context)]
    if outside.size:
        raise ParameterError(f"indices holds {outside[0]}, expected token indices from 1 to {context}, the context")
    width = _inputs.real("bandwidth", bandwidth)
    if not 0.0 <= width < math.inf:
        raise ParameterError(f"bandwidth is {bandwidth}, expected a finite number that is not negative")
    # Wider than any context; a larger number has no exponential.
    reach = math.exp(min(width / 2, 100.0))
    first = np.maximum(np.ceil(tokens / reach), 1).astype(np.int64) - 1
    last = np.minimum(np.floor(tokens * reach), context).astype(np.int64)
    levels = np.empty((*mean.shape[:-1], len(tokens)))
    for index, (start, end) in enumerate(zip(first, last, strict=True)):
        levels[..., index] = mean[..., start:end].mean(axis=-1)
    return levels[..., None, :] - levels[..., :, None]


def in_context_learning_interval(
    per_token_loss: "ArrayLike",
    *,
    early: int = 50,
    late: int = 500,
    bandwidth: float = 0.0,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    method: str = "studentized",
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """Confidence interval of the in-context learning score, in nats: bootstrap over examples.

    It says how far the score could move with other examples of the same kind; not how far another training run would.
    The resamples are drawn once and shared by all leading indices, so neighbouring checkpoints' intervals move
    together.

    Share of 4,000 simulated data sets whose 95% interval held the true score, for 10, 20, 50, 100 and 500 examples
    (``benches/interval_coverage.py``; each is uncertain by .004):

    ============================  ===========  ============  =====================
    difference of the two tokens  percentile   bca           studentized
    ============================  ===========  ============  =====================
    normal                        .90 .92 .94  .90 .92 .94   .95 .95 .95 .95 .94
                                  .94 .95      .94 .94
    exponential (skewness 2)      .87 .91 .92  .88 .91 .93   .95 .95 .94 .95 .95
                                  .94 .94      .94 .94
    log-normal (skewness 6)       .81 .86 .89  .83 .88 .91   .92 .92 .93 .94 .94
                                  .92 .94      .92 .94
    ============================  ===========  ============  =====================

    The studentized interval is wider for it: by 30, 11, 4, 2 and 0 % of the percentile interval on normal differences.

    Resample ``r`` draws as many examples as there are, example ``floor(u n / 2^64)`` for each of SplitMix64's next
    outputs ``u``. It starts at ``f(s XOR r 0x9E3779B97F4A7C15)``, with ``s`` its first output from ``seed`` and ``f``
    its finalizer. Quantiles of the resamples are linear between order statistics.

    Parameters
    ----------
    per_token_loss : array (..., batch, pos)
        Losses in nats; float16, bfloat16, float32 or float64, of any strides, never copied.
    early, late : int
        The two tokens compared, counted from 1.
    bandwidth : float
        As in :func:`phaseflow.in_context_learning_score`.
    level : float
        Nominal coverage, strictly between 0 and 1.
    resamples : int
        Resamples of the examples, at least 2.
    seed : int
        Names the resamples (SplitMix64): the same seed gives the same bits on any machine and number of threads.
    method : str
        ``"studentized"`` (bootstrap t), ``"percentile"`` or ``"bca"`` (bias-corrected and accelerated); their
        definitions: Efron and Tibshirani 1993, *An Introduction to the Bootstrap*, chapters 12 to 14.
    threads : int, optional
        Threads to use, all by default.

    Returns
    -------
    array (..., 2)
        float64: lower and upper end. NaN with fewer than two examples, or if a loss that enters is NaN. With a handful
        of examples many resamples hold one of them alone, and the studentized ends may be infinite.

    Raises
    ------
    ShapeError
        ``per_token_loss`` has fewer than two axes.
    ParameterError
        A parameter lies outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> import phaseflow as pf
    >>> losses = np.random.default_rng(0).normal(3.0, 1.0, (1000, 2))
    >>> lower, upper = pf.in_context_learning_interval(losses, early=1, late=2)
    >>> bool(lower < 0.0 < upper)
    True
    """
    return _core.in_context_learning_interval(
        _inputs.tensor("per_token_loss", per_token_loss),
        _inputs.integer("early", early, least=1),
        _inputs.integer("late", late, least=1),
        _inputs.real("bandwidth", bandwidth),
        _inputs.real("level", level),
        _inputs.integer("resamples", resamples, least=2),
        _inputs.integer("seed", seed, least=0),
        _inputs.name("method", method),
        _inputs.optional_integer("threads", threads, least=1),
    )
