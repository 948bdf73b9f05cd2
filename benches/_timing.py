"""How every bench here measures: contenders take turns within each round, medians are compared, answers are checked.

Absolute times drift with the machine and its load; the ratio of two medians from interleaved rounds does not, or far
less. Beside the contenders stands the physical limit, the time of just reading the bytes that must be touched.
"""

import json
import mmap
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

RECORDS = Path(__file__).parent / "record"


def interleave(
    contenders: dict[str, Callable[[], Any]], rounds: int, before: Callable[[], Any] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of every round of every contender; a first round warms up and is not counted, nor is ``before`` each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds + 1):
        # A different one goes first each time, so that none always runs in another's wake.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            before()
            start = time.perf_counter()
            contenders[name]()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def read_limit(array: np.ndarray, threads: int) -> Callable[[], float]:
    """A contender that does nothing but read ``array``'s bytes: a float32 sum, split over ``threads``."""
    words = array.reshape(-1).view(np.float32)
    parts = np.array_split(words, 16 * threads)
    pool = ThreadPoolExecutor(threads)
    return lambda: sum(pool.map(np.add.reduce, parts))


def evict(files: Iterable[Path]) -> None:
    """Makes the files cold: what the system's cache holds of them goes, once the disk has it."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def read_direct(files: Iterable[Path]) -> int:
    """Reads every byte in order past the system's cache, and does nothing with it: what the disk can give."""
    return read_through(files, 8 << 20, os.O_DIRECT)


def read_ahead(files: Iterable[Path], ahead: int = 24 << 20) -> int:
    """Reads every byte through the system's cache, asked for ``ahead`` bytes before, and does nothing with it."""
    files = list(files)
    together = max(1, ahead // max(1, files[0].stat().st_size))
    for file in files[:together]:
        ask(file)
    read = 0
    for file, later in zip_longest(files, files[together:]):
        if later:
            ask(later)
        read += read_through([file])
    return read


def ask(file: Path) -> None:
    """Starts to read a file into the system's cache."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)


def read_through(files: Iterable[Path], block: int = 1 << 20, flags: int = 0) -> int:
    """Reads every byte in order into one block of memory, and does nothing with it."""
    read = 0
    with mmap.mmap(-1, block) as buffer:  # aligned, as reads past the cache must be
        for file in files:
            descriptor = os.open(file, os.O_RDONLY | flags)
            try:
                at = 0
                while got := os.preadv(descriptor, [buffer], at):
                    at += got
                read += at
            finally:
                os.close(descriptor)
    return read


def compare(case: str, seconds: dict[str, list[float]], ours: str) -> dict[str, Any]:
    """Prints the medians beside ours and returns them for the record."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"\n{case}")
    for name, median in sorted(medians.items(), key=lambda item: item[1]):
        spread = f"{1e3 * min(seconds[name]):9.2f} to {1e3 * max(seconds[name]):9.2f}"
        print(f"  {1e3 * median:9.2f} ms  ({spread})  {median / medians[ours]:7.2f} × ours  {name}")
    return {
        "case": case,
        "ours": ours,
        "rounds": len(seconds[ours]),
        "milliseconds": {name: round(1e3 * median, 4) for name, median in medians.items()},
        "times_ours": {name: round(median / medians[ours], 3) for name, median in medians.items()},
    }


def write_record(name: str, cases: list[dict[str, Any]]) -> None:
    """Writes ``benches/record/<name>.json``: cases, command, machine and versions."""
    record = {
        "bench": name,
        "command": " ".join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "cases": cases,
    }
    RECORDS.mkdir(exist_ok=True)
    path = RECORDS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{path}")


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory, system."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(gigabytes, 1),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Python and the packages that compete."""
    found = {"python": platform.python_version()}
    for package in ("phaseflow", "numpy", "torch", "numba", "scipy", "ruptures", "safetensors", "polars"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    for package in ("transformer_lens", "changeforest", "fastcpd", "ruptures-rs", "rustures", "skchange"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
