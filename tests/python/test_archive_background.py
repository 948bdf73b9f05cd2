"""Recording in the background: the same archive, copies that training cannot change, a bounded queue, errors told."""

import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

import phaseflow as pf
from phaseflow.archive import Run
from phaseflow.archive import background as background_module
from phaseflow.exceptions import ParameterError, ShapeError, UnknownNameError

PROBES = {"text": pf.Probe(np.arange(12).reshape(2, 6))}


def shown(step, dtype="float32"):
    rng = np.random.default_rng(step)
    return {
        "tokens_seen": 10 * step,
        "scalars": {"loss": step / 7},
        "attention": {"text": [rng.random((2, 3, 6, 6)).astype(dtype) for _ in range(2)]},
        "per_token_loss": {"text": rng.random((2, 5)).astype(dtype)},
        "weights": {"W": rng.random((3, 4)).astype(dtype)},
    }


def contents(path):
    run = Run(path)
    assert run.problems.is_empty()
    tensors = {
        (step, name): (stored.dtype, np.asarray(stored).tobytes())
        for step in run.steps
        for name in run.checksums(step)
        if (stored := run.tensor(step, name)) is not None
    }
    return tensors, run.scalars().drop("wall_time").rows()


class Gate:
    """Holds every write of a Recorder until it is opened."""

    def __init__(self, monkeypatch):
        self.open, self.steps = threading.Event(), []
        write = background_module.Recorder.log

        def held(recorder, step, **logged):
            self.steps.append(step)
            self.open.wait()
            write(recorder, step, **logged)

        monkeypatch.setattr(background_module.Recorder, "log", held)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16])
def test_the_archive_is_the_one_a_recorder_writes(tmp_path, packed, dtype):
    for name, kind in {"now": pf.Recorder, "later": pf.BackgroundRecorder}.items():
        with kind(tmp_path / name, config={"seed": 0}, probes=PROBES, packed=packed) as recorder:
            for step in range(7):
                recorder.log(step, **shown(step, dtype))
            recorder.log(7, scalars={"loss": 1.0})
    assert contents(tmp_path / "later") == contents(tmp_path / "now")


def test_what_training_does_to_arrays_after_log_is_not_recorded(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="training needs the extra `train`")
    gate = Gate(monkeypatch)
    pattern, loss, weight = np.ones((2, 3, 6, 6)), np.ones((2, 6)), torch.ones(3, requires_grad=True)
    queries = np.ones((2, 3, 6, 4))
    compact = pf.CompactPattern(queries, queries, scale=1.0)
    probes = PROBES | {"compact": PROBES["text"]}
    with pf.BackgroundRecorder(tmp_path / "a", probes=probes) as recorder:
        attention = {"text": [pattern], "compact": [compact]}
        recorder.log(0, attention=attention, per_token_loss={"text": loss}, weights={"W": weight})
        pattern[:], loss[:], queries[:] = 7, 7, 7
        with torch.no_grad():
            weight.fill_(7)
        gate.open.set()
    run = Run(tmp_path / "a")
    assert len(run.checksums(0)) > 4
    for name in run.checksums(0):
        if not name.endswith("log_sum_exp"):
            assert (np.asarray(run.tensor(0, name)) == 1).all(), name


def test_log_waits_when_the_queue_is_full_and_closing_loses_nothing(tmp_path, monkeypatch):
    gate = Gate(monkeypatch)
    recorder = pf.BackgroundRecorder(tmp_path / "a", probes=PROBES, waiting=2)
    logged = []

    def train():
        for step in range(9):
            recorder.log(step, **shown(step))
            logged.append(step)

    training = threading.Thread(target=train)
    training.start()
    training.join(timeout=0.5)
    # One is being written, two wait, and the fourth log has not returned.
    assert gate.steps == [0]
    assert logged == [0, 1, 2]
    assert recorder.last_step is None
    gate.open.set()
    training.join()
    recorder.close()
    assert Run(tmp_path / "a").steps == list(range(9))
    assert recorder.last_step == 8


def test_flush_returns_when_everything_is_on_disk(tmp_path):
    with pf.BackgroundRecorder(tmp_path / "a", probes=PROBES, waiting=8) as recorder:
        for step in range(6):
            recorder.log(step, **shown(step))
        recorder.flush()
        assert recorder.last_step == 5
        assert Run(tmp_path / "a").steps == list(range(6))


def test_an_error_is_raised_by_the_next_call_and_names_its_step(tmp_path):
    recorder = pf.BackgroundRecorder(tmp_path / "a", probes=PROBES, waiting=8)
    recorder.log(1, **shown(1))
    recorder.log(2, per_token_loss={"text": np.ones((5, 5))})
    recorder.log(3, **shown(3))
    with pytest.raises(ShapeError, match="loss/text has shape") as raised:
        recorder.flush()
    assert "step 2" in raised.value.__notes__[0]
    recorder.log(4, attention={"nope": []}, scalars={"loss": 1.0})
    recorder._queue.join()
    with pytest.raises(UnknownNameError, match="nope"):
        recorder.log(5, **shown(5))
    recorder.log(5, **shown(5))
    recorder.log(5, **shown(5))
    with pytest.raises(ParameterError, match="step is 5, expected more than 5"):
        recorder.close()
    recorder.close()
    assert Run(tmp_path / "a").steps == [1, 3, 5]


def test_a_full_disk_is_told_and_later_steps_are_written(tmp_path, monkeypatch):
    write = background_module.Recorder.log

    def refused_once(recorder, step, **logged):
        if step == 1:
            raise OSError(28, "No space left on device")
        write(recorder, step, **logged)

    monkeypatch.setattr(background_module.Recorder, "log", refused_once)
    recorder = pf.BackgroundRecorder(tmp_path / "a", probes=PROBES)
    recorder.log(0, **shown(0))
    recorder.log(1, **shown(1))
    with pytest.raises(OSError, match="No space left"):
        recorder.flush()
    recorder.log(2, **shown(2))
    recorder.close()
    assert Run(tmp_path / "a").steps == [0, 2]


def test_without_gaps_nothing_is_written_after_a_step_that_could_not_be(tmp_path, monkeypatch):
    gate, kept = Gate(monkeypatch), []
    recorder = pf.BackgroundRecorder(tmp_path / "a", probes=PROBES, gaps=False)
    recorder.log(1, **shown(1), then=lambda: kept.append(1))
    recorder.log(2, per_token_loss={"text": np.ones((5, 5))}, then=lambda: kept.append(2))
    recorder.log(3, **shown(3), then=lambda: kept.append(3))
    gate.open.set()
    with pytest.raises(ShapeError, match="loss/text has shape"):
        recorder.flush()
    with pytest.raises(ShapeError, match="loss/text has shape"):
        recorder.log(4, **shown(4))
    recorder.close()
    assert Run(tmp_path / "a").steps == kept == [1]
    with pf.BackgroundRecorder(tmp_path / "a", gaps=False) as again:
        again.log(2, **shown(2))
    assert Run(tmp_path / "a").steps == [1, 2]


def test_what_comes_then_comes_when_the_step_is_on_disk_and_not_without_it(tmp_path, monkeypatch):
    gate, seen = Gate(monkeypatch), []
    recorder = pf.BackgroundRecorder(tmp_path / "a", probes=PROBES)

    def then(step):
        seen.append((step, Run(tmp_path / "a").steps, threading.current_thread() is threading.main_thread()))

    recorder.log(1, **shown(1), then=lambda: then(1))
    recorder.log(2, per_token_loss={"text": np.ones((5, 5))}, then=lambda: then(2))
    assert seen == []
    gate.open.set()
    with pytest.raises(ShapeError, match="loss/text has shape"):
        recorder.flush()
    assert seen == [(1, [1], False)]
    recorder.log(3, **shown(3), then=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as raised:
        recorder.close()
    assert "writing step 3" in raised.value.__notes__[0]
    assert Run(tmp_path / "a").steps == [1, 3]


def test_a_closed_one_says_so_and_a_new_one_goes_on(tmp_path):
    with pf.BackgroundRecorder(tmp_path / "a", config={"seed": 0}, probes=PROBES) as recorder:
        recorder.log(1, **shown(1))
    with pytest.raises(ParameterError, match="the BackgroundRecorder is closed; make a new one"):
        recorder.log(2, **shown(2))
    with pf.BackgroundRecorder(tmp_path / "a", config={"seed": 0}) as recorder:
        assert recorder.last_step == 1
        assert recorder.probes["text"].tokens_hash == PROBES["text"].tokens_hash
        recorder.log(2, **shown(2))
    assert Run(tmp_path / "a").steps == [1, 2]
    with pytest.raises(ParameterError, match="waiting is 0"):
        pf.BackgroundRecorder(tmp_path / "b", waiting=0)


def test_a_program_that_ends_without_closing_loses_nothing(tmp_path):
    code = f"""
import numpy as np, phaseflow as pf
recorder = pf.BackgroundRecorder({str(tmp_path / "a")!r}, probes={{"text": pf.Probe(np.arange(12).reshape(2, 6))}})
for step in range(20):
    recorder.log(step, per_token_loss={{"text": np.ones((2, 5))}})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Run(tmp_path / "a").steps == list(range(20))


@pytest.mark.gpu
def test_copies_from_a_gpu_are_those_of_the_moment(tmp_path):
    torch = pytest.importorskip("torch", reason="training needs the extra `train`")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    weight = torch.zeros(1 << 20, device="cuda")
    with pf.BackgroundRecorder(tmp_path / "a", probes=PROBES) as recorder, torch.cuda.stream(torch.cuda.Stream()):
        for step in range(5):
            weight.fill_(step)
            recorder.log(step, weights={"W": weight})
    for step in range(5):
        assert (np.asarray(Run(tmp_path / "a").tensor(step, "weights/W")) == step).all()
