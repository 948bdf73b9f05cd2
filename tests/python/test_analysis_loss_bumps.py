"""Bumps of archives' loss curves: where they are planted, in steps whatever the axis, and nowhere else."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import phaseflow as pf

STEPS = np.linspace(50, 10_000, 80).astype(int)


def record(path: Path, *, drop: float, seed: int, tokens_seen: bool = True, steps: np.ndarray = STEPS) -> None:
    rng = np.random.default_rng(seed)
    with pf.Recorder(path, probes={"text": pf.Probe(rng.integers(0, 9, (8, 201)))}) as recorder:
        for step in steps:
            level = 3 + 4 * step**-0.3 - drop * np.clip((step - 4000) / 600, 0, 1) + rng.normal(0, 0.005)
            recorder.log(
                int(step),
                tokens_seen=int(step) * 1024 if tokens_seen else None,
                per_token_loss={"text": level + rng.normal(0, 0.01, (8, 200))},
            )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> pf.Archive:
    root = tmp_path_factory.mktemp("bumps")
    record(root / "with", drop=0.2, seed=0)
    record(root / "without", drop=0.0, seed=1)
    return pf.open(root)


@pytest.mark.parametrize("x", ["step", "log_step", "tokens_seen", "log_tokens_seen"])
def test_the_bump_of_the_one_run_is_found_where_it_is_planted(archive: pf.Archive, x: str) -> None:
    found = archive.loss_bumps(x=x)
    assert set(found["run"]) == {"with"}
    around = found.filter(pl.col("start").le(4000) & pl.col("end").ge(4000))
    assert around.height == 1
    assert set(found["start"]) | set(found["end"]) <= set(STEPS.astype(float))


def test_steps_and_tokens_seen_in_proportion_are_the_same_axis(archive: pf.Archive) -> None:
    by_step, by_tokens = archive.loss_bumps(x="step"), archive.loss_bumps(x="tokens_seen")
    assert by_step.drop("p_value", "size", "standard_error").equals(by_tokens.drop("p_value", "size", "standard_error"))


def test_an_axis_that_was_not_logged_is_refused_and_an_unknown_one_lists_the_known(tmp_path: Path) -> None:
    record(tmp_path / "run", drop=0.0, seed=0, tokens_seen=False, steps=STEPS[:15])
    archive = pf.open(tmp_path / "run")
    with pytest.raises(pf.exceptions.MissingDataError, match="logged no tokens_seen"):
        archive.loss_bumps(x="tokens_seen")
    with pytest.raises(pf.exceptions.UnknownNameError, match="known: step, log_step"):
        archive.loss_bumps(x="epoch")


def test_too_few_checkpoints_have_no_bumps(tmp_path: Path) -> None:
    record(tmp_path / "run", drop=0.0, seed=0, steps=STEPS[:11])
    assert pf.open(tmp_path / "run").loss_bumps().is_empty()
