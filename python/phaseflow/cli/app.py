"""The program itself, and what its exit codes say."""

from enum import IntEnum
from typing import Annotated

import typer

from phaseflow import __version__

app = typer.Typer(
    name="phaseflow",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Finds phase changes in the training of transformers: what changed, when, in which heads, how sure is that.",
)


class Exit(IntEnum):
    """What a command's exit code says."""

    OK = 0
    FINDING = 1
    USAGE = 2
    CORRUPT = 3


def show_version(wanted: bool) -> None:
    """Prints the version and stops."""
    if wanted:
        typer.echo(f"phaseflow {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
