"""Derivative of the loss over the log token index: cases by hand, the slow oracle, laws, edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from oracles import loss as oracle
from strategies import losses

# By hand


def test_the_slope_of_a_loss_linear_in_the_log_index_is_exact_everywhere():
    index = np.arange(1, 513)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(20, 512))
    noise -= noise.mean(0)  # unequal standard errors, exact means
    per_token_loss = 6 - 0.375 * np.log(index) + noise * rng.random(512)
    np.testing.assert_allclose(pf.loss_log_derivative(per_token_loss), -0.375, rtol=0, atol=1e-12)


def test_two_positions_have_the_slope_between_them():
    found = pf.loss_log_derivative([[3.0, 2.0]])
    assert found.tolist() == pytest.approx([-1 / math.log(2)] * 2, rel=1e-15)


def test_small_indices_use_their_three_nearest_with_equal_weights_for_one_example():
    # Index 1 and 2 both see x = 0, ln 2, ln 3 and y = 3, 1, 2.
    x = [0, math.log(2), math.log(3)]
    centre = sum(x) / 3
    slope = sum((a - centre) * (y - 2) for a, y in zip(x, [3, 1, 2], strict=True)) / sum((a - centre) ** 2 for a in x)
    found = pf.loss_log_derivative([[3.0, 1.0, 2.0, 8.0]])
    assert found[:2].tolist() == pytest.approx([slope, slope], rel=1e-14)


def test_a_precise_position_weighs_more_than_a_noisy_one():
    # Standard errors 1 at positions 1 and 3, 0.1 at position 2 and means 0, 0, 1: nearly the line through 2 and 3,
    # whose weight lies between equal weights and infinite weight on position 2.
    mean, error = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.1, 1.0])
    per_token_loss = np.stack([mean - error, mean + error])  # two examples: error = half their distance
    found = pf.loss_log_derivative(per_token_loss)[1]
    x = np.log([1, 2, 3])
    weight = 1 / error**2
    a, b = np.sqrt(weight)[:, None] * np.stack([np.ones(3), x], 1), np.sqrt(weight) * mean
    assert found == pytest.approx(np.linalg.solve(a.T @ a, a.T @ b)[1], rel=1e-12)


# The oracle


@given(losses(), st.sampled_from([0.05, 0.25, 0.7, 3.0, 100.0]))
def test_the_slope_agrees_with_its_definition(per_token_loss, bandwidth):
    found = pf.loss_log_derivative(per_token_loss, bandwidth=bandwidth)
    expected = oracle.loss_log_derivative(per_token_loss, bandwidth)
    assert found.shape == expected.shape
    rtol = 1e-6 if per_token_loss.itemsize == 2 else 1e-8  # the weights' errors come from single precision
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol / 10)


# Laws


def test_a_constant_added_changes_nothing_and_a_factor_scales():
    per_token_loss = np.random.default_rng(1).random((9, 80))
    slope = pf.loss_log_derivative(per_token_loss)
    np.testing.assert_allclose(pf.loss_log_derivative(per_token_loss + 64), slope, rtol=0, atol=1e-11)
    np.testing.assert_allclose(pf.loss_log_derivative(-4 * per_token_loss), -4 * slope, rtol=1e-12)


def test_the_bits_do_not_depend_on_the_number_of_threads_or_the_strides():
    per_token_loss = np.random.default_rng(2).random((3, 600, 70), dtype=np.float32)
    one = pf.loss_log_derivative(per_token_loss, threads=1)
    for threads in (2, 3, None):
        assert one.tobytes() == pf.loss_log_derivative(np.asfortranarray(per_token_loss), threads=threads).tobytes()


def test_a_wider_window_is_less_noisy_in_the_middle():
    noise = np.random.default_rng(3).normal(size=(50, 400))
    spread = [np.std(pf.loss_log_derivative(noise, bandwidth=width)[100:300]) for width in (0.05, 0.25, 1.0)]
    assert spread[0] > 2 * spread[1] > 4 * spread[2]


# Edges


def test_at_the_end_of_the_context_the_slope_of_a_curved_loss_is_that_of_a_little_earlier():
    # Of a loss ln(i)^2 / 2 the slope is ln(i); the last window is half a window.
    x = np.log(np.arange(1, 2001))
    for bandwidth in (0.25, 0.5):
        found = pf.loss_log_derivative(x[None] ** 2 / 2, bandwidth=bandwidth)
        inside = slice(200, int(2000 * math.exp(-bandwidth / 2)) - 1)
        np.testing.assert_allclose(found[inside], x[inside], atol=0.03 * bandwidth)
        assert found[-1] == pytest.approx(x[-1] - bandwidth / 4, abs=0.03 * bandwidth)


def test_a_position_that_is_the_same_in_all_examples_makes_the_weights_equal():
    rng = np.random.default_rng(4)
    per_token_loss = rng.random((30, 10))
    per_token_loss[:, 0] = 5
    mean = per_token_loss.mean(0)
    assert pf.loss_log_derivative(per_token_loss)[0] == pytest.approx(pf.loss_log_derivative(mean[None])[0], rel=1e-12)


def test_a_nan_spoils_the_windows_that_hold_it():
    per_token_loss = np.ones((4, 12))
    per_token_loss[2, 5] = np.nan
    assert np.flatnonzero(np.isnan(pf.loss_log_derivative(per_token_loss))).tolist() == [4, 5, 6]


@pytest.mark.parametrize("shape", [(3, 1), (0, 4)])
def test_one_position_or_no_example_has_no_slope(shape):
    assert np.isnan(pf.loss_log_derivative(np.ones(shape))).all()


def test_no_positions_have_no_slopes():
    assert pf.loss_log_derivative(np.ones((2, 3, 0))).shape == (2, 0)


@pytest.mark.parametrize("bandwidth", [0, -0.25, float("nan"), float("inf")])
def test_a_bandwidth_that_is_no_width_is_refused(bandwidth):
    with pytest.raises(pf.exceptions.ParameterError, match=r"bandwidth is .*expected a positive finite width"):
        pf.loss_log_derivative(np.ones((2, 3)), bandwidth=bandwidth)
