"""Bumps of archives' loss curves: where they are planted, in steps whatever the axis, and nowhere else."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import phaseflow as pf
from phaseflow.analysis import loss_bumps

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


# What is handed to the test, and what comes of it


def given(monkeypatch: pytest.MonkeyPatch, curve: pl.DataFrame, *, x: str, level: float = 0.05) -> tuple:
    """The curve, axis and level that non_convexity was given, with a table that names its second to third sample."""
    asked: list[tuple] = []

    def test(values: np.ndarray, *, x: np.ndarray, level: float) -> pl.DataFrame:
        asked.append((values.tolist(), x.tolist(), level))
        found = {
            "series": [0],
            "start": [x[1]],
            "end": [x[2]],
            "size": [1.0],
            "standard_error": [0.1],
            "p_value": [0.01],
        }
        return pl.DataFrame(found)

    monkeypatch.setattr("phaseflow.analysis.loss_bumps.non_convexity", test)
    table = loss_bumps.loss_bumps(curve, x=x, level=level)
    return asked, table


def numbered(steps: list[int], values: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {"run": "a", "probe": "text", "step": steps, "tokens_seen": [100 * step for step in steps], "value": values}
    )


@pytest.mark.parametrize(
    ("x", "axis", "first"),
    [
        ("step", lambda step: step, 0),
        ("log_step", np.log, 1),
        ("tokens_seen", lambda step: 100.0 * step, 0),
        ("log_tokens_seen", lambda step: np.log(100 * step), 1),
    ],
)
def test_every_axis_is_what_its_name_says_and_a_logarithm_leaves_out_step_0(
    monkeypatch: pytest.MonkeyPatch, x: str, axis: object, first: int
) -> None:
    steps = list(range(14))
    asked, table = given(monkeypatch, numbered(steps, [20.0 - step for step in steps]), x=x, level=0.2)
    [(values, at, level)] = asked
    assert values == [20.0 - step for step in steps[first:]]
    np.testing.assert_allclose(at, axis(np.array(steps[first:], float)), rtol=1e-15)
    assert level == 0.2
    assert table.select("start", "end").row(0) == (first + 1, first + 2)


def test_undefined_losses_are_left_out_and_twelve_checkpoints_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [20.0 - step for step in range(14)]
    values[3], values[5] = float("nan"), float("inf")
    asked, _ = given(monkeypatch, numbered(list(range(14)), values), x="step")
    assert asked[0][1] == [0, 1, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13]
    values[7] = float("nan")
    asked, table = given(monkeypatch, numbered(list(range(14)), values), x="step")
    assert asked == []
    assert table.is_empty()
