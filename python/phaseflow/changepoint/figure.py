"""A segmentation as a plotly figure."""

from typing import TYPE_CHECKING, Any

import numpy as np

from phaseflow.changepoint.certainty import WITHOUT_LEVEL

if TYPE_CHECKING:
    from phaseflow.changepoint.segmentation import Segmentation

_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
_SHADE = "rgba(120, 120, 120, 0.25)"


def figure(found: "Segmentation") -> Any:
    """The signal, the mean of every segment (for costs of levels), the changepoints and where else they may lie."""
    import plotly.graph_objects as go

    made = go.Figure()
    n_features = found.signal.shape[1]
    for feature in range(n_features):
        colour = _COLOURS[feature % len(_COLOURS)]
        name = "signal" if n_features == 1 else f"feature {feature}"
        made.add_scatter(
            x=found.x,
            y=found.signal[:, feature],
            mode="lines+markers",
            marker={"size": 3},
            line={"color": colour, "width": 1},
            opacity=0.5,
            name=name,
        )
        if found.cost_name not in WITHOUT_LEVEL:
            ends = np.array(found.segments).ravel()
            at = np.where(np.arange(len(ends)) % 2 == 0, ends, ends - 1)
            # A gap after every segment: a line between two of them would look like a slope.
            x = np.insert(found.x[at], np.arange(2, len(at) + 1, 2), np.nan)
            y = np.insert(np.repeat(found.means[:, feature], 2), np.arange(2, len(at) + 1, 2), np.nan)
            made.add_scatter(
                x=x, y=y, mode="lines", line={"color": colour, "width": 3}, name=f"mean of {name}", connectgaps=False
            )
    for changepoint, (first, last) in zip(found.changepoints, found.places, strict=True):
        made.add_vrect(x0=found.x[max(first - 1, 0)], x1=found.x[last], fillcolor=_SHADE, line_width=0, layer="below")
        made.add_vline(x=float(found.x[changepoint]), line={"color": "black", "width": 1, "dash": "dot"})
    made.update_layout(
        template="simple_white",
        title=f"{len(found.changepoints)} changepoints, cost {found.cost_name}; shaded: {found.level:.0%} of the place",
        xaxis_title="x",
        yaxis_title="signal",
        showlegend=n_features > 1,
    )
    return made
