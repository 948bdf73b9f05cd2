"""How certain a changepoint of detect is: place, size, existence; the table and the figure of it."""

import math

import numpy as np
import pytest

import phaseflow as pf
import phaseflow.exceptions
from phaseflow.changepoint.student import student_quantile


def step(height, n_samples, seed):
    y = np.random.default_rng(seed).normal(0, 1, n_samples)
    y[n_samples // 2 :] += height
    return y


# By hand


def test_the_size_of_a_step_has_students_interval():
    found = pf.detect([0, 2, 0, 2, 11, 9, 11, 9], n_changepoints=1)
    # Means 1 and 10; rest 8 over 6 degrees of freedom, error sqrt(8/6 (1/4 + 1/4)); Student's 97.5% for 6: 2.4469.
    assert found.sizes.tolist() == [[9]]
    half = 2.4469 * math.sqrt(8 / 6 / 2)
    assert found.size_intervals[0, 0].tolist() == pytest.approx([9 - half, 9 + half], abs=1e-3)
    assert found.places.tolist() == [[4, 4]]


def test_places_that_fit_nearly_as_well_belong_to_the_interval():
    # The middle sample fits neither side: a cut before or after it leaves nearly the same.
    found = pf.detect([0, 0.1, 0, 0.1, 0.5, 1, 1.1, 1, 0.9], n_changepoints=1)
    y = np.array([0, 0.1, 0, 0.1, 0.5, 1, 1.1, 1, 0.9])
    rests = [sum(((part - part.mean()) ** 2).sum() for part in (y[:k], y[k:])) for k in range(1, 9)]
    inside = [k for k, rest in zip(range(1, 9), rests, strict=True)
              if 9 * math.log(rest / min(rests)) <= -2 * math.log(1 - math.sqrt(0.95))]  # fmt: skip
    assert found.places.tolist() == [[min(inside), max(inside)]]
    assert len(inside) > 1


def test_a_clean_step_is_certain():
    found = pf.detect([3.0] * 5 + [4.0] * 5)
    assert found.places.tolist() == [[5, 5]]
    assert found.size_intervals.tolist() == [[[1, 1]]]
    assert found.p_values.tolist() == [0]


# Simulated: bounds five standard errors wide


@pytest.mark.parametrize(("height", "n_samples"), [(1, 40), (2, 40), (2, 200)])
def test_intervals_cover_what_they_say(height, n_samples):
    place = size = 0
    for seed in range(300):
        found = pf.detect(step(height, n_samples, seed), n_changepoints=1)
        place += found.places[0, 0] <= n_samples // 2 <= found.places[0, 1]
        size += found.size_intervals[0, 0, 0] <= height <= found.size_intervals[0, 0, 1]
    slack = 5 * math.sqrt(0.95 * 0.05 / 300)
    assert place / 300 > 0.95 - slack
    assert size / 300 > 0.93 - slack  # the place was chosen where the step looks large


def test_p_values_are_those_of_detect_many():
    y = np.r_[step(2, 40, 1), step(-3, 50, 2)]
    found = pf.detect(y, penalty=6.0)
    assert len(found.p_values) > 1
    many = pf.detect_many(y[None], penalty=6.0)
    assert found.p_values.tolist() == pytest.approx(many["p_value"].to_list(), rel=1e-9)
    assert found.sizes[:, 0].tolist() == pytest.approx(many["size"].to_list())


def test_a_wider_level_is_a_wider_interval():
    narrow, wide = (pf.detect(step(1.5, 60, 3), n_changepoints=1, level=level) for level in (0.5, 0.99))
    assert wide.places[0, 0] <= narrow.places[0, 0] <= narrow.places[0, 1] <= wide.places[0, 1]
    assert np.ptp(wide.size_intervals) > np.ptp(narrow.size_intervals)
    for level in (0, 1, np.nan):
        with pytest.raises(pf.exceptions.ParameterError, match="level is"):
            pf.detect([0.0, 1.0], level=level)


def test_missing_samples_count_for_nothing():
    y = step(3, 40, 4)
    holes = np.full(80, np.nan)
    holes[::2] = y
    alone, among = pf.detect(y, n_changepoints=1), pf.detect(holes, n_changepoints=1)
    assert among.places.tolist() == (2 * alone.places).tolist()
    assert among.size_intervals.tolist() == alone.size_intervals.tolist()


@pytest.mark.parametrize(("cost", "sized"), [("linear", False), ("clinear", False), ("l1", True), ("rank", True)])
def test_a_cost_without_levels_has_no_size_of_one(cost, sized):
    found = pf.detect(np.r_[np.arange(20.0), 40 - np.arange(20.0)], cost=cost, n_changepoints=1)
    assert np.isfinite(found.sizes).all() == sized
    table = found.changes()
    assert table["p_value"].max() < 1e-5
    assert table["size"].is_null().all() != sized


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 1000])
def test_students_quantiles_are_scipys(freedom):
    stats = pytest.importorskip("scipy.stats")
    for probability in (0.75, 0.95, 0.975, 0.995):
        expected = stats.t.ppf(probability, freedom)
        assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-4)


# What it looks like


def test_changes_are_a_table_of_one_row_a_changepoint_and_feature():
    x = np.arange(0, 80, 10.0)
    found = pf.detect(np.repeat([[0.0, 1.0], [5.0, 3.0]], 4, axis=0), x=x, penalty=1.0)
    table = found.changes()
    assert table.select("changepoint", "feature", "x", "x_lower", "x_upper", "before", "after", "size").rows() == [
        (4, 0, 40, 30, 40, 0, 5, 5),
        (4, 1, 40, 30, 40, 1, 3, 2),
    ]
    assert pf.detect([1.0, 1.0]).changes().height == 0
    text = str(pf.detect(step(4, 40, 0), penalty=12.0))
    assert "95% interval" in text
    assert "begins at" in text


def test_a_segmentation_plots_its_signal_levels_and_places():
    pytest.importorskip("plotly")
    found = pf.detect(step(4, 40, 0), n_changepoints=1)
    drawn = found.plot()
    assert drawn.data[0].y.tolist() == step(4, 40, 0).tolist()
    assert np.asarray(drawn.data[1].y)[[0, 1, 3, 4]].tolist() == np.repeat(found.means[:, 0], 2).tolist()
    shade = next(shape for shape in drawn.layout.shapes if shape.type == "rect")
    first, last = found.places[0]
    assert (shade.x0, shade.x1) == (first - 1, last)
    assert len(pf.detect(np.zeros((5, 2))).plot().data) == 4
    assert pf.detect(np.arange(9.0), cost="clinear").plot().data[1].y.tolist() == pytest.approx([0, 8])


def test_a_plot_says_what_changed_above_each_changepoint_and_all_of_it_on_hovering():
    pytest.importorskip("plotly")
    found = pf.detect(step(4, 40, 0), n_changepoints=1)
    drawn, effect = found.plot(), found.effects().row(0, named=True)
    (label,) = drawn.layout.annotations
    assert label.x == found.x[found.changepoints[0]]
    told = f"mean {effect['size']:+.3g} ({effect['size_lower']:+.3g} to {effect['size_upper']:+.3g})"
    assert label.text == f"{told}<br>p below 1e-6"
    (mark,) = drawn.data[-1].hovertext
    assert told in mark
    # Of two features the label names no one of them; the mark does.
    both = pf.detect(np.stack([step(4, 40, 0), step(-3, 40, 1)], axis=1), n_changepoints=1).plot()
    assert both.layout.annotations[0].text.startswith("p ")
    assert "mean of feature 1: -" in both.data[-1].hovertext[0]


def test_where_changepoints_are_many_a_plot_tells_their_sizes_and_where_they_crowd_their_marks_alone():
    pytest.importorskip("plotly")
    y = np.repeat([0.0, 3, 1, 4, 2, 3, 0, 5, 2, 4], 20) + np.random.default_rng(0).normal(0, 0.3, 200)
    labels = pf.detect(y, n_changepoints=9).plot().layout.annotations
    assert [label.text[0] for label in labels] == list("+-+-+-+-+")
    assert not any("to" in label.text for label in labels)
    crowded = pf.detect(np.tile([0.0, 0, 5, 5], 25), penalty=1.0).plot()
    assert len(crowded.layout.annotations) == 0
    assert len(crowded.data[-1].x) == 49


def test_steps_that_are_spaced_by_their_logarithm_are_drawn_by_it() -> None:
    pytest.importorskip("plotly")
    x = np.geomspace(10, 10_000, 60)
    y = np.where(x < 60, 0.0, 1.0) + np.random.default_rng(0).normal(0, 0.1, 60)
    found = pf.detect(y, x=x, n_changepoints=1)
    drawn = found.plot()
    assert drawn.layout.xaxis.type == "log"
    assert drawn.layout.shapes[1].x0 == pytest.approx(x[found.changepoints[0]])
    assert drawn.layout.annotations[0].x == pytest.approx(np.log10(x[found.changepoints[0]]))
    # Lines would be no lines there, and an even axis needs no logarithm.
    assert pf.detect(y, x=x, cost="linear", n_changepoints=1).plot().layout.xaxis.type == "linear"
    assert pf.detect(y, x=np.linspace(10, 10_000, 60), n_changepoints=1).plot().layout.xaxis.type == "linear"
    assert pf.detect(y, x=x - 10, n_changepoints=1).plot().layout.xaxis.type == "linear"
    assert "shaded" not in pf.detect(np.zeros(9)).plot().layout.title.text


@pytest.mark.parametrize("cost", ["linear", "clinear"])
def test_a_plot_draws_the_lines_that_were_fitted(cost):
    pytest.importorskip("plotly")
    x = np.concatenate([np.arange(30.0), 30 + 2 * np.arange(30.0)])
    y = np.where(x < 30, x, 30 - 2 * (x - 30) + (8 if cost == "linear" else 0))
    y[[5, 29]] = np.nan
    found = pf.detect(y, x=x, cost=cost, n_changepoints=1)
    lines = found.plot().data[1]
    corners = [(x0, y0) for x0, y0 in zip(lines.x, lines.y, strict=True) if not np.isnan(x0)]
    expected = {"clinear": [(0, 0), (30, 30), (88, -86)], "linear": [(0, 0), (28, 28), (30, 38), (88, -78)]}
    np.testing.assert_allclose(corners, expected[cost], atol=1e-9)


def test_of_many_features_the_first_means_are_printed():
    few, many = (str(pf.detect(np.tile([[0.0], [1.0]], (2, count)), penalty=1e9)) for count in (6, 500))
    assert "0.5, 0.5, 0.5, 0.5, 0.5, 0.5  " in few
    assert "0.5, 0.5, 0.5, 0.5, 0.5, 0.5, ... (500 features)" in many
    assert max(map(len, many.splitlines())) < 120


def test_of_many_features_those_that_changed_most_clearly_are_printed():
    y = np.random.default_rng(5).normal(0, 1, (60, 12))
    y[30:] += np.array([0, 9, 0, 8, 0, 7, 0, 6, 0, -5, 0, -9])
    found = pf.detect(y, n_changepoints=1)
    text = str(found)
    shown = [
        int(line.split("mean")[1].split()[0]) for line in text.splitlines() if " mean " in line and "cost" not in line
    ]
    assert shown == [1, 3, 5, 7, 9, 11]
    assert "6 less clear" in text
    assert found.effects().height == 12
    hover = next(trace for trace in found.plot().data if trace.name == "changes").hovertext[0]
    assert hover.count("mean of feature") == 6
    assert hover.endswith("6 less clear")


def test_what_changes_without_noise_is_printed_first_of_all():
    y = np.random.default_rng(6).normal(0, 1, (20, 8))
    y[:, 6:] = np.where(np.arange(20) < 10, 0, 5)[:, None]
    found = pf.detect(y, n_changepoints=1)
    text = str(found)
    assert "mean 6" in text
    assert "mean 7" in text
    found.of_changepoint(0).clear()
    assert str(found) == text


def test_of_many_changepoints_the_first_and_the_last_are_printed():
    found = pf.detect(np.repeat(np.arange(40.0), 5), penalty=0.1)
    lines = str(found).splitlines()
    assert len(found.changepoints) == 39
    # A line for the whole, two headings, twice 12 and dots and 12, an assumption.
    assert len(lines) == 1 + 2 * (1 + 12 + 1 + 12) + 1
    assert lines[0].startswith("39 changepoints")
    assert lines[-2].split()[0] == "195"
    assert found.to_polars().height == 40
