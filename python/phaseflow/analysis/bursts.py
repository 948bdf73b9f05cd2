"""When single tokens break: a histogram over steps against what chance gives, and the bursts that stand out of it.

A break lies at the geometric mean of the steps before and after it. Chance: as many drops, placed where the test places
false ones (simulated, with the tokens' own wander, on the same checkpoints), which is far from uniform where
checkpoints are not. Tokens of one example break together for reasons of their own (they share its text), so a bin's
count is as uncertain as its scatter over examples says, and at least as a Poisson count.
"""

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import schema

#: Width of a bin, decades of the step.
BIN = 0.1
#: A bin is part of a burst below this p-value, divided by the number of bins.
LEVEL = 0.001

BURST_SCHEMA = pl.Schema(
    {
        schema.RUN: pl.String,
        schema.PROBE: pl.String,
        schema.START: pl.Float64,
        schema.END: pl.Float64,
        schema.FALLS: pl.Int64,
        schema.RISES: pl.Int64,
        schema.EXPECTED_FALLS: pl.Float64,
        schema.P_VALUE: pl.Float64,
        schema.REPEATED_SHARE: pl.Float64,
        schema.REPEATED_SHARE_OF_ALL: pl.Float64,
        schema.BURST: pl.Int32,
    }
)


def token_bursts(changes: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """One row a bin of steps of each probe of each run; see :meth:`phaseflow.Archive.token_bursts`."""
    tables = [pl.DataFrame(schema=BURST_SCHEMA)]
    for (run, probe), tried in places.group_by([schema.RUN, schema.PROBE], maintain_order=True):
        own = changes.filter((pl.col(schema.RUN) == run) & (pl.col(schema.PROBE) == probe))
        bins = histogram(own, tried).with_columns(pl.lit(run).alias(schema.RUN), pl.lit(probe).alias(schema.PROBE))
        tables.append(bins.select(BURST_SCHEMA.names()).cast(BURST_SCHEMA))
    return pl.concat(tables)


def histogram(changes: pl.DataFrame, tried: pl.DataFrame) -> pl.DataFrame:
    """The bins of one probe."""
    place = middle(tried)
    first = math.floor(place.min() / BIN)
    edges = np.arange(first, math.floor(place.max() / BIN) + 2) * BIN
    n_bins = len(edges) - 1
    at = np.clip(np.digitize(middle(changes), edges) - 1, 0, n_bins - 1)
    falling = changes[schema.HEIGHT].to_numpy() < 0
    falls, rises = (np.bincount(at[which], minlength=n_bins) for which in (falling, ~falling))
    chance = np.bincount(np.digitize(place, edges) - 1, tried[schema.SHARE].to_numpy(), minlength=n_bins)
    expected = chance * falling.sum()
    p_values = upper_tail(
        falls - expected, spread(at[falling], changes[schema.EXAMPLE].to_numpy()[falling], n_bins), expected
    )
    repeats = changes[schema.REPEAT_LENGTH].cast(pl.Float64).to_numpy()[falling]
    repeated = np.bincount(at[falling], repeats >= 2, minlength=n_bins)
    known = not np.isnan(repeats).any()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(known & (falls > 0), repeated / falls, np.nan)
    return pl.DataFrame(
        {
            schema.START: 10.0 ** edges[:-1],
            schema.END: 10.0 ** edges[1:],
            schema.FALLS: falls,
            schema.RISES: rises,
            schema.EXPECTED_FALLS: expected,
            schema.P_VALUE: p_values,
            schema.REPEATED_SHARE: share,
            schema.REPEATED_SHARE_OF_ALL: np.full(n_bins, tried[schema.REPEATED_SHARE_OF_ALL][0]),
            schema.BURST: numbered(p_values < LEVEL / n_bins),
        }
    )


def middle(table: pl.DataFrame) -> NDArray[np.float64]:
    """log10 of the place of each break."""
    ends: NDArray[np.float64] = np.log10(table.select(schema.START, schema.END).to_numpy())
    centre: NDArray[np.float64] = ends.mean(axis=1)
    return centre


def spread(at: NDArray[np.int64], example: NDArray[np.int32], n_bins: int) -> NDArray[np.float64]:
    """Variance of each bin's count if examples were drawn anew, from its scatter over the examples that have any."""
    if not len(at):
        return np.zeros(n_bins)
    n_examples = int(example.max()) + 1
    counts = np.bincount(at * n_examples + example, minlength=n_bins * n_examples).reshape(n_bins, n_examples)
    variance: NDArray[np.float64] = n_examples * counts.var(axis=1)
    return variance


def upper_tail(
    excess: NDArray[np.float64], variance: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How often chance gives this excess or more; 1 where there is none."""
    scale = np.sqrt(np.maximum(np.maximum(variance, expected), 1.0))
    return np.array([0.5 * math.erfc(z / math.sqrt(2)) if z > 0 else 1.0 for z in excess / scale])


def numbered(inside: NDArray[np.bool_]) -> list[int | None]:
    """1, 1, 1, none, 2, ...: the runs of neighbouring true values."""
    numbers: list[int | None] = []
    burst = 0
    for index, here in enumerate(inside):
        if here and not (index and inside[index - 1]):
            burst += 1
        numbers.append(burst if here else None)
    return numbers


def typical_tokens(changes: pl.DataFrame, bursts: pl.DataFrame, *, n: int = 5) -> pl.DataFrame:
    """The surest drops of each burst, at most one a token id: rows of ``changes`` with ``burst`` in front."""
    chosen = [changes.clear().insert_column(0, pl.Series(schema.BURST, [], pl.Int32))]
    spans = bursts.drop_nulls(schema.BURST).group_by([schema.RUN, schema.PROBE, schema.BURST], maintain_order=True)
    for (run, probe, burst), bins in spans:
        place = pl.Series(middle(changes))
        inside = (
            (pl.col(schema.RUN) == run)
            & (pl.col(schema.PROBE) == probe)
            & (pl.col(schema.HEIGHT) < 0)
            & place.is_between(math.log10(bins[schema.START][0]), math.log10(bins[schema.END][-1]), closed="left")
        )
        rows = changes.filter(inside).sort(schema.P_VALUE, schema.HEIGHT, maintain_order=True)
        rows = rows.unique(schema.TOKEN, keep="first", maintain_order=True).head(n)
        chosen.append(rows.insert_column(0, pl.Series(schema.BURST, [burst] * rows.height, pl.Int32)))
    return pl.concat(chosen)
