"""Features stored in fewer dimensions than there are of them (Elhage 2022, *Toy Models of Superposition*).

``W`` is ``(hidden, feature)``, a feature is a column; leading axes are a stack of such matrices. float16, bfloat16,
float32 and float64 of any strides; computed in float64. Rotating the hidden space changes nothing.
"""

from typing import TYPE_CHECKING

import numpy as np

from phaseflow import _core, schema
from phaseflow.exceptions import ShapeError
from phaseflow.metrics import _inputs

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import ArrayLike, NDArray


def feature_dimensionality(W: "ArrayLike", *, threads: int | None = None) -> "NDArray[np.float64]":
    """What share of a dimension each feature has: from 0, not stored, to 1, a dimension of its own.

    With ``W_i`` the column of feature ``i`` and ``u_i`` its unit vector, ``j`` running over all features, ::

        |W_i|^2 / sum over j of (u_i . W_j)^2

    Regular figures: 1/2 for two opposite features, 2/k for k in a plane, 3/4 tetrahedron, 3/8 cube, 0.374 square
    antiprism. The sum over features is at most the rank of ``W``.

    Parameters
    ----------
    W : array (..., hidden, feature)
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (..., feature)
        0 for a column of zeros. NaN for all features of a matrix with a number that is not finite.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When ``W`` has fewer than two axes.

    References
    ----------
    Elhage et al. 2022, "The Geometry of Superposition".

    Examples
    --------
    Two opposite features in one dimension, one in the other.

    >>> import phaseflow as pf
    >>> pf.feature_dimensionality([[1.0, -1.0, 0.0], [0.0, 0.0, 2.0]])
    array([0.5, 0.5, 1. ])
    """
    return _core.feature_dimensionality(_inputs.tensor("W", W), _inputs.optional_integer("threads", threads, least=1))


def example_dimensionality(hidden: "ArrayLike", *, threads: int | None = None) -> "NDArray[np.float64]":
    """What share of a dimension each example has: from 0 to 1, a dimension of its own.

    The same as :func:`feature_dimensionality` with the hidden vector ``h_i = W x_i`` of an example in the place of a
    feature's direction. A model that remembers ``T`` examples in a plane has them on a regular T-gon: ``2/T``.

    Parameters
    ----------
    hidden : array (..., example, hidden)
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (..., example)
        0 for an example at the origin. NaN for all examples of a set with a number that is not finite.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When ``hidden`` has fewer than two axes.

    References
    ----------
    Henighan et al. 2023, *Superposition, Memorization, and Double Descent*.

    Examples
    --------
    Three examples in a plane, evenly.

    >>> import numpy as np, phaseflow as pf
    >>> angle = 2 * np.pi * np.arange(3) / 3
    >>> pf.example_dimensionality(np.stack([np.cos(angle), np.sin(angle)], axis=1)).round(12)
    array([0.66666667, 0.66666667, 0.66666667])
    """
    found = _inputs.tensor("hidden", hidden)
    if found.ndim < 2:
        raise ShapeError(f"hidden must have axes (..., example, hidden), got {found.ndim}")
    return feature_dimensionality(found.swapaxes(-1, -2), threads=threads)


def dimensions_per_feature(W: "ArrayLike") -> "NDArray[np.float64]":
    """How many dimensions there are for each feature that is learned: ``hidden / |W|^2``, squared Frobenius norm.

    A feature counts with the square of its norm, near 1 where it is learned. Below 1 there are more features than
    dimensions.

    Parameters
    ----------
    W : array (..., hidden, feature)

    Returns
    -------
    array (...)
        Infinite for a matrix of zeros. NaN where ``W`` has a NaN.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When ``W`` has fewer than two axes.

    Examples
    --------
    >>> import phaseflow as pf
    >>> pf.dimensions_per_feature([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    np.float64(0.6666666666666666)
    """
    weights = np.asarray(_inputs.tensor("W", W)).astype(np.float64)
    if weights.ndim < 2:
        raise ShapeError(f"W must have axes (..., hidden, feature), got {weights.ndim}")
    with np.errstate(divide="ignore"):
        found: NDArray[np.float64] = weights.shape[-2] / np.square(weights).sum((-2, -1))
    return found


def feature_geometry(
    W: "ArrayLike",
    *,
    learned: float = 0.1,
    edge: float = 0.2,
    tolerance: float = 0.1,
    threads: int | None = None,
) -> "pl.DataFrame":
    """Everything about every feature: how much of a dimension it has, and which figure it forms with which others.

    Features belong together if a chain of pairs with ``|cosine| > edge`` joins them. Such a component is compared with
    every known figure of as many corners, by the cosines of all its pairs in ascending order; the certainty of a name
    is ``1 - distance / tolerance``, with the root mean square difference for distance.

    Parameters
    ----------
    W : array (..., hidden, feature)
    learned : float
        A feature is learned if its norm is more than this times the largest of its matrix.
    edge : float
        Cosine above which two features belong together. Trained features are never quite orthogonal; the smallest
        cosine of a known figure is a pentagon's 0.309, but for figures of six corners or more.
    tolerance : float
        Distance at which a figure is no longer that figure.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    polars.DataFrame
        One row a feature: matrix (number along the leading axes), feature, norm, dimensionality,
        interference (``sum over j != i of (u_i . W_j)^2``), leverage (its share of the row space: at least the
        dimensionality, in sum the rank), component, corners, geometry, certainty. Geometry is one of ``not learned``,
        ``dedicated``, ``digon``, ``triangle``, ``tetrahedron``, ``pentagon``, ``6-gon`` and so on, ``cube``, ``square
        antiprism``, ``none of these`` (certainty 0). Figures made of others at right angles are told as those: an
        octahedron is three digons, since no feature of one disturbs another's and three digons in any larger space are
        the same. A matrix with a number that is not finite has NaN and ``none of these``.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When ``W`` has fewer than two axes.
    phaseflow.exceptions.ParameterError
        When ``learned`` or ``edge`` is not between 0 and 1, or ``tolerance`` not between 0 and 2.

    Examples
    --------
    >>> import phaseflow as pf, polars as pl
    >>> table = pf.feature_geometry([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
    >>> table.select("feature", pl.col("dimensionality").round(3), "component", "geometry").rows()
    [(0, 0.5, 0, 'digon'), (1, 0.5, 0, 'digon'), (2, 1.0, 1, 'dedicated'), (3, 0.0, 2, 'not learned')]
    """
    import polars as pl

    tensor = _inputs.tensor("W", W)
    count = _inputs.optional_integer("threads", threads, least=1)
    norm, dimensionality, interference, leverage = _core.feature_measures(tensor, count)
    component, corners, geometry, certainty = _core.feature_geometry(
        tensor,
        _inputs.real("learned", learned),
        _inputs.real("edge", edge),
        _inputs.real("tolerance", tolerance),
        count,
    )
    matrix, feature = np.indices((int(np.prod(norm.shape[:-1])), norm.shape[-1]))
    return pl.DataFrame(
        {
            schema.MATRIX: matrix.ravel(),
            schema.FEATURE: feature.ravel(),
            schema.NORM: norm.ravel(),
            schema.DIMENSIONALITY: dimensionality.ravel(),
            schema.INTERFERENCE: interference.ravel(),
            schema.LEVERAGE: leverage.ravel(),
            schema.COMPONENT: component,
            schema.CORNERS: corners,
            schema.GEOMETRY: geometry,
            schema.CERTAINTY: certainty,
        },
        schema_overrides={schema.MATRIX: pl.Int64, schema.FEATURE: pl.Int64, schema.GEOMETRY: pl.String},
    )
