"""Standard error of the derivative over the log index: by hand, the slow oracle, coverage, laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from oracles import loss as oracle
from strategies import losses


def test_two_examples_of_two_tokens_by_hand() -> None:
    # Slopes (1 - 4) / ln 2 and (3 - 2) / ln 2: half their difference, 2 / ln 2.
    found = pf.loss_log_derivative_error([[4.0, 1.0], [2.0, 3.0]])
    np.testing.assert_allclose(found, [2 / math.log(2)] * 2, rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(losses(max_context=20), st.floats(0.05, 3.0))
def test_it_agrees_with_each_examples_own_slope(per_token_loss: np.ndarray, bandwidth: float) -> None:
    found = pf.loss_log_derivative_error(per_token_loss, bandwidth=bandwidth)
    expected = oracle.loss_log_derivative_error(per_token_loss, bandwidth)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-4])
def test_beside_a_token_that_hardly_varies_it_is_that_of_each_examples_own_slope(spread: float) -> None:
    # Such a token weighs up to 10^18 times as much as its neighbours. Windows of 40 positions and more.
    per_token_loss = np.random.default_rng(0).normal(size=(5, 300))
    per_token_loss[:, 200] = 2 + spread * per_token_loss[:, 200]
    for bandwidth in (0.25, 9.0):
        found = pf.loss_log_derivative_error(per_token_loss, bandwidth=bandwidth)
        expected = oracle.loss_log_derivative_error(per_token_loss, bandwidth)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_nan_spoils_the_windows_that_hold_it_alone() -> None:
    per_token_loss = np.random.default_rng(3).normal(size=(5, 900))
    expected = pf.loss_log_derivative_error(per_token_loss, bandwidth=0.25)
    per_token_loss[2, 600] = np.nan
    found = pf.loss_log_derivative_error(per_token_loss, bandwidth=0.25)
    inside = np.abs(np.log(np.arange(1, 901) / 601)) <= 0.125
    np.testing.assert_array_equal(np.isnan(found), inside)
    np.testing.assert_allclose(found[~inside], expected[~inside], rtol=1e-12)


def test_two_standard_errors_hold_the_slope_as_often_as_they_should() -> None:
    # Tokens of an example share a random slope of their own: independence would promise far too much.
    rng = np.random.default_rng(0)
    x = np.log(np.arange(1, 201))
    own = rng.normal(-0.5, 0.5, (400, 60, 1)) * x
    per_token_loss = 5 + own + rng.normal(0, 0.3, (400, 60, 200))
    slope = pf.loss_log_derivative(per_token_loss)[:, 20:]
    error = pf.loss_log_derivative_error(per_token_loss)[:, 20:]
    covered = (abs(slope + 0.5) < 2 * error).mean()
    assert 0.92 < covered < 0.97


def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    per_token_loss = np.random.default_rng(1).normal(size=(2, 300, 50)).astype(np.float32)
    one, two = (pf.loss_log_derivative_error(per_token_loss, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_what_all_examples_have_in_common_adds_nothing() -> None:
    rng = np.random.default_rng(2)
    per_token_loss = rng.normal(size=(30, 40))
    shifted = per_token_loss + 100 * rng.normal(size=40)
    found, moved = (pf.loss_log_derivative_error(one) for one in (per_token_loss, shifted))
    np.testing.assert_allclose(found, moved, rtol=1e-9)


def test_one_example_has_no_error() -> None:
    assert np.isnan(pf.loss_log_derivative_error(np.ones((1, 9)))).all()
    assert np.isnan(pf.loss_log_derivative_error(np.ones((5, 1)))).all()


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.inf, math.nan])
def test_a_bandwidth_that_is_none_is_refused(bandwidth: float) -> None:
    with pytest.raises(pf.exceptions.ParameterError, match="bandwidth"):
        pf.loss_log_derivative_error(np.ones((2, 9)), bandwidth=bandwidth)
