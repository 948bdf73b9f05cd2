"""Where a token stands: the four ways of telling a layer.

* `press`: sinusoids are added to the input of queries and keys only (Press et al. 2021, "Shortformer"), as in the small
  models of Elhage 2021; the residual stream carries no position.
* `rotary`: queries and keys are turned by an angle that grows with position (Su et al. 2021).
* `learned`: a trained vector is added to the residual stream.
* `relative`: a trained number that depends on head and distance alone is added to every attention score (Raffel et al.
  2020, "T5", without its buckets); all distances beyond the last share its number.
"""

from typing import Literal

import torch
from torch import Tensor

Positions = Literal["press", "rotary", "learned", "relative"]
POSITIONS: tuple[Positions, ...] = ("press", "rotary", "learned", "relative")


def distance_bias(by_distance: Tensor, n_pos: int) -> Tensor:
    """Biases (head, distance) laid out as (head, query_pos, key_pos), minus infinity in the future.

    A vector of length 2n written n times in a row and cut into rows of length 2n - 1 moves one step right a row: entry
    (q, k) is element k - q, modulo 2n. Gathering by an index table says the same and is many times slower backwards.
    """
    near = by_distance[:, :n_pos]
    past = torch.cat([near, near[:, -1:].expand(-1, n_pos - near.shape[1])], dim=1)  # (head, distance), n of them
    future = past.new_full((len(past), n_pos), -torch.inf)
    circle = torch.cat([past[:, :1], future, past[:, 1:].flip(1)], dim=1)  # (head, 2n)
    rows = circle[:, None].expand(-1, n_pos, -1).reshape(len(past), -1)[:, : n_pos * (2 * n_pos - 1)]
    return rows.view(len(past), n_pos, 2 * n_pos - 1)[:, :, :n_pos]


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Turn each pair (first half, second half) of (batch, head, pos, d_head) by its position's angle."""
    cosine, sine = positions  # each (pos, d_head / 2)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def position_table(kind: Positions, context: int, width: int, base: float) -> Tensor | None:
    """What layers look positions up in, for `context + 1` of them.

    `press`, of width d_model: sines and cosines, (pos, d_model); `rotary`, of width d_head: cosines, then sines,
    (2, pos, d_head / 2); otherwise None.
    """
    if kind not in ("press", "rotary"):
        return None
    pairs = width // 2
    positions, pair = torch.arange(context + 1), torch.arange(pairs)
    angle = positions[:, None] * base ** (-pair.double() / pairs)  # radians; float32 would lose digits far along
    table = torch.stack([angle.cos(), angle.sin()]) if kind == "rotary" else torch.cat([angle.sin(), angle.cos()], -1)
    return table.to(torch.get_default_dtype())
