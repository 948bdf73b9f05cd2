"""Signals at the edge of what numbers can be: right, or refused by name; and long calls that stop when they are asked to."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import phaseflow as pf
import phaseflow.exceptions

STEP = np.logspace(0, 3, 40)


def test_a_million_equal_samples_have_no_changepoint():
    for value in (0.0, 0.1, -1e300):
        found = pf.detect(np.full(1_000_000, value))
        assert found.changepoints.size == 0
        assert found.cost == 0
    assert pf.detect_many(np.full((1, 1_000_000), 0.1)).is_empty()


def test_a_signal_of_nothing_but_nan_is_refused_or_has_no_window():
    with pytest.raises(pf.exceptions.ShapeError, match="NaN at every sample"):
        pf.detect(np.full(1000, np.nan))
    assert pf.detect_many(np.full((2, 30), np.nan)).is_empty()
    with pytest.raises(pf.exceptions.ShapeError, match="signal has 0 along sample, needs at least 12"):
        pf.detect_windows(np.full(40, np.nan), x=STEP)


def test_what_is_masked_is_missing():
    y = np.random.default_rng(0).normal(size=(2, 40)) + np.where(np.arange(40) < 20, 0.0, 4.0)
    gone = np.arange(40) % 7 == 3
    masked, missing = np.ma.masked_array(y, mask=[gone, gone]), np.where(gone, np.nan, y)
    assert pf.detect(masked[0]).cost == pf.detect(missing[0]).cost != pf.detect(y[0]).cost
    assert pf.detect_many(masked).equals(pf.detect_many(missing))
    assert pf.detect_windows(masked, x=STEP, level=1.0).equals(pf.detect_windows(missing, x=STEP, level=1.0))
    assert pf.non_convexity(masked, x=STEP, level=1.0).equals(pf.non_convexity(missing, x=STEP, level=1.0))
    counts = np.ma.masked_array([1, 1, 99, 1, 8, 8, 8], mask=[False, False, True, False, False, False, False])
    assert pf.detect(counts, penalty=3.0).changepoints.tolist() == [4]


@pytest.mark.parametrize("function", [pf.detect, pf.detect_many, pf.detect_windows, pf.non_convexity])
def test_negative_counts_are_refused_by_name(function):
    names = ["threads"]
    names += ["simulations", "seed"] if function in (pf.detect_windows, pf.non_convexity) else ["min_size", "order"]
    names += ["max_windows", "flank"] if function is pf.detect_windows else []
    for name in names:
        with pytest.raises(pf.exceptions.ParameterError, match=f"{name} is -1"):
            function(np.ones((1, 40)), **{name: -1})


@pytest.mark.parametrize("function", [pf.detect, pf.detect_many])
def test_a_penalty_that_is_no_number_and_no_name_is_refused_by_name(function):
    with pytest.raises(pf.exceptions.ParameterError, match="penalty is None, expected a number or"):
        function(np.ones((1, 40)), penalty=None)


@pytest.mark.parametrize("unit", [1e-200, 1e300])
def test_a_path_whose_penalties_double_precision_cannot_hold_is_refused(unit):
    with pytest.raises(pf.exceptions.ParameterError, match=r"in another unit|penalty is inf"):
        pf.detect_path(unit * np.array([0.0, 0.1, 0.0, 5.0, 5.1, 4.9, 5.0]))


@pytest.mark.parametrize(
    "cost",
    ["l2", "l1", "biweight", "normal", "variance", "poisson", "linear", "clinear", "ar", "rank", "rbf", "cosine"],
)
def test_one_sample_is_one_segment(cost):
    found = pf.detect([3.0], cost=cost)
    assert found.segments == [(0, 1)]
    assert np.isfinite(found.means).all()


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_infinite_values_are_refused_by_their_index(infinity):
    y = np.zeros(40)
    y[7] = infinity
    with pytest.raises(pf.exceptions.NotFiniteError, match=r"signal\[7, 0\]"):
        pf.detect(y)
    with pytest.raises(pf.exceptions.NotFiniteError, match=r"signals\[0, 7\]"):
        pf.detect_many(y[None])
    with pytest.raises(pf.exceptions.NotFiniteError, match=r"signal\[0, 7\]"):
        pf.detect_windows(y, x=STEP)


@pytest.mark.parametrize("unit", [1e300, 1e-300])
@pytest.mark.parametrize(
    "cost", ["l2", "l1", "biweight", "normal", "variance", "linear", "clinear", "ar", "rank", "rbf"]
)
def test_huge_and_tiny_values_are_cut_as_any_others(cost, unit):
    y = np.concatenate([np.zeros(60), np.full(60, 9.0)]) + np.random.default_rng(0).normal(0, 0.5, 120)
    for penalty in ("auto", "bic"):
        plain, extreme = (pf.detect(scale * y, cost=cost, penalty=penalty) for scale in (1.0, unit))
        assert extreme.changepoints.tolist() == plain.changepoints.tolist()
    assert pf.detect_many((unit * y)[None], penalty="bic")["changepoint"].to_list() == [60]


@pytest.mark.parametrize("unit", [1e300, 1e-300])
def test_windows_of_huge_and_tiny_values_are_where_they_are(unit):
    curve = -np.clip((np.log10(STEP) - 1.5) / 0.3, 0, 1) + np.random.default_rng(0).normal(0, 0.01, 40)
    plain, extreme = (pf.detect_windows(scale * curve, x=STEP, max_windows=1) for scale in (1.0, unit))
    assert extreme["start"].to_list() == pytest.approx(plain["start"].to_list())
    assert extreme["size"].to_list() == pytest.approx([unit * size for size in plain["size"]])


LONG = """
import numpy as np, phaseflow as pf
y = np.random.default_rng(0).normal(0, 1, 200_000)
print("go", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize(
    "call",
    [
        'pf.detect(y, search="optimal")',
        'pf.detect(y, cost="ar", order=8, search="optimal")',
        'pf.detect(y, penalty="mbic", search="optimal")',
        'pf.detect(y, cost="clinear", penalty=1.0)',
        'pf.detect(np.sin(np.arange(2000) / 222), cost="clinear", penalty=1.0)',  # few samples, but a minute
        'pf.detect(np.tile(y, 10), cost="l1", search="bottom-up")',
        "pf.detect_windows(np.tile(y[:1000], (4000, 1)), x=np.arange(1.0, 1001.0), simulations=100_000)",
        "pf.non_convexity(np.tile(y, 2))",
    ],
)
def test_an_interrupt_stops_a_long_call(call):
    process = subprocess.Popen([sys.executable, "-c", LONG.format(call=call)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "go\n"
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert said == "stopped\n"


@pytest.mark.parametrize("cost", ["l1", "normal", "variance", "poisson", "linear", "ar"])
def test_a_long_signal_that_stands_still_takes_no_quadratic_time(cost):
    # Every start is as good as any other there; none but the first needs to be kept.
    y = np.full(300_000, 3.0)
    assert pf.detect(y, cost=cost).changepoints.size == 0
    y[100_000:] = 7.0
    assert 100_000 in pf.detect(y, cost=cost).changepoints


def test_a_long_line_has_no_kink_and_needs_no_search():
    x = np.cumsum(np.random.default_rng(0).uniform(1, 2, 150_000))
    assert pf.detect(3 - 2 * x, x=x, cost="clinear").changepoints.size == 0


@pytest.mark.parametrize("cost", ["rbf", "clinear"])
def test_signals_too_long_for_quadratic_time_are_refused_by_the_cost(cost):
    with pytest.raises(
        pf.exceptions.ParameterError, match=f'cost "{cost}" takes quadratic time, hours for the 1000000'
    ):
        pf.detect(np.zeros(1_000_000), cost=cost)
