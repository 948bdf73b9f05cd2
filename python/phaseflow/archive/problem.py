"""Something in an archive that could not be used: told as a row, while everything else stays readable."""

from dataclasses import astuple, dataclass

import polars as pl

from phaseflow.schema import EXPECTED, FILE, FOUND, OBJECT, RUN


@dataclass(frozen=True)
class Problem:
    """What was expected in which part of which file of the run, and what was found."""

    file: str
    object: str
    expected: str
    found: str


def problem_table(run: str, problems: list[Problem]) -> pl.DataFrame:
    """One row a problem."""
    columns = (RUN, FILE, OBJECT, EXPECTED, FOUND)
    rows = [(run, *astuple(problem)) for problem in problems]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
