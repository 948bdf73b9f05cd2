"""The demo: two small transformers on real code, one of which goes through the phase change.

A one-layer model cannot form induction heads (Olsson 2022): it is the control. Both are trained on the same text in
the same order, recorded at the same steps, and analysed by the same rules.
"""

import time
from pathlib import Path

from rich.console import Console

import phaseflow
from phaseflow.reporting import terminal
from phaseflow.reporting.page import check_writable
from phaseflow.training import demo_configs, train_together
from phaseflow.training.device import usable_device


def run(out: Path, page: Path, *, seed: int, device: str | None = None, command: str = "") -> None:
    """Trains what is not yet trained under ``out``, prints the verdict on both runs, writes ``page``."""
    console = Console()
    began = time.monotonic()
    device = usable_device(device)
    check_writable(page)
    configs = demo_configs(seed)
    with console.status("reading the standard library's source files, learning a vocabulary"):
        corpus = configs["two-layer"].corpus.build()
    labels = {out / name: f"training {name} model" for name in configs}
    train_together({out / name: config for name, config in configs.items()}, corpus, labels=labels, device=device)
    with terminal.progress_bars() as progress:
        archive = phaseflow.open(out, progress=progress)
        verdicts = archive.verdicts()
        phaseflow.report(archive, page, command=command)
    console.print()
    terminal.print_verdicts(verdicts, console=console)
    terminal.print_page(page, out, (time.monotonic() - began) / 60, console)
