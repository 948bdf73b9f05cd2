"""An endless stream of sequences that repeat: the plainest data that only induction can predict.

Each sequence is a passage of random tokens, as long as chance says, over and over until the context is full. The first
time through nothing can be known; afterwards every token follows from the one before it and its earlier copy. No fixed
distance tells where that copy is.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from phaseflow.exceptions import ParameterError
from phaseflow.training.data import BOS, Stream


@dataclass(frozen=True)
class RepeatsConfig:
    """How long the passages are, and of which tokens."""

    kind: ClassVar[str] = "repeats"
    repeats: ClassVar[bool] = True

    n_vocab: int = 256  # the start token and 255 others
    shortest: int = 8  # tokens of a passage
    longest: int = 32

    def __post_init__(self) -> None:
        if self.n_vocab < 3:
            raise ParameterError(f"n_vocab must be at least 3, the start token and two others, got {self.n_vocab}")
        if not 1 <= self.shortest <= self.longest:
            raise ParameterError(f"expected 1 <= shortest <= longest, got {self.shortest} and {self.longest}")

    def build(self) -> "Repeats":
        """The stream; there is nothing to read."""
        return Repeats(self)


class Repeats(Stream):
    """Repeated random passages, new ones in every batch."""

    def __init__(self, config: RepeatsConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def description(self) -> str:
        """What is repeated."""
        return f"{self.config.shortest} to {self.config.longest} random tokens over and over"

    def draw(self, rng: np.random.Generator, n: int, length: int) -> NDArray[np.int64]:
        """Sequences, (n, length)."""
        period = rng.integers(self.config.shortest, self.config.longest + 1, size=n)
        passage = rng.integers(BOS + 1, self.config.n_vocab, size=(n, self.config.longest))
        return np.take_along_axis(passage, np.arange(length) % period[:, None], axis=1)
