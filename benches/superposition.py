"""Feature dimensionality of many snapshots of W, beside batched numpy and torch.

python benches/superposition.py                  # 1e5 snapshots of 30 × 400, in batches: 4.8 GB in all
python benches/superposition.py --snapshots 500 --rounds 2
"""

import argparse

import numpy as np
import torch
from _timing import compare, interleave, read_limit, write_record

import phaseflow as pf

BATCH = 2000  # snapshots held at once: 96 MB


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshots", type=int, default=100_000)
    parser.add_argument("--hidden", type=int, default=30)
    parser.add_argument("--features", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--record", default="superposition", help="name of the file under benches/record")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    count = min(BATCH, options.snapshots)
    W = np.random.default_rng(0).normal(size=(count, options.hidden, options.features)).astype(np.float32)
    repeats = -(-options.snapshots // count)
    shape = f"{repeats * count} snapshots of {options.hidden} × {options.features}"
    write_record(
        options.record,
        [
            dimensionality(f"feature dimensionality, {shape}", W, repeats, options),
            everything(f"measures and named figures of every feature, {shape}", W, repeats, options),
        ],
    )


def again(function, repeats):
    """The same batch as often as it takes: what it holds does not change the time."""

    def run():
        for _ in range(repeats):
            result = function()
        return result

    return run


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


def dimensionality(case, W, repeats, options):
    ours = lambda: pf.feature_dimensionality(W, threads=options.threads)  # noqa: E731 - as short as what it does
    peers = {
        "torch, hidden × hidden (float32)": lambda: torch_narrow(W),
        "torch, Gram matrix (float32)": lambda: torch_gram(W),
        "numpy, Gram matrix (float32)": lambda: numpy_gram(W),
    }
    contenders = {"phaseflow (float64)": ours, **peers}
    timed = {name: again(function, repeats) for name, function in contenders.items()}
    timed["limit: read all bytes"] = again(read_limit(W, options.threads), repeats)
    seconds = interleave(timed, options.rounds)
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


def everything(case, W, repeats, options):
    """No peer finds components or names figures; what it takes to begin with that stands beside it."""
    contenders = {
        "phaseflow": again(lambda: pf.feature_geometry(W, threads=options.threads), repeats),
        "torch, measures and pairs alone (float32)": again(lambda: torch_measures(W), repeats),
        "numpy, Gram matrix alone (float32)": again(lambda: numpy_gram(W), repeats),
    }
    seconds = interleave(contenders, options.rounds)
    table = pf.feature_geometry(W)
    for name, values in zip(("norm", "dimensionality", "interference", "leverage"), torch_measures(W), strict=False):
        np.testing.assert_allclose(values.numpy().ravel(), table[name].to_numpy(), rtol=1e-2, err_msg=name)
    return compare(case, seconds, "phaseflow")


if __name__ == "__main__":
    main()
