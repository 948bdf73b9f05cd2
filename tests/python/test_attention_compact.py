"""Attention as queries, keys and log-sum-exp: the scores of the pattern it stands for."""

import math

import ml_dtypes
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from phaseflow.exceptions import ParameterError, ShapeError
from strategies import laid_out


def dense(queries: np.ndarray, keys: np.ndarray, scale: float) -> np.ndarray:
    """The pattern by its definition, in float64."""
    keys = np.repeat(keys.astype(float), queries.shape[1] // keys.shape[1], axis=1)
    products = scale * np.einsum("bhqd,bhkd->bhqk", queries.astype(float), keys)
    weights = np.tril(np.exp(products - products.max()))
    return weights / weights.sum(-1, keepdims=True)


def test_two_keys_share_attention_as_their_products_say():
    # Query 1 meets keys with products 0 and ln 3 (scale 1): weights 1/4 and 3/4. Its token came at position 0.
    queries, keys = np.array([[[[1.0], [1.0]]]]), np.array([[[[0.0], [math.log(3)]]]])
    compact = pf.CompactPattern(queries, keys, scale=1.0)
    score = pf.prefix_matching_score(compact, [[5, 5]])  # the target is the query itself
    assert score.tolist() == pytest.approx([3 / 4], rel=1e-15)


@given(st.data())
def test_scores_are_those_of_the_pattern(data):
    batch, groups, key_heads = (data.draw(st.integers(1, 3)) for _ in range(3))
    n_pos, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    queries = data.draw(laid_out(rng.normal(size=(batch, groups * key_heads, n_pos, width))))
    keys = data.draw(laid_out(rng.normal(size=(batch, key_heads, n_pos, width))))
    tokens = rng.integers(0, 4, (batch, n_pos))
    compact = pf.CompactPattern(queries, keys)
    pattern = dense(queries, keys, width**-0.5)
    # What is stored in sixteen bits is rebuilt in single precision.
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-5} if queries.itemsize == keys.itemsize == 2 else {"rtol": 1e-11, "atol": 1e-13}
    )
    for column in ("value", "standard_error", "chance", "n_queries"):
        found, expected = (pf.head_scores(each, tokens, bos=0)[column].to_numpy() for each in (compact, pattern))
        np.testing.assert_allclose(found, expected, **tolerance)
    for reduce in ("sum", "mean", "nearest"):
        for offset in (-1, 0, 1):
            found, expected = (
                pf.prefix_matching_score(each, tokens, reduce=reduce, offset=offset) for each in (compact, pattern)
            )
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 2e-2), (ml_dtypes.bfloat16, 0.1), (np.float32, 1e-5)])
def test_what_is_stored_in_fewer_bits_costs_its_rounding(dtype, tolerance):
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(2, 2, 3, 20, 16))
    tokens = rng.integers(0, 5, (2, 20))
    exact = pf.CompactPattern(queries, keys)
    kept = pf.CompactPattern(queries.astype(dtype), keys.astype(dtype), exact.log_sum_exp.astype(dtype))
    found, expected = (pf.prefix_matching_score(each, tokens) for each in (kept, exact))
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    assert not np.array_equal(found, expected)


def test_one_and_two_threads_give_the_same_bits():
    rng = np.random.default_rng(0)
    compact = pf.CompactPattern(*rng.normal(size=(2, 3, 4, 30, 8)))
    tokens = rng.integers(0, 5, (3, 30))
    one, two = (pf.head_scores(compact, tokens, threads=threads) for threads in (1, 2))
    assert one.equals(two)


def test_torchs_log_sum_exp_is_taken_as_it_is():
    torch = pytest.importorskip("torch")
    queries, keys = torch.randn(2, 2, 3, 10, 8, generator=torch.Generator().manual_seed(0))
    future = torch.ones(10, 10, dtype=torch.bool).triu(1)
    products = (queries @ keys.transpose(-1, -2) / 8**0.5).masked_fill(future, -torch.inf)
    compact = pf.CompactPattern(queries, keys, products.logsumexp(-1))
    tokens = np.tile(np.arange(5), (2, 2))
    expected = pf.prefix_matching_score(products.softmax(-1), tokens)
    np.testing.assert_allclose(pf.prefix_matching_score(compact, tokens), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("queries", "keys", "lse", "tokens", "message"),
    [
        ((1, 4, 3, 2), (1, 3, 3, 2), (1, 4, 3), (1, 3), "keys is 3, expected a number of heads that divides the 4"),
        ((1, 4, 3, 2), (1, 4, 3, 5), (1, 4, 3), (1, 3), "keys has 5 along d_head, expected 2"),
        ((1, 4, 3, 2), (1, 4, 2, 2), (1, 4, 3), (1, 3), "keys has 2 along pos, expected 3"),
        ((1, 4, 3, 2), (1, 4, 3, 2), (1, 4, 2), (1, 3), "log_sum_exp has 2 along pos, expected 3"),
        ((1, 4, 3, 2), (1, 4, 3, 2), (1, 4, 3), (1, 4), "tokens has 4 along pos, expected 3"),
        ((1, 4, 3, 2), (1, 4, 3, 2), (1, 4, 3), (3,), r"tokens must have axes \(batch, pos\)"),
    ],
)
def test_parts_that_do_not_fit_are_named(queries, keys, lse, tokens, message):
    compact = pf.CompactPattern(np.ones(queries), np.ones(keys), np.ones(lse))
    for measure in (pf.head_scores, pf.prefix_matching_score):
        with pytest.raises((ShapeError, ParameterError), match=message):
            measure(compact, np.ones(tokens, int))


def test_queries_without_a_batch_axis_are_refused():
    with pytest.raises(ShapeError, match=r"queries has shape \(3, 2\), expected \(batch, head, pos, d_head\)"):
        pf.CompactPattern(np.ones((3, 2)), np.ones((3, 2)))


def test_no_keys_no_heads_and_no_examples_crash_nothing():
    empty = pf.CompactPattern(np.ones((2, 0, 3, 2)), np.ones((2, 1, 3, 2)))
    assert pf.prefix_matching_score(empty, np.ones((2, 3), int)).shape == (0,)
    none = pf.CompactPattern(np.ones((0, 2, 3, 2)), np.ones((0, 2, 3, 2)))
    assert np.isnan(pf.prefix_matching_score(none, np.ones((0, 3), int))).tolist() == [True, True]


# In an archive


def test_a_recorder_keeps_the_parts_and_the_archives_scores_are_the_patterns(tmp_path):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (2, 12))
    layers = [pf.CompactPattern(*rng.normal(size=(2, 2, 3, 12, 4)), scale=0.7) for _ in range(2)]
    with pf.Recorder(tmp_path, probes={"text": pf.Probe(tokens)}) as recorder:
        recorder.log(1, attention={"text": layers})
        recorder.log(2, attention={"text": [dense(layer.queries, layer.keys, 0.7) for layer in layers]})
    archive = pf.open(tmp_path)
    scores = archive.head_scores()
    assert archive.problems.is_empty()
    compact, whole = (scores.filter(pl.col("step") == step).drop("step") for step in (1, 2))
    assert compact.height == 2 * 3 * 12
    assert compact.drop("value", "standard_error").equals(whole.drop("value", "standard_error"))
    np.testing.assert_allclose(compact["value"].to_numpy(), whole["value"].to_numpy(), rtol=1e-12)


def test_nan_in_a_part_is_a_problem_of_the_pattern(tmp_path):
    queries, keys = np.ones((2, 1, 1, 3, 2))
    compact = pf.CompactPattern(queries, keys)
    compact.log_sum_exp[0, 0, 2] = np.nan
    with pf.Recorder(tmp_path, probes={"text": pf.Probe([[1, 2, 1]])}) as recorder:
        recorder.log(1, attention={"text": [compact]})
    archive = pf.open(tmp_path)
    archive.head_scores()
    assert archive.problems["object"].to_list() == ["attention/text/L00 at step 1"]


def test_parts_that_do_not_fit_the_probe_are_refused_and_nothing_is_written(tmp_path):
    broken = pf.CompactPattern(np.ones((1, 1, 3, 2)), np.ones((1, 1, 4, 2)), np.ones((1, 1, 3)))
    with pf.Recorder(tmp_path, probes={"text": pf.Probe([[1, 2, 1]])}) as recorder:
        with pytest.raises(ShapeError, match=r"L00/keys has shape \(1, 1, 4, 2\), expected \(1, 1, 3, 2\)"):
            recorder.log(1, attention={"text": [broken]})
        assert recorder.last_step is None
