"""Composition scores and the QK previous-token term: cases by hand, products written out, laws, edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from oracles import circuit as oracle
from phaseflow.exceptions import DtypeError, ShapeError, UnknownNameError
from phaseflow.metrics import qk_previous_token_traces
from strategies import DTYPES, laid_out


@st.composite
def weights(draw, least=0):
    """W_Q, W_K, W_V, W_O of random sizes and layouts; heads wider than the stream too."""
    layers, heads = draw(st.integers(least, 3)), draw(st.integers(least, 3))
    d_model, d_head = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = [(layers, heads, d_model, d_head)] * 3 + [(layers, heads, d_head, d_model)]
    return tuple(draw(laid_out(rng.normal(size=shape))) for shape in shapes)


def random_weights(layers=3, heads=2, d_model=16, d_head=4, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(layers, heads, d_model, d_head)] * 3 + [(layers, heads, d_head, d_model)]
    return tuple(rng.normal(size=shape) for shape in shapes)


# By hand


def one_pair(later_Q, later_K, later_V):
    """Head 0.0 moves direction 0 to direction 1, of 3; head 1.0 as given. All d_head 1."""
    e = np.eye(3)[:, :, None]
    W_Q, W_K = np.array([[e[0]], [later_Q]]), np.array([[e[0]], [later_K]])
    W_V = np.array([[e[0]], [later_V]])
    W_O = np.array([[e[1].T], [e[2].T]])
    return W_Q, W_K, W_V, W_O


@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_a_head_that_reads_only_what_another_wrote_scores_one(kind):
    e = np.eye(3)[:, :, None]
    reads = {name: e[1] if name == kind else e[2] for name in "QKV"}
    args = one_pair(reads["Q"], reads["K"], reads["V"])
    assert pf.composition_scores(*args, kind=kind)[0, 0, 1, 0] == pytest.approx(1, rel=1e-15)
    for other in {"Q", "K", "V"} - {kind}:
        assert pf.composition_scores(*args, kind=other)[0, 0, 1, 0] == 0


def test_a_head_that_reads_one_part_in_five_of_it_scores_three_fifths():
    # Keys along (0, 3, 4): of what was written to direction 1, the share 3/5 is read.
    args = one_pair([[1], [0], [0]], [[0], [3], [4]], [[1], [0], [0]])
    assert pf.composition_scores(*args, kind="K")[0, 0, 1, 0] == pytest.approx(3 / 5, rel=1e-15)
    less = pf.composition_scores(*args, kind="K", subtract_baseline=True)
    assert less[0, 0, 1, 0] == pytest.approx(3 / 5 - 1 / np.sqrt(3), rel=1e-15)


def test_the_previous_token_term_of_ones_counts_tokens():
    # Each of 5 tokens contributes 2 · 1 · 1 · 2 = 4; the one earlier head has a previous-token score of 1/2.
    W = np.ones((2, 1, 1, 1))
    terms = pf.qk_previous_token_term(np.full((5, 1), 2.0), W, W, W, W, [[1 / 2], [0]])
    assert terms.tolist() == [[0], [10]]


# The oracle


@settings(deadline=None)
@given(weights(), st.sampled_from(["Q", "K", "V"]), st.booleans())
def test_the_low_rank_score_is_the_dense_one(args, kind, subtract_baseline):
    found = pf.composition_scores(*args, kind=kind, subtract_baseline=subtract_baseline)
    expected = oracle.composition_scores(*args, kind=kind, subtract_baseline=subtract_baseline)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@settings(deadline=None)
@given(weights(least=1), st.data())
def test_the_previous_token_term_is_the_sum_over_tokens_and_heads(args, data):
    layers, heads, d_model, _ = args[0].shape
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    W_E = data.draw(laid_out(rng.normal(size=(data.draw(st.integers(0, 7)), d_model))))
    scores = rng.random((layers, heads))
    found = pf.qk_previous_token_term(W_E, *args, scores)
    expected = oracle.qk_previous_token_term(W_E, *args, scores)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_an_embedding_of_thousands_of_tokens_is_summed_to_the_last():
    args = random_weights()
    W_E = np.random.default_rng(1).normal(size=(2500, 16))
    scores = np.random.default_rng(2).random((3, 2))
    found = pf.qk_previous_token_term(W_E, *args, scores)
    np.testing.assert_allclose(found, oracle.qk_previous_token_term(W_E, *args, scores), rtol=1e-10)


def test_traces_weighted_by_the_earlier_heads_scores_are_the_term():
    args = random_weights()
    W_E = np.random.default_rng(7).normal(size=(9, 16))
    scores = np.random.default_rng(8).random((3, 2))
    traces = qk_previous_token_traces(W_E, *args)
    term = pf.qk_previous_token_term(W_E, *args, scores)
    np.testing.assert_allclose(np.einsum("le,lemh->mh", scores, traces), term, rtol=1e-12)
    scores[2] = np.nan  # heads of the last layer are earlier than none
    np.testing.assert_array_equal(pf.qk_previous_token_term(W_E, *args, scores), term)


# Laws


@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_scores_bear_any_change_of_basis_within_heads_and_any_rotation_of_the_stream(kind):
    W_Q, W_K, W_V, W_O = random_weights()
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    mix, other = rng.normal(size=(2, 4, 4)) + 2 * np.eye(4)
    same = pf.composition_scores(
        7 * turn @ W_Q @ mix,
        turn @ W_K @ np.linalg.inv(mix).T,
        turn @ W_V @ other,
        np.linalg.inv(other) @ W_O @ turn.T / 3,
        kind=kind,
    )
    np.testing.assert_allclose(same, pf.composition_scores(W_Q, W_K, W_V, W_O, kind=kind), rtol=1e-11)


def test_random_heads_score_the_baseline():
    args = random_weights(layers=2, heads=12, d_model=128, d_head=16)
    for kind in "QKV":
        excess = pf.composition_scores(*args, kind=kind, subtract_baseline=True)[0, :, 1]
        assert abs(excess.mean()) < 0.002
        assert excess.std() < 0.01


def test_pairs_that_are_not_in_order_score_zero_baseline_or_not():
    for subtract_baseline in (False, True):
        scores = pf.composition_scores(*random_weights(), subtract_baseline=subtract_baseline)
        layer = np.arange(3)
        assert (scores.transpose(0, 2, 1, 3)[layer[:, None] >= layer] == 0).all()
        assert (scores.transpose(0, 2, 1, 3)[layer[:, None] < layer] != 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bits_depend_neither_on_threads_nor_on_strides(dtype):
    args = [weights.astype(dtype) for weights in random_weights(layers=4, heads=5, d_model=80, d_head=20)]
    W_E = np.random.default_rng(3).normal(size=(1500, 80)).astype(dtype)
    scores = np.random.default_rng(4).random((4, 5))
    composition = pf.composition_scores(*args, threads=1)
    term = pf.qk_previous_token_term(W_E, *args, scores, threads=1)
    for threads in (2, 3, None):
        for order in "CF":
            laid = [np.asarray(weights, order=order) for weights in args]
            assert composition.tobytes() == pf.composition_scores(*laid, threads=threads).tobytes()
            again = pf.qk_previous_token_term(np.asarray(W_E, order=order), *laid, scores, threads=threads)
            assert term.tobytes() == again.tobytes()


# Edges


def test_a_head_that_does_nothing_has_no_score_and_spoils_no_other():
    W_Q, W_K, W_V, W_O = random_weights()
    W_O[0, 1] = 0
    scores = pf.composition_scores(W_Q, W_K, W_V, W_O)
    assert np.isnan(scores[0, 1, 1:]).all()
    assert np.isfinite(np.delete(scores, 1, axis=1)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_spoils_the_pairs_it_is_in(bad):
    W_Q, W_K, W_V, W_O = random_weights()
    W_K[2, 1, 3, 3] = bad
    scores = pf.composition_scores(W_Q, W_K, W_V, W_O)
    assert np.isnan(scores[:2, :, 2, 1]).all()
    scores[:2, :, 2, 1] = 0
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("shape", [(0, 2, 4, 2), (1, 2, 4, 2), (2, 0, 4, 2), (2, 1, 0, 2), (2, 1, 4, 0)])
def test_nothing_to_compose_gives_zeros_or_nan(shape):
    W, W_O = np.ones(shape), np.ones((shape[0], shape[1], shape[3], shape[2]))
    scores = pf.composition_scores(W, W, W, W_O)
    assert scores.shape == (shape[0], shape[1], shape[0], shape[1])
    assert np.isnan(scores).sum() == (1 if 0 in shape[2:] else 0)


def test_errors_name_the_weights():
    W_Q, W_K, W_V, W_O = random_weights()
    with pytest.raises(ShapeError, match="W_O has 4 along d_model, expected 16"):
        pf.composition_scores(W_Q, W_K, W_V, W_O.swapaxes(2, 3))
    with pytest.raises(ShapeError, match="W_K has 1 along head, expected 2"):
        pf.composition_scores(W_Q, W_K[:, :1], W_V, W_O)
    with pytest.raises(ShapeError, match=r"W_Q must have axes \(layer, head, d_model, d_head\), got 3"):
        pf.composition_scores(W_Q[0], W_K, W_V, W_O)
    with pytest.raises(UnknownNameError, match='kind is "k", known: Q, K, V'):
        pf.composition_scores(W_Q, W_K, W_V, W_O, kind="k")
    with pytest.raises(DtypeError, match="W_V"):
        pf.composition_scores(W_Q, W_K, W_V.astype(int), W_O)
    with pytest.raises(ShapeError, match="W_E has 5 along d_model, expected 16"):
        pf.qk_previous_token_term(np.ones((3, 5)), W_Q, W_K, W_V, W_O, np.ones((3, 2)))
    with pytest.raises(ShapeError, match="previous_token_scores has 1 along head, expected 2"):
        pf.qk_previous_token_term(np.ones((3, 16)), W_Q, W_K, W_V, W_O, np.ones((3, 1)))
