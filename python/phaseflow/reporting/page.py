"""One offline HTML file: the verdict first, then the figures that carry it, then how to reproduce it.

Nothing is fetched when the page is opened: plotly's script, the styles and the data are inside.
"""

import errno
import json
import math
import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.offline import get_plotlyjs

from phaseflow import __version__, schema
from phaseflow.exceptions import ParameterError
from phaseflow.reporting import words


def figure_html(figure: go.Figure, *, number: int, title: str, caption: str) -> str:
    """A numbered section with a figure and its caption."""
    drawing = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
        div_id=f"figure-{number}",
    )
    return (
        f"<section><h2>{number}. {escape(title)}</h2>"
        f"<figure>{drawing}<figcaption>{caption}</figcaption></figure></section>"
    )


def card(verdict: dict[str, Any]) -> str:
    """The verdict on one run."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in words.facts(verdict))
    note = words.caution(verdict)
    return (
        f'<div class="card {"yes" if verdict[schema.PHASE_CHANGE] else "no"}"><h3>{escape(verdict[schema.RUN])}</h3>'
        f'<p class="answer">{escape(words.answer(verdict))}</p><dl>{rows}</dl>'
        + (f"<p>{escape(note)}</p>" if note else "")
        + "</div>"
    )


def table_html(table: pl.DataFrame, *, wide: Sequence[str] = ()) -> str:
    """A polars frame as an HTML table, numbers to three significant digits."""
    numeric = {name for name, dtype in table.schema.items() if dtype.is_numeric()}

    def cell(name: str, value: Any) -> str:
        kind = "number" if name in numeric else "wide" if name in wide else ""
        return f'<td class="{kind}">{escape(number(value))}</td>'

    head = "".join(
        f'<th class="{"number" if name in numeric else ""}">{escape(name.replace("_", " "))}</th>'
        for name in table.columns
    )
    body = "".join(
        "<tr>" + "".join(cell(name, value) for name, value in row.items()) + "</tr>"
        for row in table.iter_rows(named=True)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def number(value: Any) -> str:
    """A value as a reader wants it: whole numbers with separators, others to three digits, nothing for missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def reproduce_html(command: str | None) -> str:
    """The command that makes the page again; nothing without one."""
    return f"<section><h2>Reproduce</h2><pre>{escape(command)}</pre></section>" if command else ""


def made_by(archive: Path, after: str) -> str:
    """The footer: what made the page, from where, and whose definitions it follows."""
    return f"Made by phaseflow {escape(__version__)} from {escape(str(archive))}. {escape(after)}"


def settings_html(run: str, config: dict[str, Any]) -> str:
    """A run's recorded configuration, folded away."""
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
    return f"<details><summary>{escape(run)}</summary><pre>{escape(text)}</pre></details>"


def check_writable(path: Path) -> None:
    """Refuses a page's path that nothing can be written to: to be asked before hours of work, not after.

    Raises
    ------
    ParameterError
        The path is a directory.
    OSError
        Its directory cannot be made, or not be written in.
    """
    if path.is_dir():
        raise ParameterError(f"the page's path {path} is a directory, expected a file: {path / 'report.html'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "nothing can be written into the directory of the page", str(path.parent))


def write_page(
    path: Path, *, headline: str, lead: str, sections: Sequence[str], footer: str, title: str = "phaseflow report"
) -> None:
    """Writes the page beside its name, then renames it, so that a reader never sees half of it."""
    check_writable(path)
    here = files("phaseflow.reporting")
    page = Template((here / "page.html").read_text("utf-8")).substitute(
        title=escape(title),
        css=(here / "page.css").read_text("utf-8"),
        plotly=get_plotlyjs(),
        version=escape(__version__),
        headline=escape(headline),
        lead=lead,
        sections="\n".join(sections),
        footer=footer,
    )
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(page, "utf-8")
    beside.replace(path)
