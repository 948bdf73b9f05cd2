"""detect_path: every segmentation that is the cheapest at some penalty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import all_segmentations, total_cost


def corners(cost, x, y, min_size, lowest, highest):
    """Numbers of changepoints on the lower hull of the least costs, where its slope passes the penalties."""
    least = {}
    for cuts in all_segmentations(len(y), min_size, kinks=cost == "clinear"):
        value = total_cost(cost, x, y, cuts)
        least[len(cuts)] = min(value, least.get(len(cuts), np.inf))
    grid = np.concatenate([[lowest, highest], np.geomspace(lowest, highest, 4001)])
    return {min(least, key=lambda m: least[m] + penalty * m) for penalty in grid}, least


# By hand


def test_the_path_of_six_numbers():
    path = pf.detect_path([0, 0, 0, 6, 6, 9], penalties=(1, 100))
    # Costs 153 - 21^2 / 6 = 79.5, 6, 0: the first changepoint gains 73.5, the second 6.
    assert path["changepoints"].to_list() == [[], [3], [3, 5]]
    assert path["cost"].to_list() == pytest.approx([79.5, 6, 0])
    assert path["penalty_lower"].to_list() == pytest.approx([73.5, 6, 1])
    assert path["penalty_upper"].to_list() == pytest.approx([100, 73.5, 6])


def test_a_bump_has_no_segmentation_with_one_changepoint():
    path = pf.detect_path([0, 0, 0, 5, 5, 0, 0, 0], penalties=(1, 1000))
    assert path["n_changepoints"].to_list() == [0, 2]


# Every segmentation


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_samples=st.integers(2, 9),
    cost=st.sampled_from(["l2", "l1", "linear", "clinear"]),
    min_size=st.integers(1, 2),
)
def test_no_corner_is_left_out(seed, n_samples, cost, min_size):
    random = np.random.default_rng(seed)
    x, y = np.cumsum(random.uniform(0.1, 2, n_samples)), 3 * random.normal(size=n_samples)
    path = pf.detect_path(y, x=x, cost=cost, min_size=min_size, penalties=(0.01, 500))
    found = dict(zip(path["n_changepoints"], path["cost"], strict=True))
    seen, least = corners(cost, x, y, min_size, 0.01, 500)
    for count, value in found.items():
        assert value == pytest.approx(least[count], rel=1e-8, abs=1e-8)
    # A corner narrower than the oracle's grid is seen by one of the two only, and costs next to nothing there.
    for count in seen - set(found):
        below, above = max(m for m in found if m < count), min(m for m in found if m > count)
        chord = found[below] + (found[above] - found[below]) * (count - below) / (above - below)
        assert least[count] > chord - 1e-7
    assert path["penalty_lower"].to_list() == sorted(path["penalty_lower"].to_list(), reverse=True)


@pytest.mark.parametrize("cost", ["l2", "biweight", "normal", "rank"])
def test_every_row_is_what_detect_finds_at_its_penalties(cost):
    random = np.random.default_rng(3)
    y = np.repeat(random.normal(0, 3, 6), 10) + random.normal(size=60)
    path = pf.detect_path(y, cost=cost)
    assert path["n_changepoints"][0] == 0
    assert path["penalty_lower"][-1] == pytest.approx(pf.detect(y, cost=cost, penalty="aic").penalty)
    for row in path.iter_rows(named=True):
        for share in (0.01, 0.5, 0.99):
            penalty = row["penalty_lower"] + share * (row["penalty_upper"] - row["penalty_lower"])
            found = pf.detect(y, cost=cost, penalty=penalty)
            assert len(found.changepoints) == len(row["changepoints"]) == row["n_changepoints"]
            assert found.cost == pytest.approx(row["cost"], rel=1e-10)


# Edges


def test_a_constant_has_a_path_of_one():
    path = pf.detect_path(np.ones(10))
    assert path["n_changepoints"].to_list() == [0]
    assert path["changepoints"].to_list() == [[]]


def test_costs_that_tie_but_for_rounding_are_no_error():
    counts = [1, 2, 0, 2, 2, 2, 0, 0, 1, 2, 1, 2, 2, 2, 0, 2, 0, 2, 2, 1, 2, 2]
    path = pf.detect_path(counts, cost="poisson", penalties=(0, 1000))
    assert path["n_changepoints"][0] == 0
    assert np.diff(path["cost"]).max() < 1e-9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"search": "binseg"}, "not exact"),
        ({"penalties": (2, 1)}, "in order"),
        ({"penalties": (-1, 1)}, "0 or above"),
        ({"cost": "l3"}, "known"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(arguments, words):
    with pytest.raises(pf.exceptions.PhaseflowError, match=words):
        pf.detect_path([0.0, 1.0, 0.0], **arguments)
