"""evaluate_changepoints: fractions by hand, the definitions written out, ruptures, and TCPDBench's published scores."""

import json
import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from shared_data import shared

SERIES = [
    "bank",
    "businv",
    "children_per_woman",
    "construction",
    "gdp_argentina",
    "gdp_iran",
    "global_co2",
    "jfk_passengers",
    "rail_lines",
    "unemployment_nl",
    "usd_isk",
]

# By hand


def test_one_changepoint_two_samples_late():
    found = pf.evaluate_changepoints([5], [7], 10, margin=2)
    # [0, 5) and [0, 7): 5/7; [5, 10) and [7, 10): 3/5. Weighted by 5 each.
    assert found.covering == pytest.approx((5 / 7 + 3 / 5) / 2)
    assert (found.f1, found.precision, found.recall) == (1, 1, 1)
    assert found.hausdorff == 2
    assert found.annotation_error == 0
    # Of 45 pairs, samples 5 and 6 with the 5 before (together only in found) and the 3 after (only in truth).
    assert found.rand == pytest.approx((45 - 10 - 6) / 45)
    assert pf.evaluate_changepoints([5], [7], 10, margin=1).f1 == pytest.approx(1 / 2)


def test_nothing_found_keeps_the_start_of_the_signal():
    found = pf.evaluate_changepoints([3, 6], [], 9)
    assert (found.precision, found.recall) == (1, pytest.approx(1 / 3))
    assert found.f1 == pytest.approx(1 / 2)
    assert found.covering == pytest.approx(1 / 3)
    assert math.isnan(found.hausdorff)
    assert found.annotation_error == 2
    assert pf.evaluate_changepoints([], [], 1) == pf.evaluate_changepoints([0], [0], 1)


def test_annotators_are_averaged_and_precision_is_against_their_union():
    found = pf.evaluate_changepoints({"a": [50], "b": [48, 80]}, [52, 20], 100)
    # 50 and 48 are both near 52, but only one may have it; 20 is near none: 0 and 52 of 0, 20, 52.
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx((2 / 2 + 2 / 3) / 2)
    assert found.annotation_error == pytest.approx((1 + 0) / 2)
    assert found == pf.evaluate_changepoints([[50], [48, 80]], np.array([20, 52, 52, 0]), 100)


def test_distances_are_in_x():
    x = np.array([1.0, 10, 100, 1000, 10000])
    assert pf.evaluate_changepoints([2], [3], 5, x=x, margin=899).recall == 1 / 2
    assert pf.evaluate_changepoints([2], [3], 5, x=x, margin=900).recall == 1
    assert pf.evaluate_changepoints([2], [3], 5, x=x).hausdorff == 900
    assert pf.evaluate_changepoints([2], [3], 5, x=np.log10(x), margin=1).recall == 1


# The definitions written out

cuts = st.lists(st.integers(1, 19), unique=True, max_size=6).map(sorted)


def segments(changepoints, n):
    return [set(range(a, b)) for a, b in pairwise([0, *changepoints, n])]


@settings(max_examples=100, deadline=None)
@given(truth=cuts, found=cuts)
def test_covering_and_rand_count_samples(truth, found):
    result = pf.evaluate_changepoints(truth, found, 20)
    covering = sum(len(a) * max(len(a & b) / len(a | b) for b in segments(found, 20)) for a in segments(truth, 20))
    assert result.covering == pytest.approx(covering / 20)
    label = [np.searchsorted(places, np.arange(20), side="right") for places in (truth, found)]
    agree = [(label[0][i] == label[0][j]) == (label[1][i] == label[1][j]) for i, j in combinations(range(20), 2)]
    assert result.rand == pytest.approx(np.mean(agree))


@settings(max_examples=50, deadline=None)
@given(truth=cuts, found=cuts)
def test_measures_that_ruptures_has_are_the_same(truth, found):
    metrics = pytest.importorskip("ruptures.metrics")
    result = pf.evaluate_changepoints(truth, found, 20)
    assert result.rand == pytest.approx(metrics.randindex([*truth, 20], [*found, 20]))
    if truth and found:
        assert result.hausdorff == metrics.hausdorff([*truth, 20], [*found, 20])


@settings(max_examples=50, deadline=None)
@given(truth=cuts, margin=st.integers(0, 5))
def test_the_truth_itself_is_perfect(truth, margin):
    result = pf.evaluate_changepoints(truth, truth, 20, margin=margin)
    assert (result.covering, result.f1, result.rand, result.hausdorff, result.annotation_error) == (1, 1, 1, 0, 0)


# TCPDBench


def tcpd(name):
    """The series in standard units, and what each annotator marked."""
    raw = json.loads(shared("tcpd", "series", f"{name}.json").read_text())["series"][0]["raw"]
    y = np.array(raw, float)
    return (y - y.mean()) / y.std(ddof=1), json.loads(shared("tcpd", "annotations.json").read_text())[name]


def published(measure, name, method):
    rows = [line.split("\t") for line in shared("tcpd", "published", f"default_{measure}.tsv").read_text().splitlines()]
    row = next(row for row in rows if row[0] == name)
    return float(row[rows[0].index(method)])


def as_in_r(changepoints, n):
    """R names the last sample of the old segment; a last sample of the signal is dropped."""
    return [changepoint - 1 for changepoint in changepoints if changepoint - 1 not in (0, n - 1)]


class Sums:
    def __init__(self, y):
        self.one, self.two = (np.r_[0, np.cumsum(y**power)] for power in (1, 2))

    def cost(self, start, end, segment_length):
        count = end - start
        left = self.two[end] - self.two[start] - (self.one[end] - self.one[start]) ** 2 / count
        return left + (np.log(count) if segment_length else 0)


def zero(y):
    return []


def segment_neighbourhood(y):
    """BIC, at most five segments."""
    found = [pf.detect(y, n_changepoints=count) for count in range(5)]
    price = [segmentation.cost + 2 * np.log(len(y)) * count for count, segmentation in enumerate(found)]
    return found[int(np.argmin(price))].changepoints.tolist()


def binary_segmentation(y):
    """mBIC, at most five changepoints: the best cut of any segment, while it is worth the penalty."""
    sums, n, found = Sums(y), len(y), []
    for _ in range(5):
        gains = []
        for start, end in pairwise([0, *sorted(found), n]):
            whole = sums.cost(start, end, True)
            gains += [(whole - sums.cost(start, k, True) - sums.cost(k, end, True), k) for k in range(start + 1, end)]
        gain, place = max(gains)
        if gain < 3 * np.log(n):
            break
        found.append(place)
    return sorted(found)


def pelt(y):
    """mBIC, pruned as R does it."""
    sums, n = Sums(y), len(y)
    penalty = 3 * np.log(n)
    best, before, starts = np.full(n + 1, np.inf), [0] * (n + 1), [0]
    best[0] = -penalty
    for end in range(1, n + 1):
        values = [best[start] + sums.cost(start, end, True) for start in starts]
        best[end], before[end] = min(values) + penalty, starts[int(np.argmin(values))]
        starts = [start for start, value in zip(starts, values, strict=True) if value <= best[end]] + [end]
    found = []
    while before[n]:
        n = before[n]
        found.append(n)
    return sorted(found)


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize(
    ("column", "method"),
    [("zero", zero), ("segneigh", segment_neighbourhood), ("binseg", binary_segmentation), ("pelt", pelt)],
)
def test_published_scores_are_met_to_three_decimals(name, column, method):
    y, annotations = tcpd(name)
    found = as_in_r(method(y), len(y))
    score = pf.evaluate_changepoints(annotations, found, len(y), margin=5)
    assert score.f1 == pytest.approx(published("f1", name, column), abs=6e-4)
    assert score.covering == pytest.approx(published("cover", name, column), abs=6e-4)


def test_cost_ar_with_defaults_scores_above_every_published_method_with_its_defaults():
    """One setting for all series, for a reason: real series drift. A prediction by the sample before takes the drift and
    the autocorrelation up, and what it leaves is what BIC is made for."""
    methods = shared("tcpd", "published", "default_f1.tsv").read_text().splitlines()[0].split("\t")[1:]
    assert "zero" in methods
    scores = {}
    for name in SERIES:
        y, annotations = tcpd(name)
        scores[name] = pf.evaluate_changepoints(annotations, pf.detect(y, cost="ar").changepoints, len(y), margin=5)
    for measure, mine in (("f1", [s.f1 for s in scores.values()]), ("cover", [s.covering for s in scores.values()])):
        theirs = {method: np.mean([published(measure, name, method) for name in SERIES]) for method in methods}
        assert np.mean(mine) > max(theirs.values()), (measure, np.mean(mine), theirs)


# Edges


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"found": [10]}, pf.exceptions.ParameterError, "found holds 10"),
        ({"truth": [-1]}, pf.exceptions.ParameterError, "truth holds -1"),
        ({"found": [1.5]}, pf.exceptions.ParameterError, "1.5, a float"),
        ({"truth": [[1], 2]}, pf.exceptions.ParameterError, "mixes"),
        ({"truth": {}}, pf.exceptions.ParameterError, "no annotator"),
        ({"n_samples": 0}, pf.exceptions.ParameterError, "n_samples is 0"),
        ({"margin": -1}, pf.exceptions.ParameterError, "margin is -1"),
        ({"x": [0, 1]}, pf.exceptions.ShapeError, r"x has shape \(2,\)"),
        ({"x": [0.0] * 10}, pf.exceptions.ParameterError, "x must increase"),
        ({"x": [np.nan] * 10}, pf.exceptions.NotFiniteError, r"x\[0\]"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):
        pf.evaluate_changepoints(**({"truth": [3], "found": [4], "n_samples": 10} | arguments))
