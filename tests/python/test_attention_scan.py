"""Stored patterns scored in blocks: the bits of the pattern in memory, whatever the form, the blocks and the threads."""

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from phaseflow import _core
from phaseflow._core import StoredTensor, TokenIndex

LEAST = 1 << 20  # bytes of memory that any machine's threads can share


def pattern(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Causal rows that sum to 1, (..., query_pos, key_pos)."""
    weights = np.tril(rng.exponential(size=shape))
    return weights / weights.sum(-1, keepdims=True)


def stored(path: Path, array: np.ndarray, offset: int = 0) -> StoredTensor:
    """The array as it would lie in a file, behind ``offset`` bytes of something else."""
    path.write_bytes(b"\xff" * offset + array.tobytes())
    return StoredTensor.in_file(path, path.name, array.dtype.name, array.shape, offset)


def scan(tensors: list[object], tokens: np.ndarray, *, memory: int = LEAST, threads: int | None = None) -> list[object]:
    index = TokenIndex(tokens, None)
    return _core.scan_head_scores(tensors, [index] * len(tensors), memory, threads, None)


def same(found: object, expected: object) -> None:
    for name in ("value", "standard_error", "chance", "n_queries", "example_value", "unnormalised_rows"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("packed", [False, True])
@given(
    seed=st.integers(0, 9), batch=st.integers(1, 3), heads=st.integers(1, 3), context=st.integers(1, 40),
    offset=st.integers(0, 9), threads=st.integers(1, 3),
)  # fmt: skip
def test_a_stored_pattern_scores_as_the_one_in_memory(
    tmp_path_factory: pytest.TempPathFactory, dtype: type, packed: bool, seed: int, batch: int, heads: int,
    context: int, offset: int, threads: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 5, (batch, context))
    array = pattern(rng, batch, heads, context, context).astype(dtype)
    if packed:
        array = pf.pack_pattern(array)
    tensor = stored(tmp_path_factory.mktemp("scan") / "pattern", array, offset)
    [found] = scan([tensor], tokens, threads=threads)
    same(found, _core.head_scores(array, tokens, None, None))


@pytest.mark.parametrize("packed", [False, True])
def test_a_head_larger_than_a_block_is_read_some_rows_at_a_time(tmp_path: Path, packed: bool) -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50, (2, 300))
    array = pattern(rng, 2, 2, 300, 300)
    array = pf.pack_pattern(array) if packed else array
    # A head has 720 kB, packed 361 kB; the least block is 64 kB.
    least = 3 * (64 << 10)
    [found] = scan([stored(tmp_path / "pattern", array)], tokens, memory=least, threads=2)
    same(found, _core.head_scores(array, tokens, None, None))


def test_many_tensors_of_different_kinds_come_back_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 5, (2, 20))
    arrays = [pattern(rng, 2, heads, 20, 20).astype(dtype) for heads, dtype in ((1, "f2"), (4, "f4"), (3, "f8"))]
    tensors = [stored(tmp_path / str(number), array) for number, array in enumerate(arrays)]
    for found, array in zip(scan(tensors, tokens, threads=2), arrays, strict=True):
        same(found, _core.head_scores(array, tokens, None, None))


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_stored_queries_and_keys_score_as_those_in_memory(tmp_path: Path, key_heads: int) -> None:
    rng = np.random.default_rng(2)
    tokens = rng.integers(0, 5, (3, 30))
    parts = [rng.normal(size=shape).astype("f4") for shape in ((3, 4, 30, 8), (3, key_heads, 30, 8), (3, 4, 30))]
    tensors = [stored(tmp_path / str(number), part) for number, part in enumerate(parts)]
    [found] = scan([(*tensors, 0.3)], tokens, memory=3 * (64 << 10), threads=2)
    same(found, _core.head_scores_of_compact(pf.CompactPattern(*parts, scale=0.3), tokens, None, None))


def test_one_tensor_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 5, (2, 20))
    good, shortened = (stored(tmp_path / name, pattern(rng, 2, 3, 20, 20)) for name in ("good", "shortened"))
    other = stored(tmp_path / "other", pattern(rng, 2, 3, 21, 21))
    os.truncate(tmp_path / "shortened", 100)
    failed, found, refused = scan([shortened, good, other], tokens)
    assert isinstance(failed, pf.exceptions.CorruptArchiveError)
    assert "shortened" in str(failed)
    assert "shorter file" in str(failed)
    assert "[2, 3, 20, 20]" in str(refused)
    same(found, _core.head_scores(np.asarray(good), tokens, None, None))


def test_too_little_memory_is_refused_by_name(tmp_path: Path) -> None:
    tensor = stored(tmp_path / "pattern", np.ones((1, 1, 1, 1)))
    with pytest.raises(pf.exceptions.ParameterError, match="memory is 1000, expected at least"):
        scan([tensor], np.ones((1, 1), np.int64), memory=1000)


def test_rows_that_are_no_attention_are_counted() -> None:
    good = pattern(np.random.default_rng(4), 2, 3, 10, 10).astype("f2")
    table = pf.head_scores(good, np.zeros((2, 10), int))
    assert table.select(pl.col("unnormalised_rows", "nonfinite_entries").sum()).row(0) == (0, 0)
    bad = good.copy()
    bad[0, 1, 4] *= 0.5
    bad[1, 1, 7, 2] = np.nan
    bad[1, 2, 7, :2] = np.inf
    bad[0, 0, 3, 5] = 9.0  # above the diagonal: not read
    table = pf.head_scores(bad, np.zeros((2, 10), int)).filter(metric="previous_token_score")
    assert table["unnormalised_rows"].to_list() == [0, 1, 0]
    assert table["nonfinite_entries"].to_list() == [0, 1, 2]


def test_examples_have_the_mean_of_their_queries() -> None:
    rng = np.random.default_rng(5)
    tokens = rng.integers(0, 4, (3, 12))
    array = pattern(rng, 3, 2, 12, 12)
    whole = pf.head_scores(array, tokens)
    each = pf.head_scores(array, tokens, per_example=True)
    for example in range(3):
        alone = pf.head_scores(array[example], tokens[example])
        own = each.filter(example=example)
        np.testing.assert_allclose(own["value"], alone["value"], rtol=1e-14)
        np.testing.assert_allclose(own["chance"], alone["chance"], rtol=1e-14)
        assert own["n_queries"].to_list() == alone["n_queries"].to_list()
    together = each.group_by("head", "metric", maintain_order=True).agg(
        (pl.col("value") * pl.col("n_queries")).sum() / pl.col("n_queries").sum(), pl.col("n_queries").sum()
    )
    np.testing.assert_allclose(together["value"], whole["value"], rtol=1e-13)


@pytest.mark.skipif(sys.platform != "linux", reason="a sparse file and its peak of memory are asked for as on Linux")
def test_memory_stays_bounded_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    # 0.5 GB that the disk does not hold: 2 steps × 2 layers of (4, 4, 2048, 2048) float16, all zero.
    shape = (2, 2, 4, 4, 2048, 2048)
    np.lib.format.open_memmap(tmp_path / "attention.npy", mode="w+", dtype=np.float16, shape=shape).flush()
    script = f"""
import resource, numpy as np, phaseflow as pf
tokens = np.random.default_rng(0).integers(0, 99, (4, 2048))
axes = "step layer batch head query_pos key_pos"
archive = pf.open({str(tmp_path)!r} + "/{{run}}.npy", tokens=tokens, memory=32 << 20, axes=axes, steps=range(2))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = archive.head_scores()
print(table.height, archive.problems.height, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    height, problems, kilobytes = map(int, subprocess.check_output([sys.executable, "-c", script], text=True).split())
    assert (height, problems) == (2 * 2 * 4 * 12, 4)  # rows of zeros are no attention, and reported
    assert kilobytes < 100_000
