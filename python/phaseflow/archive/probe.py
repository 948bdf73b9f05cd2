"""A probe: the fixed tokens on which every checkpoint of a run is looked at."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow._core import Shard, checksum, write_shard
from phaseflow.archive.host import on_host
from phaseflow.exceptions import CorruptArchiveError, DtypeError, ShapeError

_VOCABULARY = "vocabulary"


@dataclass(frozen=True, eq=False)
class Probe:
    """Fixed tokens, evaluated at every checkpoint.

    Attributes
    ----------
    tokens : ndarray of int64, (batch, pos)
        Token ids; any integer array is taken, copied and made read-only.
    bos : int or None
        Id of the start-of-sequence token, which is neither query nor target of a score.
    description : str
        For people.
    vocabulary : dict of int to str, or None
        Text of each token id that occurs, so that tables and figures can show what was read.
    tokens_hash : str
        Checksum of shape and tokens: two probes with the same one have the same tokens.

    Examples
    --------
    >>> probe = Probe([[0, 5, 7, 5, 7]], bos=0)
    >>> probe.tokens.shape
    (1, 5)
    """

    tokens: NDArray[np.int64]
    bos: int | None = None
    description: str = ""
    vocabulary: Mapping[int, str] | None = None
    tokens_hash: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given: NDArray[Any] = np.asarray(on_host(self.tokens))
        if given.dtype.kind not in "iu":
            raise DtypeError(f"tokens has dtype {given.dtype}, expected integers")
        if given.ndim != 2 or given.size == 0:
            raise ShapeError(f"tokens has shape {given.shape}, expected (batch, pos), neither of them 0")
        if given.dtype == np.uint64 and bool((given > np.iinfo(np.int64).max).any()):
            raise DtypeError("tokens has ids beyond int64")
        tokens = np.array(given, dtype=np.int64, order="C")
        tokens.flags.writeable = False
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "bos", None if self.bos is None else int(self.bos))
        object.__setattr__(self, "tokens_hash", checksum(repr(tokens.shape).encode() + tokens.tobytes()))

    def text(self, ids: Iterable[int]) -> str:
        """The text of some tokens in a row; an id without a text is written in angle brackets."""
        known = self.vocabulary or {}
        return "".join(known.get(int(token), f"<{int(token)}>") for token in ids)


def write_probe(path: Path, probe: Probe) -> None:
    """Put the tokens in a shard of their own."""
    flat = probe.tokens.reshape(-1).view(np.uint8)
    notes = {} if probe.vocabulary is None else {_VOCABULARY: json.dumps({**probe.vocabulary}, ensure_ascii=False)}
    write_shard(path, [("tokens", "int64", probe.tokens.shape, flat)], notes)


def read_probe(path: Path, *, bos: int | None, description: str, tokens_hash: str) -> Probe:
    """Read the tokens back; they must still have the hash that the manifest names.

    Raises
    ------
    PhaseflowError, OSError
        When they cannot be read or are others.
    """
    shard = Shard(path)
    stored = shard.notes.get(_VOCABULARY)
    vocabulary = None if stored is None else {int(token): text for token, text in json.loads(stored).items()}
    probe = Probe(np.asarray(shard.tensor("tokens")), bos=bos, description=description, vocabulary=vocabulary)
    if probe.tokens_hash != tokens_hash:
        raise CorruptArchiveError(
            f"{path}: tokens: expected hash {tokens_hash}, found {probe.tokens_hash}; restore the file from a copy"
        )
    return probe
