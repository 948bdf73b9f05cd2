"""Approximate searches: seeded binary segmentation and the sliding window do what their papers say, and say what they are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import seeded, segment_cost

SEARCHES = ["binseg", "bottom-up", "seeded", "window"]


def problem(seed, n_samples, n_features=1):
    random = np.random.default_rng(seed)
    levels = np.repeat(random.normal(0, 3, (n_samples, n_features)), random.integers(1, 9, n_samples), axis=0)[
        :n_samples
    ]
    return np.cumsum(random.uniform(0.1, 3, n_samples)), levels + random.normal(0, 1, (n_samples, n_features))


# By hand


def test_a_short_bump_that_hides_from_binary_segmentation_is_seen_in_a_narrow_interval():
    # Six of a hundred samples are 2: only two cuts together are worth their price.
    y = np.zeros(100)
    y[47:53] = 2.0
    # Whole: squares 24 - 144/100; the best single cut, after 53: leaves 24 - 144/53, so it gains 144 (1/53 - 1/100).
    penalty = 3.0
    assert penalty > 144 * (1 / 53 - 1 / 100)
    assert pf.detect(y, search="binseg", penalty=penalty).changepoints.size == 0
    assert pf.detect(y, search="seeded", penalty=penalty).changepoints.tolist() == [47, 53]
    assert pf.detect(y, penalty=penalty).changepoints.tolist() == [47, 53]


def test_the_window_sees_a_step_as_the_gain_of_its_two_halves():
    # Six of each side: the gain is 6 * 6 / 12 * 2^2 = 12.
    y = np.repeat([0.0, 2.0], 30)
    assert pf.detect(y, search="window", width=12, penalty=59.9).changepoints.tolist() == [30]
    # What the cut must be worth is what it gains between its neighbours: 15 * 4.
    assert pf.detect(y, search="window", width=12, penalty=60.1).changepoints.size == 0


# The definitions


@settings(max_examples=100, deadline=None)
@given(
    cost=st.sampled_from(["l2", "linear", "l1", "normal"]),
    seed=st.integers(0, 2**31),
    n_samples=st.integers(2, 40),
    min_size=st.integers(2, 4),
    jump=st.integers(1, 3),
    penalty=st.sampled_from([0.5, 5.0, 20.0]),
)
def test_seeded_segmentation_is_its_definition(cost, seed, n_samples, min_size, jump, penalty):
    x, y = problem(seed, n_samples)
    min_size = min(min_size, n_samples)
    noise = pf.detect(y, penalty="bic").noise_variance

    def price(start, end):
        return segment_cost(cost, x, y, start, end, noise)

    options = {"x": x, "cost": cost, "search": "seeded", "min_size": min_size, "jump": jump}
    found = pf.detect(y, penalty=penalty, **options)
    bounds = [0, *found.changepoints, n_samples]
    assert all(b - a >= min_size for a, b in pairwise(bounds))
    if cost != "l1":  # whose gains tie
        assert found.changepoints.tolist() == seeded(price, n_samples, penalty, min_size, jump)
        count = len(found.changepoints)
        expected = seeded(price, n_samples, 0.0, min_size, jump, count)
        if len(expected) == count:
            assert pf.detect(y, n_changepoints=count, **options).changepoints.tolist() == expected
        else:
            with pytest.raises(pf.exceptions.ParameterError, match=f"at most the {len(expected)} that"):
                pf.detect(y, n_changepoints=count, **options)


@pytest.mark.parametrize(("cost", "width", "jump"), [("l2", 20, 1), ("l2", 10, 2), ("normal", 20, 1), ("rank", 20, 1)])
def test_the_window_is_that_of_ruptures(cost, width, jump):
    ruptures = pytest.importorskip("ruptures")
    same = 0
    for seed in range(20):
        y = np.repeat(np.random.default_rng(seed).normal(0, 4, 6), 30)[:, None]
        y = y + np.random.default_rng(seed + 1).normal(0, 1, y.shape)
        params = {"add_small_diag": False} if cost == "normal" else None
        window = ruptures.Window(width=width, model=cost, params=params, min_size=2, jump=jump).fit(y)
        theirs = window.predict(n_bkps=3)[:-1]
        ours = pf.detect(y, cost=cost, search="window", width=width, min_size=2, jump=jump, n_changepoints=3)
        # ruptures wraps the ends of the signal together, which can hide a peak near one of them.
        same += ours.changepoints.tolist() == theirs
    assert same >= 18


# Beside the exact searches


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("cost", ["l2", "l1", "normal", "poisson", "linear", "rank", "cosine"])
def test_an_approximate_search_is_never_cheaper_than_the_exact_one_and_says_so(search, cost):
    for seed in range(5):
        x, y = problem(seed, 60, 2)
        y = np.round(np.abs(y)) if cost == "poisson" else y
        options = {"x": x, "cost": cost, "penalty": 4.0, "min_size": 3}
        near, exact = pf.detect(y, search=search, **options), pf.detect(y, **options)
        assert near.cost + 4 * len(near.changepoints) >= exact.cost + 4 * len(exact.changepoints) - 1e-9
        assert exact.exact
        assert not near.exact
        assert f"{search} (approximate)" in str(near)
        assert "approximate" not in str(exact)


@pytest.mark.parametrize("search", ["seeded", "window"])
def test_clear_steps_are_found_by_all(search):
    y = np.repeat([0.0, 8.0, 2.0, 9.0, -3.0], 40) + np.random.default_rng(0).normal(0, 1, 200)
    assert pf.detect(y, search=search).changepoints.tolist() == [40, 80, 120, 160]
    assert pf.detect_many(y[None], search=search)["changepoint"].to_list() == [40, 80, 120, 160]


@pytest.mark.parametrize("search", ["seeded", "window"])
def test_constants_and_the_shortest_signals_have_no_changepoint(search):
    for n_samples in (1, 2, 3, 50):
        assert pf.detect(np.full(n_samples, 3.0), search=search).changepoints.size == 0
    assert pf.detect([0.0, 9.0], search="seeded", penalty=1).changepoints.tolist() == [1]
    assert pf.detect([0.0, 9.0], search="window", penalty=1).changepoints.tolist() == [1]


@pytest.mark.parametrize("search", ["seeded", "window"])
def test_offset_unit_and_sign_change_no_changepoint(search):
    y = problem(3, 120)[1]
    plain = pf.detect(y, search=search, penalty="bic")
    assert plain.changepoints.size
    for other in (y + 1e8, y * 1e-200, y * 1e140, -y):
        assert pf.detect(other, search=search, penalty="bic").changepoints.tolist() == plain.changepoints.tolist()


def test_what_they_cannot_do_is_refused_by_name():
    y = np.arange(6.0)
    for search in ("seeded", "window"):
        with pytest.raises(pf.exceptions.ParameterError, match="quadratic"):
            pf.detect(y, search=search, cost="rbf")
        with pytest.raises(pf.exceptions.ParameterError, match="functional"):
            pf.detect(y, search=search, cost="clinear")
        with pytest.raises(pf.exceptions.ParameterError, match="not exact, so it has no path"):
            pf.detect_path(y, search=search)
        with pytest.raises(pf.exceptions.ParameterError, match="n_changepoints is 6"):
            pf.detect(y, search=search, n_changepoints=6)
    for width in (0, -1):
        with pytest.raises(pf.exceptions.ParameterError, match=f"width is {width}"):
            pf.detect(y, search="window", width=width)
