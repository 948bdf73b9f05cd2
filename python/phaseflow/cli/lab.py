"""``phaseflow lab``: experiments of the literature, each one command. They need phaseflow's extra "train"."""

import typer

lab = typer.Typer(
    name="lab", no_args_is_help=True, help="Experiments of the literature: train, analyse, and say what holds."
)
