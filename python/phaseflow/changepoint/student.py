"""Quantiles of Student's distribution, without scipy."""

import math
from collections.abc import Sequence, Sized
from statistics import NormalDist


def student_quantile(probability: float, freedom: float) -> float:
    """Of Student's distribution, for a probability above 1/2: exact for 1 and 2, else Hill's expansion (1970)."""
    tail = 2 * (1 - probability)
    if freedom == 1:
        return 1 / math.tan(tail * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (tail * (2 - tail)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * tail) ** (2 / freedom)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(tail / 2)
        y = x * x
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) + 0.5 / (freedom + 4)) * y
            - 1
        ) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)


def welch_freedom(parts: Sequence[float], sides: Sequence[Sized]) -> float:
    """Of a difference of means whose squared error has ``parts``; all samples less two where these are 0."""
    total = sum(parts)
    if not total > 0:
        return sum(map(len, sides)) - len(sides)
    return 1 / sum((part / total) ** 2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
