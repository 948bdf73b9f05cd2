"""The lab: trains what is asked for, archives it, says what holds, and writes one page."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console

import phaseflow
from phaseflow import schema
from phaseflow.exceptions import ParameterError
from phaseflow.labs.superposition import correlated, diagram, jumps, pentagon
from phaseflow.reporting import page, terminal, toy_models
from phaseflow.reporting.claims import DOES_NOT, HOLDS, UNDECIDED, Claim, claims_html, headline, print_claims
from phaseflow.training.device import usable_device

PARTS = ("diagram", "pentagon", "pairs", "levels")
Section = tuple[Claim | None, str]  # what it decides, if anything; its part of the page

AGREE = 0.95  # of the points away from boundaries
LEVEL = 0.05


def run(
    out: Path,
    output: Path,
    *,
    parts: Sequence[str] = PARTS,
    size: float = 1.0,
    seed: int = 0,
    device: str | None = None,
    command: str = "",
) -> list[Claim]:
    """Trains what is not yet trained below ``out``, prints what holds, writes the page.

    Parameters
    ----------
    out : path
        Directory of the archives, one for each stack of models.
    output : path
        The page.
    parts : sequence of str
        Of ``diagram``, ``pentagon``, ``pairs``, ``levels``.
    size : float
        1 takes minutes on two CPU cores; more or less makes grids and restarts more or less, each of them at least
        enough to say something.
    seed : int
        Of data and weights.
    device : str, optional
        A torch device; CUDA where there is one, else the CPU. The pentagon's few models are followed on the CPU.
    command : str
        The command shown under "Reproduce".

    Returns
    -------
    list of Claim
        What the page says, in its order.

    Raises
    ------
    ParameterError
        A part is unknown, ``size`` is not above 0, or torch cannot use the device here.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise ParameterError(f"parts is {list(parts)}, expected some of {', '.join(PARTS)}")
    if not size > 0:
        raise ParameterError(f"size is {size}, expected more than 0")
    device = usable_device(device)
    page.check_writable(output)
    console = Console()
    began = time.monotonic()
    work = {"diagram": phase_diagrams, "pentagon": pentagon_to_digons, "pairs": pairs, "levels": energy_levels}
    numbers = iter(range(1, 100))
    claims, sections = [], []
    for part in PARTS:
        if part in parts:
            for claim, section in work[part](out, size, seed, device, numbers):
                sections.append(section)
                if claim is not None:
                    claims.append(claim)
    page.write_page(
        output,
        title="superposition",
        headline=f"Toy models of superposition: {lower_first(headline(claims))}",
        lead="Features in fewer dimensions than there are of them change phase as data get denser, and jump between "
        "energy levels as they learn.",
        sections=[claims_html(claims), *sections, page.reproduce_html(command)],
        footer=page.made_by(out, "After Elhage et al., Toy Models of Superposition (2022)."),
    )
    print_claims(claims, console)
    terminal.print_page(output, out, (time.monotonic() - began) / 60, console)
    return claims


def lower_first(text: str) -> str:
    """A sentence after a colon."""
    return text[:1].lower() + text[1:]


def phase_diagrams(out: Path, size: float, seed: int, device: str, numbers: Iterator[int]) -> Iterator[Section]:
    """Both diagrams of the paper."""
    points = max(7, round(15 * size**0.5))
    for n_features in (2, 3):
        name = f"diagram-{n_features}-{n_features - 1}-{points}-{seed}"
        found = diagram.phase_diagram(n_features, out / name, points=points, seed=seed, device=device)
        edges = diagram.boundaries(found)
        shift = np.median([edge.density / edge.closed_form for edge in edges])
        both = sum(edge.both_branches > 0 for edge in edges)
        agreement = found.agreement(found.away)
        claim = Claim(
            f"{n_features} features in {n_features - 1}: away from boundaries the trained phase is the closed form's",
            HOLDS if agreement >= AGREE else DOES_NOT,
            f"at {agreement:.1%} of {int(found.away.sum())} points away from boundaries, at {found.agreement():.1%} of "
            f"all {found.expected.size}",
            f"they agree at {AGREE:.0%} of the points or more",
        )
        caption = (
            "Each point is the best of ten restarts. Away from boundaries: all eight neighbours have the same phase in "
            "closed form, and no other phase costs the same. Error bars: the points on either side of the boundary. "
            "Closed forms take weights of length 1 and biases 0; training does better where features are dense, so "
            f"superposition reaches to {shift:.2f} times the closed-form density (median). Next to the boundary "
            f"restarts ended on both branches, one of them metastable, at {both} of {len(edges)} importances, as at a "
            "first-order change. Where two phases cost the same (last importance 1) either agrees; one is drawn."
        )
        names = diagram.PHASES[: len(found.closed_form)]
        lines = [(e.importance, e.closed_form, e.density, e.lower, e.upper) for e in edges]
        drawing = toy_models.phase_maps(
            found.density, found.importance, found.expected, found.trained, found.agrees, names, lines
        )
        title = f"Phase diagram, {n_features} features in {n_features - 1} dimension{'s' * (n_features > 2)}"
        table = pl.DataFrame(
            [(e.importance, e.closed_form, e.density, e.lower, e.upper, e.both_branches) for e in edges],
            schema=["importance", "closed form", "density", "at least", "at most", "points with both branches"],
            orient="row",
        )
        folded = f"<details><summary>The boundary in numbers</summary>{page.table_html(table)}</details>"
        yield claim, page.figure_html(drawing, number=next(numbers), title=title, caption=caption) + folded


def pentagon_to_digons(out: Path, size: float, seed: int, device: str, numbers: Iterator[int]) -> Iterator[Section]:
    """The first-order change of five features in the plane."""
    fine = 0.02 / max(size, 0.25) ** 0.5
    found = pentagon.follow(out / f"pentagon-{fine:.4f}-{seed}", fine=fine, seed=seed)
    at, error, height = found.crossing
    kept, gone = found.last_pentagon()
    D = phaseflow.feature_dimensionality(found.W[0, 0]).mean()
    norm, bias = np.linalg.norm(found.W[0, 0], axis=0).mean(), found.b[0, 0].mean()
    up_to = found.first_digons()
    claim = Claim(
        "from the pentagon to digons the change is of first order",
        UNDECIDED if not np.isfinite(at) else HOLDS if kept < at - error and up_to > at + error else DOES_NOT,
        f"both cost the same at a density ratio of {at:.4f} ± {error:.4f}, loss {height:.5f}; the pentagon stays a "
        f"minimum down to {kept:.2f}, the digons up to {up_to:.2f}",
        "the losses cross, and both stay minima beyond the crossing",
    )
    caption = (
        "Five features in two dimensions, density 0.05, that of the fifth lowered. Losses are expectations over all "
        "subsets of active features by quadrature. The solution of least loss changes where the lines cross; beyond, "
        "either goes on as a local minimum, and which one is found depends on the direction: hysteresis. "
        f"At ratio 1 the pentagon has dimensionality {D:.3f}, norm {norm:.3f}, bias {bias:.3f}, "
        f"loss {found.loss[-1, 0, 0]:.4f}."
    )
    drawing = toy_models.branches(found.ratio, found.loss[-1], found.crossing, gone)
    yield claim, page.figure_html(drawing, number=next(numbers), title="Pentagon to digons", caption=caption)
    shown = [int(np.abs(found.ratio - ratio).argmin()) for ratio in (1.0, 0.4, at, kept, gone, found.ratio[-1])]
    panels = [
        (
            f"{'falling' if branch == 0 else 'rising'}, {found.ratio[i]:.2f}<br>{named(found.W[branch, i])}",
            upright(found.W[branch, i]),
        )
        for branch in (0, 1)
        for i in shown
    ]
    caption = (
        "Columns of W at falling and at rising density of the fifth feature (pale blue), turned so that the first "
        "points up, with the name of the figure that the learned features form."
    )
    drawing = toy_models.planes(panels, columns=len(shown))
    section = page.figure_html(drawing, number=next(numbers), title="The features along the way", caption=caption)
    yield None, section


def named(W: NDArray[Any]) -> str:
    """The figures that the learned features of one W form, each once: ``pentagon``, ``2 digons``."""
    learned = phaseflow.feature_geometry(W).filter(pl.col(schema.GEOMETRY) != "not learned")
    of_components = learned.unique(schema.COMPONENT, maintain_order=True)[schema.GEOMETRY]
    counts = of_components.value_counts(sort=True).iter_rows()
    return ", ".join(f"{count} {name}s" if count > 1 else str(name) for name, count in counts)


def upright(W: NDArray[Any]) -> NDArray[Any]:
    """W turned so that its first feature points up."""
    x, y = W[:, 0] / np.linalg.norm(W[:, 0])
    turned: NDArray[Any] = np.array([[y, -x], [x, y]]) @ W
    return turned


def pairs(out: Path, size: float, seed: int, device: str, numbers: Iterator[int]) -> Iterator[Section]:
    """Correlated and anticorrelated pairs."""
    found = correlated.demonstrations(out / f"pairs-{seed}", seed=seed, device=device)
    as_found = [each for each in found if each.verdict == each.case.expected]
    claim = Claim(
        "correlated features are orthogonal, side by side or one principal component, anticorrelated ones opposite",
        HOLDS if len(as_found) == len(found) else UNDECIDED if as_found else DOES_NOT,
        f"{len(as_found)} of {len(found)} cases lie as the paper finds them",
        f"of {correlated.RESTARTS} restarts the one of lowest loss does in every case",
    )
    short = {correlated.COLLAPSED: "collapsed"}
    table = pl.DataFrame(
        {
            "pairs": [each.case.kind for each in found],
            "features": [f"{each.case.n_features} in {each.case.n_hidden}" for each in found],
            "density": [each.case.density for each in found],
            "the paper": [short.get(each.case.expected, each.case.expected) for each in found],
            "verdict": [short.get(each.verdict, each.verdict) for each in found],
            "loss": [each.loss for each in found],
            "restarts": [f"{each.restarts:.0%}" for each in found],
            "the next": [
                "–" if each.next_verdict is None else short.get(each.next_verdict, each.next_verdict) for each in found
            ],
            "its loss": [each.next_loss for each in found],
            "cosine within": [f"{each.cosines.mean().round(3) + 0.0:.3f}" for each in found],
            "between pairs": [f"{each.others.mean().round(3) + 0.0:.3f}" for each in found],
        }
    )
    caption = (
        "Cosines between features; framed: the two of a pair. The restart of lowest loss of ten. A verdict needs every "
        "pair: orthogonal within 0.15 of a cosine of 0, side by side from 0.15 to 0.95 and more than between pairs, "
        "collapsed (to the principal component of the pair) above 0.95, opposite below -0.95. <em>Restarts</em>: share "
        "of the ten with the same verdict; <em>the next</em>: the best restart with another one. Four features make "
        "two digons in three ways, and training leaves none of them: of anticorrelated pairs about a third of all "
        "restarts end where every pair is opposite, at a loss of 0; elsewhere features of different pairs are "
        "opposite, which costs a little whenever both are active."
    )
    drawing = toy_models.cosines(
        [
            (f"{each.case.kind}, {each.case.density:g}: {short.get(each.verdict, each.verdict)}", each.W)
            for each in found
        ]
    )
    section = page.figure_html(drawing, number=next(numbers), title="Correlated features", caption=caption)
    yield claim, section + page.table_html(table)


def energy_levels(out: Path, size: float, seed: int, device: str, numbers: Iterator[int]) -> Iterator[Section]:
    """Jumps of dimensionality beside drops of the loss."""
    restarts = max(16, round(128 * size))
    found = jumps.energy_levels(out / f"levels-{restarts}-{seed}", restarts=restarts, seed=seed, device=device)
    coincide = found.jumps.filter("coincides")
    claim = Claim(
        "features jump between levels of dimensionality where the loss drops",
        HOLDS if found.p_value <= LEVEL else UNDECIDED,
        f"at {found.jumps.height} jumps ln(loss) falls by {found.mean_drop:.2f}, by chance by {found.chance_drop:.2f} "
        f"(p = {found.p_value:.2g}); {coincide.height} coincide with a drop beyond chance each in its own right, at a "
        f"false-discovery rate of {jumps.FDR:.0%}",
        f"the mean drop at the jumps is beyond that of restarts paired at random (p at most {LEVEL:g})",
    )
    most = (
        coincide.group_by(schema.INSTANCE, maintain_order=True).len().sort("len", descending=True, maintain_order=True)
    )
    shown = most[schema.INSTANCE].head(3).to_list() or [0]
    caption = (
        "Dimensionality of every feature (left axis) and loss (dashed, right axis) over training. Upright lines: jumps "
        "of the feature of that colour, solid where the loss drops beyond chance at them, dotted where not. Grey: "
        f"before step {found.begin}, where all losses fall and jumps are not counted. Chance is what the losses of all "
        "other restarts do at the same steps. Shown are the restarts with most such jumps."
    )
    drawing = toy_models.energy_levels(found.geometry, found.losses, found.jumps, shown, found.begin)
    section = page.figure_html(drawing, number=next(numbers), title="Energy levels", caption=caption)
    table = page.table_html(found.jumps.sort(schema.P_VALUE))
    yield claim, section + f"<details><summary>All {found.jumps.height} jumps</summary>{table}</details>"
