"""What happens at which step, as data: the learning rate, and the checkpoints.

A checkpoint at step k is the model after k updates; step 0 is the untrained one.
"""

import math
from dataclasses import dataclass
from typing import Literal

from phaseflow.exceptions import ParameterError

Decay = Literal["constant", "cosine"]


@dataclass(frozen=True)
class LearningRate:
    """Straight up from 0 to `peak` over `warmup_steps`, then constant, or a cosine down to `floor_share * peak`."""

    peak: float = 6e-3  # high: small models at small batches bear it, and steps up to the change fall with it
    warmup_steps: int = 100  # long over before any head forms, so that no change can be its echo
    decay: Decay = "constant"  # a schedule that moves during the change could be mistaken for its cause
    floor_share: float = 0.1  # of the peak, at the last step of a cosine

    def __post_init__(self) -> None:
        if not self.peak > 0:
            raise ParameterError(f"peak must be over 0, got {self.peak}")
        if self.warmup_steps < 0:
            raise ParameterError(f"warmup_steps must be at least 0, got {self.warmup_steps}")
        if self.decay not in ("constant", "cosine"):
            raise ParameterError(f"decay must be constant or cosine, got {self.decay!r}")

    def at(self, step: int, steps: int) -> float:
        """The rate of the update that follows `step` updates, of `steps` in all."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        if self.decay == "constant":
            return self.peak
        done = (step - self.warmup_steps) / max(steps - self.warmup_steps, 1)  # 0 to 1
        return self.peak * (self.floor_share + (1 - self.floor_share) * (1 + math.cos(math.pi * done)) / 2)


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
