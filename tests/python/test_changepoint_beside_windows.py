"""What a curve has beside its windows (its rest), and late windows held against a bend to the end of the run."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracles.beside_windows import bend, is_a_bend, relative, rest, window
from oracles.changepoint import RestrictedLikelihood
from phaseflow import _core

ONE_AND_ALL = {"level": 1.0, "max_windows": 1, "min_size": 0.0, "threads": None}
NO_WINDOW = 1e-9  # widest, in decades: none is usable, and every curve is its base


def detector(x, variance=None, **options):
    usual = {"scale": "log", "base": "decay", "flank": 3, "max_width": None, "simulations": 100, "seed": 0}
    return _core.WindowDetector(np.asarray(x, float), variance, **usual | options)


def rest_of(x, curve, variance=None, **options):
    """With its only window, if one is usable."""
    columns, _, sure, rests = detector(x, variance, **options).detect(np.atleast_2d(curve), **ONE_AND_ALL)
    assert sure.tolist() == [0]
    return columns, rests[0]


def autoregressive(random, n, rho):
    noise = random.standard_normal(n)
    for i in range(1, n):
        noise[i] = rho * noise[i - 1] + np.sqrt(1 - rho**2) * noise[i]
    return noise


# By hand

# Neighbours agree in 5 pairs of 11 and differ in 6: no autocorrelation is the likeliest.
EVEN = np.array([1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1.0])


def test_the_rest_beside_a_level_is_each_distance_from_the_mean_over_what_the_mean_leaves_of_its_deviation():
    _, rest = rest_of(np.arange(1.0, 13.0), EVEN, base="constant", max_width=NO_WINDOW)
    assert rest == pytest.approx(EVEN / np.sqrt(11 / 12), rel=1e-14)


def test_the_rest_counts_in_units_of_each_samples_own_deviation():
    # Variances 2 and 1/2 of every pair: weights 1/2 and 2, 15 in sum. They leave 1 - 1/30 and 1 - 2/15 of a variance.
    variance = np.tile([2, 0.5], 6)
    # Of either variance three values are 1 and three -1, so that the mean is 0.
    _, rest = rest_of(np.arange(1.0, 13.0), EVEN, variance, base="constant", max_width=NO_WINDOW)
    assert rest == pytest.approx(EVEN / np.sqrt(variance * np.tile([29 / 30, 13 / 15], 6)), rel=1e-14)


def test_a_sample_that_the_base_follows_says_nothing():
    # A weight of 100 among eleven of 1: it leaves 11/111 of its variance, the others 110/111.
    curve, variance = np.r_[0.0, EVEN[:-1]], np.r_[0.01, np.ones(11)]
    _, rest = rest_of(np.arange(1.0, 13.0), curve, variance, base="constant", max_width=NO_WINDOW)
    assert np.isnan(rest).tolist() == [True] + [False] * 11
    # With a weight of 4 among them it leaves 11/15.
    _, rest = rest_of(np.arange(1.0, 13.0), curve, variance + 0.24, base="constant", max_width=NO_WINDOW)
    assert not np.isnan(rest).any()


# The slow way


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(14, 30),
    height=st.sampled_from([0, 2, 20, 80]),
    rho=st.sampled_from([0.0, 0.5, 0.8]),
    spread=st.sampled_from([0.0, 0.5, 1.5]),
)
def test_a_rest_is_that_of_the_covariance_written_out(seed, n, height, rho, spread):
    random = np.random.default_rng(seed)
    x = np.sort(10 ** random.uniform(0, 3, n))
    assume((np.diff(np.log10(x)) > 1e-4).all())
    variance = np.exp(spread * random.standard_normal(n))
    curve = height * x**-0.4 + np.sqrt(variance) * autoregressive(random, n, rho)
    columns, found = rest_of(x, curve, variance, max_width=NO_WINDOW)
    assert not len(columns["start"])
    assert found == pytest.approx(rest(x, curve, variance), abs=1e-6, nan_ok=True)


def explanations(x, curve, variance, found, likelihood, begin=None, axis=np.log10):
    """Whether the rest is that beside the window told and a bend from there, or that window alone; or None."""
    columns, rests = found
    (start,), (end,) = columns["start"], columns["end"]
    for shape in ("ramp", "cosine", "logistic"):
        told = window(x, shape, start, end, axis)
        for bends in ([],) if begin is None else ([], [bend(x, begin)]):
            expected = rest(x, curve, variance, told, *bends, likelihood=likelihood, axis=axis)
            if rests == pytest.approx(expected, abs=1e-6, nan_ok=True):
                return bool(bends)
    return None


def test_a_window_is_part_of_what_is_taken_off():
    random = np.random.default_rng(0)
    told = []
    for _ in range(10):
        x = np.sort(10 ** random.uniform(0, 3, 30))
        variance = np.exp(0.5 * random.standard_normal(30))
        drop = 10 * window(x, "ramp", 20, 50)
        curve = 20 * x**-0.4 - drop + np.sqrt(variance) * autoregressive(random, 30, 0.3)
        likelihood = RestrictedLikelihood(x, relative(variance))
        told.append(explanations(x, curve, variance, rest_of(x, curve, variance), likelihood))
    # A window is fitted once more for the table, most often with the same result.
    assert told.count(False) >= 7


@pytest.mark.parametrize(
    ("scale", "axis", "bends", "windows"),
    [("log", np.log10, 3, 9), ("linear", np.asarray, 1, 9)],
    ids=["log", "linear"],
)
def test_late_windows_are_bends_where_a_bend_explains_nearly_as_much(scale, axis, bends, windows):
    random = np.random.default_rng(3)
    x = np.sort(random.uniform(1, 100, 50))
    likelihood, even = RestrictedLikelihood(x, axis=axis), detector(x, scale=scale)
    agreed = []
    for index in range(20):
        late = -100 * bend(x, random.uniform(0.5, 0.65))
        if index % 2 or scale == "linear":
            late = -12 * np.clip((x / x[-1] - random.uniform(0.5, 0.95)) / 0.1, 0, 1)
        curve = 20 * x**-0.4 + late + random.standard_normal(50)
        ((_, (start, end)),) = even.clearest(curve[None], threads=None)
        lead, begin = is_a_bend(x, curve, start, end, likelihood, axis)
        if begin in (0.7, 0.85) or abs(lead) < 0.3:
            continue  # the base has those; a search that halves its steps may miss the best place by so much
        columns, _, _, rests = even.detect(curve[None], **ONE_AND_ALL)
        told = explanations(x, curve, np.ones(50), (columns, rests[0]), likelihood, begin, axis)
        agreed += [] if told is None else [(told, told == bool(lead > 0))]
    assert all(same for _, same in agreed), agreed
    assert agreed.count((True, True)) >= bends, agreed
    assert agreed.count((False, True)) >= windows, agreed


@pytest.mark.parametrize("seed", range(3))
def test_a_window_that_starts_in_the_first_half_need_not_beat_a_bend(seed):
    x = np.linspace(2, 100, 60)
    noise = np.random.default_rng(seed).standard_normal(60)
    columns, _ = rest_of(x, 20 * x**-0.4 - 400 * bend(x, 0.52) + noise)
    assert 40 < columns["start"] < 50


@pytest.mark.parametrize("seed", range(3))
def test_a_base_without_bends_is_given_none(seed):
    x = np.linspace(2, 100, 60)
    noise = np.random.default_rng(seed).standard_normal(60)
    columns, _ = rest_of(x, 20 * x**-0.4 - 100 * bend(x, 0.52) + noise, base="power")
    assert columns["start"] > 65
