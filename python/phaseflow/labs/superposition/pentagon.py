"""From the pentagon to two digons: a first-order phase change in five features of two dimensions (Elhage 2022).

The density of one feature is lowered from that of the others, by continuation: each step starts from where the last
one ended, a little disturbed, and is trained to a minimum of the expected loss. One branch starts as the pentagon and
goes down, one starts as two digons without the rare feature and goes up. Where their losses cross, the best solution
changes; how far each branch reaches beyond is the hysteresis.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from phaseflow.archive import Recorder, Run
from phaseflow.labs.superposition.diagram import expected_losses
from phaseflow.training import Checkpoints, LearningRate
from phaseflow.training.progress import bar
from phaseflow.training.toy import Instance, ToyConfig, ToyOptimiser, ToyWeights, train_toy

FEATURES, HIDDEN, DENSITY = 5, 2, 0.05
RULES = (1024, 4096)  # points for each subset; how far their answers differ is the error of integration
DISTURBANCE = 1e-2  # of every weight: leaves a saddle, not a minimum
SLOW_BELOW = 0.2  # ratio
COPIES = 2  # of each branch, disturbed independently


@dataclass(frozen=True)
class Branches:
    """Both branches at every ratio, 1 downward; of the copies the one of lower loss."""

    ratio: NDArray[np.float64]  # (ratio,)
    W: NDArray[np.float32]  # (branch, ratio, hidden, feature): from the pentagon, from the digons
    b: NDArray[np.float32]  # (branch, ratio, feature)
    loss: NDArray[np.float64]  # (rule, branch, ratio)
    copies: NDArray[np.float64]  # (branch, ratio): by how much the loss of the worse copy is higher

    @property
    def crossing(self) -> tuple[float, float, float]:
        """Ratio at which the losses cross, its uncertainty, and the loss there.

        The uncertainty is the largest of three: how far the two rules of integration differ, what the copies' losses
        differ by over the slope of the difference, and the curvature of the difference within a step of the ratio.
        """
        found = [cross(self.ratio, loss[0] - loss[1]) for loss in self.loss]
        at, slope, bend = found[-1]
        i = int(np.abs(self.ratio - at).argmin())
        error = max(abs(found[0][0] - at), float(self.copies[:, i].max()) / abs(slope), bend)
        order = np.argsort(self.ratio)
        return at, error, float(np.interp(at, self.ratio[order], self.loss[-1, 0][order]))

    def last_pentagon(self) -> tuple[float, float]:
        """The lowest ratio at which the branch from the pentagon is still its own, and the next, at which it is not."""
        rare = np.linalg.norm(self.W[0][..., -1], axis=-1)  # (ratio,)
        gone = np.flatnonzero(rare < 0.5 * rare[0])
        if len(gone) == 0:
            return float(self.ratio[-1]), 0.0
        return float(self.ratio[gone[0] - 1]), float(self.ratio[gone[0]])

    def first_digons(self) -> float:
        """The highest ratio at which the branch from the digons is still without the rare feature."""
        rare = np.linalg.norm(self.W[1][..., -1], axis=-1)
        return float(self.ratio[rare < 0.5].max())


def follow(run_dir: Path, *, fine: float = 0.02, steps: int = 300, seed: int = 0) -> Branches:
    """Follows both branches and archives them; step ``k`` of the archive is the ``k``-th ratio of either direction.

    Parameters
    ----------
    run_dir : path
    fine : float
        Step of the ratio below 0.4; above it steps are three times as long.
    steps : int
        Updates at every ratio; four times as many where the rare feature is rarest.
    seed : int
    """
    down = np.concatenate([np.arange(1, 0.4, -3 * fine), np.arange(0.4, fine / 2, -fine)]).round(6)
    config = {"density": DENSITY, "ratios": down.tolist(), "steps": steps, "seed": seed}
    with Recorder(run_dir, config=config) as recorder, bar("pentagon and digons, both ways", len(down) + 5) as show:
        if recorder.last_step is None or recorder.last_step < len(down) - 1:
            weights = ends(down, seed)
            show(5, None)
            disturb = torch.Generator().manual_seed(seed)
            for k, (falling, rising) in enumerate(zip(down, down[::-1], strict=True)):
                moved = weights.W + DISTURBANCE * torch.randn(weights.W.shape, generator=disturb)
                stack = stack_at([falling] * COPIES + [rising] * COPIES, steps, 3e-3, seed)
                if falling < SLOW_BELOW:
                    # Near its end a minimum is nearly flat: what leaves it leaves slowly, and a coarse rule holds it.
                    stack = replace(stack, steps=4 * steps, batch_size=400, optimiser=optimiser(1e-2))
                weights, loss = train_toy(stack, weights=ToyWeights(moved, weights.b), device="cpu", on_step=silent)
                if recorder.last_step is None or k > recorder.last_step:
                    recorder.log(
                        k,
                        scalars={"ratio_falling": falling, "ratio_rising": rising},
                        weights={"toy/W": weights.W, "toy/b": weights.b, "toy/loss": loss},
                    )
                show(5 + k + 1, f"ratio {falling:.2f}")
    return read(Run(run_dir), down)


def ends(down: NDArray[np.float64], seed: int) -> ToyWeights:
    """The best of ten restarts at either end, as often as there are copies."""
    stack = stack_at([down[0]] * 10 + [down[-1]] * 10, 1500, 1e-2, seed)
    weights, loss = train_toy(stack, device="cpu", on_step=silent)
    best = [int(loss[:10].argmin())] * COPIES + [10 + int(loss[10:].argmin())] * COPIES
    return ToyWeights(weights.W[best], weights.b[best])


def stack_at(ratios: list[float], steps: int, rate: float, seed: int) -> ToyConfig:
    """Models whose last feature is so much rarer than the others."""
    densities = [(DENSITY,) * (FEATURES - 1) + (DENSITY * ratio,) for ratio in ratios]
    return ToyConfig(
        FEATURES,
        HIDDEN,
        tuple(Instance(density, seed=seed, restart=restart) for restart, density in enumerate(densities)),
        steps,
        data="expected",
        batch_size=144,
        optimiser=optimiser(rate),
        checkpoints=Checkpoints(n_log=1),
    )


def optimiser(rate: float) -> ToyOptimiser:
    """Down to a hundredth of its rate: to the minimum, not around it."""
    return ToyOptimiser(LearningRate(peak=rate, warmup_steps=0, decay="cosine", floor_share=0.01))


def read(run: Run, down: NDArray[np.float64]) -> Branches:
    """Both branches, the rising one turned round, with their losses by finer rules."""
    W, b = (
        np.stack([np.asarray(run.tensor(k, f"weights/toy/{name}")) for k in range(len(down))]) for name in ("W", "b")
    )  # (ratio, copy of either branch, ...)
    W, b = (np.stack([array[:, :COPIES], array[::-1, COPIES:]]) for array in (W, b))  # (branch, ratio, copy, ...)
    loss = np.empty((len(RULES), 2, len(down), COPIES))
    stack = stack_at(np.repeat(down, COPIES).tolist(), 0, 1.0, 0)
    for rule, points in enumerate(RULES):
        for branch in range(2):
            flat = ToyWeights(torch.tensor(W[branch]).flatten(0, 1), torch.tensor(b[branch]).flatten(0, 1))
            loss[rule, branch] = expected_losses(stack, flat, points).reshape(len(down), COPIES)
    best = loss[-1].argmin(-1)  # (branch, ratio)
    pick = (np.arange(2)[:, None], np.arange(len(down)), best)
    return Branches(down, W[pick], b[pick], loss.min(-1), np.ptp(loss[-1], axis=-1))


def cross(ratio: NDArray[np.float64], difference: NDArray[np.float64]) -> tuple[float, float, float]:
    """Where the difference, positive at first, is zero for the last time from below; its slope; the bend's effect."""
    order = np.argsort(ratio)
    x, y = ratio[order], difference[order]
    # From the top: the first step on which the pentagon stops being the better one.
    places = np.flatnonzero((y[1:] < 0) & (y[:-1] >= 0))
    if len(places) == 0:
        return float("nan"), float("nan"), float("nan")
    i = int(places[-1])
    slope = (y[i + 1] - y[i]) / (x[i + 1] - x[i])
    linear = x[i] - y[i] / slope
    near = slice(max(i - 1, 0), i + 3)
    cubic = np.polynomial.Polynomial.fit(x[near], y[near], min(3, len(x[near]) - 1)).roots()
    real = cubic[np.abs(cubic.imag) < 1e-9].real
    at = float(real[np.abs(real - linear).argmin()])
    return at, float(slope), abs(at - float(linear)) / 10


def silent(step: int, note: str | None) -> None:
    """No bar for the many short trainings of one continuation."""
