"""Text files become token arrays: byte-pair vocabulary, and a split into training and held-out *files*.

The vocabulary is learned from the training files alone. A file is held out when a hash of its path says so, so the
split depends on nothing but names. Tokens of one file never border those of another: every sequence is cut from a
single file. The parts of a very long file, a novel, stand in for files: of a few novels one would be all held out, or
none. So do the parts of all files where there are so few that the hash holds out none, or every one.

`stdlib` names the Python standard library's own source files, which every machine has. Left out are its tests (more
text than everything else together, much of it near-copies), `encodings` and `pydoc_data` (character tables and one
string of documentation, not code).
"""

import hashlib
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from phaseflow.exceptions import MissingDataError, ParameterError
from phaseflow.training.data import Data
from phaseflow.training.split import Split

STDLIB = "stdlib"
_NOT_CODE = {"test", "tests", "idle_test", "encodings", "pydoc_data", "site-packages", "dist-packages", "__pycache__"}
_BYTES = 256  # a byte-level vocabulary starts from every byte
_MOST = 1 << 16  # tokens are held in two bytes each
_LONG = 500_000  # characters; longer than any file of the standard library
_PART = 100_000  # characters of a part of a longer file


@dataclass(frozen=True)
class CorpusConfig:
    """Which text, how it is cut into tokens, and which part of it training never sees."""

    kind: ClassVar[str] = "text"
    repeats: ClassVar[bool] = True

    source: str = STDLIB  # or a folder (its *.py and *.txt files, at any depth), or one text file
    n_vocab: int = 512  # the output layer is most of a small model's cost
    held_out_share: float = 0.1  # of files

    def __post_init__(self) -> None:
        if not _BYTES < self.n_vocab <= _MOST:
            raise ParameterError(
                f"n_vocab must be over {_BYTES} (every byte and a start token) and at most {_MOST}, got {self.n_vocab}"
            )
        if not 0.0 < self.held_out_share < 1.0:
            raise ParameterError(f"held_out_share must lie between 0 and 1, got {self.held_out_share}")

    def build(self) -> "Corpus":
        """Reads the files, learns the vocabulary, tokenises."""
        return build_corpus(self)


@dataclass(frozen=True)
class Corpus(Data):
    """A vocabulary, the training files' tokens and the held-out files' tokens."""

    n_vocab: int
    train: Split
    held_out: Split
    vocabulary: Tokenizer
    source: str = STDLIB

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every token and file bound: equal exactly when two corpora would train alike."""
        digest = hashlib.sha256()
        for split in (self.train, self.held_out):
            digest.update(split.tokens.tobytes() + split.bounds.tobytes())
        return digest.hexdigest()[:16]

    @property
    def description(self) -> str:
        """Whose text."""
        return f"held-out files of {self.source}, untouched"

    def draw(self, rng: np.random.Generator, n: int, length: int) -> NDArray[np.int64]:
        """Stretches of one training file each, cut anywhere in it, (n, length)."""
        return self.train.draw(rng, n, length)

    def draw_held_out(self, n: int, length: int, seed: int) -> NDArray[np.int64]:
        """Different stretches of held-out files, (n, length)."""
        return self.held_out.draw_different(n, length, seed)

    def token_counts(self) -> NDArray[np.int64]:
        """Occurrences in the training files, (n_vocab,)."""
        return np.bincount(self.train.tokens, minlength=self.n_vocab)

    def text_of(self, token: int) -> str:
        """The token's characters."""
        return str(self.vocabulary.decode([token], skip_special_tokens=False))


def build_corpus(config: CorpusConfig) -> Corpus:
    """Read the files, learn the vocabulary, tokenise.

    Raises
    ------
    MissingDataError
        The source has no text files, or too few for both sides of the split.
    """
    files = dict(read_texts(config.source))
    texts, held_out = files, held_out_of(files, config.held_out_share)
    if len(held_out) in (0, len(files)):  # few files: a hundred parts of them all
        length = max(1, -(-sum(map(len, files.values())) // 100))
        texts = {part: text for name, whole in files.items() for part, text in parts(name, whole, length)}
        held_out = held_out_of(texts, config.held_out_share)
    training = [text for name, text in texts.items() if name not in held_out]
    if not held_out or not training:
        raise MissingDataError(
            f"source {config.source!r} has {len(files)} text files (.py, .txt) of {sum(map(len, files.values()))}"
            " characters in all; some are to be held out: name a folder with more text"
        )
    vocabulary = learn_vocabulary(training, config.n_vocab)
    return Corpus(
        n_vocab=config.n_vocab,
        train=_tokenise(vocabulary, training),
        held_out=_tokenise(vocabulary, [texts[name] for name in texts if name in held_out]),
        vocabulary=vocabulary,
        source=config.source,
    )


def root_of(source: str) -> Path:
    """The file or folder that a source names; one that is not there is refused."""
    root = Path(sysconfig.get_path("stdlib") if source == STDLIB else source)
    if not root.exists():
        raise MissingDataError(f"source {source!r} is neither {STDLIB!r} nor a file or folder that exists")
    return root


def read_texts(source: str) -> Iterator[tuple[str, str]]:
    """Name and text of every file, or part of a long one, in the order of names; what is not UTF-8 is passed over."""
    root = root_of(source)
    if root.is_file():
        # One long text: its parts stand in for files, so that a part of it can be held out.
        text = root.read_text("utf-8")
        yield from parts(root.name, text, max(1, -(-len(text) // 100)))
        return
    for path in sorted(path for path in root.rglob("*") if path.suffix in {".py", ".txt"} and path.is_file()):
        name = path.relative_to(root)
        if source == STDLIB and (path.suffix == ".txt" or _NOT_CODE & set(name.parts)):
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if len(text) > _LONG:
            yield from parts(name.as_posix(), text, _PART)
        else:
            yield name.as_posix(), text


def parts(name: str, text: str, length: int) -> Iterator[tuple[str, str]]:
    """Name and text of each part of a file, `length` characters but for the last."""
    return ((f"{name}:{start}", text[start : start + length]) for start in range(0, len(text), length))


def held_out_of(names: Iterable[str], share: float) -> set[str]:
    """Those that are held out."""
    return {name for name in names if is_held_out(name, share)}


def is_held_out(name: str, share: float) -> bool:
    """Whether a hash of the name, spread evenly over [0, 1), falls below `share`."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) < share * 2**64


def learn_vocabulary(texts: list[str], n_vocab: int) -> Tokenizer:
    """Byte-level BPE with the start token as id 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab, special_tokens=["<start>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _tokenise(vocabulary: Tokenizer, texts: list[str]) -> Split:
    files = [np.asarray(encoded.ids, dtype=np.uint16) for encoded in vocabulary.encode_batch(texts)]
    return Split(np.concatenate(files), np.cumsum([0, *map(len, files)]))
