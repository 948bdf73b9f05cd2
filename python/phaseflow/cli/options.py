"""Options that several commands share: which archive, and how its files are to be read."""

import functools
import inspect
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from phaseflow.analysis import Archive

MB = 1 << 20

Cache = Annotated[
    Path | None, typer.Option("--cache", help="Where results of other tensor files are kept for the next time.")
]
Memory = Annotated[int, typer.Option("--memory", min=1, help="MB that patterns may hold in memory at once.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Seed = Annotated[int, typer.Option(help="Seed of weights and data order.")]
Device = Annotated[str | None, typer.Option(help="cuda, cpu, ...; by default CUDA where there is one.")]
Page = Annotated[Path, typer.Option("--report", help="The page to write.")]
Runs = Annotated[Path, typer.Option(help="Directory of the runs; what is trained already is kept.")]


@dataclass(frozen=True)
class ArchiveOptions:
    """What names an archive on the command line; every field is an option there."""

    source: Annotated[
        str,
        typer.Argument(
            help="A run's directory, a directory with runs below it, or a path pattern of other tensor files: "
            "'logs/{run}/step{step}/attn_{layer}.npy'.",
            show_default=False,
        ),
    ]
    losses: Annotated[
        str | None, typer.Option("--losses", help="Path pattern of per-token losses beside that of attention.")
    ] = None
    tokens: Annotated[
        Path | None,
        typer.Option("--tokens", help="File with the tokens (batch, pos) that pattern files were made on."),
    ] = None
    bos: Annotated[int | None, typer.Option("--bos", help="Id of the start-of-sequence token in them.")] = None
    axes: Annotated[
        str | None,
        typer.Option("--axes", help="Axes of the pattern's files: 'step layer batch head query_pos key_pos'."),
    ] = None
    steps: Annotated[
        str | None, typer.Option("--steps", help="Steps along an axis 'step': '0,100,200', or a file with them.")
    ] = None

    def open(self, *, memory: int | None = None, **more: Any) -> "Archive":
        """`phaseflow.open` with these options; ``memory`` in MB."""
        import phaseflow

        path = self.source if self.losses is None else {"attention": self.source, "loss": self.losses}
        return phaseflow.open(
            path,
            tokens=self.tokens,
            bos=self.bos,
            axes=self.axes if self.axes is None or self.losses is None else {"attention": self.axes},
            steps=None if self.steps is None else numbers_or_file(self.steps),
            **more if memory is None else more | {"memory": memory * MB},
        )


def this_command() -> str:
    """The command line that is running, to be typed again."""
    return shlex.join(["phaseflow", *sys.argv[1:]])


def let_threads_sleep() -> None:
    """Threads that wait for work sleep instead of spinning; to be said before torch loads its OpenMP, which reads it.

    On two busy cores a step of the demo's model took 364 ms on two spinning threads, 41 to 57 ms on two that sleep.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def takes_archive(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of `ArchiveOptions` as options in place of its first parameter."""
    shared = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=each.type,
            default=inspect.Parameter.empty if each.name == "source" else each.default,
        )
        for each in fields(ArchiveOptions)
    ]
    own = list(inspect.signature(command).parameters.values())[1:]
    parameters = [*shared, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own)]

    @functools.wraps(command)
    def run(**options: Any) -> None:
        named = {each.name: options.pop(each.name) for each in shared}
        command(ArchiveOptions(**named), **options)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def numbers_or_file(text: str) -> list[int] | str:
    """Whole numbers between commas, or the name of a file with them."""
    parts = text.split(",")
    return [int(part) for part in parts] if all(part.strip().isdecimal() for part in parts) else text
