"""Patterns of a run as a table: what is wrong with them is told, every time, and only what is new is read."""

from pathlib import Path

import numpy as np
import polars as pl

import phaseflow as pf

TOKENS = np.tile(np.arange(1, 6), (2, 2))


def pattern(seed: int) -> np.ndarray:
    weights = np.tril(np.random.default_rng(seed).random((2, 3, 10, 10)))
    return weights / weights.sum(-1, keepdims=True)


def record(path: Path, patterns: dict[int, list[np.ndarray]]) -> None:
    with pf.Recorder(path, probes={"text": TOKENS}) as recorder:
        for step, layers in patterns.items():
            recorder.log(step, attention={"text": layers})


def told(path: Path) -> list[tuple[str, str, str]]:
    archive = pf.open(path)
    archive.head_scores()
    return archive.problems.select("object", "expected", "found").rows()


def test_what_is_no_attention_is_told_in_every_analysis(tmp_path: Path) -> None:
    halved, holes = pattern(0), pattern(1)
    halved[1, 2, 3:] /= 2
    holes[0, 0, 5, :3] = np.nan
    record(tmp_path, {1: [pattern(2), halved], 2: [holes, pattern(3)]})
    expected = [
        (
            "attention/text/L01 at step 1",
            "rows that sum to 1 (within 0.01)",
            "7 of 60 that do not; is it attention after softmax, and causal?",
        ),
        ("attention/text/L00 at step 2", "finite numbers", "3 entries that are NaN or infinite"),
    ]
    assert told(tmp_path) == expected
    assert told(tmp_path) == expected  # from the kept results


def test_a_tensor_that_cannot_be_read_is_told_in_every_analysis_and_the_others_are_scored(tmp_path: Path) -> None:
    record(tmp_path, {1: [pattern(0), pattern(1)]})
    archive = pf.open(tmp_path)
    archive.runs[0].index  # noqa: B018 (read before the file is cut)
    [shard] = (tmp_path / "tensors").iterdir()
    content = shard.read_bytes()
    archive.runs[0].tensor(1, "attention/text/L00")  # mapped while it was whole
    with shard.open("r+b") as file:
        file.truncate(len(content) - 2400)
    table = archive.head_scores()
    assert table["layer"].unique().to_list() == [0]
    assert archive.problems["object"].to_list() == ["attention/text/L01 at step 1"]
    assert "shorter file" in archive.problems["found"][0]
    shard.write_bytes(content)
    assert pf.open(tmp_path).head_scores()["layer"].unique().sort().to_list() == [0, 1]


def test_the_table_is_that_of_single_patterns(tmp_path: Path) -> None:
    layers = {step: [pattern(10 * step + layer) for layer in range(2)] for step in (1, 5)}
    record(tmp_path, layers)
    table = pf.open(tmp_path).head_scores()
    for step, patterns in layers.items():
        for layer, each in enumerate(patterns):
            single = pf.head_scores(each, TOKENS)
            found = table.filter(step=step, layer=layer).select(single.columns)
            assert found.equals(single.cast({"head": pl.Int32}), null_equal=True)


def test_progress_counts_the_bytes_of_what_is_new(tmp_path: Path) -> None:
    record(tmp_path, {step: [pattern(step)] for step in range(1, 4)})
    pf.open(tmp_path).head_scores()
    record(tmp_path, {7: [pattern(7)]})
    seen = []
    pf.open(tmp_path, progress=lambda *progress: seen.append(progress)).head_scores()
    size = pattern(7).nbytes
    assert seen[-1] == (f"{tmp_path.name}: head scores", size, size)
