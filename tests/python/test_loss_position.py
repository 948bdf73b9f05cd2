"""Mean loss at every position and its standard error: cases by hand, the slow oracle, laws, edges."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from oracles import loss as oracle
from shared_data import shared
from strategies import losses

# By hand


def test_the_mean_and_its_error_of_three_examples():
    mean, error = pf.position_losses([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    assert mean.tolist() == [3, 5]
    assert error.tolist() == [pytest.approx(math.sqrt((4 + 1 + 9) / 2 / 3), rel=1e-15), 0]


# The oracle


@given(losses())
def test_mean_and_error_agree_with_their_definition(per_token_loss):
    mean, error = pf.position_losses(per_token_loss)
    expected_mean, expected_error = oracle.position_losses(per_token_loss)
    assert mean.dtype == error.dtype == np.float64
    if per_token_loss.itemsize == 2:  # sixteen at a time in single precision
        spread = np.ptp(per_token_loss.astype(float), axis=-2) if per_token_loss.shape[-2] else 0.0
        assert (np.abs(mean - expected_mean) <= 1e-7 * spread + 1e-15 * np.abs(expected_mean))[~np.isnan(mean)].all()
        np.testing.assert_allclose(error, expected_error, rtol=1e-6, atol=1e-16)
        return
    np.testing.assert_allclose(mean, expected_mean, rtol=4e-16 * 4)
    np.testing.assert_allclose(error, expected_error, rtol=1e-12, atol=1e-16)


def test_many_examples_are_joined_without_losing_digits():
    rng = np.random.default_rng(1)
    per_token_loss = rng.normal(3, 1e-3, (3001, 5)).astype(np.float32)
    per_token_loss[0] = 1000  # the example all others are measured from
    mean, error = pf.position_losses(per_token_loss)
    expected_mean, expected_error = oracle.position_losses(per_token_loss)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-15)
    np.testing.assert_allclose(error, expected_error, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 0), (np.float64, 1)])
def test_the_mean_is_that_of_the_exact_sum_to_the_last_place(dtype, most):
    # The first examples, one of which all are measured from, lie far from the rest: every partial sum rounds.
    per_token_loss = np.random.default_rng(0).uniform(1, 2, (3000, 60)).astype(dtype)
    per_token_loss[:16] = 0
    mean, _ = pf.position_losses(per_token_loss)
    exact = np.array([float(sum(map(Fraction, column)) / 3000) for column in per_token_loss.astype(float).T])
    assert (np.abs(mean - exact) <= most * np.spacing(exact)).all()
    assert (mean == exact).mean() > 0.95


# Laws


@given(losses(), st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(per_token_loss, random):
    batch = per_token_loss.shape[-2]
    shuffled = per_token_loss[..., random.sample(range(batch), batch), :]
    for one, other in zip(pf.position_losses(per_token_loss), pf.position_losses(shuffled), strict=True):
        rtol = 1e-6 if per_token_loss.itemsize == 2 else 1e-12
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-15)


def test_the_bits_do_not_depend_on_the_number_of_threads_or_the_strides():
    per_token_loss = np.random.default_rng(2).random((3, 1700, 37), dtype=np.float32)
    one = pf.position_losses(per_token_loss, threads=1)
    for threads in (2, 3, None):
        again = pf.position_losses(np.asfortranarray(per_token_loss), threads=threads)
        assert [part.tobytes() for part in one] == [part.tobytes() for part in again]


def test_half_precision_is_summed_in_double():
    column = np.full((5000, 1), 1 + 2**-7)
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32):
        mean, error = pf.position_losses(column.astype(dtype))
        assert (mean[0], error[0]) == (1 + 2**-7, 0)


# Edges


def test_without_examples_there_is_no_mean_and_with_one_no_error():
    mean, error = pf.position_losses(np.ones((2, 0, 3)))
    assert mean.shape == error.shape == (2, 3)
    assert np.isnan([mean, error]).all()
    mean, error = pf.position_losses(np.ones((1, 3)))
    assert mean.tolist() == [1, 1, 1]
    assert np.isnan(error).all()


def test_an_empty_axis_gives_an_empty_result():
    assert [part.shape for part in pf.position_losses(np.ones((0, 4, 3)))] == [(0, 3), (0, 3)]
    assert [part.shape for part in pf.position_losses(np.ones((2, 4, 0)))] == [(2, 0), (2, 0)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_no_number_spoils_its_own_position_only(bad):
    per_token_loss = np.ones((2, 40, 20), np.float32)
    per_token_loss[1, 33, 7] = bad
    mean, error = pf.position_losses(per_token_loss)
    assert np.argwhere(np.isnan(mean)).tolist() == [[1, 7]]
    assert np.argwhere(np.isnan(error)).tolist() == [[1, 7]]


def test_the_first_examples_infinity_is_no_mean_either():
    mean, _ = pf.position_losses([[np.inf], [1.0]])
    assert np.isnan(mean).all()


def test_a_vector_and_an_integer_array_are_refused():
    with pytest.raises(pf.exceptions.ShapeError, match=r"per_token_loss must have axes \(\.\.\., batch, pos\), got 1"):
        pf.position_losses(np.ones(3))
    with pytest.raises(pf.exceptions.DtypeError, match="per_token_loss has dtype int64"):
        pf.position_losses(np.ones((2, 3), int))


# Outside


def test_the_published_losses_of_gpt2_on_repeated_tokens_average_as_published():
    file = shared("transformerlens_gpt2_heads", "gpt2-small_loss_by_position_repeated_random_2x50.csv")
    loss = np.loadtxt(file, delimiter=",", skiprows=1)[:, 1]
    # 99 predictions: 49 within the first copy, one across the seam, 49 within the second.
    halves, _ = pf.position_losses(np.stack([loss[:49], loss[50:]], axis=1))
    assert halves == pytest.approx([12.05, 0.18], abs=0.005)
