"""The figures of the lab's page: curves of all runs by variant, windows side by side, ablations, copying."""

import math

import plotly.graph_objects as go
import polars as pl

from phaseflow import schema
from phaseflow.analysis import Archive
from phaseflow.analysis.phase_changes import PREFIX_MATCHING
from phaseflow.labs.induction import sweep
from phaseflow.labs.induction.measured import Measured
from phaseflow.reporting.style import INK, MUTED, RUN_COLOURS, log_steps, rgba, styled

#: One colour a variant, the same in every figure; the base and its control come first.
VARIANTS = (sweep.TWO, sweep.ONE, *sweep.SECOND)
COLOURS = dict(zip(VARIANTS, [*RUN_COLOURS, "#8c6d31", "#4d4d4d", "#a8324a"], strict=True))


def curves(runs: list[Measured], table: pl.DataFrame, *, y: str) -> go.Figure:
    """One line a run of ``value`` over steps; of seeds of a variant all have its colour and the first its name."""
    figure = go.Figure()
    for variant in VARIANTS:
        for number, run in enumerate(run for run in runs if run.job.variant == variant):
            rows = table.filter((pl.col(schema.RUN) == run.job.name) & (pl.col(schema.STEP) > 0)).sort(schema.STEP)
            figure.add_scatter(
                x=rows[schema.STEP].to_list(),
                y=rows[schema.VALUE].to_list(),
                mode="lines",
                name=variant,
                legendgroup=variant,
                showlegend=number == 0,
                line={"color": COLOURS[variant], "width": 2},
                opacity=0.85,
                hovertemplate=f"{run.job.name}<br>step %{{x:,}}<br>%{{y:.3f}}<extra></extra>",
            )
    log_steps(figure)
    figure.update_yaxes(title_text=y)
    return styled(figure, height=400)


def best_heads(heads: pl.DataFrame) -> pl.DataFrame:
    """Prefix matching score of the best head at every step of every run."""
    matching = heads.filter(pl.col(schema.METRIC) == PREFIX_MATCHING)
    return matching.group_by([schema.RUN, schema.STEP], maintain_order=True).agg(pl.col(schema.VALUE).max())


def windows(runs: list[Measured], changes: pl.DataFrame) -> go.Figure:
    """Every run that has the phase change on a line of its own: windows of the measures, and the schedule's events."""
    shown = [run for run in runs if run.window is not None]
    figure = go.Figure()
    rising = changes.filter((pl.col(schema.METRIC) == PREFIX_MATCHING) & (pl.col(schema.SIZE) > 0))
    for number, run in enumerate(shown):
        assert run.window is not None
        name, colour = run.job.name, COLOURS[run.job.variant]
        layer, head = run.verdict[schema.HEADS][0].removeprefix("L").split("H")
        forming = rising.filter(
            (pl.col(schema.RUN) == name) & (pl.col(schema.LAYER) == int(layer)) & (pl.col(schema.HEAD) == int(head))
        )
        lower, upper = run.verdict[schema.lower(schema.START)], run.verdict[schema.upper(schema.END)]
        bars = [((lower, upper), 4, rgba(colour, 0.35), "95% interval of its ends"), (run.window, 12, colour, "window")]
        bars += [
            ((row[schema.START], row[schema.END]), 3, INK, "its strongest induction head forms")
            for row in forming.iter_rows(named=True)
        ]
        for bar, width, shade, what in bars:
            figure.add_scatter(
                x=list(bar),
                y=[name, name],
                mode="lines",
                line={"width": width, "color": shade},
                showlegend=False,
                hovertemplate=f"{name}: {what}<br>step %{{x:,}}<extra></extra>",
            )
        figure.add_scatter(
            x=list(run.events.values()),
            y=[name] * len(run.events),
            text=list(run.events),
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 16, "color": MUTED, "line": {"width": 2}},
            name="event of the schedule",
            showlegend=number == 0,
            hovertemplate="%{text}<br>step %{x:,}<extra></extra>",
        )
    log_steps(figure)
    # The whole of training, as in the figures of the curves: how late a window comes is what is compared.
    first, last = min(run.first_step for run in shown), max(run.last_step for run in shown)
    figure.update_xaxes(range=[math.log10(max(first, 1)), math.log10(last)])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return styled(figure, height=140 + 34 * len(shown))


def ablations(runs: list[Measured]) -> go.Figure:
    """What in-context learning loses without each head, with two standard errors; induction heads in strong colour."""
    figure = go.Figure()
    shown = [run for run in runs if run.ablated and run.verdict[schema.HEADS]]
    for induction in (True, False):
        rows = [
            (f"{run.job.name} {head}", change, error, COLOURS[run.job.variant])
            for run in shown
            for head, (change, error) in run.ablated.items()
            if (head in run.verdict[schema.HEADS]) == induction
        ]
        if not rows:
            continue
        names, changes, errors, colours = zip(*rows, strict=True)
        figure.add_bar(
            y=list(names),
            x=list(changes),
            orientation="h",
            error_x={"type": "data", "array": [2 * error for error in errors], "color": INK, "thickness": 1.2},
            marker_color=list(colours) if induction else rgba(MUTED, 0.6),
            name="induction head" if induction else "other head",
            hovertemplate="%{y}<br>%{x:+.3f} nats<extra></extra>",
        )
    order = [f"{run.job.name} {head}" for run in shown for head in run.ablated]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], automargin=True)
    figure.update_xaxes(title_text="change of the in-context learning score without the head, nats")
    return styled(figure, height=140 + 24 * len(order))


def agreement(copying: pl.DataFrame) -> go.Figure:
    """Copying score over the copying statistic of the eigenvalues, one point a head."""
    figure = go.Figure()
    for variant in VARIANTS:
        rows = copying.filter(pl.col(schema.RUN).str.starts_with(f"{variant}/"))
        if rows.is_empty():
            continue
        figure.add_scatter(
            x=rows["ov_copying_statistic"].to_list(),
            y=rows["copying_score"].to_list(),
            text=[f"{run} L{layer}H{head}" for run, layer, head in rows.select("run", "layer", "head").iter_rows()],
            mode="markers",
            marker={"size": 9, "color": rgba(COLOURS[variant], 0.8), "line": {"width": 1, "color": "white"}},
            name=variant,
            hovertemplate="%{text}<br>%{x:.2f}, %{y:.2f}<extra></extra>",
        )
    figure.update_xaxes(title_text="sum of OV eigenvalues over the sum of their sizes")
    figure.update_yaxes(title_text="copying score")
    return styled(figure, height=430)


def trajectories(archive: Archive, runs: list[Measured]) -> pl.DataFrame:
    """Function space of one seed of the base, its control and smeared keys: what a reader can follow."""
    shown = dict.fromkeys((sweep.TWO, sweep.ONE, sweep.ONE_SMEARED, sweep.TWO_SMEARED), "")
    for run in reversed(runs):
        if run.job.variant in shown:
            shown[run.job.variant] = run.job.name
    names = list(shown.values())
    return archive.function_space(tokens="all").filter(
        pl.col(schema.RUN).is_in(names) & (pl.col(schema.PROBE) == "text")
    )
