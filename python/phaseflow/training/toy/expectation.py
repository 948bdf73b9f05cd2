"""Expectations over sparse features without sampling which of them are active.

    E[loss] = sum over subsets A of P(exactly A is active) · E[loss | A]

The expectation over the values of ``A`` does not depend on the densities: one set of points serves every density,
which enters only as the weight of the subsets. The points are Gauss and Legendre's on every axis: the loss is a
polynomial on either side of where a ReLU bends. Rules of different numbers of points show how large the error is.
"""

from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phaseflow.exceptions import ParameterError
from phaseflow.training.toy.config import MOST_EXPECTED


@dataclass(frozen=True)
class Quadrature:
    """Points over the values of every subset of active features."""

    x: NDArray[np.float64]  # (point, feature)
    subset: NDArray[np.int64]  # (point,) the subset a point belongs to: bit i is feature i
    share: NDArray[np.float64]  # (point,) its weight within the subset

    def weights(self, density: ArrayLike) -> NDArray[np.float64]:
        """Weight of every point at these densities, ``(..., feature)`` -> ``(..., point)``; they sum to 1."""
        return pattern_probabilities(density)[..., self.subset] * self.share


def quadrature(n_features: int, points: int, *, signed: bool = False) -> Quadrature:
    """About ``points`` for each subset of two features or more, at most 32 for single ones.

    Parameters
    ----------
    n_features : int
    points : int
    signed : bool
        Values on [-1, 1] instead of [0, 1].

    Examples
    --------
    Two features, active half the time: the mean of x_0 + x_1 is 1/2.

    >>> nodes = quadrature(2, 9)
    >>> float((nodes.x.sum(1) * nodes.weights([0.5, 0.5])).sum().round(12))
    0.5
    """
    if not 1 <= n_features <= MOST_EXPECTED or points < 1:
        raise ParameterError(
            f"expected 1 to {MOST_EXPECTED} features and at least 1 point, got {n_features} and {points}"
        )
    x, subset, share = [], [], []
    for size in range(n_features + 1):
        values, weights = rule(size, min(points, 32) if size < 2 else round(points ** (1 / size)))
        for active in combinations(range(n_features), size):
            at = np.zeros((len(weights), n_features))
            at[:, active] = values if signed else (values + 1) / 2
            x.append(at)
            subset.append(np.full(len(weights), sum(1 << feature for feature in active)))
            share.append(weights)
    return Quadrature(np.concatenate(x), np.concatenate(subset), np.concatenate(share))


def rule(dimension: int, each: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points ``(each^dimension, dimension)`` on [-1, 1] and their weights, which sum to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(each)
    places = np.array(list(product(range(each), repeat=dimension)), int)  # (point, dimension)
    return nodes[places], (weights / 2)[places].prod(axis=1)


def pattern_probabilities(density: ArrayLike) -> NDArray[np.float64]:
    """Probability that exactly a subset of independent features is active, ``(..., feature)`` -> ``(..., 2^feature)``.

    Subset number ``A`` holds feature ``i`` where bit ``i`` of ``A`` is set.
    """
    density = np.asarray(density, float)
    found: NDArray[Any] = np.ones((*density.shape[:-1], 1))
    for feature in range(density.shape[-1]):
        active = density[..., feature, None]
        found = np.concatenate([found * (1 - active), found * active], axis=-1)
    return found
