"""Whenever the recording process dies, each step is there whole or not at all, and the run goes on."""

import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import recording_loop
from phaseflow.archive import Recorder, Run
from phaseflow.archive.live import Line, read_live
from recording_loop import has_tensors

KILLS = 20


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> multiprocessing.context.ForkServerContext:
    """Processes that start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    # The server looks for what it imports ahead on PYTHONPATH alone.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    context.set_forkserver_preload(["recording_loop"])
    return context


def run_until_killed(workers: multiprocessing.context.ForkServerContext, path: Path, seconds: float) -> int | None:
    """Record for about ``seconds``, then SIGKILL; the last step that ``log`` returned from."""
    reader, writer = workers.Pipe(duplex=False)
    process = workers.Process(target=recording_loop.record, args=(path, writer), daemon=True)
    process.start()
    writer.close()
    last = reader.recv()
    time.sleep(seconds)
    process.kill()
    process.join()
    process.close()
    with reader, contextlib.suppress(EOFError):
        while True:
            last = reader.recv()
    return last


def check(path: Path) -> int | None:
    """Every step of the run is whole; the last one."""
    run = Run(path)
    assert run.problems.is_empty(), run.problems
    scalars = run.scalars()
    steps = sorted(set(scalars["step"]))
    assert steps == list(range(len(steps)))
    assert scalars.height == 2 * len(steps), "no scalar twice, none alone"
    losses = scalars.filter(name="loss")["value"].to_list()
    assert losses == [step / 7 for step in steps]
    assert run.tokens_seen().rows() == [(step, 64 * step) for step in steps]
    assert run.steps == [step for step in steps if has_tensors(step)]
    for step in run.steps:
        for layer in range(2):
            stored = np.asarray(run.tensor(step, f"attention/fixed/L{layer:02}"))
            np.testing.assert_array_equal(stored, recording_loop.pattern(step, layer))
        np.testing.assert_array_equal(np.asarray(run.tensor(step, "loss/fixed")), recording_loop.loss(step))
    return steps[-1] if steps else None


def test_a_recorder_killed_at_any_instant_loses_at_most_the_step_in_flight(
    tmp_path: Path, workers: multiprocessing.context.ForkServerContext
) -> None:
    chance = random.Random(0)
    path = tmp_path / "run"
    last: int | None = None
    for _ in range(KILLS):
        acknowledged = run_until_killed(workers, path, seconds=chance.uniform(0.02, 0.5))
        acknowledged = last if acknowledged is None else acknowledged
        if not (path / "phaseflow.json").exists():
            assert acknowledged is None
            continue
        last = check(path)
        assert (-1 if last is None else last) - (-1 if acknowledged is None else acknowledged) in (0, 1)
    assert last is not None
    assert last > KILLS, "the runs went on after the kills"
    with Recorder(path) as recorder:
        assert recorder.last_step == last
    assert run_is_tidy(path)
    assert check(path) == last
    assert Run(path).verify().is_empty()


def run_is_tidy(path: Path) -> bool:
    return not [name for _, _, files in os.walk(path) for name in files if name.endswith(".tmp")]


def test_scalars_cut_at_any_byte_read_as_the_whole_lines_before(tmp_path: Path) -> None:
    lines = [Line(step, None, 0.5, tensors=False, scalars={"löss": step / 3}) for step in range(3)]
    content = b"".join(line.encode() for line in lines)
    path = tmp_path / "live.jsonl"
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        problems: list[object] = []
        assert read_live(path, set(), problems) == lines[: content[:length].count(b"\n")]  # type: ignore[arg-type]
        assert not problems


def test_a_line_whose_shard_never_came_is_left_out_and_dropped(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with Recorder(path, probes={"fixed": recording_loop.PROBE}) as recorder:
        recorder.log(0, scalars={"loss": 1.0}, per_token_loss={"fixed": recording_loop.loss(0)})
        recorder.log(1, scalars={"loss": 2.0}, per_token_loss={"fixed": recording_loop.loss(1)})
        shutil.copytree(path, tmp_path / "killed")
    killed = tmp_path / "killed"
    (killed / "tensors" / "0000000001-r0.safetensors").unlink()
    assert Run(killed).scalars()["step"].to_list() == [0]
    with Recorder(killed) as recorder:
        assert recorder.last_step == 0
        recorder.log(1, scalars={"loss": 3.0})
    assert Run(killed).scalars()["value"].to_list() == [1, 3]


def test_a_kill_between_part_and_truncation_shows_no_scalar_twice(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        for step in range(3):
            recorder.log(step, scalars={"loss": float(step)})
        live = (tmp_path / "scalars" / "live.jsonl").read_bytes()
    (tmp_path / "scalars" / "live.jsonl").write_bytes(live)
    assert Run(tmp_path).scalars()["value"].to_list() == [0, 1, 2]
    with Recorder(tmp_path) as recorder:
        recorder.log(3, scalars={"loss": 3.0})
    assert Run(tmp_path).scalars()["value"].to_list() == [0, 1, 2, 3]


def test_a_write_that_fails_leaves_the_run_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Recorder(tmp_path, probes={"fixed": recording_loop.PROBE}) as recorder:
        recorder.log(0, scalars={"loss": 1.0})
        with monkeypatch.context() as patch:
            patch.setattr("phaseflow.archive.recorder.write_shard", disk_full)
            with pytest.raises(OSError, match="No space left"):
                recorder.log(1, scalars={"loss": 2.0}, per_token_loss={"fixed": recording_loop.loss(1)})
        assert recorder.last_step == 0
        recorder.log(1, scalars={"loss": 3.0})
    assert Run(tmp_path).scalars()["value"].to_list() == [1, 3]


def test_ctrl_c_after_the_rename_keeps_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from phaseflow.archive.recorder import write_shard

    def interrupted(*arguments: object) -> None:
        write_shard(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with Recorder(tmp_path, probes={"fixed": recording_loop.PROBE}) as recorder:
        monkeypatch.setattr("phaseflow.archive.recorder.write_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recorder.log(1, scalars={"loss": 3.0}, per_token_loss={"fixed": recording_loop.loss(1)})
        assert recorder.last_step == 1
    run = Run(tmp_path)
    assert (run.steps, run.scalars()["value"].to_list()) == ([1], [3])
