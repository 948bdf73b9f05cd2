"""``phaseflow lab``: experiments of the literature, each one command. They need phaseflow's extra "train"."""

from pathlib import Path
from typing import Annotated

import typer

from phaseflow.cli.options import Device, Page, Runs, Seed, let_threads_sleep, this_command

lab = typer.Typer(
    name="lab", no_args_is_help=True, help="Experiments of the literature: train, analyse, and say what holds."
)


@lab.command()
def induction(
    budget: Annotated[float, typer.Option(min=0.1, help="Minutes that training and analysis may take.")] = 15,
    out: Runs = Path("runs/induction"),
    output: Page = Path("induction.html"),
    text: Annotated[
        str | None, typer.Option(help="A folder or file of text: the second data set.", show_default=False)
    ] = None,
    scale: Annotated[str, typer.Option(help="small, full, or auto: full if the budget is enough for it.")] = "auto",
    device: Device = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many runs of the sweep.", show_default=False)
    ] = None,
) -> None:
    """Which claims of "In-context Learning and Induction Heads" hold for small models trained here and now.

    Trains the sweep's most decisive runs that fit into the budget, and writes the table of claims with its figures.
    """
    let_threads_sleep()
    from phaseflow.labs import induction as experiment

    experiment.run(out, output, minutes=budget, text=text, scale=scale, device=device, only=runs)


@lab.command()
def markov(
    out: Runs = Path("runs/markov"),
    output: Page = Path("markov.html"),
    seeds: Annotated[int, typer.Option(min=1, help="Two-layer models, and as many one-layer controls.")] = 3,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Statistical induction heads: small models learn in-context Markov chains in stages, found by detection.

    Two-layer models and one-layer controls (Edelman 2024); about ten CPU seconds a model.
    """
    let_threads_sleep()
    from phaseflow.labs import markov as experiment

    experiment.run(out, output, seeds=seeds, seed=seed, device=device, command=this_command())


@lab.command()
def superposition(
    diagram: Annotated[bool, typer.Option("--diagram", help="Phase diagram: density by importance.")] = False,
    pentagon: Annotated[bool, typer.Option("--pentagon", help="Pentagon to digons, followed both ways.")] = False,
    pairs: Annotated[bool, typer.Option("--pairs", help="Correlated and anticorrelated features.")] = False,
    levels: Annotated[bool, typer.Option("--levels", help="Jumps of dimensionality beside drops of the loss.")] = False,
    out: Runs = Path("runs/superposition"),
    output: Page = Path("superposition.html"),
    size: Annotated[float, typer.Option(min=0.1, help="Of grids and numbers of restarts: 1 takes minutes.")] = 1.0,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Toy models of superposition: their phase diagram, first-order change, geometry and energy levels.

    Thousands of small models trained as one (Elhage 2022), beside closed forms. All four parts unless some are named.
    """
    let_threads_sleep()
    from phaseflow.labs import superposition as experiment

    asked = {"diagram": diagram, "pentagon": pentagon, "pairs": pairs, "levels": levels}
    parts = [part for part, wanted in asked.items() if wanted] or list(asked)
    experiment.run(out, output, parts=parts, size=size, seed=seed, device=device, command=this_command())


@lab.command("double-descent")
def double_descent(
    out: Runs = Path("runs/double-descent"),
    output: Page = Path("double-descent.html"),
    examples: Annotated[
        list[int] | None, typer.Option(min=1, help="Size of the data set; may be repeated. By default 3 to 4,000.")
    ] = None,
    steps: Annotated[int, typer.Option(min=20, help="Updates of each model: 50,000 in the paper.")] = 5000,
    seed: Seed = 0,
) -> None:
    """Examples, then features: a toy model over the size of its data set, and what its test loss does in between.

    The reduced setting of Henighan 2023: 1,000 features in two dimensions. No peak is asserted. On the CPU: examples
    stay sparse, and a model a core is trained in blocks that fit into its cache.
    """
    let_threads_sleep()
    from phaseflow.labs import double_descent as experiment

    sizes = tuple(examples or experiment.SIZES)
    experiment.run(out, output, sizes=sizes, steps=steps, seed=seed, command=this_command())
