"""When single tokens break, and what they are: the figure, its caption, and the typical tokens of each burst."""

import math
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from phaseflow import schema
from phaseflow.analysis.trajectories import Token, Trajectory
from phaseflow.reporting.figures import Windows, shade
from phaseflow.reporting.sparkline import sparkline
from phaseflow.reporting.style import INK, LAYER_COLOURS, MUTED, log_steps, rgba, styled

REPEATED, OTHER = LAYER_COLOURS[0], LAYER_COLOURS[4]
#: Characters of text shown in front of a token, and behind it.
SHOWN_CONTEXT, SHOWN_FOLLOWING = 50, 20
#: Bursts and tokens of each that are shown.
SHOWN_BURSTS, SHOWN_TOKENS = 4, 4


def histogram(bursts: pl.DataFrame, windows: Windows) -> go.Figure:
    """Drops (up) and rises (down) of single tokens over steps, one panel a run, beside what chance gives."""
    runs = bursts[schema.RUN].unique(maintain_order=True).to_list()
    figure = make_subplots(rows=1, cols=len(runs), shared_yaxes=True, subplot_titles=runs, horizontal_spacing=0.04)
    for column, run in enumerate(runs, start=1):
        rows = bursts.filter(pl.col(schema.RUN) == run).sort(schema.START)
        falls = rows[schema.FALLS]
        told = rows[schema.REPEATED_SHARE].is_not_nan().any()
        outline(figure, rows, falls, "drop, other tokens" if told else "drop", OTHER, column)
        if told:
            repeated = falls * rows[schema.REPEATED_SHARE].fill_nan(0.0)
            # Covers what it is a part of, so that its colour is the legend's.
            outline(figure, rows, repeated, "drop, inside a repeated passage", REPEATED, column, opacity=1.0)
        outline(figure, rows, -rows[schema.RISES], "rise", MUTED, column)
        figure.add_scatter(
            x=edges(rows),
            y=[*rows[schema.EXPECTED_FALLS], rows[schema.EXPECTED_FALLS][-1]],
            name="as many drops, placed by chance",
            legendgroup="chance",
            showlegend=column == 1,
            line={"color": INK, "width": 1.2, "dash": "dot", "shape": "hv"},
            hovertemplate="by chance %{y:.0f}<extra></extra>",
            row=1,
            col=column,
        )
        if run in windows:
            shade(figure, windows[run], row=1, col=column)
        log_steps(figure, row=1, col=column)
    figure.update_yaxes(tickformat=",d")
    figure.update_yaxes(title_text="tokens per tenth of a decade", row=1, col=1)
    styled(figure, height=400)
    figure.update_layout(margin={"t": 72}, legend={"y": 1.1}, hovermode="x unified")
    return figure


def outline(
    figure: go.Figure,
    rows: pl.DataFrame,
    counts: pl.Series,
    name: str,
    colour: str,
    column: int,
    *,
    opacity: float = 0.55,
) -> None:
    """A filled staircase; bars have no steady width on a log axis."""
    figure.add_scatter(
        x=edges(rows),
        y=[*counts, counts[-1]],
        name=name,
        legendgroup=name,
        showlegend=column == 1,
        fill="tozeroy",
        fillcolor=rgba(colour, opacity),
        line={"color": colour, "width": 1, "shape": "hv"},
        hovertemplate=f"{name} %{{y:,.0f}}<extra></extra>",
        row=1,
        col=column,
    )


def edges(rows: pl.DataFrame) -> list[float]:
    """Bounds of the bins."""
    return [*rows[schema.START], rows[schema.END][-1]]


def caption(changes: pl.DataFrame, bursts: pl.DataFrame) -> str:
    """What the figure shows, and what the largest burst of each run consists of."""
    return (
        "Each token of the text examples is tested by itself: how many drop (up) or rise (down) for good around a "
        "step, beyond their own smooth course and slow wander, at a false-discovery rate of 5%. Dotted: the same "
        "number of drops where the test places false ones. Dark: tokens that end a passage of two or more tokens which "
        f"stood earlier in the example, so that an induction head can know them. {' '.join(sentences(changes, bursts))}"
    )


def sentences(changes: pl.DataFrame, bursts: pl.DataFrame) -> Iterator[str]:
    """One sentence a run."""
    for (run,), rows in bursts.group_by([schema.RUN], maintain_order=True):
        n_breaks = changes.filter(pl.col(schema.RUN) == run).height
        sentence = f"<b>{escape(str(run))}</b>: {n_breaks:,} tokens break"
        inside = rows.drop_nulls(schema.BURST)
        if inside.is_empty():
            yield f"{sentence}, in no burst."
            continue
        sizes = inside.group_by(schema.BURST).agg(pl.col(schema.FALLS).sum()).sort(schema.FALLS)
        burst = inside.filter(pl.col(schema.BURST) == sizes[schema.BURST][-1])
        drops = int(burst[schema.FALLS].sum())
        sentence += (
            f"; the largest burst, steps {burst[schema.START][0]:,.0f} to {burst[schema.END][-1]:,.0f}, "
            f"holds {drops:,} drops where chance puts {float(burst[schema.EXPECTED_FALLS].sum()):,.0f}"
        )
        share = float((burst[schema.REPEATED_SHARE] * burst[schema.FALLS]).sum()) / drops
        if not math.isnan(share):
            overall = burst[schema.REPEATED_SHARE_OF_ALL][0]
            sentence += f", {100 * share:.0f}% of them in repeated passages ({100 * overall:.0f}% of all tokens are)"
        yield f"{sentence}."


def examples_html(typical: pl.DataFrame, bursts: pl.DataFrame, curves: Mapping[Token, Trajectory]) -> str:
    """The surest drops of the largest bursts, in their text; nothing where no probe has a vocabulary."""
    typical = typical.drop_nulls(schema.TEXT)
    where = [schema.RUN, schema.PROBE, schema.BURST]
    spans = (
        bursts.drop_nulls(schema.BURST)
        .group_by(where)
        .agg(pl.col(schema.START).min(), pl.col(schema.END).max(), pl.col(schema.FALLS).sum())
        .sort(schema.FALLS, descending=True)
        .head(SHOWN_BURSTS)
        .sort(where)
    )
    body = []
    for span in spans.iter_rows(named=True):
        rows = typical.filter(*(pl.col(name) == span[name] for name in where)).head(SHOWN_TOKENS)
        if rows.is_empty():
            continue
        title = f"{span[schema.RUN]}, steps {span[schema.START]:,.0f} – {span[schema.END]:,.0f}"
        body.append(f'<tr><th colspan="5">{escape(title)}: {span[schema.FALLS]:,} drops</th></tr>')
        body += [example(row, curves) for row in rows.iter_rows(named=True)]
    if not body:
        return ""
    head = (
        '<tr><th>text, and the token</th><th>loss over training</th><th class="number">loss before → after</th>'
        '<th class="number">last step before – first after</th><th class="number">repeated tokens</th></tr>'
    )
    note = (
        "The surest drops of each of the largest bursts. <em>Loss over training</em>: of that one token, from 0 up, "
        "over the log of the step; marked: where it breaks. <em>Repeated tokens</em>: length of the passage, up to and "
        "with this token, that stood earlier in the same example."
    )
    return (
        f'<section><h2>Typical tokens of each burst</h2><p class="note">{note}</p>'
        f'<div class="scroll"><table class="tokens"><thead>{head}</thead><tbody>{"".join(body)}</tbody></table></div>'
        "</section>"
    )


def example(row: dict[str, Any], curves: Mapping[Token, Trajectory]) -> str:
    """One token in its text, and its loss."""
    steps, losses = curves[row[schema.RUN], row[schema.PROBE], row[schema.EXAMPLE], row[schema.TOKEN_INDEX]]
    curve = sparkline(steps.tolist(), losses.tolist(), start=row[schema.START], end=row[schema.END])
    before, token, behind = (visible(row[name]) for name in (schema.CONTEXT, schema.TEXT, schema.FOLLOWING))
    text = (
        f"…{escape(before[-SHOWN_CONTEXT:])}<mark>{escape(token)}</mark>"
        f'<span class="behind">{escape(behind[:SHOWN_FOLLOWING])}</span>'
    )
    return (
        f'<tr><td class="text">{text}</td><td>{curve}</td>'
        f'<td class="number">{row[schema.BEFORE]:.2f} → {row[schema.AFTER]:.2f}</td>'
        f'<td class="number">{row[schema.START]:,.0f} – {row[schema.END]:,.0f}</td>'
        f'<td class="number">{row[schema.REPEAT_LENGTH]:,}</td></tr>'
    )


def visible(text: str) -> str:
    """Line ends and tabs as signs and indentation shortened, so that a passage stays on one line."""
    return re.sub(" {3,}", "  ", text.replace("\n", "⏎").replace("\t", "⇥"))
