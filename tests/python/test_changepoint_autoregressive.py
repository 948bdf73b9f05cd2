"""Cost "ar": the segment's own prediction by the samples before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import all_segmentations, autoregressive_cost, total_cost


def process(n_samples, coefficient, seed=0, level=0.0):
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    for i in range(1, n_samples):
        noise[i] += coefficient * noise[i - 1]
    return level + noise


# By hand


def test_four_samples_are_three_pairs():
    # (before, now): (0, 1), (1, 3), (3, 2). Means 4/3 and 2; squares 14/3 and 2; product 1; left 2 - 3/14.
    found = pf.detect([0.0, 1.0, 3.0, 2.0], cost="ar", order=1, n_changepoints=0)
    assert found.cost == pytest.approx(2 - 3 / 14)


def test_a_change_of_dynamics_is_found_where_it_is():
    before = process(300, 0.9)
    after = process(300, -0.7, seed=1)
    found = pf.detect(np.concatenate([before, after]), cost="ar", order=1)
    (changepoint,) = found.changepoints
    assert abs(changepoint - 300) <= 5
    assert "what the prediction leaves" in found.assumption


def test_what_drifts_by_itself_does_not_change():
    walk = np.cumsum(np.random.default_rng(3).normal(0.1, 1, 400))
    assert pf.detect(walk, cost="ar", order=1).changepoints.size == 0
    assert pf.detect(walk, cost="l2", penalty="bic").changepoints.size > 10


# The slow way


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_samples=st.integers(1, 13),
    order=st.integers(1, 3),
    jump=st.integers(1, 2),
    penalty=st.sampled_from([0.01, 0.3, 3.0]),
    search=st.sampled_from(["optimal", "pelt"]),
)
def test_no_segmentation_is_cheaper(seed, n_samples, order, jump, penalty, search):
    y = process(n_samples, 0.5, seed)
    least = min(order + 2, n_samples)
    found = pf.detect(y, cost="ar", order=order, search=search, penalty=penalty, jump=jump)
    every = all_segmentations(n_samples, least, jump)
    cheapest = min(total_cost("ar", None, y, cuts, order=order) + penalty * len(cuts) for cuts in every)
    assert found.cost + penalty * len(found.changepoints) == pytest.approx(cheapest, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("order", [1, 4])
def test_from_the_first_predictable_sample_on_a_segment_costs_what_ruptures_says(order):
    costs = pytest.importorskip("ruptures.costs")
    random = np.random.default_rng(order)
    y = process(120, 0.8, seed=order)
    theirs = costs.CostAR(order=order).fit(y.copy())
    for _ in range(60):
        start, end = sorted(random.choice(np.arange(order, 121), 2, replace=False))
        if end - start < max(theirs.min_size, order + 2):
            continue
        # Three segments of ours, of which the middle one is theirs.
        assert autoregressive_cost(y, start, end, order) == pytest.approx(theirs.error(start, end), rel=1e-9)
        mine = pf.detect(y[start - order : end], cost="ar", order=order, n_changepoints=0).cost
        assert mine == pytest.approx(theirs.error(start, end), rel=1e-8)


def test_features_add_up():
    y = np.stack([process(60, 0.5), process(60, -0.5, seed=1)], axis=1)
    one_by_one = sum(pf.detect(column, cost="ar", order=2, n_changepoints=0).cost for column in y.T)
    assert pf.detect(y, cost="ar", order=2, n_changepoints=0).cost == pytest.approx(one_by_one)


# Laws and edges


def test_offset_and_unit_change_nothing():
    y = np.concatenate([process(80, 0.9), process(80, -0.7, seed=1)])
    plain = pf.detect(y, cost="ar", order=2).changepoints.tolist()
    for other in (y + 1e8, 1e-200 * y, 1e150 * y):
        assert pf.detect(other, cost="ar", order=2).changepoints.tolist() == plain


@pytest.mark.parametrize("n_samples", [1, 2, 5, 6, 40])
def test_constants_and_short_signals_have_no_changepoint(n_samples):
    found = pf.detect(np.full(n_samples, 7.0), cost="ar")
    assert found.changepoints.size == 0
    assert found.cost == 0


def test_missing_samples_are_refused_between_others_and_left_out_at_the_ends():
    y = process(60, 0.5)
    padded = np.concatenate([[np.nan], y, [np.nan, np.nan]])
    assert pf.detect(padded, cost="ar", n_changepoints=0).cost == pytest.approx(
        pf.detect(y, cost="ar", n_changepoints=0).cost
    )
    y[20] = np.nan
    with pytest.raises(pf.exceptions.NotFiniteError, match=r"signal\[20\] is NaN"):
        pf.detect(y, cost="ar")
    with pytest.raises(pf.exceptions.NotFiniteError, match=r"signals\[1, 20 "):
        pf.detect_many(np.stack([np.zeros(60), y]), cost="ar")


@pytest.mark.parametrize("order", [0, 33])
def test_an_order_out_of_range_is_refused(order):
    with pytest.raises(pf.exceptions.ParameterError, match=f"order is {order}"):
        pf.detect([0.0, 1.0], cost="ar", order=order)
