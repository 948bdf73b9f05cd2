"""What stages a run passes through, found by detection alone.

The archived curve of KL(bigram || model), which is how much loss is left above the best predictor, is cut by
:func:`phaseflow.detect` into lines that meet, over log step: it is not told how many there are, nor where. Each piece
is named by the predictor that the model is nearest to there, on average, and neighbours of one name are one *stage*,
so that cuts within a stage, where the curve only bends, do no harm.

Whether a stage begins at once is asked of :func:`phaseflow.detect_windows`, on the same curve: the *change to the
bigram* is the drop sharper than smooth learning in which the bigram becomes the nearest predictor. The prefix matching
score of every head on chains is searched likewise: the head of the last layer that rises most is the statistical
induction head, and forms in time if its window meets that drop.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from phaseflow import schema
from phaseflow.analysis import Archive
from phaseflow.analysis.phase_changes import PREFIX_MATCHING, windows_of_curves
from phaseflow.changepoint import detect
from phaseflow.reporting.claims import DOES_NOT, HOLDS, UNDECIDED, Claim
from phaseflow.training.markov import PREDICTORS

CURVES = [f"kl_{name}" for name in PREDICTORS]
SEARCHED = "kl_bigram"
STAGE = "nearest"
STAGES = "stages"
PASSED = " → ".join(PREDICTORS)
LAYERS = "layers"
HEAD_START, HEAD_END = "head_start", "head_end"


@dataclass(frozen=True)
class Findings:
    """Tables from the windows up to the answer."""

    windows: pl.DataFrame  # run, metric, layer, head, start, end, ..., p_value: every window of every curve
    stages: pl.DataFrame  # run, nearest, start, end, kl_uniform, kl_unigram, kl_bigram: one row a stage
    changes: dict[str, dict[str, Any]]  # run: its window into the bigram stage, where it has one
    verdicts: pl.DataFrame  # one row a run
    claims: list[Claim]


def find(archive: Archive) -> Findings:
    """Search the curves of every run, name the stages, judge the claims."""
    curves = archive.scalars().filter(pl.col(schema.NAME).is_in(CURVES))
    heads = archive.head_scores().filter(pl.col(schema.METRIC) == PREFIX_MATCHING)
    windows = windows_of(curves, heads)
    layers = {run.name: int(run.config["model"]["n_layers"]) for run in archive.runs}
    stages = pl.concat([stages_of_run(run, curves) for run in layers])
    changes = {run: change for run in layers if (change := change_to_bigram(run, curves, windows))}
    verdicts = pl.DataFrame(
        [verdict(run, n_layers, stages, windows, changes.get(run, {})) for run, n_layers in layers.items()],
        infer_schema_length=None,
    )
    return Findings(windows, stages, changes, verdicts, list(claims(verdicts)))


def windows_of(curves: pl.DataFrame, heads: pl.DataFrame) -> pl.DataFrame:
    """Every window of the divergences and of the heads' scores, each curve searched for itself."""
    by = [schema.RUN, schema.METRIC, schema.LAYER, schema.HEAD]
    columns = [*by, schema.STEP, schema.VALUE]
    nobody = pl.lit(None, pl.Int32)
    scalars = curves.select(
        schema.RUN, pl.col(schema.NAME).alias(schema.METRIC), nobody.alias(schema.LAYER), nobody.alias(schema.HEAD),
        schema.STEP, schema.VALUE,
    )  # fmt: skip
    return pl.concat([windows_of_curves(table.select(columns), by) for table in (scalars, heads)])


def stages_of_run(run: str, curves: pl.DataFrame) -> pl.DataFrame:
    """The pieces of the searched curve, named, neighbours of one name joined."""
    values = by_step(run, curves)
    steps = values[schema.STEP].to_numpy()
    cuts = detect(values[SEARCHED].to_numpy(), x=np.log(steps), cost="clinear", penalty="bic", min_size=3).changepoints
    bounds: list[int] = [0]
    names: list[str] = []
    for begin, end in pairwise([0, *cuts, len(steps)]):
        name = nearest(values[begin:end])
        if names and names[-1] == name:
            bounds.pop()
        else:
            names.append(name)
        bounds.append(end)
    return pl.DataFrame(
        [
            {
                schema.RUN: run,
                STAGE: name,
                schema.START: float(steps[begin]),
                schema.END: float(steps[min(end, len(steps) - 1)]),
                **values[begin:end].select(CURVES).mean().row(0, named=True),
            }
            for name, (begin, end) in zip(names, pairwise(bounds), strict=True)
        ]
    )


def by_step(run: str, curves: pl.DataFrame) -> pl.DataFrame:
    """The divergences of one run, one row a checkpoint but the untrained one's, whose step has no logarithm."""
    of_run = curves.filter((pl.col(schema.RUN) == run) & (pl.col(schema.STEP) > 0))
    return of_run.pivot(on=schema.NAME, index=schema.STEP, values=schema.VALUE).sort(schema.STEP)


def nearest(values: pl.DataFrame) -> str:
    """The predictor with the lowest divergence, on average over these checkpoints."""
    return min(zip(values.select(CURVES).mean().row(0), PREDICTORS, strict=True))[1]


def change_to_bigram(run: str, curves: pl.DataFrame, windows: pl.DataFrame) -> dict[str, Any] | None:
    """The drop in which the bigram becomes, and from which it stays, the nearest predictor; None where none is."""
    values = by_step(run, curves)
    others = values.filter(pl.min_horizontal(CURVES) < pl.col(SEARCHED))[schema.STEP].max()
    since = values.filter(pl.col(schema.STEP) > (0 if others is None else others))[schema.STEP].min()
    into = windows.filter(
        (pl.col(schema.RUN) == run)
        & (pl.col(schema.METRIC) == SEARCHED)
        & (pl.col(schema.SIZE) < 0)
        & pl.lit(since).is_between(pl.col(schema.START), pl.col(schema.END))
    )
    return into.row(0, named=True) if into.height else None


def verdict(
    run: str, n_layers: int, stages: pl.DataFrame, windows: pl.DataFrame, change: dict[str, Any]
) -> dict[str, Any]:
    """One row: the stages in order, the change to the bigram, and the head that formed."""
    of_run = stages.filter(pl.col(schema.RUN) == run)
    rises = windows.filter(
        (pl.col(schema.RUN) == run) & (pl.col(schema.METRIC) == PREFIX_MATCHING) & (pl.col(schema.SIZE) > 0)
        & (pl.col(schema.LAYER) == n_layers - 1)
    ).sort(schema.SIZE, descending=True)  # fmt: skip
    head = rises.row(0, named=True) if rises.height else {}
    return {
        schema.RUN: run,
        LAYERS: n_layers,
        STAGES: " → ".join(of_run[STAGE]),
        SEARCHED: float(of_run[SEARCHED][-1]),
        schema.START: change.get(schema.START),
        schema.END: change.get(schema.END),
        schema.P_VALUE: change.get(schema.P_VALUE),
        HEAD_START: head.get(schema.START),
        HEAD_END: head.get(schema.END),
        PREFIX_MATCHING: head.get(schema.AFTER),
    }


def claims(verdicts: pl.DataFrame) -> Iterator[Claim]:
    """Each claim of Edelman 2024 that the runs can decide, with what was measured."""
    two, one = (verdicts.filter(pl.col(LAYERS) == n) for n in (2, 1))
    meets = (pl.col(HEAD_START) <= pl.col(schema.END)) & (pl.col(HEAD_END) >= pl.col(schema.START))
    yield judged(
        "two layers pass from uniform through unigram to bigram", two, pl.col(STAGES) == PASSED,
        "these are the stages that detection finds in every two-layer model, in this order",
    )  # fmt: skip
    yield judged(
        "one layer never gets to the bigram", one, ~pl.col(STAGES).str.contains("bigram"),
        "no stage of any one-layer model is nearest to the bigram",
    )  # fmt: skip
    yield judged(
        "the change to the bigram is sharper than smooth learning", two, pl.col(schema.P_VALUE).is_not_null(),
        "in every two-layer model a window (false alarms: 1 curve of 20) holds the step from which it stays nearest",
    )  # fmt: skip
    yield judged(
        "a head of the last layer becomes an induction head in that window", two, meets.fill_null(False),
        "in every two-layer model the window of the head whose prefix matching rises most meets that one",
    )  # fmt: skip


def judged(claim: str, verdicts: pl.DataFrame, agrees: pl.Expr, rule: str) -> Claim:
    """Holds where every run agrees, does not where none does; in between the runs do not decide."""
    runs, agreeing = verdicts.height, verdicts.filter(agrees).height
    verdict = UNDECIDED if 0 < agreeing < runs or not runs else HOLDS if agreeing else DOES_NOT
    return Claim(claim, verdict, f"{agreeing} of {runs} runs", rule, runs)
