"""Progress bars of training: a line a run, with a time estimate. Nothing is drawn where nobody looks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: Called with the work done, in updates, and at checkpoints with a note on what the model shows there.
OnStep = Callable[[int, str | None], None]


@contextmanager
def bars(totals: Mapping[str, int]) -> Iterator[Callable[[str, int, str | None], None]]:
    """A function of (label, work done, note or None) that moves the bar of that label; silent off a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=120) as progress:
        tasks = {label: progress.add_task(label, total=total, note="") for label, total in totals.items()}

        def move(label: str, done: int, note: str | None) -> None:
            progress.update(tasks[label], completed=done)
            if note is not None:
                progress.update(tasks[label], note=note)

        yield move


@contextmanager
def bar(label: str, total: int) -> Iterator[OnStep]:
    """The same for one run."""
    with bars({label: total}) as move:
        yield lambda done, note: move(label, done, note)
