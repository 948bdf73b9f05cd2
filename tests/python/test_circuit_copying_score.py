"""Copying score: cases by hand, the oracle over the whole vocabulary, laws, edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from oracles import circuit as oracle
from phaseflow.exceptions import ParameterError, ShapeError
from strategies import DTYPES, laid_out


@st.composite
def inputs(draw):
    batch, heads, context = draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.integers(0, 6))
    d_head, d_model, vocab = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    arrays = [
        draw(laid_out(rng.random((batch, heads, context, context)))),
        *(
            draw(laid_out(rng.normal(size=shape)))
            for shape in [(batch, heads, context, d_head), (heads, d_head, d_model), (d_model, vocab)]
        ),
    ]
    return *arrays, rng.integers(0, vocab, (batch, context))


# By hand


def one_key(W_U, tokens=((0, 1),)):
    """All attention on the first of two positions, whose value is 1 through a head and a stream of width 1."""
    pattern = np.array([[[[1.0, 0.0], [1.0, 0.0]]]])
    return pf.copying_score(pattern, np.ones((1, 1, 2, 1)), np.ones((1, 1, 1)), np.atleast_2d(W_U), tokens)[0]


def test_raises_of_three_and_one_above_the_mean():
    # Logits 3, 1, -4: the mean is 0. Raises: 3 of the attended token, 1 of the other. Ratio 3 / (3 + 4), 4 ratio - 1.
    assert one_key([3.0, 1.0, -4.0]) == pytest.approx(12 / 7 - 1, rel=1e-15)
    # The mean of the vocabulary counts, not that of the sample: logits 5, 3, -2.
    assert one_key([5.0, 3.0, -2.0]) == pytest.approx(12 / 7 - 1, rel=1e-15)


def test_raising_only_the_attended_token_scores_one_and_only_the_other_minus_one():
    assert one_key([2.0, -1.0, -1.0]) == 1
    assert one_key([-1.0, 2.0, -1.0]) == -1


def test_what_a_head_does_to_tokens_that_are_not_in_the_sample_does_not_count():
    assert one_key([1.0, -2.0, -9.0, 10.0]) == 1


def test_pattern_entries_weigh_the_keys():
    # Key 0 copies its token 0, key 1 raises token 0 too, not its own; attention 1 + 1/4 to key 0, 3/4 to key 1.
    pattern = np.array([[[[1.0, 0.0], [1 / 4, 3 / 4]]]])
    score = pf.copying_score(pattern, np.ones((1, 1, 2, 1)), np.ones((1, 1, 1)), [[1.0, -1.0]], [[0, 1]])
    assert score[0] == pytest.approx(4 * (5 / 4) / (5 / 4 + 2) - 1, rel=1e-15)


# The oracle


@settings(deadline=None)
@given(inputs())
def test_it_is_the_ratio_over_the_whole_vocabulary(args):
    np.testing.assert_allclose(pf.copying_score(*args), oracle.copying_score(*args), rtol=1e-9, atol=1e-9)


# Laws


def random_inputs(dtype=np.float64, heads=4, n_pos=25, vocab=60):
    rng = np.random.default_rng(0)
    pattern = np.tril(rng.random((3, heads, n_pos, n_pos)))
    pattern /= pattern.sum(-1, keepdims=True)
    values, W_O, W_U = (rng.normal(size=s) for s in [(3, heads, n_pos, 8), (heads, 8, 32), (32, vocab)])
    tokens = np.stack([rng.permutation(vocab)[:n_pos] for _ in range(3)])
    return *(array.astype(dtype) for array in (pattern, values, W_O, W_U)), tokens


def test_scale_and_shift_of_the_logits_do_not_matter():
    pattern, values, W_O, W_U, tokens = random_inputs()
    scores = pf.copying_score(pattern, values, W_O, W_U, tokens)
    same = pf.copying_score(pattern, 7 * values, W_O, W_U + np.ones((32, 1)), tokens)
    np.testing.assert_allclose(same, scores, rtol=1e-10)
    # Random heads raise one of 25 as likely as another: near 4 / 26 - 1.
    np.testing.assert_allclose(scores, 4 / 26 - 1, atol=0.1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bits_depend_neither_on_threads_nor_on_strides(dtype):
    args = random_inputs(dtype)
    one = pf.copying_score(*args, threads=1)
    for order in "CF":
        assert one.tobytes() == pf.copying_score(*(np.asarray(a, order=order) for a in args), threads=3).tobytes()


# Edges


def test_a_head_that_raises_nothing_has_no_score_and_a_nan_reaches_its_head_alone():
    pattern, values, W_O, W_U, tokens = random_inputs()
    W_O[1] = 0
    values[0, 2, 3, 0] = np.nan
    np.testing.assert_array_equal(
        np.isnan(pf.copying_score(pattern, values, W_O, W_U, tokens)), [False, True, True, False]
    )


def test_what_lies_above_the_diagonal_is_never_read():
    pattern, *rest = random_inputs()
    spoiled = np.where(np.tri(25, dtype=bool), pattern, np.nan)
    assert pf.copying_score(pattern, *rest).tobytes() == pf.copying_score(spoiled, *rest).tobytes()


def test_errors_name_what_does_not_fit():
    pattern, values, W_O, W_U, tokens = random_inputs()
    with pytest.raises(ShapeError, match="values has 24 along key_pos, expected 25"):
        pf.copying_score(pattern, values[:, :, 1:], W_O, W_U, tokens)
    with pytest.raises(ShapeError, match="W_U has 31 along d_model, expected 32"):
        pf.copying_score(pattern, values, W_O, W_U[1:], tokens)
    for bad in (-1, 60):
        tokens[0, 0] = bad
        with pytest.raises(ParameterError, match=f"tokens is {bad}, expected token ids from 0 to 59"):
            pf.copying_score(pattern, values, W_O, W_U, tokens)
    with pytest.raises(ShapeError, match=r"tokens must have axes \(batch, pos\), got 1 axis"):
        pf.copying_score(pattern, values, W_O, W_U, tokens[0])
