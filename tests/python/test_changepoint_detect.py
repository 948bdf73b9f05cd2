"""detect: the cheapest segmentation, whatever the search, the axis and the unit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import all_segmentations, total_cost

SEARCHES = [
    ("l2", "optimal"),
    ("l2", "pelt"),
    ("l2", "functional"),
    ("linear", "optimal"),
    ("linear", "pelt"),
    ("clinear", "functional"),
]


def problem(seed, n_samples):
    random = np.random.default_rng(seed)
    x = np.cumsum(random.uniform(0.1, 3.0, n_samples))
    levels = np.repeat(random.normal(0, 3, n_samples), random.integers(1, 4, n_samples))[:n_samples]
    return x, levels + random.normal(0, 1, n_samples)


# By hand


def test_the_cheapest_cut_of_six_numbers():
    found = pf.detect([0, 0, 0, 6, 6, 9], penalty=7)
    # Means 0 and 7: squared distances 1 + 1 + 4. A cut before the 9 would save these 6 and cost 7.
    assert found.changepoints.tolist() == [3]
    assert found.segments == [(0, 3), (3, 6)]
    assert found.costs.tolist() == pytest.approx([0, 6])
    assert found.cost == pytest.approx(6)
    assert pf.detect([0, 0, 0, 6, 6, 9], penalty=5).changepoints.tolist() == [3, 5]


def test_a_change_of_slope_without_a_step_is_one_kink():
    x = np.array([0.0, 1, 3, 4, 7, 8, 9])
    y = np.where(x <= 4, x, 4 - 2 * (x - 4))
    found = pf.detect(y, x=x, cost="clinear", penalty=0.1)
    assert found.changepoints.tolist() == [3]
    assert found.cost == pytest.approx(0, abs=1e-20)


def test_two_lines_with_a_step_are_two_segments_on_an_uneven_axis():
    x = np.array([0.0, 1, 5, 6, 10, 11, 20])
    y = np.where(x < 8, 2 * x, 30 - x)
    found = pf.detect(y, x=x, cost="linear", penalty=0.1)
    assert found.changepoints.tolist() == [4]
    assert found.cost == pytest.approx(0, abs=1e-20)


def test_bic_charges_two_log_n_noise_variances_for_a_level():
    found = pf.detect(np.random.default_rng(0).normal(0, 2, 500), penalty="bic")
    assert found.penalty == pytest.approx(2 * np.log(500) * found.noise_variance)
    assert found.noise_variance == pytest.approx(4, rel=0.25)
    assert found.changepoints.size == 0


def test_criteria_are_ordered_and_a_given_number_needs_none():
    y = problem(1, 200)[1]
    price = {name: pf.detect(y, penalty=name).penalty for name in ("bic", "aic", "hannan-quinn")}
    assert price["aic"] == pytest.approx(4 * pf.detect(y, penalty="bic").noise_variance)
    assert price["bic"] > price["aic"]
    assert price["hannan-quinn"] == pytest.approx(price["aic"] * np.log(np.log(200)))
    assert pf.detect(y, n_changepoints=3).penalty is None


# Every segmentation


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_samples=st.integers(1, 9),
    min_size=st.integers(1, 4),
    jump=st.integers(1, 3),
    penalty=st.sampled_from([0.01, 1.0, 8.0, 60.0]),
    which=st.sampled_from(SEARCHES),
)
def test_no_segmentation_is_cheaper_at_a_penalty(seed, n_samples, min_size, jump, penalty, which):
    cost, search = which
    min_size = min(min_size, n_samples)
    if which == ("l2", "functional"):
        min_size = jump = 1
    x, y = problem(seed, n_samples)
    found = pf.detect(y, x=x, cost=cost, search=search, penalty=penalty, min_size=min_size, jump=jump)
    bounds = [0, *found.changepoints, n_samples]
    assert all(b - a >= min_size for a, b in pairwise(bounds))
    assert all(changepoint % jump == 0 for changepoint in found.changepoints)
    every = all_segmentations(n_samples, min_size, jump, kinks=cost == "clinear")
    cheapest = min(total_cost(cost, x, y, cuts) + penalty * len(cuts) for cuts in every)
    assert found.cost + penalty * len(found.changepoints) == pytest.approx(cheapest, rel=1e-8, abs=1e-8)
    assert found.cost == pytest.approx(total_cost(cost, x, y, found.changepoints), rel=1e-8, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_samples=st.integers(2, 9),
    min_size=st.integers(1, 3),
    count=st.integers(0, 3),
    cost=st.sampled_from(["l2", "linear", "clinear"]),
)
def test_no_segmentation_with_that_number_is_cheaper(seed, n_samples, min_size, count, cost):
    x, y = problem(seed, n_samples)
    min_size = min(min_size, n_samples)
    every = [c for c in all_segmentations(n_samples, min_size, kinks=cost == "clinear") if len(c) == count]
    if not every:
        with pytest.raises(pf.exceptions.ParameterError, match=f"n_changepoints is {count}"):
            pf.detect(y, x=x, cost=cost, n_changepoints=count, min_size=min_size)
        return
    found = pf.detect(y, x=x, cost=cost, n_changepoints=count, min_size=min_size)
    assert len(found.changepoints) == count
    assert found.cost == pytest.approx(min(total_cost(cost, x, y, cuts) for cuts in every), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("cost", ["l2", "linear"])
@pytest.mark.parametrize("min_size", [1, 3, 5])
def test_pruning_never_changes_the_cost(cost, min_size):
    for seed in range(150):
        x, y = problem(seed, 60)
        pair = [
            pf.detect(y, x=x, cost=cost, search=search, penalty=4.0, min_size=min_size)
            for search in ("pelt", "optimal")
        ]
        totals = [found.cost + 4 * len(found.changepoints) for found in pair]
        assert totals[0] == pytest.approx(totals[1], rel=1e-12)


def test_kinks_of_longer_signals_are_as_cheap_with_and_without_inequality_pruning():
    # With a given number there is no penalty and nothing but functional pruning.
    for seed in range(20):
        x, y = problem(seed, 80)
        y = np.cumsum(y)
        free = pf.detect(y, x=x, cost="clinear", penalty=30.0)
        fixed = pf.detect(y, x=x, cost="clinear", n_changepoints=len(free.changepoints))
        assert free.cost == pytest.approx(fixed.cost, rel=1e-8)


@pytest.mark.parametrize("penalty", [0.0, 0.5, 3.0, 30.0])
def test_functional_pruning_never_changes_the_cost(penalty):
    for seed in range(100):
        y = problem(seed, 150)[1]
        pair = [pf.detect(y, search=search, penalty=penalty) for search in ("functional", "pelt")]
        totals = [found.cost + penalty * len(found.changepoints) for found in pair]
        assert totals[0] == pytest.approx(totals[1], rel=1e-12, abs=1e-12)


# Beside ruptures


@pytest.mark.parametrize("pen", [0.5, 5.0, 50.0])
def test_l2_costs_what_ruptures_finds(pen):
    ruptures = pytest.importorskip("ruptures")
    for seed in range(20):
        y = np.stack([problem(seed, 70)[1], problem(seed + 1000, 70)[1]], axis=1)
        theirs = ruptures.Pelt(model="l2", min_size=1, jump=1).fit(y).predict(pen=pen)[:-1]
        ours = pf.detect(y, penalty=pen)
        assert ours.cost + pen * len(ours.changepoints) == pytest.approx(
            total_cost("l2", None, y, theirs) + pen * len(theirs), rel=1e-10
        )


def test_linear_costs_what_ruptures_finds_for_a_given_number():
    ruptures = pytest.importorskip("ruptures")
    for seed in range(5):
        x, y = problem(seed, 40)
        design = np.stack([y, x, np.ones_like(x)], axis=1)
        theirs = ruptures.Dynp(model="linear", min_size=3, jump=1).fit(design).predict(n_bkps=3)[:-1]
        ours = pf.detect(y, x=x, cost="linear", n_changepoints=3, min_size=3)
        assert ours.cost == pytest.approx(total_cost("linear", x, y, theirs), rel=1e-8)


def test_min_size_three_is_never_dearer_than_ruptures_and_sometimes_cheaper():
    ruptures = pytest.importorskip("ruptures")
    cheaper = 0
    for seed in range(200):
        y = problem(seed, 40)[1]
        theirs = ruptures.Pelt(model="l2", min_size=3, jump=1).fit(y).predict(pen=2.0)[:-1]
        ours = pf.detect(y, penalty=2.0, min_size=3)
        difference = total_cost("l2", None, y, theirs) + 2.0 * len(theirs) - ours.cost - 2.0 * len(ours.changepoints)
        assert difference > -1e-9
        cheaper += difference > 1e-9
    assert cheaper > 0


# Laws


@pytest.mark.parametrize(("cost", "search"), SEARCHES)
def test_offset_unit_and_axis_change_no_changepoint(cost, search):
    x, y = problem(7, 60)
    plain = pf.detect(y, x=x, cost=cost, search=search, penalty="bic")
    assert plain.changepoints.size
    for other in (y + 1e8, y * 1e-200, y * 1e140, -y):
        assert (
            pf.detect(other, x=x, cost=cost, search=search, penalty="bic").changepoints.tolist()
            == plain.changepoints.tolist()
        )
    moved = pf.detect(y, x=1e3 * x - 5e4, cost=cost, search=search, penalty="bic")
    assert moved.changepoints.tolist() == plain.changepoints.tolist()


@pytest.mark.parametrize("cost", ["l2", "linear"])
def test_a_reversed_signal_has_the_reversed_changepoints(cost):
    x, y = problem(7, 60)
    forward = pf.detect(y, x=x, cost=cost, penalty=6.0)
    backward = pf.detect(y[::-1], x=-x[::-1], cost=cost, penalty=6.0)
    assert (60 - backward.changepoints[::-1]).tolist() == forward.changepoints.tolist()
    assert backward.cost == pytest.approx(forward.cost, rel=1e-12)


def test_a_huge_jump_hides_no_small_one():
    y = np.r_[np.zeros(20), np.full(20, 1e-3), np.full(20, 1e8)]
    assert pf.detect(y, penalty=1e-9).changepoints.tolist() == [20, 40]


def test_strided_read_only_and_low_precision_signals_pass():
    y = problem(3, 60)[1]
    expected = pf.detect(y.astype(np.float32).astype(float)).changepoints.tolist()
    wide = np.zeros((60, 3), np.float32)
    wide[::-1, 1] = y
    view = wide[::-1, 1]
    view.flags.writeable = False
    assert pf.detect(view).changepoints.tolist() == expected
    assert pf.detect(y, threads=2).changepoints.tolist() == pf.detect(y, threads=1).changepoints.tolist()


@pytest.mark.parametrize("n_samples", [60, 20_000])  # without a thread of its own, and with one
def test_neither_threads_nor_memory_order_change_a_bit(n_samples):
    y = problem(3, n_samples)[1]
    plain = pf.detect(y)
    wide = np.asfortranarray(np.stack([y, -y], axis=1))
    for found in (
        *(pf.detect(y, threads=threads) for threads in (1, 3)),
        pf.detect(wide[:, :1]),
        pf.detect(y[:, None]),
    ):
        assert found.changepoints.tolist() == plain.changepoints.tolist()
        assert found.costs.tobytes() == plain.costs.tobytes()
        assert found.penalty == plain.penalty
    with pytest.raises(pf.exceptions.ParameterError, match="threads is 0"):
        pf.detect(y, threads=0)


# Edges


@pytest.mark.parametrize(("cost", "search"), SEARCHES)
@pytest.mark.parametrize("n_samples", [1, 2, 3, 30])
def test_a_constant_has_no_changepoint(cost, search, n_samples):
    for value in (0.0, 1.1, 1e300, 1e-300):
        found = pf.detect(np.full(n_samples, value), cost=cost, search=search)
        assert found.changepoints.size == 0
        assert found.cost == 0


def test_the_largest_numbers_are_cut_right():
    assert pf.detect(np.repeat([1e300, -1e300], 20), n_changepoints=1).changepoints.tolist() == [20]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"signal": []}, pf.exceptions.ShapeError, "signal has 0 along sample"),
        ({"signal": np.zeros((3, 0))}, pf.exceptions.ShapeError, "signal has 0 along feature"),
        ({"signal": np.zeros((2, 2, 2))}, pf.exceptions.ShapeError, "3 axes"),
        ({"signal": [np.nan, np.nan]}, pf.exceptions.ShapeError, "NaN at every sample"),
        ({"signal": [0, np.nan, np.inf]}, pf.exceptions.NotFiniteError, r"signal\[2, 0\] is inf"),
        ({"signal": [0, np.inf]}, pf.exceptions.NotFiniteError, r"signal\[1, 0\] is inf"),
        ({"x": [0, 1]}, pf.exceptions.ShapeError, r"x has shape \(2,\)"),
        ({"x": [0, 1, 1, 2]}, pf.exceptions.ParameterError, "strictly increasing"),
        ({"x": [0, 1, np.nan, 2]}, pf.exceptions.NotFiniteError, r"x\[2\]"),
        ({"cost": "l3"}, pf.exceptions.UnknownNameError, "l2, l1, biweight"),
        ({"search": "beam"}, pf.exceptions.UnknownNameError, "auto, optimal, pelt, functional, binseg, bottom-up, seeded, window"),
        ({"penalty": "mdl"}, pf.exceptions.UnknownNameError, "auto, bic, mbic, aic, hannan-quinn, a number"),
        ({"penalty": -1.0}, pf.exceptions.ParameterError, "penalty is -1"),
        ({"penalty": np.nan}, pf.exceptions.ParameterError, "penalty is NaN"),
        ({"min_size": 0}, pf.exceptions.ParameterError, "min_size is 0"),
        ({"min_size": 5}, pf.exceptions.ParameterError, "at most the 4 samples"),
        ({"jump": 0}, pf.exceptions.ParameterError, "jump is 0"),
        ({"jump": -1}, pf.exceptions.ParameterError, "jump is -1"),
        ({"n_changepoints": 4}, pf.exceptions.ParameterError, "n_changepoints is 4"),
        ({"n_changepoints": 1, "search": "pelt"}, pf.exceptions.ParameterError, "search=\"optimal\""),
        ({"cost": "clinear", "search": "pelt"}, pf.exceptions.ParameterError, "search=\"functional\""),
        ({"search": "functional", "min_size": 2}, pf.exceptions.ParameterError, "min_size=1"),
        ({"cost": "clinear", "signal": np.zeros((4, 2))}, pf.exceptions.ParameterError, "one feature"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):
        pf.detect(**({"signal": [0.0, 1.0, 0.0, 2.0]} | arguments))


# What comes back


def test_a_segmentation_prints_and_tabulates_what_it_holds():
    found = pf.detect([0, 0, 0, 6, 6, 9], x=[1, 2, 4, 8, 16, 32], penalty=7)
    text = str(found)
    assert "1 changepoint in 6 samples: cost l2 6, penalty 7 (given), functional" in text
    assert "[3, 6)" in text
    assert "8 to 32" in text
    table = found.to_polars()
    assert table.columns == ["segment", "start", "end", "x_first", "x_last", "mean", "cost"]
    assert table.row(1) == (1, 3, 6, 8.0, 32.0, 7.0, pytest.approx(6.0))
    two = pf.detect([[0, 1], [0, 1], [5, 1]], penalty=1)
    assert two.to_polars().columns[5:7] == ["mean_0", "mean_1"]
    assert "independent" in pf.detect([0.0, 1.0]).assumption
