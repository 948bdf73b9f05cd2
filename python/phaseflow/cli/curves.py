"""``changepoints``: the curves of a table that somebody else made."""

from pathlib import Path
from typing import Annotated

import typer

from phaseflow.cli.options import Json


def changepoints(
    table: Annotated[Path, typer.Argument(help="A .csv, .tsv, .parquet or .jsonl file.", show_default=False)],
    column: Annotated[str, typer.Option(help="The signal's column.", show_default=False)],
    x: Annotated[str | None, typer.Option(help="The axis' column: step, tokens seen. Without it: row numbers.")] = None,
    by: Annotated[list[str] | None, typer.Option(help="A column that tells curves apart; may be repeated.")] = None,
    windows: Annotated[
        bool, typer.Option("--windows", help="Phase-change windows of a learning curve instead; needs x above 0.")
    ] = False,
    cost: Annotated[
        str, typer.Option(help="What a segment is: l2 (a level), linear, clinear (lines that meet).")
    ] = "l2",
    penalty: Annotated[
        str, typer.Option(help="auto, bic, aic, ... or a number: what a changepoint has to be worth.")
    ] = "auto",
    json: Json = False,
) -> None:
    """Find changepoints, or phase-change windows, in the curves of a table."""
    from phaseflow.analysis import curves
    from phaseflow.importers import read_curves
    from phaseflow.reporting import terminal

    found = read_curves(table, column, x=x, by=by or [])
    if windows:
        changes = curves.windows_of_curves(found)
    else:
        changes = curves.segments_of_curves(found, cost=cost, penalty=number_or_name(penalty))
    if json:
        terminal.print_json(changes)
    else:
        terminal.print_table(changes, empty="no curve breaks")


def number_or_name(text: str) -> float | str:
    """A number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text
