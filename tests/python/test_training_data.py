"""Every kind of data keeps the same promises: fixed draws, a fingerprint, a killed run that goes on bit for bit."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

from typer.testing import CliRunner

from phaseflow.archive import Run
from phaseflow.cli import app
from phaseflow.exceptions import DtypeError, MissingDataError, ParameterError, ShapeError
from phaseflow.training import (
    BatchConfig,
    Batches,
    Data,
    DataConfig,
    MarkovConfig,
    RepeatsConfig,
    TokenFileConfig,
    TrainConfig,
    tiny_config,
    train,
)
from training_text import write_text

TOKENS = np.random.default_rng(0).integers(1, 300, 6000)


def text(folder: Path) -> DataConfig:
    return tiny_config(str(write_text(folder / "text"))).corpus


def npy(folder: Path) -> DataConfig:
    np.save(folder / "tokens.npy", TOKENS.astype(np.int32))
    return TokenFileConfig(str(folder / "tokens.npy"), 300)


def bare(folder: Path) -> DataConfig:
    TOKENS.astype(np.uint16).tofile(folder / "tokens.bin")
    return TokenFileConfig(str(folder / "tokens.bin"), 300, bos=299, held_out_share=0.2)


def repeats(_: Path) -> DataConfig:
    return RepeatsConfig(n_vocab=64, shortest=3, longest=9)


def markov(_: Path) -> DataConfig:
    return MarkovConfig(3)


kinds = pytest.mark.parametrize("kind", [text, npy, bare, repeats, markov])


def config_of(source: DataConfig) -> TrainConfig:
    tiny = tiny_config("unused")
    return replace(tiny, corpus=source, model=replace(tiny.model, n_vocab=source.n_vocab))


class Killed(BaseException):
    pass


@kinds
def test_a_killed_run_goes_on_to_the_same_archive(kind: Callable[[Path], DataConfig], tmp_path: Path) -> None:
    config = config_of(kind(tmp_path))
    updates = 0

    def die(_: int, note: str | None) -> None:
        nonlocal updates
        updates += note is None
        if updates == 12:
            raise Killed

    train(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train(config, tmp_path / "killed", on_step=die)
    assert 0 < Run(tmp_path / "killed").steps[-1] < config.steps
    train(config, tmp_path / "killed")
    whole, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    assert whole.steps == killed.steps
    assert all(whole.checksums(step) == killed.checksums(step) for step in whole.steps)


@kinds
def test_what_is_drawn_depends_on_seed_and_step_alone_also_in_another_process(
    kind: Callable[[Path], DataConfig], tmp_path: Path
) -> None:
    config = kind(tmp_path)
    data = config.build()
    sent: Data = pickle.loads(pickle.dumps(data))
    assert sent.fingerprint == data.fingerprint == config.build().fingerprint
    here, there = (Batches(each, BatchConfig(batch_size=5), 24, seed=3) for each in (data, sent))
    later = here[7]
    assert later.shape == (5, 25)
    assert (later[:, 0] == data.bos).all()
    assert torch.equal(later, there[7])
    assert not torch.equal(later, here[8])
    held_out = data.draw_held_out(6, 24, 1)
    np.testing.assert_array_equal(held_out, sent.draw_held_out(6, 24, 1))
    assert not np.array_equal(held_out, data.draw_held_out(6, 24, 2))
    assert len({*map(tuple, held_out.tolist())}) == 6
    assert 0 <= min(later.min(), held_out.min()) <= max(later.max(), held_out.max()) < config.n_vocab


@kinds
def test_the_record_names_the_kind_and_the_fingerprint(kind: Callable[[Path], DataConfig], tmp_path: Path) -> None:
    config = config_of(kind(tmp_path))
    data = config.corpus.build()
    record = config.as_record(data)["corpus"]
    assert (record["kind"], record["fingerprint"]) == (config.corpus.kind, data.fingerprint)


@pytest.mark.parametrize("kind", [text, bare, repeats])
def test_the_command_trains_on_it(kind: Callable[[Path], DataConfig], tmp_path: Path) -> None:
    config = kind(tmp_path)
    source = {"text": getattr(config, "source", ""), "token file": getattr(config, "path", "")}.get(
        config.kind, "repeats"
    )
    sizes = [
        "--vocabulary",
        "300",
        "--context",
        "100",
        "--d-model",
        "8",
        "--steps",
        "3",
        "--batch-size",
        "2",
        "--layers",
        "1",
        "--smeared-keys",
    ]
    done = CliRunner().invoke(app, ["train", str(tmp_path / "run"), "--source", source, "--decay", "cosine", *sizes])
    assert done.exit_code == 0, done.output
    record = Run(tmp_path / "run").config
    assert (record["corpus"]["kind"], record["model"]["smeared_keys"]) == (config.kind, True)
    assert record["optimiser"]["learning_rate"]["decay"] == "cosine"


# Token files


def test_the_last_part_of_a_token_file_is_held_out_and_the_rest_is_drawn_everywhere(tmp_path: Path) -> None:
    np.save(tmp_path / "rising.npy", np.arange(1000))
    data = TokenFileConfig(str(tmp_path / "rising.npy"), 1000, held_out_share=0.25).build()
    drawn = data.draw(np.random.default_rng(0), 4000, 10)
    assert (np.diff(drawn, axis=1) == 1).all()
    assert (drawn.min(), drawn.max()) == (0, 749)
    held_out = data.draw_held_out(241, 10, 0)  # every window there is
    assert (held_out.min(), held_out.max()) == (750, 999)
    assert data.token_counts().tolist() == [1] * 750 + [0] * 250


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", "int32", "int64"])
def test_the_same_tokens_in_other_bytes_are_the_same_data(tmp_path: Path, dtype: str) -> None:
    tokens = np.arange(500) % 200
    tokens.astype(np.int16).tofile(tmp_path / "a.bin")
    tokens.astype(dtype).tofile(tmp_path / "b.bin")
    np.save(tmp_path / "c.npy", tokens.astype(dtype))
    configs = [
        TokenFileConfig(str(tmp_path / "a.bin"), 200, dtype="int16"),
        TokenFileConfig(str(tmp_path / "b.bin"), 200, dtype=dtype),
        TokenFileConfig(str(tmp_path / "c.npy"), 200),
    ]
    a, b, c = (config.build() for config in configs)
    assert a.fingerprint == b.fingerprint == c.fingerprint
    for data in (b, c):
        np.testing.assert_array_equal(data.draw(np.random.default_rng(0), 5, 9), a.draw(np.random.default_rng(0), 5, 9))


def test_one_other_token_or_another_cut_is_other_data(tmp_path: Path) -> None:
    config = TokenFileConfig(str(tmp_path / "a.npy"), 300)
    np.save(tmp_path / "a.npy", TOKENS)
    first = config.build().fingerprint
    assert replace(config, held_out_share=0.2).build().fingerprint != first
    changed = TOKENS.copy()
    changed[-1] = (changed[-1] + 1) % 300
    np.save(tmp_path / "a.npy", changed)
    assert config.build().fingerprint != first


def test_a_large_token_file_is_not_sent_along(tmp_path: Path) -> None:
    np.zeros(1 << 20, dtype=np.uint16).tofile(tmp_path / "large.bin")
    data = TokenFileConfig(str(tmp_path / "large.bin"), 10).build()
    data.draw(np.random.default_rng(0), 2, 5)
    assert len(pickle.dumps(data)) < 10_000


def test_a_token_file_that_cannot_serve_says_so(tmp_path: Path) -> None:
    def build(name: str, tokens: np.ndarray | None, n_vocab: int = 300, **more: object) -> None:
        path = tmp_path / name
        if tokens is not None and path.suffix == ".npy":
            np.save(path, tokens)
        elif tokens is not None:
            tokens.tofile(path)
        TokenFileConfig(str(path), n_vocab, **more).build()  # type: ignore[arg-type]

    with pytest.raises(ParameterError, match=r"token 300 among tokens 0 to 2, expected 0 to n_vocab - 1 = 299"):
        build("high.npy", np.array([5, 300, 2]))
    with pytest.raises(ParameterError, match="token -1 among"):
        build("low.npy", np.array([5, -1, 2]))
    with pytest.raises(DtypeError, match="float64, expected integers"):
        build("float.npy", np.zeros(9))
    (tmp_path / "other.npy").write_bytes(b"something else altogether")
    with pytest.raises(DtypeError, match=r"other\.npy is no \.npy file of integers"):
        build("other.npy", None)
    with pytest.raises(DtypeError, match="holds int64, dtype says uint16"):
        build("long.npy", np.zeros(9, np.int64), dtype="uint16")
    with pytest.raises(DtypeError, match="7 bytes, no whole number of uint16"):
        build("odd.bin", np.zeros(7, np.uint8))
    with pytest.raises(ShapeError, match=r"\(2, 3\), expected \(token,\)"):
        build("square.npy", np.zeros((2, 3), np.int64))
    with pytest.raises(MissingDataError, match="is empty"):
        build("empty.bin", np.zeros(0, np.uint16))
    with pytest.raises(MissingDataError, match="is not a file"):
        build("nowhere.bin", None)
    with pytest.raises(ParameterError, match=r"\.npy or \.bin"):
        build("tokens.txt", np.zeros(5, np.uint16))
    with pytest.raises(ParameterError, match="bos is 300"):
        TokenFileConfig("any.npy", 300, bos=300)
    with pytest.raises(ParameterError, match="held_out_share"):
        TokenFileConfig("any.npy", 300, held_out_share=0.0)


# Repeats


def test_every_sequence_repeats_a_passage_of_a_length_of_its_own() -> None:
    data = RepeatsConfig(n_vocab=10_000, shortest=3, longest=9).build()
    drawn = data.draw(np.random.default_rng(0), 500, 40)
    lengths = [next(n for n in range(1, 41) if (row[n:] == row[:-n]).all()) for row in drawn]
    assert set(lengths) == set(range(3, 10))
    assert drawn.min() > 0
    assert drawn.max() < 10_000


def test_repeats_that_cannot_be_are_refused() -> None:
    for wrong in ({"n_vocab": 2}, {"shortest": 0}, {"shortest": 9, "longest": 8}):
        with pytest.raises(ParameterError):
            RepeatsConfig(**wrong)
