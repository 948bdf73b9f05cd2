"""The figures of the report: tidy tables in, plotly figures out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from phaseflow import schema
from phaseflow.reporting.style import (
    INK,
    LAYER_COLOURS,
    MUTED,
    RUN_COLOURS,
    WINDOW,
    WINDOW_EDGE,
    log_steps,
    rgba,
    styled,
)

Windows = Mapping[str, Mapping[str, Any]]  # run -> probe, start, end, start_lower, ... of its phase change


def run_colours(runs: Sequence[str]) -> dict[str, str]:
    """One colour a run, the same in every figure."""
    return {run: RUN_COLOURS[i % len(RUN_COLOURS)] for i, run in enumerate(runs)}


def by_curve(table: pl.DataFrame, windows: Windows) -> tuple[pl.DataFrame, dict[str, str], Windows]:
    """Calls each curve by its run, and by its probe too where a run has several.

    Returns the table with these names for runs, the run behind each name, and the phase change of each name that has
    one: of a curve of losses only where its probe is the verdict's.
    """
    several = table.select(schema.RUN, schema.PROBE).unique()[schema.RUN].is_duplicated().any()
    label = pl.format("{} · {}", schema.RUN, schema.PROBE) if several else pl.col(schema.RUN)
    names = table.select(label.alias("label"), schema.RUN, schema.PROBE).unique(maintain_order=True)
    of_losses = schema.HEAD not in table.columns
    shown = {
        name: windows[run]
        for name, run, probe in names.iter_rows()
        if run in windows and (not of_losses or windows[run][schema.PROBE] == probe)
    }
    return table.with_columns(label.alias(schema.RUN)), dict(names.select("label", schema.RUN).iter_rows()), shown


def shade(figure: go.Figure, window: Mapping[str, Any], **where: int) -> None:
    """The interval of a phase change; paler, how far outside it may begin and end."""
    start, end = window[schema.START], window[schema.END]
    # The template would make every shape paler.
    plain: dict[str, Any] = {"line_width": 0, "layer": "below", "opacity": 1, **where}
    figure.add_vrect(x0=start, x1=end, fillcolor=WINDOW, **plain)
    for inner, outer in ((start, window[schema.lower(schema.START)]), (end, window[schema.upper(schema.END)])):
        if math.isfinite(outer) and outer != inner:
            low, high = sorted((inner, outer))
            figure.add_vrect(x0=low, x1=high, fillcolor=WINDOW_EDGE, **plain)


def curves(table: pl.DataFrame, windows: Windows, *, y: str, band: bool = False) -> go.Figure:
    """One line a run of ``value`` over steps, with its confidence band where asked, phase changes shaded."""
    table, _, windows = by_curve(table, windows)
    figure = go.Figure()
    runs = table[schema.RUN].unique(maintain_order=True).to_list()
    for run, colour in run_colours(runs).items():
        rows = table.filter((pl.col(schema.RUN) == run) & (pl.col(schema.STEP) > 0)).sort(schema.STEP)
        steps = rows[schema.STEP].to_list()
        if band:
            figure.add_scatter(
                x=steps + steps[::-1],
                y=rows[schema.UPPER].to_list() + rows[schema.LOWER].to_list()[::-1],
                fill="toself",
                fillcolor=rgba(colour, 0.15),
                line={"width": 0},
                hoverinfo="skip",
                legendgroup=run,
                showlegend=False,
            )
        figure.add_scatter(
            x=steps,
            y=rows[schema.VALUE].to_list(),
            name=run,
            legendgroup=run,
            line={"color": colour, "width": 2.2},
            hovertemplate=f"{run}<br>step %{{x:,}}<br>%{{y:.3f}}<extra></extra>",
        )
        if run in windows:
            shade(figure, windows[run])
    log_steps(figure)
    figure.update_yaxes(title_text=y)
    return styled(figure, height=380)


def prefix_matching(heads: pl.DataFrame, windows: Windows, induction: Mapping[str, Sequence[str]]) -> go.Figure:
    """Prefix matching score of every head over training, one panel a run; induction heads drawn strong and named."""
    heads, run_of, windows = by_curve(heads, windows)
    runs = heads[schema.RUN].unique(maintain_order=True).to_list()
    figure = make_subplots(rows=1, cols=len(runs), shared_yaxes=True, subplot_titles=runs, horizontal_spacing=0.04)
    seen_layers = set()
    for column, run in enumerate(runs, start=1):
        rows = heads.filter((pl.col(schema.RUN) == run) & (pl.col(schema.STEP) > 0)).sort(schema.STEP)
        for (layer, head), curve in rows.group_by([schema.LAYER, schema.HEAD], maintain_order=True):
            name = f"L{layer}H{head}"
            strong = name in induction.get(run_of[run], ())
            colour = LAYER_COLOURS[int(layer) % len(LAYER_COLOURS)]
            figure.add_scatter(
                x=curve[schema.STEP].to_list(),
                y=curve[schema.VALUE].to_list(),
                mode="lines",
                name=f"layer {layer}",
                legendgroup=f"layer {layer}",
                showlegend=layer not in seen_layers,
                line={"color": colour if strong else rgba(colour, 0.45), "width": 2.6 if strong else 1.2},
                hovertemplate=f"{name}<br>step %{{x:,}}<br>%{{y:.3f}}<extra></extra>",
                row=1,
                col=column,
            )
            seen_layers.add(layer)
            if strong:
                figure.add_annotation(
                    x=math.log10(curve[schema.STEP][-1]) * (1 - 1e-9),  # a rounding beyond the axis is not drawn
                    y=highest_beneath(curve),
                    text=f"<b>{name}</b>",
                    showarrow=False,
                    xanchor="right",
                    yanchor="bottom",
                    font={"size": 12, "color": colour},
                    row=1,
                    col=column,
                )
        chance = rows[schema.CHANCE].mean()
        if isinstance(chance, float):
            figure.add_hline(y=chance, line={"color": MUTED, "dash": "dot", "width": 1}, row=1, col=column)
        if run in windows:
            shade(figure, windows[run], row=1, col=column)
        log_steps(figure, row=1, col=column)
    figure.update_yaxes(range=[0, 1.02])
    figure.update_yaxes(title_text="prefix matching score", row=1, col=1)
    styled(figure, height=420)
    figure.update_layout(margin={"t": 72}, legend={"y": 1.1})
    return figure


def highest_beneath(curve: pl.DataFrame) -> float:
    """Highest value of a curve in the last eighth of its logarithmic steps, which its name stands above."""
    steps = pl.col(schema.STEP).log10()
    last = curve.filter(steps >= steps.max() - (steps.max() - steps.min()) / 8)
    return float(last[schema.VALUE].max())  # type: ignore[arg-type]


def loss_derivative(derivative: pl.DataFrame, windows: Windows) -> go.Figure:
    """The map of d loss / d ln(token index) over training step and token index, one panel a run.

    Blank within two standard errors of 0, which the texts alone would explain.
    """
    derivative, _, windows = by_curve(derivative, windows)
    runs = derivative[schema.RUN].unique(maintain_order=True).to_list()
    figure = make_subplots(rows=1, cols=len(runs), shared_yaxes=True, subplot_titles=runs, horizontal_spacing=0.04)
    limit = colour_limit(derivative)
    for column, run in enumerate(runs, start=1):
        told = pl.col(schema.VALUE).abs() > 2 * pl.col(schema.STANDARD_ERROR)
        wide = (
            derivative.filter((pl.col(schema.RUN) == run) & (pl.col(schema.STEP) > 0))
            .with_columns(pl.when(told).then(schema.VALUE))
            .pivot(on=schema.STEP, index=schema.TOKEN_INDEX, values=schema.VALUE)
            .sort(schema.TOKEN_INDEX)
        )
        steps = [int(name) for name in wide.columns[1:]]
        figure.add_heatmap(
            x=steps,
            y=wide[schema.TOKEN_INDEX].to_list(),
            z=np.round(wide.drop(schema.TOKEN_INDEX).to_numpy().astype(float), 4),
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate="step %{x:,}<br>token index %{y}<br>%{z:.3f} nats per unit of ln(index)<extra></extra>",
            row=1,
            col=column,
        )
        if run in windows:
            for edge in (schema.START, schema.END):
                # Dark on white, so that it is seen on any colour of the map.
                for line in ({"color": "white", "width": 3.5}, {"color": INK, "width": 1.5, "dash": "dash"}):
                    figure.add_vline(x=windows[run][edge], line=line, opacity=1, row=1, col=column)
        log_steps(figure, row=1, col=column)
    figure.update_yaxes(type="log", dtick="D2")
    figure.update_yaxes(title_text="token index", row=1, col=1)
    styled(figure, height=420)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False)
    figure.update_layout(
        coloraxis={
            "colorscale": "RdBu",
            "cmin": -limit,
            "cmid": 0.0,
            "cmax": limit,
            "colorbar": {
                "title": {"text": "d loss /<br>d ln(index)", "side": "top"},
                "thickness": 14,
                "outlinewidth": 0,
            },
        },
    )
    return figure


def colour_limit(derivative: pl.DataFrame) -> float:
    """Symmetric colour range: the 98th percentile of the magnitude beyond token 10, where context is the story."""
    late = derivative.filter((pl.col(schema.TOKEN_INDEX) > 10) & (pl.col(schema.STEP) > 0))[schema.VALUE]
    limit = late.drop_nans().abs().quantile(0.98)
    return float(limit) if limit else 1.0
