"""Training batches, and fixed examples of held-out text: which tokens a step sees depends on (seed, step) and nothing
else.

A sequence is the start token and `context` tokens of one file, cut anywhere in it. A stated share of the *training*
sequences repeats a passage of itself: tokens [a, a + n) are copied over tokens [b, b + n), a + n <= b, with a, b and
n at random, so no fixed distance tells where the copy is. Held-out examples are never touched.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phaseflow.exceptions import MissingDataError, ParameterError
from phaseflow.training.corpus import BOS, Split


@dataclass(frozen=True)
class BatchConfig:
    """How training sequences are drawn."""

    batch_size: int = 8  # tokens up to the phase change grow like the root of tokens a step, so small is quick
    repeat_share: float = 0.0  # of sequences; 0 is plain text
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

    def __init__(self, split: Split, config: BatchConfig, context: int, seed: int) -> None:
        if config.repeat_share and 2 * config.repeat_shortest > context:
            raise ParameterError(
                f"repeat_shortest is {config.repeat_shortest}, twice that does not fit into context {context}"
            )
        self.split, self.config, self.context, self.seed = split, config, context, seed
        self.running = _windows(split, context)

    def __getitem__(self, step: int) -> Tensor:
        rng = np.random.default_rng((self.seed, step))
        index = rng.integers(self.running[-1], size=self.config.batch_size)
        text = self.split.window(self.running, index, self.context)
        for row in np.flatnonzero(rng.random(len(text)) < self.config.repeat_share):
            repeat_passage(text[row], rng, self.config.repeat_shortest)  # a view: changed in place
        return torch.from_numpy(_with_start(text))


def repeat_passage(text: NDArray[np.int64], rng: np.random.Generator, shortest: int) -> None:
    """Copy a random passage of `text` (pos,) over a later, random place, in place."""
    length = int(rng.integers(shortest, len(text) // 2 + 1))
    first = int(rng.integers(0, len(text) - 2 * length + 1))
    second = int(rng.integers(first + length, len(text) - length + 1))
    text[second : second + length] = text[first : first + length]


def held_out_examples(split: Split, n_examples: int, context: int, seed: int) -> NDArray[np.int64]:
    """Different windows of held-out text, (example, context + 1), the start token first."""
    running = _windows(split, context)
    if running[-1] < n_examples:
        raise MissingDataError(
            f"{n_examples} held-out examples asked for, but the held-out files have {running[-1]} windows"
            f" of {context} tokens"
        )
    index = np.random.default_rng(seed).choice(running[-1], n_examples, replace=False)
    return _with_start(split.window(running, index, context))


def _windows(split: Split, context: int) -> NDArray[np.int64]:
    running = split.windows(context)
    if running[-1] == 0:
        raise MissingDataError(f"no file has {context} tokens: name a source with longer files, or a shorter context")
    return running


def _with_start(text: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.full((len(text), 1), BOS), text], axis=1)
