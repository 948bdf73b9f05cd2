"""The paper's claims, each decided by what the runs show: holds, does not, or undecided at this budget.

Each rule stands in the claim's function and is shown beside its verdict; what they have in common is in
:mod:`phaseflow.labs.induction.deciding`.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from phaseflow import schema
from phaseflow.analysis.overlap import chance_of_at_least, chance_of_meeting
from phaseflow.labs.induction import sweep
from phaseflow.labs.induction.deciding import (
    above,
    counted,
    from_counts,
    geometric,
    hull,
    meet,
    nothing,
    over_seeds,
    percent,
    share_interval,
)
from phaseflow.labs.induction.measured import Measured
from phaseflow.reporting import words
from phaseflow.reporting.claims import DOES_NOT, HOLDS, UNDECIDED, Claim


def decided(runs: Sequence[Measured], copying: pl.DataFrame, *, text: str | None) -> list[Claim]:
    """All claims, in the paper's order.

    Parameters
    ----------
    runs : sequence of Measured
    copying : polars.DataFrame
        run, layer, head, ``copying_score``, ``ov_copying_statistic``: every head at its run's last stored checkpoint.
    text : str, optional
        The other text that was given.
    """

    def of(variant: str) -> list[Measured]:
        return [run for run in runs if run.job.variant == variant]

    two, one = of(sweep.TWO), of(sweep.ONE)
    other = "with another data set" if text is None else f"on {text}"
    return [
        window(two),
        share_inside(two),
        heads_in_window(two),
        bump(two, one),
        never(one, two),
        does_it(of(sweep.ONE_SMEARED), "With smeared keys, one layer does it"),
        earlier(of(sweep.TWO_SMEARED), two),
        does_it(of(sweep.OTHER_TEXT), f"The same happens {other}", "give another text with --text" if not text else ""),
        schedule(two, of(sweep.OTHER_SCHEDULE)),
        does_it(of(sweep.TWO_MLP), "The same happens with MLPs"),
        does_it(of(sweep.THREE), "The same happens with three layers"),
        never(of(sweep.ONE_MLP), two, "with an MLP"),
        ablation(two),
        pivot(two, one),
        agreement(copying),
    ]


def window(runs: Sequence[Measured]) -> Claim:
    """In-context learning forms in a window."""
    found = [run for run in runs if run.window is not None]
    text = "; ".join(
        f"seed {run.job.seed}: steps {run.window[0]:,.0f} to {run.window[1]:,.0f},"
        f" p {words.probability(run.verdict[schema.P_VALUE])}"
        for run in found
        if run.window is not None
    )
    return counted("In-context learning forms in a window of training", len(runs), len(found), text, "two-layer runs")


def share_inside(runs: Sequence[Measured]) -> Claim:
    """How much of in-context learning forms there."""
    claim = "Far more of it forms there than in as many steps elsewhere"
    rule = (
        "the interval of the share lies above the share of the run's steps that the window takes;"
        " does not if it lies below"
    )
    found = [run for run in runs if run.window is not None]
    if not found:
        return nothing(claim, rule)
    shares = [run.verdict[schema.SHARE] for run in found]
    own = [(run.verdict[schema.lower(schema.SHARE)], run.verdict[schema.upper(schema.SHARE)]) for run in found]
    value, lower, upper = over_seeds(shares, own)
    even = np.mean([(run.verdict[schema.END] - run.verdict[schema.START]) / run.last_step for run in found])
    text = (
        f"{percent(value)} of the run's in-context learning (95%: {percent(lower)} to {percent(upper)}) in"
        f" {percent(float(even))} of its steps"
    )
    return Claim(claim, above(lower, upper, float(even)), text, rule, len(found), value, lower, upper)


def heads_in_window(runs: Sequence[Measured]) -> Claim:
    """Induction heads form in the same window."""
    claim = "Induction heads form in the same window"
    rule = (
        "more than half of the runs show it, and windows of these widths meet so often by chance in at most 0.05;"
        " does not if fewer than half of at least two do, and so many may come by chance"
    )
    heads = [run for run in runs if run.verdict[schema.HEADS]]
    found = [run for run in heads if run.window is not None]
    if not runs:
        return nothing(claim, rule)
    chance = chance_of_at_least(len(found), [run.verdict[schema.OVERLAP_CHANCE] for run in found])
    named = "; ".join(f"seed {run.job.seed}: {', '.join(run.verdict[schema.HEADS])}" for run in found)
    text = (
        f"{len(found)} of {len(runs)} runs ({named}); by chance {chance:.2g}" if found else f"none of {len(runs)} runs"
    )
    lower, upper = share_interval(len(found), len(runs))
    verdict = from_counts(len(found), len(runs), chance)
    return Claim(claim, verdict, text, rule, len(runs), len(found) / len(runs), lower, upper)


def bump(runs: Sequence[Measured], controls: Sequence[Measured]) -> Claim:
    """The bump of the loss curve."""

    def meets(run: Measured) -> bool:
        return run.window is not None and any(meet(run.window, (start, end)) for start, end, _ in run.bumps)

    found = [run for run in runs if meets(run)]
    text = "; ".join(
        f"seed {run.job.seed}: not convex from {start:,.0f} to {end:,.0f}, p {words.probability(p)}"
        for run in found
        for start, end, p in run.bumps
        if run.window is not None and meet(run.window, (start, end))
    )
    without = sum(not run.bumps for run in controls)
    if controls:
        text += f"; of one layer, {without} of {len(controls)} curves are convex throughout"
    return counted("The loss curve has a bump there", len(runs), len(found), text.removeprefix("; "), "two-layer runs")


def never(runs: Sequence[Measured], controls: Sequence[Measured], how: str = "") -> Claim:
    """A one-layer model never does it."""
    claim = f"A one-layer model {how} never does it".replace("  ", " ")
    rule = (
        "no run has the phase change, and every run ends with less in-context learning than the two-layer runs, their"
        " 95% intervals apart; does not if a run has it"
    )
    if not runs:
        return nothing(claim, rule)
    found = [run for run in runs if run.window is not None]
    scores = ", ".join(f"{run.final[0]:+.2f}" for run in runs)
    others = ", ".join(f"{run.final[0]:+.2f}" for run in controls)
    text = f"{len(found)} of {len(runs)} runs; in-context learning ends at {scores} nats, of two layers at {others}"
    apart = bool(controls) and min(run.final[1] for run in runs) > max(run.final[2] for run in controls)
    verdict = DOES_NOT if found else HOLDS if apart else UNDECIDED
    return Claim(claim, verdict, text, rule, len(runs), len(found) / len(runs), *share_interval(len(found), len(runs)))


def does_it(runs: Sequence[Measured], claim: str, how: str = "") -> Claim:
    """The phase change comes in another setting too."""
    found = [run for run in runs if run.window is not None]
    text = "; ".join(
        f"seed {run.job.seed}: steps {run.window[0]:,.0f} to {run.window[1]:,.0f}"
        for run in found
        if run.window is not None
    )
    if not found and runs:
        best = max(runs, key=lambda run: run.verdict[schema.BEST_SCORE] or 0.0)
        text = f"none; best prefix matching {best.verdict[schema.BEST_SCORE]:.2f}, {best.verdict[schema.REASON]}"
    return counted(claim, len(runs), len(found), text, "runs", how)


def earlier(runs: Sequence[Measured], controls: Sequence[Measured]) -> Claim:
    """Smeared keys move the window earlier."""
    claim = "Smeared keys move the window of a two-layer model earlier"
    rule = (
        "the 95% intervals of the windows' starts all lie before those without smeared keys; does not if all lie after"
    )
    found, plain = ([run for run in each if run.window is not None] for each in (runs, controls))
    if not found or not plain:
        return nothing(claim, rule, "a window is missing to compare")
    ratio = geometric([run.window[0] for run in found if run.window]) / geometric(
        [run.window[0] for run in plain if run.window]
    )
    (first, last), (other_first, other_last) = hull(run.start for run in found), hull(run.start for run in plain)
    verdict = HOLDS if last < other_first else DOES_NOT if first > other_last else UNDECIDED
    text = (
        f"starts between {first:,.0f} and {last:,.0f}, without them between {other_first:,.0f} and {other_last:,.0f}:"
        f" at {ratio:.2f} of the step"
    )
    return Claim(claim, verdict, text, rule, len(found), ratio, first / other_last, last / other_first)


def schedule(runs: Sequence[Measured], others: Sequence[Measured]) -> Claim:
    """Schedules do not set the window."""
    claim = "Schedules of learning rate and weight decay do not set the window"
    rule = (
        "under both schedules no event falls inside a window, and the windows of the other schedule meet those of the"
        " first; does not if events fall inside or none meets"
    )
    found, changed = ([run for run in each if run.window is not None] for each in (runs, others))
    if not found or not changed:
        return nothing(claim, rule, "a window is missing to compare")
    inside = [name for run in [*found, *changed] for name in run.verdict[schema.EVENTS]]
    met = [run for run in changed if any(meet(*(each.window for each in (run, plain))) for plain in found)]  # type: ignore[arg-type]
    events = "; ".join(
        name if str(step) in name else f"{name} at step {step:,}" for name, step in changed[0].events.items()
    )
    windows = "; ".join(f"{run.window[0]:,.0f} to {run.window[1]:,.0f}" for run in changed if run.window)
    text = f"windows {windows} ({len(met)} of {len(changed)} meet the others'); events of that schedule: {events}"
    if inside:
        text += f"; inside a window: {', '.join(inside)}"
    verdict = HOLDS if len(met) == len(changed) and not inside else DOES_NOT if inside or not met else UNDECIDED
    lower, upper = share_interval(len(met), len(changed))
    return Claim(claim, verdict, text, rule, len(found) + len(changed), len(met) / len(changed), lower, upper)


def ablation(runs: Sequence[Measured]) -> Claim:
    """Ablating induction heads costs in-context learning."""
    claim = "Without its induction heads, a model loses in-context learning"
    rule = (
        "at the last checkpoint, the score rises without the strongest induction head by more than two standard errors"
        " in more than half of the runs, and in none does it fall so far"
    )
    found = [(run, run.verdict[schema.HEADS][0]) for run in runs if run.verdict[schema.HEADS] and run.ablated]
    if not found:
        return nothing(claim, rule, "no run has induction heads")
    changes = [run.ablated[head] for run, head in found]
    value, lower, upper = over_seeds([each[0] for each in changes], [(v - 1.96 * e, v + 1.96 * e) for v, e in changes])
    rising, falling = sum(v > 2 * e for v, e in changes), sum(v < -2 * e for v, e in changes)
    parts = []
    for run, head in found:
        rest = [change for name, (change, _) in run.ablated.items() if name not in run.verdict[schema.HEADS]]
        most = max(rest, default=0.0)
        parts.append(f"seed {run.job.seed}: {head} {run.ablated[head][0]:+.2f} nats, others at most {most:+.2f}")
    verdict = DOES_NOT if falling else HOLDS if 2 * rising > len(found) else UNDECIDED
    return Claim(claim, verdict, "; ".join(parts), rule, len(found), value, lower, upper)


def pivot(runs: Sequence[Measured], controls: Sequence[Measured]) -> Claim:
    """The path through function space pivots there."""
    claim = "The path of per-token losses through function space pivots as the window opens"
    rule = (
        "the sharpest turn meets the interval of the window's start in more than half of the runs, more often than by"
        " chance (0.05), and every one is larger than any of one layer"
    )
    found = [(run, run.turn) for run in runs if run.window is not None and run.turn is not None]
    if not found:
        return nothing(claim, rule, "no window")
    met, chances = [], []
    for run, turn in found:
        met += [run] if meet(turn.span, run.start) else []
        widths = [math.log(end / start) for start, end in (turn.span, run.start)]
        chances.append(chance_of_meeting(widths[0], widths[1], run.span))
    chance = chance_of_at_least(len(met), chances)
    largest = max((run.turn.size for run in controls if run.turn is not None), default=math.nan)
    where = "; ".join(f"seed {run.job.seed}: step {turn.step:,.0f}, {turn.size:.2f} nats" for run, turn in found)
    text = f"{where}; {len(met)} of {len(found)} at the start of the window, by chance {chance:.2g}"
    text += f"; of one layer at most {largest:.2f} nats" if controls else ""
    verdict = from_counts(len(met), len(found), chance)
    if verdict == HOLDS and not min(turn.size for _, turn in found) > largest:
        verdict = UNDECIDED
    lower, upper = share_interval(len(met), len(found))
    return Claim(claim, verdict, text, rule, len(found), len(met) / len(found), lower, upper)


def agreement(copying: pl.DataFrame) -> Claim:
    """The copying score and the eigenvalue statistic agree."""
    claim = "Copying score and copying statistic of the eigenvalues agree"
    rule = "the interval of their correlation over the heads of all runs lies above 0; does not if it lies below"
    pairs = copying.select("copying_score", "ov_copying_statistic").drop_nulls().drop_nans().to_numpy()
    if len(pairs) < 4:
        return nothing(claim, rule, "too few heads")
    value = float(np.clip(np.corrcoef(pairs.T)[0, 1], -1 + 1e-9, 1 - 1e-9))
    # Fisher's z; heads of one run are counted as if they were of different ones.
    lower, upper = (math.tanh(math.atanh(value) + z / math.sqrt(len(pairs) - 3)) for z in (-1.96, 1.96))
    text = f"correlation {value:.2f} over {len(pairs)} heads (95%: {lower:.2f} to {upper:.2f})"
    return Claim(claim, above(lower, upper, 0.0), text, rule, copying[schema.RUN].n_unique(), value, lower, upper)


def table(claims: Sequence[Claim]) -> pl.DataFrame:
    """The claims as a tidy table."""
    return pl.DataFrame([vars(claim) for claim in claims])
