"""Patterns that a library decodes, larger than the memory allowed: in parts, with the scores of the whole."""

import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from phaseflow import schema
from phaseflow._core import PatternParts, TokenIndex, head_scores
from phaseflow.archive.zipped import run_of
from phaseflow.exceptions import ParameterError, PhaseflowError, ShapeError

BATCH, HEADS, CONTEXT = 3, 4, 192
STEPS = [1, 10]
MEMORY = 1 << 20  # of 1.7 MB that a pattern has
TOKENS = np.random.default_rng(0).integers(1, 60, (BATCH, CONTEXT))


def pattern_of(step: int) -> np.ndarray:
    """(batch, head, query_pos, key_pos), causal, rows that sum to 1."""
    weights = np.tril(np.random.default_rng(step).random((BATCH, HEADS, CONTEXT, CONTEXT)))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def write_zarr(folder: Path, chunks: tuple[int, ...]) -> str:
    zarr = pytest.importorskip("zarr")
    for step in STEPS:
        array = pattern_of(step)
        stored = zarr.create_array(str(folder / f"{step}-0.zarr"), shape=array.shape, chunks=chunks, dtype="f4")
        stored[...] = array
    return f"{folder}/{{step}}-{{layer}}.zarr"


def write_hdf5(folder: Path, chunks: tuple[int, ...]) -> str:
    h5py = pytest.importorskip("h5py")
    for step in STEPS:
        with h5py.File(folder / f"{step}-0.h5", "w") as file:
            file.create_dataset("attn", data=pattern_of(step), chunks=chunks, compression="gzip", compression_opts=1)
    return f"{folder}/{{step}}-{{layer}}.h5"


def write_npz(folder: Path, _: tuple[int, ...]) -> str:
    for step in STEPS:
        np.savez_compressed(folder / f"{step}-0.npz", attn=pattern_of(step))
    return f"{folder}/{{step}}-{{layer}}.npz"


def parts_of(archive: pf.Archive, step: int = 10, memory: int = MEMORY) -> list[object]:
    decoded = archive.runs[0].decoded(step, "attention/probe/L00", memory)
    assert decoded is not None
    return list(decoded)


def assembled(parts: list[object]) -> np.ndarray:
    whole = np.full((BATCH, HEADS, CONTEXT, CONTEXT), np.nan, np.float32)
    for part in parts:
        batch, heads = part.array.shape[:2]
        place = whole[part.example : part.example + batch, part.head : part.head + heads]
        assert np.isnan(place).all(), "two parts hold one place"
        place[...] = part.array
    return whole


@pytest.mark.parametrize("write", [write_zarr, write_hdf5, write_npz])
@pytest.mark.parametrize("chunks", [(1, 1, CONTEXT, CONTEXT), (1, HEADS, 50, CONTEXT), (2, 1, CONTEXT, 100)])
def test_parts_make_the_whole_and_its_scores(tmp_path, write, chunks):
    if write is write_npz and chunks[0] == 2:
        pytest.skip("has no chunks")
    path = write(tmp_path, chunks)
    archive = pf.open(path, tokens=TOKENS, memory=MEMORY)
    parts = parts_of(archive)
    assert len(parts) > 2
    np.testing.assert_array_equal(assembled(parts), pattern_of(10))
    columns = [schema.STEP, schema.HEAD, schema.METRIC, schema.VALUE, schema.STANDARD_ERROR]
    found = archive.head_scores().select(columns).sort(columns[:3])
    at_once = pf.open(path, tokens=TOKENS).head_scores().select(columns).sort(columns[:3])
    assert found.height == len(STEPS) * HEADS * 12
    assert found.equals(at_once)
    assert archive.problems.is_empty()


def test_a_part_is_no_larger_than_its_share_or_one_chunk(tmp_path):
    each = CONTEXT**2 * 4
    of_heads = parts_of(pf.open(write_npz(tmp_path, ()), tokens=TOKENS), memory=4 * 2 * each)
    assert [part.array.shape[:2] for part in of_heads] == [(1, 2)] * 6
    of_heads = parts_of(pf.open(write_npz(tmp_path, ()), tokens=TOKENS), memory=each)
    assert [part.array.shape[:2] for part in of_heads] == [(1, 1)] * 12
    whole_chunks = parts_of(pf.open(write_zarr(tmp_path, (2, 3, CONTEXT, CONTEXT)), tokens=TOKENS), memory=each)
    assert [part.array.shape[:2] for part in whole_chunks] == [(2, 3), (2, 1), (1, 3), (1, 1)]


def test_what_fits_or_is_mapped_comes_whole(tmp_path):
    run = pf.open(write_npz(tmp_path, ()), tokens=TOKENS).runs[0]
    assert run.decoded(10, "attention/probe/L00", BATCH * HEADS * CONTEXT**2 * 4) is None
    np.savez(tmp_path / "10-0.npz", attn=pattern_of(10))
    run = pf.open(f"{tmp_path}/{{step}}-{{layer}}.npz", tokens=TOKENS).runs[0]
    assert run.decoded(10, "attention/probe/L00", MEMORY) is None


@pytest.mark.parametrize("axes", ["head step batch query_pos key_pos", "step query_pos batch head key_pos"])
def test_axes_in_any_order_give_the_same(tmp_path, axes):
    first = np.stack([pattern_of(step) for step in STEPS])  # step batch head query_pos key_pos
    order = ["step", "batch", "head", "query_pos", "key_pos"]
    np.savez_compressed(tmp_path / "0.npz", attn=first.transpose([order.index(axis) for axis in axes.split()]))
    archive = pf.open(f"{tmp_path}/{{layer}}.npz", tokens=TOKENS, axes=axes, steps=STEPS)
    np.testing.assert_array_equal(assembled(parts_of(archive)), pattern_of(10))


def test_bfloat16_of_torch_is_widened_in_parts(tmp_path):
    torch = pytest.importorskip("torch")
    stored = torch.from_numpy(pattern_of(10)).bfloat16()
    torch.save(stored, tmp_path / "10-0.pt")
    archive = pf.open(f"{tmp_path}/{{step}}-{{layer}}.pt", tokens=TOKENS)
    parts = parts_of(archive)
    assert len(parts) == BATCH * HEADS
    np.testing.assert_array_equal(assembled(parts), stored.float().numpy())


@pytest.mark.parametrize("write", [write_zarr, write_hdf5, write_npz])
def test_a_scan_stays_within_its_memory(tmp_path, monkeypatch, write):
    monkeypatch.setitem(globals(), "CONTEXT", 1024)
    tokens = np.random.default_rng(0).integers(1, 60, (BATCH, 1024))
    memory = 20 << 20  # of 50 MB that a pattern has
    path = write(tmp_path, (1, 1, 256, 1024))
    tracemalloc.start()
    try:
        archive = pf.open(path, tokens=tokens, memory=memory)
        assert archive.head_scores().height == len(STEPS) * HEADS * 12
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < memory


def test_damage_behind_the_first_part_is_a_problem_of_that_tensor(tmp_path):
    path = write_npz(tmp_path, ())
    content = bytearray((tmp_path / "1-0.npz").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8] = bytes(8)
    (tmp_path / "1-0.npz").write_bytes(content)
    archive = pf.open(path, tokens=TOKENS, memory=MEMORY)
    assert archive.head_scores()[schema.STEP].unique().to_list() == [10]
    assert archive.problems.filter(pl.col(schema.OBJECT).str.contains("step 1")).height == 1


def test_verify_reads_in_parts_too_and_finds_a_damaged_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr("phaseflow.archive.foreign._VERIFIED_AT_ONCE", MEMORY)
    archive = pf.open(write_zarr(tmp_path, (1, 1, CONTEXT, CONTEXT)), tokens=TOKENS)
    tracemalloc.start()
    try:
        assert archive.verify().is_empty()
        assert tracemalloc.get_traced_memory()[1] < BATCH * HEADS * CONTEXT**2 * 4
    finally:
        tracemalloc.stop()
    (tmp_path / "10-0.zarr/c/2/3/0/0").write_bytes(b"not zstd")
    assert archive.verify()[schema.OBJECT].to_list() == ["attention/probe/L00 at step 10"]


def test_tokens_of_another_batch_are_told(tmp_path):
    archive = pf.open(write_npz(tmp_path, ()), tokens=TOKENS[:2], memory=MEMORY)
    assert archive.head_scores().is_empty()
    assert archive.problems[schema.FOUND].str.contains("batch").all()


@given(seed=st.integers(0, 99), batch=st.integers(1, 3), heads=st.integers(1, 3), context=st.integers(1, 12))
def test_parts_in_any_order_give_the_bits_of_the_whole(seed, batch, heads, context):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 3, (batch, context))
    pattern = np.tril(rng.random((batch, heads, context, context)))
    parts = PatternParts(TokenIndex(tokens, None), batch, heads)
    at_example, at_head = int(rng.integers(batch + 1)), int(rng.integers(heads + 1))
    corners = [(example, head) for example in (0, at_example) for head in (0, at_head)]
    for example, head in rng.permutation(corners).tolist():
        until = (at_example if example == 0 < at_example else batch, at_head if head == 0 < at_head else heads)
        parts.add(example, head, pattern[example : until[0], head : until[1]], None)
    found, expected = parts.scores(), head_scores(pattern, tokens, None, None)
    for name in ("value", "standard_error", "example_value", "unnormalised_rows", "nonfinite_entries"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_a_missing_or_misplaced_part_is_refused():
    parts = PatternParts(TokenIndex(TOKENS, None), BATCH, HEADS)
    with pytest.raises(ParameterError, match="parts is 0, expected all 12"):
        parts.scores()
    with pytest.raises(PhaseflowError, match="head"):
        parts.add(0, 3, pattern_of(1)[:, :2], None)
    with pytest.raises(ShapeError, match="batch"):
        PatternParts(TokenIndex(TOKENS, None), BATCH + 1, HEADS)


@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), data=st.data())
def test_a_run_of_numbers_is_what_the_index_takes(shape, data):
    def of_axis(length: int) -> st.SearchStrategy:
        at = st.integers(0, length - 1)
        return at | st.tuples(at, at).map(lambda ends: slice(min(ends), max(ends) + 1))

    index = tuple(data.draw(of_axis(length)) for length in shape)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    taken = numbers[index]
    run = run_of(index, shape)
    together = (np.diff(taken.reshape(-1)) == 1).all()
    assert (run is not None) == together
    if run is not None:
        first, of_shape = run
        np.testing.assert_array_equal(numbers.reshape(-1)[first : first + taken.size].reshape(of_shape), taken)
