"""How fast the mean loss falls with the token index: the derivative over its logarithm, and how sure it is.

Losses are in nats, axes ``(..., batch, pos)``; token indices are 1-based, as in the paper.
"""

from typing import TYPE_CHECKING

from phaseflow import _core
from phaseflow.metrics import _inputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


def loss_log_derivative(
    per_token_loss: "ArrayLike", *, bandwidth: float = 0.25, threads: int | None = None
) -> "NDArray[np.float64]":
    """Slope of the mean loss over the log token index, ``d loss(i) / d ln(i)``, in nats; negative: context helps.

    Before the phase change it is near 0 beyond token 50, after it negative. At each index ``i`` it is the slope of a
    weighted straight line of the mean loss on ``ln(j)`` through ``|ln(j) - ln(i)| <= bandwidth / 2``, weights one over
    the squared standard error of the mean: exact on any loss that is linear in ``ln(i)``.

    At small indices that window holds fewer than three tokens. It is then widened to the three nearest (``i - 1`` to
    ``i + 1``, the first or last three at the ends), so below about ``2 / bandwidth`` the slope is that between
    neighbours, noisier and over more of ``ln(i)`` than asked for. At the end of the context the window is cut off, and
    the slope is that of the middle of what is left: where the loss is curved, as of an index ``bandwidth / 4`` earlier
    in ``ln(i)``. Where a standard error in the window is 0 or
    undefined (one example, or equal losses as at a token that is the same in all examples) the weights are equal.

    Parameters
    ----------
    per_token_loss : array (..., batch, pos)
        Losses in nats; float16, bfloat16, float32 or float64, of any strides, never copied whole.
    bandwidth : float
        Full width of the window in ``ln(i)``.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (..., pos)
        float64. NaN where a loss in the window is NaN or infinite, and everywhere with fewer than two positions.

    Raises
    ------
    ShapeError
        ``per_token_loss`` has fewer than two axes.
    ParameterError
        ``bandwidth`` is not positive and finite.

    References
    ----------
    The map is Olsson 2022's, *In-context Learning and Induction Heads*, arXiv 2209.11895, which does not say how it is
    estimated.

    Examples
    --------
    >>> import numpy as np
    >>> import phaseflow as pf
    >>> loss = 7 - 0.5 * np.log(np.arange(1, 101))
    >>> bool(np.allclose(pf.loss_log_derivative(loss[None]), -0.5))
    True
    """
    return _core.loss_log_derivative(
        _inputs.tensor("per_token_loss", per_token_loss),
        _inputs.real("bandwidth", bandwidth),
        _inputs.optional_integer("threads", threads, least=1),
    )


def loss_log_derivative_error(
    per_token_loss: "ArrayLike", *, bandwidth: float = 0.25, threads: int | None = None
) -> "NDArray[np.float64]":
    """Standard error of :func:`phaseflow.loss_log_derivative` over examples, in nats.

    The slope at a token index is a weighted sum of the mean losses near it, so each example has a slope of its own; the
    standard error is that of their mean. Tokens of one example are alike, which widens or narrows it, and is in it. The
    weights are taken as known, although they are read off the same examples: of exponential losses of 40 examples the
    slope lay within 1.96 of it in 90 % of the cases, of 200 in 94 %. Times grow with the number of tokens in a window.

    Parameters
    ----------
    per_token_loss : array (..., batch, pos)
        Losses in nats; float16, bfloat16, float32 or float64, of any strides, never copied whole.
    bandwidth : float
        Full width of the window in ``ln(i)``.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (..., pos)
        float64. NaN with fewer than two examples, where a loss in the window is NaN or infinite, and everywhere with
        fewer than two positions.

    Raises
    ------
    ShapeError
        ``per_token_loss`` has fewer than two axes.
    ParameterError
        ``bandwidth`` is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> import phaseflow as pf
    >>> losses = np.random.default_rng(0).normal(3.0, 1.0, (100, 400))
    >>> slope, error = pf.loss_log_derivative(losses), pf.loss_log_derivative_error(losses)
    >>> bool(np.mean(abs(slope[20:]) < 2 * error[20:]) > 0.8)
    True
    """
    return _core.loss_log_derivative_error(
        _inputs.tensor("per_token_loss", per_token_loss),
        _inputs.real("bandwidth", bandwidth),
        _inputs.optional_integer("threads", threads, least=1),
    )
