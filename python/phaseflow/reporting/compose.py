"""The report of an archive: verdicts, figures, every phase change, settings, and the command that makes it again."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import plotly.graph_objects as go
import polars as pl

from phaseflow import schema
from phaseflow.analysis import Archive, open
from phaseflow.analysis.bursts import typical_tokens
from phaseflow.analysis.phase_changes import PREFIX_MATCHING
from phaseflow.analysis.trajectories import trajectories
from phaseflow.archive import ForeignRun
from phaseflow.reporting import figures, function_space, page, token_breaks, words

# Wide: a map is looked at as a whole, and hundreds of examples say little about the slope between neighbours.
MAP_BANDWIDTH = 1.0


def report(source: str | Path | Archive, path: str | Path = "report.html", *, command: str | None = None) -> Path:
    """Analyses an archive and writes one offline HTML page about its phase changes.

    Parameters
    ----------
    source : path or Archive
        A run, a directory of runs, or an open archive.
    path : path
        The page to write. It replaces an older one only once it is complete.
    command : str, optional
        The command shown under "Reproduce"; by default the ``phaseflow report`` call that makes this page of a
        directory of runs, and none for path patterns, which may have come with arrays.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    phaseflow.exceptions.MissingDataError
        When the archive holds nothing that can be analysed.

    Examples
    --------
    >>> import phaseflow as pf
    >>> pf.report("runs/", "report.html")  # doctest: +SKIP
    """
    path = Path(path)
    archive = source if isinstance(source, Archive) else open(source)
    verdicts = archive.verdicts()
    if command is None and not any(isinstance(run, ForeignRun) for run in archive.runs):
        command = shlex.join(["phaseflow", "report", str(archive.path), "--output", str(path)])
    page.write_page(
        path,
        headline=words.headline(verdicts),
        lead=lead(archive),
        sections=list(sections(archive, verdicts, command)),
        footer=page.made_by(
            archive.path, "Definitions follow Olsson et al., In-context Learning and Induction Heads (2022)."
        ),
    )
    return path


def lead(archive: Archive) -> str:
    """What was looked at, in one sentence."""
    checkpoints = sum(len(run.steps) for run in archive.runs)
    return (
        f"{len(archive.runs)} {'run' if len(archive.runs) == 1 else 'runs'}, {checkpoints:,} checkpoints. "
        "A phase change is reported where the in-context learning score breaks inside a window "
        "and, within a window that meets it, heads begin to attend as induction heads do."
    )


def sections(archive: Archive, verdicts: pl.DataFrame, command: str | None) -> Iterator[str]:
    """The page's sections, in reading order; a measure that the archive does not hold leaves its section out."""
    rows = verdicts.rows(named=True)
    yield f'<section class="cards">{"".join(page.card(row) for row in rows)}</section>'
    windows = {row[schema.RUN]: row for row in rows if row[schema.PHASE_CHANGE]}
    induction = {row[schema.RUN]: row[schema.HEADS] for row in rows}
    for number, (title, caption, figure) in enumerate(drawings(archive, windows, induction), start=1):
        yield page.figure_html(figure, number=number, title=title, caption=caption)
    changes, bursts = tokens_of_text(archive)
    typical = typical_tokens(changes, bursts)
    yield token_breaks.examples_html(typical, bursts, trajectories(archive.runs, typical))
    yield changes_section(archive.phase_changes())
    yield problems_section(archive.problems)
    yield settings_section(archive, command)


def drawings(
    archive: Archive, windows: figures.Windows, induction: dict[str, list[str]]
) -> Iterator[tuple[str, str, go.Figure]]:
    """Title, caption and figure of everything the archive has data for."""
    curve = archive.loss_curve()
    if not curve.is_empty():
        caption = (
            "Mean loss over all tokens of the fixed text examples. "
            "Shaded: the phase change; paler: how uncertain its ends are."
        )
        yield "Loss", caption, figures.curves(curve, windows, y="loss (nats per token)")
    in_context = archive.in_context_learning()
    if not in_context.is_empty():
        early, late = in_context.select(schema.EARLY, schema.LATE).row(0)
        caption = (
            f"Loss around token {late} minus loss around token {early}, averaged over the text examples; "
            f"below zero, context helps. Band: 95% bootstrap interval over examples. {short_context(late)}"
        )
        yield "In-context learning score", caption, figures.curves(in_context, windows, y="nats", band=True)
    heads = archive.head_scores().filter(pl.col(schema.METRIC) == PREFIX_MATCHING)
    if not heads.is_empty():
        caption = (
            "Share of attention that goes to the token after an earlier copy of the current one, per head, "
            "on repeated random tokens. Strong lines: induction heads. Dotted: what a uniform pattern scores."
        )
        yield "Prefix matching of every head", caption, figures.prefix_matching(heads, windows, induction)
    derivative = archive.loss_derivative(bandwidth=MAP_BANDWIDTH)
    if not derivative.is_empty():
        caption = (
            "Derivative of the loss with respect to the log of the token index, "
            f"over training (across) and token index (up); each a line fitted over {MAP_BANDWIDTH:g} in ln(index). "
            "Blue: later tokens cost more than earlier ones; red: the loss still falls along the context; white: "
            "within two standard errors of 0, over the text examples. Dashed: start and end of the phase change."
        )
        yield "Where in the context the loss falls", caption, figures.loss_derivative(derivative, windows)
    space = of_text(archive, archive.function_space(tokens="all"))
    if not space.is_empty():
        yield "Paths through function space", function_space.CAPTION, function_space.trajectories(space, windows)
    changes, bursts = tokens_of_text(archive)
    if not bursts.is_empty():
        caption = token_breaks.caption(changes, bursts)
        yield "The breaks that the average hides", caption, token_breaks.histogram(bursts, windows)


def tokens_of_text(archive: Archive) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Breaks of single tokens and their histogram, of the first text probe of each run."""
    return of_text(archive, archive.token_changes()), of_text(archive, archive.token_bursts())


def of_text(archive: Archive, table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the first text probe of each run."""
    text = archive.in_context_learning().select(schema.RUN, schema.PROBE).unique(schema.RUN, maintain_order=True)
    return table.join(text, on=text.columns, how="semi", maintain_order="left")


def short_context(late: int) -> str:
    """Says so where the context ends before the 500th token of the definition."""
    if late >= 500:
        return ""
    return f"The paper uses the 500th token; these examples are shorter, so the last usable index, {late}, stands in."


def changes_section(changes: pl.DataFrame) -> str:
    """Every window that was found, significant in its own right."""
    head = "<section><h2>Every window found</h2>"
    if changes.is_empty():
        return f'{head}<p class="note">No curve of any run breaks.</p></section>'
    shown = changes.select(
        schema.RUN,
        schema.METRIC,
        schema.PROBE,
        pl.concat_str(pl.lit("L"), schema.LAYER, pl.lit("H"), schema.HEAD).alias("head"),
        schema.START,
        schema.END,
        schema.BEFORE,
        schema.AFTER,
        schema.SIZE,
        schema.SHARE,
        pl.col(schema.P_VALUE).map_elements(words.probability, return_dtype=pl.String),
    )
    note = (
        "One row a window. <em>Size</em>: the height of the break over the smooth course of its curve. "
        "<em>Share</em>: change inside the window over the change of the whole run. "
        "<em>p value</em>: how often a smooth curve with the same noise shows such a window."
    )
    return f'{head}<p class="note">{note}</p>{page.table_html(shown)}</section>'


def problems_section(problems: pl.DataFrame) -> str:
    """What could not be read or is undefined; nothing where all is well."""
    if problems.is_empty():
        return ""
    note = f"{problems.height} tensors or files that could not be read, or whose values leave a measure undefined."
    table = page.table_html(problems, wide=[schema.FILE, schema.EXPECTED, schema.FOUND])
    return f'<section><h2>Unreadable or undefined</h2><p class="note">{note}</p>{table}</section>'


def settings_section(archive: Archive, command: str | None) -> str:
    """How each run was trained, and how to make this page again."""
    runs = "".join(page.settings_html(run.name, dict(run.config)) for run in archive.runs)
    return f"<section><h2>Settings</h2>{runs}</section>{page.reproduce_html(command)}"
