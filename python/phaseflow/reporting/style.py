"""One look for every figure: colours that survive greyscale and colour blindness, quiet axes, no chart junk."""

import plotly.graph_objects as go

FONT = "Inter, 'Source Sans 3', 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
INK = "#1f2430"
MUTED = "#8a90a0"
GRID = "#e8eaf0"
WINDOW = "rgba(230, 159, 0, 0.20)"  # the phase change
WINDOW_EDGE = "rgba(230, 159, 0, 0.10)"  # how uncertain its ends are

# Okabe and Ito (2008), without the yellow that vanishes on white.
RUN_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#7a5195"]
LAYER_COLOURS = [RUN_COLOURS[i] for i in (5, 2, 3, 4, 0, 1)]  # others first: a layer is not a run


def rgba(colour: str, alpha: float) -> str:
    """``#rrggbb`` with an opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"


def styled(figure: go.Figure, *, height: int) -> go.Figure:
    """``figure`` in the house look."""
    figure.update_layout(
        template="simple_white",
        font={"family": FONT, "size": 14, "color": INK},
        height=height,
        margin={"l": 72, "r": 24, "t": 36, "b": 56},
        hoverlabel={"font": {"family": FONT}},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
    )
    figure.update_xaxes(showgrid=True, gridcolor=GRID, linecolor=MUTED, tickcolor=MUTED, zeroline=False)
    figure.update_yaxes(showgrid=True, gridcolor=GRID, linecolor=MUTED, tickcolor=MUTED, zeroline=False)
    return figure


def log_steps(figure: go.Figure, title: str = "training step", **where: int) -> None:
    """A log axis of training steps, with ticks at 1, 2, 5, 10, ..."""
    figure.update_xaxes(
        type="log", title_text=title, dtick="D2", exponentformat="none", separatethousands=True, **where
    )
