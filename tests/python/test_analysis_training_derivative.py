"""Slopes of archives' losses along training: those of the function, for every token index of every run."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import phaseflow as pf

STEPS = np.array([0, 1, 3, 10, 20, 50, 100, 400])


def record(path: Path, fall: float, *, steps: np.ndarray = STEPS, tokens_seen: object = lambda step: step * 64) -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(5, 1, (6, 5))
    with pf.Recorder(path, probes={"text": pf.Probe(rng.integers(0, 9, (6, 6)))}) as recorder:
        for step in steps.tolist():
            losses = level - fall * np.arange(1, 6) * np.log(max(step, 1))
            recorder.log(step, tokens_seen=tokens_seen(step), per_token_loss={"text": losses})


@pytest.mark.parametrize("x", ["step", "tokens_seen"])
def test_a_loss_that_is_linear_in_the_logarithm_has_its_slope_everywhere(tmp_path: Path, x: str) -> None:
    record(tmp_path / "runs" / "a", 0.5)
    record(tmp_path / "runs" / "b", -0.25, steps=STEPS[:5])
    found = pf.open(tmp_path / "runs").loss_training_derivative(x=x)
    assert found.columns == ["run", "step", "tokens_seen", "probe", "token_index", "value"]
    assert found.filter(pl.col("run") == "a")["step"].unique().to_list() == STEPS[1:].tolist()
    slopes = pl.col("token_index") * pl.when(pl.col("run") == "a").then(-0.5).otherwise(0.25)
    np.testing.assert_allclose(found["value"], found.select(slopes).to_series(), rtol=1e-5)
    assert found.height == 5 * (7 + 4)
    assert found.select("run", "step", "token_index").is_unique().all()


def test_the_width_of_the_window_is_the_callers(tmp_path: Path) -> None:
    record(tmp_path / "run", 0.5)
    archive = pf.open(tmp_path / "run")
    table = archive.position_losses().filter(pl.col("step") > 0).sort("token_index", "step")
    curves = table["value"].to_numpy().reshape(5, 7) + np.random.default_rng(0).normal(0, 1, (5, 7))
    noisy = table.with_columns(value=pl.Series(curves.ravel()))
    for bandwidth in (0.5, 3.0):
        found = pf.analysis.training_derivative.training_derivative(noisy, x="step", bandwidth=bandwidth)
        expected = pf.loss_training_derivative(curves, STEPS[1:], bandwidth=bandwidth)
        np.testing.assert_array_equal(found.sort("token_index", "step")["value"].to_numpy().reshape(5, 7), expected)


def test_what_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    record(tmp_path / "without", 0.5, tokens_seen=lambda step: None)
    record(tmp_path / "again", 0.5, tokens_seen=lambda step: min(step, 20) + 1)
    with pytest.raises(pf.exceptions.MissingDataError, match="run 'without' logged no tokens_seen"):
        pf.open(tmp_path / "without").loss_training_derivative(x="tokens_seen")
    with pytest.raises(pf.exceptions.ParameterError, match="tokens_seen of run 'again' does not increase"):
        pf.open(tmp_path / "again").loss_training_derivative(x="tokens_seen")
    with pytest.raises(pf.exceptions.UnknownNameError, match="x is 'epoch', known: step, tokens_seen"):
        pf.open(tmp_path / "again").loss_training_derivative(x="epoch")
    with pytest.raises(pf.exceptions.ParameterError, match="bandwidth is 0"):
        pf.open(tmp_path / "again").loss_training_derivative(bandwidth=0)


def test_an_archive_without_losses_has_no_rows(tmp_path: Path) -> None:
    with pf.Recorder(tmp_path / "run", probes={"text": pf.Probe(np.zeros((1, 2), int))}) as recorder:
        recorder.log(1, scalars={"loss": 3.0})
    assert pf.open(tmp_path / "run").loss_training_derivative().is_empty()
