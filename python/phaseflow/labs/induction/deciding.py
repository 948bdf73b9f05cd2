"""How a claim is decided by a few runs: counts against chance, means with intervals over seeds.

* A claim that something is found in a run (a window, a bump) is held against chance: with `k` of `n` runs showing it
  and false alarms at a rate of 0.05 a run, it holds where so many would come by chance in at most 0.05 of cases and
  more than half of the runs show it; it does not where at least two runs were looked at, fewer than half show it, and
  so many may come by chance. What some seeds do beyond chance, but not most, is undecided.
* Shares of runs have exact (Clopper-Pearson) 95% intervals; means have t intervals over seeds from three seeds on, and
  below that the hull of the runs' own intervals.
* What no run was trained for is undecided, and says so.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from phaseflow.analysis.overlap import chance_of_at_least
from phaseflow.reporting.claims import DOES_NOT, HOLDS, UNDECIDED, Claim

LEVEL = 0.05
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # by degrees of freedom, from 1


def counted(claim: str, n: int, k: int, text: str, what: str, how: str = "") -> Claim:
    """A claim that most of `n` runs show something, as `k` do, each by a test with false alarms at the rate `LEVEL`."""
    rule = f"more than half of the {what} show it, and so many false alarms come by chance in at most {LEVEL:g};"
    rule += " does not if fewer than half of at least two do, and so many may come by chance"
    if not n:
        return nothing(claim, rule, how or "no run of the kind was trained")
    lower, upper = share_interval(k, n)
    measured = f"{k} of {n} runs" + (f"; {text}" if text else "")
    verdict = from_counts(k, n, chance_of_at_least(k, [LEVEL] * n))
    return Claim(claim, verdict, measured, rule, n, k / n, lower, upper)


def from_counts(k: int, n: int, chance: float) -> str:
    """The verdict on `k` of `n` runs, so many coming by chance with that probability."""
    # The rate itself counts as reached, whatever its last bit.
    beyond_chance = chance <= LEVEL * (1 + 1e-9)
    if 2 * k > n and beyond_chance:
        return HOLDS
    return DOES_NOT if n >= 2 and 2 * k < n and not beyond_chance else UNDECIDED


def nothing(claim: str, rule: str, why: str = "no run of the kind was trained") -> Claim:
    """A claim that no run speaks to."""
    return Claim(claim, UNDECIDED, why, rule, 0)


def above(lower: float, upper: float, value: float) -> str:
    """Whether an interval lies above a value."""
    return HOLDS if lower > value else DOES_NOT if upper < value else UNDECIDED


def over_seeds(values: Sequence[float], own: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Mean with its t interval over seeds; of one or two seeds the hull of the runs' own intervals."""
    mean, n = float(np.mean(values)), len(values)
    if n < 3:
        return mean, *hull(own)
    t = _T_975[n - 2] if n - 2 < len(_T_975) else 1.96
    half = t * float(np.std(values, ddof=1)) / n**0.5
    return mean, mean - half, mean + half


def share_interval(k: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's 95% interval of a share, from `k` of `n`."""

    def solve(tail: Callable[[float], float]) -> float:
        low, high = 0.0, 1.0  # `tail` rises
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle) < 0.025 else (low, middle)
        return low

    lower = 0.0 if k == 0 else solve(lambda p: chance_of_at_least(k, [p] * n))
    upper = 1.0 if k == n else 1.0 - solve(lambda q: chance_of_at_least(n - k, [q] * n))
    return lower, upper


def meet(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether two intervals have a point in common."""
    return first[0] <= second[1] and second[0] <= first[1]


def hull(intervals: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The smallest interval that holds all of them."""
    lowers, uppers = zip(*intervals, strict=True)
    return min(lowers), max(uppers)


def geometric(values: Sequence[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def percent(value: float) -> str:
    """``68%``."""
    return f"{100 * value:.0f}%"
