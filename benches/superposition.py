"""Feature dimensionality and geometry of many snapshots of W, beside batched numpy and torch.

python benches/superposition.py                  # and 1e5 snapshots of 30 × 400 from a stream: three minutes
python benches/superposition.py --snapshots 200 --rounds 2 --stream 2000

The stream makes every batch anew, 4.8 GB in all, and never holds more than one: each contender is timed on each batch,
in turn who goes first, but for numpy, whose turn comes at one batch in ten and is counted ten times.
"""

import argparse
import resource
import time

import numpy as np
import torch
from _timing import compare, interleave, read_limit, write_record

import phaseflow as pf

BATCH = 2000  # snapshots held at once: 96 MB
SELDOM = 10  # batches between turns of numpy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshots", type=int, default=1_000, help="timed in rounds; the same ones each time")
    parser.add_argument("--stream", type=int, default=100_000, help="snapshots that come once; 0: none")
    parser.add_argument("--hidden", type=int, default=30)
    parser.add_argument("--features", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--record", default="superposition", help="name of the file under benches/record")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape = f"snapshots of {options.hidden} × {options.features}"
    # First: a process's peak of memory never falls again.
    cases = [stream(f"measures and named figures, {options.stream:,} {shape}, a stream", options)] * (
        options.stream > 0
    )
    W = snapshots(np.random.default_rng(0), options.snapshots, options)
    cases += [
        dimensionality(f"feature dimensionality, {options.snapshots:,} {shape}", W, options),
        everything(f"measures and named figures of every feature, {options.snapshots:,} {shape}", W, options),
    ]
    write_record(options.record, cases)


def snapshots(rng, count, options):
    return rng.standard_normal((count, options.hidden, options.features), dtype=np.float32)


def stream(case, options):
    """Every snapshot is seen once, by everybody."""
    rng = np.random.default_rng(1)
    contenders = {
        "phaseflow": lambda W: pf.feature_geometry(W, threads=options.threads),
        "torch, measures and pairs alone (float32)": torch_measures,
        "numpy, Gram matrix alone (float32)": numpy_gram,
    }
    seconds = dict.fromkeys(contenders, 0.0)
    peak = float("nan")
    for batch, first in enumerate(range(0, options.stream, BATCH)):
        W = snapshots(rng, min(BATCH, options.stream - first), options)
        for name in list(contenders)[:: -1 if batch % 2 else 1]:
            seldom = SELDOM if "numpy" in name else 1
            if batch % seldom:
                continue
            begin = time.perf_counter()
            contenders[name](W)
            seconds[name] += seldom * (time.perf_counter() - begin)
            if batch == 0 and name == "phaseflow":
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    compared = compare(case, {name: [taken] for name, taken in seconds.items()}, "phaseflow")
    print(f"peak of the process, torch and a batch of snapshots in it, before the peers' turn: {peak:,.0f} MB")
    return compared | {"peak_mb": peak}


def torch_gram(W):
    tensor = torch.from_numpy(W)
    squares = tensor.square().sum(1)
    return (squares.square() / (tensor.mT @ tensor).square().sum(1)).numpy()


def torch_narrow(W):
    """Through (hidden, hidden), the cheaper way round."""
    tensor = torch.from_numpy(W)
    shared = (tensor * ((tensor @ tensor.mT) @ tensor)).sum(1)
    return (tensor.square().sum(1).square() / shared).numpy()


def numpy_gram(W):
    squares = np.square(W).sum(1)
    return np.square(squares) / np.square(W.transpose(0, 2, 1) @ W).sum(1)


def dimensionality(case, W, options):
    ours = lambda: pf.feature_dimensionality(W, threads=options.threads)  # noqa: E731 - as short as what it does
    peers = {
        "torch, hidden × hidden (float32)": lambda: torch_narrow(W),
        "torch, Gram matrix (float32)": lambda: torch_gram(W),
        "numpy, Gram matrix (float32)": lambda: numpy_gram(W),
    }
    contenders = {"phaseflow (float64)": ours, **peers}
    seconds = interleave(contenders | {"limit: read all bytes": read_limit(W, options.threads)}, options.rounds)
    for name, function in peers.items():
        np.testing.assert_allclose(function(), ours(), rtol=1e-3, err_msg=name)
    return compare(case, seconds, "phaseflow (float64)")


def torch_measures(W):
    """The four measures of every feature and the pairs that are not orthogonal; no components, no names."""
    tensor = torch.from_numpy(W)
    squares = tensor.square().sum(1)
    outer = tensor @ tensor.mT
    shared = (tensor * (outer @ tensor)).sum(1) / squares
    leverage = (tensor * torch.linalg.solve(outer, tensor)).sum(1)
    unit = tensor / squares.sqrt()[:, None]
    joined = (unit.mT @ unit).abs() > 0.2
    return squares.sqrt(), squares / shared, shared - squares, leverage, joined


def everything(case, W, options):
    """No peer finds components or names figures; what it takes to begin with that stands beside it."""
    contenders = {
        "phaseflow": lambda: pf.feature_geometry(W, threads=options.threads),
        "torch, measures and pairs alone (float32)": lambda: torch_measures(W),
        "numpy, Gram matrix alone (float32)": lambda: numpy_gram(W),
    }
    seconds = interleave(contenders, options.rounds)
    table = pf.feature_geometry(W)
    for name, values in zip(("norm", "dimensionality", "interference", "leverage"), torch_measures(W), strict=False):
        np.testing.assert_allclose(values.numpy().ravel(), table[name].to_numpy(), rtol=1e-2, err_msg=name)
    return compare(case, seconds, "phaseflow")


if __name__ == "__main__":
    main()
