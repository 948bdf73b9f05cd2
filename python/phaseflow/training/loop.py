"""Train one model and archive what it shows at its checkpoints.

    for each step: at a checkpoint, look at the probes, archive, keep the state; then one AdamW update on batch
    (seed, step)

Nothing of the run depends on the clock, on the checkpoints or on the process: a run that was killed goes on from its
last kept state to the same weights and the same archive, bit for bit on a CPU with the same number of threads.
"""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from os import PathLike
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from phaseflow.training import progress
from phaseflow.training.batches import Batches
from phaseflow.training.config import TrainConfig
from phaseflow.training.data import Data
from phaseflow.training.model import Transformer
from phaseflow.training.optimiser import follow_schedule
from phaseflow.training.progress import OnStep
from phaseflow.training.run import TrainingRun
from phaseflow.training.team import Team, team


def train(
    config: TrainConfig,
    run_dir: str | PathLike[str],
    *,
    corpus: Data | None = None,
    device: str | None = None,
    shard: bool = False,
    label: str = "training",
    on_step: OnStep | None = None,
) -> Transformer:
    """Train, or go on training, and return the model after `config.steps` updates.

    Started by `torchrun`, each process computes a share of every batch on its own device; the first one records. Each
    has a copy of the model (DDP), or with `shard` a part of it (FSDP).

    Parameters
    ----------
    config : TrainConfig
        What to train.
    run_dir : path
        The run's archive. A run that was stopped goes on where it was; a finished one is only loaded.
    corpus : Data, optional
        What `config.corpus.build()` returns, when several runs share it.
    device : str, optional
        A torch device; CUDA where there is one, else the CPU.
    shard : bool
        Spread weights, gradients and AdamW's averages over the processes: for models that do not fit into each.
    label : str
        In front of the progress bar, which is silent where standard error is not a terminal.
    on_step : callable, optional
        Called, instead of the progress bar, with the work done (of `config.work(config.steps)`) and, at checkpoints,
        a note for people.

    Raises
    ------
    ParameterError
        `run_dir` holds a run with another configuration, torch cannot use the device here, the processes of
        `torchrun` cannot share `batch_size` evenly, or `shard` is asked of one process.
    """
    corpus = corpus or config.corpus.build()
    with ExitStack() as opened:
        us = opened.enter_context(team(device))
        if shard:
            us.check_several()
        at_rest, records = "cpu" if shard else us.device, us.rank == 0
        run = opened.enter_context(
            TrainingRun(config, Path(run_dir), corpus, us.device, records=records, at_rest=at_rest)
        )
        us.check(config.batches.batch_size, run.begin)
        parts = None
        if shard:
            from phaseflow.training.sharded import Shards  # torch's FSDP takes a second to import

            parts = Shards(run.model, run.optimiser, config.optimiser, us)
        model, optimiser = (run.model, run.optimiser) if parts is None else (parts.model, parts.optimiser)
        batches = Batches(corpus, config.batches, config.model.context, config.seed)
        loss_of = loss_function(model, config, us, copies=parts is None)
        losses: list[Tensor] = []  # of the updates since the last checkpoint
        silent = on_step is not None or us.rank > 0
        shown = nullcontext(on_step or _nothing) if silent else progress.bar(label, config.work(config.steps))
        with shown as show:
            for step in range(run.begin, config.steps + 1):
                if step in run.checkpoints:
                    if parts is not None:
                        parts.gather(averages=records)
                    note = run.checkpoint(step, us.mean(losses) if losses else None)
                    losses.clear()
                    if note is not None:
                        show(config.work(step), note)
                if step == config.steps:
                    break
                follow_schedule(optimiser, config.optimiser, step, config.steps)
                loss = loss_of(us.share(batches[step]).to(us.device))  # (batch, context + 1)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimiser.clip_norm)
                optimiser.step()
                losses.append(loss.detach())
                show(config.work(step), None)
        return run.model.to(us.device)


def loss_function(
    model: Transformer, config: TrainConfig, us: Team, *, copies: bool = True
) -> Callable[[Tensor], Tensor]:
    """The loss of predicting tokens (batch, pos) from those before them, in nats, as precision and compile say.

    Probes are looked at with the model itself: in float32, uncompiled. Of several processes each has a copy, whose
    gradients are averaged, or without `copies` a part, which sees to that itself.
    """
    on_gpu = us.device.startswith("cuda")
    module: nn.Module = DistributedDataParallel(model, broadcast_buffers=False) if us.size > 1 and copies else model
    compiled = config.compile is True or (config.compile == "auto" and on_gpu)
    forward = torch.compile(module) if compiled else module
    half = config.precision == "bfloat16" or (config.precision == "auto" and on_gpu)

    def loss_of(tokens: Tensor) -> Tensor:
        with torch.autocast(us.device.partition(":")[0], torch.bfloat16, enabled=half):
            logits: Tensor = forward(tokens[:, :-1])  # (batch, pos - 1, vocab)
            return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    return loss_of


def _nothing(done: int, note: str | None) -> None:
    """What is shown where nobody looks."""
