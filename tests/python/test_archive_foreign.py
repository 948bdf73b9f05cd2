"""Tensor files of others, bound by path patterns: the same numbers as arrays give, whatever the format and axes."""

import json
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import polars as pl
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import phaseflow as pf
from phaseflow import schema
from phaseflow._core import StoredTensor
from phaseflow.archive.pattern import PathPattern
from phaseflow.cli import app
from phaseflow.exceptions import MissingDataError, ParameterError, PhaseflowError

RNG = np.random.default_rng(0)
TOKENS = np.tile(RNG.integers(1, 9, (3, 5)), 2)  # (batch, pos) = (3, 10), every token seen twice
STEPS = [1, 10, 100]
LAYERS = 2


def patterns_of(step: int, layer: int) -> np.ndarray:
    """(batch, head, query_pos, key_pos), causal, rows that sum to 1."""
    weights = np.tril(np.random.default_rng([step, layer]).random((3, 4, 10, 10)))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def losses_of(step: int) -> np.ndarray:
    return np.random.default_rng(step).random((6, 256)).astype(np.float32)


def expected(step: int, layer: int) -> np.ndarray:
    return pf.prefix_matching_score(patterns_of(step, layer), TOKENS)


def found(archive: pf.Archive, step: int, layer: int) -> np.ndarray:
    here = (pl.col(schema.STEP) == step) & (pl.col(schema.LAYER) == layer)
    rows = archive.head_scores().filter(here & (pl.col(schema.METRIC) == "prefix_matching_score"))
    return rows.sort(schema.HEAD)[schema.VALUE].to_numpy()


def assert_same_scores(archive: pf.Archive) -> None:
    assert archive.problems.is_empty(), archive.problems
    for step in STEPS:
        for layer in range(LAYERS):
            np.testing.assert_array_equal(found(archive, step, layer), expected(step, layer))


def write_npy(folder: Path, change=lambda pattern: pattern) -> str:
    for step in STEPS:
        for layer in range(LAYERS):
            path = folder / f"seed0/step{step}/attn_{layer}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, change(patterns_of(step, layer)))
    return f"{folder}/{{run}}/step{{step}}/attn_{{layer}}.npy"


# Formats


def test_npy_files_give_the_scores_of_their_arrays(tmp_path):
    archive = pf.open(write_npy(tmp_path), tokens=TOKENS)
    assert [run.name for run in archive.runs] == ["seed0"]
    assert archive.runs[0].steps == STEPS
    assert_same_scores(archive)


def test_npy_files_are_mapped_not_read(tmp_path):
    archive = pf.open(write_npy(tmp_path), tokens=TOKENS)
    assert isinstance(archive.runs[0].tensor(10, "attention/probe/L01"), StoredTensor)


@pytest.mark.parametrize("change", [np.asfortranarray, lambda pattern: pattern.astype(">f4")])
def test_order_and_byte_order_of_the_file_do_not_matter(tmp_path, change):
    assert_same_scores(pf.open(write_npy(tmp_path, change), tokens=TOKENS))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_files_are_opened_by_the_names_inside(tmp_path, save):
    for step in STEPS:
        arrays = {f"attn.{layer}": patterns_of(step, layer) for layer in range(LAYERS)}
        save(tmp_path / f"{step}.npz", other=np.zeros(3), **arrays)
    archive = pf.open(f"{tmp_path}/{{step}}.npz::attn.{{layer}}", tokens=TOKENS)
    mapped = isinstance(archive.runs[0].tensor(10, "attention/probe/L01"), StoredTensor)
    assert mapped == (save is np.savez)
    assert_same_scores(archive)


def test_columns_first_in_npz_files_are_turned(tmp_path):
    for step in STEPS:
        arrays = {f"attn.{layer}": np.asfortranarray(patterns_of(step, layer)) for layer in range(LAYERS)}
        np.savez(tmp_path / f"{step}.npz", **arrays)
    assert_same_scores(pf.open(f"{tmp_path}/{{step}}.npz::attn.{{layer}}", tokens=TOKENS))


def test_verify_compares_the_checksums_that_npz_files_have(tmp_path):
    for step in STEPS:
        np.savez(tmp_path / f"{step}.npz", a0=patterns_of(step, 0))
    damaged = tmp_path / f"{STEPS[1]}.npz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    problems = pf.open(f"{tmp_path}/{{step}}.npz::a{{layer}}", tokens=TOKENS).verify()
    assert problems[schema.FILE].to_list() == [str(damaged)]
    assert "a0.npy with the checksum it was written with" in problems[schema.FOUND][0]


def test_plain_safetensors_files_are_read(tmp_path):
    for step in STEPS:
        arrays = {f"attn.{layer}": patterns_of(step, layer) for layer in range(LAYERS)}
        safetensors.numpy.save_file(arrays, tmp_path / f"{step}.safetensors")
    assert_same_scores(pf.open(f"{tmp_path}/{{step}}.safetensors::attn.{{layer}}", tokens=TOKENS))


def test_torch_files_are_read_with_nested_names(tmp_path):
    torch = pytest.importorskip("torch")
    for step in STEPS:
        cache = {"cache": [torch.from_numpy(patterns_of(step, layer)) for layer in range(LAYERS)], "step": step}
        torch.save(cache, tmp_path / f"{step}.pt")
    assert_same_scores(pf.open(f"{tmp_path}/{{step}}.pt::cache.{{layer}}", tokens=TOKENS))


class Intruder:
    def __reduce__(self):
        return (Path("/nonexistent/intruder").write_text, ("ran",))


def test_a_torch_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"cache": Intruder()}, tmp_path / "1.pt")
    (tmp_path / "2.pt").write_bytes(pickle.dumps(Intruder()))
    archive = pf.open(f"{tmp_path}/{{step}}.pt::cache.{{layer}}", tokens=TOKENS)
    assert archive.problems.height == 2
    assert archive.problems[schema.FOUND].str.contains("readable .pt file").all()


@pytest.mark.parametrize(
    "how", [{}, {"chunks": True}, {"compression": "gzip"}], ids=["in one piece", "in chunks", "compressed"]
)
def test_hdf5_files_are_read(tmp_path, how):
    h5py = pytest.importorskip("h5py")
    for step in STEPS:
        with h5py.File(tmp_path / f"{step}.h5", "w") as file:
            for layer in range(LAYERS):
                file.create_dataset(f"blocks/{layer}/attn", data=patterns_of(step, layer), **how)
    archive = pf.open(f"{tmp_path}/{{step}}.h5::blocks/{{layer}}/attn", tokens=TOKENS)
    mapped = isinstance(archive.runs[0].tensor(10, "attention/probe/L01"), StoredTensor)
    assert mapped == (how == {})
    assert_same_scores(archive)


def test_zarr_stores_are_read(tmp_path):
    zarr = pytest.importorskip("zarr")
    for step in STEPS:
        for layer in range(LAYERS):
            zarr.save(str(tmp_path / f"{step}-{layer}.zarr"), patterns_of(step, layer))
    assert_same_scores(pf.open(f"{tmp_path}/{{step}}-{{layer}}.zarr", tokens=TOKENS))


def devinterp_store(path: Path, losses: np.ndarray, *, written: int) -> None:
    """The arrays that devinterp 2's ``sample`` puts into a store, named, chunked and filled as it does."""
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(str(path), mode="w")
    chains, context = losses.shape
    shapes = {
        "init_loss": (("chain", "token_pos"), (chains, context), (1, context)),
        "loss_text": (("chain", "draw", "obs_batch", "token_pos"), (chains, 5, 2, context), (1, 5, 2, context)),
    }
    for name, (axes, shape, chunks) in shapes.items():
        root.create_array(
            name, shape=shape, chunks=chunks, dtype="float32", fill_value=np.nan, dimension_names=axes,
            compressors=zarr.codecs.ZstdCodec(level=0),
        )  # fmt: skip
    root.create_array("input_ids_text", shape=(2, context + 1), dtype="int64", dimension_names=("obs_batch", "token"))
    root["init_loss"][:written] = losses[:written]
    root.attrs["completed"] = 1


def test_the_stores_of_devinterp_are_read_by_the_name_inside(tmp_path):
    for step in STEPS:
        devinterp_store(tmp_path / f"{step}/samples.zarr", losses_of(step), written=6)
    archive = pf.open(f"{tmp_path}/{{step}}/samples.zarr::init_loss")
    found = archive.in_context_learning(bandwidth=0.0, early=50, late=256)[schema.VALUE]
    assert found.to_list() == [
        float(pf.in_context_learning_score(losses_of(step), early=50, late=256)) for step in STEPS
    ]
    assert archive.problems.is_empty()


def test_chunks_that_a_store_never_got_are_told(tmp_path):
    for step in STEPS:
        devinterp_store(tmp_path / f"{step}/samples.zarr", losses_of(step), written=6 if step != 10 else 4)
    archive = pf.open(f"{tmp_path}/{{step}}/samples.zarr::init_loss")
    archive.in_context_learning(bandwidth=0.0, early=50, late=256)
    assert archive.problems[schema.OBJECT].to_list() == ["loss/probe at step 10"]
    assert "NaN" in archive.problems[schema.FOUND][0]


def test_an_array_with_more_axes_than_named_is_told_with_its_shape(tmp_path):
    devinterp_store(tmp_path / "1/samples.zarr", losses_of(1), written=6)
    archive = pf.open(f"{tmp_path}/{{step}}/samples.zarr::loss_text")
    assert "(6, 5, 2, 256), expected the axes (batch, pos)" in archive.problems[schema.FOUND][0]


def test_of_a_store_with_all_steps_only_the_tensor_asked_for_is_read(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    every = np.stack([[patterns_of(step, layer) for layer in range(LAYERS)] for step in STEPS])
    stored = zarr.create_array(
        str(tmp_path / "run.zarr"), shape=every.shape, chunks=(1, 1, *every.shape[2:]), dtype="f4"
    )
    stored[...] = every
    read = []
    whole = zarr.Array.__getitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda self, at: (read.append(whole(self, at)), read[-1])[1])
    axes = "step layer batch head query_pos key_pos"
    assert_same_scores(pf.open(f"{tmp_path}/{{run}}.zarr", tokens=TOKENS, axes=axes, steps=STEPS))
    assert {part.shape for part in read} == {every.shape[2:]}
    assert len(read) == len(STEPS) * LAYERS


# Axes


def test_a_file_may_hold_all_layers_with_axes_in_any_order(tmp_path):
    for step in STEPS:
        stacked = np.stack([patterns_of(step, layer) for layer in range(LAYERS)])  # layer batch head query key
        np.save(tmp_path / f"{step}.npy", stacked.transpose(2, 0, 1, 3, 4))
    axes = "head layer batch query_pos key_pos"
    assert_same_scores(pf.open({"attention": f"{tmp_path}/{{step}}.npy"}, tokens=TOKENS, axes=axes))


def test_a_file_may_hold_all_steps(tmp_path):
    for layer in range(LAYERS):
        np.save(tmp_path / f"{layer}.npy", np.stack([patterns_of(step, layer) for step in STEPS]))
    axes = "step batch head query_pos key_pos"
    assert_same_scores(pf.open(f"{tmp_path}/{{layer}}.npy", tokens=TOKENS, axes=axes, steps=STEPS))


def test_one_example_needs_no_batch_axis(tmp_path):
    path = write_npy(tmp_path, lambda pattern: pattern[0])
    archive = pf.open(path, tokens=TOKENS[:1], axes="head query_pos key_pos")
    assert archive.problems.is_empty()
    one = pf.prefix_matching_score(patterns_of(10, 1)[0], TOKENS[0])
    np.testing.assert_array_equal(found(archive, 10, 1), one)


def test_files_may_hold_packed_lower_triangles(tmp_path):
    for layer in range(LAYERS):
        np.save(tmp_path / f"{layer}.npy", np.stack([pf.pack_pattern(patterns_of(step, layer)) for step in STEPS]))
    assert_same_scores(pf.open(f"{tmp_path}/{{layer}}.npy", tokens=TOKENS, axes="step batch head entry", steps=STEPS))


def test_steps_may_come_from_a_file_too(tmp_path):
    np.save(tmp_path / "steps.npy", STEPS)
    stacked = [[patterns_of(step, layer) for layer in range(LAYERS)] for step in STEPS]
    np.save(tmp_path / "seed0.npy", np.array(stacked))
    axes = "step layer batch head query_pos key_pos"
    archive = pf.open(f"{tmp_path}/{{run}}0.npy", tokens=TOKENS, axes=axes, steps=tmp_path / "steps.npy")
    assert_same_scores(archive)
    assert isinstance(archive.runs[0].tensor(10, "attention/probe/L01"), StoredTensor)  # not read


def test_bfloat16_arrays_are_read_as_numpy_writes_them(tmp_path):
    def to_bfloat16(pattern):
        return pattern.astype(ml_dtypes.bfloat16)

    archive = pf.open(write_npy(tmp_path, to_bfloat16), tokens=TOKENS)
    assert archive.problems.is_empty()
    np.testing.assert_array_equal(
        found(archive, 10, 1), pf.prefix_matching_score(to_bfloat16(patterns_of(10, 1)), TOKENS)
    )


def test_losses_and_attention_of_different_probes_make_one_run(tmp_path):
    attention = write_npy(tmp_path)
    for step in STEPS:
        np.save(tmp_path / f"seed0/step{step}/losses.npy", losses_of(step))
    paths = {"attention/repeated": attention, "loss/text": f"{tmp_path}/{{run}}/step{{step}}/losses.npy"}
    archive = pf.open(paths, tokens={"repeated": TOKENS})
    score = archive.in_context_learning(bandwidth=0.0).filter(pl.col(schema.STEP) == 10)
    expected_score = pf.in_context_learning_score(losses_of(10), early=50, late=256)
    assert score.select(schema.PROBE, schema.VALUE).row(0) == ("text", float(expected_score))
    assert archive.head_scores()[schema.PROBE].unique().to_list() == ["repeated"]


def test_the_command_line_takes_patterns(tmp_path):
    attention = write_npy(tmp_path)
    for step in STEPS:
        np.save(tmp_path / f"seed0/step{step}/losses.npy", losses_of(step)[:3, :10])
    np.save(tmp_path / "tokens.npy", TOKENS)
    losses = f"{tmp_path}/{{run}}/step{{step}}/losses.npy"
    options = ["--losses", losses, "--tokens", str(tmp_path / "tokens.npy"), "--json"]
    result = CliRunner().invoke(app, ["inspect", attention, *options])
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.output)
    assert (run["run"], run["checkpoints"], run["tensors"]) == ("seed0", len(STEPS), len(STEPS) * (LAYERS + 1))


# What is wrong is named, and the rest is used


def test_a_damaged_file_is_a_problem_and_the_others_are_scored(tmp_path):
    path = write_npy(tmp_path)
    damaged = tmp_path / "seed0/step10/attn_1.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    archive = pf.open(path, tokens=TOKENS)
    assert archive.problems[schema.FILE].to_list() == [str(damaged)]
    assert "found a shorter file" in archive.problems[schema.FOUND][0]
    np.testing.assert_array_equal(found(archive, 100, 1), expected(100, 1))
    assert found(archive, 10, 1).size == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pattern: pattern.astype(np.int32), "holds int32, expected one of float16"),
        (lambda pattern: pattern[0], r"shape \(4, 10, 10\), expected the axes \(batch, head, query_pos, key_pos\)"),
        (lambda pattern: np.array([{}], dtype=object), "Python objects in dtype"),
    ],
)
def test_a_file_with_something_else_is_a_problem(tmp_path, change, message):
    archive = pf.open(write_npy(tmp_path, change), tokens={})
    assert archive.problems.height == len(STEPS) * LAYERS
    assert archive.problems[schema.FOUND].str.contains(message).all()


@pytest.mark.parametrize(
    ("pattern", "options", "error", "message"),
    [
        ("{run}/step{step}/attn_{layer}.npy", {}, ParameterError, "need the tokens they were made on.*tokens="),
        ("seed0/step10/attn_{layer}.npy", {"tokens": TOKENS}, ParameterError, "tells the step: put {step} into it"),
        ("{run}/step{stp}/attn_{layer}.npy", {"tokens": TOKENS}, ParameterError, "has {stp}, known: {run}"),
        ("{run}/step{step}/atn_{layer}.npy", {"tokens": TOKENS}, MissingDataError, "no file matches"),
        ("{run}/step{step}/attn_{layer}.npy", {"axes": "batch head key_pos"}, ParameterError, "expected each of batch"),
    ],
)
def test_a_pattern_that_cannot_be_bound_is_refused_with_the_next_thing_to_do(
    tmp_path, pattern, options, error, message
):
    write_npy(tmp_path)
    with pytest.raises(error, match=message):
        pf.open(f"{tmp_path}/{pattern}", **options)


def test_a_file_of_several_tensors_asks_which(tmp_path):
    np.savez(tmp_path / "1.npz", a=losses_of(1), b=losses_of(2))
    assert "say which" in pf.open(f"{tmp_path}/{{step}}.npz").problems[schema.FOUND][0]


def test_a_field_named_twice_stands_for_the_same_text(tmp_path):
    for name in ("a/a-1.npy", "a/b-1.npy"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        np.save(path, losses_of(1))
    files = [file for file, _ in PathPattern(f"{tmp_path}/{{run}}/{{run}}-{{step}}.npy").files()]
    assert files == [f"{tmp_path}/a/a-1.npy"]


# Kept results


def test_with_a_cache_only_changed_files_are_read_again(tmp_path):
    path = write_npy(tmp_path / "logs")
    options = {"tokens": TOKENS, "cache": tmp_path / "cache"}
    first = pf.open(path, **options).head_scores()
    changed = tmp_path / "logs/seed0/step100/attn_0.npy"
    np.save(changed, patterns_of(7, 0).astype(np.float64))
    again = pf.open(path, **options)
    read = []
    run = again.runs[0]
    tensor = run.tensor
    run.tensor = lambda step, name: (read.append(step), tensor(step, name))[1]
    second = again.head_scores()
    assert set(read) == {100}
    unchanged = pl.col(schema.STEP) < 100
    assert second.filter(unchanged).equals(first.filter(unchanged))
    assert not second.equals(first)
    assert not (tmp_path / "logs/derived").exists()


# Files cut short or changed by a byte: a problem by name, or numbers as if nothing were wrong; never anything else


def write_one(path: Path, pattern: np.ndarray) -> None:
    """One pattern, called ``a0`` where the format has names."""
    match path.suffix:
        case ".npy":
            np.save(path, pattern[None])  # the only layer
        case ".npz":
            np.savez(path, a0=pattern)
        case ".safetensors":
            safetensors.numpy.save_file({"a0": pattern}, path)
        case ".pt":
            torch = pytest.importorskip("torch")
            torch.save({"a0": torch.from_numpy(pattern)}, path)
        case ".h5":
            with pytest.importorskip("h5py").File(path, "w") as file:
                file["a0"] = pattern


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".pt", ".h5"])
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_told_or_read(tmp_path_factory, suffix, data):
    path = tmp_path_factory.mktemp("damaged") / f"0{suffix}"
    write_one(path, patterns_of(1, 0)[:, :1])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), label="length")]
    else:
        # Most of a file is numbers; of interest are its first and last bytes.
        edge = st.integers(0, min(400, len(content) - 1))
        at = data.draw(edge | edge.map(lambda back: len(content) - 1 - back), label="at")
        content[at] ^= data.draw(st.integers(1, 255), label="change")
    path.write_bytes(content)
    pattern = f"{path.parent}/{{step}}{suffix}" + ("" if suffix == ".npy" else "::a{layer}")
    layer = "layer " if suffix == ".npy" else ""
    try:
        archive = pf.open({"attention": pattern}, tokens=TOKENS, axes=f"{layer}batch head query_pos key_pos".strip())
        scores = archive.head_scores()
    except PhaseflowError:
        return
    assert scores.height or archive.problems.height
