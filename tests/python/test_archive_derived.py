"""Results are computed once for each step and its inputs."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phaseflow._core import write_shard
from phaseflow.archive import Derived, Probe, Recorder, Run
from phaseflow.archive.files import shard_name
from phaseflow.archive.host import raw_bytes
from phaseflow.archive.index import shard_notes

NAME = "loss/text"


def record(path: Path, *steps: int) -> Run:
    with Recorder(path, probes={"text": Probe([[1, 2]])}) as recorder:
        for step in steps:
            recorder.log(step, per_token_loss={"text": np.full((1, 2), step / 2)})
    return Run(path)


class Mean:
    """A measure that counts its calls."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.steps: list[int] = []

    def __call__(self, steps: list[int]) -> pl.DataFrame:
        self.steps += steps
        means = [float(np.asarray(self.run.tensor(step, NAME)).mean()) for step in steps]
        return pl.DataFrame({"step": steps, "value": means})


def update(
    run: Run, parameters: dict[str, object] | None = None, steps: list[int] | None = None
) -> tuple[list[int], object]:
    """The steps that had to be computed, and the rows."""
    mean = Mean(run)
    table = Derived(run, "mean", parameters or {}).update(run.steps if steps is None else steps, [NAME], mean)
    return mean.steps, table.rows()


def test_only_new_steps_are_computed(tmp_path: Path) -> None:
    assert update(record(tmp_path, 1, 2)) == ([1, 2], [(1, 0.5), (2, 1.0)])
    assert update(Run(tmp_path)) == ([], [(1, 0.5), (2, 1.0)])
    assert update(record(tmp_path, 5)) == ([5], [(1, 0.5), (2, 1.0), (5, 2.5)])


def test_a_part_of_the_steps_does_not_forget_the_others(tmp_path: Path) -> None:
    run = record(tmp_path, 1, 2, 3)
    assert update(run, steps=[2]) == ([2], [(2, 1.0)])
    assert update(run, steps=[3, 1]) == ([1, 3], [(1, 0.5), (3, 1.5)])
    assert update(run)[0] == []


def test_other_parameters_are_other_results(tmp_path: Path) -> None:
    run = record(tmp_path, 1)
    assert update(run, {"offset": 1})[0] == [1]
    assert update(run, {"offset": 0})[0] == [1]
    assert update(run, {"offset": 1})[0] == []


def test_a_step_whose_tensor_changed_is_computed_anew(tmp_path: Path) -> None:
    run = record(tmp_path, 1, 2)
    update(run)
    changed = np.full((1, 2), 9.0)
    part = (NAME, "float64", changed.shape, raw_bytes(changed))
    write_shard(tmp_path / "tensors" / shard_name(2, 0), [part], shard_notes(run.run_id, 2, 0))
    assert update(Run(tmp_path)) == ([2], [(1, 0.5), (2, 9.0)])


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_damaged_result_is_computed_anew(tmp_path: Path, damage: bytes | None) -> None:
    run = record(tmp_path, 1, 2)
    update(run)
    (path,) = (tmp_path / "derived").glob("*.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content if damage is None else damage)
    assert update(run) == ([1, 2], [(1, 0.5), (2, 1.0)])
    assert update(run)[0] == []


def test_what_was_computed_before_a_failure_is_kept(tmp_path: Path) -> None:
    run = record(tmp_path, 1, 2, 3)
    mean = Mean(run)

    def interrupted(steps: list[int]) -> pl.DataFrame:
        if steps == [3]:
            raise KeyboardInterrupt
        return mean(steps)

    with pytest.raises(KeyboardInterrupt):
        Derived(run, "mean", {}).update(run.steps, [NAME], interrupted)
    assert update(run) == ([3], [(1, 0.5), (2, 1.0), (3, 1.5)])


def test_a_long_computation_is_saved_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = record(tmp_path, 1, 2)
    monkeypatch.setattr("phaseflow.archive.derived._SAVE_SECONDS", 0.0)
    kept = Derived(run, "mean", {})
    seen = []

    def looking(steps: list[int]) -> pl.DataFrame:
        seen.append(kept.pending(run.steps, [NAME]))
        return Mean(run)(steps)

    assert kept.update(run.steps, [NAME], looking).rows() == [(1, 0.5), (2, 1.0)]
    assert seen == [[1, 2], [2]]  # what a process killed at the second step would leave


def test_steps_may_be_computed_some_at_a_time(tmp_path: Path) -> None:
    run = record(tmp_path, 1, 2, 3)
    sizes = []

    def counted(steps: list[int]) -> pl.DataFrame:
        sizes.append(len(steps))
        return Mean(run)(steps)

    table = Derived(run, "mean", {}).update(run.steps, [NAME], counted, batches=lambda steps: [steps[:2], steps[2:]])
    assert sizes == [2, 1]
    assert table.rows() == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert update(run) == ([], [(1, 0.5), (2, 1.0), (3, 1.5)])


def test_what_is_incomplete_is_shown_and_tried_again(tmp_path: Path) -> None:
    run = record(tmp_path, 1, 2)
    table = Derived(run, "mean", {}).update(run.steps, [NAME], Mean(run), incomplete={2})
    assert table.rows() == [(1, 0.5), (2, 1.0)]
    assert update(run) == ([2], [(1, 0.5), (2, 1.0)])
    assert update(run)[0] == []


def test_a_step_without_a_result_is_tried_again(tmp_path: Path) -> None:
    run = record(tmp_path, 1)
    kept = Derived(run, "mean", {})
    assert kept.update(run.steps, [NAME], lambda _: None).is_empty()
    assert kept.pending(run.steps, [NAME]) == [1]


def test_a_run_that_cannot_be_written_to_is_analysed_all_the_same(tmp_path: Path) -> None:
    run = record(tmp_path, 1)
    (tmp_path / "derived").write_text("in the way")
    assert update(run) == ([1], [(1, 0.5)])
    assert update(run) == ([1], [(1, 0.5)])
