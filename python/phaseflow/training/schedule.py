"""What happens at which step, as data: the learning rate, the weight decay, and the checkpoints.

A checkpoint at step k is the model after k updates; step 0 is the untrained one. A change at step k is of the update
that follows checkpoint k, so what it causes shows after k. Every abrupt change is an event with a name and a step, by
which the analysis tells a phase change from the schedule's own doing (Olsson 2022, Model Details).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from phaseflow.exceptions import ParameterError

Decay = Literal["constant", "cosine"]


@dataclass(frozen=True)
class LearningRate:
    """Straight up from 0 to `peak` over `warmup_steps`, then constant, or a cosine down to `floor_share * peak`.

    `factors` are steps down, or up: ((3000, 0.1), (6000, 0.01)) is a tenth of that from step 3000 on, a hundredth of
    that, not of a tenth, from step 6000 on.
    """

    peak: float = 6e-3  # high: small models at small batches bear it, and steps up to the change fall with it
    warmup_steps: int = 100  # long over before any head forms, so that no change can be its echo
    decay: Decay = "constant"  # a schedule that moves during the change could be mistaken for its cause
    floor_share: float = 0.1  # of the peak, at the last step of a cosine
    factors: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.peak > 0:
            raise ParameterError(f"peak must be over 0, got {self.peak}")
        if self.warmup_steps < 0:
            raise ParameterError(f"warmup_steps must be at least 0, got {self.warmup_steps}")
        if self.decay not in ("constant", "cosine"):
            raise ParameterError(f"decay must be constant or cosine, got {self.decay!r}; steps are factors")
        check_changes("factors", self.factors)

    def at(self, step: int, steps: int) -> float:
        """The rate of the update that follows `step` updates, of `steps` in all."""
        if step < self.warmup_steps:
            rate = self.peak * (step + 1) / self.warmup_steps
        elif self.decay == "constant":
            rate = self.peak
        else:
            done = (step - self.warmup_steps) / max(steps - self.warmup_steps, 1)  # 0 to 1
            rate = self.peak * (self.floor_share + (1 - self.floor_share) * (1 + math.cos(math.pi * done)) / 2)
        return rate * value_at(1.0, self.factors, step)

    def events(self) -> dict[str, int]:
        """Abrupt changes by name: the end of warm-up, and every factor."""
        warmup = {"end of warm-up": self.warmup_steps} if self.warmup_steps else {}
        return warmup | {f"learning rate x {factor:g} at step {step}": step for step, factor in self.factors}


@dataclass(frozen=True)
class WeightDecay:
    """`initial`, and from each step of `changes` on another value: ((3000, 0.0),) stops decaying at step 3000."""

    initial: float = 0.01
    changes: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.initial >= 0:
            raise ParameterError(f"initial weight decay must be at least 0, got {self.initial}")
        check_changes("changes", self.changes)

    def at(self, step: int) -> float:
        """The decay of the update that follows `step` updates."""
        return value_at(self.initial, self.changes, step)

    def events(self) -> dict[str, int]:
        """Every change by name."""
        return {f"weight decay {value:g} from step {step}": step for step, value in self.changes}


def value_at(initial: float, changes: Sequence[tuple[int, float]], step: int) -> float:
    """The value of the latest change up to `step`, or `initial`."""
    return next((value for at, value in reversed(changes) if at <= step), initial)


def check_changes(name: str, changes: Sequence[tuple[int, float]]) -> None:
    """Refuses changes that are not pairs of a step from 1, rising, and a finite number from 0."""
    steps = [step for step, _ in changes]
    if any(step < 1 for step in steps) or any(a >= b for a, b in pairwise(steps)):
        raise ParameterError(f"{name} must be at rising steps from 1, got steps {steps}")
    for step, value in changes:
        if not 0 <= value < math.inf:
            raise ParameterError(f"{name} at step {step} is {value}, expected a number from 0")


@dataclass(frozen=True)
class Checkpoints:
    """Steps that are looked at: first and last, some evenly spaced in log(step), and every so many of a stretch."""

    n_log: int = 30  # what early training learns, it learns on a logarithmic clock
    dense_every: int | None = None  # steps
    dense_from: int = 0
    dense_to: int | None = None  # None: to the end

    def __post_init__(self) -> None:
        if self.dense_every is not None and self.dense_every < 1:
            raise ParameterError(f"dense_every must be at least 1, got {self.dense_every}")

    def steps(self, steps: int) -> list[int]:
        """The steps, in order and without repeats."""
        chosen = {0, steps}
        chosen |= {round(steps ** (i / self.n_log)) for i in range(self.n_log)} if steps else set()
        if self.dense_every is not None:
            end = steps if self.dense_to is None else min(self.dense_to, steps)
            chosen |= set(range(self.dense_from, end + 1, self.dense_every))
        return sorted(chosen)
