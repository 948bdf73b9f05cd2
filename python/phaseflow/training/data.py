"""What training asks of its data, whatever it is made of: sequences to learn from, and fixed ones to look at.

A source of data is a frozen `DataConfig`, which stands in the run's record, and the `Data` it builds. Nothing else of
training knows what the data is: batches, probes and the loop see this interface alone. What a step draws depends on
the random generator it hands over and on nothing else, so that a killed run goes on to the same sequences.

**Convention**: sequences leave `draw` without the start token, which batches and probes put in front.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from phaseflow.archive import Probe
from phaseflow.training import probe

if TYPE_CHECKING:
    from phaseflow.training.model import Transformer

BOS = 0  # id of the start token where the vocabulary is ours
TEXT = "text"  # the probe of held-out sequences: its losses are archived, not its patterns


class DataConfig(Protocol):
    """Names a source of data: a frozen dataclass. Equal configurations build data that train alike."""

    kind: ClassVar[str]  # in the record, to tell configurations apart
    repeats: ClassVar[bool]  # whether runs on it are looked at with Olsson's repeated tokens

    @property
    def n_vocab(self) -> int:
        """Size of the vocabulary, the start token included; that of the model."""

    def build(self) -> "Data":
        """The data itself: reads files, learns vocabularies."""


class Data(ABC):
    """Sequences to train on, and held-out ones."""

    n_vocab: int
    bos: int = BOS

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Equal exactly when two sources would train alike."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What the held-out examples are, for people."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, n: int, length: int) -> NDArray[np.int64]:
        """Training sequences, (n, length), a copy that the caller may change."""

    @abstractmethod
    def draw_held_out(self, n: int, length: int, seed: int) -> NDArray[np.int64]:
        """Different sequences that training never draws, (n, length); the same at every call."""

    def token_counts(self) -> NDArray[np.int64]:
        """How common each token is in training, (n_vocab,), in any unit."""
        return np.ones(self.n_vocab, dtype=np.int64)

    def text_of(self, token: int) -> str:
        """How a token reads."""
        return f"<{token}>" if token != self.bos else "<start>"

    def probes(self, config: probe.ProbeConfig, context: int) -> dict[str, Probe]:
        """The fixed tokens a run is looked at with: `text`, and one or more whose patterns are archived too."""
        repeated = probe.repeated_tokens(self.token_counts(), self.bos, config)
        return {
            "repeated": self.probe_of(repeated, config.description),
            TEXT: self.probe_of(self.with_start(self.draw_held_out(config.n_text, context, config.seed))),
        }

    def measures(self, model: "Transformer", tokens: Mapping[str, Tensor]) -> dict[str, float]:
        """What else a checkpoint shows on the probes `tokens`, as scalars; nothing for most data."""
        return {}

    def with_start(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """The start token in front of each sequence, (n, length + 1)."""
        return np.concatenate([np.full((len(sequences), 1), self.bos), sequences], axis=1)

    def probe_of(self, tokens: NDArray[np.int64], description: str | None = None) -> Probe:
        """A probe that knows how its tokens read."""
        vocabulary = {token: self.text_of(token) for token in np.unique(tokens).tolist()}
        described = self.description if description is None else description
        return Probe(tokens, bos=self.bos, vocabulary=vocabulary, description=described)


class Stream(Data):
    """Data that never end: all of them follow from a configuration and random numbers."""

    def __init__(self, config: DataConfig) -> None:
        self.n_vocab = config.n_vocab
        self.kind = config.kind

    @property
    def fingerprint(self) -> str:
        """The configuration says all."""
        return self.kind

    def draw_held_out(self, n: int, length: int, seed: int) -> NDArray[np.int64]:
        """Sequences of random numbers that no step of any run draws, (n, length)."""
        return self.draw(np.random.default_rng((seed, 0, 1)), n, length)
