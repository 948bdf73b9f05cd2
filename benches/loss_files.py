"""Losses of many checkpoints from files, cached and cold: the table of mean losses, beside numpy, torch and the disk.

python benches/loss_files.py                                # 200 files of 2048 × 1024, float32 and float16: 1.7, 0.8 GB
python benches/loss_files.py --checkpoints 20 --rounds 3

A file a checkpoint, as most training code writes them, opened anew by everybody. The limit of cached files is reading
all bytes from the system's cache; of cold ones, reading them past it, in order, in blocks of 8 MB, or into it, asked
for ahead, and doing nothing with them. Archives as small as this one stay in the cache: the next table is read there;
what is read of larger ones than a quarter of memory is let go behind.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from _timing import compare, evict, interleave, read_ahead, read_direct, read_through, write_record

import phaseflow as pf
from phaseflow import _core


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=200)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float16"), default=["float32", "float16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to be measured")
    parser.add_argument("--record", default="loss_files", help="name of the file under benches/record")
    options = parser.parse_args()
    cases = []
    for dtype in options.dtypes:
        folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="bench-loss-"))
        try:
            cases += table(folder, dtype, options)
        finally:
            shutil.rmtree(folder)
    write_record(options.record, cases)


def table(folder, dtype, options):
    """Mean loss at every position of every checkpoint, from its file."""
    shape = options.batch, options.context
    files = [folder / f"step{step:06}.npy" for step in range(1, options.checkpoints + 1)]
    rng = np.random.default_rng(0)
    for file in files:
        np.save(file, rng.standard_exponential(shape, dtype=np.float32).astype(dtype))
    header = files[0].stat().st_size - np.dtype(dtype).itemsize * options.batch * options.context

    def ours():
        """Its standard error besides."""
        return pf.open(f"{folder}/step{{step}}.npy", axes="batch pos").position_losses()

    def too_large():
        """The same of an archive of more than a quarter of the machine's memory, which is not to stay in its cache."""
        with mock.patch.object(_core, "may_stay_cached", return_value=False):
            return ours()

    def torch_from_file(file):
        size = file.stat().st_size // np.dtype(dtype).itemsize
        flat = torch.from_file(str(file), size=size, dtype=getattr(torch, dtype))
        return flat[header // np.dtype(dtype).itemsize :].view(shape).mean(0)

    # float16 is summed in float32: in its own type the sum would not be right to a tenth.
    wide = {"dtype": np.float32}
    contenders = {
        "phaseflow, archive.position_losses()": ours,
        "np.load, mean alone": lambda: np.stack([np.load(file).mean(0, **wide) for file in files]),
        "np.load(mmap), mean alone": lambda: np.stack([np.load(file, mmap_mode="r").mean(0, **wide) for file in files]),
        "torch.from_file, mean alone": lambda: torch.stack([torch_from_file(file) for file in files]),
    }
    mean = ours().sort("step", "token_index")["value"].to_numpy().reshape(len(files), -1)
    for name, contender in contenders.items():
        if contender is not ours:
            np.testing.assert_allclose(np.asarray(contender()), mean, rtol=2e-3, err_msg=name)
    warm = contenders | {"limit: one thread reads all bytes": lambda: read_through(files)}
    cold = contenders | {
        "phaseflow, as of an archive too large for the cache": too_large,
        "limit: read past the cache": lambda: read_direct(files),
        "limit: read into the cache": lambda: read_ahead(files),
    }
    size = f"{options.checkpoints} files of {options.batch} × {options.context} {dtype}"
    name = "phaseflow, archive.position_losses()"
    return [
        compare(f"mean losses, files in the cache, {size}", interleave(warm, options.rounds), name),
        compare(f"mean losses, cold files, {size}", interleave(cold, options.rounds, lambda: evict(files)), name),
    ]


if __name__ == "__main__":
    main()
