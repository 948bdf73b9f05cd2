"""The verdict on a run: did it go through the induction phase change, when, by which heads, how sure is that?

A run has the phase change where two independent measurements break together: its in-context learning score falls
inside a window, and within a window that meets it at least one head starts to attend as an induction head does.
Either alone is reported among the phase changes, and is no verdict: in-context learning can also creep in by other
means, and a head can come to match prefixes without the loss noticing.

A run without enough of either measurement is undecided: null, with what is missing as the reason.

A head counts as an induction head when its prefix matching score rises in a significant window and ends at
``induction_threshold`` or above: by default 0.3, ten times what a uniform pattern reaches on the usual probe.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from phaseflow import metrics, schema
from phaseflow.analysis import patterns
from phaseflow.analysis.measures import InContextLearning
from phaseflow.analysis.overlap import chance_of_meeting, overlap
from phaseflow.analysis.phase_changes import IN_CONTEXT_LEARNING, LEAST_CHECKPOINTS, PREFIX_MATCHING
from phaseflow.analysis.share import share_of_change
from phaseflow.archive import RunSource

INDUCTION_THRESHOLD = 0.3

VERDICT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    schema.RUN: pl.String,
    schema.PHASE_CHANGE: pl.Boolean,
    schema.REASON: pl.String,
    schema.PROBE: pl.String,
    schema.START: pl.Float64,
    schema.END: pl.Float64,
    schema.lower(schema.START): pl.Float64,
    schema.upper(schema.START): pl.Float64,
    schema.lower(schema.END): pl.Float64,
    schema.upper(schema.END): pl.Float64,
    schema.HEADS: pl.List(pl.String),
    schema.BEST_HEAD: pl.String,
    schema.BEST_SCORE: pl.Float64,
    schema.FINAL_SCORE: pl.Float64,
    schema.SIZE: pl.Float64,
    schema.lower(schema.SIZE): pl.Float64,
    schema.upper(schema.SIZE): pl.Float64,
    schema.SHARE: pl.Float64,
    schema.lower(schema.SHARE): pl.Float64,
    schema.upper(schema.SHARE): pl.Float64,
    schema.P_VALUE: pl.Float64,
    schema.OVERLAP: pl.Float64,
    schema.OVERLAP_CHANCE: pl.Float64,
    schema.EVENTS: pl.List(pl.String),
}


def verdicts(
    runs: Sequence[RunSource],
    changes: pl.DataFrame,
    heads: pl.DataFrame,
    in_context: pl.DataFrame,
    *,
    induction_threshold: float,
) -> pl.DataFrame:
    """The verdict on every run; see :meth:`phaseflow.Archive.verdicts`."""
    rows = []
    for run in runs:
        here = pl.col(schema.RUN) == run.name
        matching = heads.filter(here & (pl.col(schema.METRIC) == PREFIX_MATCHING) & pl.col(schema.VALUE).is_finite())
        scores = in_context.filter(here & pl.col(schema.VALUE).is_finite())
        if (missing := what_is_missing(run, matching, scores)) is not None:
            row = no(run.name, missing) | {schema.PHASE_CHANGE: None}
        else:
            row = verdict_of_run(
                run.name,
                changes.filter(here),
                first_step=min(step for step in run.steps if step > 0),
                last_step=max(run.steps),
                events=scheduled_events(run.config),
                induction_threshold=induction_threshold,
            )
        if row[schema.PHASE_CHANGE]:
            row |= share_with_interval(run, row, scores)
        row |= where_it_ended(matching, scores, row[schema.PROBE])
        no_window = row[schema.PHASE_CHANGE] is False and not row[schema.HEADS]
        if no_window and (row[schema.BEST_SCORE] or 0.0) >= induction_threshold:
            row[schema.REASON] = f"{row[schema.BEST_HEAD]} matches prefixes at the end, but rose without a break"
        rows.append({name: row.get(name) for name in VERDICT_SCHEMA})
    return pl.DataFrame(rows, schema=VERDICT_SCHEMA)


def where_it_ended(matching: pl.DataFrame, scores: pl.DataFrame, probe: str | None) -> dict[str, Any]:
    """The best head, its score and the in-context learning score at the last checkpoint where each is defined.

    Of several text probes that of the verdict counts, or the first.
    """
    best = matching.filter(pl.col(schema.STEP) == pl.col(schema.STEP).max()).sort(schema.VALUE).tail(1)
    probe = probe or next(iter(scores[schema.PROBE]), None)
    ending = scores.filter(pl.col(schema.PROBE).is_in([probe])).sort(schema.STEP)[schema.VALUE]
    ended: dict[str, Any] = dict.fromkeys((schema.BEST_HEAD, schema.BEST_SCORE))
    ended[schema.FINAL_SCORE] = ending[-1] if len(ending) else None
    for row in best.iter_rows(named=True):
        ended[schema.BEST_HEAD] = head_name(row[schema.LAYER], row[schema.HEAD])
        ended[schema.BEST_SCORE] = row[schema.VALUE]
    return ended


def what_is_missing(run: RunSource, matching: pl.DataFrame, scores: pl.DataFrame) -> str | None:
    """Why nothing can be said about a run: one of the two measurements is not there, or at too few checkpoints."""
    stored = run.index[schema.NAME]
    for table, prefix, what, measure in (
        (matching, patterns.PREFIX, "attention patterns", "a prefix matching score (tokens that repeat)"),
        (scores, InContextLearning.prefix, "per-token losses", "an in-context learning score (200 tokens, finite)"),
    ):
        if not stored.str.starts_with(prefix).any():
            return f"undecided: the run archived no {what}"
        steps = table.filter(pl.col(schema.STEP) > 0)[schema.STEP].n_unique()
        if steps < LEAST_CHECKPOINTS:
            return f"undecided: {steps} checkpoints have {measure}, at least {LEAST_CHECKPOINTS} are needed"
    return None


def scheduled_events(config: Mapping[str, Any]) -> dict[str, int]:
    """Steps at which the schedule itself changes, as the run recorded them under ``events``: name and step.

    Olsson 2022 (Model Details) warns that a window which holds such an event may be the schedule's doing.
    """
    return {str(name): int(step) for name, step in (config.get("events") or {}).items()}


def share_with_interval(run: RunSource, verdict: Mapping[str, Any], scores: pl.DataFrame) -> dict[str, float]:
    """Share of the run's in-context learning that appears inside the window, resampled over the probe's examples."""
    defined = scores.filter(pl.col(schema.PROBE) == verdict[schema.PROBE])[schema.STEP].sort()
    values = []
    for step in (defined[0], int(verdict[schema.START]), int(verdict[schema.END]), defined[-1]):
        losses = run.tensor(step, f"loss/{verdict[schema.PROBE]}")
        tokens = InContextLearning().tokens(losses.shape[1])
        examples = np.asarray(losses)[:, None]  # (example, 1, pos): each is scored alone
        values.append(metrics.in_context_learning_score(examples, **tokens))
    share, lower, upper = share_of_change(*values)
    return {schema.SHARE: share, schema.lower(schema.SHARE): lower, schema.upper(schema.SHARE): upper}


def head_name(layer: int, head: int) -> str:
    """``L1H2``: layer and head, both 0-based."""
    return f"L{layer}H{head}"


def verdict_of_run(
    run: str,
    changes: pl.DataFrame,
    *,
    first_step: int,
    last_step: int,
    events: Mapping[str, int],
    induction_threshold: float = INDUCTION_THRESHOLD,
) -> dict[str, Any]:
    """One row of the verdict table, from the phase changes of one run.

    Parameters
    ----------
    run : str
        Name of the run.
    changes : polars.DataFrame
        Its rows of :meth:`phaseflow.Archive.phase_changes`.
    first_step, last_step : int
        The observed span, for the chance that two intervals meet.
    events : mapping of str to int
        Scheduled events of the run and their steps: end of warm-up, a change of learning rate.
    induction_threshold : float
        Prefix matching score from which a head that rose counts as an induction head.
    """
    drops = changes.filter((pl.col(schema.METRIC) == IN_CONTEXT_LEARNING) & (pl.col(schema.SIZE) < 0))
    risen = changes.filter(
        (pl.col(schema.METRIC) == PREFIX_MATCHING)
        & (pl.col(schema.SIZE) > 0)
        & (pl.col(schema.AFTER) >= induction_threshold)
    ).sort(schema.AFTER, descending=True)
    if risen.is_empty():
        return no(run, "no head became an induction head")
    best = None
    for drop in drops.sort(schema.SIZE).iter_rows(named=True):
        meeting = risen.filter((pl.col(schema.START) <= drop[schema.END]) & (pl.col(schema.END) >= drop[schema.START]))
        if not meeting.is_empty():
            best = drop, meeting
            break
    # Those that rose with it; a head may rise in two windows and is one head.
    rose = risen if best is None else best[1]
    heads = list(dict.fromkeys(head_name(row[schema.LAYER], row[schema.HEAD]) for row in rose.iter_rows(named=True)))
    if best is None:
        return no(run, "induction heads formed, but in-context learning did not break with them", heads=heads)
    drop, meeting = best
    strongest = meeting.row(0, named=True)
    window = np.log([drop[schema.START], drop[schema.END]])
    forming = np.log([strongest[schema.START], strongest[schema.END]])
    span = np.log(last_step) - np.log(first_step)
    return {
        **{name: drop[name] for name in VERDICT_SCHEMA if name in drop},
        schema.RUN: run,
        schema.PHASE_CHANGE: True,
        schema.REASON: "in-context learning broke while induction heads formed",
        schema.HEADS: heads,
        schema.OVERLAP: overlap((window[0], window[1]), (forming[0], forming[1])),
        schema.OVERLAP_CHANCE: chance_of_meeting(np.ptp(window), np.ptp(forming), span),
        schema.EVENTS: [name for name, step in events.items() if drop[schema.START] <= step <= drop[schema.END]],
    }


def no(run: str, reason: str, *, heads: list[str] | None = None) -> dict[str, Any]:
    """A run without the phase change, and why."""
    return {
        **dict.fromkeys(VERDICT_SCHEMA),
        schema.RUN: run,
        schema.PHASE_CHANGE: False,
        schema.REASON: reason,
        schema.HEADS: heads or [],
        schema.EVENTS: [],
    }
