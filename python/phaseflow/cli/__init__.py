"""The command line: parsing only; every command is one call into the package.

Exit codes: 0 ok, 1 a finding (something unreadable was left out), 2 usage, 3 corrupt input.
"""

import sys

import typer

from phaseflow import exceptions
from phaseflow.cli import archives, curves, training
from phaseflow.cli.app import Exit, app
from phaseflow.cli.lab import lab

__all__ = ["app", "main"]

for command in (
    training.demo,
    training.train,
    training.ablate,
    archives.inspect,
    archives.analyze,
    archives.report,
    curves.changepoints,
    archives.verify,
):
    app.command()(command)
app.add_typer(lab)


def main() -> None:
    """Runs the command line; errors a user can act on are one line, not a traceback."""
    try:
        app()
    except (exceptions.PhaseflowError, OSError) as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(Exit.CORRUPT if isinstance(error, exceptions.CorruptArchiveError) else Exit.USAGE)
