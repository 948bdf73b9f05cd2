"""The phase diagram of the smallest toy models: trained, beside the closed form (Elhage 2022).

n features in n - 1 dimensions, over density and the relative importance of the last feature. Each point is trained from
several restarts on the expected loss; of the solutions they end in, the one of lowest loss is the phase.

What a solution is called follows from what W leaves out. ``|W|²`` (Frobenius) counts the features that are
represented: near n - 1 one direction is ignored, near n two features share a dimension. The null direction of W says
which: it has its weight on the feature that is ignored, or half of it on each of two that are opposite.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from phaseflow.metrics import superposition_losses
from phaseflow.metrics.superposition_phases import ANOTHER_IGNORED, LAST_IGNORED, OPPOSITE_LAST, OPPOSITE_OTHERS
from phaseflow.training import Checkpoints, LearningRate
from phaseflow.training.toy import (
    Instance,
    ToyConfig,
    ToyOptimiser,
    ToyWeights,
    quadrature,
    toy_losses,
    train_toy,
)

PHASES = (LAST_IGNORED, ANOTHER_IGNORED, OPPOSITE_LAST, OPPOSITE_OTHERS)
#: Points of the quadrature: of training, and of the losses that solutions are compared by.
COARSE, FINE = 64, 1024
#: Costs no further apart than this are the same: rounding.
EQUAL = 1e-9


@dataclass(frozen=True)
class Diagram:
    """A trained phase diagram; phases are numbers in ``PHASES``."""

    n_features: int
    density: NDArray[np.float64]  # (column,)
    importance: NDArray[np.float64]  # (row,)
    loss: NDArray[np.float64]  # (row, column, restart)
    phase: NDArray[np.int64]  # (row, column, restart)
    closed_form: NDArray[np.float64]  # (phase, row, column)

    @property
    def trained(self) -> NDArray[np.int64]:
        """Phase of the restart of lowest loss, ``(row, column)``."""
        best = self.loss.argmin(-1)
        found: NDArray[np.int64] = np.take_along_axis(self.phase, best[..., None], -1)[..., 0]
        return found

    @property
    def expected(self) -> NDArray[np.int64]:
        """Phase of least closed-form loss, ``(row, column)``; of equal ones the first."""
        found: NDArray[np.int64] = self.closed_form.argmin(0)
        return found

    @property
    def away(self) -> NDArray[np.bool_]:
        """Points of which all eight neighbours have the same closed-form phase, and none of which has two."""
        least = np.sort(self.closed_form, axis=0)
        tied = least[1] <= least[0] * (1 + EQUAL)
        around = np.pad(np.where(tied, -1, self.expected), 1, mode="edge")
        rows, columns = self.expected.shape
        same = [around[i : i + rows, j : j + columns] == self.expected for i in range(3) for j in range(3)]
        found: NDArray[np.bool_] = np.logical_and.reduce(same)
        return found

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """Points whose trained phase costs least in closed form, or the same as what does, ``(row, column)``."""
        cost = np.take_along_axis(self.closed_form, self.trained[None], 0)[0]
        found: NDArray[np.bool_] = cost <= self.closed_form.min(0) * (1 + EQUAL)
        return found

    def agreement(self, where: NDArray[np.bool_] | None = None) -> float:
        """Share of points whose trained phase is that of the closed form."""
        return float((self.agrees if where is None else self.agrees[where]).mean())


@dataclass(frozen=True)
class Boundary:
    """Where superposition ends as features get denser, at one importance."""

    importance: float
    closed_form: float
    #: Where the losses of the two branches cross, between the two points.
    density: float
    #: The densest point that superposes, the sparsest that does not.
    lower: float
    upper: float
    #: On how many of the two points next to the boundary restarts ended on both branches: the other is metastable.
    both_branches: int


def phase_diagram(
    n_features: int,
    run_dir: Path,
    *,
    points: int = 15,
    restarts: int = 10,
    steps: int = 600,
    seed: int = 0,
    device: str | None = None,
) -> Diagram:
    """Trains and classifies ``points`` densities × ``points`` importances.

    Parameters
    ----------
    n_features : int
        2 (in 1 dimension) or 3 (in 2), the paper's; or more.
    run_dir : path
        The archive of all models.
    points, restarts, steps, seed : int
    device : str, optional
        A torch device; CUDA where there is one, else the CPU.
    """
    density, importance = np.geomspace(0.02, 1.0, points), np.geomspace(0.1, 10.0, points)
    instances = tuple(
        Instance(float(p), (1.0,) * (n_features - 1) + (float(r),), seed=seed, restart=restart)
        for r in importance
        for p in density
        for restart in range(restarts)
    )
    config = ToyConfig(
        n_features,
        n_features - 1,
        instances,
        steps,
        data="expected",
        batch_size=COARSE,
        optimiser=ToyOptimiser(LearningRate(peak=3e-2, warmup_steps=0, decay="cosine", floor_share=0.01)),
        checkpoints=Checkpoints(n_log=1),
    )
    label = f"phase diagram, {n_features} features, {len(instances):,} models"
    weights, _ = train_toy(config, run_dir, device=device, label=label)
    loss = expected_losses(config, weights)
    closed_form = superposition_losses(density, importance[:, None], n_features=n_features)
    shape = (points, points, restarts)
    return Diagram(
        n_features,
        density,
        importance,
        loss.reshape(shape),
        phases(weights.W.numpy(force=True)).reshape(shape),
        np.stack([closed_form[name] for name in PHASES if name in closed_form]),
    )


def expected_losses(config: ToyConfig, weights: ToyWeights, points: int = FINE) -> NDArray[np.float64]:
    """Expected loss of every instance by a finer rule than it was trained with, in float64."""
    nodes = quadrature(config.n_features, points)
    x = torch.tensor(nodes.x.T.copy())[None]
    densities = config.densities()
    found = []
    for part in np.array_split(np.arange(len(densities)), -(-len(densities) // 100)):
        some = ToyWeights(weights.W[part].double().cpu(), weights.b[part].double().cpu())
        importance = torch.tensor(np.stack([config.importances(number) for number in part]))
        found.append(toy_losses(x, some, importance, torch.tensor(nodes.weights(densities[part]))).numpy())
    return np.concatenate(found)


def phases(W: NDArray[np.floating]) -> NDArray[np.int64]:
    """Number in ``PHASES`` of every ``W (..., n - 1, n)``."""
    n_features = W.shape[-1]
    represented = np.square(W).sum((-2, -1))
    null = np.linalg.svd(W.astype(float))[2][..., -1, :]  # (..., feature)
    last = np.square(null[..., -1])
    opposite = np.where(last > 0.25, PHASES.index(OPPOSITE_LAST), PHASES.index(OPPOSITE_OTHERS))
    ignored = np.where(last > 0.5, PHASES.index(LAST_IGNORED), PHASES.index(ANOTHER_IGNORED))
    found: NDArray[np.int64] = np.where(represented > n_features - 0.5, opposite, ignored)
    return found


def boundaries(diagram: Diagram) -> list[Boundary]:
    """The end of superposition at each importance, with what is known of where it is.

    What ignoring a feature costs is exact in closed form. What superposition costs is taken from the two densest points
    where restarts superposed, next to the boundary, as a power of the density.
    """
    superposed = diagram.phase >= PHASES.index(OPPOSITE_LAST)  # (row, column, restart)
    x = np.log(diagram.density)
    found = []
    for row, importance in enumerate(diagram.importance):
        lowest, other = (  # (column,) infinite where no restart ended on that branch
            np.where(superposed[row] == branch, diagram.loss[row], np.inf).min(-1) for branch in (True, False)
        )
        ends = np.flatnonzero((lowest < other)[:-1] & (lowest >= other)[1:])
        if len(ends) == 0:
            continue
        i = int(ends[-1])
        known = [j for j in range(i + 2) if np.isfinite(lowest[j])][-2:]
        slope, intercept = np.polyfit(x[known], np.log(lowest[known]), 1) if len(known) == 2 else (np.nan, np.nan)
        between = np.linspace(x[i], x[i + 1], 1001)
        ignoring = np.log(min_ignoring(np.exp(between), float(importance)))
        dearer = slope * between + intercept >= ignoring
        crossed = between[np.argmax(dearer)] if dearer.any() else between[-1]
        both = np.isfinite(lowest[i : i + 2]) & np.isfinite(other[i : i + 2])
        found.append(
            Boundary(
                float(importance),
                closed_form_boundary(float(importance), diagram.n_features),
                float(np.exp(crossed)),
                float(diagram.density[i]),
                float(diagram.density[i + 1]),
                int(both.sum()),
            )
        )
    return found


def min_ignoring(density: NDArray[np.float64], importance: float) -> NDArray[np.float64]:
    """Loss of ignoring the feature that costs least."""
    losses = superposition_losses(density, importance)
    return np.minimum(losses[LAST_IGNORED], losses[ANOTHER_IGNORED])


def closed_form_boundary(importance: float, n_features: int) -> float:
    """Density at which superposition and ignoring a feature cost the same.

    With the last one opposite, ``4r/(2 + 5r)`` where the last is the least important, ``4/(5 + 2r)`` where another is;
    two others opposite against one of them ignored, ``4/7``.
    """
    if importance <= 1:
        return 4 * importance / (2 + 5 * importance)
    return 4 / (5 + 2 * importance) if n_features == 2 else 4 / 7
