"""A stack of toy models: weights, what they answer, how wrong that is (Elhage 2022)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from phaseflow.training.toy.config import ToyConfig


@dataclass
class ToyWeights:
    """Weights of every instance. Output weights of their own have the shape of ``W``; their transpose is used."""

    W: Tensor  # (instance, hidden, feature)
    b: Tensor  # (instance, feature)
    W_out: Tensor | None = None  # (instance, hidden, feature); None: W

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Names as in an archive, without ``weights/``."""
        yield "toy/W", self.W
        yield "toy/b", self.b
        if self.W_out is not None:
            yield "toy/W_out", self.W_out


def initial_weights(config: ToyConfig, device: torch.device) -> ToyWeights:
    """Glorot's normal weights and biases of 0, each instance from its seed and restart alone."""
    scale = config.initial_scale * (2 / (config.n_features + config.n_hidden)) ** 0.5
    copies = 1 if config.tied else 2
    drawn = []
    for instance in config.instances:
        generator = torch.Generator().manual_seed(instance.seed * 1_000_003 + instance.restart)
        drawn.append(torch.randn((copies, config.n_hidden, config.n_features), generator=generator))
    W = (torch.stack(drawn, 1) * scale).to(device)  # (copy, instance, hidden, feature)
    b = torch.zeros((len(config.instances), config.n_features), device=device)
    return ToyWeights(W[0].clone(), b, None if config.tied else W[1].clone())


def copied(weights: ToyWeights) -> ToyWeights:
    """Weights of their own, with gradients."""
    own = [tensor.detach().clone().requires_grad_() for _, tensor in weights.tensors()]
    return ToyWeights(*own)


def toy_output(x: Tensor, weights: ToyWeights, *, hidden: str = "linear", output: str = "relu") -> Tensor:
    """What the models answer to ``x (instance or 1, feature, example)``: ``(instance, feature, example)``.

    Examples stand in the last axis: features and dimensions are few, and products of long rows are quick.
    """
    W = weights.W
    if len(x) == 1:  # one product for the whole stack
        h = (W.flatten(0, 1) @ x[0]).view(*W.shape[:2], -1)
    else:
        h = W @ x  # (instance, hidden, example)
    if hidden == "relu":
        h = h.relu()
    W_out = W if weights.W_out is None else weights.W_out
    answer = torch.baddbmm(weights.b[:, :, None], W_out.mT, h)
    return answer.relu() if output == "relu" else answer


def toy_losses(
    x: Tensor,
    weights: ToyWeights,
    importance: Tensor,
    point_weights: Tensor | None = None,
    *,
    hidden: str = "linear",
    output: str = "relu",
    task: str = "identity",
) -> Tensor:
    """Loss of every instance: the importance-weighted squared error, averaged over examples.

    Parameters
    ----------
    x : Tensor (instance or 1, feature, example)
    weights : ToyWeights
    importance : Tensor (instance or 1, feature)
    point_weights : Tensor (instance, example), optional
        What each example counts; by default all the same.

    Returns
    -------
    Tensor (instance,)
    """
    wanted = x.abs() if task == "absolute" else x
    wrong = (wanted - toy_output(x, weights, hidden=hidden, output=output)).square()
    of_examples = (wrong * importance[:, :, None]).sum(1)  # (instance, example)
    return of_examples.mean(1) if point_weights is None else (of_examples * point_weights).sum(1)
