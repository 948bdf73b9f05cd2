"""The closed-form losses of the smallest toy models: by hand, by Monte Carlo, and where their phases meet."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from phaseflow.exceptions import ParameterError

# (hidden, feature) of every solution of n = 3 features in m = 2 dimensions; of n = 2, m = 1 without the second feature.
SOLUTIONS = {
    "last ignored": [[1, 0, 0], [0, 1, 0]],
    "another ignored": [[0, 1, 0], [0, 0, 1]],
    "last opposite another": [[1, 0, -1], [0, 1, 0]],
    "two others opposite": [[1, -1, 0], [0, 0, 1]],
}


def test_half_dense_features_by_hand():
    # p = 1/2, r = 2: variance 1/6 - 1/16 = 5/48; p²/6 = 1/24.
    expected = {
        "last ignored": Fraction(5, 24),
        "another ignored": Fraction(5, 48),
        "last opposite another": Fraction(1, 8),
        "two others opposite": Fraction(1, 12),
    }
    found = pf.superposition_losses(0.5, 2.0, n_features=3)
    assert list(found) == list(expected)
    for name, loss in expected.items():
        assert found[name] == pytest.approx(float(loss), rel=1e-15), name
    assert list(pf.superposition_losses(0.5, 2.0)) == list(expected)[:3]


@pytest.mark.parametrize("name", SOLUTIONS)
@pytest.mark.parametrize(("density", "importance"), [(0.1, 1.0), (0.7, 2.5), (1.0, 0.4)])
def test_monte_carlo_agrees(name, density, importance):
    rng = np.random.default_rng(7)
    x = rng.uniform(size=(200_000, 3)) * (rng.uniform(size=(200_000, 3)) < density)
    W = np.array(SOLUTIONS[name], float)
    bias = np.where(W.any(axis=0), 0, density / 2)
    wrong = (x - np.maximum(x @ W.T @ W + bias, 0)) ** 2 @ np.array([1, 1, importance])
    expected = pf.superposition_losses(density, importance, n_features=3)[name]
    assert abs(wrong.mean() - expected) < 4.5 * wrong.std() / len(wrong) ** 0.5


@given(st.floats(1e-3, 0.79))
def test_phases_of_two_features_meet_where_their_losses_are_equal(p):
    lower, upper = 2 * p / (4 - 5 * p), (4 - 5 * p) / (2 * p)
    at_lower = pf.superposition_losses(p, lower)
    assert at_lower["last ignored"] == pytest.approx(at_lower["last opposite another"], rel=1e-9)
    at_upper = pf.superposition_losses(p, upper)
    assert at_upper["another ignored"] == pytest.approx(at_upper["last opposite another"], rel=1e-9)


def test_the_three_phases_meet_at_density_four_sevenths():
    assert np.ptp(list(pf.superposition_losses(4 / 7, 1.0).values())) < 1e-15


def test_arguments_are_broadcast_and_checked():
    found = pf.superposition_losses(np.linspace(0, 1, 3)[:, None], np.ones(4))
    assert {loss.shape for loss in found.values()} == {(3, 4)}
    assert np.isnan(pf.superposition_losses(np.nan, 1.0)["another ignored"])
    with pytest.raises(ParameterError, match=r"density spans 0\.5 to 1\.5"):
        pf.superposition_losses([0.5, 1.5], 1.0)
    with pytest.raises(ParameterError, match=r"importance -1\.0 to 1\.0"):
        pf.superposition_losses(0.5, [-1.0, 1.0])
    with pytest.raises(ParameterError, match="n_features is 1"):
        pf.superposition_losses(0.5, 1.0, n_features=1)
