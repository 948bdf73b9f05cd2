"""A decoder-only transformer of 1 to N layers whose weights lie open, in the shapes of TransformerLens.

    x = W_E[tokens]                                        residual stream, (batch, pos, d_model)
    per layer:   x = x + sum over heads of pattern @ (n W_V) W_O,   pattern = causal softmax(q k / sqrt(d_head))
                 x = x + relu(n W_in + b_in) W_out + b_out          only with `d_mlp`
    logits = n W_U

`n` is the normalised stream: LayerNorm without gain or bias (nothing to fold into the weights later), or the stream
itself. Rows multiply from the left: W_E (vocab, d_model), W_Q W_K W_V (head, d_model, d_head), W_O (head, d_head,
d_model), W_U (d_model, vocab). No biases in attention, as in Elhage 2021.

With `smeared_keys` (Olsson 2022) a head meets a mix of each key with the one before, by one trained number `alpha` a
head: k_j <- sigmoid(alpha) k_j + (1 - sigmoid(alpha)) k_{j-1}; the first key stays. What an induction head needs of
an earlier layer is then at hand, so one layer may do what otherwise takes two. Mixed is what queries meet: keys as
the positions left them.

The ways of telling positions are in `positions`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phaseflow.exceptions import MissingDataError, ParameterError, ShapeError
from phaseflow.training.positions import POSITIONS, Positions, distance_bias, position_table, rotate

_RELATIVE_GAIN = (
    10.0  # a bias has to travel several units, a weight a fraction of one: this lets one learning rate do both
)


@dataclass(frozen=True)
class ModelConfig:
    """Shape and initial state of a model; it names everything `Transformer` needs besides a seed."""

    n_vocab: int
    context: int  # predicted tokens of a sequence; the model reads one more, the start token
    n_layers: int = 2  # the fewest that can compose a previous-token head with an induction head
    n_heads: int = 4
    d_model: int = 64
    d_mlp: int | None = None  # attention only: every change of behaviour is then a change of some head
    positions: Positions = "relative"  # a previous-token head is one number away: it forms within a million tokens
    position_layers: int | None = None  # only the first so many layers see positions; None: all of them
    relative_distances: int = 32  # near distances told apart; far ones need no telling apart by position alone
    position_base: float = 10_000.0  # longest over shortest wavelength; lower gives more dimensions to near tokens
    position_scale: float = 1.0  # root of two times the size of one coordinate: the size of normalised content
    smeared_keys: bool = False  # the paper's intervention: an experiment, not how models are built
    layer_norm: bool = True  # bears higher learning rates; without it the stream is linear, as in Elhage 2021
    init_scale: float = 1.0  # times 1/sqrt(rows summed over): each product keeps the size of what enters it

    def __post_init__(self) -> None:
        for name in ("n_vocab", "context", "n_layers", "n_heads", "d_model", "relative_distances"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.positions not in POSITIONS:
            raise ParameterError(f"positions must be one of {', '.join(POSITIONS)}, got {self.positions!r}")
        if self.d_model % self.n_heads:
            raise ParameterError(f"d_model must be a multiple of n_heads, got {self.d_model} and {self.n_heads}")
        if self.positions == "learned" and self.position_layers is not None:
            raise ParameterError(
                "learned positions enter the stream, so every layer sees them: leave position_layers None"
            )
        if (self.positions == "rotary" and self.d_head % 2) or (self.positions == "press" and self.d_model % 2):
            raise ParameterError(f"{self.positions} positions come in pairs: d_model (rotary: d_head) must be even")

    @property
    def d_head(self) -> int:
        """Width of one head: the heads of a layer together are as wide as the stream."""
        return self.d_model // self.n_heads


class Attention(nn.Module):
    """One attention layer; `forward` uses the fused kernel where it can, `pattern` spells the softmax out."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        heads, d_model, d_head = config.n_heads, config.d_model, config.d_head
        scale = config.init_scale / d_model**0.5
        self.W_Q = nn.Parameter(torch.randn(heads, d_model, d_head) * scale)
        self.W_K = nn.Parameter(torch.randn(heads, d_model, d_head) * scale)
        self.W_V = nn.Parameter(torch.randn(heads, d_model, d_head) * scale)
        self.W_O = nn.Parameter(torch.randn(heads, d_head, d_model) * scale / (2 * config.n_layers) ** 0.5)
        sees = config.position_layers is None or layer < config.position_layers
        self.positions: Positions | None = config.positions if sees else None
        if self.positions == "relative":
            self.b_distance = nn.Parameter(torch.zeros(heads, config.relative_distances))
        # Half and half: as far from one key as from the other. It draws nothing, so the other weights are those of the
        # same seed without it.
        self.smear = nn.Parameter(torch.zeros(heads)) if config.smeared_keys else None

    def forward(self, n: Tensor, table: Tensor | None) -> Tensor:
        """What the layer adds to the normalised stream `n`, both (batch, pos, d_model)."""
        v = project(n, self.W_V)
        if self.positions == "relative":
            return self.moved(v, self.pattern(n, table))  # the fused kernel has no gradient for a bias
        q, k = self.queries_and_keys(n, table)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (batch, head, pos, d_head)
        # The kernel leaves the heads of a position side by side: all of W_O is one product, and nothing is copied.
        return z.transpose(1, 2).flatten(2) @ self.W_O.flatten(0, 1)

    def moved(self, v: Tensor, pattern: Tensor) -> Tensor:
        """What values `v` (batch, head, key_pos, d_head) add to the stream by a pattern, (batch, pos, d_model)."""
        return einsum("bhpe,hed->bpd", pattern @ v, self.W_O)

    def pattern(self, n: Tensor, table: Tensor | None) -> Tensor:
        """The attention pattern, (batch, head, query_pos, key_pos)."""
        q, k = self.queries_and_keys(n, table)
        scores: Tensor = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if self.positions == "relative":
            scores = scores + distance_bias(_RELATIVE_GAIN * self.b_distance, scores.shape[-1])
        else:
            future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(future, -torch.inf)
        return torch.softmax(scores, -1)

    def queries_and_keys(self, n: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
        """Of the normalised stream (batch, pos, d_model): two of (batch, head, pos, d_head)."""
        if self.positions == "press":
            assert table is not None
            n = n + table[: n.shape[1]]
        q, k = project(n, self.W_Q), project(n, self.W_K)
        if self.positions == "rotary":
            assert table is not None
            q, k = rotate(q, table[:, : n.shape[1]]), rotate(k, table[:, : n.shape[1]])
        return q, k if self.smear is None else smeared(k, self.smear)


class MLP(nn.Module):
    """Two matrices with a ReLU between them."""

    def __init__(self, config: ModelConfig, d_mlp: int) -> None:
        super().__init__()
        scale_in, scale_out = config.init_scale / config.d_model**0.5, config.init_scale / d_mlp**0.5
        self.W_in = nn.Parameter(torch.randn(config.d_model, d_mlp) * scale_in)
        self.b_in = nn.Parameter(torch.zeros(d_mlp))
        self.W_out = nn.Parameter(torch.randn(d_mlp, config.d_model) * scale_out / (2 * config.n_layers) ** 0.5)
        self.b_out = nn.Parameter(torch.zeros(config.d_model))

    def forward(self, n: Tensor) -> Tensor:
        """What the layer adds to the stream, (batch, pos, d_model)."""
        return F.relu(n @ self.W_in + self.b_in) @ self.W_out + self.b_out


class Transformer(nn.Module):
    """Tokens (batch, pos), a start token first, to logits (batch, pos, vocab) for the token after each."""

    table: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.W_E = nn.Parameter(torch.randn(config.n_vocab, config.d_model) * config.init_scale / config.d_model**0.5)
        self.W_U = nn.Parameter(torch.randn(config.d_model, config.n_vocab) * config.init_scale / config.d_model**0.5)
        self.attention = nn.ModuleList(Attention(config, layer) for layer in range(config.n_layers))
        self.mlp = nn.ModuleList(MLP(config, config.d_mlp) for _ in range(config.n_layers) if config.d_mlp)
        if config.positions == "learned":
            self.W_pos = nn.Parameter(torch.randn(config.context + 1, config.d_model) * config.position_scale * 0.02)
        width = config.d_head if config.positions == "rotary" else config.d_model
        table = position_table(config.positions, config.context, width, config.position_base)
        if table is not None and config.positions == "press":
            table = table * config.position_scale
        self.register_buffer("table", table, persistent=False)  # follows the model to its device

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, (batch, pos, vocab)."""
        return self._run(tokens, None)

    def patterns(self, tokens: Tensor) -> list[Tensor]:
        """Attention patterns of every layer, each (batch, head, query_pos, key_pos)."""
        return self.observed(tokens)[1]

    def observed(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and the patterns of every layer, of one pass; the softmax is spelt out, so logits differ by rounding
        from what `forward` gives.
        """
        kept: list[Tensor] = []
        return self._run(tokens, kept), kept

    def weights(self) -> dict[str, Tensor]:
        """Every parameter by its name in an archive: `W_E`, `W_U`, `W_Q/L00`, `W_in/L00`, ... (no copies)."""
        return {archive_name(name): weight.detach() for name, weight in self.named_parameters()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Takes over what `weights` of a model of the same configuration gave; one missing or too many is refused."""
        own = self.weights()
        missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
        if missing or unknown:
            differing = [
                f"{what}: {', '.join(names)}"
                for what, names in zip(("missing", "unknown"), (missing, unknown), strict=True)
                if names
            ]
            raise MissingDataError(f"these are not the weights of this model; {'; '.join(differing)}")
        for name, weight in own.items():
            if weight.shape != weights[name].shape:
                raise ShapeError(f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(weight.shape)}")
            weight.copy_(weights[name])

    def embed(self, tokens: Tensor) -> Tensor:
        """The residual stream that enters the first layer, (batch, pos, d_model)."""
        n_pos = tokens.shape[1]
        if n_pos > self.config.context + 1:
            raise ShapeError(f"tokens have {n_pos} positions; context {self.config.context} allows one more than that")
        x = F.embedding(tokens, self.W_E)
        return x + self.W_pos[:n_pos] if self.config.positions == "learned" else x

    def normalise(self, x: Tensor) -> Tensor:
        """What a layer or the unembedding reads of a stream `x`, (batch, pos, d_model)."""
        return F.layer_norm(x, x.shape[-1:]) if self.config.layer_norm else x

    def _run(self, tokens: Tensor, kept: list[Tensor] | None) -> Tensor:
        x = self.embed(tokens)  # (batch, pos, d_model)
        for layer, attention in enumerate(self.attention):
            assert isinstance(attention, Attention)
            n = self.normalise(x)
            if kept is None:
                x = x + attention(n, self.table)
            else:
                kept.append(attention.pattern(n, self.table))
                x = x + attention.moved(project(n, attention.W_V), kept[-1])
            if self.config.d_mlp:
                x = x + self.mlp[layer](self.normalise(x))
        return self.normalise(x) @ self.W_U


def archive_name(parameter: str) -> str:
    """`attention.0.W_Q` as `W_Q/L00`; what belongs to no layer keeps its name."""
    *_, layer, name = ["", *parameter.split(".")]
    return f"{name}/L{int(layer):02d}" if layer else name


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """`torch.einsum`, which torch leaves without types."""
    result: Tensor = torch.einsum(equation, *operands)
    return result


def project(n: Tensor, weight: Tensor) -> Tensor:
    """(batch, pos, d_model) by (head, d_model, d_head) to (batch, head, pos, d_head)."""
    return einsum("bpd,hde->bhpe", n, weight)


def smeared(k: Tensor, alpha: Tensor) -> Tensor:
    """Keys (batch, head, pos, d_head), each mixed with the one before by its head's `alpha` (head,)."""
    own = torch.sigmoid(alpha)[:, None, None]
    before = torch.cat([k[:, :, :1], k[:, :, :-1]], dim=2)  # the first key stands in for the one it lacks
    return own * k + (1 - own) * before
