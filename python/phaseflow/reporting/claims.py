"""What an experiment says: claims with verdicts, what was measured and the rule, on the page and in a terminal.

The verdict comes first for a reader: the headline counts, the table names, figures follow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

HOLDS, DOES_NOT, UNDECIDED = "holds", "does not", "undecided"
MARKS = {HOLDS: "✓ holds", DOES_NOT: "✗ does not", UNDECIDED: "? undecided"}
_COLOURS = {HOLDS: "green", DOES_NOT: "red", UNDECIDED: "yellow"}


@dataclass(frozen=True)
class Claim:
    """A claim, and what became of it."""

    claim: str
    verdict: str
    measured: str
    rule: str  # what it takes to hold
    runs: int = 0  # that it rests on, where runs are counted
    value: float = math.nan
    lower: float = math.nan
    upper: float = math.nan


def headline(claims: Sequence[Claim]) -> str:
    """How many claims hold, do not, and are open, in words; what there is none of is left out."""
    count = {verdict: sum(claim.verdict == verdict for claim in claims) for verdict in MARKS}
    if count[HOLDS] == len(claims):
        return f"All {len(claims)} claims hold" if len(claims) > 1 else "The claim holds"
    parts = [f"{count[HOLDS]} {'holds' if count[HOLDS] == 1 else 'hold'}"]
    if count[DOES_NOT]:
        parts.append(f"{count[DOES_NOT]} {'does' if count[DOES_NOT] == 1 else 'do'} not")
    if count[UNDECIDED]:
        parts.append(f"{count[UNDECIDED]} {'is' if count[UNDECIDED] == 1 else 'are'} undecided")
    return f"Of {len(claims)} claim{'s' * (len(claims) > 1)} {', '.join(parts)}"


def claims_html(claims: Sequence[Claim]) -> str:
    """The table of claims, the rule of each under what was measured; a column of runs where runs are counted."""
    counted = any(claim.runs for claim in claims)
    rows = "".join(
        f'<tr><td class="wide">{number}. {escape(claim.claim)}</td>'
        f'<td class="verdict {claim.verdict.replace(" ", "-")}">{MARKS[claim.verdict]}</td>'
        + (f'<td class="number">{claim.runs}</td>' if counted else "")
        + f'<td class="wide">{escape(claim.measured)}<div class="rule">{escape(rule(claim))}</div></td></tr>'
        for number, claim in enumerate(claims, start=1)
    )
    runs = '<th class="number">runs</th>' if counted else ""
    head = f"<th>claim</th><th>verdict</th>{runs}<th>what was measured, and the rule</th>"
    table = (
        f'<div class="scroll"><table class="claims"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    return f"<section><h2>The claims</h2>{table}</section>"


def rule(claim: Claim) -> str:
    """The rule of a claim, and the interval it speaks of."""
    shown = f"Holds if {claim.rule}."
    if claim.runs and claim.lower == claim.lower:
        shown += f" Here {claim.value:.2f}, 95%: {claim.lower:.2f} to {claim.upper:.2f}."
    return shown


def print_claims(claims: Sequence[Claim], console: Console) -> None:
    """The table of claims in the terminal."""
    table = Table("claim", "verdict", "measured", show_lines=True)
    for claim in claims:
        mark = f"[{_COLOURS[claim.verdict]}]{claim.verdict}[/]"
        table.add_row(escape_markup(claim.claim), mark, escape_markup(claim.measured))
    console.print(table)
