"""Several curves of each run in one panel, with the stages it passes through as bands behind them."""

import math

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from phaseflow import schema
from phaseflow.reporting.figures import shade
from phaseflow.reporting.style import MUTED, RUN_COLOURS, log_steps, rgba, styled

_ACROSS = 3  # panels in a row
_PANEL = 240  # pixels


def panels(curves: pl.DataFrame, stages: pl.DataFrame, windows: pl.DataFrame, *, y: str) -> go.Figure:
    """A panel a run.

    Parameters
    ----------
    curves : polars.DataFrame
        run, name, step, value; values above 0, on a log axis.
    stages : polars.DataFrame
        run, name, start, end: a band, and its name above it; a name that ends a curve's has that curve's colour.
    windows : polars.DataFrame
        run and the columns of :func:`phaseflow.detect_windows`.
    y : str
        Title of the value axis.
    """
    runs = curves[schema.RUN].unique(maintain_order=True).to_list()
    names = curves[schema.NAME].unique(maintain_order=True).sort().to_list()
    colours = {name: RUN_COLOURS[i % len(RUN_COLOURS)] for i, name in enumerate(names)}
    across = min(_ACROSS, len(runs))
    down = -(-len(runs) // across)
    figure = make_subplots(
        rows=down, cols=across, shared_yaxes=True, subplot_titles=runs, horizontal_spacing=0.03, vertical_spacing=0.12
    )
    for index, run in enumerate(runs):
        where = {"row": index // across + 1, "col": index % across + 1}
        rows = curves.filter((pl.col(schema.RUN) == run) & (pl.col(schema.STEP) > 0)).sort(schema.STEP)
        for name in names:
            curve = rows.filter(pl.col(schema.NAME) == name)
            figure.add_scatter(
                x=curve[schema.STEP].to_list(),
                y=curve[schema.VALUE].to_list(),
                mode="lines",
                name=name.replace("_", " "),
                legendgroup=name,
                showlegend=index == 0,
                line={"color": colours[name], "width": 2},
                hovertemplate=f"{name}<br>step %{{x:,}}<br>%{{y:.4f}}<extra></extra>",
                **where,
            )
        for order, stage in enumerate(stages.filter(pl.col(schema.RUN) == run).iter_rows(named=True)):
            colour = next((colours[name] for name in names if name.endswith(stage[schema.NAME])), MUTED)
            start = max(stage[schema.START], 1)
            figure.add_vrect(
                x0=start, x1=stage[schema.END], fillcolor=rgba(colour, 0.12), line_width=0, layer="below", **where
            )
            figure.add_annotation(
                x=math.log10(start), y=0.08 * (order % 2), xref="x", yref="y domain", xanchor="left", yanchor="bottom",
                text=stage[schema.NAME], font={"color": colour, "size": 12}, showarrow=False, **where,
            )  # fmt: skip
        for window in windows.filter(pl.col(schema.RUN) == run).iter_rows(named=True):
            shade(figure, window, **where)
        log_steps(figure, "training step" if where["row"] == down else "", **where)
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    for row in range(1, down + 1):
        figure.update_yaxes(title_text=y, row=row, col=1)
    styled(figure, height=_PANEL * down + 120)
    return figure.update_layout(margin={"t": 64}, legend={"y": 1.02 + 0.1 / down})
