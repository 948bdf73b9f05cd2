"""Training batches: which tokens a step sees depends on (seed, step) and nothing else.

A stated share of the sequences repeats a passage of itself: tokens [a, a + n) are copied over tokens [b, b + n),
a + n <= b, with a, b and n at random, so no fixed distance tells where the copy is. Held-out examples are never
touched.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phaseflow.exceptions import ParameterError
from phaseflow.training.data import Data


@dataclass(frozen=True)
class BatchConfig:
    """How training sequences are drawn."""

    batch_size: int = 8  # tokens up to the phase change grow like the root of tokens a step, so small is quick
    repeat_share: float = 0.0  # of sequences; 0 leaves the data as it is
    repeat_shortest: int = 32  # tokens; the longest repeated passage is half the context

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.repeat_shortest < 1:
            raise ParameterError(
                f"batch_size and repeat_shortest must be at least 1, got {self.batch_size} and {self.repeat_shortest}"
            )
        if not 0.0 <= self.repeat_share <= 1.0:
            raise ParameterError(f"repeat_share must lie in [0, 1], got {self.repeat_share}")


class Batches:
    """Training batches by step: `batches[step]` is (batch, context + 1) int64, the start token first."""

    def __init__(self, data: Data, config: BatchConfig, context: int, seed: int) -> None:
        if config.repeat_share and 2 * config.repeat_shortest > context:
            raise ParameterError(
                f"repeat_shortest is {config.repeat_shortest}, twice that does not fit into context {context}"
            )
        self.data, self.config, self.context, self.seed = data, config, context, seed

    def __getitem__(self, step: int) -> Tensor:
        rng = np.random.default_rng((self.seed, step))
        sequences = self.data.draw(rng, self.config.batch_size, self.context)
        for row in np.flatnonzero(rng.random(len(sequences)) < self.config.repeat_share):
            repeat_passage(sequences[row], rng, self.config.repeat_shortest)  # a view: changed in place
        return torch.from_numpy(self.data.with_start(sequences))


def repeat_passage(tokens: NDArray[np.int64], rng: np.random.Generator, shortest: int) -> None:
    """Copy a random passage of `tokens` (pos,) over a later, random place, in place."""
    length = int(rng.integers(shortest, len(tokens) // 2 + 1))
    first = int(rng.integers(0, len(tokens) - 2 * length + 1))
    second = int(rng.integers(first + length, len(tokens) - length + 1))
    tokens[second : second + length] = tokens[first : first + length]
