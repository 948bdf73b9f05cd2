"""The lab's page: the table of claims first, then the figures that carry them, then what was trained and how."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import plotly.graph_objects as go
import polars as pl

from phaseflow import schema
from phaseflow.analysis import Archive
from phaseflow.labs.induction import figures
from phaseflow.labs.induction.measured import Measured
from phaseflow.reporting import function_space, page
from phaseflow.reporting.claims import Claim, claims_html, headline


def write(
    path: Path,
    claims: Sequence[Claim],
    runs: list[Measured],
    archive: Archive,
    copying: pl.DataFrame,
    *,
    lead: str,
    command: str,
) -> None:
    """Writes the page; `lead` says what was trained, on what, in how long."""
    page.write_page(
        path,
        title="In-context learning and induction heads",
        headline=f"{headline(claims)} at this budget",
        lead=lead,
        sections=[claims_html(claims), *drawings(runs, archive, copying), *trained(claims, archive, command)],
        footer=page.made_by(
            archive.path,
            "The claims are those of Olsson et al., In-context Learning and Induction Heads (2022);"
            " the models are far smaller than theirs.",
        ),
    )


def drawings(runs: list[Measured], archive: Archive, copying: pl.DataFrame) -> Iterator[str]:
    """The figures, numbered."""
    text = archive.in_context_learning().filter(pl.col(schema.PROBE) == "text")
    early, late = text.select(schema.EARLY, schema.LATE).row(0)
    span = {run.job.name: run.verdict for run in runs if run.window is not None}
    shown: list[tuple[str, str, go.Figure]] = [
        (
            "In-context learning",
            f"Loss of token {late} less that of token {early}, on fixed held-out text; lower means that context helps"
            " more. One line a run, seeds in the colour of their variant.",
            figures.curves(runs, text, y="in-context learning score, nats"),
        ),
        (
            "Induction heads",
            "Prefix matching score of the best head, on random tokens that repeat.",
            figures.curves(runs, figures.best_heads(archive.head_scores()), y="best prefix matching score"),
        ),
    ]
    if span:
        shown += [
            (
                "The windows, run by run",
                "Thick: where in-context learning breaks; pale: the 95% intervals of its ends; thin dark line: where"
                " the strongest induction head forms. Ticks: events of the run's schedule.",
                figures.windows(runs, archive.phase_changes()),
            )
        ]
    if any(run.ablated and run.verdict[schema.HEADS] for run in runs):
        shown.append(
            (
                "Without a head",
                "Change of the in-context learning score at the last checkpoint when one head is taken away; above 0,"
                " the head carries in-context learning. Bars: two standard errors over examples.",
                figures.ablations(runs),
            )
        )
    space = figures.trajectories(archive, runs)
    if not space.is_empty():
        shown.append(
            ("The path through function space", function_space.CAPTION, function_space.trajectories(space, span))
        )
    if not copying.is_empty():
        shown.append(
            (
                "Copying, by logits and by eigenvalues",
                "Every head at its run's last stored checkpoint.",
                figures.agreement(copying),
            )
        )
    for number, (title, caption, figure) in enumerate(shown, start=1):
        yield page.figure_html(figure, number=number, title=title, caption=caption)


def trained(claims: Sequence[Claim], archive: Archive, command: str) -> Iterator[str]:
    """Every run with its verdict, its settings, and the command that makes the page again."""
    columns = [schema.PHASE_CHANGE, schema.START, schema.END, schema.BEST_HEAD, schema.BEST_SCORE, schema.FINAL_SCORE]
    verdicts = (
        archive.verdicts()
        .select(schema.RUN, *columns, schema.REASON)
        .with_columns(pl.col(schema.PHASE_CHANGE).replace_strict({True: "yes", False: "no"}, default="undecided"))
    )
    yield f"<section><h2>The runs</h2>{page.table_html(verdicts, wide=[schema.REASON])}</section>"
    settings = "".join(page.settings_html(run.name, dict(run.config)) for run in archive.runs)
    yield f"<section><h2>Settings</h2>{settings}</section>"
    yield page.reproduce_html(command)
