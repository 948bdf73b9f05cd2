"""Stored losses read in tasks by several threads: the bits of the losses in memory, cached and cold, and what goes wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from cold import evict, needs_fadvise
from phaseflow import _core
from phaseflow._core import StoredTensor
from phaseflow.analysis import tables
from phaseflow.analysis.loss_scan import of_array
from phaseflow.analysis.measures import InContextLearning
from phaseflow.exceptions import CorruptArchiveError, DtypeError, ParameterError, ShapeError

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


def stored(path: Path, losses: np.ndarray, offset: int = 0) -> StoredTensor:
    """The losses as they would lie in a file, behind ``offset`` bytes of something else."""
    path.write_bytes(b"\xff" * offset + losses.tobytes())
    return StoredTensor.in_file(path, path.name, losses.dtype.name, losses.shape, offset)


def scan(tensors: list[StoredTensor], tokens: object = None, keep: bool = True, threads: int | None = None) -> list:
    return _core.scan_losses(tensors, [tokens] * len(tensors), keep, threads, None)


def same(found: tuple[np.ndarray, ...], losses: np.ndarray, tokens: tuple[int, int, float] | None) -> None:
    mean, error = pf.position_losses(losses)
    np.testing.assert_array_equal(found[0], mean)
    np.testing.assert_array_equal(found[1], error)
    late = np.empty(0)
    if tokens is not None:
        early_token, late_token, bandwidth = tokens
        late = pf.loss_summary(losses, early=early_token, late=late_token, bandwidth=bandwidth).late_minus_early
    np.testing.assert_array_equal(found[2], late)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=st.integers(0, 9), batch=st.sampled_from([1, 2, 15, 16, 17, 511, 512, 513, 1100]),
    context=st.sampled_from([2, 3, 255, 256, 300]), offset=st.integers(0, 9), threads=st.integers(1, 3),
    compared=st.booleans(), undefined=st.booleans(),
)  # fmt: skip
def test_stored_losses_give_the_bits_of_those_in_memory(
    tmp_path_factory: pytest.TempPathFactory, dtype: type, seed: int, batch: int, context: int, offset: int,
    threads: int, compared: bool, undefined: bool,
) -> None:  # fmt: skip
    losses = np.random.default_rng(seed).exponential(3.0, (batch, context)).astype(dtype)
    if undefined:
        losses[batch // 2, context // 2] = np.nan
    tokens = (1, context, 0.25) if compared else None
    tensor = stored(tmp_path_factory.mktemp("losses") / "losses", losses, offset)
    [found] = scan([tensor], tokens, threads=threads)
    same(found, losses, tokens)
    same(of_array(losses, tokens), losses, tokens)


@needs_fadvise
@pytest.mark.parametrize("offset", [0, 4104, 3])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_cold_files_give_the_same_bits(tmp_path: Path, dtype: type, keep: bool, offset: int) -> None:
    rng = np.random.default_rng(0)
    # Tasks of 512 examples, read in blocks of half a megabyte; the last of each is shorter.
    losses = [rng.exponential(3.0, (batch, 700)).astype(dtype) for batch in (1300, 40, 513)]
    tensors = [stored(tmp_path / str(number), one, offset) for number, one in enumerate(losses)]
    for number in range(3):
        evict(tmp_path / str(number))
    for found, one in zip(scan(tensors, (50, 500, 0.1), keep), losses, strict=True):
        same(found, one, (50, 500, 0.1))


@needs_fadvise
@pytest.mark.parametrize("keep", [True, False])
def test_a_cold_file_that_was_cut_is_told(tmp_path: Path, keep: bool) -> None:
    losses = np.random.default_rng(0).exponential(3.0, (1300, 700)).astype(np.float32)
    tensor = stored(tmp_path / "losses", losses)
    os.truncate(tmp_path / "losses", 2_000_123)
    evict(tmp_path / "losses")
    [found] = scan([tensor], keep=keep)
    assert isinstance(found, CorruptArchiveError)
    assert "shorter file" in str(found)


def test_examples_too_long_for_a_block_are_read_through_their_map(tmp_path: Path) -> None:
    # Sixteen of them have 16.5 MB.
    losses = np.random.default_rng(0).exponential(3.0, (17, 258_000)).astype(np.float32)
    [found] = scan([stored(tmp_path / "losses", losses)], (50, 500, 0.1))
    same(found, losses, (50, 500, 0.1))


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_no_examples_or_no_tokens_are_no_damage(tmp_path: Path, shape: tuple[int, int]) -> None:
    [found] = scan([stored(tmp_path / "losses", np.empty(shape, np.float32))])
    assert [len(values) for values in found] == [shape[1], shape[1], 0]
    assert np.isnan(found[0]).all()


def test_what_one_tensor_lacks_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    losses = np.random.default_rng(0).exponential(3.0, (600, 100))
    whole = stored(tmp_path / "whole", losses)
    cut = stored(tmp_path / "cut", losses)
    os.truncate(tmp_path / "cut", 4096)
    flat = stored(tmp_path / "flat", losses).reshape([60_000])
    results = _core.scan_losses([cut, flat, whole, whole], [None, None, None, (1, 101, 0.0)], True, None, None)
    assert isinstance(results[0], CorruptArchiveError)
    assert "cut" in str(results[0])
    assert isinstance(results[1], ShapeError)
    same(results[2], losses, None)
    assert isinstance(results[3], ParameterError)
    assert "1 to 100" in str(results[3])


def test_the_bytes_read_are_told(tmp_path: Path) -> None:
    told: list[int] = []
    tensor = stored(tmp_path / "losses", np.ones((4000, 2000), np.float32))
    _core.scan_losses([tensor] * 40, [None] * 40, True, None, told.append)
    assert told == sorted(told)
    assert all(0 <= bytes_read <= 40 * 32_000_000 for bytes_read in told)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ({"early": 50, "late": 50}, "late is 50, expected a token other than early"),
        ({"early": 50, "late": 40}, "bandwidth is 0.25, expected windows around tokens 50 and 40 that do not meet"),
        ({"early": 0}, "early is 0, expected an integer from 1 on"),
        ({"late": 500.0}, "late is 500.0, expected an integer"),
        ({"bandwidth": -1.0}, "bandwidth is -1, expected a finite number"),
    ],
)
def test_tokens_that_no_context_can_compare_are_refused_and_not_blamed_on_the_files(
    tmp_path: Path, tokens: dict, words: str
) -> None:
    np.save(tmp_path / "step1.npy", np.ones((4, 300)))
    archive = pf.open(f"{tmp_path}/step{{step}}.npy", axes="batch pos")
    with pytest.raises(ParameterError, match=words):
        archive.in_context_learning(**tokens)
    assert archive.problems.is_empty()


def test_an_early_token_too_late_for_every_context_is_refused_with_the_longest(tmp_path: Path) -> None:
    for step, context in ((1, 200), (2, 300), (3, 40)):
        np.save(tmp_path / f"step{step}.npy", np.ones((4, context)))
    archive = pf.open(f"{tmp_path}/step{{step}}.npy", axes="batch pos")
    assert archive.in_context_learning(early=75)["step"].to_list() == [2]
    for measure in (archive.in_context_learning, archive.phase_changes):
        for early in (76, 301):
            with pytest.raises(ParameterError, match=f"early is {early}, expected at most 75: .* has 300 tokens"):
                measure(early=early)
    # What nobody asked for is no fault: an archive may hold no text.
    np.save(tmp_path / "short-step1.npy", np.ones((4, 40)))
    assert pf.open(f"{tmp_path}/short-step{{step}}.npy", axes="batch pos").in_context_learning().is_empty()


def test_the_derivative_of_a_text_alone_is_computed_and_told(tmp_path: Path) -> None:
    np.save(tmp_path / "text-step1.npy", np.ones((4, 300)))
    np.save(tmp_path / "one-step1.npy", np.ones((4, 1)))
    archive = pf.open(
        {f"loss/{name}": f"{tmp_path}/{name}-step{{step}}.npy" for name in ("text", "one")}, axes="batch pos"
    )
    assert archive.loss_derivative().select("probe", "value").unique().rows() == [("text", 0.0)]
    assert archive.problems.is_empty()
    for bandwidth in (0.0, -1.0, float("nan"), "wide"):
        with pytest.raises(ParameterError, match="bandwidth is"):
            archive.loss_derivative(bandwidth=bandwidth)


@pytest.mark.parametrize(
    ("losses", "error", "words"),
    [
        (np.ma.array(np.ones((2, 3)), mask=np.eye(2, 3)), DtypeError, "filled"),
        ([[1.0, 2.0], [1.0]], ShapeError, "per_token_loss is not a rectangular array"),
        (None, DtypeError, "per_token_loss holds object, expected numbers"),
        ("loss.npy", DtypeError, "per_token_loss holds <U8, expected numbers"),
        (np.ones((2, 2), complex), DtypeError, "per_token_loss holds complex128, expected numbers"),
        (np.ones((2, 2), int), DtypeError, "convert it with per_token_loss.astype"),
    ],
)
def test_what_holds_no_losses_is_refused_by_what_it_holds(losses: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        pf.position_losses(losses)


def test_what_is_compared_in_a_context_ends_with_it() -> None:
    measure = InContextLearning(early=20, late=500, bandwidth=0.1)
    for context, late in ((600, 500), (500, 500), (499, 499), (80, 80)):
        assert measure.tokens(context) == {"early": 20, "late": late, "bandwidth": 0.1}
        assert measure.compared(context) == (20, late, 0.1)
    InContextLearning(early=700, late=2800).check()
    assert InContextLearning().applies((4, 200))
    assert not InContextLearning().applies((4, 199))


def test_rows_come_by_step_and_probe_however_they_are_read(tmp_path: Path) -> None:
    for step in (3, 20, 100):
        for probe in "abc":
            # The middle ones are stored column by column, and so decoded one at a time before the others.
            order = "F" if (step, probe) in ((20, "a"), (20, "b"), (100, "c")) else "C"
            np.save(tmp_path / f"{probe}-step{step}.npy", np.full((2, 3), step, order=order, dtype=np.float32))
    patterns = {f"loss/{probe}": f"{tmp_path}/{probe}-step{{step}}.npy" for probe in "abc"}
    found = pf.open(patterns, axes="batch pos").position_losses()
    assert found.select("step", "probe", "token_index").rows() == [
        (step, probe, token) for step in (3, 20, 100) for probe in "abc" for token in (1, 2, 3)
    ]
    assert (found["value"] == found["step"]).all()


def test_every_step_of_many_has_its_row_and_all_bytes_are_told(tmp_path: Path) -> None:
    n_steps = 2 * tables.MOST_TENSORS + 3
    for step in range(n_steps):
        # Every third is stored column by column, and so decoded.
        np.save(tmp_path / f"step{step}.npy", np.full((2, 3), step, np.float32, order="F" if step % 3 else "C"))
    told: list[tuple[int, int]] = []
    archive = pf.open(
        f"{tmp_path}/step{{step}}.npy", axes="batch pos", progress=lambda _, done, total: told.append((done, total))
    )
    assert archive.position_losses()["value"].to_list() == [step for step in range(n_steps) for _ in range(3)]
    assert told == sorted(told)
    assert told[-1] == (24 * n_steps, 24 * n_steps)


def test_bytes_that_are_read_in_place_come_after_those_that_were_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _core.scan_losses

    def telling(tensors: list, tokens: list, keep: bool, threads: int | None, on_bytes: Callable) -> list:
        on_bytes(10)
        return real(tensors, tokens, keep, threads, on_bytes)

    monkeypatch.setattr(_core, "scan_losses", telling)
    for step in (1, 2):
        np.save(tmp_path / f"step{step}.npy", np.ones((2, 3), np.float32, order="F" if step == 2 else "C"))
    told: list[int] = []
    progress = lambda _, done, total: told.append(done)  # noqa: E731
    pf.open(f"{tmp_path}/step{{step}}.npy", axes="batch pos", progress=progress).position_losses()
    assert told == [24, 34, 48]


def test_what_could_not_be_read_beside_what_could_is_tried_again(tmp_path: Path) -> None:
    for probe in "ab":
        np.save(tmp_path / f"{probe}-step1.npy", np.ones((4, 10)))
    where = {
        "path": {f"loss/{probe}": f"{tmp_path}/{probe}-step{{step}}.npy" for probe in "ab"},
        "axes": "batch pos",
        "cache": tmp_path / "kept",
    }
    archive, file = pf.open(**where), tmp_path / "b-step1.npy"
    whole, times = file.read_bytes(), file.stat()
    file.write_bytes(whole[:-1])
    assert set(archive.position_losses()["probe"]) == {"a"}
    file.write_bytes(whole)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert set(pf.open(**where).position_losses()["probe"]) == {"a", "b"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_tables_of_an_archive_are_those_of_the_arrays(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(0)
    steps = [10, 20, 30]
    losses = {step: rng.exponential(3.0, (40 if step < 30 else 30, 300)).astype(dtype) for step in steps}
    for step in steps:
        # The second has to be decoded: it is stored column by column.
        np.save(tmp_path / f"step{step}.npy", np.asfortranarray(losses[step]) if step == 20 else losses[step])
    archive = pf.open(f"{tmp_path}/step{{step}}.npy", axes="batch pos")
    means, scores, slopes = archive.position_losses(), archive.in_context_learning(), archive.loss_derivative()
    for table in (means, scores, slopes):
        assert table["step"].unique(maintain_order=True).to_list() == steps
        assert table["step"].is_sorted()
    for step in steps:
        own = {name: table.filter(step=step) for name, table in (("mean", means), ("score", scores), ("slope", slopes))}
        mean, error = pf.position_losses(losses[step])
        np.testing.assert_array_equal(own["mean"]["value"], mean)
        np.testing.assert_array_equal(own["mean"]["standard_error"], error)
        tokens = {"early": 50, "late": 300, "bandwidth": 0.25}
        row = own["score"].row(0, named=True)
        assert row["value"] == pf.in_context_learning_score(losses[step], **tokens)
        assert [row["lower"], row["upper"]] == list(pf.in_context_learning_interval(losses[step], **tokens))
        assert (row["early"], row["late"]) == (50, 300)
        np.testing.assert_array_equal(own["slope"]["value"], pf.loss_log_derivative(losses[step], bandwidth=0.25))
        error = pf.loss_log_derivative_error(losses[step], bandwidth=0.25)
        np.testing.assert_array_equal(own["slope"]["standard_error"], error)
    assert archive.problems.equals(pl.DataFrame(schema=archive.problems.schema))
