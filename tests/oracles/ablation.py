"""Ablations the slow way: by editing a copy's weights, and by a forward pass over single heads with given patterns."""

import copy

import torch

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
        _, patterns = reference(model, tokens)
        norm = normalise if model.config.layer_norm else lambda x: x
        x = model.W_E[tokens]
        if model.config.positions == "learned":
            x = x + model.W_pos[: tokens.shape[1]]
        for number, attention in enumerate(model.attention):
            added = torch.zeros_like(x)
            for each in range(model.config.n_heads):
                if (number, each) != (layer, head):
                    pattern = patterns[number][:, each]
                    added = added + pattern @ norm(x) @ attention.W_V[each] @ attention.W_O[each]
            x = x + added
            if model.config.d_mlp:
                mlp = model.mlp[number]
                x = x + torch.clamp(norm(x) @ mlp.W_in + mlp.b_in, min=0) @ mlp.W_out + mlp.b_out
        return norm(x) @ model.W_U
