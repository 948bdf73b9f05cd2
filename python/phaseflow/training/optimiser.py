"""AdamW that decays matrices and follows a schedule."""

import torch
from torch import nn

from phaseflow.training.config import OptimiserConfig


def adamw(model: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices (`W_...`) and leaves biases alone."""
    matrices = [weight for name, weight in model.named_parameters() if decays(name)]
    biases = [weight for name, weight in model.named_parameters() if not decays(name)]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay.at(0)}, {"params": biases, "weight_decay": 0.0}],
        lr=config.learning_rate.peak,
        betas=(config.beta1, config.beta2),
        fused=True,
    )


def decays(name: str) -> bool:
    """Whether a parameter of this name is a matrix."""
    return name.split(".")[-1].startswith("W_")


def follow_schedule(optimiser: torch.optim.Optimizer, config: OptimiserConfig, step: int, steps: int) -> None:
    """Set rate and decay for the update that follows `step` updates, of `steps` in all."""
    matrices, biases = optimiser.param_groups
    matrices["lr"] = biases["lr"] = config.learning_rate.at(step, steps)
    matrices["weight_decay"] = config.weight_decay.at(step)
