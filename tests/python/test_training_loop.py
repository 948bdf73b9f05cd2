"""The loop: what it archives, that looking changes nothing, that a killed run goes on to the same numbers."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import phaseflow
from phaseflow.analysis.verdict import scheduled_events
from phaseflow.archive import Recorder, Run
from phaseflow.exceptions import CorruptArchiveError, ParameterError
from phaseflow.training import (
    Checkpoints,
    Corpus,
    TrainConfig,
    Transformer,
    WeightDecay,
    build_corpus,
    demo_configs,
    tiny_config,
    train,
    train_together,
)
from training_text import write_text


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return tiny_config(str(write_text(tmp_path_factory.mktemp("text"))))


@pytest.fixture(scope="module")
def corpus(config: TrainConfig) -> Corpus:
    return build_corpus(config.corpus)


@pytest.fixture(scope="module")
def whole(config: TrainConfig, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Transformer, Path]:
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    return train(config, run_dir, corpus=corpus), run_dir


def same_weights(a: Transformer, b: Transformer) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def same_archive(a: Path, b: Path) -> bool:
    first, second = Run(a), Run(b)
    assert len(second.verify()) == 0
    return {step: first.checksums(step) for step in first.steps} == {
        step: second.checksums(step) for step in second.steps
    }


def test_the_archive_holds_patterns_losses_weights_and_scalars(
    whole: tuple[Transformer, Path], config: TrainConfig
) -> None:
    archive = phaseflow.open(whole[1])
    scalars = archive.scalars()
    assert set(scalars["name"]) == {"train_loss", "learning_rate", "text_loss"}
    assert scalars["step"].max() == config.steps
    assert scalars.filter(scalars["step"] == config.steps)["tokens_seen"][0] == 30 * 4 * 32
    first = scalars.filter((scalars["step"] == 0) & (scalars["name"] == "text_loss"))["value"][0]
    last = scalars.filter((scalars["step"] == 30) & (scalars["name"] == "text_loss"))["value"][0]
    assert last < first - 0.5
    assert set(archive.head_scores()["layer"]) == {0, 1}


def test_looking_more_often_changes_no_weight(
    whole: tuple[Transformer, Path], config: TrainConfig, corpus: Corpus, tmp_path: Path
) -> None:
    dense = replace(config, checkpoints=Checkpoints(n_log=1, dense_every=1))
    assert same_weights(whole[0], train(dense, tmp_path / "dense", corpus=corpus))


def test_training_moves_nobody_elses_random_numbers(config: TrainConfig, corpus: Corpus, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    train(replace(config, steps=2), tmp_path / "run", corpus=corpus)
    assert torch.equal(state, torch.get_rng_state())


def test_another_seed_trains_another_model(
    whole: tuple[Transformer, Path], config: TrainConfig, corpus: Corpus, tmp_path: Path
) -> None:
    assert not same_weights(whole[0], train(replace(config, seed=1), tmp_path / "run", corpus=corpus))


def test_a_change_of_weight_decay_shows_after_its_step_and_is_an_event_to_the_analysis(
    whole: tuple[Transformer, Path], config: TrainConfig, corpus: Corpus, tmp_path: Path
) -> None:
    decay = WeightDecay(config.optimiser.weight_decay.initial, changes=((10, 3.0), (40, 0.0)))
    rate = replace(config.optimiser.learning_rate, factors=((20, 0.5),))
    changed = replace(config, optimiser=replace(config.optimiser, weight_decay=decay, learning_rate=rate))
    train(changed, tmp_path / "run", corpus=corpus)
    plain, run = Run(whole[1]), Run(tmp_path / "run")
    same = {step: plain.checksums(step) == run.checksums(step) for step in run.steps}
    assert [step for step, equal in same.items() if equal] == [step for step in run.steps if step <= 10]
    assert scheduled_events(run.config) == {
        "end of warm-up": 5, "learning rate x 0.5 at step 20": 20, "weight decay 3 from step 10": 10,
    }  # fmt: skip
    rates = phaseflow.open(run.path).scalars().filter(name="learning_rate").sort("step")
    assert dict(rates.select("step", "value").iter_rows())[30] == pytest.approx(4e-3 / 2)


KILLED = """
import sys, torch
torch.set_num_threads(1)
from phaseflow.training import tiny_config, train
train(tiny_config(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.parametrize("after", [1, 4, 6])
def test_a_killed_run_goes_on_to_the_same_weights_and_the_same_archive(
    whole: tuple[Transformer, Path], config: TrainConfig, corpus: Corpus, tmp_path: Path, after: int
) -> None:
    run_dir = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", KILLED, config.corpus.source, str(run_dir)])
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(run_dir.glob("tensors/*.safetensors"))) >= after:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert len(list(run_dir.glob("tensors/*.safetensors"))) >= after
    resumed = train(config, run_dir, corpus=corpus)
    assert same_weights(whole[0], resumed)
    assert same_archive(whole[1], run_dir)


def test_a_run_that_archived_more_than_it_kept_archives_nothing_twice(
    whole: tuple[Transformer, Path], config: TrainConfig, corpus: Corpus, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    train(config, run_dir, corpus=corpus)
    (run_dir / "resume.pt").unlink()  # as if killed before the first state was kept
    assert same_weights(whole[0], train(config, run_dir, corpus=corpus))
    assert same_archive(whole[1], run_dir)


def test_a_kept_state_is_never_ahead_of_the_archive(
    whole: tuple[Transformer, Path],
    config: TrainConfig,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    third = config.checkpoints.steps(config.steps)[3]
    write = Recorder.log

    def full(recorder: Recorder, step: int, **logged: Any) -> None:
        if step == third:
            raise OSError(28, "No space left on device")
        write(recorder, step, **logged)

    monkeypatch.setattr(Recorder, "log", full)
    with pytest.raises(OSError, match="No space left"):
        train(config, tmp_path / "run", corpus=corpus)
    monkeypatch.undo()
    kept = torch.load(tmp_path / "run" / "resume.pt", weights_only=True)["step"]
    assert kept < third
    assert kept == Run(tmp_path / "run").steps[-1]
    assert same_weights(whole[0], train(config, tmp_path / "run", corpus=corpus))
    assert same_archive(whole[1], tmp_path / "run")


def test_a_finished_run_is_loaded_without_training(
    whole: tuple[Transformer, Path], config: TrainConfig, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: pytest.fail("trained a finished run"))
    assert same_weights(whole[0], train(config, whole[1], corpus=corpus))


def test_another_configuration_is_refused_by_the_name_of_what_differs(
    whole: tuple[Transformer, Path], config: TrainConfig, corpus: Corpus
) -> None:
    with pytest.raises(ParameterError, match=r"seed: had 0, given 5.*another directory"):
        train(replace(config, seed=5), whole[1], corpus=corpus)


def test_a_kept_state_that_is_something_else_is_refused_without_running_it(
    config: TrainConfig, corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "resume.pt").write_bytes(b"not a state")
    with pytest.raises(CorruptArchiveError, match=r"resume\.pt: .*\(UnpicklingError\).*train from the start"):
        train(config, tmp_path, corpus=corpus)


def test_configurations_that_contradict_themselves_are_refused(config: TrainConfig) -> None:
    with pytest.raises(ParameterError, match="they must be equal"):
        replace(config, model=replace(config.model, n_vocab=301))
    with pytest.raises(ParameterError, match="more than the context"):
        replace(config, model=replace(config.model, context=20))
    with pytest.raises(ParameterError, match="steps"):
        replace(config, steps=0)


def test_the_demo_runs_differ_in_their_number_of_layers_alone() -> None:
    one, two = demo_configs(3)["one-layer"], demo_configs(3)["two-layer"]
    assert (one.model.n_layers, two.model.n_layers) == (1, 2)
    assert replace(one, model=two.model) == two
    assert demo_configs(4)["two-layer"] == replace(two, seed=4)


def test_without_torch_the_import_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here', name='torch')")
    code = (
        "import phaseflow.exceptions as e\ntry:\n import phaseflow.training\nexcept e.MissingExtraError as m: print(m)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout == "training needs torch, which is not installed: pip install 'phaseflow[train]'\n"


# Several at once


def test_runs_trained_together_are_those_trained_alone(
    config: TrainConfig, corpus: Corpus, whole: tuple[Transformer, Path], tmp_path: Path
) -> None:
    other = replace(config, seed=config.seed + 1)
    run_dirs = {tmp_path / "same": config, tmp_path / "other": other}
    train_together(run_dirs, corpus, labels={path: path.name for path in run_dirs})
    assert same_archive(tmp_path / "same", whole[1])
    assert not same_archive(tmp_path / "other", whole[1])


def test_a_run_that_fails_among_others_says_why_and_the_others_are_trained(
    config: TrainConfig, corpus: Corpus, whole: tuple[Transformer, Path], tmp_path: Path
) -> None:
    other = replace(config, seed=config.seed + 1)
    train(other, tmp_path / "taken", corpus=corpus)
    run_dirs = {tmp_path / "taken": config, tmp_path / "good": config}
    with pytest.raises(ParameterError, match="another configuration"):
        train_together(run_dirs, corpus, labels={path: path.name for path in run_dirs})
    assert same_archive(tmp_path / "good", whole[1])


def test_the_work_reported_only_grows_and_ends_at_the_whole(
    config: TrainConfig, corpus: Corpus, tmp_path: Path
) -> None:
    reports: list[tuple[int, str | None]] = []
    train(config, tmp_path / "run", corpus=corpus, on_step=lambda done, note: reports.append((done, note)))
    done = [work for work, _ in reports]
    assert done == sorted(done)
    assert done[-1] == config.work(config.steps)
    assert sum(note is not None for _, note in reports) == len(config.checkpoints.steps(config.steps))


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    config: TrainConfig, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match="device is 'nope', which torch cannot use here"):
        train(config, tmp_path / "run", corpus=corpus, device="nope")
    assert not (tmp_path / "run").exists()
