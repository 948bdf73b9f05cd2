"""Fixed tokens a run is looked at with, and the looking, which leaves the run as it was.

`repeated` (Olsson 2022): 25 random tokens, without the most and least common ones, repeated 4 times, a start token in
front: length 101, 10 examples. Its patterns are archived, and its losses. On the paper's probe a head that looks a
fixed 24 tokens back scores like an induction head, so here the length of what is repeated differs from example to
example, 15 to 35 around the paper's 25, and fills the same 100 tokens; `length_spread=0` is the paper's own.
`text`: held-out sequences as they are; their losses are archived.

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
from phaseflow.metrics import prefix_matching_score
from phaseflow.training.model import Transformer

CHUNK = 16  # examples of one forward pass: their logits are what fills memory


@dataclass(frozen=True)
class ProbeConfig:
    """Size and seed of the probes."""

    n_repeated: int = 10  # Olsson 2022
    repeat_length: int = 25  # Olsson 2022; the mean over examples
    length_spread: float = 0.4  # of repeat_length, up and down: no fixed distance serves all examples; 0 in the paper
    n_repeats: int = 4  # Olsson 2022
    common_share: float = 0.1  # of the vocabulary, left out at either end; the paper names no number
    n_text: int = 256  # the same at every checkpoint, so most of their scatter cancels between checkpoints
    seed: int = 0  # not the run's: runs that differ in seed are looked at with the same tokens

    def __post_init__(self) -> None:
        for name in ("n_repeated", "repeat_length", "n_repeats", "n_text"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.length_spread < 1.0:
            raise ParameterError(f"length_spread must lie in [0, 1), got {self.length_spread}")

    @property
    def n_tokens(self) -> int:
        """Tokens of a repeated example, without its start token."""
        return self.repeat_length * self.n_repeats

    def lengths(self) -> NDArray[np.int64]:
        """What each example repeats, in tokens, (example,): evenly spread around `repeat_length`."""
        spread = self.length_spread if self.n_repeated > 1 else 0.0
        lengths = np.rint(self.repeat_length * np.linspace(1 - spread, 1 + spread, self.n_repeated))
        return np.maximum(lengths, 1).astype(np.int64)

    @property
    def description(self) -> str:
        """Of the repeated probe, for people."""
        shortest, longest = self.lengths().min(), self.lengths().max()
        if shortest == longest:
            return f"{longest} random tokens {self.n_repeats} times (Olsson 2022)"
        return f"{shortest} to {longest} random tokens repeated to {self.n_tokens} (after Olsson 2022)"


def repeated_tokens(counts: NDArray[np.int64], bos: int, config: ProbeConfig) -> NDArray[np.int64]:
    """The repeated probe, (example, 1 + n_tokens), of a vocabulary whose tokens occur `counts` (vocab,) times."""
    by_count = np.argsort(-counts, kind="stable")
    edge = round(config.common_share * len(counts))
    candidates = by_count[edge : len(counts) - edge]
    candidates = candidates[candidates != bos]
    lengths = config.lengths()
    if len(candidates) < lengths.max():
        raise ParameterError(
            f"{lengths.max()} tokens are to be repeated, the vocabulary has {len(candidates)} neither among"
            f" the most nor the least common: a larger n_vocab or a smaller common_share or repeat_length helps"
        )
    rng = np.random.default_rng(config.seed)
    examples = [np.resize(rng.choice(candidates, length, replace=False), config.n_tokens) for length in lengths]
    return np.concatenate([np.full((config.n_repeated, 1), bos), np.stack(examples)], axis=1)


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint shows on the probes: patterns as float16, one a layer; per-token losses in nats as float32."""

    attention: dict[str, list[Tensor]]
    per_token_loss: dict[str, Tensor]


def evaluate(model: Transformer, tokens: Mapping[str, Tensor], with_patterns: frozenset[str]) -> Evaluation:
    """Losses on every probe and patterns on those of `with_patterns`; neither weights, mode nor random state change."""
    training = model.training
    model.eval()
    attention: dict[str, list[Tensor]] = {}
    losses: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, probe in tokens.items():
            if name in with_patterns:
                attention[name], losses[name] = patterns_and_losses(model, probe)
            else:
                losses[name] = per_token_loss(model, probe).cpu()
    model.train(training)
    return Evaluation(attention, losses)


def patterns_and_losses(model: Transformer, tokens: Tensor) -> tuple[list[Tensor], Tensor]:
    """Both of one pass over a few examples at a time, on the CPU: patterns as float16, losses as `per_token_loss`."""
    layers, losses = [], []
    for chunk in torch.split(tokens, CHUNK):
        logits, patterns = model.observed(chunk)
        losses.append(losses_of(logits[:, :-1], chunk[:, 1:]).cpu())
        layers.append([pattern.half().cpu() for pattern in patterns])
    return [torch.cat(layer) for layer in zip(*layers, strict=True)], torch.cat(losses)


def per_token_loss(model: Transformer, tokens: Tensor) -> Tensor:
    """Losses in nats, (batch, pos - 1), a few examples at a time; column i is of predicting `tokens[:, i + 1]`."""
    return torch.cat([losses_of(model(chunk[:, :-1]), chunk[:, 1:]) for chunk in torch.split(tokens, CHUNK)])


def losses_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Losses in nats, (batch, pos), of logits (batch, pos, vocab)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


def best_prefix_matching(patterns: list[Tensor], tokens: NDArray[np.int64], bos: int) -> float:
    """Prefix matching score of the best head, 0 to 1, of `patterns` of `tokens`: a figure for the progress bar."""
    scores = [prefix_matching_score(pattern.numpy(), tokens, bos=bos).max() for pattern in patterns]
    return float(max(scores))
