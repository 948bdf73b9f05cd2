"""The figure of function space: one path a run through the first two principal components of all losses."""

import math

import plotly.graph_objects as go
import polars as pl

from phaseflow import schema
from phaseflow.reporting.figures import Windows, run_colours
from phaseflow.reporting.style import rgba, styled

CAPTION = (
    "Each point is a checkpoint: its losses on all tokens of the text examples, in the first two principal components "
    "over all checkpoints of all runs (nats, root mean square over tokens, so distances are differences of losses). "
    "To the right the mean loss is higher. Numbers are training steps. Thick: inside the phase change of the run."
)


def trajectories(space: pl.DataFrame, windows: Windows) -> go.Figure:
    """Paths in two components; a run whose tokens differ from the others' has coordinates of its own."""
    figure = go.Figure()
    colours = run_colours(space[schema.RUN].unique(maintain_order=True).to_list())
    for number, (run, colour) in enumerate(colours.items()):
        rows = space.filter(pl.col(schema.RUN) == run)
        path = rows.pivot(on=schema.COMPONENT, index=schema.STEP, values=schema.VALUE).sort(schema.STEP)
        if "2" not in path.columns:
            continue
        figure.add_scatter(
            x=path["1"].to_list(),
            y=path["2"].to_list(),
            customdata=path[schema.STEP].to_list(),
            mode="lines+markers",
            name=run,
            legendgroup=run,
            line={"color": rgba(colour, 0.7), "width": 1.4},
            marker={"size": 4, "color": colour},
            hovertemplate=f"{run}<br>step %{{customdata:,}}<br>%{{x:.3f}}, %{{y:.3f}} nats<extra></extra>",
        )
        if run in windows:
            start, end = windows[run][schema.START], windows[run][schema.END]
            inside = path.filter(pl.col(schema.STEP).is_between(start, end))
            figure.add_scatter(
                x=inside["1"].to_list(),
                y=inside["2"].to_list(),
                mode="lines",
                legendgroup=run,
                showlegend=False,
                line={"color": colour, "width": 6},
                hoverinfo="skip",
            )
        marked = path.filter(pl.col(schema.STEP).is_in(decades(path[schema.STEP].to_list())))
        figure.add_scatter(
            x=marked["1"].to_list(),
            y=marked["2"].to_list(),
            text=[f"{step:,}" for step in marked[schema.STEP]],
            mode="markers+text",
            # Paths begin together: the numbers of one stand above it, those of the next below; its end is crowded, and
            # its number stands on the far side.
            textposition=[*["bottom center" if number % 2 else "top center"] * (marked.height - 1), outward(path["1"])],
            textfont={"size": 11, "color": colour},
            legendgroup=run,
            showlegend=False,
            marker={"size": 8, "color": "white", "line": {"color": colour, "width": 2}},
            hoverinfo="skip",
        )
    for axis, component in ((figure.update_xaxes, 1), (figure.update_yaxes, 2)):
        axis(title_text=f"component {component} ({shares(space, component)}), nats")
    return styled(figure, height=460)


def outward(values: pl.Series) -> str:
    """The side of the end of a path on which the path is not."""
    return "middle left" if values[-1] < values.median() else "middle right"


def decades(steps: list[int]) -> list[int]:
    """The first checkpoint and the last, and the nearest to each power of ten in the last two decades."""
    last = steps[-1]
    powers = range(math.ceil(math.log10(last / 100)), math.floor(math.log10(last)) + 1) if last > 0 else range(0)
    above = [step for step in steps if step > 0]
    near = [min((abs(math.log10(step) - power), step) for step in above)[1] for power in powers]
    return [*dict.fromkeys([steps[0], *near, last])]


def shares(space: pl.DataFrame, component: int) -> str:
    """Explained variance of a component, of every space that is shown."""
    found = space.filter(pl.col(schema.COMPONENT) == component)[schema.SHARE].unique(maintain_order=True)
    return " / ".join(f"{100 * share:.0f}%" for share in found) + " of the variance"
