"""Writing a step and reading it back, beside safetensors and numpy, and the disk's own time for the same bytes.

python benches/archive.py                     # 12 layers, 8 × 12 × 512 × 512 float16: 0.6 GB a step
python benches/archive.py --layers 2 --context 128 --rounds 3 --folder /tmp
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from _timing import compare, interleave, read_limit, write_record
from safetensors import safe_open
from safetensors.numpy import save_file

from phaseflow.archive import Probe, Recorder, Run

PROBE = "repeated"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to be measured")
    parser.add_argument("--record", default="archive", help="name of the file under benches/record")
    options = parser.parse_args()
    shape = (options.batch, options.heads, options.context, options.context)
    generator = np.random.default_rng(0)
    layers = [generator.random(shape, dtype=np.float32).astype(np.float16) for _ in range(options.layers)]
    size = f"{options.layers} layers of {' × '.join(map(str, shape))} float16"
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="bench-archive-"))
    try:
        cases = [write(f"one step to the disk, {size}", layers, folder, options)]
        cases.append(read(f"one layer from a cached file, opened anew and summed, {size}", layers, folder, options))
        cases.append(verify(f"checksums of a cached file, {size}", layers, folder, options))
    finally:
        shutil.rmtree(folder)
    write_record(options.record, cases)


def write(case, layers, folder, options):
    """Every contender ends with its bytes on the disk, not in the page cache."""
    tokens = np.zeros((options.batch, options.context), dtype=int)
    recorder = Recorder(folder / "run", probes={PROBE: Probe(tokens)})
    named = {f"attention/{PROBE}/L{layer:02d}": array for layer, array in enumerate(layers)}
    step = 0

    def ours():
        nonlocal step
        step += 1
        recorder.log(step, scalars={"loss": 1.0}, attention={PROBE: layers})
        if step > 1:  # one step stays for the reading cases; the disk does not fill
            (folder / "run" / "tensors" / f"{step - 1:010d}-r0.safetensors").unlink()

    def safetensors():
        save_file(named, folder / "peer.safetensors")
        synced(folder / "peer.safetensors")

    def numpy():
        for layer, array in enumerate(layers):
            np.save(folder / f"peer-{layer}.npy", array)
            synced(folder / f"peer-{layer}.npy")

    def raw():
        with (folder / "raw").open("wb") as file:
            for array in layers:
                file.write(array.data)
        synced(folder / "raw")

    contenders = {
        "phaseflow: checksums, atomic, index": ours,
        "safetensors save_file, then fsync": safetensors,
        "numpy save, a file a layer, then fsync": numpy,
        "limit: plain write and fsync": raw,
    }
    seconds = interleave(contenders, options.rounds)
    recorder.close()
    stored = Run(folder / "run").tensor(step, f"attention/{PROBE}/L00")
    np.testing.assert_array_equal(np.asarray(stored), layers[0])
    return compare(case, seconds, "phaseflow: checksums, atomic, index")


def synced(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def read(case, layers, folder, options):
    """All the same sum, so that what differs is the way to the bytes."""
    name = f"attention/{PROBE}/L{len(layers) - 1:02d}"
    run = Run(folder / "run")
    (step,) = run.steps

    def summed(array):
        return np.asarray(array).view(np.uint16).sum(dtype=np.uint64)

    def ours_anew():
        return summed(Run(folder / "run").tensor(step, name))

    def safetensors():
        with safe_open(folder / "peer.safetensors", "numpy") as file:
            return summed(file.get_tensor(name))

    contenders = {
        "phaseflow, the run opened anew": ours_anew,
        "phaseflow, the run open": lambda: summed(run.tensor(step, name)),
        "safetensors safe_open": safetensors,
        "numpy load, mapped": lambda: summed(np.load(folder / f"peer-{len(layers) - 1}.npy", mmap_mode="r")),
        "limit: sum in memory": lambda: summed(layers[-1]),
    }
    seconds = interleave(contenders, options.rounds)
    expected = summed(layers[-1])
    assert all(contender() == expected for contender in contenders.values())
    return compare(case, seconds, "phaseflow, the run open")


def verify(case, layers, folder, options):
    run = Run(folder / "run")
    assert run.verify().is_empty()
    mapped = np.concatenate([array.reshape(-1) for array in layers])
    contenders = {"phaseflow verify": run.verify, "limit: read all bytes": read_limit(mapped, os.cpu_count() or 1)}
    return compare(case, interleave(contenders, options.rounds), "phaseflow verify")


if __name__ == "__main__":
    main()
