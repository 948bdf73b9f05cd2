"""What each run of the lab shows: the numbers that the claims are decided by, one `Measured` a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import schema
from phaseflow.analysis import Archive
from phaseflow.analysis.phase_changes import LEAST_CHECKPOINTS
from phaseflow.analysis.verdict import head_name
from phaseflow.changepoint import non_convexity
from phaseflow.labs.ablations import FULL, IN_CONTEXT_LEARNING_CHANGE
from phaseflow.labs.induction.sweep import Job

TEXT = "text"
#: A turn is between where a path came from and where it goes to, over this factor of steps either way.
REACH = 1.5


@dataclass(frozen=True)
class Turn:
    """Where a path through function space turns most."""

    step: float
    size: float  # nats: how far the way after it leads off the direction before it

    @property
    def span(self) -> tuple[float, float]:
        """The steps that the turn is between."""
        return self.step / REACH, self.step * REACH


@dataclass(frozen=True)
class Measured:
    """One run."""

    job: Job
    verdict: Mapping[str, Any]  # its row of `Archive.verdicts`
    first_step: int  # the first checkpoint after 0
    last_step: int
    events: Mapping[str, int]
    final: tuple[float, float, float]  # in-context learning score at the end and its 95% interval over examples
    bumps: tuple[tuple[float, float, float], ...]  # start, end, p-value of where the loss curve is not convex
    turn: Turn | None
    ablated: Mapping[str, tuple[float, float]]  # head to change of the in-context learning score, standard error

    @property
    def window(self) -> tuple[float, float] | None:
        """Start and end of the phase change in steps; None without one."""
        return (self.verdict[schema.START], self.verdict[schema.END]) if self.verdict[schema.PHASE_CHANGE] else None

    @property
    def start(self) -> tuple[float, float]:
        """The 95% interval of where the phase change starts."""
        return self.verdict[schema.lower(schema.START)], self.verdict[schema.upper(schema.START)]

    @property
    def span(self) -> float:
        """The observed steps, in logs."""
        return math.log(self.last_step / self.first_step)


def measured(archive: Archive, ablations: pl.DataFrame) -> list[Measured]:
    """Every run of an archive whose runs are called as the lab calls them."""
    verdicts = {row[schema.RUN]: row for row in archive.verdicts().iter_rows(named=True)}
    space = archive.function_space(tokens="all")
    found = []
    for run in archive.runs:
        variant, _, seed = run.name.rpartition("/seed")
        here = (pl.col(schema.RUN) == run.name) & (pl.col(schema.PROBE) == TEXT)
        events = dict(run.config.get("events") or {})
        scores = archive.in_context_learning().filter(here).sort(schema.STEP)
        final = scores.select(schema.VALUE, schema.LOWER, schema.UPPER).row(-1)
        found.append(
            Measured(
                job=Job(variant, int(seed)),
                verdict=verdicts[run.name],
                first_step=min(step for step in run.steps if step > 0),
                last_step=run.steps[-1],
                events=events,
                final=final,
                bumps=bumps(archive.loss_curve().filter(here), after=events.get("end of warm-up", 0)),
                turn=sharpest_turn(space.filter(here), after=events.get("end of warm-up", 0)),
                ablated=of_heads(ablations.filter(here), FULL),
            )
        )
    return found


def bumps(curve: pl.DataFrame, *, after: int) -> tuple[tuple[float, float, float], ...]:
    """Where a loss curve over log(step) is not convex once warm-up is over, whose own bend is none of the bumps."""
    curve = curve.filter(pl.col(schema.STEP) > after).sort(schema.STEP)
    if curve.height < LEAST_CHECKPOINTS:
        return ()
    x = np.log(curve[schema.STEP].to_numpy())
    stretches = non_convexity(curve[schema.VALUE].to_numpy(), x=x)
    rows = stretches.select(schema.START, schema.END, schema.P_VALUE).iter_rows()
    return tuple((math.exp(start), math.exp(end), p) for start, end, p in rows)


def sharpest_turn(space: pl.DataFrame, *, after: int) -> Turn | None:
    """Where the path of the first two components turns most, over log(step), once warm-up is over.

    With `before` the way from step / REACH to a step, and `next` that from it to step * REACH: the part of `next` at
    right angles to `before`. A length, not an angle: a path that has all but come to rest turns by any angle.
    """
    path = space.filter(pl.col(schema.STEP) > after).pivot(schema.COMPONENT, index=schema.STEP, values=schema.VALUE)
    path = path.sort(schema.STEP)
    if path.height < LEAST_CHECKPOINTS or "2" not in path.columns:
        return None
    at = np.log(path[schema.STEP].to_numpy())
    reach = math.log(REACH)
    steps = at[(at - reach >= at[0]) & (at + reach <= at[-1])]
    if not len(steps):
        return None

    def place(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.interp(x, at, path[name].to_numpy()) for name in ("1", "2")], axis=1)

    before, following = place(steps) - place(steps - reach), place(steps + reach) - place(steps)
    across = before[:, 0] * following[:, 1] - before[:, 1] * following[:, 0]
    length = np.linalg.norm(before, axis=1)
    sizes = np.divide(np.abs(across), length, out=np.zeros_like(length), where=length > 0)
    sharpest = int(sizes.argmax())
    return Turn(math.exp(steps[sharpest]), float(sizes[sharpest]))


def of_heads(ablations: pl.DataFrame, ablation: str) -> dict[str, tuple[float, float]]:
    """What the in-context learning score changes by without each head, at the last checkpoint looked at."""
    rows = ablations.filter(
        (pl.col(schema.METRIC) == IN_CONTEXT_LEARNING_CHANGE)
        & (pl.col(schema.ABLATION) == ablation)
        & (pl.col(schema.STEP) == pl.col(schema.STEP).max())
    )
    columns = (schema.LAYER, schema.HEAD, schema.VALUE, schema.STANDARD_ERROR)
    return {head_name(layer, head): (value, error) for layer, head, value, error in rows.select(columns).iter_rows()}
