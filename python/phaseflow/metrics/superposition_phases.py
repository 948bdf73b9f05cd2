"""What the solutions of the smallest toy models cost, in closed form (Elhage 2022, "Superposition as a Phase Change").

One dimension fewer than features: one feature is ignored, or two share a dimension as opposites. Features have one
density ``p`` and are uniform on [0, 1] where active; the last has importance ``r``, the others 1.
"""

from typing import TYPE_CHECKING

import numpy as np

from phaseflow.exceptions import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LAST_IGNORED = "last ignored"
ANOTHER_IGNORED = "another ignored"
OPPOSITE_LAST = "last opposite another"
OPPOSITE_OTHERS = "two others opposite"


def superposition_losses(
    density: "ArrayLike", importance: "ArrayLike", *, n_features: int = 2
) -> "dict[str, NDArray[np.float64]]":
    """Expected loss of every solution for features in one dimension fewer; the least is the phase.

    ``last ignored`` ``r (p/3 - p²/4)``, ``another ignored`` ``p/3 - p²/4`` (the variance of a feature, which its bias
    leaves); ``last opposite another`` ``(1 + r) p²/6``, and with three features or more ``two others opposite``
    ``p²/3``. A feature and its opposite disturb each other only when both are active. Weights are of length 1 and
    biases 0 but for those of ignored features; training does a little better where features are dense.

    Parameters
    ----------
    density : array
        ``p``, the probability that a feature is active, 0 to 1.
    importance : array
        ``r``, of the last feature relative to the others; shapes are broadcast.
    n_features : int
        2 or more.

    Returns
    -------
    dict of str to array
        NaN where an argument is NaN.

    Raises
    ------
    phaseflow.exceptions.ParameterError
        When a density is not within 0 to 1, an importance is negative, or there are fewer than two features.

    References
    ----------
    Elhage et al. 2022, "Superposition as a Phase Change".

    Examples
    --------
    >>> import phaseflow as pf
    >>> losses = pf.superposition_losses(0.1, 1.0)
    >>> min(losses, key=losses.get)
    'last opposite another'
    """
    p, r = np.broadcast_arrays(np.asarray(density, np.float64), np.asarray(importance, np.float64))
    if (p < 0).any() or (p > 1).any() or (r < 0).any():
        raise ParameterError(
            f"density spans {p.min()} to {p.max()}, expected 0 to 1; importance {r.min()} to {r.max()}, expected from 0"
        )
    if n_features < 2:
        raise ParameterError(f"n_features is {n_features}, expected at least 2")
    variance = p / 3 - p**2 / 4
    losses = {LAST_IGNORED: r * variance, ANOTHER_IGNORED: variance + 0 * r, OPPOSITE_LAST: (1 + r) * p**2 / 6}
    if n_features > 2:
        losses[OPPOSITE_OTHERS] = p**2 / 3 + 0 * r
    return losses
