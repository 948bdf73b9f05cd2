"""Fresh batches of sparse features for every instance of a stack.

A set of features has one uniform draw ``u`` an example, and each of its features an interval of it in which it is
active: the whole ``[0, density)`` for independent and correlated features, a piece of it for anticorrelated ones, the
pieces side by side. The value of an active feature is a draw of its own.

Draws belong to a seed, not to an instance: what an instance sees does not depend on the stack it is in.
"""

import torch
from torch import Tensor

from phaseflow.training.toy.config import Instance, ToyConfig


class SparseFeatures:
    """A stream of batches; ``stream`` tells independent ones apart, of training and of evaluation."""

    def __init__(self, config: ToyConfig, device: torch.device, *, stream: int) -> None:
        self.signed = config.task == "absolute"
        self.n_features = config.n_features
        seeds = sorted({instance.seed for instance in config.instances})
        self.generators = [torch.Generator(device).manual_seed(2 * seed + stream) for seed in seeds]
        self.device = device
        # Instances of one seed share a batch: then one copy is enough for all.
        self.seed_of: Tensor | None = None
        if len(seeds) > 1:
            self.seed_of = torch.tensor([seeds.index(instance.seed) for instance in config.instances], device=device)
        places = [intervals(config, instance, number) for number, instance in enumerate(config.instances)]
        self.low, self.high = (  # (instance, feature, 1)
            torch.tensor([place[i] for place in places], device=device)[..., None] for i in (0, 1)
        )
        # Which feature's draw decides, (instance, feature, 1); None where each has its own.
        self.decides: Tensor | None = None
        if any(instance.sets for instance in config.instances):
            self.decides = torch.tensor([place[2] for place in places], device=device)[..., None]

    def batch(self, size: int) -> Tensor:
        """``(instance, feature, example)``, float32."""
        shape = (2, self.n_features, size)
        drawn = [torch.rand(shape, generator=each, device=self.device) for each in self.generators]
        both = torch.stack(drawn, 1)  # (draw and value, seed, feature, example)
        draw, value = (both if self.seed_of is None else both[:, self.seed_of]).unbind()
        if self.decides is not None:
            count = len(self.low)
            draw = draw.expand(count, -1, -1).gather(1, self.decides.expand(count, -1, size))
        if self.signed:
            value = 2 * value - 1
        active: Tensor = (self.low <= draw) & (draw < self.high)
        return value * active


def intervals(config: ToyConfig, instance: Instance, number: int) -> tuple[list[float], list[float], list[int]]:
    """Low and high end of each feature's interval, and the feature whose draw decides."""
    high = config.of_features(instance.density, "density", number).tolist()
    low, decides = [0.0] * config.n_features, list(range(config.n_features))
    for each in instance.sets:
        for rank, feature in enumerate(each.features):
            decides[feature] = each.features[0]
            if each.kind == "anticorrelated":
                piece = high[feature] / len(each.features)
                low[feature], high[feature] = rank * piece, (rank + 1) * piece
    return low, high, decides
