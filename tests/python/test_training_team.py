"""Two processes that `torchrun` starts train the model that one process trains; precision and compiling are options."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import phaseflow
from phaseflow.archive import Run
from phaseflow.exceptions import MissingDataError, ParameterError
from phaseflow.training import ModelConfig, RepeatsConfig, TrainConfig, Transformer, tiny_config, train
from phaseflow.training.loop import loss_function
from phaseflow.training.team import Team

TINY = tiny_config("unused")
CONFIG = replace(TINY, corpus=RepeatsConfig(300), steps=12)

TOGETHER = """
import sys, torch
torch.set_num_threads(1)
from dataclasses import replace
from phaseflow.training import RepeatsConfig, tiny_config, train
config = replace(tiny_config("unused"), corpus=RepeatsConfig(300), steps=12)
run_dir, weights, *first_then = sys.argv[1:]
shard, then = (word == "parts" for word in first_then)
from phaseflow.training import sharded
class Parts(sharded.Shards):
    def __init__(self, *given):
        super().__init__(*given)
        mine, whole = (sum(f(p) for p in self.model.parameters()) for f in (lambda p: p.to_local().numel(), torch.numel))
        assert mine < 0.6 * whole, (mine, whole)
        print("shared out")
sharded.Shards = Parts
class Killed(BaseException): pass
updates = 0
def die(done, note):
    global updates
    updates += note is None
    if updates == 8: raise Killed
torch.distributed.init_process_group("gloo")  # for both calls; train leaves a group that it finds alone
try: train(config, run_dir, on_step=die, shard=shard)
except Killed: pass
torch.save(train(config, run_dir, shard=then).state_dict(), f"{weights}{torch.distributed.get_rank()}")
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transformer, Path]:
    run_dir = tmp_path_factory.mktemp("alone") / "run"
    return train(CONFIG, run_dir), run_dir


def torchrun(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    return subprocess.run(
        [*launch, sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip


@pytest.mark.parametrize(("first", "then"), [("copies", "parts"), ("parts", "copies")])
def test_two_processes_train_the_model_of_one_also_when_killed_in_between(
    alone: tuple[Transformer, Path], tmp_path: Path, first: str, then: str
) -> None:
    done = torchrun(TOGETHER, tmp_path / "run", tmp_path / "rank", first, then)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("shared out") == 2
    one_of, other = (torch.load(tmp_path / f"rank{rank}", weights_only=True) for rank in (0, 1))
    for name, weight in alone[0].state_dict().items():
        assert torch.equal(one_of[name], other[name])
        torch.testing.assert_close(one_of[name], weight, rtol=1e-3, atol=1e-5)
    ours, theirs = Run(alone[1]), Run(tmp_path / "run")
    assert len(theirs.verify()) == 0
    assert theirs.steps == ours.steps
    assert theirs.checksums(0) == ours.checksums(0)
    one, two = (phaseflow.open(path).scalars().sort("step", "name") for path in (alone[1], tmp_path / "run"))
    assert one.select("step", "name", "tokens_seen").equals(two.select("step", "name", "tokens_seen"))
    np.testing.assert_allclose(two["value"], one["value"], rtol=1e-4)


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(ParameterError, match="batch_size is 5, 2 processes cannot share it evenly"):
        Team(0, 2, "cpu").check(5, 0)


def test_processes_that_found_different_states_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(into: list[int | None], mine: int) -> None:
        into[:] = [mine, 40]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    Team(0, 2, "cpu").check(4, 40)
    with pytest.raises(MissingDataError, match=r"from steps \[0, 40\]: the run's directory must be the same for all"):
        Team(0, 2, "cpu").check(4, 0)


def test_a_model_is_not_shared_out_to_one_process(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="over several processes, here is 1: start them with torchrun"):
        train(CONFIG, tmp_path / "run", shard=True)
    assert not (tmp_path / "run").exists()


def test_each_process_takes_other_rows_and_together_all() -> None:
    tokens = torch.arange(12).view(6, 2)
    shares = [Team(rank, 3, "cpu").share(tokens) for rank in range(3)]
    assert [share.shape for share in shares] == [(2, 2)] * 3
    assert sorted(torch.cat(shares)[:, 0].tolist()) == [0, 2, 4, 6, 8, 10]


# Precision and compiling


def test_bfloat16_is_close_to_float32_and_leaves_weights_and_archive_in_float32(
    alone: tuple[Transformer, Path], tmp_path: Path
) -> None:
    model = train(replace(CONFIG, precision="bfloat16"), tmp_path / "run")
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert not torch.equal(model.W_E, alone[0].W_E)
    torch.testing.assert_close(model.W_E, alone[0].W_E, rtol=0, atol=0.05)
    assert Run(tmp_path / "run").tensor(12, "loss/text").dtype == "float32"


def test_on_a_cpu_auto_is_float32_and_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda module: (compiled.append(module), module)[1])
    model = Transformer(CONFIG.model)
    tokens = torch.randint(300, (2, 33))
    us = Team(0, 1, "cpu")
    automatic = loss_function(model, CONFIG, us)(tokens)
    assert automatic.dtype == torch.float32
    assert compiled == []
    assert torch.equal(automatic, loss_function(model, replace(CONFIG, precision="float32"), us)(tokens))
    assert not torch.equal(automatic, loss_function(model, replace(CONFIG, precision="bfloat16"), us)(tokens))
    assert torch.equal(automatic, loss_function(model, replace(CONFIG, compile=True), us)(tokens))
    assert compiled == [model]


@pytest.mark.parametrize(
    "differs",
    [
        {"positions": "learned"}, {"positions": "press"}, {"positions": "relative"}, {"layer_norm": False},
        {"positions": "rotary", "smeared_keys": True, "d_mlp": 24},
    ],
    ids=str,
)  # fmt: skip
def test_the_compiler_takes_every_model_whole_and_changes_nothing(differs: dict[str, object]) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    model = Transformer(ModelConfig(**({"n_vocab": 30, "context": 12, "n_heads": 2, "d_model": 16} | differs)))
    # What a backend is given to make faster, run as it is; `fullgraph` refuses what would fall back to Python.
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    tokens = torch.randint(30, (3, 12))
    logits, expected = compiled(tokens), model(tokens)
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)
    weights = list(model.parameters())
    gradients = (torch.autograd.grad(each.square().mean(), weights) for each in (logits, expected))
    for found, right in zip(*gradients, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("wrong", [{"precision": "float16"}, {"compile": "yes"}])
def test_unknown_options_are_refused_by_name(wrong: dict[str, str]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        replace(CONFIG, **wrong)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_half_precision_and_compiled_training_learns(tmp_path: Path) -> None:
    config: TrainConfig = replace(CONFIG, steps=30)
    train(config, tmp_path / "run", device="cuda")
    losses = phaseflow.open(tmp_path / "run").scalars().filter(name="text_loss").sort("step")["value"]
    assert losses[-1] < losses[0] - 0.5
