"""The page of the experiment: what holds, the curves with their stages, the head that forms, every window."""

from pathlib import Path

import polars as pl

from phaseflow import schema
from phaseflow.analysis import Archive
from phaseflow.analysis.phase_changes import PREFIX_MATCHING
from phaseflow.labs.markov.stages import (
    CURVES,
    LAYERS,
    PASSED,
    SEARCHED,
    STAGE,
    STAGES,
    Findings,
)
from phaseflow.reporting import figures, page, stages, words
from phaseflow.reporting.claims import claims_html

_CURVES = (
    "KL divergence of each predictor from the model, nats, on held-out chains: how far the model is from predicting "
    "uniformly, by counts of states, by counts of what followed the current state. Bands: the stages, cut where "
    "detection found the curve of the bigram to bend, named by the nearest predictor. Orange: windows in which that "
    "curve falls faster than smooth learning does; paler, how uncertain their ends are."
)
_HEADS = (
    "Share of attention that goes to the states which followed earlier occurrences of the current one. Shaded: the "
    "change to the bigram. Dotted: what a uniform pattern scores."
)
_WINDOWS = (
    "One row a window, of the divergences and of the heads' scores. <em>Size</em>: the height of the break over the "
    "smooth course of its curve. <em>p value</em>: how often a smooth curve with the same noise shows such a window."
)


def write(path: Path, archive: Archive, findings: Findings, *, command: str) -> None:
    """Writes the page."""
    curves = archive.scalars().filter(pl.col(schema.NAME).is_in(CURVES))
    heads = archive.head_scores().filter(pl.col(schema.METRIC) == PREFIX_MATCHING)
    drawn = findings.windows.filter((pl.col(schema.METRIC) == SEARCHED) & (pl.col(schema.SIZE) < 0))
    order = findings.verdicts.sort(LAYERS, schema.RUN, descending=[True, False]).select(schema.RUN)
    curves, heads = (order.join(table, on=schema.RUN, maintain_order="left") for table in (curves, heads))
    panels = stages.panels(curves, findings.stages.rename({STAGE: schema.NAME}), drawn, y="KL (nats)")
    with_heads = heads.filter(pl.col(schema.RUN).is_in(runs_with_heads(findings)))
    last = findings.verdicts.select(schema.RUN, pl.col(LAYERS) - 1)
    induction = {run: [f"L{layer}H0"] for run, layer in last.iter_rows() if run in findings.changes}
    drawn_heads = figures.prefix_matching(with_heads, findings.changes, induction)
    sections = [
        claims_html(findings.claims),
        page.figure_html(panels, number=1, title="Three predictors, and the stages", caption=_CURVES),
        page.figure_html(drawn_heads, number=2, title="The head that forms", caption=_HEADS),
        section("Run by run", page.table_html(readable(findings.verdicts))),
        section("The stages", page.table_html(findings.stages)),
        section("Every window found", f'<p class="note">{_WINDOWS}</p>{page.table_html(windows_table(findings))}'),
        section("Settings", "".join(page.settings_html(run.name, dict(run.config)) for run in archive.runs)),
        page.reproduce_html(command),
    ]
    page.write_page(
        path,
        title="phaseflow: in-context Markov chains",
        headline=headline(findings),
        lead="Small transformers read Markov chains, a new transition matrix for every sequence (Edelman et al. 2024). "
        "The stages of learning were found in the archived curves by phaseflow's own detection, which was told neither "
        "their number nor their place.",
        sections=sections,
        footer=page.made_by(
            archive.path, "Definitions follow Edelman et al., The Evolution of Statistical Induction Heads (2024)."
        ),
    )


def section(title: str, content: str) -> str:
    """A section without a number."""
    return f"<section><h2>{title}</h2>{content}</section>"


def headline(findings: Findings) -> str:
    """The answer, in one sentence."""
    said = []
    for layers, name in ((2, "two-layer"), (1, "one-layer")):
        of_kind = findings.verdicts.filter(pl.col(LAYERS) == layers)
        passed = (of_kind[STAGES] == PASSED).sum()
        said.append(f"{passed} of {of_kind.height} {name} models")
    return f"From uniform through unigram to bigram went {said[0]} and {said[1]}"


def runs_with_heads(findings: Findings) -> list[str]:
    """Two runs of either kind: more panels in a row cannot be read."""
    of_kinds = [findings.verdicts.filter(pl.col(LAYERS) == layers)[schema.RUN].head(2) for layers in (2, 1)]
    return pl.concat(of_kinds).to_list()


def readable(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The verdicts as people read them: whole steps, p-values in words, a dash where nothing was found."""
    numbers = [name for name in verdicts.columns if verdicts[name].dtype.is_numeric() and name != schema.P_VALUE]
    return verdicts.with_columns(
        pl.col(schema.P_VALUE).map_elements(words.probability, return_dtype=pl.String).fill_null("–"),
        *(pl.col(name).map_elements(page.number, return_dtype=pl.String).fill_null("–") for name in numbers),
    )


def windows_table(findings: Findings) -> pl.DataFrame:
    """The windows, columns that a reader needs."""
    return findings.windows.select(
        schema.RUN,
        schema.METRIC,
        pl.concat_str(pl.lit("L"), schema.LAYER, pl.lit("H"), schema.HEAD).alias(schema.HEAD),
        schema.START,
        schema.END,
        schema.BEFORE,
        schema.AFTER,
        schema.SIZE,
        pl.col(schema.P_VALUE).map_elements(words.probability, return_dtype=pl.String),
    )
