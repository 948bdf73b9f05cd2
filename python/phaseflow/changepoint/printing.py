"""A segmentation as text: its segments, then what changed between them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from phaseflow.changepoint.segmentation import Segmentation

# Of more features, or parameters of a changepoint, some are shown.
MOST_PARAMETERS = 6
# Of more segments, or changepoints, the first and the last are, half and half.
_MOST_ROWS = 24


def printed(found: "Segmentation") -> str:
    """A line for the whole, a table of the segments, one of the changepoints, and what has to hold."""
    count = len(found.changepoints)
    noun = "changepoint" if count == 1 else "changepoints"
    price = "" if found.penalty is None else f", penalty {found.penalty:.4g} ({found.criterion})"
    search = found.search if found.exact else f"{found.search} (approximate)"
    lines = [f"{count} {noun} in {len(found.x)} samples: cost {found.cost_name} {found.cost:.6g}{price}, {search}"]
    lines += _aligned(list(_segments(found)))
    if count:
        lines += _aligned(list(_changes(found)))
    return "\n".join([*lines, f"assumes {found.assumption}"])


def _segments(found: "Segmentation") -> Iterator[tuple[str, ...]]:
    heading = ("segment", "samples", "x", "mean", "cost")
    yield heading
    segments = found.segments
    for index in _shown(len(segments)):
        if index is None:
            yield ("...",) * len(heading)
            continue
        start, end = segments[index]
        span = f"{found.x[start]:.6g} to {found.x[end - 1]:.6g}"
        yield (str(index), f"[{start}, {end})", span, _some(found.means[index]), f"{found.costs[index]:.4g}")


def _changes(found: "Segmentation") -> Iterator[tuple[str, ...]]:
    """A row for each effect of each changepoint."""
    heading = ("changepoint", "begins at", "p", "effect", "before", "after", "size", f"{found.level:.0%} interval")
    yield heading
    for index in _shown(len(found.changepoints)):
        if index is None:
            yield ("...",) * len(heading)
            continue
        first, last = found.places[index]
        p_value = found.p_values[index]
        names = (str(found.changepoints[index]), f"{first} to {last}", "-" if np.isnan(p_value) else f"{p_value:.2g}")
        effects = found.of_changepoint(index, MOST_PARAMETERS)
        for effect in effects:
            name = effect.name if found.signal.shape[1] == 1 else f"{effect.name} {effect.feature}"
            values = (_number(value) for value in (effect.before, effect.after, effect.size))
            interval = "-" if np.isnan(effect.lower) else f"{effect.lower:.4g} to {effect.upper:.4g}"
            yield (*names, name, *values, interval)
            names = ("", "", "")
        if not effects:
            yield (*names, "-", "-", "-", "-", "-")
        left_out = len(found.of_changepoint(index)) - len(effects)
        if left_out:
            yield ("", "", "", f"{left_out} less clear", "", "", "", "see effects()")


def _shown(count: int) -> list[int | None]:
    """Which of so many rows; ``None`` stands for those left out."""
    if count <= _MOST_ROWS:
        return list(range(count))
    half = _MOST_ROWS // 2
    return [*range(half), None, *range(count - half, count)]


def _some(values: NDArray[np.float64]) -> str:
    """All of a few, the first of many."""
    shown = ", ".join(f"{value:.4g}" for value in values[:MOST_PARAMETERS])
    return shown if len(values) <= MOST_PARAMETERS else f"{shown}, ... ({len(values)} features)"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
