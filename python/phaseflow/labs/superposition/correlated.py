"""Where correlated and anticorrelated features go (Elhage 2022, "Correlated and anticorrelated features").

Features come in pairs. Those that are active together get directions at right angles; where there are too few
dimensions for that, directions side by side, with some interference that is positive; where they are dense, one
direction for both, the principal component of the pair. Those that are never active together are opposite.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from phaseflow.training import Checkpoints, LearningRate
from phaseflow.training.toy import FeatureSet, Instance, ToyConfig, ToyOptimiser, train_toy

RESTARTS = 10
ORTHOGONAL, SIDE_BY_SIDE, COLLAPSED, OPPOSITE, OTHERWISE = (
    "orthogonal", "side by side", "collapsed to the principal component", "opposite", "none of these",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One demonstration, and what the paper finds."""

    n_features: int
    n_hidden: int
    kind: Literal["correlated", "anticorrelated"]
    density: float
    expected: str


CASES = (
    Case(4, 2, "correlated", 0.05, ORTHOGONAL),
    Case(8, 3, "correlated", 0.05, SIDE_BY_SIDE),
    Case(6, 3, "correlated", 0.6, COLLAPSED),
    Case(4, 2, "anticorrelated", 0.05, OPPOSITE),
)


@dataclass(frozen=True)
class Outcome:
    """The restart of lowest loss of a case."""

    case: Case
    W: NDArray[np.float32]  # (hidden, feature); features 0 and 1 are a pair, 2 and 3, ...
    loss: float
    cosines: NDArray[np.float64]  # (pair,) between the two of a pair
    others: NDArray[np.float64]  # between features of different pairs
    verdict: str
    #: Share of the restarts with this verdict.
    restarts: float
    #: Of the restarts with another verdict the one of lowest loss: a minimum beside this one, if there is any.
    next_verdict: str | None
    next_loss: float


def demonstrations(run_dir: Path, *, steps: int = 2000, seed: int = 0, device: str | None = None) -> list[Outcome]:
    """Trains ten restarts of every case, each case into an archive below ``run_dir``, and judges them."""
    outcomes = []
    for number, case in enumerate(CASES):
        pairs = tuple(FeatureSet((i, i + 1), case.kind) for i in range(0, case.n_features, 2))
        instances = tuple(Instance(case.density, sets=pairs, seed=seed, restart=i) for i in range(RESTARTS))
        config = ToyConfig(
            case.n_features,
            case.n_hidden,
            instances,
            steps,
            batch_size=256,
            optimiser=ToyOptimiser(LearningRate(peak=1e-2, warmup_steps=0, decay="cosine", floor_share=0.01)),
            checkpoints=Checkpoints(n_log=1),
        )
        name = f"{case.n_features}-{case.n_hidden}-{case.kind}-{case.density:g}"
        label = f"pairs, {number + 1} of {len(CASES)}: {case.expected}"
        weights, losses = train_toy(config, run_dir / name, device=device, label=label)
        W = weights.W.numpy(force=True)
        verdicts = [judged(each)[2] for each in W]
        best = int(losses.argmin())
        inside, others, verdict = judged(W[best])
        share = verdicts.count(verdict) / RESTARTS
        differing = [(float(losses[i]), each) for i, each in enumerate(verdicts) if each != verdict]
        next_loss, next_verdict = min(differing, default=(float("nan"), None))
        loss = float(losses[best])
        outcomes.append(Outcome(case, W[best], loss, inside, others, verdict, share, next_verdict, next_loss))
    return outcomes


def judged(W: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Cosines within pairs, cosines between pairs, and the verdict, which every pair has to bear out.

    Orthogonal: within 0.15 of a right angle. Side by side: a cosine of 0.15 to 0.95, and higher on average than between
    pairs. Collapsed: above 0.95. Opposite: below -0.95.
    """
    unit = W.astype(float) / np.maximum(np.linalg.norm(W, axis=0), 1e-12)
    gram = unit.T @ unit
    first = np.arange(0, W.shape[1], 2)
    inside = gram[first, first + 1]
    i, j = np.triu_indices(W.shape[1], 1)
    others = gram[i, j][i // 2 != j // 2]
    if (np.abs(inside) < 0.15).all():
        verdict = ORTHOGONAL
    elif (inside > 0.95).all():
        verdict = COLLAPSED
    elif (inside < -0.95).all():
        verdict = OPPOSITE
    elif ((inside >= 0.15) & (inside <= 0.95)).all() and inside.mean() > others.mean():
        verdict = SIDE_BY_SIDE
    else:
        verdict = OTHERWISE
    return inside, others, verdict
