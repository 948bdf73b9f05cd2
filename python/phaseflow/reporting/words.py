"""The verdict in words: the same sentences in the terminal and on the page."""

import math
from typing import Any

import polars as pl

from phaseflow import schema


def steps(low: float, high: float) -> str:
    """``1,200 – 1,900``."""
    return f"{low:,.0f} – {high:,.0f}"


def answer(verdict: dict[str, Any]) -> str:
    """The one-line answer for a run."""
    if verdict[schema.PHASE_CHANGE]:
        return f"Phase change between steps {verdict[schema.START]:,.0f} and {verdict[schema.END]:,.0f}"
    return "Undecided" if verdict[schema.PHASE_CHANGE] is None else "No phase change"


def facts(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value of what carries the answer."""
    if not verdict[schema.PHASE_CHANGE]:
        return [("why", verdict[schema.REASON].removeprefix("undecided: ")), *heads_fact(verdict), *ending(verdict)]
    interval = [
        ("start", f"step {verdict[schema.START]:,.0f}{between(verdict, schema.START)}"),
        ("end", f"step {verdict[schema.END]:,.0f}{between(verdict, schema.END)}"),
    ]
    size = f"{verdict[schema.SIZE]:+.3f} nats"
    if math.isfinite(verdict[schema.lower(schema.SIZE)]):
        size += f" (95%: {verdict[schema.lower(schema.SIZE)]:+.3f} to {verdict[schema.upper(schema.SIZE)]:+.3f})"
    return [
        *interval,
        *heads_fact(verdict),
        ("jump of in-context learning, over its smooth course", size),
        ("share of all in-context learning", share(verdict)),
        ("chance of such a window without a change", probability(verdict[schema.P_VALUE])),
        ("heads form in the same window by chance", probability(verdict[schema.OVERLAP_CHANCE])),
        *ending(verdict),
    ]


def ending(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the run ended, as far as it was measured."""
    facts = []
    if verdict[schema.BEST_SCORE] is not None:
        facts.append(
            ("best prefix matching at the end", f"{verdict[schema.BEST_SCORE]:.2f} ({verdict[schema.BEST_HEAD]})")
        )
    if verdict[schema.FINAL_SCORE] is not None:
        facts.append(("in-context learning at the end", f"{verdict[schema.FINAL_SCORE]:+.3f} nats"))
    return facts


def heads_fact(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    """The induction heads, where there are any."""
    return [("induction heads", ", ".join(verdict[schema.HEADS]))] if verdict[schema.HEADS] else []


def between(verdict: dict[str, Any], edge: str) -> str:
    """The confidence interval of an end of the window, in brackets, where it is known."""
    low, high = verdict[schema.lower(edge)], verdict[schema.upper(edge)]
    return f" (95%: {steps(low, high)})" if math.isfinite(low) and math.isfinite(high) else ""


def share(verdict: dict[str, Any]) -> str:
    """The share of the total change that falls inside, with its interval where it is known."""
    text = f"{100 * verdict[schema.SHARE]:.0f}%"
    low, high = verdict[schema.lower(schema.SHARE)], verdict[schema.upper(schema.SHARE)]
    return f"{text} (95%: {100 * low:.0f}% to {100 * high:.0f}%)" if math.isfinite(low) else text


def probability(p: float) -> str:
    """A probability to two digits, never a false zero."""
    return "below 0.001" if p < 0.001 else f"{p:.2g}"


def caution(verdict: dict[str, Any]) -> str:
    """What speaks against reading the window as the run's own doing, or nothing."""
    if not verdict[schema.EVENTS]:
        return ""
    return f"Caution: inside the window falls a scheduled event of the run: {', '.join(verdict[schema.EVENTS])}."


def headline(verdicts: pl.DataFrame) -> str:
    """The whole archive in one line."""
    if verdicts.height == 1:
        return answer(verdicts.row(0, named=True))
    found = int(verdicts[schema.PHASE_CHANGE].sum())
    undecided = int(verdicts[schema.PHASE_CHANGE].null_count())
    rest = f", {undecided} undecided" if undecided else ""
    return f"Phase change in {found} of {verdicts.height} runs{rest}"
