"""d loss / d ln(tokens seen): by hand, against a fit of each window, laws, edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf


def test_three_checkpoints_by_hand() -> None:
    # x = 0, 1, 3 and y = 2, 1, 1: slope of the line through all three, sum (x - 4/3)(y - 2) / sum (x - 4/3)^2.
    slope = (-4 / 3 * 0 + -1 / 3 * -1 + 5 / 3 * -1) / ((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2)
    found = pf.loss_training_derivative([2.0, 1.0, 1.0], np.exp([0.0, 1.0, 3.0]), bandwidth=0.1)
    np.testing.assert_allclose(found, [slope] * 3, rtol=1e-12)


def test_a_window_too_small_takes_the_nearest_checkpoints() -> None:
    x = np.array([0.0, 1.0, 1.1, 1.2, 5.0])
    y = np.array([9.0, 3.0, 2.0, 1.0, 7.0])
    found = pf.loss_training_derivative(y, np.exp(x), bandwidth=1e-6)
    assert found[2] == pytest.approx(-10)
    assert found[1] == pytest.approx(-10)
    assert found[3] == pytest.approx(-10)


def test_of_two_checkpoints_equally_near_the_earlier_one_is_taken() -> None:
    # 2.1 is within the window of 2; the third is 1 or 4, either a factor of 2 away.
    seen, loss = np.array([1.0, 2.0, 2.1, 4.0]), np.array([5.0, 3.0, 3.0, 9.0])
    expected = np.polyfit(np.log(seen[:3]), loss[:3], 1)[0]
    assert pf.loss_training_derivative(loss, seen, bandwidth=0.1)[1] == pytest.approx(expected, rel=1e-12)


def test_a_large_common_loss_costs_no_digits() -> None:
    rng = np.random.default_rng(0)
    loss, seen = rng.integers(0, 1024, 30) / 1024, np.cumsum(rng.uniform(1, 9, 30))
    found, raised = (pf.loss_training_derivative(one, seen) for one in (loss, loss + 2.0**40))
    np.testing.assert_array_equal(found, raised)


@given(st.integers(2, 40), st.floats(0.01, 4.0), st.integers(0, 2**32))
def test_the_slope_is_that_of_a_fit_through_the_window(n: int, bandwidth: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.05, 0.5, n))
    curves = 1e3 + rng.normal(size=(2, n))
    found = pf.loss_training_derivative(curves, np.exp(x), bandwidth=bandwidth)
    x = np.log(np.exp(x))
    for at in range(n):
        near = np.flatnonzero(np.abs(x - x[at]) <= bandwidth / 2)
        if len(near) < min(3, n):
            near = np.sort(np.argsort(np.abs(x - x[at]), kind="stable")[: min(3, n)])
        for curve, slopes in zip(curves, found, strict=True):
            assert slopes[at] == pytest.approx(np.polyfit(x[near] - x[at], curve[near] - 1e3, 1)[0], rel=1e-6, abs=1e-8)


def test_a_change_of_unit_of_the_tokens_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    loss, seen = rng.normal(size=30), np.cumsum(rng.uniform(1, 9, 30))
    np.testing.assert_allclose(
        pf.loss_training_derivative(loss, seen), pf.loss_training_derivative(loss, 4096 * seen), rtol=1e-9
    )


def test_a_nan_makes_the_slopes_undefined_whose_window_holds_it() -> None:
    seen = np.exp(np.arange(10.0))
    loss = np.arange(10.0)
    loss[4] = math.nan
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(pf.loss_training_derivative(loss, seen))), [3, 4, 5])
    loss[4] = math.inf
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(pf.loss_training_derivative(loss, seen))), [3, 4, 5])


def test_one_checkpoint_has_no_slope() -> None:
    assert np.isnan(pf.loss_training_derivative([[1.0], [2.0]], [5.0])).all()
    assert pf.loss_training_derivative(np.zeros((3, 0)), []).shape == (3, 0)


@pytest.mark.parametrize(
    ("loss", "seen", "bandwidth", "error"),
    [
        ([1.0, 2.0], [1.0], 0.5, "one for every checkpoint"),
        (1.0, [], 0.5, "one for every checkpoint"),
        ([1.0, 2.0], [0.0, 1.0], 0.5, "above 0"),
        ([1.0, 2.0], [2.0, 2.0], 0.5, "increasing"),
        ([1.0, 2.0], [1.0, 2.0], 0.0, "bandwidth is 0"),
        ([1.0, 2.0], [1.0, 2.0], math.nan, "bandwidth"),
    ],
)
def test_what_has_no_slope_is_refused_by_name(loss: object, seen: object, bandwidth: float, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        pf.loss_training_derivative(loss, seen, bandwidth=bandwidth)
