"""Figures of toy models: phase diagrams, branches, features in the plane, pairs, energy levels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from phaseflow import schema
from phaseflow.reporting.style import GRID, INK, MUTED, RUN_COLOURS, rgba, styled

#: One colour a feature: five of a pentagon, eight of a larger model.
FEATURE_COLOURS = [*RUN_COLOURS, "#e69f00", "#666666"]
PHASE_COLOURS = ["#c9cdd8", "#8a90a0", "#56b4e9", "#0072b2"]  # grey where a feature is ignored, blue where two share


def phase_maps(
    density: NDArray[np.float64],
    importance: NDArray[np.float64],
    expected: NDArray[np.int64],
    trained: NDArray[np.int64],
    agrees: NDArray[np.bool_],
    names: Sequence[str],
    boundary: Sequence[tuple[float, float, float, float, float]],
) -> go.Figure:
    """Closed form and trained phases, ``(row, column)`` over importance and density, side by side.

    ``boundary``: importance, density in closed form, trained density, its lower and upper end.
    """
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, subplot_titles=("closed form", "trained"), horizontal_spacing=0.05
    )
    scale = [
        [edge, colour]
        for i, colour in enumerate(PHASE_COLOURS[: len(names)])
        for edge in (i / len(names), (i + 1) / len(names))
    ]
    for column, phases in enumerate((expected, trained), start=1):
        figure.add_heatmap(
            x=density, y=importance, z=phases, zmin=-0.5, zmax=len(names) - 0.5, colorscale=scale, showscale=False,
            customdata=np.array(names)[phases], xgap=1, ygap=1,
            hovertemplate="density %{x:.3f}<br>importance %{y:.2f}<br>%{customdata}<extra></extra>",
            row=1, col=column,
        )  # fmt: skip
    for i, name in enumerate(names):
        marker = {"symbol": "square", "size": 13, "color": PHASE_COLOURS[i]}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name)
    r, closed, at, lower, upper = (np.array(values) for values in zip(*boundary, strict=True))
    for column in (1, 2):
        figure.add_scatter(
            x=closed, y=r, mode="lines", line={"color": INK, "width": 1.6, "dash": "dash"},
            name="boundary in closed form", showlegend=column == 1, hoverinfo="skip", row=1, col=column,
        )  # fmt: skip
    figure.add_scatter(
        x=at, y=r, mode="markers", marker={"color": RUN_COLOURS[1], "size": 6},
        error_x={"type": "data", "symmetric": False, "array": upper - at, "arrayminus": at - lower, "thickness": 1},
        name="boundary of the trained", row=1, col=2,
        hovertemplate="importance %{y:.2f}<br>density %{x:.3f}<extra></extra>",
    )  # fmt: skip
    wrong = np.argwhere(~agrees)
    figure.add_scatter(
        x=density[wrong[:, 1]], y=importance[wrong[:, 0]], mode="markers",
        marker={"symbol": "x-thin", "size": 8, "line": {"color": INK, "width": 1.5}}, name="disagrees", row=1, col=2,
        hoverinfo="skip",
    )  # fmt: skip
    styled(figure, height=480)
    ticks = {"type": "log", "exponentformat": "none", "showgrid": False}
    figure.update_xaxes(**ticks, tickvals=[0.02, 0.05, 0.1, 0.2, 0.5, 1], title_text="density of the features")
    figure.update_yaxes(**ticks, tickvals=[0.1, 0.2, 0.5, 1, 2, 5, 10])
    figure.update_yaxes(title_text="importance of the last feature", row=1, col=1)
    figure.update_layout(margin={"t": 84}, legend={"y": 1.07})
    return figure


def branches(
    ratio: NDArray[np.float64], loss: NDArray[np.float64], crossing: tuple[float, float, float], left: float
) -> go.Figure:
    """Losses ``(branch, ratio)`` of pentagon and digons, where they cross, and where the pentagon is left."""
    figure = go.Figure()
    for name, values, colour, arrow in (
        ("from the pentagon, density falling", loss[0], RUN_COLOURS[0], "triangle-left"),
        ("from two digons, density rising", loss[1], RUN_COLOURS[1], "triangle-right"),
    ):
        figure.add_scatter(
            x=ratio, y=values, name=name, mode="lines+markers", line={"color": colour, "width": 2},
            marker={"symbol": arrow, "size": 8}, hovertemplate="ratio %{x:.2f}<br>loss %{y:.5f}<extra></extra>",
        )  # fmt: skip
    at, error, height = crossing
    figure.add_scatter(
        x=[at], y=[height], mode="markers", name=f"crossing at {at:.4f} ± {error:.4f}",
        marker={"symbol": "circle-open", "size": 14, "color": INK, "line": {"width": 2}},
    )  # fmt: skip
    figure.add_vline(x=left, line={"color": MUTED, "dash": "dot", "width": 1.5})
    figure.add_annotation(
        x=left, y=1, yref="paper", text="no pentagon below", showarrow=False, xanchor="right", yanchor="top",
        xshift=-4, textangle=-90, font={"color": MUTED, "size": 12},
    )  # fmt: skip
    styled(figure, height=420)
    figure.update_xaxes(title_text="density of the fifth feature, relative to the others", range=[0, 1.02])
    figure.update_yaxes(title_text="expected loss", rangemode="tozero")
    return figure


def planes(panels: Sequence[tuple[str, NDArray[Any]]], *, columns: int) -> go.Figure:
    """Features as arrows in the plane: one small panel for each title and ``W (2, feature)``."""
    rows = -(-len(panels) // columns)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[title for title, _ in panels], horizontal_spacing=0.02,
        vertical_spacing=0.14,
    )  # fmt: skip
    reach = 1.1 * max(float(np.linalg.norm(W, axis=0).max()) for _, W in panels)
    for place, (_, W) in enumerate(panels):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        for feature in range(W.shape[1]):
            colour = FEATURE_COLOURS[feature % len(FEATURE_COLOURS)]
            figure.add_scatter(
                x=[0, W[0, feature]], y=[0, W[1, feature]], mode="lines+markers", showlegend=False,
                line={"color": colour, "width": 2.5}, marker={"size": [0, 8], "color": colour},
                hovertemplate=f"feature {feature}<br>%{{x:.2f}}, %{{y:.2f}}<extra></extra>", **where,
            )  # fmt: skip
    styled(figure, height=200 * rows + 80)
    figure.update_xaxes(range=[-reach, reach], showticklabels=False, ticks="", showgrid=False, showline=False)
    figure.update_yaxes(range=[-reach, reach], showticklabels=False, ticks="", showgrid=False, showline=False)
    for place in range(1, rows * columns + 1):
        axis = "" if place == 1 else str(place)
        figure.update_layout({f"yaxis{axis}": {"scaleanchor": f"x{axis}", "zeroline": True, "zerolinecolor": GRID}})
        figure.update_layout({f"xaxis{axis}": {"zeroline": True, "zerolinecolor": GRID}})
    figure.update_layout(margin={"l": 10, "r": 10, "b": 10, "t": 60})
    figure.update_annotations(font_size=13)
    return figure


def cosines(panels: Sequence[tuple[str, NDArray[Any]]]) -> go.Figure:
    """Cosines between all features of each ``W``; pairs are neighbours, framed."""
    figure = make_subplots(
        rows=1, cols=len(panels), subplot_titles=[title for title, _ in panels], horizontal_spacing=0.035
    )
    for column, (_, W) in enumerate(panels, start=1):
        unit = W / np.maximum(np.linalg.norm(W, axis=0), 1e-12)
        gram = (unit.T @ unit).astype(float).round(3)
        figure.add_heatmap(
            z=gram, coloraxis="coloraxis", xgap=1, ygap=1, row=1, col=column, texttemplate="%{z:.1f}",
            textfont={"size": 10}, hovertemplate="features %{x} and %{y}<br>cosine %{z:.2f}<extra></extra>",
        )  # fmt: skip
        for first in range(0, len(gram), 2):
            box = {"x0": first - 0.5, "x1": first + 1.5, "y0": first - 0.5, "y1": first + 1.5}
            frame = {"line": {"color": INK, "width": 2}, "fillcolor": rgba(INK, 0), "opacity": 1}
            figure.add_shape(type="rect", **box, **frame, row=1, col=column)
    styled(figure, height=360)
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False, showline=False)
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False, showline=False, autorange="reversed")
    for column in range(1, len(panels) + 1):
        axis = "" if column == 1 else str(column)
        figure.update_layout({f"yaxis{axis}_scaleanchor": f"x{axis}", f"xaxis{axis}_constrain": "domain"})
    figure.update_layout(
        coloraxis={"colorscale": "RdBu", "cmin": -1, "cmax": 1, "colorbar": {"thickness": 12, "title": "cosine"}},
        margin={"l": 10, "r": 10, "b": 20, "t": 50},
    )
    figure.update_annotations(font_size=13)
    return figure


def energy_levels(
    geometry: pl.DataFrame, losses: pl.DataFrame, jumps: pl.DataFrame, instances: Sequence[int], begin: int
) -> go.Figure:
    """Every feature's dimensionality and the loss on one axis of steps, one panel for each of these restarts."""
    figure = make_subplots(
        rows=len(instances), cols=1, shared_xaxes=True, vertical_spacing=0.06,
        specs=[[{"secondary_y": True}] for _ in instances], subplot_titles=[f"restart {i}" for i in instances],
    )  # fmt: skip
    for row, instance in enumerate(instances, start=1):
        of_instance = (pl.col(schema.INSTANCE) == instance) & (pl.col(schema.STEP) > 0)
        for (feature,), curve in geometry.filter(of_instance).group_by([schema.FEATURE], maintain_order=True):
            colour = FEATURE_COLOURS[int(feature) % len(FEATURE_COLOURS)]
            figure.add_scatter(
                x=curve[schema.STEP].to_list(), y=curve[schema.DIMENSIONALITY].round(4).to_list(), mode="lines",
                name=f"feature {feature}", legendgroup=f"{feature}", showlegend=row == 1,
                line={"color": colour, "width": 1.8}, row=row, col=1,
                hovertemplate=f"feature {feature}<br>step %{{x}}<br>%{{y:.3f}}<extra></extra>",
            )  # fmt: skip
        curve = losses.filter(of_instance)
        figure.add_scatter(
            x=curve[schema.STEP].to_list(), y=curve[schema.VALUE].to_list(), mode="lines", name="loss",
            showlegend=row == 1, line={"color": INK, "width": 2.2, "dash": "dash"}, row=row, col=1, secondary_y=True,
            hovertemplate="step %{x}<br>loss %{y:.4f}<extra></extra>",
        )  # fmt: skip
        for jump in jumps.filter(pl.col(schema.INSTANCE) == instance).iter_rows(named=True):
            colour = FEATURE_COLOURS[jump[schema.FEATURE] % len(FEATURE_COLOURS)]
            line = {"color": colour, "width": 1.8, "dash": "solid" if jump["coincides"] else "dot"}
            figure.add_vline(x=jump[schema.STEP], line=line, opacity=0.9, row=row, col=1)
        figure.add_vrect(x0=0, x1=begin, fillcolor=MUTED, opacity=0.12, line_width=0, layer="below", row=row, col=1)
    styled(figure, height=270 * len(instances) + 130)
    last = losses[schema.STEP].max()
    figure.update_xaxes(range=[0, last])
    figure.update_xaxes(title_text="training step", row=len(instances), col=1)
    figure.update_yaxes(title_text="dimensionality", range=[0, 1.02], secondary_y=False)
    figure.update_yaxes(
        title_text="loss", type="log", dtick=1, exponentformat="power", showgrid=False, secondary_y=True
    )
    figure.update_layout(margin={"t": 100, "r": 70}, legend={"y": 1, "yref": "container", "yanchor": "top"})
    return figure
