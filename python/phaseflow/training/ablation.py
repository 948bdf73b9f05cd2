"""What a model loses without a head (Olsson 2022, "Ablations").

* **Full**: the head's result is zero, and everything after it is computed again.
* **Pattern-preserving**: likewise, but every head keeps the pattern it had in the whole model. What is left is the part
  of the head that reaches the output through values alone: an ablated previous-token head then no longer takes the
  induction heads with it, whose patterns it made.

Variants of a model that differ in the heads they lack run as one batch, each from the first layer in which it lacks
one: up to there it is the whole model, whose streams are computed once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from phaseflow import metrics
from phaseflow.exceptions import ShapeError
from phaseflow.training.model import Attention, Transformer, einsum, project
from phaseflow.training.probe import CHUNK


@dataclass(frozen=True)
class HeadAblations:
    """Losses in nats of predicting `tokens[:, 1:]`, on the CPU: of the whole model, and without each head alone."""

    whole: Tensor  # (batch, pos - 1)
    without: Tensor  # (layer, head, batch, pos - 1)


def ablate_every_head(model: Transformer, tokens: Tensor, *, preserve_patterns: bool) -> HeadAblations:
    """The losses of a model without each of its heads in turn.

    Parameters
    ----------
    model : Transformer
        Left as it is.
    tokens : Tensor (batch, pos)
        Integers, on the model's device.
    preserve_patterns : bool
        Whether the heads that stay keep the patterns of the whole model.

    Returns
    -------
    HeadAblations
    """
    n_layers, n_heads = model.config.n_layers, model.config.n_heads
    lacking_one = ~torch.eye(n_layers * n_heads, dtype=torch.bool).view(-1, n_layers, n_heads)
    keep = torch.cat([torch.ones_like(lacking_one[:1]), lacking_one])
    losses = torch.cat([each.cpu() for each in _losses(model, tokens, keep, preserve_patterns)], dim=1)
    return HeadAblations(losses[0], losses[1:].view(n_layers, n_heads, *losses.shape[1:]))


def logits_without(model: Transformer, tokens: Tensor, keep: Tensor, *, preserve_patterns: bool) -> Tensor:
    """Logits of variants of a model that lack some of its heads, (variant, batch, pos, vocab).

    Parameters
    ----------
    model : Transformer
    tokens : Tensor (batch, pos)
    keep : bool Tensor (variant, layer, head)
        False where a variant lacks a head.
    preserve_patterns : bool
        Whether the heads that stay keep the patterns of the whole model.

    Raises
    ------
    ShapeError
        `keep` does not have the model's layers and heads.
    """
    n_layers, n_heads = model.config.n_layers, model.config.n_heads
    if keep.ndim != 3 or keep.shape[1:] != (n_layers, n_heads):
        raise ShapeError(
            f"keep has shape {tuple(keep.shape)}, expected (variant, layer, head) = (any, {n_layers}, {n_heads})"
        )
    lacks = (~keep).any(-1).cpu()  # (variant, layer)
    # The layer from which a variant differs; one that lacks nothing differs nowhere.
    differs = torch.where(lacks.any(1), lacks.int().argmax(1), n_layers)
    keep = keep.to(tokens.device)
    with torch.no_grad():
        whole = _whole(model, tokens)
        parts = []
        for first in sorted(set(differs.tolist())):
            chosen = (differs == first).nonzero().squeeze(1)
            x = whole.streams[first].expand(len(chosen), -1, -1, -1)  # (variant, batch, pos, d_model)
            kept = keep[chosen.to(keep.device)].to(x.dtype)
            for layer in range(first, n_layers):
                # The first such layer reads what the whole model's reads: its patterns are the same.
                patterns = whole.patterns[layer] if preserve_patterns or layer == first else None
                x = _through_layer(model, layer, x, kept[:, layer], patterns)
            parts.append((chosen, model.normalise(x) @ model.W_U))
    logits = parts[0][1].new_empty(len(keep), *parts[0][1].shape[1:])
    for chosen, part in parts:
        logits[chosen.to(logits.device)] = part
    return logits


@dataclass(frozen=True)
class _Whole:
    streams: list[Tensor]  # entering each layer, then leaving the last, (batch, pos, d_model)
    patterns: list[Tensor]  # (batch, head, query_pos, key_pos)


def _whole(model: Transformer, tokens: Tensor) -> _Whole:
    streams, patterns = [model.embed(tokens)], []
    nothing_lacking = torch.ones(1, model.config.n_heads, dtype=streams[0].dtype, device=tokens.device)
    for layer in range(model.config.n_layers):
        patterns.append(_attention(model, layer).pattern(model.normalise(streams[-1]), model.table))
        streams.append(_through_layer(model, layer, streams[-1][None], nothing_lacking, patterns[-1])[0])
    return _Whole(streams, patterns)


def _through_layer(model: Transformer, layer: int, x: Tensor, keep: Tensor, patterns: Tensor | None) -> Tensor:
    """The streams (variant, batch, pos, d_model) after a layer with heads scaled by `keep` (variant, head)."""
    attention = _attention(model, layer)
    variants = x.shape[:2]
    n = model.normalise(x).flatten(0, 1)
    if patterns is None:
        patterns = attention.pattern(n, model.table)
        patterns = patterns.view(*variants, *patterns.shape[1:])
    v = project(n, attention.W_V)
    z = patterns @ v.reshape(*variants, *v.shape[1:])  # (variant, batch, head, pos, d_head)
    x = x + einsum("vbhpe,vh,hed->vbpd", z, keep, attention.W_O)
    return x + model.mlp[layer](model.normalise(x)) if model.config.d_mlp else x


def _attention(model: Transformer, layer: int) -> Attention:
    attention = model.attention[layer]
    assert isinstance(attention, Attention)
    return attention


def _losses(model: Transformer, tokens: Tensor, keep: Tensor, preserve_patterns: bool) -> Iterator[Tensor]:
    """(variant, batch, pos - 1) of a few examples at a time: all variants together fill the memory of one look."""
    for chunk in torch.split(tokens, max(1, CHUNK // len(keep))):
        logits = logits_without(model, chunk[:, :-1], keep, preserve_patterns=preserve_patterns)
        targets = chunk[:, 1:].expand(len(keep), -1, -1)
        yield F.cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none").view(targets.shape)


def copying_scores(model: Transformer, tokens: Tensor) -> NDArray[np.float64]:
    """:func:`phaseflow.copying_score` of every head, (layer, head), -1 to 1.

    Parameters
    ----------
    model : Transformer
    tokens : Tensor (batch, pos)
        Random tokens, none twice in an example, without a start token.
    """
    with torch.no_grad():
        whole = _whole(model, tokens)
        scores = []
        for layer, pattern in enumerate(whole.patterns):
            attention = _attention(model, layer)
            values = project(model.normalise(whole.streams[layer]), attention.W_V)
            arrays = (each.cpu().numpy() for each in (pattern, values, attention.W_O, model.W_U, tokens))
            scores.append(metrics.copying_score(*arrays))
    return np.stack(scores)
