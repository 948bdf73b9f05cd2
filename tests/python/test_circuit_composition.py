"""Composition scores and the QK previous-token term: cases by hand, products written out, laws, edges.

With few heads they are computed through each pair's factors, with many through the entries of all heads' matrices.
"""

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
    layers, heads = draw(st.integers(least, 3)), draw(st.integers(least, 5))
    d_model, d_head = draw(st.one_of(st.integers(1, 9), st.integers(31, 35))), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = [(layers, heads, d_model, d_head)] * 3 + [(layers, heads, d_head, d_model)]
    return tuple(draw(laid_out(rng.normal(size=shape))) for shape in shapes)


def random_weights(layers=3, heads=2, d_model=16, d_head=4, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(layers, heads, d_model, d_head)] * 3 + [(layers, heads, d_head, d_model)]
    return tuple(rng.normal(size=shape) for shape in shapes)


FEW, MANY = 2, 8  # heads a layer of `random_weights`: through factors, through entries


def through_entries(W_Q, *_):
    """Whether that is less arithmetic."""
    layers, heads, d_model, d_head = W_Q.shape
    matrices, pairs = 2 * (layers - 1) * heads, heads**2 * layers * (layers - 1) // 2
    return (matrices * d_head + pairs) * d_model < pairs * 2 * d_head**2


def test_few_heads_go_through_factors_and_many_through_entries():
    assert not through_entries(*random_weights(heads=FEW))
    assert through_entries(*random_weights(heads=MANY))


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


def test_traces_of_many_heads_are_sums_over_tokens_too():
    args = random_weights(heads=MANY)
    W_E, scores = np.random.default_rng(1).normal(size=(30, 16)), np.random.default_rng(2).random((3, MANY))
    expected = oracle.qk_previous_token_term(W_E, *args, scores)
    np.testing.assert_allclose(pf.qk_previous_token_term(W_E, *args, scores), expected, rtol=1e-10)


def tilted(share, d_model=64, d_head=16, heads=8, seed=0):
    """Heads 0.* write to the first half of a turned stream; heads 1.* read the second, and ``share`` of the first."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d_model, d_model)))[0]
    half = d_model // 2
    first, second = rng.normal(size=(2, heads, half, d_head))
    W_O = np.zeros((2, heads, d_head, d_model))
    W_O[:, :, :, :half] = rng.normal(size=(2, heads, d_head, half))
    W_K = np.zeros((2, heads, d_model, d_head))
    W_K[:, :, :half], W_K[:, :, half:] = share * first, second
    W_Q, W_V = rng.normal(size=(2, 2, heads, d_model, d_head))
    return W_Q, turn @ W_K, W_V, W_O @ turn.T


@pytest.mark.parametrize("share", [1, 1e-2, 1e-3, 1e-6, 1e-12])
def test_small_scores_have_their_digits_with_many_heads_too(share):
    args = tilted(share)
    assert through_entries(*args)
    few = tuple(weights[:, :1] for weights in args)
    scores, alone = pf.composition_scores(*args)[0, :, 1], pf.composition_scores(*few)[0, 0, 1, 0]
    expected = oracle.composition_scores(*args)[0, :, 1]
    # The rotation itself leaves rounding of 1e-16 of what is written.
    np.testing.assert_allclose(scores, expected, rtol=1e-11, atol=1e-15)
    assert scores[0, 0] == pytest.approx(alone, rel=1e-11, abs=1e-15)
    assert share / 30 < scores.min()
    assert scores.max() < share


def test_what_is_never_read_scores_zero_with_many_heads_too():
    W_Q, W_K, W_V, W_O = random_weights(layers=2, heads=MANY, d_model=64, d_head=16)
    W_O[..., 32:], W_K[..., :32, :] = 0, 0
    assert through_entries(W_Q)
    assert (pf.composition_scores(W_Q, W_K, W_V, W_O) == 0).all()


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_weights_of_any_size_have_the_same_scores(size):
    W_Q, W_K, W_V, W_O = random_weights(heads=MANY)
    scaled = pf.composition_scores(size * W_Q, W_K / 3, W_V, W_O * 7)
    np.testing.assert_allclose(scaled, pf.composition_scores(W_Q, W_K, W_V, W_O), rtol=1e-12)


# Laws


@pytest.mark.parametrize("heads", [FEW, MANY])
@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_scores_bear_any_change_of_basis_within_heads_and_any_rotation_of_the_stream(kind, heads):
    W_Q, W_K, W_V, W_O = random_weights(heads=heads)
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


@pytest.mark.parametrize("heads", [FEW, MANY])
def test_a_head_that_does_nothing_has_no_score_and_spoils_no_other(heads):
    W_Q, W_K, W_V, W_O = random_weights(heads=heads)
    W_O[0, 1] = 0
    scores = pf.composition_scores(W_Q, W_K, W_V, W_O)
    assert np.isnan(scores[0, 1, 1:]).all()
    assert np.isfinite(np.delete(scores, 1, axis=1)).all()


@pytest.mark.parametrize("heads", [FEW, MANY])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_spoils_the_pairs_it_is_in(bad, heads):
    W_Q, W_K, W_V, W_O = random_weights(heads=heads)
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
