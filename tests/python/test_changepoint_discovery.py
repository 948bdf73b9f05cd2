"""q-values: by hand, by the definition, and what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import benjamini_hochberg, storey

METHODS = ["benjamini-hochberg", "storey"]


def test_four_tests_by_hand():
    # 0.01 * 4/1, 0.02 * 4/2, 0.06 * 4/3, 0.8 * 4/4; the first may not be above the second.
    assert pf.q_values([0.06, 0.01, 0.8, 0.02]).tolist() == pytest.approx([0.08, 0.04, 0.8, 0.04])
    # One of ten lies above 1/2: the share without an effect is (1 + 1) / 5.
    p = [0.001, 0.004, 0.009, 0.012, 0.02, 0.03, 0.04, 0.05, 0.06, 0.7]
    expected = [0.4 * value * 10 / rank for rank, value in enumerate(p[:-1], 1)]
    found = pf.q_values(p, method="storey")
    assert found[:3].tolist() == pytest.approx([0.4 * 0.01, 0.4 * 0.02, 0.4 * 0.03])
    assert found[4:9].tolist() == pytest.approx(np.minimum.accumulate(expected[::-1])[::-1][4:])
    assert found[9] == 1


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 40),
    effects=st.sampled_from([0.0, 0.5, 1.0]),
    rate=st.sampled_from([0.01, 0.1, 0.3]),
)
def test_those_at_most_at_the_rate_are_those_the_definition_keeps(seed, count, effects, rate):
    random = np.random.default_rng(seed)
    p = random.random(count) ** np.where(random.random(count) < effects, 6, 1)
    p = np.round(p, 2) if seed % 2 else p
    assert (pf.q_values(p) <= rate * (1 + 1e-12)).tolist() == benjamini_hochberg(p, rate * (1 + 1e-12)).tolist()
    assert (pf.q_values(p, method="storey") <= rate * (1 + 1e-12)).tolist() == storey(p, rate * (1 + 1e-12)).tolist()


def test_storey_keeps_the_rate_and_finds_more_where_much_is_to_be_found():
    random = np.random.default_rng(0)
    shares, kept = {method: [] for method in METHODS}, dict.fromkeys(METHODS, 0)
    for _ in range(200):
        p = random.random(500)
        p[:300] = p[:300] ** 8
        for method in METHODS:
            found = pf.q_values(p, method=method) <= 0.1
            shares[method].append(found[300:].sum() / max(1, found.sum()))
            kept[method] += found.sum()
    # Benjamini and Hochberg's rate is 0.1 times the share without an effect, 0.4.
    assert np.mean(shares["benjamini-hochberg"]) == pytest.approx(0.04, abs=0.005)
    assert 0.08 < np.mean(shares["storey"]) <= 0.102
    assert kept["storey"] > 1.05 * kept["benjamini-hochberg"]


@pytest.mark.parametrize("method", METHODS)
def test_order_shape_and_missing_tests_change_nothing(method):
    p = np.random.default_rng(1).random((4, 10)) ** 3
    whole = pf.q_values(p, method=method)
    assert pf.q_values(p.ravel()[::-1], method=method)[::-1].tolist() == whole.ravel().tolist()
    holes = np.insert(p.ravel(), [0, 7, 40], np.nan)
    with_holes = pf.q_values(holes, method=method)
    assert with_holes[~np.isnan(holes)].tolist() == whole.ravel().tolist()
    assert np.isnan(with_holes).sum() == 3
    assert pf.q_values([], method=method).shape == (0,)
    assert pf.q_values([1.0, 1.0], method=method).tolist() == [1, 1]


def test_many_series_pass_by_either_method():
    y = np.random.default_rng(0).normal(0, 1, (400, 30))
    y[:250, 15:] += np.linspace(0.5, 3, 250)[:, None]
    p = pf.detect_many(y, search="single")["p_value"].to_numpy()
    kept = {method: pf.detect_many(y, search="single", fdr=0.05, fdr_method=method) for method in METHODS}
    for method in METHODS:
        assert kept[method]["series"].to_list() == np.flatnonzero(pf.q_values(p, method=method) <= 0.05).tolist()
    assert kept["storey"].height > kept["benjamini-hochberg"].height
    with pytest.raises(pf.exceptions.UnknownNameError, match="benjamini-hochberg, storey"):
        pf.detect_many(y, fdr_method="bonferroni")


def test_what_is_no_p_value_or_method_is_refused():
    for wrong in (-0.1, 1.5):
        with pytest.raises(pf.exceptions.ParameterError, match=f"p_values hold {wrong}"):
            pf.q_values([0.5, wrong])
    with pytest.raises(pf.exceptions.UnknownNameError, match="benjamini-hochberg, storey"):
        pf.q_values([0.5], method="bh")
