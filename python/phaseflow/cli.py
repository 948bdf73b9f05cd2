"""The command line: parsing only; every command is one call into the package.

Exit codes: 0 ok, 1 a finding (something unreadable was left out), 2 usage, 3 corrupt input.
"""

import os
import shlex
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phaseflow import __version__, exceptions

if TYPE_CHECKING:
    from phaseflow.analysis import Archive

app = typer.Typer(
    name="phaseflow",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Finds phase changes in the training of transformers: what changed, when, in which heads, how sure is that.",
)


MB = 1 << 20


class Exit(IntEnum):
    """What a command's exit code says."""

    OK = 0
    FINDING = 1
    USAGE = 2
    CORRUPT = 3


Source = Annotated[
    str,
    typer.Argument(
        help="A run's directory, a directory with runs below it, or a path pattern of other tensor files: "
        "'logs/{run}/step{step}/attn_{layer}.npy'.",
        show_default=False,
    ),
]
Losses = Annotated[
    str | None, typer.Option("--losses", help="Path pattern of per-token losses beside that of attention.")
]
Tokens = Annotated[
    Path | None, typer.Option("--tokens", help="File with the tokens (batch, pos) that pattern files were made on.")
]
Bos = Annotated[int | None, typer.Option("--bos", help="Id of the start-of-sequence token in them.")]
Axes = Annotated[
    str | None,
    typer.Option("--axes", help="Axes of the pattern's files: 'step layer batch head query_pos key_pos'."),
]
Steps = Annotated[
    str | None, typer.Option("--steps", help="Steps along an axis 'step': '0,100,200', or a file with them.")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", help="Where results of other tensor files are kept for the next time.")
]
Memory = Annotated[int, typer.Option("--memory", min=1, help="MB that patterns may hold in memory at once.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Seed = Annotated[int, typer.Option(help="Seed of weights and data order.")]


def open_archive(
    source: str,
    losses: str | None,
    tokens: Path | None,
    bos: int | None,
    axes: str | None,
    steps: str | None,
    **more: Any,
) -> "Archive":
    """`phaseflow.open` with what stands on the command line."""
    import phaseflow

    path = source if losses is None else {"attention": source, "loss": losses}
    return phaseflow.open(
        path,
        tokens=tokens,
        bos=bos,
        axes=axes if axes is None or losses is None else {"attention": axes},
        steps=None if steps is None else numbers_or_file(steps),
        **more,
    )


def numbers_or_file(text: str) -> list[int] | str:
    """Whole numbers between commas, or the name of a file with them."""
    parts = text.split(",")
    return [int(part) for part in parts] if all(part.strip().isdecimal() for part in parts) else text


def number_or_name(text: str) -> float | str:
    """A number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text


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


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Directory of the two runs; finished steps in it are kept.")] = Path(
        "runs/demo"
    ),
    output: Annotated[Path, typer.Option("--report", help="The page to write.")] = Path("report.html"),
    seed: Seed = 0,
) -> None:
    """Train a one-layer and a two-layer transformer on real code, find the phase change, write report.html.

    Minutes on two CPU cores. Needs phaseflow's extra "train".
    """
    from phaseflow.labs import demo as lab

    lab.run(out, output, seed=seed)


@app.command()
def train(
    run: Annotated[
        Path, typer.Argument(help="The run's directory; a run that was stopped goes on.", show_default=False)
    ],
    source: Annotated[
        str, typer.Option(help="'stdlib' (Python's own source files), or a folder or file of text.")
    ] = "stdlib",
    layers: Annotated[int, typer.Option(help="Number of layers.")] = 2,
    heads: Annotated[int, typer.Option(help="Heads of a layer.")] = 2,
    d_model: Annotated[int, typer.Option(help="Width of the residual stream.")] = 64,
    d_mlp: Annotated[int | None, typer.Option(help="Width of the MLP; attention only without it.")] = None,
    positions: Annotated[str, typer.Option(help="relative, rotary, press or learned.")] = "relative",
    context: Annotated[int, typer.Option(help="Tokens of a sequence.")] = 512,
    vocabulary: Annotated[int, typer.Option(help="Size of the byte-pair vocabulary.")] = 512,
    steps: Annotated[int, typer.Option(help="Updates.")] = 8_000,
    batch_size: Annotated[int, typer.Option(help="Sequences of an update.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 4e-3,
    warmup_steps: Annotated[int, typer.Option(help="Steps until the peak is reached.")] = 100,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints, besides log-spaced ones.")] = 125,
    device: Annotated[str | None, typer.Option(help="cuda, cpu, ...; by default CUDA where there is one.")] = None,
    seed: Seed = 0,
) -> None:
    """Train one transformer on text and record its archive. Needs phaseflow's extra "train"."""
    # Read when torch loads its OpenMP: threads that wait sleep instead of spinning. On two busy cores a step of the
    # demo's model took 364 ms on two spinning threads, 41 to 57 ms on two that sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from phaseflow import training

    config = training.TrainConfig(
        model=training.ModelConfig(
            n_vocab=vocabulary,
            context=context,
            n_layers=layers,
            n_heads=heads,
            d_model=d_model,
            d_mlp=d_mlp,
            positions=positions,  # type: ignore[arg-type]  # checked there, by name
        ),
        steps=steps,
        corpus=training.CorpusConfig(source=source, n_vocab=vocabulary),
        batches=training.BatchConfig(batch_size=batch_size),
        optimiser=training.OptimiserConfig(
            learning_rate=training.LearningRate(peak=learning_rate, warmup_steps=warmup_steps)
        ),
        checkpoints=training.Checkpoints(dense_every=checkpoint_every),
        seed=seed,
    )
    training.train(config, run, device=device, label=f"training {run.name}")
    typer.echo(f"recorded {run}; next: phaseflow report {run}")


@app.command()
def inspect(
    source: Source,
    losses: Losses = None,
    tokens: Tokens = None,
    bos: Bos = None,
    axes: Axes = None,
    steps: Steps = None,
    json: Json = False,
) -> None:
    """Show what an archive holds, without reading any tensor."""
    from phaseflow.reporting import terminal

    archive = open_archive(source, losses, tokens, bos, axes, steps)
    if json:
        terminal.print_json(terminal.contents(archive))
    else:
        terminal.print_contents(archive)
    terminal.print_problems(archive.problems)
    raise typer.Exit(Exit.OK if archive.problems.is_empty() else Exit.FINDING)


@app.command()
def analyze(
    source: Source,
    losses: Losses = None,
    tokens: Tokens = None,
    bos: Bos = None,
    axes: Axes = None,
    steps: Steps = None,
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
        archive = open_archive(
            source, losses, tokens, bos, axes, steps, cache=cache, memory=memory * MB, progress=progress
        )
        verdicts = archive.verdicts()
        if output is not None:
            archive.write_tables(output)
    if json:
        terminal.print_json(verdicts)
    else:
        terminal.print_verdicts(verdicts)
    terminal.print_problems(archive.problems)
    raise typer.Exit(Exit.OK if archive.problems.is_empty() else Exit.FINDING)


@app.command()
def report(
    source: Source,
    losses: Losses = None,
    tokens: Tokens = None,
    bos: Bos = None,
    axes: Axes = None,
    steps: Steps = None,
    cache: Cache = None,
    memory: Memory = 256,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("report.html"),
) -> None:
    """Analyse an archive and write one offline HTML page."""
    import phaseflow
    from phaseflow.reporting import terminal

    with terminal.progress_bars() as progress:
        archive = open_archive(
            source, losses, tokens, bos, axes, steps, cache=cache, memory=memory * MB, progress=progress
        )
        page = phaseflow.report(archive, output, command=shlex.join(["phaseflow", *sys.argv[1:]]))
    terminal.print_problems(archive.problems)
    typer.echo(f"wrote {page}")
    raise typer.Exit(Exit.OK if archive.problems.is_empty() else Exit.FINDING)


@app.command()
def changepoints(
    table: Annotated[Path, typer.Argument(help="A .csv, .tsv, .parquet or .jsonl file.", show_default=False)],
    column: Annotated[str, typer.Option(help="The signal's column.", show_default=False)],
    x: Annotated[str | None, typer.Option(help="The axis' column: step, tokens seen. Without it: row numbers.")] = None,
    by: Annotated[list[str] | None, typer.Option(help="A column that tells curves apart; may be repeated.")] = None,
    windows: Annotated[
        bool, typer.Option("--windows", help="Phase-change windows of a learning curve instead; needs x above 0.")
    ] = False,
    cost: Annotated[
        str, typer.Option(help="What a segment is: l2 (a level), linear, clinear (lines that meet).")
    ] = "l2",
    penalty: Annotated[
        str, typer.Option(help="auto, bic, aic, ... or a number: what a changepoint has to be worth.")
    ] = "auto",
    json: Json = False,
) -> None:
    """Find changepoints, or phase-change windows, in the curves of a table."""
    from phaseflow.analysis import curves
    from phaseflow.importers import read_curves
    from phaseflow.reporting import terminal

    found = read_curves(table, column, x=x, by=by or [])
    if windows:
        changes = curves.windows_of_curves(found)
    else:
        changes = curves.segments_of_curves(found, cost=cost, penalty=number_or_name(penalty))
    if json:
        terminal.print_json(changes)
    else:
        terminal.print_table(changes, empty="no curve breaks")


@app.command()
def verify(
    source: Source,
    losses: Losses = None,
    tokens: Tokens = None,
    bos: Bos = None,
    axes: Axes = None,
    steps: Steps = None,
) -> None:
    """Read every stored byte again and compare it with its checksum; files of others have none and are only read."""
    from phaseflow.archive import ForeignRun
    from phaseflow.reporting import terminal

    with terminal.progress_bars() as progress:
        archive = open_archive(source, losses, tokens, bos, axes, steps, progress=progress)
        problems = archive.verify()
    terminal.print_problems(problems)
    if not problems.is_empty():
        raise typer.Exit(Exit.CORRUPT)
    foreign = any(isinstance(run, ForeignRun) for run in archive.runs)
    without = "every tensor can be read; these files have no checksums to compare with"
    typer.echo(without if foreign else "every tensor is as it was written")


def main() -> None:
    """Runs the command line; errors a user can act on are one line, not a traceback."""
    try:
        app()
    except (exceptions.PhaseflowError, OSError) as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(Exit.CORRUPT if isinstance(error, exceptions.CorruptArchiveError) else Exit.USAGE)
