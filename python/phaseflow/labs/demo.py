"""The demo: two small transformers on real code, one of which goes through the phase change.

A one-layer model cannot form induction heads (Olsson 2022): it is the control. Both are trained on the same text in
the same order, recorded at the same steps, and analysed by the same rules.
"""

import time
from pathlib import Path

from rich.console import Console

import phaseflow
from phaseflow.reporting import terminal
from phaseflow.training import demo_configs, train_together


def run(out: Path, page: Path, *, seed: int) -> None:
    """Trains what is not yet trained under ``out``, prints the verdict on both runs, writes ``page``."""
    console = Console()
    began = time.monotonic()
    configs = demo_configs(seed)
    with console.status("reading the standard library's source files, learning a vocabulary"):
        corpus = configs["two-layer"].corpus.build()
    labels = {out / name: f"training {name} model" for name in configs}
    train_together({out / name: config for name, config in configs.items()}, corpus, labels=labels)
    with terminal.progress_bars() as progress:
        archive = phaseflow.open(out, progress=progress)
        verdicts = archive.verdicts()
        phaseflow.report(archive, page, command=f"phaseflow demo --out {out} --report {page} --seed {seed}")
    console.print()
    terminal.print_verdicts(verdicts, console=console)
    console.print(
        f"[bold]{page}[/] has the figures; open it in a browser. "
        f"[dim]{(time.monotonic() - began) / 60:.1f} minutes; the runs are kept in {out}.[/]"
    )
