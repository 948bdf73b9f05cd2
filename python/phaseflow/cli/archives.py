"""Commands that read archives: ``inspect``, ``analyze``, ``report`` and ``verify``."""

from pathlib import Path
from typing import Annotated

import typer

from phaseflow.cli.app import Exit
from phaseflow.cli.options import ArchiveOptions, Cache, Json, Memory, takes_archive, this_command


@takes_archive
def inspect(
    options: ArchiveOptions,
    json: Json = False,
) -> None:
    """Show what an archive holds, without reading any tensor."""
    from phaseflow.reporting import terminal

    archive = options.open()
    if json:
        terminal.print_json(terminal.contents(archive))
    else:
        terminal.print_contents(archive)
    terminal.print_problems(archive.problems)
    raise typer.Exit(Exit.OK if archive.problems.is_empty() else Exit.FINDING)


@takes_archive
def analyze(
    options: ArchiveOptions,
    cache: Cache = None,
    memory: Memory = 256,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write every table as Parquet into this directory."),
    ] = None,
    json: Json = False,
) -> None:
    """Compute every table, search every curve for phase changes, print the verdict on each run."""
    from phaseflow.reporting import terminal

    with terminal.progress_bars() as progress:
        archive = options.open(cache=cache, memory=memory, progress=progress)
        verdicts = archive.verdicts()
        if output is not None:
            archive.write_tables(output)
    if json:
        terminal.print_json(verdicts)
    else:
        terminal.print_verdicts(verdicts)
    terminal.print_problems(archive.problems)
    raise typer.Exit(Exit.OK if archive.problems.is_empty() else Exit.FINDING)


@takes_archive
def report(
    options: ArchiveOptions,
    cache: Cache = None,
    memory: Memory = 256,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("report.html"),
) -> None:
    """Analyse an archive and write one offline HTML page."""
    import phaseflow
    from phaseflow.reporting import terminal

    with terminal.progress_bars() as progress:
        archive = options.open(cache=cache, memory=memory, progress=progress)
        page = phaseflow.report(archive, output, command=this_command())
    terminal.print_problems(archive.problems)
    typer.echo(f"wrote {page}")
    raise typer.Exit(Exit.OK if archive.problems.is_empty() else Exit.FINDING)


@takes_archive
def verify(
    options: ArchiveOptions,
) -> None:
    """Read every stored byte again and compare it with its checksum; files of others have none and are only read."""
    from phaseflow.archive import ForeignRun
    from phaseflow.reporting import terminal

    with terminal.progress_bars() as progress:
        archive = options.open(progress=progress)
        problems = archive.verify()
    terminal.print_problems(problems)
    if not problems.is_empty():
        raise typer.Exit(Exit.CORRUPT)
    foreign = any(isinstance(run, ForeignRun) for run in archive.runs)
    without = "every tensor can be read; these files have no checksums to compare with"
    typer.echo(without if foreign else "every tensor is as it was written")
