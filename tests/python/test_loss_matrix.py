"""The in-context learning score of every pair of tokens: by hand, against the score of one pair, laws, edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from strategies import losses


def test_three_tokens_by_hand() -> None:
    # Means 3, 3, 7/4: late minus early.
    found = pf.in_context_learning_matrix([[4.0, 3.0, 1.0], [2.0, 3.0, 2.5]], [1, 2, 3])
    np.testing.assert_array_equal(found, [[0, 0, -1.25], [0, 0, -1.25], [1.25, 1.25, 0]])


@given(losses(min_batch=1, min_context=2), st.data())
def test_every_entry_is_the_score_of_its_pair(per_token_loss: np.ndarray, data: st.DataObject) -> None:
    context = per_token_loss.shape[-1]
    indices = data.draw(st.lists(st.integers(1, context), min_size=2, max_size=4, unique=True))
    found = pf.in_context_learning_matrix(per_token_loss, indices)
    assert found.shape == (*per_token_loss.shape[:-2], len(indices), len(indices))
    for i, early in enumerate(indices):
        for j, late in enumerate(indices):
            if early != late:
                expected = pf.in_context_learning_score(per_token_loss, early=early, late=late)
                np.testing.assert_allclose(found[..., i, j], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found, -np.swapaxes(found, -1, -2))


def test_a_bandwidth_averages_as_in_the_score() -> None:
    per_token_loss = np.random.default_rng(0).normal(size=(3, 20, 600))
    found = pf.in_context_learning_matrix(per_token_loss, [50, 500], bandwidth=0.3)
    expected = pf.in_context_learning_score(per_token_loss, early=50, late=500, bandwidth=0.3)
    np.testing.assert_allclose(found[:, 0, 1], expected, rtol=1e-12)


@pytest.mark.parametrize("bandwidth", [10.0, 100.0, 1e4, 1e300])
def test_a_window_ends_with_the_context_however_wide_it_is(bandwidth: float) -> None:
    # Every window holds the whole context.
    found = pf.in_context_learning_matrix(np.random.default_rng(0).normal(size=(3, 5)), [1, 3, 5], bandwidth=bandwidth)
    np.testing.assert_array_equal(found, np.zeros((3, 3)))


def test_a_nan_reaches_only_the_pairs_of_its_token() -> None:
    per_token_loss = np.ones((2, 5))
    per_token_loss[1, 3] = np.nan
    found = pf.in_context_learning_matrix(per_token_loss, [1, 2, 4])
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
    assert (found[:2, :2] == 0).all()


def test_no_index_gives_an_empty_matrix() -> None:
    assert pf.in_context_learning_matrix(np.ones((2, 5)), np.zeros(0, int)).shape == (0, 0)


@pytest.mark.parametrize(
    ("indices", "bandwidth", "error"),
    [
        ([0, 2], 0.0, "indices holds 0, expected token indices from 1 to 5"),
        ([2, 6], 0.0, "indices holds 6"),
        ([[1, 2]], 0.0, "got 2 axes"),
        ([1.5], 0.0, "integer"),
        ([1], -0.1, "bandwidth"),
        ([1], float("nan"), "bandwidth"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(indices: object, bandwidth: float, error: str) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        pf.in_context_learning_matrix(np.ones((2, 5)), indices, bandwidth=bandwidth)
