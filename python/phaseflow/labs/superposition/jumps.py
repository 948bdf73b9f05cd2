"""Energy-level jumps: features move from one dimensionality to another as the loss drops (Elhage 2022).

Many restarts of one model are trained on the same examples. A jump is a changepoint of a feature's dimensionality
``D_i(step)``, levels in the least-squares sense, of at least ``JUMP``. The drop of the loss at a jump is
``-Δ ln(loss)`` over a tenth of a decade of steps around it.

Null: at first all losses fall and all features move, so only jumps count after the median loss has come four fifths of
its way (in its logarithm). And the jumps of one restart meet drops of another's loss as well: what a jump's own loss
does is held against what the losses of all other restarts do at the same steps, and its p-value is the share that drop
as much. Of all jumps together the mean drop is held against that of restarts paired at random. Which jumps coincide
with a drop beyond chance is decided by Benjamini and Hochberg's rule over all of them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import phaseflow
from phaseflow import schema
from phaseflow.training import Checkpoints, LearningRate
from phaseflow.training.toy import Instance, ToyConfig, ToyOptimiser, train_toy

#: The least that dimensionality changes by in a jump: a third of the way from a triangle's 2/3 to nothing.
JUMP = 0.2
#: What a changepoint has to gain in squared error: less than a jump of JUMP held for five checkpoints.
PENALTY = 0.1
SPAN = 0.1  # decades of steps around a jump
FDR = 0.1
SETTLED = 0.8  # of the median loss' way, after which jumps count


@dataclass(frozen=True)
class Jumps:
    """What was found over all restarts."""

    geometry: pl.DataFrame  # archive.feature_geometry()
    losses: pl.DataFrame  # archive.toy_losses()
    #: instance, feature, step, before, after, size, drop (of its own loss), p_value, q_value, coincides
    jumps: pl.DataFrame
    begin: int  # jumps before this step were not looked at
    mean_drop: float
    #: The same of restarts paired at random: its mean, and the share of pairings that reach mean_drop.
    chance_drop: float
    p_value: float


def energy_levels(
    run_dir: Path, *, restarts: int = 128, steps: int = 1500, seed: int = 0, device: str | None = None
) -> Jumps:
    """Trains the restarts, finds jumps and drops in their archive, and compares."""
    config = ToyConfig(
        8,
        4,
        tuple(Instance(0.05, 0.9, seed=seed, restart=i) for i in range(restarts)),
        steps,
        batch_size=512,
        eval_size=4096,
        optimiser=ToyOptimiser(LearningRate(peak=2e-3, warmup_steps=0)),
        checkpoints=Checkpoints(n_log=1, dense_every=10),
        initial_scale=0.1,
    )
    train_toy(config, run_dir, device=device, label=f"energy levels, {restarts} restarts")
    archive = phaseflow.open(run_dir)
    geometry, losses = archive.feature_geometry(), archive.toy_losses()
    return compared(geometry, losses, seed=seed)


def compared(geometry: pl.DataFrame, losses: pl.DataFrame, *, pairings: int = 2000, seed: int = 0) -> Jumps:
    """Jumps of all features, the drops of the losses at them, and how far beyond chance these are."""
    steps = geometry[schema.STEP].unique().sort().to_numpy()
    n_instances, n_features = (geometry[name].n_unique() for name in (schema.INSTANCE, schema.FEATURE))
    order = [schema.INSTANCE, schema.FEATURE, schema.STEP]
    levels = geometry.sort(order)[schema.DIMENSIONALITY].to_numpy().reshape(-1, len(steps))
    log_loss = np.log(losses.sort(schema.INSTANCE, schema.STEP)[schema.VALUE].to_numpy().reshape(n_instances, -1))
    drops = drops_around(log_loss, steps)  # (instance, step)
    begin = steps[np.argmax(progress(np.median(log_loss, axis=0)) >= SETTLED)]
    large = (pl.col(schema.SIZE).abs() >= JUMP) & (pl.col(schema.X) >= begin)
    found = phaseflow.detect_many(levels, x=steps, penalty=PENALTY).filter(large)
    series = found[schema.SERIES].to_numpy()
    instance, at = series // n_features, found[schema.CHANGEPOINT].to_numpy()
    at_jumps = drops[:, at]  # (instance, jump): what every loss does at the steps of every jump
    own = at_jumps[instance, np.arange(len(at))]
    p_values = (at_jumps >= own).sum(axis=0) / n_instances  # its own counts among them
    q_values = phaseflow.q_values(p_values) if len(p_values) else p_values
    rng = np.random.default_rng(seed)
    # All jumps of a restart move together to another's loss: those of one restart are not independent.
    paired = np.array(
        [at_jumps[rng.permutation(n_instances)[instance], np.arange(len(at))].mean() for _ in range(pairings)]
    )
    table = pl.DataFrame(
        {
            schema.INSTANCE: instance,
            schema.FEATURE: series % n_features,
            schema.STEP: steps[at],
            schema.BEFORE: found[schema.BEFORE],
            schema.AFTER: found[schema.AFTER],
            schema.SIZE: found[schema.SIZE],
            "drop": own,
            schema.P_VALUE: p_values,
            schema.Q_VALUE: q_values,
            "coincides": q_values <= FDR,
        }
    )
    mean = float(own.mean())
    reached = (1 + int((paired >= mean).sum())) / (1 + pairings)
    return Jumps(geometry, losses, table, int(begin), mean, float(paired.mean()), reached)


def progress(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of its way from its first to its lowest value a curve has come, at most so far, 0 to 1."""
    come = np.maximum.accumulate(curve[0] - curve)
    found: NDArray[np.float64] = come / max(come[-1], 1e-300)
    return found


def drops_around(log_loss: NDArray[np.float64], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """By how much each loss falls over ``SPAN`` decades around every step, ``(instance, step)``."""
    x = np.log10(np.maximum(steps, 1))
    before = np.searchsorted(x, x - SPAN / 2).clip(0, len(x) - 1)
    after = (np.searchsorted(x, x + SPAN / 2, side="right") - 1).clip(0, len(x) - 1)
    # At least from one checkpoint to the next: early ones are more than a span apart.
    before, after = np.minimum(before, np.arange(len(x)) - 1).clip(0), np.maximum(after, np.arange(len(x)))
    found: NDArray[np.float64] = log_loss[:, before] - log_loss[:, after]
    return found
