"""The corpus: files on one side of the split only, windows inside one file only."""

import sysconfig
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="training needs the extra `train`")

from phaseflow.exceptions import MissingDataError, ParameterError
from phaseflow.training.corpus import STDLIB, CorpusConfig, build_corpus, is_held_out, read_texts
from phaseflow.training.split import Split
from training_text import write_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def config_of(source: Path, **changes: object) -> CorpusConfig:
    return CorpusConfig(**{"source": str(source), "n_vocab": 300, "held_out_share": 0.2} | changes)  # type: ignore[arg-type]


def test_every_file_is_on_exactly_one_side_and_comes_back_word_for_word(folder: Path) -> None:
    corpus = build_corpus(config_of(folder))
    found = [
        corpus.vocabulary.decode(split.tokens[start:end].tolist()).strip()
        for split in (corpus.train, corpus.held_out)
        for start, end in zip(split.bounds[:-1], split.bounds[1:], strict=True)
    ]
    assert sorted(found) == sorted(path.read_text() for path in folder.iterdir())
    assert len(corpus.held_out.bounds) > 1


def test_the_same_files_give_the_same_tokens_and_another_file_does_not(folder: Path, tmp_path: Path) -> None:
    first, again = build_corpus(config_of(folder)), build_corpus(config_of(folder))
    assert first.fingerprint == again.fingerprint
    other = write_text(tmp_path / "other")
    (other / "file00.py").write_text("something else altogether")
    assert build_corpus(config_of(other)).fingerprint != first.fingerprint


def test_a_file_added_moves_no_other_file_across_the_split() -> None:
    names = [f"module{number}.py" for number in range(2000)]
    held_out = [is_held_out(name, 0.1) for name in names]
    assert 150 < sum(held_out) < 250
    assert all(is_held_out(name, 0.2) for name, held in zip(names, held_out, strict=True) if held)


def test_windows_are_all_those_inside_one_file() -> None:
    split = Split(np.arange(9, dtype=np.uint16), np.array([0, 4, 6, 9]))  # files 0123, 45, 678
    running = split.windows(3)
    assert running.tolist() == [0, 2, 2, 3]
    assert split.window(running, np.arange(3), 3).tolist() == [[0, 1, 2], [1, 2, 3], [6, 7, 8]]


def test_the_standard_library_is_read_without_its_tests_and_tables() -> None:
    names = [name for name, _ in read_texts(STDLIB)]
    assert {"ast.py", "json/decoder.py"} <= set(names)
    assert all((Path(sysconfig.get_path("stdlib")) / name).is_file() for name in names)
    assert not [
        name for name in names if name.startswith(("test/", "encodings/", "site-packages/")) or "/test/" in name
    ]


def test_one_long_file_is_split_by_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("some words over and over " * 400)
    corpus = build_corpus(config_of(path))
    assert len(corpus.train.bounds) + len(corpus.held_out.bounds) == 100 + 2


def test_parts_of_a_novel_stand_in_for_files(tmp_path: Path) -> None:
    novel = "".join(f"{number:09} " for number in range(60_000))
    (tmp_path / "novel.txt").write_text(novel)
    (tmp_path / "story.txt").write_text(novel[:400_000])
    found = list(read_texts(str(tmp_path)))
    assert [name for name, _ in found] == [f"novel.txt:{start}" for start in range(0, 600_000, 100_000)] + ["story.txt"]
    assert "".join(text for name, text in found if name.startswith("novel")) == novel
    corpus = build_corpus(config_of(tmp_path, held_out_share=0.4))
    assert len(corpus.train.bounds) + len(corpus.held_out.bounds) == 7 + 2


def test_of_a_folder_of_few_files_parts_are_held_out(tmp_path: Path) -> None:
    names = [name for name in (f"{number}.txt" for number in range(9)) if not is_held_out(name, 0.1)][:3]
    for name in names:
        (tmp_path / name).write_text(f"{name} has words over and over " * 400)
    corpus = build_corpus(config_of(tmp_path, held_out_share=0.1))
    n_train, n_held_out = (len(split.bounds) - 1 for split in (corpus.train, corpus.held_out))
    assert 100 <= n_train + n_held_out <= 103
    assert 0.02 < n_held_out / n_train < 0.3


def test_bytes_that_are_not_text_are_passed_over(tmp_path: Path) -> None:
    (write_text(tmp_path, n_files=2) / "image.txt").write_bytes(b"\xff\xfe\x00")
    assert [name for name, _ in read_texts(str(tmp_path))] == ["file00.py", "file01.py"]


def test_a_source_that_cannot_serve_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="neither 'stdlib' nor a file or folder"):
        build_corpus(config_of(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match=r"has 0 text files \(.py, .txt\) of 0 characters"):
        build_corpus(config_of(tmp_path / "empty"))
    for n_vocab in (256, 65_537):
        with pytest.raises(ParameterError, match=r"n_vocab must be over 256 .* at most 65536"):
            CorpusConfig(n_vocab=n_vocab)
    with pytest.raises(ParameterError, match="held_out_share"):
        CorpusConfig(held_out_share=1.0)
