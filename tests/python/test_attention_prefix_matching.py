"""Prefix matching score: cases by hand, the slow oracle, laws, edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from oracles import attention as oracle
from strategies import patterns

REDUCES = ["sum", "mean", "nearest"]


def ideal(tokens, offset=1):
    """A head whose queries look, alike, at all their induction targets; without one at the first key."""
    pattern = np.zeros((1, len(tokens), len(tokens)))
    for query in range(len(tokens)):
        keys = oracle.targets(tokens, query, offset, None) or [0]
        pattern[0, query, keys] = 1 / len(keys)
    return pattern


# By hand


@pytest.mark.parametrize("reduce", REDUCES)
def test_a_perfect_induction_head_scores_one(reduce):
    tokens = [0, *list(range(1, 26)) * 2]
    assert pf.prefix_matching_score(ideal(tokens), tokens, reduce=reduce).tolist() == [1.0]


def test_on_the_papers_probe_the_sum_reaches_one_and_the_mean_over_entries_one_half():
    tokens = [0, *list(range(1, 26)) * 4]
    # Queries of repeat 2, 3, 4 have 1, 2, 3 targets; the last token of a repeat targets the first of the next.
    assert pf.prefix_matching_score(ideal(tokens), tokens, bos=0) == pytest.approx([1], abs=1e-15)
    assert pf.prefix_matching_score(ideal(tokens), tokens, bos=0, reduce="mean") == pytest.approx([75 / 150], abs=1e-15)


def test_all_earlier_copies_count_in_the_sum_and_only_the_latest_in_nearest():
    tokens = [1, 2, 1, 3, 1]
    pattern = np.zeros((1, 5, 5))
    pattern[0, 2, 1] = 1 / 2  # from the second 1 to the 2 after the first
    pattern[0, 4, [1, 3]] = 1 / 4, 1 / 8  # from the third 1 to the 2 and the 3
    assert pf.prefix_matching_score(pattern, tokens).tolist() == [(1 / 2 + 3 / 8) / 2]
    assert pf.prefix_matching_score(pattern, tokens, reduce="mean").tolist() == [(1 / 2 + 1 / 4 + 1 / 8) / 3]
    assert pf.prefix_matching_score(pattern, tokens, reduce="nearest").tolist() == [(1 / 2 + 1 / 8) / 2]


def test_a_token_repeated_at_once_targets_the_query_itself():
    pattern = np.array([[[1, 0], [1 / 4, 3 / 4]]])
    assert pf.prefix_matching_score(pattern, [5, 5]).tolist() == [3 / 4]
    assert pf.prefix_matching_score(pattern, [5, 5], offset=0).tolist() == [1 / 4]


def test_the_literal_reading_needs_a_token_before_the_earlier_copy():
    pattern = np.array([[[1, 0, 0, 0], [1 / 2, 1 / 2, 0, 0], [1 / 8, 3 / 8, 1 / 2, 0], [1 / 4, 1 / 4, 1 / 4, 1 / 4]]])
    # Only the second 8 has an earlier copy with a token in front of it: key 0 of query 3.
    assert pf.prefix_matching_score(pattern, [7, 8, 7, 8], offset=-1).tolist() == [1 / 4]


def test_the_start_token_is_neither_query_nor_target():
    pattern = np.tril(np.ones((1, 5, 5))) / np.arange(1, 6)[:, None]
    tokens = [0, 4, 0, 4, 0]
    assert pf.prefix_matching_score(pattern, tokens).tolist() == pytest.approx([(1 / 3 + 1 / 4 + 2 / 5) / 3])
    assert np.isnan(pf.prefix_matching_score(pattern, tokens, bos=0)).all()
    assert pf.prefix_matching_score(pattern, tokens, bos=0, offset=0).tolist() == [1 / 4]


def test_queries_are_pooled_over_examples_not_averaged_per_example():
    pattern = np.zeros((2, 1, 3, 3))
    pattern[0, 0, 1, 1], pattern[0, 0, 2, [1, 2]] = 1, [1, 0]  # tokens 5 5 5: two queries, both 1
    tokens = [[5, 5, 5], [5, 6, 5]]  # the second example has one query, 0
    assert pf.prefix_matching_score(pattern, tokens).tolist() == [2 / 3]


# The oracle


@given(patterns(), st.integers(-3, 3), st.sampled_from(REDUCES), st.none() | st.integers(0, 5))
def test_the_score_agrees_with_its_definition(given_, offset, reduce, bos):
    pattern, tokens = given_
    found = pf.prefix_matching_score(pattern, tokens, offset=offset, reduce=reduce, bos=bos)
    expected = oracle.prefix_matching_score(pattern, tokens, offset, reduce, bos)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0)
    assert found.dtype == np.float64


@given(patterns(min_batch=1, max_batch=1))
def test_one_example_needs_no_batch_axis(given_):
    pattern, tokens = given_
    np.testing.assert_array_equal(
        pf.prefix_matching_score(pattern[0], tokens[0]), pf.prefix_matching_score(pattern, tokens)
    )


# Laws


@given(patterns(), st.randoms(use_true_random=False))
def test_permuting_heads_permutes_scores_and_renaming_tokens_changes_nothing(given_, random):
    pattern, tokens = given_
    heads = random.sample(range(pattern.shape[1]), pattern.shape[1])
    scores = pf.prefix_matching_score(pattern, tokens)
    np.testing.assert_array_equal(pf.prefix_matching_score(pattern[:, heads], tokens), scores[heads])
    np.testing.assert_array_equal(pf.prefix_matching_score(pattern, 90 - 7 * tokens.astype(int)), scores)


def test_the_bits_do_not_depend_on_the_number_of_threads_or_the_strides():
    rng = np.random.default_rng(3)
    pattern = rng.random((5, 3, 40, 40), dtype=np.float32)
    tokens = rng.integers(0, 9, (5, 40))
    strided = np.asfortranarray(pattern)
    for reduce in REDUCES:
        one = pf.prefix_matching_score(pattern, tokens, reduce=reduce, threads=1)
        for threads in (2, 3, None):
            again = pf.prefix_matching_score(strided, tokens, reduce=reduce, threads=threads)
            assert one.tobytes() == again.tobytes()


# Edges


@pytest.mark.parametrize("context", [0, 1, 4])
def test_without_a_repeated_token_the_score_is_nan(context):
    tokens = np.arange(2 * context).reshape(2, context)
    assert np.isnan(pf.prefix_matching_score(np.ones((2, 3, context, context)), tokens)).all()


def test_no_heads_have_no_scores_and_no_examples_no_value():
    assert pf.prefix_matching_score(np.ones((2, 0, 3, 3)), np.ones((2, 3), int)).shape == (0,)
    assert np.isnan(pf.prefix_matching_score(np.ones((0, 2, 3, 3)), np.ones((0, 3), int))).tolist() == [True, True]


def test_only_a_nan_that_counts_makes_a_score_nan():
    pattern = np.full((2, 3, 3), 0.5)
    pattern[0, 2, 1] = np.nan  # the target of the only query
    pattern[1, 1, 0] = np.nan
    assert np.isnan(pf.prefix_matching_score(pattern, [4, 5, 4])).tolist() == [True, False]


def test_arguments_are_not_changed():
    pattern, tokens = np.full((1, 3, 3), 0.25), np.array([4, 5, 4], np.int32)
    pf.prefix_matching_score(pattern, tokens)
    assert (pattern == 0.25).all()
    assert tokens.tolist() == [4, 5, 4]


def test_a_torch_tensor_is_taken_as_it_is():
    torch = pytest.importorskip("torch")
    pattern = torch.full((1, 3, 3), 0.25)
    assert pf.prefix_matching_score(pattern, torch.tensor([4, 5, 4])).tolist() == [0.25]
    with pytest.raises(pf.exceptions.DtypeError, match=r"pattern.*detach"):
        pf.prefix_matching_score(pattern.bfloat16(), [4, 5, 4])


# Refusals


@pytest.mark.parametrize(
    ("shape", "tokens", "message"),
    [
        ((3, 3), [1, 2, 3], "pattern has 3 along entry .*taken as packed.*, expected 6"),
        ((3,), [1, 2, 3], r"pattern must have axes \(batch, head, query_pos, key_pos\).*got 1 axis"),
        ((1, 3, 3), [[1, 2, 3]], "pattern has 3 along entry .*taken as packed.*, expected 6"),
        ((1, 1, 3, 3), [1, 2, 3], r"tokens must have axes \(batch, pos\).*got 1 axis"),
        ((1, 3, 4), [1, 2, 3], "pattern has 4 along key_pos, expected 3"),
        ((1, 3, 3), [1, 2], "tokens has 2 along pos, expected 3"),
        ((2, 1, 3, 3), [[1, 2, 3]], "tokens has 1 along batch, expected 2"),
    ],
)
def test_axes_that_do_not_fit_are_named(shape, tokens, message):
    for measure in (pf.prefix_matching_score, pf.head_scores):
        with pytest.raises(pf.exceptions.ShapeError, match=message):
            measure(np.ones(shape), tokens)


@pytest.mark.parametrize("tokens", [[1.0, 2.0], [True, False], ["a", "b"]])
def test_tokens_that_are_not_integers_are_refused(tokens):
    with pytest.raises(pf.exceptions.DtypeError, match=r"tokens has dtype .*expected integer"):
        pf.prefix_matching_score(np.ones((1, 2, 2)), tokens)


def test_an_unsigned_token_that_would_wrap_is_refused():
    with pytest.raises(pf.exceptions.ParameterError, match=r"18446744073709551615.*below 2\*\*63"):
        pf.prefix_matching_score(np.ones((1, 2, 2)), np.array([1, 2**64 - 1], np.uint64))


def test_an_integer_pattern_is_refused_by_dtype():
    with pytest.raises(pf.exceptions.DtypeError, match="pattern has dtype int64"):
        pf.prefix_matching_score(np.ones((1, 2, 2), int), [1, 1])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"reduce": "max"}, 'reduce is "max", known: sum, mean, nearest'),
        ({"reduce": None}, "reduce is None"),
        ({"offset": 0.5}, "offset is 0.5, expected an integer"),
        ({"bos": True}, "bos is True, expected an integer"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_a_parameter_out_of_range_is_named(keywords, message):
    with pytest.raises(pf.exceptions.PhaseflowError, match=message):
        pf.prefix_matching_score(np.ones((1, 2, 2)), [1, 1], **keywords)
