"""What `detect` returns: a signal cut into segments, and how certain each cut is."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phaseflow import schema
from phaseflow.changepoint.certainty import Certainty, certainty, existence
from phaseflow.changepoint.effects import Effect, effects

if TYPE_CHECKING:
    import polars as pl

APPROXIMATE = ("binseg", "bottom-up", "seeded", "window")


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
    signal
        ``(sample, feature)``: what was cut; missing samples are NaN.
    costs
        ``(segment,)``: cost of every segment: in squared units of the signal for l2, biweight, linear and clinear, in
        its unit for l1, a number for the others.
    level
        Confidence of the intervals.
    min_size
        Least samples of a segment, with what the cost and penalty "auto" raise it to.
    order
        Samples that cost "ar" predicts from.
    penalty
        What a changepoint had to be worth, in the unit of the cost; ``None`` where their number was given.
    noise_variance
        Variance the penalty was made from: the long-run variance for criterion "auto", that of what the prediction
        leaves for cost "ar". ``None`` where the penalty was given as a number, or no variance was needed.
    autocorrelation
        Coefficient of the noise from one sample to the next, 0 to 0.98, for criterion "auto"; else ``None``.
    cost_name, search, criterion
        What was asked for; ``search`` is the one that ran.
    assumption
        What has to hold for the number of changepoints to mean something.
    """

    changepoints: NDArray[np.int64]
    x: NDArray[np.float64]
    signal: NDArray[np.float64]
    costs: NDArray[np.float64]
    level: float
    min_size: int
    order: int
    penalty: float | None
    noise_variance: float | None
    autocorrelation: float | None
    cost_name: str
    search: str
    criterion: str
    assumption: str

    @property
    def segments(self) -> list[tuple[int, int]]:
        """``[start, end)`` of every segment, as sample indices."""
        bounds = [0, *self.changepoints.tolist(), len(self.x)]
        return list(pairwise(bounds))

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """``(segment, feature)``: mean of the signal over every segment, without missing samples."""
        there: NDArray[np.bool_] = np.logical_not(np.isnan(self.signal).any(axis=1))
        return np.stack([self.signal[start:end][there[start:end]].mean(axis=0) for start, end in self.segments])

    @property
    def exact(self) -> bool:
        """Whether no segmentation is cheaper: false after an approximate search."""
        return self.search not in APPROXIMATE

    @property
    def cost(self) -> float:
        """Sum of the segments' costs, without penalties."""
        return float(self.costs.sum())

    @property
    def places(self) -> NDArray[np.int64]:
        """``(changepoint, 2)``: first and last sample at which the new segment may begin, at ``level``.

        From the profile of the cost, the neighbouring changepoints held where they are, against Hansen's cut (2000):
        for independent noise, for criterion "auto" AR(1) noise with the ``autocorrelation`` found (deviances are over
        its long-run variance); cautious where the change is large, for "clinear", and for several features with costs
        "linear", "ar" and "l1". How often they hold: docs/changepoints.md. Cost "rbf" says nothing of how samples are
        distributed, so that no cut is known for its profile: there it is the changepoint itself.
        """
        return self._certainty.places

    @property
    def sizes(self) -> NDArray[np.float64]:
        """``(changepoint, feature)``: mean after less mean before; NaN for costs of lines."""
        return self._certainty.sizes

    @property
    def size_intervals(self) -> NDArray[np.float64]:
        """``(changepoint, feature, 2)``: intervals of the sizes at ``level``, the place taken as given.

        NaN for costs of lines, and between two single samples.
        """
        return self._certainty.size_intervals

    @cached_property
    def p_values(self) -> NDArray[np.float64]:
        """``(changepoint,)``: probability of a change this clear between its neighbours where there is none.

        The search over all places between them is part of it; the neighbours are taken as given. For cost "l2" of one
        feature the one of :func:`detect_many`, for independent normal noise. For others the share of 199 orders of the
        samples (for costs of lines of what one line leaves, for "ar" of what one prediction leaves) whose best cut
        gains as much: for independent noise of any distribution; below 1/200 it follows an exponential tail, not below
        1e-6. For criterion "auto" with an ``autocorrelation`` above 0 as large a gain, over the long-run variance, in
        199 AR(1) series of the shuffled innovations, which show a coefficient of their own; for others noise that lasts
        makes p-values too small. NaN for more than 20,000 samples between
        neighbours, for "rbf" more than 1,000. Worked out when first asked for.
        """
        there, samples, changepoints = self._present
        return existence(
            self.x[there],
            samples,
            changepoints,
            self.cost_name,
            self.min_size,
            self.order,
            lasting=self._lasting > 0,
        )

    @property
    def _lasting(self) -> float:
        """The noise's coefficient from one sample to the next that certainty is told with, 0 for independent noise."""
        return self.autocorrelation or 0.0

    @cached_property
    def _present(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Samples that are there, their values, and the changepoints among them."""
        there = np.flatnonzero(~np.isnan(self.signal).any(axis=1))
        return there, self.signal[there], np.searchsorted(there, self.changepoints)

    @cached_property
    def _certainty(self) -> Certainty:
        """Worked out when it is first asked for: it takes longer than the fastest search."""
        there, samples, changepoints = self._present
        found = certainty(
            self.x[there],
            samples,
            changepoints,
            self.cost_name,
            self.min_size,
            self.order,
            self.level,
            self._lasting,
        )
        return replace(found, places=there[found.places])

    @cached_property
    def _effects(self) -> list[Effect]:
        there, samples, changepoints = self._present
        return list(
            effects(self.x[there], samples, changepoints, self.cost_name, self.order, self.level, self._lasting)
        )

    @cached_property
    def _effects_at(self) -> dict[int, list[Effect]]:
        return {index: list(own) for index, own in groupby(self._effects, key=attrgetter("changepoint"))}

    def of_changepoint(self, index: int, most: int | None = None) -> list[Effect]:
        """What changed at one changepoint: the rows of :meth:`effects`; of more than ``most`` the clearest.

        The clearest are those whose size is largest beside the width of its interval, in the order of the features.
        """
        own = self._effects_at.get(index, [])
        if most is None or len(own) <= most:
            return list(own)
        clearest = sorted(range(len(own)), key=lambda place: _clarity(own[place]), reverse=True)[:most]
        return [own[place] for place in sorted(clearest)]

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

    def changes(self) -> "pl.DataFrame":
        """One row a changepoint and feature: where, how large and how certain.

        ``changepoint``, ``feature``; ``x`` there, with ``x_lower`` the last x that may still lie before the change and
        ``x_upper`` the first that may lie after it at the latest; ``before`` and ``after``, means of the segments on
        either side; ``size`` with ``size_lower`` and ``size_upper``; ``p_value``. Null where the cost has no such
        measure.
        """
        import polars as pl

        n_features = self.means.shape[1]
        columns: dict[str, Any] = {
            schema.CHANGEPOINT: np.repeat(self.changepoints, n_features),
            schema.FEATURE: np.tile(np.arange(n_features), len(self.changepoints)),
            schema.X: np.repeat(self.x[self.changepoints], n_features),
            schema.lower(schema.X): np.repeat(self.x[np.maximum(self.places[:, 0] - 1, 0)], n_features),
            schema.upper(schema.X): np.repeat(self.x[self.places[:, 1]], n_features),
            schema.BEFORE: self.means[:-1].ravel(),
            schema.AFTER: self.means[1:].ravel(),
            schema.SIZE: self.sizes.ravel(),
            schema.lower(schema.SIZE): self.size_intervals[..., 0].ravel(),
            schema.upper(schema.SIZE): self.size_intervals[..., 1].ravel(),
            schema.P_VALUE: np.repeat(self.p_values, n_features),
        }
        return pl.DataFrame(columns).fill_nan(None)

    def effects(self) -> "pl.DataFrame":
        """One row a changepoint, feature and parameter of the cost: what changed, by how much, how certain.

        ``changepoint``, ``feature``, ``effect``, ``before``, ``after``, ``size`` (after less before) with
        ``size_lower`` and ``size_upper`` at ``level``. Effects: "mean" (l2, cosine), "mean" and "log_scale" (normal),
        "log_scale" (variance), "median" (l1, biweight, rank), "log_rate" (poisson), "level" and "slope" (linear),
        "slope" (clinear), "lag_1", ..., "constant" (ar); none for rbf. Those named ``log_`` are natural logarithms, so
        that the exponential of ``size`` is a ratio. Null where there are too few samples.
        """
        import polars as pl

        rows = [effect._replace(changepoint=int(self.changepoints[effect.changepoint])) for effect in self._effects]
        size = schema.SIZE
        columns = {
            schema.CHANGEPOINT: pl.Int64,
            schema.FEATURE: pl.Int64,
            schema.EFFECT: pl.String,
            **dict.fromkeys((schema.BEFORE, schema.AFTER, size, schema.lower(size), schema.upper(size)), pl.Float64),
        }
        return pl.DataFrame(rows, schema=columns, orient="row").fill_nan(None)

    def plot(self) -> Any:
        """A plotly figure: signal, levels or lines of the segments, changepoints, the intervals of their places shaded.

        Above each changepoint what changed, by how much, with its interval and p-value; by its size alone where
        changepoints are many. On hovering over its mark, every parameter of every feature.
        """
        from phaseflow.changepoint.figure import figure

        return figure(self)

    def __str__(self) -> str:
        """The segments and the changes as two tables; of many, the first and the last."""
        from phaseflow.changepoint.printing import printed

        return printed(self)


def _clarity(effect: Effect) -> tuple[float, float]:
    """By the size in widths of its interval, which is 0 where there is no noise; what has no interval comes last."""
    size, width = abs(effect.size), effect.upper - effect.lower
    if not width >= 0 or not size > 0:
        return 0.0, 0.0
    return (size / width if width > 0 else np.inf), size
