"""All scores in one pass: cases by hand, the slow oracle, laws, edges."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from oracles import attention as oracle
from strategies import patterns


def column(table, metric, name="value"):
    return table.filter(pl.col("metric") == metric)[name].to_list()


def by_head(table, name="value"):
    """(head, metric)"""
    return table[name].to_numpy().reshape(-1, len(oracle.METRICS))


# By hand


def test_every_score_of_a_small_pattern():
    # Tokens a b a; rows (1), (1/4, 3/4), (1/2, 1/4, 1/4). Nothing stands before the first a.
    pattern = np.array([[[1, 0, 0], [1 / 4, 3 / 4, 0], [1 / 2, 1 / 4, 1 / 4]]])
    table = pf.head_scores(pattern, [7, 8, 7])
    assert table.columns == [
        "head", "metric", "value", "standard_error", "chance", "n_queries", "unnormalised_rows", "nonfinite_entries",
    ]  # fmt: skip
    assert table["metric"].to_list() == oracle.METRICS
    entropy = (1 / 4 * math.log(4) + 3 / 4 * math.log(4 / 3) + 1 / 2 * math.log(2) + 1 / 2 * math.log(4)) / 3
    assert table["value"].to_list() == pytest.approx(
        [1 / 4] * 3 + [1 / 2] * 3 + [math.nan] * 3 + [(1 / 4 + 1 / 4) / 2, (1 / 4 + 1 / 2) / 2, entropy],
        rel=1e-15,
        nan_ok=True,
    )
    assert table["n_queries"].to_list() == [1] * 6 + [0] * 3 + [2, 2, 3]
    one_key = (1 / 2 + 1 / 3) / 2
    assert table["chance"].to_list() == pytest.approx(
        [1 / 3] * 6 + [math.nan] * 3 + [one_key, one_key, math.log(6) / 3], rel=1e-15, nan_ok=True
    )
    assert np.isnan(table["standard_error"].to_numpy()).all()


def test_sum_mean_and_nearest_of_several_earlier_copies():
    # Tokens x a a a: the third a has the copies 1 and 2, so targets 2 and 3 (after), 1 and 2 (copies), 0 and 1 (before).
    pattern = np.zeros((1, 4, 4))
    pattern[0, 2] = [1 / 2, 1 / 8, 1 / 4, 1 / 8]
    pattern[0, 3] = [1 / 2, 1 / 4, 1 / 8, 1 / 8]
    table = pf.head_scores(pattern, [5, 7, 7, 7])
    for name, of_second, of_third in [
        ("prefix_matching_score", [1 / 4], [1 / 8, 1 / 8]),
        ("duplicate_token_score", [1 / 8], [1 / 4, 1 / 8]),
        ("literal_prefix_matching_score", [1 / 2], [1 / 2, 1 / 4]),
    ]:
        assert column(table, name) == [(sum(of_second) + sum(of_third)) / 2]
        assert column(table, f"{name}_mean") == pytest.approx([(sum(of_second) + sum(of_third)) / 3], rel=1e-15)
        assert column(table, f"{name}_nearest") == [(of_second[-1] + of_third[-1]) / 2]
        assert [column(table, name + suffix, "n_queries") for suffix in ("", "_mean", "_nearest")] == [[2], [3], [2]]


def test_a_head_that_looks_at_one_key_has_no_entropy():
    table = pf.head_scores(np.eye(4)[None], [1, 2, 3, 4])
    assert column(table, "attention_entropy") == [0.0]


def test_the_standard_error_is_that_of_the_examples_means():
    # Previous-token scores of the examples: 1, 1/2, 0. Mean 1/2, variance 1/4, over 3 examples: sqrt(1/12).
    pattern = np.zeros((3, 1, 3, 3))
    pattern[0, 0, [1, 2], [0, 1]] = 1
    pattern[1, 0, 1, 0] = 1
    table = pf.head_scores(pattern, [[1, 2, 3]] * 3)
    assert column(table, "previous_token_score") == [1 / 2]
    assert column(table, "previous_token_score", "standard_error") == pytest.approx([math.sqrt(1 / 12)], rel=1e-15)


def test_a_uniform_head_scores_chance_in_everything():
    context = 30
    tokens = np.random.default_rng(0).integers(0, 6, (4, context))
    pattern = np.tril(np.ones((context, context))) / np.arange(1, context + 1)[:, None]
    table = pf.head_scores(np.broadcast_to(pattern, (4, 2, context, context)), tokens, bos=5)
    assert table["value"].to_list() == pytest.approx(table["chance"].to_list(), rel=1e-13)


# The oracle


@given(patterns(), st.none() | st.integers(0, 5))
def test_every_row_agrees_with_its_definition(given_, bos):
    pattern, tokens = given_
    table = pf.head_scores(pattern, tokens, bos=bos)
    expected = oracle.head_scores(pattern, tokens, bos)
    assert table.select("head", "metric", "n_queries").rows() == [(row[0], row[1], row[5]) for row in expected]
    # Logarithms of singles are taken in single precision, everything else in double.
    in_singles = pattern.dtype == np.float32
    exact = ~(in_singles & (table["metric"] == "attention_entropy").to_numpy())
    for name, place, rtol in [("value", 2, 1e-13), ("chance", 4, 1e-13), ("standard_error", 3, 1e-7)]:
        ours, theirs = table[name].to_numpy(), np.array([row[place] for row in expected])
        np.testing.assert_allclose(ours[exact], theirs[exact], rtol=rtol, atol=1e-15)
        np.testing.assert_allclose(ours[~exact], theirs[~exact], rtol=1e-6, atol=1e-6)


@given(patterns())
def test_prefix_matching_is_the_same_here_and_alone(given_):
    pattern, tokens = given_
    table = pf.head_scores(pattern, tokens, bos=2)
    for metric, offset in oracle.OFFSETS.items():
        for reduce, suffix in [("sum", ""), ("mean", "_mean"), ("nearest", "_nearest")]:
            alone = pf.prefix_matching_score(pattern, tokens, offset=offset, reduce=reduce, bos=2)
            np.testing.assert_allclose(column(table, metric + suffix), alone, rtol=1e-14)


# Laws


def test_the_bits_do_not_depend_on_the_number_of_threads_or_the_strides():
    rng = np.random.default_rng(3)
    pattern = rng.dirichlet(np.ones(50), (4, 3, 50)).astype(np.float32)
    tokens = rng.integers(0, 9, (4, 50))
    one = pf.head_scores(pattern, tokens, threads=1)
    for threads in (2, 3, None):
        for same in (pattern, np.asfortranarray(pattern)):
            assert one.equals(pf.head_scores(same, tokens, threads=threads))


@given(patterns(), st.randoms())
def test_permuting_heads_permutes_and_permuting_examples_changes_nothing(given_, random):
    pattern, tokens = given_
    heads, examples = list(range(pattern.shape[1])), list(range(pattern.shape[0]))
    random.shuffle(heads)
    random.shuffle(examples)
    values = by_head(pf.head_scores(pattern, tokens))
    np.testing.assert_array_equal(by_head(pf.head_scores(pattern[:, heads], tokens)), values[heads])
    np.testing.assert_allclose(by_head(pf.head_scores(pattern[examples], tokens[examples])), values, rtol=1e-12)


@given(patterns(), st.data())
def test_shards_of_the_examples_make_the_whole(given_, data):
    pattern, tokens = given_
    at = data.draw(st.integers(0, len(tokens)))
    total, queries = 0.0, 0.0
    for shard in (slice(0, at), slice(at, None)):
        table = pf.head_scores(pattern[shard], tokens[shard])
        counts = by_head(table, "n_queries")
        total = total + np.where(counts > 0, by_head(table), 0) * counts
        queries = queries + counts
    values = by_head(pf.head_scores(pattern, tokens))
    np.testing.assert_allclose(values[queries > 0] * queries[queries > 0], total[queries > 0], rtol=1e-12, atol=1e-300)
    assert np.isnan(values[queries == 0]).all()


def test_what_lies_above_the_diagonal_is_never_read():
    rng = np.random.default_rng(4)
    pattern, tokens = rng.random((2, 2, 9, 9)), rng.integers(0, 3, (2, 9))
    clean = pf.head_scores(np.tril(pattern), tokens)
    assert clean.equals(pf.head_scores(pattern, tokens))
    assert clean.equals(pf.head_scores(np.where(np.tri(9, dtype=bool), pattern, np.nan), tokens))


# Edges


def test_no_heads_give_an_empty_table_with_its_columns():
    table = pf.head_scores(np.ones((1, 0, 2, 2)), [[1, 2]])
    assert table.shape == (0, 8)
    assert table.schema["metric"] == pl.String
    assert table.schema["head"] == table.schema["n_queries"] == pl.Int64


@pytest.mark.parametrize("shape", [(0, 1, 3, 3), (1, 1, 0, 0)])
def test_nothing_to_average_gives_nan_and_no_queries(shape):
    table = pf.head_scores(np.ones(shape), np.ones((shape[0], shape[2]), int))
    assert table["value"].is_nan().all()
    assert table["n_queries"].to_list() == [0] * 12


def test_a_single_token_has_an_entropy_and_nothing_else():
    table = pf.head_scores(np.ones((2, 1, 1, 1)), [[1], [1]])
    assert table["n_queries"].to_list() == [0] * 11 + [2]
    assert column(table, "attention_entropy") == [0.0]


def test_a_nan_reaches_the_scores_it_enters_and_no_other_head():
    pattern = np.full((2, 3, 3), 1 / 4)
    pattern[0, 2, 1] = np.nan  # previous token of query 2, induction target of query 2
    table = pf.head_scores(pattern, [4, 5, 4])
    nan = table.filter(pl.col("value").is_nan())
    defined = nan.filter(pl.col("n_queries") > 0)  # nothing stands before the first 4
    assert defined["metric"].to_list() == [
        "prefix_matching_score", "prefix_matching_score_mean", "prefix_matching_score_nearest",
        "previous_token_score", "attention_entropy",
    ]  # fmt: skip
    assert set(defined["head"]) == {0}


def test_a_negative_entry_has_no_entropy():
    table = pf.head_scores(np.array([[[1, 0], [1.5, -0.5]]]), [1, 2])
    assert math.isnan(column(table, "attention_entropy")[0])


def test_subnormal_and_tiny_entries_count_with_their_true_entropy():
    tiny = [2.0**-24, 2.0**-20, 2.0**-15]  # subnormal in float16
    row = np.array([*tiny, 1.0])
    pattern = np.zeros((1, 4, 4), np.float16)
    pattern[0, :, 0], pattern[0, 3] = 1, row
    expected = -sum(p * math.log(p) for p in tiny) / 4
    assert column(pf.head_scores(pattern, range(4)), "attention_entropy") == pytest.approx([expected], rel=1e-13)
