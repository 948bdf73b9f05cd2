"""The lab as a command: time the variants, train what fits, measure, decide, write the page."""

import shlex
import time
from html import escape
from pathlib import Path

import polars as pl
from rich.console import Console

from phaseflow import schema
from phaseflow.analysis import Archive
from phaseflow.archive import Run
from phaseflow.exceptions import ParameterError
from phaseflow.labs.ablations import COPYING_SCORE, ablation_scores
from phaseflow.labs.induction import budget, claims, page
from phaseflow.labs.induction.measured import Measured, measured
from phaseflow.labs.induction.sweep import AUTO, FULL, SMALL, TWO, Job, check_scale, config_of, jobs
from phaseflow.reporting import terminal
from phaseflow.reporting.claims import Claim, headline, print_claims
from phaseflow.reporting.page import check_writable
from phaseflow.training import Data, TrainConfig, train_together
from phaseflow.training.corpus import root_of
from phaseflow.training.device import usable_device

FOR_ANALYSIS = 0.1  # of the budget
EXAMPLES = 128  # of the text probe, looked at without each head


def run(
    out: Path,
    report: Path,
    *,
    minutes: float,
    text: str | None = None,
    scale: str = AUTO,
    device: str | None = None,
    only: int | None = None,
) -> list[Claim]:
    """Trains under ``out`` what fits into ``minutes``, prints the claims, writes the page ``report``.

    Parameters
    ----------
    out : path
        Where runs are kept; finished ones are not trained again, and count for the page.
    report : path
    minutes : float
        Of the clock, from the first timing to the page.
    text : str, optional
        A folder or file of text, the second data set; without it those claims stay undecided.
    scale : {"auto", "small", "full"}
        How large the base is, see :mod:`phaseflow.labs.induction.sweep`; by default full where two seeds of every
        variant fit, or nearly.
    device : str, optional
        A torch device; CUDA where there is one, else the CPU.
    only : int, optional
        The first so many runs of the sweep and no more.

    Raises
    ------
    ParameterError
        Not even the first run fits.
    UnknownNameError
        There is no such scale.
    MissingDataError
        There is no such text.
    """
    began = time.time()
    console = Console()
    check_scale(scale)
    check_writable(report)
    if text is not None:
        root_of(text)
    device = usable_device(device)
    order = jobs(text=text)[:only]
    if scale == AUTO:
        scale = scale_that_fits(60 * (1 - FOR_ANALYSIS) * minutes, device, console)
    configs = {job: config_of(job, text=text, scale=scale) for job in order}
    kept, out = out, out / scale
    train(out, configs, deadline=began + 60 * (1 - FOR_ANALYSIS) * minutes, device=device, console=console)
    done = [run for job in order if (run := finished(out / job.name, job, configs[job])) is not None]
    with terminal.progress_bars() as progress:
        archive = Archive(out, [*done], progress=progress)
        found, copying, runs = decide(archive, text=text, device=device)
    lead = (
        f"{len(done)} runs, trained and analysed in {(time.time() - began) / 60:.0f} minutes on {escape(device)}"
        f" ({budget.workers()} at once). Every run is {configs[order[0]].steps:,} updates of a small transformer;"
        " variants differ from the two-layer model in one thing."
        + (" At this scale every training sequence repeats a passage of itself." if scale == SMALL else "")
    )
    command = ["phaseflow", "lab", "induction", "--budget", f"{minutes:g}", "--scale", scale]
    command += ["--out", str(kept), "--report", str(report)]
    command += [] if only is None else ["--runs", str(only)]
    page.write(
        report,
        found,
        runs,
        archive,
        copying,
        lead=lead,
        command=shlex.join(command + (["--text", text] if text else [])),
    )
    print_claims(found, console)
    console.print(f"\n{headline(found)} at this budget.")
    terminal.print_page(report, out, (time.time() - began) / 60, console)
    return found


def scale_that_fits(seconds: float, device: str, console: Console) -> str:
    """Full where the time is enough for two seeds of nine variants or so, else small."""
    base = config_of(Job(TWO, 0), text=None, scale=FULL)
    with console.status(f"timing the full model on {device}"):
        update = budget.seconds_per_update({TWO: base}, device)[TWO]
    return FULL if 18 * update * base.work(base.steps) < seconds * budget.workers() else SMALL


def train(out: Path, configs: dict[Job, TrainConfig], *, deadline: float, device: str, console: Console) -> None:
    """Trains the runs that fit; finished ones cost nothing."""
    open_jobs = [job for job, config in configs.items() if finished(out / job.name, job, config) is None]
    if not open_jobs:
        return
    variants = {job.variant: configs[job] for job in open_jobs}
    with console.status(f"timing {len(variants)} models on {device}, {budget.workers()} at once"):
        updates = budget.seconds_per_update(variants, device)
    seconds = {job: updates[job.variant] * configs[job].work(configs[job].steps) for job in open_jobs}
    chosen = budget.that_fit(open_jobs, seconds, processes=budget.workers(), available=deadline - time.time())
    nothing_done = len(open_jobs) == len(configs)
    if not chosen and nothing_done:
        needed = (seconds[open_jobs[0]] / 60 + 0.5) / (1 - FOR_ANALYSIS)
        raise ParameterError(
            f"the budget is too small for one run: {open_jobs[0].name} needs {needed:.0f} minutes here"
        )
    console.print(
        f"{len(chosen)} runs fit, {sum(seconds[job] for job in chosen) / 60:.0f} minutes of a core:"
        f" {', '.join(job.name for job in chosen)}"
    )
    data: dict[object, Data] = {}
    for job in chosen:
        if configs[job].corpus not in data:
            with console.status("reading text, learning a vocabulary"):
                data[configs[job].corpus] = configs[job].corpus.build()
    train_together(
        {out / job.name: configs[job] for job in chosen},
        {out / job.name: data[configs[job].corpus] for job in chosen},
        labels={out / job.name: job.name for job in chosen},
        device=device,
        # A machine that has become slower trains fewer of them, never much longer.
        start_by={out / job.name: deadline - seconds[job] * 0.8 for job in chosen},
    )


def finished(path: Path, job: Job, config: TrainConfig) -> Run | None:
    """The run, if it has been trained to its end."""
    if not (path / "phaseflow.json").exists():
        return None
    run = Run(path, name=job.name)
    return run if run.steps and run.steps[-1] == config.steps else None


def decide(archive: Archive, *, text: str | None, device: str) -> tuple[list[Claim], pl.DataFrame, list[Measured]]:
    """The claims; copying by both measures, a row a head; and what each run shows."""
    ablations = ablation_scores(archive, examples=EXAMPLES, last_only=True, device=device)
    runs = measured(archive, ablations)
    copying = by_both_measures(archive, ablations)
    return claims.decided(runs, copying, text=text), copying, runs


def by_both_measures(archive: Archive, ablations: pl.DataFrame) -> pl.DataFrame:
    """run, layer, head, ``copying_score``, ``ov_copying_statistic`` at the last checkpoint that stored weights."""
    where = [schema.RUN, schema.STEP, schema.LAYER, schema.HEAD]
    scores = ablations.filter(pl.col(schema.METRIC) == COPYING_SCORE)
    eigenvalues = archive.circuit_scores().filter(pl.col(schema.METRIC) == "ov_copying_statistic")
    return (
        scores.select(*where, pl.col(schema.VALUE).alias("copying_score"))
        .join(eigenvalues.select(*where, pl.col(schema.VALUE).alias("ov_copying_statistic")), on=where)
        .drop(schema.STEP)
    )
