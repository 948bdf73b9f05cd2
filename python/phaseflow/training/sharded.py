"""A model of which every process of a team holds a part: weights, gradients and AdamW's averages (FSDP).

    gather a layer's weights when it computes, give them back, average gradients to where their weights are

Beside its part every process keeps the whole weights in host memory, where no gradient or average ever lies: at
checkpoints they are brought up to date, and are what is looked at, archived, kept for resuming and returned. A state
kept by one process, by several with a copy each, or by parts is the same file: either can go on from it.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from phaseflow.training.config import OptimiserConfig
from phaseflow.training.model import Transformer
from phaseflow.training.optimiser import adamw
from phaseflow.training.team import Team

AVERAGES = ("exp_avg", "exp_avg_sq")


class Shards:
    """The parts of this process.

    Parameters
    ----------
    model : Transformer
        The whole, in host memory.
    optimiser : torch.optim.AdamW
        Of the whole; its averages, if it has any, are shared out and leave it.
    config : OptimiserConfig
    us : Team
        Of two or more.
    """

    def __init__(self, model: Transformer, optimiser: torch.optim.AdamW, config: OptimiserConfig, us: Team) -> None:
        self.whole, self.kept = model, optimiser
        self.model = deepcopy(model).to(us.device)
        mesh = init_device_mesh(us.device.partition(":")[0], (us.size,))
        for layer in (*self.model.attention, *self.model.mlp):
            fully_shard(layer, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self.optimiser = adamw(self.model, config)
        for mine, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            if averages := optimiser.state.pop(weight, None):
                self.optimiser.state[mine] = {
                    "step": averages["step"].to(us.device),
                    **{name: shared_out(averages[name].to(us.device), mine) for name in AVERAGES},
                }

    def gather(self, *, averages: bool) -> None:
        """Brings the whole weights up to date, and with ``averages`` those of AdamW; all processes at the same step."""
        with torch.no_grad():
            for mine, weight in zip(self.model.parameters(), self.whole.parameters(), strict=True):
                weight.copy_(gathered(mine))
                state = self.optimiser.state.get(mine)
                if state is None:
                    continue
                whole = {name: gathered(state[name]).cpu() for name in AVERAGES}  # every process has to take part
                if averages:
                    self.kept.state[weight] = {"step": state["step"].cpu(), **whole}


def shared_out(whole: Tensor, like: nn.Parameter) -> Tensor:
    """The part of a tensor that belongs to this process's part of a weight of that shape."""
    assert isinstance(like, DTensor)
    return distribute_tensor(whole, like.device_mesh, like.placements)


def gathered(part: Tensor) -> Tensor:
    """The whole of which every process has a part."""
    assert isinstance(part, DTensor)
    whole: Tensor = part.full_tensor()
    return whole
