"""What `detect` returns: a signal cut into segments."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phaseflow import schema

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments ``[start, end)`` of a signal, cheapest for a cost and a penalty.

    Attributes
    ----------
    changepoints
        ``(changepoint,)`` int64: index of the first sample of every segment but the first; never 0 or the number of
        samples. For ``cost_name`` "clinear" the sample where two lines meet.
    x
        ``(sample,)``: the axis.
    means
        ``(segment, feature)``: mean of the signal over every segment, without missing samples.
    costs
        ``(segment,)``: cost of every segment: in squared units of the signal for l2, biweight, linear and clinear, in
        its unit for l1, a number for the others.
    penalty
        What a changepoint had to be worth, in the same unit; ``None`` where their number was given.
    noise_variance
        Variance the penalty was made from; ``None`` where it was given as a number, or not needed.
    cost_name, search, criterion
        What was asked for; ``search`` is the one that ran. All but "binseg" and "bottom-up" are exact.
    assumption
        What has to hold for the number of changepoints to mean something.
    """

    changepoints: NDArray[np.int64]
    x: NDArray[np.float64]
    means: NDArray[np.float64]
    costs: NDArray[np.float64]
    penalty: float | None
    noise_variance: float | None
    cost_name: str
    search: str
    criterion: str
    assumption: str

    @property
    def segments(self) -> list[tuple[int, int]]:
        """``[start, end)`` of every segment, as sample indices."""
        bounds = [0, *self.changepoints.tolist(), len(self.x)]
        return list(pairwise(bounds))

    @property
    def cost(self) -> float:
        """Sum of the segments' costs, without penalties."""
        return float(self.costs.sum())

    def to_polars(self) -> "pl.DataFrame":
        """One row a segment: its index, samples ``[start, end)``, first and last x, mean and cost.

        A signal of several features has one ``mean`` column a feature: ``mean_0``, ``mean_1``, ...
        """
        import polars as pl

        starts, ends = (np.array(side, dtype=np.int64) for side in zip(*self.segments, strict=True))
        means = {schema.MEAN if self.means.shape[1] == 1 else f"{schema.MEAN}_{feature}": column
                 for feature, column in enumerate(self.means.T)}  # fmt: skip
        return pl.DataFrame(
            {
                schema.SEGMENT: np.arange(len(starts)),
                schema.START: starts,
                schema.END: ends,
                schema.X_FIRST: self.x[starts],
                schema.X_LAST: self.x[ends - 1],
                **means,
                schema.COST: self.costs,
            }
        )

    def __str__(self) -> str:
        count = len(self.changepoints)
        noun = "changepoint" if count == 1 else "changepoints"
        price = "" if self.penalty is None else f", penalty {self.penalty:.4g} ({self.criterion})"
        lines = [
            f"{count} {noun} in {len(self.x)} samples: cost {self.cost_name} {self.cost:.6g}{price}, {self.search}"
        ]
        rows = [("segment", "samples", "x", "mean", "cost")]
        for index, (start, end) in enumerate(self.segments):
            mean = ", ".join(f"{value:.4g}" for value in self.means[index])
            span = f"{self.x[start]:.6g} to {self.x[end - 1]:.6g}"
            rows.append((str(index), f"[{start}, {end})", span, mean, f"{self.costs[index]:.4g}"))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([*lines, f"assumes {self.assumption}"])
