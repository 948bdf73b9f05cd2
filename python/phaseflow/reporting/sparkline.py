"""A small curve in a line of a table: drawn as it is, without a script."""

import math
from collections.abc import Sequence

from phaseflow.reporting.style import INK, MUTED

WIDTH, HEIGHT = 150, 30
#: Room above and below the curve.
MARGIN = 3
BREAK = "#ffe0a3"  # that of the token's mark


def sparkline(x: Sequence[float], y: Sequence[float], *, start: float, end: float) -> str:
    """``y`` from 0 up over the logarithm of ``x``, with the break from ``start`` to ``end`` behind it; SVG.

    What is not finite is left out. Nothing of fewer than two points.
    """
    points = [(math.log(at), value) for at, value in zip(x, y, strict=True) if math.isfinite(value)]
    if len(points) < 2:
        return ""
    first, last = points[0][0], points[-1][0]
    top = max(max(value for _, value in points), 1e-9)

    def across(at: float) -> float:
        return WIDTH * min(max((at - first) / (last - first), 0.0), 1.0)

    def down(value: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * max(value, 0.0) / top

    path = " ".join(f"{across(at):.1f},{down(value):.1f}" for at, value in points)
    left, right = across(math.log(start)), across(math.log(end))
    return (
        f'<svg class="spark" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="loss from {points[0][1]:.2f} to {points[-1][1]:.2f} nats">'
        f'<rect x="{left:.1f}" y="0" width="{max(right - left, 2.0):.1f}" height="{HEIGHT}" fill="{BREAK}"/>'
        f'<line x1="0" x2="{WIDTH}" y1="{down(0):.1f}" y2="{down(0):.1f}" stroke="{MUTED}" stroke-width="0.5"/>'
        f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1"/></svg>'
    )
