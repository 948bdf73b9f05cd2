"""Do two intervals of training coincide, and how often would they by chance?

Intervals are compared on the log of the step, because that is where phase changes have comparable widths. The null
model places both intervals, with the widths they have, uniformly and independently inside the observed span.

With widths ``a`` and ``b`` in a span ``s``, starts are uniform on ``[0, s - a]`` and ``[0, s - b]``; the first lies
wholly before the second with probability ``g² / (2 (s - a)(s - b))`` for ``g = s - a - b > 0``, and the reverse
likewise, so they meet with probability ``1 - g² / ((s - a)(s - b))``.
"""

import math
from collections.abc import Sequence

Interval = tuple[float, float]


def overlap(first: Interval, second: Interval) -> float:
    """Share of two intervals' joint length that they have in common: 0 apart, 1 identical."""
    shared = min(first[1], second[1]) - max(first[0], second[0])
    joint = max(first[1], second[1]) - min(first[0], second[0])
    if joint == 0.0:
        return 1.0
    return max(shared, 0.0) / joint


def chance_of_meeting(width_first: float, width_second: float, span: float) -> float:
    """Probability that two intervals of these widths, placed at random inside ``span``, have a point in common."""
    gap = span - width_first - width_second
    if gap <= 0.0:
        return 1.0
    return 1.0 - gap**2 / ((span - width_first) * (span - width_second))


def chance_of_at_least(meetings: int, chances: Sequence[float]) -> float:
    """Probability of at least ``meetings`` successes among independent events with these ``chances``.

    The Poisson-binomial tail, by adding one event at a time: over several runs, how unlikely is it that so many of
    them show two coinciding intervals.
    """
    exactly = [1.0]
    for chance in chances:
        missed = [p * (1.0 - chance) for p in exactly] + [0.0]
        met = [0.0] + [p * chance for p in exactly]
        exactly = [a + b for a, b in zip(missed, met, strict=True)]
    return math.fsum(exactly[meetings:])
