"""A file of tokens, made by any tokenizer: `.npy`, or bare numbers in a row (`.bin`, as nanoGPT writes them).

The file is mapped, so it may be larger than memory: a step reads the windows it draws. Before training it is read once
whole, for its fingerprint, for the counts of its tokens, and to refuse a token that the vocabulary does not have. The
last part of the file is held out. Windows are cut anywhere in a part, across whatever separates documents in it.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from phaseflow.exceptions import DtypeError, MissingDataError, ParameterError, ShapeError
from phaseflow.training.data import BOS, Data
from phaseflow.training.split import Split

_BLOCK = 1 << 22  # tokens read at once: counting them takes eight bytes each


@dataclass(frozen=True)
class TokenFileConfig:
    """Which file, how its bytes are tokens, and which part of it training never sees."""

    kind: ClassVar[str] = "token file"
    repeats: ClassVar[bool] = True

    path: str
    n_vocab: int
    dtype: str | None = None  # of a .bin; None: uint16 there, what the header says in a .npy
    bos: int = BOS  # the token put in front of every sequence
    held_out_share: float = 0.1  # of the tokens, the last ones

    def __post_init__(self) -> None:
        if not 0 <= self.bos < self.n_vocab:
            raise ParameterError(f"bos is {self.bos}, expected a token of the vocabulary, 0 to {self.n_vocab - 1}")
        if not 0.0 < self.held_out_share < 1.0:
            raise ParameterError(f"held_out_share must lie between 0 and 1, got {self.held_out_share}")

    def build(self) -> "TokenFile":
        """Reads the file once, from its first to its last token."""
        tokens = mapped_tokens(self)
        n_train = round(len(tokens) * (1 - self.held_out_share))
        digest = hashlib.sha256(f"{n_train}".encode())
        counts = np.zeros(self.n_vocab, dtype=np.int64)
        for start in range(0, len(tokens), _BLOCK):
            block = np.asarray(tokens[start : start + _BLOCK])
            lowest, highest = int(block.min()), int(block.max())
            if lowest < 0 or highest >= self.n_vocab:
                raise ParameterError(
                    f"{self.path} has token {lowest if lowest < 0 else highest} among tokens {start} to"
                    f" {start + len(block) - 1}, expected 0 to n_vocab - 1 = {self.n_vocab - 1}: is dtype right?"
                )
            digest.update(block.astype("<i8").tobytes())  # the same tokens in other bytes are the same data
            counts += np.bincount(block[: max(n_train - start, 0)], minlength=self.n_vocab)
        return TokenFile(self, digest.hexdigest()[:16], counts)


class TokenFile(Data):
    """What was learned from reading the file once; the file itself is mapped again in every process."""

    def __init__(self, config: TokenFileConfig, fingerprint: str, counts: NDArray[np.int64]) -> None:
        self.config, self.n_vocab, self.bos = config, config.n_vocab, config.bos
        self.counts = counts  # (n_vocab,), of the training part
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        """Hash of every token, and of where the held-out part begins."""
        return self._fingerprint

    @property
    def description(self) -> str:
        """Which file."""
        return f"the last {self.config.held_out_share:.0%} of {self.config.path}"

    @cached_property
    def parts(self) -> tuple[Split, Split]:
        """Training and held-out part."""
        tokens = mapped_tokens(self.config)
        cut = int(self.counts.sum())
        return tuple(Split(part, np.array([0, len(part)])) for part in (tokens[:cut], tokens[cut:]))  # type: ignore[return-value]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "parts"}  # not the file's tokens

    def draw(self, rng: np.random.Generator, n: int, length: int) -> NDArray[np.int64]:
        """Windows of the training part, (n, length)."""
        return self.parts[0].draw(rng, n, length)

    def draw_held_out(self, n: int, length: int, seed: int) -> NDArray[np.int64]:
        """Different windows of the held-out part, (n, length)."""
        return self.parts[1].draw_different(n, length, seed)

    def token_counts(self) -> NDArray[np.int64]:
        """Occurrences in the training part, (n_vocab,)."""
        return self.counts


def mapped_tokens(config: TokenFileConfig) -> NDArray[np.integer[Any]]:
    """The file's tokens, (token,), read when they are looked at."""
    path = Path(config.path)
    if path.suffix not in (".npy", ".bin"):
        raise ParameterError(f"path is {config.path!r}, expected a .npy or .bin file of tokens")
    if not path.is_file() or path.stat().st_size == 0:
        raise MissingDataError(f"{config.path} {'is empty' if path.is_file() else 'is not a file'}")
    tokens: NDArray[Any]
    if path.suffix == ".npy":
        try:
            tokens = np.load(path, mmap_mode="r")
        except (ValueError, EOFError) as error:  # no header, or Python objects, which are never loaded
            raise DtypeError(f"{config.path} is no .npy file of integers: {error}") from error
        if config.dtype is not None and tokens.dtype != np.dtype(config.dtype):
            raise DtypeError(f"{config.path} holds {tokens.dtype}, dtype says {config.dtype}: leave dtype out")
    else:
        dtype = np.dtype(config.dtype or np.uint16)
        if path.stat().st_size % dtype.itemsize:
            raise DtypeError(f"{config.path} has {path.stat().st_size} bytes, no whole number of {dtype}")
        tokens = np.memmap(path, dtype=dtype, mode="r")
    if tokens.dtype.kind not in "iu":
        raise DtypeError(f"{config.path} holds {tokens.dtype}, expected integers")
    if tokens.ndim != 1:
        raise ShapeError(f"{config.path} has shape {tokens.shape}, expected (token,)")
    return tokens
