"""Memorisation and features in a toy model over the size of its data set (Henighan 2023, with its correction).

Few examples are remembered one by one: their hidden vectors form a regular T-gon, of which each has 2/T of a dimension.
Many examples are described by their features. What lies between is shown as it is found: the authors withdrew the
middle regime as an artefact of optimisation, so nothing is said here about where the test loss peaks, or that it does.

All dimensionalities of a set sum to the number of dimensions, so that the mean over examples is 2/T whatever they form:
what tells a T-gon is how far each example's own is from 2/T. Three examples need no regular triangle to be told apart.
"""

import os
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from rich.console import Console

import phaseflow
from phaseflow.exceptions import ParameterError
from phaseflow.reporting import double_descent as figures
from phaseflow.reporting import page, terminal
from phaseflow.training.progress import bars
from phaseflow.training.toy.finite import FiniteConfig, FiniteResult, train_finite

#: Sizes of the data set, to well past ten occurrences of every feature (1,000 of the reduced setting).
SIZES = (3, 4, 5, 6, 8, 12, 20, 40, 80, 160, 320, 640, 1000, 2000, 4000)
#: As many examples as are expected on a T-gon, and how far half of them may be from 2/T, relative.
FEW = (4, 8)
TOLERANCE = 0.1
#: Up to so many examples the best of several restarts is taken: some forget an example for good.
RESTARTED, RESTARTS = 40, 5


@dataclass(frozen=True)
class Point:
    """One size of the data set."""

    config: FiniteConfig
    result: FiniteResult

    @property
    def from_polygon(self) -> NDArray[np.float64]:
        """How far every example's dimensionality is from 2/T, relative."""
        found: NDArray[np.float64] = np.abs(self.example_dimensionality * self.config.n_examples / 2 - 1)
        return found

    @property
    def example_dimensionality(self) -> NDArray[np.float64]:
        """Of every example, ``(example,)``."""
        return phaseflow.example_dimensionality(self.result.hidden.numpy())

    @property
    def feature_dimensionality(self) -> NDArray[np.float64]:
        """Of every feature, ``(feature,)``."""
        return phaseflow.feature_dimensionality(self.result.W.numpy())


def run(
    out: Path, output: Path, *, sizes: tuple[int, ...] = SIZES, steps: int = 5000, seed: int = 0, command: str = ""
) -> None:
    """Trains what is not yet trained below ``out``, prints what is seen, writes the page.

    Parameters
    ----------
    out : path
        Directory of the archives, one for each size.
    output : path
        The page.
    sizes : tuple of int
        Numbers of examples.
    steps : int
        Updates of each model; the learning rate is warmed up over a twentieth of them.
    seed : int
        Of examples and weights. The first examples of a larger set are not those of a smaller one.
    command : str
        The command shown under "Reproduce".
    """
    if not sizes or steps < 20:
        raise ParameterError(f"expected at least one size and 20 steps, got {len(sizes)} and {steps}")
    page.check_writable(output)
    console = Console()
    began = time.monotonic()
    points = sweep(out, sorted(set(sizes)), steps, seed)
    table = summary(points)
    findings = seen(table)
    for finding in findings:
        console.print(finding)
    page.write_page(
        output,
        title="double descent",
        headline="From examples to features",
        lead="A toy model with 1,000 features in two dimensions, trained on more and more examples."
        "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in findings) + "</ul>",
        sections=[*sections(points, table), page.reproduce_html(command)],
        footer=page.made_by(
            out, "After Henighan et al., Superposition, Memorization, and Double Descent (2023), and its correction."
        ),
    )
    terminal.print_page(output, out, (time.monotonic() - began) / 60, console)


def sweep(out: Path, sizes: list[int], steps: int, seed: int) -> list[Point]:
    """One model for each size, as many at once as there are cores, each on one thread; the longest first."""
    configs = {size: config_of(size, steps, seed) for size in sizes}
    labels = {size: f"{size:,} examples" for size in sizes}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # blocks fit into a core's cache; shared between cores they take three times as long
    stopped = threading.Event()
    try:
        with bars({labels[size]: steps for size in sizes}) as move, ThreadPoolExecutor(os.cpu_count()) as pool:

            def trained(size: int) -> FiniteResult:
                restarts = RESTARTS if size <= RESTARTED else 1
                found = []
                for restart in range(restarts):

                    def on_step(done: int, note: str | None, before: int = restart * steps) -> None:
                        if stopped.is_set():
                            raise CancelledError
                        if note is not None or done % 20 == 0:
                            move(labels[size], (before + done) // restarts, note)

                    folder = out / f"examples-{size}-{steps}-{seed}-{restart}"
                    found.append(train_finite(replace(configs[size], restart=restart), folder, on_step=on_step))
                move(labels[size], steps, None)
                return min(found, key=lambda result: result.train_loss)

            running = {size: pool.submit(trained, size) for size in sorted(sizes, reverse=True)}
            try:
                return [Point(configs[size], running[size].result()) for size in sizes]
            finally:
                # Ctrl-C, or one that failed: the pool waits for the others, which stop at their next step.
                stopped.set()
                pool.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(threads)


def config_of(size: int, steps: int, seed: int) -> FiniteConfig:
    """The reduced setting: as much learning in fewer steps, up to the rate at which 5,000 of them are the paper's."""
    config = FiniteConfig(size, steps=steps, seed=seed)
    rate = replace(config.optimiser.learning_rate, warmup_steps=steps // 20)
    return replace(config, optimiser=replace(config.optimiser, learning_rate=rate))


def summary(points: list[Point]) -> pl.DataFrame:
    """One row a size: losses, and both dimensionalities, that of examples beside 2/T."""
    return pl.DataFrame(
        {
            "examples": [each.config.n_examples for each in points],
            "occurrences of a feature": [each.config.n_examples * each.config.density for each in points],
            "train loss": [each.result.train_loss for each in points],
            "test loss": [each.result.test_loss for each in points],
            "2/T": [2 / each.config.n_examples for each in points],
            "example dimensionality, median": [float(np.median(each.example_dimensionality)) for each in points],
            "off 2/T, median": [float(np.median(each.from_polygon)) for each in points],
            "off 2/T, largest": [float(each.from_polygon.max()) for each in points],
            "feature dimensionality, largest": [float(each.feature_dimensionality.max()) for each in points],
        }
    )


def seen(table: pl.DataFrame) -> list[str]:
    """What the sweep shows, in sentences that say no more than it does."""
    found = []
    few = table.filter(pl.col("examples").is_between(*FEW))
    if not few.is_empty():
        off = float(few["off 2/T, median"].to_numpy().max())
        word = "a T-gon" if off <= TOLERANCE else f"further than {TOLERANCE:.0%} from a T-gon"
        found.append(
            f"From {few['examples'][0]:,d} to {few['examples'][-1]:,d} examples half of their dimensionalities are "
            f"within {off:.1%} of 2/T: {word}."
        )
    best, worst = (table.sort("test loss").row(i, named=True) for i in (0, -1))
    found.append(
        f"The test loss is highest, {worst['test loss']:.3f}, at {worst['examples']:,} examples and lowest, "
        f"{best['test loss']:.3f}, at {best['examples']:,}. Where it peaks depends on the optimisation: not settled."
    )
    first, last = table.row(0, named=True), table.row(-1, named=True)
    found.append(
        f"At {first['examples']:,} and at {last['examples']:,} examples the largest dimensionality of a feature is "
        f"{first['feature dimensionality, largest']:.3f} and {last['feature dimensionality, largest']:.3f}, the train "
        f"loss {first['train loss']:.3f} and {last['train loss']:.3f}."
    )
    return found


def sections(points: list[Point], table: pl.DataFrame) -> list[str]:
    """The page's figures and the table behind them."""
    config = points[0].config
    enough = round(10 / config.density)
    sizes = table["examples"].to_list()
    losses = figures.losses(sizes, table["train loss"].to_list(), table["test loss"].to_list(), enough)
    spread = figures.dimensionalities(
        sizes,
        [each.example_dimensionality for each in points],
        [each.feature_dimensionality for each in points],
        enough,
    )
    shown = points if len(points) <= 12 else [each for each in points if each.config.n_examples not in (3, 6, 12, 640)]
    panels = [
        (f"T = {each.config.n_examples:,}", each.result.hidden.numpy(), each.result.W.numpy().T) for each in shown[:12]
    ]
    return [
        page.figure_html(
            losses,
            number=1,
            title="Loss over the size of the data set",
            caption=f"Train loss and test loss ({config.n_test:,} fresh examples). Dotted: ten occurrences of every "
            "feature. The model that answers with nothing has loss 1; train losses below 0.1 lie below the figure. Up "
            f"to {RESTARTED} examples the best of {RESTARTS} restarts, beyond one model a size: what lies between "
            "neighbours may be the optimisation's doing, and no peak is claimed.",
        ),
        page.figure_html(
            spread,
            number=2,
            title="Dimensionality of examples and features",
            caption="Every dot is an example or a feature (at most 300 of each size, evenly by rank; below 0.0001 they "
            "are left out). Dashed: 2/T, what each example has where all of them form a T-gon.",
        ),
        page.figure_html(
            figures.hidden_vectors(panels),
            number=3,
            title="Hidden vectors",
            caption="Blue: the training examples' hidden vectors W x. Orange: the columns of W, the features. Each "
            "panel has its own scale.",
        ),
        "<section><h2>In numbers</h2>" + page.table_html(table) + "</section>",
    ]
