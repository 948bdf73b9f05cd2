"""Test-accuracy curves of the runs in grokking_normcap, and where their authors saw them grok."""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

import phaseflow as pf


class Run(NamedTuple):
    name: str
    test_accuracy: np.ndarray  # (evaluation,)
    grokked_at: int | None  # evaluation; the first with test accuracy .95 and more, once train accuracy is .99


def arrival(accuracy, level=0.95, **options) -> int | None:
    """The evaluation at which the best accuracy so far arrives at a segment of at least ``level``.

    The best so far, because a run that has grokked may lose it again for an evaluation. Segments by their medians
    (cost l1): the last evaluations of a slow rise pull a mean down, and its changepoint forward. Plain BIC: a slow rise
    is a drift, which the default does not cut.
    """
    best = np.maximum.accumulate(accuracy)
    found = pf.detect(best, **({"cost": "l1", "penalty": "bic"} | options))
    levels = [np.median(best[start:end]) for start, end in found.segments]
    arrived = [start for (start, _), value in zip(found.segments, levels, strict=True) if start and value >= level]
    return arrived[0] if arrived else None


def grokking_runs(archive: Path) -> list[Run] | None:
    """All runs with a test accuracy, by name; None where there is no program to unpack them."""
    if shutil.which("zstd") is None:
        return None
    unpacked = subprocess.run(["zstd", "-dc", archive], check=True, capture_output=True).stdout
    runs = []
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as files:
        for member in sorted(files.getmembers(), key=lambda member: member.name):
            if not member.name.endswith(".jsonl"):
                continue
            lines = [json.loads(line) for line in files.extractfile(member).read().splitlines()]
            rows = [line for line in lines if "test_acc" in line]
            if not rows:
                continue
            label = lines[-1]["_summary"]["grok_step"]
            steps = [row["step"] for row in rows]
            runs.append(
                Run(
                    member.name,
                    np.array([row["test_acc"] for row in rows]),
                    None if label is None else steps.index(label),
                )
            )
    return runs
