"""Derivative of a curve over training with respect to ln(tokens seen), on checkpoints however they are spaced."""

from typing import TYPE_CHECKING

import numpy as np

from phaseflow.exceptions import ParameterError, ShapeError
from phaseflow.metrics import _inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Fewest checkpoints a line is drawn through, where there are as many.
LEAST = 3


def loss_training_derivative(
    loss: "ArrayLike", tokens_seen: "ArrayLike", *, bandwidth: float = 0.5
) -> "NDArray[np.float64]":
    """Slope of a loss over training, ``d loss / d ln(tokens seen)``, in nats per factor e; negative: the model learns.

    At each checkpoint the slope of a straight line of the loss on ``x = ln(tokens seen)``, by least squares, through
    the checkpoints with ``|x - x_t| <= bandwidth / 2``: exact on any loss that is linear in ``ln(tokens seen)``. Where
    that window holds fewer than three checkpoints it is widened to the three nearest, of two equally near the earlier.
    At either end of training the window is one-sided, and the slope that of the middle of what it holds.

    Parameters
    ----------
    loss : array (..., checkpoint)
        Any curve: the mean loss, the loss of one token index, an in-context learning score.
    tokens_seen : array (checkpoint,)
        Tokens seen (or steps) at every checkpoint: increasing, above 0.
    bandwidth : float
        Full width of the window in ``ln(tokens seen)``: 0.5 is a factor of 1.65. It should hold several checkpoints; a
        change faster than that is smeared to the window's width.

    Returns
    -------
    array (..., checkpoint)
        float64. NaN where a value in the window is NaN or infinite, and everywhere with fewer than two checkpoints.

    Raises
    ------
    ShapeError
        ``tokens_seen`` has not one entry a checkpoint.
    ParameterError
        ``tokens_seen`` does not increase from above 0, or ``bandwidth`` is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> import phaseflow as pf
    >>> tokens_seen = np.array([1e3, 2e3, 1e4, 1.1e4, 9e4])
    >>> bool(np.allclose(pf.loss_training_derivative(7 - 0.5 * np.log(tokens_seen), tokens_seen), -0.5))
    True
    """
    curves = np.asarray(loss, dtype=np.float64)
    seen = np.asarray(tokens_seen, dtype=np.float64)
    if curves.ndim == 0 or seen.shape != curves.shape[-1:]:
        expected = curves.shape[-1:] or "(checkpoint,)"
        raise ShapeError(f"tokens_seen has shape {seen.shape}, expected {expected}, one for every checkpoint of loss")
    if not (np.isfinite(seen).all() and (seen > 0).all() and (np.diff(seen) > 0).all()):
        raise ParameterError("tokens_seen must be finite, increasing and above 0; leave out step 0")
    if not 0.0 < _inputs.real("bandwidth", bandwidth) < np.inf:
        raise ParameterError(f"bandwidth is {bandwidth}, expected a positive finite width in ln(tokens seen)")
    curves = np.where(np.isfinite(curves), curves, np.nan)
    x = np.log(seen)
    slopes = np.full(curves.shape, np.nan)
    if len(x) < 2:
        return slopes
    for at in range(len(x)):
        start, end = window(x, at, bandwidth / 2)
        centred = x[start:end] - x[start:end].mean()
        # Measured from the first value: a large common loss costs no digits.
        rise = (curves[..., start:end] - curves[..., start : start + 1]) @ centred
        slopes[..., at] = rise / (centred @ centred)
    return slopes


def window(x: "NDArray[np.float64]", at: int, half: float) -> tuple[int, int]:
    """``[start, end)``: the checkpoints within ``half`` of ``at``, or the nearest `LEAST`."""
    start = int(np.searchsorted(x, x[at] - half, side="left"))
    end = int(np.searchsorted(x, x[at] + half, side="right"))
    while end - start < min(LEAST, len(x)):
        before = x[at] - x[start - 1] if start else np.inf
        after = x[end] - x[at] if end < len(x) else np.inf
        if before <= after:
            start -= 1
        else:
            end += 1
    return start, end
