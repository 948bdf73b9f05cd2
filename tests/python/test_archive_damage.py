"""Damage in an archive is a clear error or a counted row of ``problems``; everything else stays readable."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phaseflow.archive import Probe, Recorder, Run, find_runs
from phaseflow.exceptions import CorruptArchiveError, MissingDataError

PROBE = Probe([[1, 2, 3]])


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of three steps."""
    path = tmp_path / "run"
    with Recorder(path, config={"seed": 0}, probes={"text": PROBE}) as recorder:
        for step in (1, 2, 3):
            loss = np.full((1, 3), step, dtype="float32")
            recorder.log(step, scalars={"loss": float(step)}, per_token_loss={"text": loss})
    return path


def shard(run_dir: Path, step: int) -> Path:
    return run_dir / "tensors" / f"{step:010d}-r0.safetensors"


def problems(run_dir: Path) -> list[tuple[str, str]]:
    return Run(run_dir).problems.select("file", "object").rows()


@pytest.mark.parametrize("content", [b"", b"not a shard", b"\xff" * 64, None], ids=["empty", "text", "ones", "half"])
def test_an_unusable_shard_is_counted_and_the_others_stay(run_dir: Path, content: bytes | None) -> None:
    path = shard(run_dir, 2)
    path.write_bytes(path.read_bytes()[:-6] if content is None else content)
    run = Run(run_dir)
    assert run.steps == [1, 3]
    assert run.problems.height == 1
    row = run.problems.row(0, named=True)
    assert row["run"] == "run"
    assert row["file"] == "tensors/0000000002-r0.safetensors"
    assert "expected" in row["found"]
    for step in (1, 3):
        assert np.asarray(run.tensor(step, "loss/text")).tolist() == [[step] * 3]
    assert run.scalars()["value"].to_list() == [1, 2, 3], "the scalars of the step are not lost"


def test_a_recorder_goes_on_beside_an_unusable_shard_and_does_not_replace_it(run_dir: Path) -> None:
    shard(run_dir, 3).write_bytes(b"damaged")
    with Recorder(run_dir) as recorder:
        assert recorder.last_step == 3
        recorder.log(4, scalars={"loss": 4.0}, per_token_loss={"text": np.ones((1, 3))})
    assert Run(run_dir).steps == [1, 2, 4]
    assert shard(run_dir, 3).read_bytes() == b"damaged"


def test_foreign_files_are_told(run_dir: Path) -> None:
    (run_dir / "tensors" / "notes.txt").write_text("hello")
    (run_dir / "tensors" / "4-r0.safetensors").write_bytes(shard(run_dir, 3).read_bytes())
    (run_dir / "scalars" / "more.parquet").write_bytes(b"PAR1")
    (run_dir / "tensors" / "0000000009-r0.safetensors").mkdir()
    assert sorted(problems(run_dir)) == [
        ("scalars/more.parquet", "file name"),
        ("tensors/0000000009-r0.safetensors", "file"),
        ("tensors/4-r0.safetensors", "file name"),
        ("tensors/notes.txt", "file name"),
    ]
    assert Run(run_dir).steps == [1, 2, 3]


def test_a_shard_of_another_step_or_run_is_not_believed(run_dir: Path, tmp_path: Path) -> None:
    shard(run_dir, 7).write_bytes(shard(run_dir, 3).read_bytes())
    with Recorder(tmp_path / "other", probes={"text": PROBE}) as recorder:
        recorder.log(8, per_token_loss={"text": np.ones((1, 3))})
    shard(run_dir, 8).write_bytes(shard(tmp_path / "other", 8).read_bytes())
    assert problems(run_dir) == [(f"tensors/{step:010d}-r0.safetensors", "origin") for step in (7, 8)]
    assert Run(run_dir).steps == [1, 2, 3]


def test_a_shard_by_another_writer_has_no_seal(run_dir: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file({"loss/text": np.ones((1, 3))}, shard(run_dir, 9))
    assert problems(run_dir) == [("tensors/0000000009-r0.safetensors", "seal")]


def test_a_shard_that_is_gone_is_told_once_the_index_listed_it(run_dir: Path) -> None:
    shard(run_dir, 2).unlink()
    assert problems(run_dir) == [("tensors/0000000002-r0.safetensors", "file")]
    assert Run(run_dir).steps == [1, 3]


def test_flipped_bits_in_the_data_are_found_by_verify(run_dir: Path) -> None:
    assert Run(run_dir).verify().is_empty()
    path = shard(run_dir, 2)
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    run = Run(run_dir)
    assert run.problems.is_empty()
    found = run.verify()
    assert found.select("file", "object").rows() == [("tensors/0000000002-r0.safetensors", "tensor loss/text")]
    assert found["expected"][0] == run.checksums(2)["loss/text"] != found["found"][0]


def test_a_header_damaged_behind_the_index_is_an_error_when_it_is_opened(run_dir: Path) -> None:
    path = shard(run_dir, 2)
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"loss/text", b"loss/texu"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptArchiveError, match=r"0000000002-r0\.safetensors: seal: expected .* found .*; restore"):
        Run(run_dir).tensor(2, "loss/text")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign", "no checksum"])
def test_a_damaged_index_is_rebuilt(run_dir: Path, damage: str) -> None:
    before = Run(run_dir).index
    path = run_dir / "index.parquet"
    content = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        case "cut":
            path.write_bytes(content[:-10])
        case "empty":
            path.write_bytes(b"")
        case "foreign":
            pl.DataFrame({"a": [1]}).write_parquet(path)
        case _:
            (run_dir / "index.parquet.xxh3").unlink()
    run = Run(run_dir)
    assert run.index.equals(before)
    assert problems(run_dir) == [("index.parquet", "index")]
    Recorder(run_dir).close()
    assert Run(run_dir).problems.is_empty()


def test_a_damaged_part_of_the_scalars_is_told_and_the_other_parts_stay(run_dir: Path) -> None:
    with Recorder(run_dir) as recorder:
        recorder.log(4, scalars={"loss": 4.0})
    part = run_dir / "scalars" / "part-0000000001-0000000003-r0.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    run = Run(run_dir)
    assert run.scalars()["value"].to_list() == [4]
    assert problems(run_dir) == [("scalars/part-0000000001-0000000003-r0.parquet", "part")]
    with Recorder(run_dir) as recorder:
        assert recorder.last_step == 4


def test_a_damaged_line_of_live_scalars_is_told(run_dir: Path) -> None:
    (run_dir / "scalars" / "live.jsonl").write_bytes(b"\0\0\0\n{}\n[1, 2\n")
    assert problems(run_dir) == [("scalars/live.jsonl", f"line {number}") for number in (1, 2, 3)]
    assert Run(run_dir).scalars().height == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": "other"}', b"[" * 100_000, b"\xff\xfe"])
def test_a_damaged_manifest_is_a_clear_error(run_dir: Path, content: bytes) -> None:
    (run_dir / "phaseflow.json").write_bytes(content)
    for opened in (lambda: Run(run_dir), lambda: Recorder(run_dir), lambda: find_runs(run_dir.parent)):
        with pytest.raises(CorruptArchiveError, match=r"phaseflow\.json: .*expected .* found .*; restore"):
            opened()


def test_a_manifest_cut_at_any_byte_is_an_error_or_right(run_dir: Path) -> None:
    path = run_dir / "phaseflow.json"
    content = path.read_bytes()
    for length in range(0, len(content) - 2, 7):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptArchiveError):
            Run(run_dir)


def test_a_lost_manifest_is_not_made_anew_over_the_data(run_dir: Path) -> None:
    (run_dir / "phaseflow.json").unlink()
    with pytest.raises(MissingDataError, match="is not a run"):
        Run(run_dir)
    with pytest.raises(CorruptArchiveError, match="expected a manifest beside 3 files"):
        Recorder(run_dir)


@pytest.mark.parametrize("damage", ["cut", "gone", "others"])
def test_a_damaged_probe_is_told_and_left_out(run_dir: Path, damage: str) -> None:
    path = run_dir / "probes" / "text.safetensors"
    manifest = run_dir / "phaseflow.json"
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "gone":
            path.unlink()
        case _:
            content = json.loads(manifest.read_text())
            content["probes"]["text"]["tokens_hash"] = "0" * 16
            manifest.write_text(json.dumps(content))
    run = Run(run_dir)
    assert run.probes == {}
    assert problems(run_dir) == [("probes/text.safetensors", "probe text")]
    assert np.asarray(run.tensor(1, "loss/text")).tolist() == [[1, 1, 1]]
    with pytest.raises(CorruptArchiveError, match="its probes are damaged"):
        Recorder(run_dir)


def test_links_in_a_tree_of_runs_end(run_dir: Path) -> None:
    (run_dir.parent / "loop").symlink_to(run_dir.parent)
    (run_dir.parent / "again").symlink_to(run_dir)
    assert len(find_runs(run_dir.parent)) == 1
