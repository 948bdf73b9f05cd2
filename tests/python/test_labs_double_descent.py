"""The double-descent lab: what it says of a sweep, and that it says no more."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from typer.testing import CliRunner

import phaseflow as pf
from phaseflow.cli import app
from phaseflow.exceptions import ParameterError
from phaseflow.labs import double_descent
from phaseflow.reporting.double_descent import by_rank
from phaseflow.training.toy import FiniteConfig, FiniteResult


def table(examples, off, test_loss):
    count = len(examples)
    return pl.DataFrame(
        {
            "examples": examples,
            "test loss": test_loss,
            "train loss": [0.1] * count,
            "off 2/T, median": off,
            "feature dimensionality, largest": [0.2] * count,
        }
    )


def test_a_polygon_is_only_told_where_examples_lie_on_one():
    near = double_descent.seen(table([3, 4, 8, 100], [0.3, 0.02, 0.05, 0.9], [1.0, 1.1, 1.2, 0.9]))
    assert near[0] == "From 4 to 8 examples half of their dimensionalities are within 5.0% of 2/T: a T-gon."
    far = double_descent.seen(table([4, 8], [0.02, 0.3], [1.0, 1.1]))
    assert far[0].endswith("further than 10% from a T-gon.")
    assert len(double_descent.seen(table([100], [0.9], [1.0]))) == 2


def test_examples_on_a_polygon_are_at_no_distance_from_it():
    corners = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    result = FiniteResult(torch.ones(2, 1000), torch.zeros(1000), corners, 0.0, 1.0)
    assert double_descent.Point(FiniteConfig(4), result).from_polygon == pytest.approx(np.zeros(4), abs=1e-12)
    # Two pairs of neighbours: each shares its direction with one other, and the pairs are at right angles.
    paired = corners[[0, 0, 1, 1]]
    point = double_descent.Point(FiniteConfig(4), replace(result, hidden=paired))
    assert point.example_dimensionality == pytest.approx([1 / 2] * 4)
    point = double_descent.Point(FiniteConfig(5), replace(result, hidden=corners[[0, 0, 1, 1, 1]]))
    assert point.from_polygon == pytest.approx([1 / 4, 1 / 4, 1 / 6, 1 / 6, 1 / 6])  # 1/2 and 1/3 instead of 2/5


def test_the_highest_test_loss_is_reported_and_no_peak_asserted():
    [_, losses, _] = double_descent.seen(table([4, 80, 400], [0.0, 0.5, 0.9], [1.0, 5.0, 0.9]))
    assert "highest, 5.000, at 80 examples and lowest, 0.900, at 400" in losses
    assert "not settled" in losses


def test_dots_are_thinned_by_rank_and_keep_both_ends():
    values = np.random.default_rng(0).permutation(5000) / 5000
    thinned = by_rank(values)
    assert len(thinned) == 300
    assert (thinned[0], thinned[-1]) == (0, values.max())
    assert by_rank(values[:10]).tolist() == values[:10].tolist()


def test_one_call_trains_archives_and_writes_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(double_descent, "RESTARTS", 2)
    arguments = {"sizes": (60, 4), "steps": 60, "command": "phaseflow lab double-descent"}
    double_descent.run(tmp_path / "runs", tmp_path / "page.html", **arguments)
    text = (tmp_path / "page.html").read_text()
    thousand = '"x0":1000,"x1":1000'  # ten occurrences of features that one example of a hundred has
    for word in ("Loss over the size of the data set", "Hidden vectors", "T = 60", "Reproduce", thousand):
        assert word in text
    assert "test loss is highest" in capsys.readouterr().out
    names = {f"examples-{size}-60-0-{restart}" for size, restart in ((4, 0), (4, 1), (60, 0))}
    assert {run.name for run in pf.open(tmp_path / "runs").runs} == names
    before = torch.get_num_threads()
    double_descent.run(tmp_path / "runs", tmp_path / "page.html", **arguments)  # loaded
    assert torch.get_num_threads() == before


def test_when_one_size_fails_the_others_stop_at_their_next_step(tmp_path, monkeypatch):
    train = double_descent.train_finite
    steps = []

    def failing(config, folder, *, on_step):
        if config.n_examples == 50:
            raise OSError(28, "No space left on device")

        def counted(done, note):
            steps.append(done)
            time.sleep(0.01)
            on_step(done, note)

        return train(config, folder, on_step=counted)

    monkeypatch.setattr(double_descent, "train_finite", failing)
    monkeypatch.setattr(double_descent.os, "cpu_count", lambda: 2)
    with pytest.raises(OSError, match="No space left"):
        double_descent.sweep(tmp_path, [50, 60], 100_000, 0)
    assert len(steps) < 1000


def test_the_command_passes_its_sizes_on(tmp_path, monkeypatch):
    called = {}
    monkeypatch.setattr(double_descent, "run", lambda *args, **more: called.update(more))
    done = CliRunner().invoke(app, ["lab", "double-descent", "--examples", "5", "--examples", "50", "--steps", "100"])
    assert done.exit_code == 0, done.output
    assert (called["sizes"], called["steps"]) == ((5, 50), 100)
    CliRunner().invoke(app, ["lab", "double-descent"])
    assert called["sizes"] == double_descent.SIZES


def test_an_empty_sweep_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="at least one size and 20 steps, got 0 and 5000"):
        double_descent.run(tmp_path, tmp_path / "page.html", sizes=())
