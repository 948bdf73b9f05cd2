"""Fixed tokens a run is looked at with, and the looking, which leaves the run as it was.

`repeated` (Olsson 2022): 25 random tokens, without the most and least common ones, repeated 4 times, a start token in
front: length 101, 10 examples. Its patterns are archived, and its losses. `text`: held-out text as it is; its losses
are archived.

**Convention**: `per_token_loss[:, i]` is the loss, in nats, of predicting `tokens[:, i + 1]`: of the (i + 1)-th
predicted token, counted from 1. With the start token in front, that is the (i + 1)-th token of the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from phaseflow.exceptions import ParameterError
from phaseflow.training.corpus import BOS, Split
from phaseflow.training.model import Transformer

CHUNK = 16  # examples of one forward pass: their logits are what fills memory


@dataclass(frozen=True)
class ProbeConfig:
    """Size and seed of the probes."""

    n_repeated: int = 10  # Olsson 2022
    repeat_length: int = 25  # Olsson 2022
    n_repeats: int = 4  # Olsson 2022
    common_share: float = 0.1  # of the vocabulary, left out at either end; the paper names no number
    n_text: int = 256  # the same at every checkpoint, so most of their scatter cancels between checkpoints
    seed: int = 0  # not the run's: runs that differ in seed are looked at with the same tokens


def repeated_tokens(train: Split, n_vocab: int, config: ProbeConfig) -> NDArray[np.int64]:
    """The repeated probe, (example, 1 + repeat_length * n_repeats)."""
    by_count = np.argsort(-np.bincount(train.tokens, minlength=n_vocab), kind="stable")
    edge = round(config.common_share * n_vocab)
    candidates = by_count[edge : n_vocab - edge]
    candidates = candidates[candidates != BOS]
    if len(candidates) < config.repeat_length:
        raise ParameterError(
            f"repeat_length is {config.repeat_length}, the vocabulary has {len(candidates)} tokens neither among"
            f" the most nor the least common: a larger n_vocab or a smaller common_share helps"
        )
    rng = np.random.default_rng(config.seed)
    once = np.stack([rng.choice(candidates, config.repeat_length, replace=False) for _ in range(config.n_repeated)])
    return np.concatenate([np.full((config.n_repeated, 1), BOS), np.tile(once, config.n_repeats)], axis=1)


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint shows on the probes: patterns as float16, one a layer; per-token losses in nats as float32."""

    attention: dict[str, list[Tensor]]
    per_token_loss: dict[str, Tensor]


def evaluate(model: Transformer, tokens: Mapping[str, Tensor], with_patterns: frozenset[str]) -> Evaluation:
    """Losses on every probe and patterns on those of `with_patterns`; neither weights, mode nor random state change."""
    training = model.training
    model.eval()
    with torch.no_grad():
        attention = {name: [p.half().cpu() for p in model.patterns(tokens[name])] for name in sorted(with_patterns)}
        losses = {name: per_token_loss(model, probe).cpu() for name, probe in tokens.items()}
    model.train(training)
    return Evaluation(attention, losses)


def per_token_loss(model: Transformer, tokens: Tensor) -> Tensor:
    """Losses in nats, (batch, pos - 1), a few examples at a time; column i is of predicting `tokens[:, i + 1]`."""
    parts = []
    for chunk in torch.split(tokens, CHUNK):
        logits = model(chunk[:, :-1])  # (batch, pos - 1, vocab)
        losses = F.cross_entropy(logits.flatten(0, 1), chunk[:, 1:].flatten(), reduction="none")
        parts.append(losses.view(len(chunk), -1))
    return torch.cat(parts)


def best_prefix_matching(patterns: list[Tensor], repeat_length: int) -> float:
    """Prefix matching score of the best head on the repeated probe, 0 to 1: a figure for the progress bar.

    On this probe the targets of query q are q + 1 - repeat_length * k, k = 1, 2, ...; the archive's analysis measures
    the score for any tokens.
    """
    best = 0.0
    for pattern in patterns:
        n_pos = pattern.shape[-1]
        total = sum(
            pattern.diagonal(1 - distance, dim1=-2, dim2=-1)[..., 2:].float().sum(-1)  # keys 0 and 1 follow no copy
            for distance in range(repeat_length, n_pos - 1, repeat_length)
        )
        assert isinstance(total, Tensor)
        best = max(best, float((total / (n_pos - 1 - repeat_length)).mean(0).max()))
    return best
