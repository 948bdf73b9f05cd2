"""Attention kept as queries, keys and log-sum-exp, for models whose fused kernel never forms a pattern."""

from typing import TYPE_CHECKING, Any

import numpy as np

from phaseflow.exceptions import ShapeError
from phaseflow.metrics import _inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class CompactPattern:
    """Causal attention as ``exp(scale * query . key - log_sum_exp)``, rebuilt entry by entry when a score asks.

    ``2 * pos * d_head + pos`` numbers a head instead of ``pos ** 2``. Every score of patterns takes it, and gives what
    the pattern gives, to the rounding of the dtype the parts are kept in.

    Parameters
    ----------
    queries : array (batch, head, pos, d_head)
        After rotary or other position terms; float16, bfloat16, float32 or float64, of any strides, not copied.
    keys : array (batch, key_head, pos, d_head)
        Likewise. Fewer heads than ``queries``, a divisor of theirs, are shared by groups of neighbours (grouped-query
        attention).
    log_sum_exp : array (batch, head, pos), optional
        ``ln(sum over keys up to q of exp(scale * query . key))``, as fused kernels return it; computed in float64
        without it.
    scale : float, optional
        ``1 / sqrt(d_head)`` without it.

    Raises
    ------
    ShapeError
        ``queries`` or ``keys`` has other than four axes. What else does not fit is told when a score is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> import phaseflow as pf
    >>> compact = pf.CompactPattern(np.zeros((1, 1, 3, 2)), np.zeros((1, 1, 3, 2)))
    >>> pf.prefix_matching_score(compact, [[7, 8, 7]]).round(3)
    array([0.333])
    """

    def __init__(
        self,
        queries: "ArrayLike",
        keys: "ArrayLike",
        log_sum_exp: "ArrayLike | None" = None,
        *,
        scale: float | None = None,
    ) -> None:
        self.queries = _inputs.tensor("queries", queries)
        self.keys = _inputs.tensor("keys", keys)
        for name, part in (("queries", self.queries), ("keys", self.keys)):
            if part.ndim != 4:
                raise ShapeError(f"{name} has shape {tuple(part.shape)}, expected (batch, head, pos, d_head)")
        self.scale = self.queries.shape[3] ** -0.5 if scale is None else _inputs.real("scale", scale)
        if log_sum_exp is None:
            log_sum_exp = causal_log_sum_exp(np.asarray(self.queries), np.asarray(self.keys), self.scale)
        self.log_sum_exp = _inputs.tensor("log_sum_exp", log_sum_exp)


def causal_log_sum_exp(queries: "NDArray[Any]", keys: "NDArray[Any]", scale: float) -> "NDArray[np.float64]":
    """``(batch, head, pos)`` in float64, one head of one example at a time."""
    batch, heads, n_pos, _ = queries.shape
    if keys.shape[1] == 0 or heads % keys.shape[1]:
        raise ShapeError(f"keys have {keys.shape[1]} heads, expected a divisor of the {heads} of queries")
    group = heads // keys.shape[1]
    found = np.empty((batch, heads, n_pos))
    future = np.triu_indices(n_pos, 1)
    for example, head in np.ndindex(batch, heads):
        q, k = queries[example, head].astype(np.float64), keys[example, head // group].astype(np.float64)
        products = scale * (q @ k.T)
        products[future] = -np.inf
        largest = products.max(axis=1, keepdims=True)
        found[example, head] = (largest + np.log(np.exp(products - largest).sum(axis=1, keepdims=True)))[:, 0]
    return found
