"""Train a stack of toy models as one tensor program, and archive W, b and the loss of each at checkpoints.

    for each step: at a checkpoint, evaluate and archive; then one AdamW update of all instances on their batches

The losses of the instances are summed before the gradient is taken: none has a part in another's. On a CPU the numbers
depend on the configuration and the number of threads alone.
"""

from collections.abc import Callable
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from phaseflow.archive import Recorder, Run
from phaseflow.training import progress
from phaseflow.training.device import usable_device
from phaseflow.training.progress import OnStep
from phaseflow.training.toy.config import ToyConfig
from phaseflow.training.toy.data import SparseFeatures
from phaseflow.training.toy.expectation import quadrature
from phaseflow.training.toy.model import ToyWeights, copied, initial_weights, toy_losses


def train_toy(
    config: ToyConfig,
    run_dir: str | PathLike[str] | None = None,
    *,
    weights: ToyWeights | None = None,
    device: str | None = None,
    label: str = "training toy models",
    on_step: OnStep | None = None,
) -> tuple[ToyWeights, Tensor]:
    """Train every instance of a stack.

    Parameters
    ----------
    config : ToyConfig
    run_dir : path, optional
        The archive: ``weights/toy/W (instance, hidden, feature)``, ``weights/toy/b (instance, feature)``,
        ``weights/toy/W_out`` of untied models and ``weights/toy/loss (instance,)`` at every checkpoint. A finished one
        is only loaded; one that was stopped is trained again from the start, which archives what is missing.
    weights : ToyWeights, optional
        Where to start; by default each instance's own random weights.
    device : str, optional
        A torch device; CUDA where there is one, else the CPU.
    label : str
        In front of the progress bar, which is silent where standard error is not a terminal.
    on_step : callable, optional
        Called, instead of the progress bar, with the updates done and, at checkpoints, a note for people.

    Returns
    -------
    (ToyWeights, Tensor)
        The weights after the last step, and the loss of each instance (on the fixed examples of evaluation).

    Raises
    ------
    ParameterError
        ``run_dir`` holds a run with another configuration, or torch cannot use the device here.
    """
    where = torch.device(usable_device(device))
    weights = copied(initial_weights(config, where) if weights is None else weights)
    leaves = [tensor for _, tensor in weights.tensors()]
    fused = where.type in ("cpu", "cuda")
    rate = config.optimiser.learning_rate
    betas = (config.optimiser.beta1, config.optimiser.beta2)
    adam = torch.optim.AdamW(leaves, lr=rate.peak, betas=betas, weight_decay=config.optimiser.weight_decay, fused=fused)
    losses, draw, looked_at = problem(config, where)
    checkpoints = set(config.checkpoints.steps(config.steps))
    current = torch.full((len(config.instances),), torch.nan)
    with ExitStack() as opened:
        show = on_step or opened.enter_context(progress.bar(label, config.steps))
        recorder = None
        if run_dir is not None:
            recorder = opened.enter_context(Recorder(run_dir, config=config.as_record()))
        archived = -1 if recorder is None or recorder.last_step is None else recorder.last_step
        if recorder is not None and archived == config.steps:
            return stored(recorder.path, config, where)
        for step in range(config.steps + 1):
            if step in checkpoints:
                with torch.no_grad():
                    current = losses(*looked_at, weights)
                if recorder is not None and step > archived:
                    now = {name: tensor.detach() for name, tensor in weights.tensors()}
                    recorder.log(
                        step,
                        scalars={"loss": float(current.mean()), "learning_rate": rate.at(step, config.steps)},
                        weights={**now, "toy/loss": current},
                    )
                show(step, f"loss {float(current.mean()):.4f}")
            if step == config.steps:
                break
            for group in adam.param_groups:
                group["lr"] = rate.at(step, config.steps)
            loss = losses(*draw(), weights).sum()
            adam.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            show(step + 1, None)
    for tensor in leaves:
        tensor.requires_grad_(False)
    return weights, current


def stored(run_dir: Path, config: ToyConfig, where: torch.device) -> tuple[ToyWeights, Tensor]:
    """The weights and losses of a finished run."""
    run = Run(run_dir)
    names = ["toy/W", "toy/b", *([] if config.tied else ["toy/W_out"]), "toy/loss"]
    *tensors, losses = (
        torch.tensor(np.asarray(run.tensor(config.steps, f"weights/{name}")), device=where) for name in names
    )
    return ToyWeights(*tensors), losses


Batch = tuple[Tensor, Tensor | None]  # (instance or 1, feature, example), and what each example counts


def problem(
    config: ToyConfig, where: torch.device
) -> tuple[Callable[[Tensor, Tensor | None, ToyWeights], Tensor], Callable[[], Batch], Batch]:
    """The loss as a function of batch and weights, what draws a batch, and the batch that is evaluated."""
    importance = torch.tensor(
        np.stack([config.importances(number) for number in range(len(config.instances))]),
        dtype=torch.float32,
        device=where,
    )

    def of_stack(x: Tensor, point_weights: Tensor | None, weights: ToyWeights) -> Tensor:
        return toy_losses(
            x, weights, importance, point_weights, hidden=config.hidden, output=config.output, task=config.task
        )

    # On a GPU a step of small models is all launches: compiled, it is few, and replayed as one graph.
    losses = torch.compile(of_stack, mode="reduce-overhead") if where.type == "cuda" else of_stack
    if config.data == "expected":
        nodes = quadrature(config.n_features, config.batch_size, signed=config.task == "absolute")
        x = torch.tensor(nodes.x.T.copy(), dtype=torch.float32, device=where)[None]
        every: Batch = (x, torch.tensor(nodes.weights(config.densities()), dtype=torch.float32, device=where))
        return losses, lambda: every, every
    features = SparseFeatures(config, where, stream=0)
    looked_at: Batch = (SparseFeatures(config, where, stream=1).batch(config.eval_size), None)
    return losses, lambda: (features.batch(config.batch_size), None), looked_at
