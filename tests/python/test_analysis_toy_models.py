"""The tables of toy models: the rows of stored weights, kept, and what happens to damage."""

import numpy as np
import polars as pl
import pytest

import phaseflow as pf
from figures import FIGURES, polygon


@pytest.fixture
def run(tmp_path):
    """Two models of five features in two dimensions: at random first, then a pentagon and two digons."""
    rng = np.random.default_rng(0)
    digons = np.array([[1.0, -1.0, 0, 0, 0], [0, 0, 1.0, -1.0, 0]])
    stored = {0: rng.normal(size=(2, 2, 5)), 10: np.stack([1.1 * polygon(5), digons])}
    with pf.Recorder(tmp_path / "toy", config={}) as recorder:
        for step, W in stored.items():
            weights = {"toy/W": W.astype(np.float32), "toy/loss": np.array([0.5, 0.25]) / (step + 1)}
            recorder.log(step, weights=weights)
        recorder.log(20, scalars={"loss": 0.1})
    return tmp_path / "toy", stored


def test_every_row_is_that_of_the_function_it_comes_from(run):
    path, stored = run
    table = pf.open(path).feature_geometry()
    assert table.select("run", "step").unique().sort("step").rows() == [("toy", 0), ("toy", 10)]
    for step, W in stored.items():
        expected = pf.feature_geometry(W.astype(np.float32)).rename({"matrix": "instance"})
        found = table.filter(step=step).select(expected.columns)
        assert found.rows() == expected.rows()
    last = table.filter(step=10).select("instance", "geometry").unique().sort("instance", "geometry")
    assert last.rows() == [(0, "pentagon"), (1, "digon"), (1, "not learned")]


def test_losses_are_as_stored(run):
    table = pf.open(run[0]).toy_losses()
    expected = [(0, 0, 0.5), (0, 1, 0.25), (10, 0, 0.5 / 11), (10, 1, 0.25 / 11)]
    assert table.select("step", "instance", "value").rows() == expected


def test_what_was_computed_is_kept_for_its_parameters(run):
    path, _ = run
    told = []
    first = pf.open(path, progress=lambda *args: told.append(args)).feature_geometry(edge=0.3)
    assert len(told) > 0
    told.clear()
    archive = pf.open(path, progress=lambda *args: told.append(args))
    assert archive.feature_geometry(edge=0.3).equals(first)
    assert told == []
    archive.feature_geometry(edge=0.9)
    assert len(told) > 0


def test_numbers_that_are_not_finite_are_a_problem_of_their_step(tmp_path):
    W = np.stack([FIGURES["triangle"]] * 2)
    spoiled = W.copy()
    spoiled[1, 0, 0] = np.nan
    with pf.Recorder(tmp_path / "toy", config={}) as recorder:
        for step, stored in enumerate((W, spoiled)):
            recorder.log(step, weights={"toy/W": stored})
    archive = pf.open(tmp_path / "toy")
    table = archive.feature_geometry()
    assert table.filter(pl.col("dimensionality").is_nan()).select("step", "instance").unique().rows() == [(1, 1)]
    problem = archive.problems.row(0, named=True)
    assert problem["object"] == "weights/toy/W at step 1"
    assert problem["found"] == "numbers that leave 3 values of feature_geometry undefined"
    assert archive.toy_losses().is_empty()


def test_runs_without_toy_models_have_empty_tables(planted):
    archive = pf.open(planted / "with")
    assert archive.feature_geometry().is_empty()
    assert archive.toy_losses().columns == ["run", "step", "tokens_seen", "instance", "value"]
