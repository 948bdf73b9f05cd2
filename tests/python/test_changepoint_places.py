"""Where else a changepoint of detect may lie: by hand, against the slow profile, and how often it holds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from oracles.places import place

PROFILED = ("l2", "l1", "normal", "variance", "poisson", "linear", "clinear", "ar")
ALL = (*PROFILED, "biweight", "rank", "cosine", "rbf")
CUT = -2 * math.log(1 - math.sqrt(0.95))  # 7.35


def signal(cost, random, n_samples=40, place=None):
    """With one change that the cost looks for."""
    late = np.arange(n_samples) >= (n_samples // 2 if place is None else place)
    y = random.normal(0, 1, n_samples)
    if cost in ("normal", "variance"):
        return y * np.where(late, 4, 1)
    if cost == "poisson":
        return random.poisson(np.where(late, 4, 1)).astype(float)
    if cost in ("linear", "clinear"):
        return y + np.where(late, 0.5 * (np.arange(n_samples) - late.argmax()), 0.0)
    if cost == "ar":
        for i in range(1, n_samples):
            y[i] += (-0.9 if late[i] else 0.9) * y[i - 1]
        return y
    y = y + 2.0 * late
    return np.stack([y + 5, random.normal(2, 1, n_samples)], axis=1) if cost == "cosine" else y


def found(cost, y, x=None, **options):
    given = {"penalty": "bic"} if cost == "biweight" else {"n_changepoints": 1}
    return pf.detect(y, x=x, cost=cost, **(given | options))


# By hand


def test_counts_that_fit_nearly_as_well_belong_to_the_interval():
    # Twice the negative log-likelihood of 4 zeros, then 2 4 4 4, cut before sample k. A rate r of n samples with s
    # events costs 2 (s - s ln r). At 4: s = 14 of 4. At 5: 2 of 5 and 12 of 3. At 6: 6 of 6 and 8 of 2. At 3: 14 of 5.
    y = [0, 0, 0, 0, 2, 4, 4, 4]
    cost = {4: -28 * math.log(14 / 4), 5: -4 * math.log(2 / 5) - 24 * math.log(4), 6: -16 * math.log(4)}
    cost[3] = -28 * math.log(14 / 5)
    assert min(cost, key=cost.get) == 4
    assert cost[5] - cost[4] < CUT < cost[6] - cost[4]
    assert cost[3] - cost[4] < CUT
    cost[2], cost[1] = -28 * math.log(14 / 6), -28 * math.log(14 / 7)
    assert cost[2] - cost[4] > CUT
    assert found("poisson", y).places.tolist() == [[3, 5]]


def test_a_sample_half_way_belongs_to_either_side():
    # Medians 0 and 8, a sample of 4 between them: on either side it costs 4, and nothing else does.
    (places,) = found("l1", [0.0] * 6 + [4.0] + [8.0] * 6).places.tolist()
    assert places == [6, 7]


def test_a_clean_kink_is_certain():
    y = np.r_[np.zeros(20), np.arange(20.0)]
    assert found("clinear", y).places.tolist() == [[20, 20]]


# The slow profile


@settings(max_examples=60, deadline=None)
@given(
    cost=st.sampled_from(PROFILED),
    seed=st.integers(0, 2**31),
    n_samples=st.integers(14, 40),
    min_size=st.integers(3, 5),
    level=st.sampled_from([0.5, 0.9, 0.99]),
)
def test_intervals_are_those_of_the_slow_profile(cost, seed, n_samples, min_size, level):
    random = np.random.default_rng(seed)
    x = np.cumsum(random.uniform(0.1, 3, n_samples))
    y = signal(cost, random, n_samples, random.integers(min_size, n_samples - min_size))
    one = found(cost, y, x, min_size=min_size, level=level)
    expected = place(cost, x, y, one.changepoints[0], min_size, level)
    assert tuple(one.places[0].tolist()) == expected


# Laws


@pytest.mark.parametrize("cost", [cost for cost in ALL if cost != "rbf"])
def test_intervals_hold_the_place_as_often_as_they_say(cost):
    inside = []
    for seed in range(120):
        one = found(cost, signal(cost, np.random.default_rng(seed)))
        if len(one.changepoints) == 1:
            first, last = one.places[0]
            inside.append(first <= 20 <= last)
    assert len(inside) > 60
    # Five standard errors below the nominal level.
    assert np.mean(inside) > 0.95 - 5 * math.sqrt(0.95 * 0.05 / len(inside))


@pytest.mark.parametrize("cost", ALL)
def test_an_interval_holds_its_changepoint_and_stays_between_the_neighbours(cost):
    random = np.random.default_rng(3)
    y = np.concatenate([signal(cost, random), signal(cost, random)])
    given = {"penalty": "bic"} if cost == "biweight" else {"n_changepoints": 3}
    result = pf.detect(y, cost=cost, **given)
    bounds = np.r_[0, result.changepoints, len(y)]
    assert len(result.places) == len(bounds) - 2 > 0
    for index, (first, last) in enumerate(result.places):
        assert bounds[index] < first <= bounds[index + 1] <= last < bounds[index + 2]


@pytest.mark.parametrize("cost", ALL)
def test_offset_and_unit_move_no_interval(cost):
    y = signal(cost, np.random.default_rng(5))
    plain = found(cost, y)
    changes = {"poisson": [], "cosine": [(1e10, 0.0)]}.get(cost, [(1e-100, 0.0), (1e100, 0.0), (-1.0, 0.0), (1.0, 1e6)])
    for scale, offset in changes:
        assert found(cost, scale * y + offset).places.tolist() == plain.places.tolist()


@pytest.mark.parametrize("cost", [cost for cost in ALL if cost != "ar"])
def test_missing_samples_count_for_nothing(cost):
    random = np.random.default_rng(7)
    y, x = signal(cost, random), np.cumsum(random.uniform(0.1, 3, 40))
    holes, wide = np.full((80, *y.shape[1:]), np.nan), np.empty(80)
    holes[::2], wide[::2], wide[1::2] = y, x, x + 0.01
    alone, among = found(cost, y, x), found(cost, holes, wide)
    assert among.places.tolist() == (2 * alone.places).tolist()


def test_features_that_hold_the_change_together_narrow_the_interval():
    random = np.random.default_rng(1)
    y = random.normal(0, 1, (60, 4)) + 1.2 * (np.arange(60) >= 30)[:, None]
    one, all_four = found("l2", y[:, 0], level=0.99), found("l2", y, level=0.99)
    assert np.ptp(all_four.places) < np.ptp(one.places)
    # Four copies of one feature know no more than one.
    assert found("l2", np.repeat(y[:, :1], 4, axis=1), level=0.99).places.tolist() == one.places.tolist()


def test_a_cost_without_a_likelihood_gives_the_changepoint_alone():
    result = found("rbf", signal("rbf", np.random.default_rng(0)))
    assert result.places.tolist() == [[result.changepoints[0]] * 2]
