"""A segmentation as a plotly figure."""

from typing import TYPE_CHECKING, Any

import numpy as np

from phaseflow.changepoint.certainty import WITHOUT_LEVEL
from phaseflow.changepoint.printing import MOST_PARAMETERS

if TYPE_CHECKING:
    from phaseflow.changepoint.segmentation import Segmentation

_LINES = ("linear", "clinear")
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
_SHADE = "rgba(120, 120, 120, 0.25)"
# Part of the axis that a whole label takes, and that the size alone does.
_WHOLE, _SIZE = 0.16, 0.06
# Half of the samples in this part of the axis are crowded.
_CROWDED = 0.25


def figure(found: "Segmentation") -> Any:
    """The signal, the level or line of every segment, the changepoints and where else they may lie.

    What changed stands above each changepoint, with its interval and p-value where there is room for all of them, else
    by its size; on hovering over the marks at the top all of it. An axis whose samples crowd at its beginning, as steps
    that are spaced by their logarithm do, is drawn as a logarithm, unless the segments are lines.
    """
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
        elif found.cost_name in _LINES:
            x, y = _lines(found, feature)
            made.add_scatter(x=x, y=y, mode="lines", line={"color": colour, "width": 3}, name=f"lines of {name}")
    for changepoint, (first, last) in zip(found.changepoints, found.places, strict=True):
        made.add_vrect(x0=found.x[max(first - 1, 0)], x1=found.x[last], fillcolor=_SHADE, line_width=0, layer="below")
        made.add_vline(x=float(found.x[changepoint]), line={"color": "black", "width": 1, "dash": "dot"})
    if len(found.changepoints):
        _add_effects(made, found)
    shaded = f"<br><sup>shaded: where it may lie; intervals of {found.level:.0%}</sup>"
    made.update_layout(
        template="simple_white",
        title={
            "text": f"{_counted(len(found.changepoints))}, cost {found.cost_name}"
            + (shaded if len(found.changepoints) else ""),
            "yref": "container",
            "y": 0.94,
            "yanchor": "top",
        },
        margin={"t": 110},
        xaxis={"title": "x", "type": "log" if _on_log_axis(found) else "linear"},
        yaxis_title="signal",
        showlegend=n_features > 1,
    )
    return made


def _on_log_axis(found: "Segmentation") -> bool:
    x = found.x
    if found.cost_name in _LINES or len(x) < 3 or x[0] <= 0:
        return False
    middle = x[len(x) // 2]
    return bool(x[-1] >= 10 * x[0] and middle - x[0] < _CROWDED * (x[-1] - x[0]))


def _counted(count: int) -> str:
    return f"{count} changepoint" if count == 1 else f"{count} changepoints"


def _lines(found: "Segmentation", feature: int) -> tuple[Any, Any]:
    """Corners of the least-squares lines, with a gap between those that need not meet."""
    there = ~np.isnan(found.signal).any(axis=1)
    x, y = found.x[there], found.signal[there, feature]
    origin, width = x[0], max(x[-1] - x[0], np.finfo(float).tiny)
    if found.cost_name == "clinear":
        corners = np.array([x[0], *found.x[found.changepoints], x[-1]])
        kinks = corners[1:-1]

        def design(at: Any) -> Any:
            bends = [np.maximum(at - kink, 0) / width for kink in kinks]
            return np.stack([np.ones_like(at), (at - origin) / width, *bends], axis=1)

        return corners, design(corners) @ np.linalg.lstsq(design(x), y)[0]
    pieces = []
    for start, end in found.segments:
        own = slice(np.searchsorted(x, found.x[start]), np.searchsorted(x, found.x[end - 1], side="right"))
        ends = x[own][[0, -1]]
        design_of = np.stack([np.ones_like(x[own]), (x[own] - origin) / width], axis=1)
        level, slope = np.linalg.lstsq(design_of, y[own])[0]
        pieces += [(at, level + slope * (at - origin) / width) for at in ends] + [(np.nan, np.nan)]
    return tuple(np.array(pieces[:-1]).T)


def _add_effects(made: Any, found: "Segmentation") -> None:
    x = found.x[found.changepoints]
    told = [_effects(found, index) for index in range(len(x))]
    lowest, highest = np.nanmin(found.signal), np.nanmax(found.signal)
    tops = [f"begins at {at:.6g}, p {_number(p)}" for at, p in zip(x, found.p_values, strict=True)]
    made.add_scatter(
        x=x,
        y=np.full(len(x), highest + 0.08 * (highest - lowest)),  # above the signal
        mode="markers",
        marker={"symbol": "triangle-down", "size": 9, "color": "black"},
        hovertext=["<br>".join([top, *lines]) for top, lines in zip(tops, told, strict=True)],
        hoverinfo="text",
        showlegend=False,
        name="changes",
    )
    log = _on_log_axis(found)
    shown, axis = (np.log10(x), np.log10(found.x)) if log else (x, found.x)
    apart = float(np.diff(shown).min(initial=np.inf) / max(axis[-1] - axis[0], np.finfo(float).tiny))
    if apart < _SIZE:
        return
    # An annotation on a logarithmic axis is placed by the logarithm.
    for at, p, lines in zip(shown, found.p_values, told, strict=True):
        # Of several features only that something changed: which of them is told on hovering.
        if apart < _WHOLE:
            label = [line.split(" (")[0].rsplit(" ", 1)[1] for line in lines[:1]]
        else:
            label = [*(lines if found.signal.shape[1] == 1 else []), f"p {_number(p)}"]
        made.add_annotation(
            x=float(at),
            y=1.01,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            text="<br>".join(label),
            font={"size": 11, "color": "#444"},
        )


def _effects(found: "Segmentation", changepoint: int) -> list[str]:
    """A line for each parameter that changed, of many for the clearest."""
    several = found.signal.shape[1] > 1
    told = []
    clearest = found.of_changepoint(changepoint, MOST_PARAMETERS)
    for effect in clearest:
        if not np.isnan(effect.size):
            name = effect.name.replace("_", " ") + (f" of feature {effect.feature}:" if several else "")
            reach = "" if np.isnan(effect.lower) else f" ({effect.lower:+.3g} to {effect.upper:+.3g})"
            told.append(f"{name} {effect.size:+.3g}{reach}")
    left_out = len(found.of_changepoint(changepoint)) - len(clearest)
    return [*told, f"{left_out} less clear"] if left_out else told


def _number(p_value: float) -> str:
    if np.isnan(p_value):
        return "unknown"
    return "below 1e-6" if p_value <= 1e-6 else f"{p_value:.2g}"
