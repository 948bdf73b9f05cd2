"""A terabyte of patterns that the disk does not hold: memory and throughput of a scan, gigabyte by gigabyte.

python benches/terabyte.py                 # 1 TB of holes: some minutes
python benches/terabyte.py --gigabytes 20

Every step is a file of its own, all zeros, 1.07 GB: one layer of 8 × 16 × 2048² float16. Holes are read at the speed of
memory, so this measures everything but the disk.
"""

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from _timing import write_record

import phaseflow as pf

SHAPE = (8, 16, 2048, 2048)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=int, default=1000)
    parser.add_argument("--memory", type=int, default=256, help="MB that patterns may hold")
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument("--record", default="terabyte", help="name of the file under benches/record")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="bench-terabyte-"))
    try:
        write_record(options.record, [scan(folder, options)])
    finally:
        shutil.rmtree(folder)


def scan(folder, options):
    """Reads it all; throughput of every tenth of it, and how far memory grew."""
    tokens = np.random.default_rng(0).integers(0, 5000, (SHAPE[0], SHAPE[2]))
    size = int(np.prod(SHAPE)) * 2
    steps = max(10, round(options.gigabytes * 1e9 / size))
    for step in range(steps):
        np.lib.format.open_memmap(folder / f"step{step}_L0.npy", mode="w+", dtype=np.float16, shape=SHAPE)._mmap.close()
    seen = []
    archive = pf.open(
        str(folder / "step{step}_L{layer}.npy"),
        tokens=tokens,
        memory=options.memory << 20,
        progress=lambda _, done, __: seen.append((time.perf_counter(), done, peak_megabytes())),
    )
    start = time.perf_counter()
    before = peak_megabytes()
    table = archive.head_scores()
    seconds = time.perf_counter() - start
    assert table.height == steps * SHAPE[1] * 5
    whole = steps * size
    tenths = []
    for tenth in range(10):
        times = [(when, done) for when, done, _ in seen if whole * tenth / 10 <= done <= whole * (tenth + 1) / 10]
        tenths.append((times[-1][1] - times[0][1]) / (times[-1][0] - times[0][0]) / 1e9)
    found = {
        "case": f"{whole / 1e12:.3f} TB of holes, {steps} files",
        "seconds": round(seconds, 1),
        "gigabytes_a_second": round(whole / seconds / 1e9, 3),
        "gigabytes_a_second_of_each_tenth": [round(rate, 3) for rate in tenths],
        "peak_megabytes_over_the_start": round(peak_megabytes() - before, 1),
        "memory_parameter_megabytes": options.memory,
        "slowest_tenth_over_median": round(min(tenths) / statistics.median(tenths), 3),
    }
    print(*(f"{name}: {value}" for name, value in found.items()), sep="\n")
    return found


def peak_megabytes():
    """The most that this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
