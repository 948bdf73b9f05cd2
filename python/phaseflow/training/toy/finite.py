"""Train a toy model on a finite set of examples, again and again on all of them (Henighan 2023).

    x_i = 0 with probability 1 - density, else uniform on [0, 1]; each example scaled to |x| = 1
    h = W x,  x' = ReLU(Wᵀ h + b),  loss = mean over examples of sum over i of (x_i - x'_i)²

A feature is active in one example of a hundred or more, so examples stay sparse: the active features of each and their
values. The answers are not sparse. Where x is 0 the gradient of the loss by the answer is the answer, elsewhere x less:
with ``A = ReLU(H W + b)`` it is ``2 (A - X · [A > 0]) / T``, so a block of answers that fits into the processor's cache
is all that ever exists of them.
"""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from os import PathLike

import numpy as np
import torch
from torch import Tensor

from phaseflow.archive import Recorder, Run
from phaseflow.exceptions import ParameterError
from phaseflow.training import progress
from phaseflow.training.progress import OnStep
from phaseflow.training.schedule import Checkpoints, LearningRate
from phaseflow.training.toy.config import ToyOptimiser

#: Examples whose answers are held at once: 1 MB of 1,000 features.
BLOCK = 256


def reduced_optimiser() -> ToyOptimiser:
    """The paper's schedule at ten times the rate in a tenth of the steps: as much learning, as much decay."""
    rate = LearningRate(peak=1e-2, warmup_steps=250, decay="cosine", floor_share=0.0)
    return ToyOptimiser(rate, weight_decay=1e-2)


@dataclass(frozen=True)
class FiniteConfig:
    """Everything a run's numbers depend on; the defaults are the paper's reduced setting."""

    n_examples: int
    n_features: int = 1000
    n_hidden: int = 2
    density: float = 0.01
    n_test: int = 1000  # fresh examples for the test loss
    steps: int = 5000  # the paper: 50,000
    optimiser: ToyOptimiser = field(default_factory=reduced_optimiser)
    checkpoints: Checkpoints = field(default_factory=lambda: Checkpoints(n_log=8))
    seed: int = 0  # of the examples and, together with the restart, of the initial weights
    restart: int = 0

    def __post_init__(self) -> None:
        for name in ("n_examples", "n_features", "n_hidden", "n_test", "steps"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 < self.density <= 1:
            raise ParameterError(f"density is {self.density}, expected more than 0, at most 1")


@dataclass(frozen=True)
class SparseExamples:
    """Examples as rows of active features; one entry of ``feature`` and ``value`` for each active feature of each."""

    example: Tensor  # (entry,) ascending
    feature: Tensor  # (entry,)
    value: Tensor  # (entry,)
    count: int
    n_features: int

    def hidden(self, W: Tensor) -> Tensor:
        """``W X``, ``(hidden, feature)`` -> ``(example, hidden)``."""
        found = torch.zeros((self.count, len(W)), dtype=W.dtype)
        return found.index_add_(0, self.example, W.T[self.feature] * self.value[:, None])

    def dense(self) -> Tensor:
        """``(example, feature)``; for small sets."""
        found = torch.zeros((self.count, self.n_features), dtype=self.value.dtype)
        found[self.example, self.feature] = self.value
        return found


def sparse_examples(count: int, config: FiniteConfig, *, stream: int) -> SparseExamples:
    """Examples of unit length; one that would have no active feature is drawn again."""
    rng = np.random.default_rng([config.seed, stream])
    active = rng.binomial(config.n_features, config.density, count)
    while (empty := active == 0).any():
        active[empty] = rng.binomial(config.n_features, config.density, int(empty.sum()))
    feature = np.concatenate([np.sort(rng.choice(config.n_features, k, replace=False)) for k in active])
    example = np.repeat(np.arange(count), active)
    value = 1 - rng.uniform(size=len(example))  # on (0, 1]: no example has length 0
    value /= np.sqrt(np.bincount(example, value**2, count))[example]
    as_tensor = torch.from_numpy
    return SparseExamples(
        as_tensor(example), as_tensor(feature), as_tensor(value.astype(np.float32)), count, config.n_features
    )


def loss_and_gradient(
    x: SparseExamples, W: Tensor, b: Tensor, *, gradient: bool = True
) -> tuple[float, Tensor, Tensor]:
    """The loss, and its gradients by ``W (hidden, feature)`` and ``b (feature,)``: zeros without ``gradient``."""
    h = x.hidden(W)  # (example, hidden)
    total = float(x.value.double().square().sum())
    dW, db, dh = torch.zeros_like(W), torch.zeros_like(b), torch.empty_like(h)
    ends = torch.searchsorted(x.example, torch.arange(0, x.count + BLOCK, BLOCK)).tolist()
    for number, start in enumerate(range(0, x.count, BLOCK)):
        part, entries = slice(start, start + BLOCK), slice(ends[number], ends[number + 1])
        answer = torch.addmm(b, h[part], W).relu_()  # (example, feature)
        at = (x.example[entries] - start, x.feature[entries])
        given = answer[at]
        # sum (x - a)² = sum x² + sum a² - 2 sum over active of x a
        total += float(answer.flatten() @ answer.flatten()) - 2 * float(x.value[entries] @ given)
        if gradient:
            answer[at] = given - x.value[entries] * (given > 0)
            db += answer.sum(0)
            dW += h[part].T @ answer
            dh[part] = answer @ W.T
    if gradient:
        dW.T.index_add_(0, x.feature, x.value[:, None] * dh[x.example])
    # A perfect answer leaves a rounding error of either sign.
    return max(total, 0.0) / x.count, dW * (2 / x.count), db * (2 / x.count)


@dataclass(frozen=True)
class FiniteResult:
    """A trained model, its examples, and how wrong it is about them and about fresh ones."""

    W: Tensor  # (hidden, feature)
    b: Tensor  # (feature,)
    hidden: Tensor  # (example, hidden)
    train_loss: float
    test_loss: float


def train_finite(
    config: FiniteConfig,
    run_dir: str | PathLike[str] | None = None,
    *,
    label: str = "training on few examples",
    on_step: OnStep | None = None,
) -> FiniteResult:
    """Train one model on all its examples at every step, on the CPU.

    Parameters
    ----------
    config : FiniteConfig
    run_dir : path, optional
        The archive: ``weights/toy/W (1, hidden, feature)``, ``weights/toy/b (1, feature)``, ``weights/toy/hidden
        (1, example, hidden)``, and the scalars train_loss and test_loss, at every checkpoint. A finished one is only
        loaded; one that was stopped is trained again from the start, which archives what is missing.
    label : str
        In front of the progress bar, which is silent where standard error is not a terminal.
    on_step : callable, optional
        Called, instead of the progress bar, with the updates done and, at checkpoints, a note for people.
    """
    train, test = (sparse_examples(n, config, stream=i) for i, n in enumerate((config.n_examples, config.n_test)))
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + config.restart)
    scale = (2 / (config.n_features + config.n_hidden)) ** 0.5
    W = (torch.randn((config.n_hidden, config.n_features), generator=generator) * scale).requires_grad_()
    b = torch.zeros(config.n_features, requires_grad=True)
    rate, betas = config.optimiser.learning_rate, (config.optimiser.beta1, config.optimiser.beta2)
    adam = torch.optim.AdamW([W, b], lr=rate.peak, betas=betas, weight_decay=config.optimiser.weight_decay, fused=True)
    checkpoints = set(config.checkpoints.steps(config.steps))
    train_loss = test_loss = float("nan")
    with ExitStack() as opened, torch.no_grad():
        show = on_step or opened.enter_context(progress.bar(label, config.steps))
        recorder = None
        if run_dir is not None:
            recorder = opened.enter_context(Recorder(run_dir, config={"finite": asdict(config)}))
        archived = -1 if recorder is None or recorder.last_step is None else recorder.last_step
        if recorder is not None and archived == config.steps:
            return stored(Run(recorder.path), config)
        for step in range(config.steps + 1):
            train_loss, W.grad, b.grad = loss_and_gradient(train, W, b)
            if step in checkpoints:
                test_loss, _, _ = loss_and_gradient(test, W, b, gradient=False)
                if recorder is not None and step > archived:
                    recorder.log(
                        step,
                        scalars={"train_loss": train_loss, "test_loss": test_loss},
                        weights={"toy/W": W[None], "toy/b": b[None], "toy/hidden": train.hidden(W)[None]},
                    )
                show(step, f"train {train_loss:.3f}, test {test_loss:.3f}")
            if step == config.steps:
                break
            for group in adam.param_groups:
                group["lr"] = rate.at(step, config.steps)
            adam.step()
            show(step + 1, None)
        return FiniteResult(W.detach(), b.detach(), train.hidden(W), train_loss, test_loss)


def stored(run: Run, config: FiniteConfig) -> FiniteResult:
    """The result of a finished run."""
    last = {row["name"]: row["value"] for row in run.scalars().iter_rows(named=True) if row["step"] == config.steps}
    W, b, hidden = (
        torch.tensor(np.asarray(run.tensor(config.steps, f"weights/toy/{name}")))[0] for name in ("W", "b", "hidden")
    )
    return FiniteResult(W, b, hidden, last["train_loss"], last["test_loss"])
