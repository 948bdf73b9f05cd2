"""Many small runs at once on one device: their models stacked and updated as one batch of models.

A small model leaves a device idle: most of a step goes into starting its operations. `torch.func` turns the model into
a function of its weights, vmap runs it over weights (run, ...) and batches (run, batch, pos), and AdamW with a learning
rate and a weight decay a run updates them all. Runs may differ in seed, learning rate and weight decay. Each has an
archive and a kept state of its own, in the form of a run trained alone, and is that run to rounding: products of a
stack are summed in another order. What was stopped here goes on alone, and the other way round.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from phaseflow.exceptions import ParameterError
from phaseflow.training import progress
from phaseflow.training.batches import Batches
from phaseflow.training.config import OptimiserConfig, TrainConfig
from phaseflow.training.data import Data
from phaseflow.training.device import usable_device
from phaseflow.training.optimiser import decays, follow_schedule
from phaseflow.training.progress import OnStep
from phaseflow.training.resume import differences
from phaseflow.training.run import TrainingRun

_EPSILON = 1e-8  # of torch's AdamW


def train_stacked(
    configs: Mapping[Path, TrainConfig],
    corpus: Data | None = None,
    *,
    device: str | None = None,
    label: str = "training",
    on_step: OnStep | None = None,
) -> None:
    """Train every run, all at once on one device; each as :func:`phaseflow.training.train` does, to rounding.

    Parameters
    ----------
    configs : mapping of path to TrainConfig
        The runs' archives. They may differ in `seed`, `optimiser.learning_rate` and `optimiser.weight_decay`. Finished
        runs are left as they are, stopped ones go on. Their precision is float32, uncompiled.
    corpus : Data, optional
        What the configurations' `corpus.build()` returns.
    device : str, optional
        A torch device; CUDA where there is one, else the CPU.
    label : str
        In front of the progress bar, which is silent where standard error is not a terminal.
    on_step : callable, optional
        Called, instead of the progress bar, with the work done by all runs and, at checkpoints, a note for people.

    Raises
    ------
    ParameterError
        The configurations differ in anything else, a directory holds a run with another configuration, or torch cannot
        use the device here.
    """
    if not configs:
        return
    shared = check_alike(list(configs.values()))
    device = usable_device(device)
    corpus = corpus or shared.corpus.build()
    total = len(configs) * shared.work(shared.steps)
    shown = nullcontext(on_step) if on_step is not None else progress.bar(label, total)
    with ExitStack() as opened, shown as show:
        runs = [
            opened.enter_context(TrainingRun(config, Path(run_dir), corpus, device))
            for run_dir, config in configs.items()
        ]
        steps = [run.begin for run in runs]
        # Runs that were killed at different checkpoints: those behind catch up first.
        while min(steps) < shared.steps:
            behind = min(steps)
            until = min((step for step in steps if step > behind), default=shared.steps)
            group = [run for run, step in zip(runs, steps, strict=True) if step == behind]
            done = sum(shared.work(step) for step in steps if step > behind)
            for step, note in advance(group, behind, until):
                show(done + len(group) * shared.work(step), note)
            steps = [max(step, until) for step in steps]


def check_alike(configs: list[TrainConfig]) -> TrainConfig:
    """The configuration that all share but for what a stack may vary; anything else that differs is refused by name."""
    first = configs[0]

    def without_varied(config: TrainConfig) -> TrainConfig:
        rate, decay = first.optimiser.learning_rate, first.optimiser.weight_decay
        optimiser = replace(config.optimiser, learning_rate=rate, weight_decay=decay)
        return replace(config, seed=first.seed, optimiser=optimiser)

    for config in configs[1:]:
        if type(config.corpus) is not type(first.corpus):
            different = [f"corpus: had {first.corpus.kind}, given {config.corpus.kind}"]
        else:
            different = differences(asdict(first), asdict(without_varied(config)))
        if different:
            raise ParameterError(
                "runs of a stack may differ in seed, learning_rate and weight_decay alone; these differ in "
                + "; ".join(different)
            )
    return first


def advance(runs: list[TrainingRun], begin: int, until: int) -> Iterator[tuple[int, str | None]]:
    """Train runs that all stand at step `begin` up to step `until`; every update, and what checkpoints show."""
    stack = Stack(runs)
    losses: list[Tensor] = []  # of the updates since the last checkpoint, each (run,)
    for step in range(begin, until + 1):
        if step in runs[0].checkpoints:
            stack.unstack(step)
            means = torch.stack(losses).mean(0).tolist() if losses else [None] * len(runs)
            notes = [
                run.checkpoint(step, mean)
                for run, mean in zip(runs, means, strict=True)
                if step > begin or step == run.begin  # else it was looked at when it got here
            ]
            losses.clear()
            yield step, next((note for note in notes if note is not None), None)
        if step == until:
            return
        losses.append(stack.update(step))
        yield step, None


class Stack:
    """The weights of several runs, (run, ...) by name, and AdamW's averages of their gradients and squares."""

    def __init__(self, runs: list[TrainingRun]) -> None:
        self.runs = runs
        first = runs[0].model
        self.skeleton, self.buffers = deepcopy(first).to("meta"), dict(first.named_buffers())
        of_runs = [dict(run.model.named_parameters()) for run in runs]
        self.weights = {
            name: torch.stack([weights[name].detach() for weights in of_runs]).requires_grad_() for name in of_runs[0]
        }
        self.mean, self.square = (
            {name: self._state(kind, [weights[name] for weights in of_runs]) for name in of_runs[0]}
            for kind in ("exp_avg", "exp_avg_sq")
        )
        config = runs[0].config
        self.batches = [Batches(run.data, config.batches, config.model.context, run.config.seed) for run in runs]

    def update(self, step: int) -> Tensor:
        """The update that follows `step` updates; the losses before it, (run,)."""
        config: OptimiserConfig = self.runs[0].config.optimiser
        tokens = torch.stack([batches[step] for batches in self.batches]).to(self.runs[0].device)
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels cannot be batched, and would run one by one
            losses = torch.vmap(self._loss)(self.weights, tokens)
        # The sum's gradient with respect to a run's weights is that of its own loss: no other depends on them.
        gradients = torch.autograd.grad(losses.sum(), list(self.weights.values()))
        norm = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
        clipped = (config.clip_norm / (norm + 1e-6)).clamp(max=1.0)  # (run,)
        rate, decay = self._schedule(step)
        unbiased = 1 - config.beta1 ** (step + 1), (1 - config.beta2 ** (step + 1)) ** 0.5
        with torch.no_grad():
            for (name, weight), raw in zip(self.weights.items(), gradients, strict=True):
                gradient, mean, square = raw * _each(clipped, raw), self.mean[name], self.square[name]
                mean.lerp_(gradient, 1 - config.beta1)
                square.mul_(config.beta2).addcmul_(gradient, gradient, value=1 - config.beta2)
                if decays(name):
                    weight.mul_(_each(1 - rate * decay, weight))
                weight.sub_(_each(rate / unbiased[0], weight) * mean / (square.sqrt() / unbiased[1] + _EPSILON))
        return losses.detach()

    def unstack(self, step: int) -> None:
        """Put weights and averages after `step` updates back into each run's own model and optimiser."""
        with torch.no_grad():
            for index, run in enumerate(self.runs):
                for name, weight in run.model.named_parameters():
                    weight.copy_(self.weights[name][index])
                    if step:
                        run.optimiser.state[weight] = {
                            "step": torch.tensor(float(step), device=weight.device),
                            "exp_avg": self.mean[name][index].clone(),
                            "exp_avg_sq": self.square[name][index].clone(),
                        }

    def _loss(self, weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
        logits = functional_call(self.skeleton, (weights, self.buffers), (tokens[:, :-1],))
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    def _state(self, kind: str, weights: list[Tensor]) -> Tensor:
        """AdamW's average of that kind, (run, ...); zeros before the first update."""
        states = [run.optimiser.state.get(weight, {}) for run, weight in zip(self.runs, weights, strict=True)]
        return torch.stack(
            [state.get(kind, torch.zeros_like(weight)).detach() for state, weight in zip(states, weights, strict=True)]
        )

    def _schedule(self, step: int) -> tuple[Tensor, Tensor]:
        """Learning rate and weight decay of every run, each (run,)."""
        for run in self.runs:
            follow_schedule(run.optimiser, run.config.optimiser, step, run.config.steps)
        matrices = [run.optimiser.param_groups[0] for run in self.runs]
        device = self.runs[0].device
        rate, decay = (
            torch.tensor([group[name] for group in matrices], device=device) for name in ("lr", "weight_decay")
        )
        return rate, decay


def _each(of_runs: Tensor, like: Tensor) -> Tensor:
    """One number a run, (run,), shaped to multiply (run, ...)."""
    return of_runs.view(-1, *[1] * (like.dim() - 1))
