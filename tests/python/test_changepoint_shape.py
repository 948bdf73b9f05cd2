"""Levels of a given shape: by hand, against every segmentation, against isotonic regression, and its laws."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import all_segmentations, has_shape, isotonic, total_cost

SHAPES = ["down", "up", "up-down", "down-up"]


def problem(seed, n_samples):
    random = np.random.default_rng(seed)
    levels = np.repeat(random.normal(0, 3, n_samples), random.integers(1, 4, n_samples))[:n_samples]
    y = levels + random.normal(0, 1, n_samples)
    return np.round(y) if seed % 3 == 0 else y  # with ties


def price(found, penalty):
    return found.cost + penalty * len(found.changepoints)


# By hand


def test_a_bump_is_one_way_up_and_one_way_down():
    y = [0, 0, 4, 4, 4, 1, 1]
    assert pf.detect(y, penalty=1, shape="up-down").changepoints.tolist() == [2, 5]
    # Only down: 0 0 4 4 4 are one level, 12/5, which costs 3 * 16 - 144/5 = 19.2; then 1 costs 0 and a changepoint 1.
    down = pf.detect(y, penalty=1, shape="down")
    assert down.changepoints.tolist() == [5]
    assert down.cost == pytest.approx(19.2)
    # Only up: 4 4 4 1 1 are one level, 14/5: 50 - 196/5 = 10.8.
    up = pf.detect(y, penalty=1, shape="up")
    assert (up.changepoints.tolist(), up.cost) == ([2], pytest.approx(10.8))
    # A dip first goes down: what remains is the one step down, or the one up; up is cheaper.
    assert pf.detect(y, penalty=1, shape="down-up").changepoints.tolist() == [2]


def test_the_result_says_what_it_assumes():
    found = pf.detect([3, 3, 1, 1], penalty=1, shape="down")
    assert "levels that only go down" in str(found)
    assert found.exact
    assert found.search == "functional"


# Every segmentation


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_samples=st.integers(1, 10),
    shape=st.sampled_from(SHAPES),
    penalty=st.sampled_from([1e-6, 0.3, 2.0, 15.0]),
)
def test_no_segmentation_of_that_shape_is_cheaper(seed, n_samples, shape, penalty):
    y = problem(seed, n_samples)
    found = pf.detect(y, penalty=penalty, shape=shape)
    assert has_shape(found.means[:, 0], shape)
    assert found.cost == pytest.approx(total_cost("l2", None, y, found.changepoints), rel=1e-9, abs=1e-9)

    def levels(cuts):
        return [y[a:b].mean() for a, b in pairwise([0, *cuts, n_samples])]

    every = [cuts for cuts in all_segmentations(n_samples) if has_shape(levels(cuts), shape)]
    cheapest = min(total_cost("l2", None, y, cuts) + penalty * len(cuts) for cuts in every)
    assert price(found, penalty) == pytest.approx(cheapest, rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), n_samples=st.integers(2, 60), rising=st.booleans())
def test_without_a_penalty_it_is_isotonic_regression(seed, n_samples, rising):
    y = problem(seed, n_samples)
    expected = ((y - isotonic(y, rising)) ** 2).sum()
    found = pf.detect(y, penalty=0.0, shape="up" if rising else "down")
    assert found.cost == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), n_samples=st.integers(2, 60))
def test_without_a_penalty_a_bump_is_the_best_split_into_two_isotonic_parts(seed, n_samples):
    y = problem(seed, n_samples)

    def cost(part, rising):
        return ((part - isotonic(part, rising)) ** 2).sum() if len(part) else 0.0

    # Unimodal regression: the top belongs to either part.
    expected = min(cost(y[:k], True) + cost(y[k:], False) for k in range(n_samples + 1))
    assert pf.detect(y, penalty=0.0, shape="up-down").cost == pytest.approx(expected, rel=1e-9, abs=1e-9)


# Laws


@pytest.mark.parametrize("penalty", [0.0, 1.0, 10.0])
def test_more_room_never_costs_more_and_the_best_that_has_the_shape_is_found(penalty):
    for seed in range(40):
        y = problem(seed, 80)
        free = pf.detect(y, penalty=penalty)
        costs = {shape: price(pf.detect(y, penalty=penalty, shape=shape), penalty) for shape in SHAPES}
        for shape in SHAPES:
            assert costs[shape] >= price(free, penalty) - 1e-8
            if has_shape(free.means[:, 0], shape):
                assert costs[shape] == pytest.approx(price(free, penalty), abs=1e-8)
        assert costs["up-down"] <= min(costs["up"], costs["down"]) + 1e-8
        assert costs["down-up"] <= min(costs["up"], costs["down"]) + 1e-8


def test_upside_down_and_backwards_swap_the_shapes():
    for seed in range(20):
        y = problem(3 * seed + 1, 70)
        for shape, upside_down, backwards in [
            ("up", "down", "down"),
            ("up-down", "down-up", "up-down"),
            ("down-up", "up-down", "down-up"),
        ]:
            found = pf.detect(y, penalty=3.0, shape=shape)
            assert pf.detect(-y, penalty=3.0, shape=upside_down).changepoints.tolist() == found.changepoints.tolist()
            reversed_ = pf.detect(y[::-1], penalty=3.0, shape=backwards)
            assert (70 - reversed_.changepoints[::-1]).tolist() == found.changepoints.tolist()


def test_offset_and_unit_change_no_changepoint():
    y = np.sort(problem(7, 60))
    plain = pf.detect(y, shape="up", penalty="bic")
    assert plain.changepoints.size
    for other in (y + 1e8, y * 1e-200, y * 1e140):
        assert pf.detect(other, shape="up", penalty="bic").changepoints.tolist() == plain.changepoints.tolist()


def test_a_noisy_bump_is_cut_into_what_it_is():
    y = np.repeat([0.0, 3.0, 6.0, 2.0], 50) + np.random.default_rng(0).normal(0, 1, 200)
    found = pf.detect(y, shape="up-down", penalty=20)
    assert found.changepoints == pytest.approx([50, 100, 150], abs=3)


def test_missing_samples_are_left_out():
    y = np.repeat([5.0, 2.0], 10)
    y[[0, 10, 13]] = np.nan
    assert pf.detect(y, penalty=1.0, shape="down").changepoints.tolist() == [11]


@pytest.mark.parametrize("shape", SHAPES)
def test_constants_and_the_shortest_signals_have_no_changepoint(shape):
    for n_samples in (1, 2, 30):
        for value in (0.0, 1.1, 1e300, 1e-300):
            assert pf.detect(np.full(n_samples, value), shape=shape).changepoints.size == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"shape": "flat"}, pf.exceptions.UnknownNameError, "any, down, up, up-down, down-up"),
        ({"cost": "l1"}, pf.exceptions.ParameterError, "a shape is for cost \"l2\""),
        ({"min_size": 2}, pf.exceptions.ParameterError, "min_size=1"),
        ({"n_changepoints": 1}, pf.exceptions.ParameterError, "with a penalty"),
        ({"search": "pelt"}, pf.exceptions.ParameterError, "functional"),
        ({"signal": np.zeros((4, 2))}, pf.exceptions.ParameterError, "one feature"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):
        pf.detect(**({"signal": [0.0, 1.0, 0.0, 2.0], "shape": "up"} | arguments))
