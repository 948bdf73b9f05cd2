"""Figures over the size of the data set: losses, dimensionalities, hidden vectors in the plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from phaseflow.reporting.style import GRID, INK, MUTED, RUN_COLOURS, rgba, styled

EXAMPLES, FEATURES = RUN_COLOURS[0], RUN_COLOURS[1]
MOST_DOTS = 300


def losses(sizes: Sequence[int], train: Sequence[float], test: Sequence[float], enough: int) -> go.Figure:
    """Train and test loss over the number of examples; dotted where features have occurred often enough."""
    figure = go.Figure()
    for name, values, colour in (("test", test, FEATURES), ("train", train, EXAMPLES)):
        figure.add_scatter(
            x=list(sizes), y=list(values), name=name, mode="lines+markers", line={"color": colour, "width": 2.2},
            hovertemplate=f"%{{x:,}} examples<br>{name} loss %{{y:.4f}}<extra></extra>",
        )  # fmt: skip
    over_sizes(figure, enough, "loss")
    return log_axis(figure, 0.1, max(test))


def dimensionalities(
    sizes: Sequence[int], examples: Sequence[NDArray[Any]], features: Sequence[NDArray[Any]], enough: int
) -> go.Figure:
    """Dimensionality of every example and feature over the number of examples, with means and 2/T."""
    figure = go.Figure()
    # A little to either side, so that both kinds are seen.
    kinds = (
        ("examples", examples, EXAMPLES, 0.96, "median", np.median),
        ("features", features, FEATURES, 1.04, "largest", np.max),
    )
    for name, values, colour, aside, word, middle in kinds:
        dots = [by_rank(each) for each in values]
        figure.add_scatter(
            x=np.concatenate([np.full(len(each), size * aside) for size, each in zip(sizes, dots, strict=True)]),
            y=np.concatenate(dots).round(5), mode="markers", showlegend=False, hoverinfo="skip",
            marker={"color": rgba(colour, 0.3), "size": 4},
        )  # fmt: skip
        figure.add_scatter(
            x=list(sizes), y=[float(middle(each)) for each in values], name=f"{name}, {word}", mode="lines",
            line={"color": colour, "width": 2.2},
            hovertemplate=f"%{{x:,}} examples<br>{name} %{{y:.4f}}<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=list(sizes), y=[2 / size for size in sizes], name="2/T", mode="lines",
        line={"color": INK, "width": 1.4, "dash": "dash"}, hoverinfo="skip",
    )  # fmt: skip
    over_sizes(figure, enough, "dimensionality")
    return log_axis(figure, 1e-4, 1.0)


def by_rank(values: NDArray[Any]) -> NDArray[Any]:
    """At most ``MOST_DOTS`` of the values, evenly by rank, the least and the largest among them."""
    if len(values) <= MOST_DOTS:
        return values
    found: NDArray[Any] = np.sort(values)[np.linspace(0, len(values) - 1, MOST_DOTS).round().astype(int)]
    return found


def over_sizes(figure: go.Figure, enough: int, y: str) -> go.Figure:
    """The common axes of these figures."""
    figure.add_vline(x=enough, line={"color": MUTED, "dash": "dot", "width": 1.5})
    styled(figure, height=400)
    ticks = {"dtick": "D2", "exponentformat": "none", "separatethousands": True}
    figure.update_xaxes(type="log", title_text="examples in the data set, T", **ticks)
    figure.update_yaxes(title_text=y)
    return figure


def log_axis(figure: go.Figure, low: float, high: float) -> go.Figure:
    """A logarithmic upright axis from ``low`` to a little beyond ``high``."""
    figure.update_yaxes(type="log", range=[np.log10(low), np.log10(high) + 0.08], dtick=1, exponentformat="power")
    return figure


def hidden_vectors(panels: Sequence[tuple[str, NDArray[Any], NDArray[Any]]]) -> go.Figure:
    """Title, hidden vectors ``(example, 2)`` and features ``(feature, 2)`` of each size: a panel above a panel."""
    columns = min(6, len(panels))
    blocks = -(-len(panels) // columns)
    titles = []
    for block in range(blocks):
        here = [title for title, _, _ in panels[block * columns : (block + 1) * columns]]
        titles += here + [""] * (columns - len(here)) + [""] * columns
    figure = make_subplots(
        rows=2 * blocks, cols=columns, subplot_titles=titles, horizontal_spacing=0.015, vertical_spacing=0.05
    )
    for place, (_, hidden, features) in enumerate(panels):
        row, column = 2 * (place // columns) + 1, place % columns + 1
        for points, colour, at in ((hidden, EXAMPLES, row), (features, FEATURES, row + 1)):
            few = len(points) <= 20
            figure.add_scattergl(
                x=points[:, 0].astype(float).round(4), y=points[:, 1].astype(float).round(4), mode="markers",
                marker={"color": colour if few else rgba(colour, 0.5), "size": 8 if few else 3}, showlegend=False,
                hoverinfo="skip", row=at, col=column,
            )  # fmt: skip
            reach = 1.15 * max(float(np.abs(points).max()), 1e-9)
            figure.update_xaxes(range=[-reach, reach], row=at, col=column)
            figure.update_yaxes(range=[-reach, reach], row=at, col=column)
    styled(figure, height=360 * blocks + 40)
    plain = {"showticklabels": False, "ticks": "", "showgrid": False, "zeroline": True, "zerolinecolor": GRID}
    figure.update_xaxes(**plain, showline=True, mirror=True, linecolor=GRID)
    figure.update_yaxes(**plain, showline=True, mirror=True, linecolor=GRID)
    for row in range(2 * blocks):
        kind, colour = ("examples", EXAMPLES) if row % 2 == 0 else ("features", FEATURES)
        figure.update_yaxes(title_text=kind, title_font={"color": colour, "size": 13}, row=row + 1, col=1)
    figure.update_layout(margin={"l": 40, "r": 10, "b": 10, "t": 40})
    figure.update_annotations(font_size=13)
    return figure
