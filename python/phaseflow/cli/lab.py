"""``phaseflow lab``: experiments of the literature, each one command. They need phaseflow's extra "train"."""

import os
from pathlib import Path
from typing import Annotated

import typer

from phaseflow.cli.options import Seed

lab = typer.Typer(
    name="lab", no_args_is_help=True, help="Experiments of the literature: train, analyse, and say what holds."
)


@lab.command()
def induction(
    budget: Annotated[float, typer.Option(min=0.1, help="Minutes that training and analysis may take.")] = 15,
    out: Annotated[Path, typer.Option(help="Directory of the runs; finished ones in it are kept and count.")] = Path(
        "runs/induction"
    ),
    output: Annotated[Path, typer.Option("--report", help="The page to write.")] = Path("induction.html"),
    text: Annotated[
        str | None, typer.Option(help="A folder or file of text: the second data set.", show_default=False)
    ] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cpu, ...; by default CUDA where there is one.")] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many runs of the sweep.", show_default=False)
    ] = None,
) -> None:
    """Which claims of "In-context Learning and Induction Heads" hold for small models trained here and now.

    Trains the sweep's most decisive runs that fit into the budget, and writes the table of claims with its figures.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from phaseflow.labs import induction as experiment

    experiment.run(out, output, minutes=budget, text=text, device=device, only=runs)


@lab.command()
def markov(
    out: Annotated[Path, typer.Option(help="Directory of the runs; finished steps in it are kept.")] = Path(
        "runs/markov"
    ),
    output: Annotated[Path, typer.Option("--report", help="The page to write.")] = Path("markov.html"),
    seeds: Annotated[int, typer.Option(min=1, help="Two-layer models, and as many one-layer controls.")] = 3,
    seed: Seed = 0,
) -> None:
    """Statistical induction heads: small models learn in-context Markov chains in stages, found by detection.

    Two-layer models and one-layer controls (Edelman 2024); about ten CPU seconds a model.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from phaseflow.labs import markov as experiment

    experiment.run(out, output, seeds=seeds, seed=seed)
