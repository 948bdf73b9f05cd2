"""Claims as they are read: counted in the headline, in a table with their rules, in the terminal."""

import io
import math

import pytest
from rich.console import Console

from phaseflow.reporting.claims import DOES_NOT, HOLDS, UNDECIDED, Claim, claims_html, headline, print_claims


def claim(verdict, runs=0, **interval):
    return Claim("<heads> form", verdict, "in [2] of 3", "more than half do", runs, **interval)


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([HOLDS], "The claim holds"),
        ([HOLDS] * 3, "All 3 claims hold"),
        ([UNDECIDED], "Of 1 claim 0 hold, 1 is undecided"),
        ([HOLDS, DOES_NOT, UNDECIDED, UNDECIDED], "Of 4 claims 1 holds, 1 does not, 2 are undecided"),
        ([HOLDS, HOLDS, DOES_NOT, DOES_NOT], "Of 4 claims 2 hold, 2 do not"),
    ],
)
def test_the_headline_counts_and_leaves_out_what_there_is_none_of(verdicts, words):
    assert headline([claim(verdict) for verdict in verdicts]) == words


def test_the_table_shows_verdict_measure_and_rule_and_escapes_them():
    html = claims_html([claim(HOLDS), claim(DOES_NOT)])
    assert "1. &lt;heads&gt; form" in html
    assert "2. &lt;heads&gt; form" in html
    assert '<td class="verdict holds">✓ holds</td>' in html
    assert '<td class="verdict does-not">✗ does not</td>' in html
    assert html.count("Holds if more than half do.") == 2
    assert ">runs<" not in html


def test_runs_and_intervals_are_shown_where_there_are_any():
    html = claims_html([claim(HOLDS, 3, value=2 / 3, lower=0.09, upper=0.99), claim(UNDECIDED, 0)])
    assert '<td class="number">3</td>' in html
    assert "Here 0.67, 95%: 0.09 to 0.99." in html
    assert "Here" not in claims_html([claim(HOLDS, 3, value=math.nan)])


def test_the_terminal_shows_brackets_as_they_are():
    console = Console(width=100, record=True, file=io.StringIO())
    print_claims([claim(UNDECIDED)], console)
    shown = console.export_text()
    assert "in [2] of 3" in shown
    assert "undecided" in shown
