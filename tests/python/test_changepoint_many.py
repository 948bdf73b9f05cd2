"""detect_many: what one series at a time gives, for all of them, with p-values that mean what they say."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import benjamini_hochberg, single_change
from strategies import laid_out

COLUMNS = ["series", "changepoint", "x", "before", "after", "size", "p_value"]


def jumps(n_series, n_samples, seed=0):
    random = np.random.default_rng(seed)
    levels = random.normal(0, 3, (n_series, 5))[:, np.arange(n_samples) * 5 // n_samples]
    return levels + random.normal(0, 1, (n_series, n_samples))


# By hand


def test_a_step_of_six_numbers_is_where_and_as_large_as_it_is():
    found = pf.detect_many([[0, 0, 0, 6, 6, 9], [1, 1, 1, 1, 1, 1]], x=[1, 2, 4, 8, 16, 32], penalty=7)
    assert found.columns == COLUMNS
    assert found.drop("p_value").rows() == [(0, 3, 8.0, 0.0, 7.0, 7.0)]


def test_the_p_value_of_three_samples_is_an_arc_of_a_circle():
    # Three samples without a change point in a uniform direction of a plane. A change that leaves the share
    # sin^2(20 degrees) is as clear as any in two arcs of 40 degrees, for each of two directions: 4/9.
    angle = math.radians(20)
    after = math.cos(angle) * np.array([-1, 0.5, 0.5]) / math.sqrt(1.5)
    left = math.sin(angle) * np.array([0, -1, 1]) / math.sqrt(2)
    found = pf.detect_many([after + left, -after + left], search="single")
    assert found["changepoint"].to_list() == [1, 1]
    assert found["p_value"].to_list() == pytest.approx([4 / 9, 4 / 9], abs=0.02)
    drop = pf.detect_many([after + left, -after + left], search="single", direction="down").row(0, named=True)
    assert (drop["series"], drop["changepoint"]) == (1, 1)
    assert drop["p_value"] == pytest.approx(2 / 9, abs=0.01)


def test_only_drops_are_found_where_drops_are_asked_for():
    y = [[0, 9, 9, 9, 5, 5.1], [0, 1, 2, 3, 4, 5]]
    down = pf.detect_many(y, search="single", direction="down")
    assert down.select("series", "changepoint", "before").rows() == [(0, 4, 27 / 4)]
    up = pf.detect_many(y, search="single", direction="up")
    assert up["changepoint"].to_list() == [1, 3]


# One series at a time


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    seed=st.integers(0, 2**31),
    n_series=st.integers(0, 70),
    n_samples=st.integers(0, 12),
    missing=st.sampled_from([0.0, 0.3]),
    direction=st.sampled_from(["any", "down", "up"]),
    min_size=st.integers(1, 3),
)
def test_the_single_change_leaves_least_whatever_the_layout(
    data, seed, n_series, n_samples, missing, direction, min_size
):
    random = np.random.default_rng(seed)
    y = random.normal(0, 1, (n_series, n_samples)) + 2 * random.normal(size=(n_series, 1))
    y[random.random(y.shape) < missing] = np.nan
    y = data.draw(laid_out(y))
    exact = y.astype(float)
    found = {
        row["series"]: row
        for row in pf.detect_many(y, search="single", direction=direction, min_size=min_size).iter_rows(named=True)
    }
    for series in range(n_series):
        expected = single_change(exact[series], direction, min_size)
        assert (series in found) == (expected is not None)
        if expected:
            row = found[series]
            left = [leftover(exact[series], k) for k in (row["changepoint"], expected[0])]
            assert left[0] == pytest.approx(left[1], rel=1e-9, abs=1e-12)
            if row["changepoint"] == expected[0]:
                assert (row["before"], row["after"]) == pytest.approx(expected[1:], rel=1e-9, abs=1e-9)


def leftover(y, k):
    return sum(np.nansum((part - np.nanmean(part)) ** 2) for part in (y[:k], y[k:]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"penalty": "aic"},
        {"penalty": 5.0, "min_size": 3},
        {"shape": "down"},
        {"shape": "up-down", "penalty": 2.0},
        {"cost": "linear"},
        {"cost": "clinear"},
        {"n_changepoints": 2},
    ],
)
def test_every_series_has_the_changepoints_that_detect_finds(options):
    y = jumps(70, 40)
    y[3, 25:] = np.nan
    y[4, ::3] = np.nan
    x = np.cumsum(np.random.default_rng(1).uniform(0.1, 3, 40))
    found = pf.detect_many(y, x=x, **options)
    for series, row in enumerate(y):
        there = np.flatnonzero(~np.isnan(row))
        expected = pf.detect(row[there], x=x[there], **options)
        mine = found.filter(pl.col("series") == series)
        assert mine["changepoint"].to_list() == there[expected.changepoints].tolist()
        assert mine["x"].to_list() == x[mine["changepoint"].to_list()].tolist()
        assert mine["before"].to_list() == pytest.approx(expected.means[:-1, 0].tolist(), abs=1e-12)
        assert mine["after"].to_list() == pytest.approx(expected.means[1:, 0].tolist(), abs=1e-12)


def test_several_features_change_together():
    y = np.stack([jumps(20, 30), jumps(20, 30, seed=1)], axis=2)
    found = pf.detect_many(y)
    expected = pf.detect(y[7])
    mine = found.filter(pl.col("series") == 7)
    assert mine["changepoint"].to_list() == expected.changepoints.tolist()
    assert mine["size"].to_list() == pytest.approx(np.linalg.norm(np.diff(expected.means, axis=0), axis=1).tolist())
    assert mine["before"].is_null().all()
    assert mine["p_value"].is_null().all()


@pytest.mark.parametrize("search", ["auto", "single"])
def test_padding_with_nan_cutting_at_offsets_and_one_by_one_are_the_same(search):
    random = np.random.default_rng(2)
    parts = [jumps(1, size, seed)[0] for seed, size in enumerate(random.integers(0, 30, 50))]
    padded = np.full((50, 30), np.nan)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    offsets = np.cumsum([0, *map(len, parts)])
    from_rows = pf.detect_many(padded, search=search)
    from_pieces = pf.detect_many(np.concatenate(parts), offsets=offsets, search=search)
    assert from_rows.equals(from_pieces)
    axis = np.concatenate([100 + np.arange(len(part)) for part in parts])
    there = pf.detect_many(np.concatenate(parts), offsets=offsets, x=axis, search=search)
    assert (there["x"] - there["changepoint"] == 100).all()


@pytest.mark.parametrize("options", [{}, {"search": "single"}, {"cost": "linear"}])
def test_any_number_of_threads_gives_the_same_bits(options):
    y = jumps(300, 50)
    y[::7, 3] = np.nan
    assert pf.detect_many(y, threads=1, **options).equals(pf.detect_many(y, threads=2, **options))


# What the p-value says


@pytest.mark.parametrize("n_samples", [6, 30, 200])
@pytest.mark.parametrize("direction", ["any", "down"])
def test_series_without_a_change_have_small_p_values_as_often_as_they_say(n_samples, direction):
    y = np.random.default_rng(n_samples).normal(3, 2, (40_000, n_samples))
    p_value = pf.detect_many(y, search="single", direction=direction)["p_value"].to_numpy()
    for level in (0.001, 0.01, 0.05):
        error = 5 * np.sqrt(level / len(y))
        assert (p_value <= level).sum() / len(y) == pytest.approx(level, abs=error + 0.12 * level)


def test_a_changepoint_between_two_others_is_held_against_its_own_surroundings():
    y = jumps(1, 60)
    found = pf.detect_many(y, n_changepoints=3)
    left, _, right = found["changepoint"]
    alone = pf.detect_many(y[:, left:right], search="single")
    assert alone["changepoint"][0] + left == found["changepoint"][1]
    assert alone["p_value"][0] == pytest.approx(found["p_value"][1], rel=1e-6)


def test_level_and_false_discovery_rate_keep_what_they_should():
    y = np.random.default_rng(0).normal(0, 1, (400, 30))
    y[:40, 15:] += np.linspace(0.5, 3, 40)[:, None]
    every = pf.detect_many(y, search="single")
    assert len(every) == 400
    few = pf.detect_many(y, search="single", level=0.01)
    assert few.equals(every.filter(pl.col("p_value") <= 0.01))
    kept = pf.detect_many(y, search="single", fdr=0.05)
    expected = benjamini_hochberg(every["p_value"].to_numpy(), 0.05)
    assert kept["series"].to_list() == np.flatnonzero(expected).tolist()
    several = pf.detect_many(y, penalty=6.0)
    smallest = np.ones(400)
    for series, p_values in several.group_by("series").agg("p_value").iter_rows():
        smallest[series] = min(1, len(p_values) * min(p_values))
    controlled = pf.detect_many(y, penalty=6.0, fdr=0.05)
    assert set(controlled["series"]) == set(np.flatnonzero(benjamini_hochberg(smallest, 0.05)))


# Laws and edges


def test_offset_unit_and_sign_change_no_changepoint():
    y = jumps(100, 40)
    for search in ("auto", "single"):
        plain = pf.detect_many(y, search=search)
        for other in (y + 1e8, y * 1e-200, y * 1e140, y * 2e-308, -y):
            found = pf.detect_many(other, search=search)
            assert found["changepoint"].to_list() == plain["changepoint"].to_list()
            assert found["p_value"].to_list() == pytest.approx(plain["p_value"].to_list(), rel=1e-4)


def test_a_reversed_series_drops_where_it_rose():
    y = np.random.default_rng(0).normal(0, 1, (50, 31))
    down = pf.detect_many(y, search="single", direction="down")
    up = pf.detect_many(y[:, ::-1], search="single", direction="up")
    assert (31 - up["changepoint"]).to_list() == down["changepoint"].to_list()
    assert up["p_value"].to_list() == pytest.approx(down["p_value"].to_list())


@pytest.mark.parametrize("search", ["auto", "single"])
def test_constants_and_series_too_short_or_all_missing_have_no_change(search):
    y = np.array([[0.0] * 5, [1.1] * 5, [1e300] * 5, [np.nan] * 5, [np.nan, 3, np.nan, np.nan, np.nan]])
    assert pf.detect_many(y, search=search).height == 0
    for shape in ((0, 5), (5, 0), (5, 1)):
        found = pf.detect_many(np.zeros(shape), search=search)
        assert found.height == 0
        assert found.columns == COLUMNS


def test_the_largest_and_smallest_numbers_are_cut_right():
    y = np.array([[1e300] * 4 + [-1e300] * 3, [0.0] * 4 + [5e-324] * 3, [1e8] * 4 + [1e8 + 1] * 3])
    found = pf.detect_many(y, search="single")
    assert found["changepoint"].to_list() == [4, 4, 4]
    assert found["before"].to_list() == pytest.approx([1e300, 0, 1e8])
    assert found["p_value"].max() < 1e-60


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"signals": [1.0, 2.0]}, pf.exceptions.ShapeError, "got 1 axes"),
        ({"signals": [[0, 1, np.inf]]}, pf.exceptions.NotFiniteError, r"signals\[0, 2\] is inf"),
        ({"signals": [[0, np.inf]], "search": "single"}, pf.exceptions.NotFiniteError, r"signals\[0, 1\] is inf"),
        ({"x": [0, 1]}, pf.exceptions.ShapeError, r"x has shape \(2,\)"),
        ({"x": [0, 2, 1], "cost": "linear"}, pf.exceptions.ParameterError, "strictly increasing"),
        ({"offsets": [0, 1]}, pf.exceptions.ShapeError, "one axis each"),
        ({"signals": [0.0, 1.0], "offsets": [0, 3]}, pf.exceptions.ParameterError, "offsets is 2 ending at 3"),
        ({"signals": [0.0, 1.0], "offsets": [0, 2, 1]}, pf.exceptions.ParameterError, "offsets"),
        ({"signals": [0.0, 1.0], "offsets": [-1, 2]}, pf.exceptions.ParameterError, "from 0 on"),
        ({"signals": [0.0, 1.0], "offsets": [0.0, 2.0]}, pf.exceptions.ParameterError, "integers"),
        ({"cost": "l3"}, pf.exceptions.UnknownNameError, "l2, l1, biweight"),
        ({"search": "single", "cost": "linear"}, pf.exceptions.ParameterError, "for cost \"l2\""),
        ({"search": "single", "direction": "left"}, pf.exceptions.UnknownNameError, "any, down, up"),
        ({"direction": "down"}, pf.exceptions.ParameterError, "search=\"single\""),
        ({"search": "single", "min_size": 0}, pf.exceptions.ParameterError, "min_size is 0"),
        ({"search": "single", "signals": np.zeros((2, 3, 2))}, pf.exceptions.ParameterError, "one feature"),
        ({"search": "single", "shape": "up"}, pf.exceptions.ParameterError, "direction"),
        ({"min_size": -1}, pf.exceptions.ParameterError, "min_size is -1"),
        ({"penalty": -1.0}, pf.exceptions.ParameterError, "penalty is -1"),
        ({"n_changepoints": 3}, pf.exceptions.ParameterError, r"series 0"),
        ({"level": 0.0}, pf.exceptions.ParameterError, "level is 0"),
        ({"fdr": 1.5}, pf.exceptions.ParameterError, "fdr is 1.5"),
        ({"cost": "linear", "penalty": 0.0, "level": 0.1}, pf.exceptions.ParameterError, "need p-values"),
        ({"threads": 0}, pf.exceptions.ParameterError, "threads is 0"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):
        pf.detect_many(**({"signals": [[0.0, 5.0, 1.0]]} | arguments))


def test_an_axis_that_does_not_increase_within_a_series_is_refused() -> None:
    signals = np.random.default_rng(0).normal(size=(2, 10))
    for axis in (np.arange(10.0)[::-1], np.zeros(10), np.full(10, np.nan)):
        with pytest.raises(
            pf.exceptions.ParameterError, match=r"x\[1\] is \S+ after \S+, expected strictly increasing"
        ):
            pf.detect_many(signals, x=axis)
    offsets = [0, 4, 4, 10]
    axis = np.array([5.0, 6, 7, 8, 1, 2, 3, 4, 5, 6])
    pf.detect_many(signals[0], x=axis, offsets=offsets)
    axis[5] = 1
    with pytest.raises(pf.exceptions.ParameterError, match=r"x\[5\] is 1 after 1"):
        pf.detect_many(signals[0], x=axis, offsets=offsets)
