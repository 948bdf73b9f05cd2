"""Principal components of function space: where a run's predictions move as it trains, all tokens' losses at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core
from phaseflow.exceptions import ParameterError, ShapeError
from phaseflow.metrics import _inputs
from phaseflow.metrics._reading import ranges

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Bytes of losses, were they float64, that are mapped at a time, and as many ahead.
MAPPED = 1 << 28


@dataclass(frozen=True, eq=False)
class FunctionSpace:
    """Trajectories in the first principal components.

    Attributes
    ----------
    positions : array (checkpoint, component)
        Nats, root mean square over tokens: the distance of two checkpoints in all components is the root mean square
        difference of their losses. Moving up a component raises the mean loss.
    share : array (component,)
        Part of the variance over checkpoints that the component explains, 0 to 1, descending.
    n_tokens : int
        Tokens that were used: those whose loss is finite at every checkpoint.
    """

    positions: NDArray[np.float64]
    share: NDArray[np.float64]
    n_tokens: int


def function_space_pca(
    losses: "ArrayLike | Sequence[ArrayLike]", *, components: int = 2, threads: int | None = None
) -> FunctionSpace:
    """Principal components of the losses of many checkpoints: how far each is along each, in nats.

    The rows of the matrix are checkpoints, of one run or of many, its columns tokens; each column's mean over the
    checkpoints is taken off. Olsson 2022 uses one token of each example and draws the first two components, one
    trajectory a run: models of two layers and more turn in the phase change, models of one layer do not.

    Read once, in blocks of columns: any number of tokens needs the memory of the checkpoints' inner products and of
    one block, so 2,000 checkpoints of any number of losses take 0.25 GB besides the losses themselves.

    Parameters
    ----------
    losses : array (checkpoint, ...), or a sequence of arrays
        Losses in nats of the same tokens at every checkpoint; float16, bfloat16, float32 or float64. Row-major arrays
        and tensors of an archive are read where they lie, others are copied.
    components : int
        How many; at most the number of checkpoints.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    FunctionSpace
        ``positions`` (checkpoint, component), ``share`` (component,) and ``n_tokens``. A token that is NaN or infinite
        at any checkpoint is left out; with none left, or a single checkpoint, positions are 0 and shares NaN.

    Raises
    ------
    ShapeError
        No checkpoints, or checkpoints of different shapes.
    ParameterError
        ``components`` is below 1 or above the number of checkpoints.

    Notes
    -----
    The sign of a component is chosen so that its loadings do not sum to less than 0 over tokens; where they sum to 0,
    so that the checkpoint farthest out lies above 0. The order is by variance. Where two components have the same
    variance their directions are arbitrary.

    References
    ----------
    Olsson 2022, *In-context Learning and Induction Heads*, arXiv 2209.11895, "per-token loss trajectories".

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> step = np.arange(5.0)[:, None]
    >>> space = pf.function_space_pca(4 - step * np.array([0.5, 0.5, 0.0]))
    >>> np.round(space.positions[:, 0], 3), np.round(space.share, 3)
    (array([ 0.816,  0.408,  0.   , -0.408, -0.816]), array([1., 0.]))
    """
    if isinstance(losses, (list, tuple)) and all(hasattr(one, "shape") for one in losses):
        rows = [_inputs.tensor("losses", one) for one in losses]
    else:
        whole = np.asarray(_inputs.tensor("losses", losses))
        if whole.ndim == 0:
            raise ShapeError("losses must have axes (checkpoint, ...), got 0 axes")
        rows = list(np.atleast_2d(whole.T).T)
    rows = [row if not isinstance(row, np.ndarray) else np.ascontiguousarray(row) for row in rows]
    return function_space(rows, components=components, threads=threads)


def function_space(rows: Sequence[Any], *, components: int, threads: int | None) -> FunctionSpace:
    """The same for a row-major tensor of each checkpoint."""
    if not rows:
        raise ShapeError("losses has no checkpoints, needs at least 1")
    shapes = {tuple(row.shape) for row in rows}
    if len(shapes) > 1:
        raise ShapeError(f"losses has checkpoints of shapes {sorted(shapes)}, expected the same tokens at all of them")
    n_components = _inputs.integer("components", components, least=1)
    if n_components > len(rows):
        raise ParameterError(f"components is {n_components}, expected at most {len(rows)}, the number of checkpoints")
    used_threads = _inputs.optional_integer("threads", threads, least=1)
    chunk = max(MAPPED // (8 * len(rows)), 1024)
    products, totals, used = np.zeros((len(rows), len(rows))), np.zeros(len(rows)), 0
    for start, stop in ranges(rows, chunk):
        part = _core.loss_gram(rows, start, stop, used_threads)
        products += part[0]
        totals += part[1]
        used += part[2]
    return principal_components(products, totals, used, n_components)


def principal_components(
    products: NDArray[np.float64], totals: NDArray[np.float64], n_tokens: int, components: int
) -> FunctionSpace:
    """From the checkpoints' inner products and their sums over tokens."""
    variances, directions = np.linalg.eigh(products / max(n_tokens, 1))
    # Largest first; what rounding left below 0 is 0.
    variances = np.maximum(variances[::-1], 0.0)
    directions = directions[:, ::-1][:, :components]
    rises = totals @ directions
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)[0]
    # Loadings that sum to nothing but rounding, of the most that they could sum to, say nothing about the sign.
    negligible = np.abs(rises) <= 1e-9 * n_tokens * np.sqrt(variances[:components])
    signs = np.where(np.where(negligible, largest, rises) < 0, -1.0, 1.0)
    total = variances.sum()
    shares = variances[:components] / total if total > 0 else np.full(components, np.nan)
    return FunctionSpace(directions * signs * np.sqrt(variances[:components]), shares, n_tokens)
