"""A transformer written with plain loops over heads and explicit masks: slow, obvious, and differentiable by torch."""

import math

import torch


def reference(model, tokens):
    """Logits (batch, pos, vocab) and patterns, a list of (batch, head, query_pos, key_pos)."""
    config, n_pos = model.config, tokens.shape[1]
    x = model.W_E[tokens]
    if config.positions == "learned":
        x = x + model.W_pos[:n_pos]
    patterns = []
    for layer, attention in enumerate(model.attention):
        n = normalise(x) if config.layer_norm else x
        sees = config.position_layers is None or layer < config.position_layers
        added, of_layer = torch.zeros_like(x), []
        for head in range(config.n_heads):
            into = n
            if sees and config.positions == "press":
                into = n + config.position_scale * sinusoids(n_pos, config.d_model, config.position_base)
            q, k = into @ attention.W_Q[head], into @ attention.W_K[head]
            if sees and config.positions == "rotary":
                q, k = turned(q, config.position_base), turned(k, config.position_base)
            if config.smeared_keys:
                own = 1 / (1 + torch.exp(-attention.smear[head]))
                mixed = [k[:, 0]]
                mixed += [own * k[:, pos] + (1 - own) * k[:, pos - 1] for pos in range(1, n_pos)]
                k = torch.stack(mixed, dim=1)
            scores = torch.full((len(tokens), n_pos, n_pos), -math.inf, dtype=x.dtype)
            for query_pos in range(n_pos):
                for key_pos in range(query_pos + 1):
                    score = (q[:, query_pos] * k[:, key_pos]).sum(-1) / math.sqrt(config.d_head)
                    if sees and config.positions == "relative":
                        distance = min(query_pos - key_pos, config.relative_distances - 1)
                        score = score + 10 * attention.b_distance[head, distance]
                    scores[:, query_pos, key_pos] = score
            pattern = torch.exp(scores) / torch.exp(scores).sum(-1, keepdim=True)
            of_layer.append(pattern)
            added = added + pattern @ (n @ attention.W_V[head]) @ attention.W_O[head]
        patterns.append(torch.stack(of_layer, dim=1))
        x = x + added
        if config.d_mlp:
            n = normalise(x) if config.layer_norm else x
            mlp = model.mlp[layer]
            x = x + torch.clamp(n @ mlp.W_in + mlp.b_in, min=0) @ mlp.W_out + mlp.b_out
    return (normalise(x) if config.layer_norm else x) @ model.W_U, patterns


def normalise(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5)


def sinusoids(n_pos, d_model, base):
    rows = []
    for pos in range(n_pos):
        angles = [pos * base ** (-2 * pair / d_model) for pair in range(d_model // 2)]
        rows.append([math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])
    return torch.tensor(rows, dtype=torch.float64)


def turned(x, base):
    """Each pair (i, i + d_head / 2) as a complex number, times exp(1j * pos * frequency)."""
    half = x.shape[-1] // 2
    as_complex = torch.complex(x[..., :half], x[..., half:])
    angles = [[pos * base ** (-pair / half) for pair in range(half)] for pos in range(x.shape[-2])]
    angle = torch.tensor(angles, dtype=torch.float64)
    spun = as_complex * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([spun.real, spun.imag], dim=-1)
