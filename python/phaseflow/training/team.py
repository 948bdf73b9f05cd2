"""Several processes that train one model, started by `torchrun`.

Every process draws the whole batch of (seed, step) and takes its share of the rows; gradients are averaged, so all
processes make the same update, the one that a single process would make, to rounding. The first process alone looks
and records. Without `torchrun` a team is this process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from phaseflow.exceptions import MissingDataError, ParameterError
from phaseflow.training.device import usable_device


@dataclass(frozen=True)
class Team:
    """One process among those that train together."""

    rank: int
    size: int
    device: str

    def share(self, tokens: Tensor) -> Tensor:
        """The rows of a batch that fall to this process."""
        return tokens[self.rank :: self.size]

    def mean(self, losses: list[Tensor]) -> float:
        """Mean over the losses of all processes; every process must ask at the same step."""
        total = torch.stack(losses).mean()
        if self.size > 1:
            dist.all_reduce(total)
        return float(total) / self.size

    def check_several(self) -> None:
        """Refuses to share out a model where nobody is to share it with."""
        if self.size == 1:
            raise ParameterError(
                "shard=True spreads a model over several processes, here is 1: start them with torchrun"
                " --nproc-per-node N, or leave shard out"
            )

    def check(self, batch_size: int, begin: int) -> None:
        """Refuses a batch that cannot be shared evenly, and processes that would begin at different steps."""
        if batch_size % self.size:
            raise ParameterError(
                f"batch_size is {batch_size}, {self.size} processes cannot share it evenly: make it a multiple"
            )
        if self.size > 1:
            begins: list[int | None] = [None] * self.size
            dist.all_gather_object(begins, begin)
            if len({*begins}) > 1:
                raise MissingDataError(
                    f"the processes would go on from steps {begins}: the run's directory must be the same for all"
                )


@contextmanager
def team(device: str | None) -> Iterator[Team]:
    """The team that `torchrun` started, joined for as long as this lasts, or this process alone.

    Raises
    ------
    ParameterError
        torch cannot use the device here.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(0, 1, usable_device(device))
        return
    if device in (None, "cuda") and torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    device = usable_device(device)
    joined_here = not dist.is_initialized()
    if joined_here:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    dist.barrier()  # what the first process recorded before is on disk: it closed it before it came here
    try:
        yield Team(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if joined_here:
            dist.destroy_process_group()
