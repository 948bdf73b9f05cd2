"""A stack of runs: each is the run it would be alone, to rounding, and its archive has the same form."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import phaseflow
from phaseflow.archive import Run
from phaseflow.exceptions import ParameterError
from phaseflow.training import (
    Checkpoints,
    LearningRate,
    MarkovConfig,
    ModelConfig,
    RepeatsConfig,
    TrainConfig,
    WeightDecay,
    tiny_config,
    train,
    train_stacked,
)
from phaseflow.training.run import TrainingRun
from phaseflow.training.stack import Stack

TINY = tiny_config("unused")
FIRST = replace(TINY, corpus=RepeatsConfig(300), steps=20, checkpoints=Checkpoints(n_log=4, dense_every=5))
CONFIGS = {
    "first": FIRST,
    "seed": replace(FIRST, seed=7),
    "rate": replace(FIRST, optimiser=replace(FIRST.optimiser, learning_rate=LearningRate(1e-3, 3, factors=((8, 0.5),)))),
    "decay": replace(FIRST, optimiser=replace(FIRST.optimiser, weight_decay=WeightDecay(0.5, changes=((10, 2.0),)))),
}  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("alone")
    for name, config in CONFIGS.items():
        train(config, root / name)
    return root


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stacked")
    train_stacked({root / name: config for name, config in CONFIGS.items()})
    return root


def assert_same_to_rounding(one: Path, other: Path, rtol: float = 2e-3) -> None:
    first, second = Run(one), Run(other)
    assert len(second.verify()) == 0
    assert first.config == second.config
    assert {name: probe.tokens_hash for name, probe in first.probes.items()} == {
        name: probe.tokens_hash for name, probe in second.probes.items()
    }
    form = ["step", "name", "dtype", "shape"]
    assert first.index.sort("step", "name").select(form).equals(second.index.sort("step", "name").select(form))
    last = first.steps[-1]
    for name in first.index.filter(step=last)["name"]:
        a, b = (np.asarray(run.tensor(last, name), np.float64) for run in (first, second))
        np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol * np.abs(a).max(), err_msg=name)
    a, b = (phaseflow.open(path).scalars().sort("step", "name") for path in (one, other))
    assert a.select("step", "tokens_seen", "name").equals(b.select("step", "tokens_seen", "name"))
    np.testing.assert_allclose(b["value"], a["value"], rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_each_run_of_a_stack_is_the_run_alone(alone: Path, stacked: Path, name: str) -> None:
    assert_same_to_rounding(alone / name, stacked / name)


def test_the_runs_of_a_stack_differ_as_their_configurations_do(stacked: Path) -> None:
    last = [np.asarray(Run(stacked / name).tensor(20, "loss/text")) for name in CONFIGS]
    for index, one in enumerate(last):
        assert not any(np.allclose(one, other, rtol=1e-3) for other in last[index + 1 :])


@pytest.mark.parametrize("positions", ["press", "rotary", "learned", "relative"])
@pytest.mark.parametrize("more", [{}, {"d_mlp": 8, "smeared_keys": True, "layer_norm": False}], ids=["plain", "all"])
def test_updates_of_every_kind_of_model_are_those_of_torchs_adamw(
    positions: str, more: dict[str, object], tmp_path: Path
) -> None:
    model = ModelConfig(n_vocab=4, context=24, n_heads=2, d_model=8, positions=positions, **more)  # type: ignore[arg-type]
    config = replace(TINY, corpus=MarkovConfig(3), model=model, steps=4, checkpoints=Checkpoints(n_log=1))
    configs = [config, replace(config, seed=5)]
    data = config.corpus.build()
    runs = [TrainingRun(each, tmp_path / str(each.seed), data, "cpu", records=False) for each in configs]
    stack = Stack(runs)
    for step in range(4):
        stack.update(step)
    stack.unstack(4)
    for each, run in zip(configs, runs, strict=True):
        expected = train(each, tmp_path / f"alone{each.seed}").state_dict()
        for name, weight in run.model.state_dict().items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


class Killed(BaseException):
    pass


def killed_at(update: int):
    seen = 0

    def die(done: int, note: str | None) -> None:
        nonlocal seen
        seen += note is None
        if seen == update:
            raise Killed

    return die


def test_a_killed_stack_goes_on_and_so_do_runs_of_it_alone(alone: Path, tmp_path: Path) -> None:
    configs = {tmp_path / name: config for name, config in CONFIGS.items()}
    with pytest.raises(Killed):
        train_stacked(configs, on_step=killed_at(17))
    assert Run(tmp_path / "seed").steps[-1] in range(5, 16)
    train(CONFIGS["seed"], tmp_path / "seed")  # this one alone
    train_stacked(configs)
    for name in CONFIGS:
        assert_same_to_rounding(alone / name, tmp_path / name)


def test_runs_that_stopped_at_different_steps_catch_up_and_go_on_together(alone: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(CONFIGS["first"], tmp_path / "first", on_step=killed_at(14))
    train(CONFIGS["rate"], tmp_path / "rate")  # finished
    before = Run(tmp_path / "rate").checksums(20)
    told = []
    train_stacked(
        {tmp_path / name: config for name, config in CONFIGS.items()}, on_step=lambda *done: told.append(done)
    )
    for name in CONFIGS:
        assert_same_to_rounding(alone / name, tmp_path / name)
    assert Run(tmp_path / "rate").checksums(20) == before
    work = [done for done, _ in told]
    assert work == sorted(work)
    assert work[-1] == 4 * FIRST.work(20)


def test_a_run_trained_alone_takes_up_what_a_stack_left(alone: Path, tmp_path: Path) -> None:
    configs = {tmp_path / name: CONFIGS[name] for name in ("first", "decay")}
    with pytest.raises(Killed):
        train_stacked(configs, on_step=killed_at(16))
    for path, config in configs.items():
        train(config, path)
        assert_same_to_rounding(alone / path.name, path)


def test_runs_that_differ_in_more_are_refused_by_the_name_of_what_differs(tmp_path: Path) -> None:
    others: list[tuple[TrainConfig, str]] = [
        (replace(FIRST, steps=30), "steps: had 20, given 30"),
        (replace(FIRST, model=replace(FIRST.model, n_layers=1)), "model.n_layers: had 2, given 1"),
        (replace(FIRST, optimiser=replace(FIRST.optimiser, beta2=0.9)), "optimiser.beta2"),
        (replace(FIRST, corpus=MarkovConfig(299)), "corpus: had repeats, given markov"),
    ]
    for other, message in others:
        with pytest.raises(ParameterError, match=message):
            train_stacked({tmp_path / "a": FIRST, tmp_path / "b": other})
    train_stacked({})  # nothing to do
