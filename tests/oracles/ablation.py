"""Ablations the slow way: by editing a copy's weights, and by a forward pass over single heads with given patterns.

And copying scores, from the same pass.
"""

import copy

import numpy as np
import torch

from oracles.circuit import copying_score
from oracles.transformer import normalise, reference


def without_head_by_weights(model, tokens, layer, head):
    """Logits of the model with that head's W_O set to zero: a full ablation."""
    edited = copy.deepcopy(model)
    with torch.no_grad():
        edited.attention[layer].W_O[head] = 0
        return edited(tokens)


def without_head_given_patterns(model, tokens, layer, head):
    """Logits of a pattern-preserving ablation: patterns are looked up, head by head, never computed."""
    with torch.no_grad():
        *_, last = streams(model, tokens, (layer, head))
        return (normalise(last) if model.config.layer_norm else last) @ model.W_U


def streams(model, tokens, without=None):
    """What enters each layer and what leaves the last, (batch, pos, d_model), with the whole model's patterns."""
    _, patterns = reference(model, tokens)
    norm = normalise if model.config.layer_norm else lambda x: x
    x = model.W_E[tokens]
    if model.config.positions == "learned":
        x = x + model.W_pos[: tokens.shape[1]]
    yield x
    for number, attention in enumerate(model.attention):
        added = torch.zeros_like(x)
        for each in range(model.config.n_heads):
            if (number, each) != without:
                pattern = patterns[number][:, each]
                added = added + pattern @ norm(x) @ attention.W_V[each] @ attention.W_O[each]
        x = x + added
        if model.config.d_mlp:
            mlp = model.mlp[number]
            x = x + torch.clamp(norm(x) @ mlp.W_in + mlp.b_in, min=0) @ mlp.W_out + mlp.b_out
        yield x


def copying_scores(model, tokens):
    """(layer, head): what each head reads of the stream that enters its own layer."""
    with torch.no_grad():
        _, patterns = reference(model, tokens)
        scores = []
        for layer, x, pattern in zip(model.attention, streams(model, tokens), patterns):  # noqa: B905 (the last left)
            read = normalise(x) if model.config.layer_norm else x
            values = torch.stack([read @ W_V for W_V in layer.W_V], dim=1)
            arrays = (pattern, values, layer.W_O, model.W_U, tokens)
            scores.append(copying_score(*(array.numpy() for array in arrays)))
        return np.array(scores)
