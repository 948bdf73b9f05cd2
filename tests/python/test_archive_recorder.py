"""What a Recorder writes is what a Run reads."""

from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import polars as pl
import pytest

from phaseflow.archive import Probe, Recorder, Run, find_runs
from phaseflow.exceptions import (
    CorruptArchiveError,
    DtypeError,
    MissingDataError,
    ParameterError,
    ShapeError,
    UnknownNameError,
)

TEXT = Probe(np.array([[3, 1, 4], [1, 5, 9]]), description="two sentences")
REPEATED = Probe([[0, 7, 8, 7, 8]], bos=0)
PROBES = {"text": TEXT, "repeated": REPEATED}


def record(path: Path, **log: object) -> Run:
    with Recorder(path, config={"seed": 0}, probes=PROBES) as recorder:
        recorder.log(10, **log)  # type: ignore[arg-type]
    return Run(path)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16])
def test_an_array_comes_back_bit_for_bit(tmp_path: Path, dtype: object) -> None:
    loss = np.array([[0.5, np.nan, np.inf], [1.25, -0.0, 3]]).astype(dtype)
    stored = record(tmp_path / "run", per_token_loss={"text": loss}).tensor(10, "loss/text")
    back = np.asarray(stored)
    assert back.dtype == loss.dtype
    assert stored.dtype == loss.dtype.name
    assert stored.shape == back.shape == (2, 3)
    assert back.tobytes() == loss.tobytes()
    assert not back.flags.writeable


def test_patterns_and_weights_come_back_by_name(tmp_path: Path) -> None:
    layers = [np.full((1, 2, 5, 5), value, dtype="float16") for value in (0.25, 0.5)]
    weights = {"W_E": np.arange(6.0).reshape(2, 3), "scale": np.float32(3), "blocks.0/none": np.ones((3, 0))}
    run = record(tmp_path / "run", attention={"repeated": layers}, weights=weights)
    assert run.index["name"].to_list() == [
        "attention/repeated/L00",
        "attention/repeated/L01",
        "weights/W_E",
        "weights/blocks.0/none",
        "weights/scale",
    ]
    assert np.asarray(run.tensor(10, "attention/repeated/L01")).max() == Fraction(1, 2)
    for name, value in weights.items():
        np.testing.assert_array_equal(np.asarray(run.tensor(10, f"weights/{name}")), value)


def test_strided_reversed_and_big_endian_arrays_are_stored_as_their_values(tmp_path: Path) -> None:
    base = np.arange(24, dtype="float32").reshape(4, 6)
    given = {"strided": base[::2, ::3], "reversed": base[::-1, ::-1], "fortran": base.T, "big": base.astype(">f4")}
    run = record(tmp_path / "run", weights=given)
    for name, value in given.items():
        np.testing.assert_array_equal(np.asarray(run.tensor(10, f"weights/{name}")), value)


def test_torch_tensors_are_stored_without_a_change(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    loss = torch.tensor([[0.1, 0.2, 0.3], [1, 2, 3]], requires_grad=True)
    for step, dtype in enumerate([torch.float16, torch.bfloat16, torch.float32, torch.float64]):
        with Recorder(tmp_path, probes=PROBES) as recorder:
            recorder.log(step, per_token_loss={"text": loss.to(dtype).T.contiguous().T})
        stored = Run(tmp_path).tensor(step, "loss/text")
        np.testing.assert_array_equal(np.asarray(stored, dtype="float64"), loss.detach().to(dtype).double().numpy())
        assert stored.dtype == str(dtype).removeprefix("torch.")


def test_scalars_keep_nan_infinity_and_every_bit(tmp_path: Path) -> None:
    values = {"loss": 0.1, "nan": float("nan"), "inf": float("-inf"), "one": 1}
    table = record(tmp_path / "run", scalars=values, tokens_seen=640).scalars()
    assert table.columns == ["step", "tokens_seen", "name", "value", "wall_time"]
    read = dict(table.select("name", "value").iter_rows())
    assert repr(read) == repr({name: float(values[name]) for name in sorted(values)})
    assert table["tokens_seen"].to_list() == [640] * 4


def test_scalars_are_readable_while_recording_and_the_same_after(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        for step in range(5):
            recorder.log(step, scalars={"loss": 1 / (step + 1), "lr": 0.5})
        during = Run(tmp_path).scalars()
    assert during.height == 10
    assert Run(tmp_path).scalars().equals(during)


def test_tokens_seen_is_kept_for_steps_without_scalars(tmp_path: Path) -> None:
    with Recorder(tmp_path, probes=PROBES) as recorder:
        recorder.log(1, tokens_seen=100, per_token_loss={"text": np.ones((2, 3))})
        recorder.log(2, scalars={"loss": 1.0})
        recorder.log(3, tokens_seen=300, scalars={"loss": 1.0})
    run = Run(tmp_path)
    assert run.tokens_seen().rows() == [(1, 100), (3, 300)]
    assert run.scalars()["name"].to_list() == ["loss", "loss"]
    assert run.steps == [1]


def test_a_reopened_run_appends(tmp_path: Path) -> None:
    for first in (0, 3, 6):
        with Recorder(tmp_path, config={"lr": 0.1, "betas": (0.9, 0.99)}, probes=PROBES) as recorder:
            assert recorder.last_step == (first - 1 if first else None)
            for step in range(first, first + 3):
                recorder.log(step, scalars={"loss": float(step)})
    run = Run(tmp_path)
    assert run.scalars()["value"].to_list() == [float(step) for step in range(9)]
    assert run.config == {"lr": 0.1, "betas": [0.9, 0.99]}
    with Recorder(tmp_path) as recorder:
        assert recorder.last_step == 8
        assert set(recorder.probes) == {"text", "repeated"}


def test_the_probes_come_back_with_their_tokens(tmp_path: Path) -> None:
    run = record(tmp_path / "run", scalars={"loss": 1.0})
    np.testing.assert_array_equal(run.probes["text"].tokens, TEXT.tokens)
    assert run.probes["repeated"].bos == 0
    assert run.probes["text"].description == "two sentences"
    assert run.probes["text"].tokens_hash == TEXT.tokens_hash != REPEATED.tokens_hash


def test_a_run_with_another_config_is_not_continued(tmp_path: Path) -> None:
    record(tmp_path, scalars={"loss": 1.0})
    with pytest.raises(ParameterError, match=r"config\.seed is 0 in the archive, 1 here.*directory of its own"):
        Recorder(tmp_path, config={"seed": 1}, probes=PROBES)


def test_a_run_with_other_tokens_is_not_continued(tmp_path: Path) -> None:
    record(tmp_path, scalars={"loss": 1.0})
    with pytest.raises(ParameterError, match=r"probes\.text\.tokens is"):
        Recorder(tmp_path, probes={**PROBES, "text": Probe(TEXT.tokens + 1)})
    with pytest.raises(ParameterError, match=r"probes\.repeated is .* in the archive, 'absent' here"):
        Recorder(tmp_path, probes={"text": TEXT})


def test_a_second_recorder_of_one_run_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path), pytest.raises(ParameterError, match="another Recorder is writing"):
        Recorder(tmp_path)
    Recorder(tmp_path).close()


def test_several_ranks_write_one_run(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="rank 0 first"):
        Recorder(tmp_path, rank=1)
    with Recorder(tmp_path) as first, Recorder(tmp_path, rank=1) as second:
        first.log(1, scalars={"loss": 1.0}, weights={"a": np.zeros(1)})
        second.log(1, scalars={"loss_of_rank_1": 2.0}, weights={"b": np.ones(1)})
    run = Run(tmp_path)
    assert run.index.select("rank", "name").rows() == [(0, "weights/a"), (1, "weights/b")]
    assert np.asarray(run.tensor(1, "weights/b"))[0] == 1
    assert run.scalars()["value"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("log", "error", "message"),
    [
        (
            {"per_token_loss": {"text": np.ones((2, 5))}},
            ShapeError,
            r"loss/text has shape \(2, 5\), expected .*\(2, 3\)",
        ),
        ({"attention": {"text": [np.ones((2, 1, 3, 2))]}}, ShapeError, "attention/text/L00 has shape"),
        ({"attention": {"text": [np.ones((2, 3, 3))]}}, ShapeError, "attention/text/L00 has shape"),
        ({"per_token_loss": {"other": np.ones((2, 3))}}, UnknownNameError, '"other", known: text, repeated'),
        ({"per_token_loss": {"text": np.ones((2, 3), dtype="int64")}}, DtypeError, "loss/text has dtype int64"),
        ({"weights": {"a": np.ones(2, dtype=complex)}}, DtypeError, "weights/a has dtype complex128"),
        ({"weights": {"": np.ones(2)}}, ParameterError, "weights has the name ''"),
        ({"scalars": {"a\n": 1.0}}, ParameterError, "scalars has the name"),
        ({}, ParameterError, "neither scalars nor tensors"),
        ({"scalars": {"a": 1.0}, "tokens_seen": -1}, ParameterError, "tokens_seen is -1"),
    ],
)
def test_what_cannot_be_logged_is_refused_and_leaves_no_trace(
    tmp_path: Path, log: dict[str, object], error: type[Exception], message: str
) -> None:
    with Recorder(tmp_path, probes=PROBES) as recorder:
        recorder.log(0, scalars={"loss": 1.0})
        with pytest.raises(error, match=message):
            recorder.log(1, **log)  # type: ignore[arg-type]
        assert recorder.last_step == 0
        recorder.log(1, scalars={"loss": 2.0})
    run = Run(tmp_path)
    assert run.scalars()["value"].to_list() == [1, 2]
    assert run.problems.is_empty()


@pytest.mark.parametrize("step", [3, 2, -1, 1.5, 2**63, "4"])
def test_a_step_must_go_on_from_the_last_one(tmp_path: Path, step: object) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.log(3, scalars={"loss": 1.0})
        with pytest.raises(ParameterError, match="step is"):
            recorder.log(step, scalars={"loss": 1.0})  # type: ignore[arg-type]


def test_a_closed_recorder_says_so(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.close()
    recorder.close()
    with pytest.raises(ParameterError, match="closed"):
        recorder.log(1, scalars={"loss": 1.0})


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_a_config_that_json_cannot_hold_is_refused_by_name(tmp_path: Path, value: object) -> None:
    with pytest.raises(ParameterError, match=r"config\.model\.d is"):
        Recorder(tmp_path / "run", config={"model": {"d": value}})
    assert not (tmp_path / "run" / "phaseflow.json").exists()


@pytest.mark.parametrize("tokens", [[1, 2], [[]], [[1.5]], np.array([[2**63]], dtype="uint64")])
def test_tokens_that_are_not_a_batch_of_integers_are_refused(tokens: object) -> None:
    with pytest.raises((ShapeError, DtypeError), match="tokens has"):
        Probe(tokens)  # type: ignore[arg-type]


def test_a_probe_cannot_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"probes is '\.\./text'"):
        Recorder(tmp_path / "run", probes={"../text": TEXT})


def test_runs_are_found_at_a_path_and_under_it(tmp_path: Path) -> None:
    for name in ("b", "a/deep"):
        record(tmp_path / name, scalars={"loss": 1.0})
    assert [run.name for run in find_runs(tmp_path)] == ["a/deep", "b"]
    assert [run.name for run in find_runs(tmp_path / "b")] == ["b"]
    for empty in (tmp_path / "nowhere", tmp_path / "a" / "deep" / "tensors"):
        with pytest.raises(MissingDataError):
            find_runs(empty)


def test_a_missing_tensor_is_told_with_what_there_is(tmp_path: Path) -> None:
    run = record(tmp_path / "run", per_token_loss={"text": np.ones((2, 3))})
    with pytest.raises(MissingDataError, match="no tensors at step 11, it has 1 steps from 10 to 10"):
        run.tensor(11, "loss/text")
    with pytest.raises(MissingDataError, match='no tensor "loss/txt" at step 10, it has loss/text'):
        run.tensor(10, "loss/txt")


def test_the_index_is_rebuilt_from_the_files(tmp_path: Path) -> None:
    run = record(tmp_path, per_token_loss={"text": np.ones((2, 3))}, weights={"a": np.ones((4, 4), "float16")})
    before = run.index
    assert before.columns == ["step", "rank", "name", "file", "offset", "dtype", "shape", "checksum"]
    assert before["shape"].to_list() == [[2, 3], [4, 4]]
    (tmp_path / "index.parquet").unlink()
    assert Run(tmp_path).index.equals(before)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    record(tmp_path, scalars={"loss": 1.0})
    manifest = tmp_path / "phaseflow.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(CorruptArchiveError, match=r"expected at most 1, found 2.*upgrade"):
        Run(tmp_path)


def test_other_readers_of_safetensors_can_read_a_shard(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    loss = np.arange(6, dtype="float16").reshape(2, 3)
    run = record(tmp_path, per_token_loss={"text": loss}, weights={"a": np.ones(3)})
    loaded = safetensors.load_file(tmp_path / run.index["file"][0])
    np.testing.assert_array_equal(loaded["loss/text"], loss)
    assert isinstance(run.index, pl.DataFrame)


def test_tokens_alone_make_a_probe_and_anything_else_is_refused_by_name(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", probes={"text": np.array([[1, 2, 3]])}) as recorder:
        assert recorder.probes["text"].tokens.tolist() == [[1, 2, 3]]
    with pytest.raises(ParameterError, match="probes is a list, expected names with their tokens"):
        Recorder(tmp_path / "other", probes=[np.array([[1, 2, 3]])])  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()
