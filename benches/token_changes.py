"""Breaks of single tokens: time and memory on step-major files, error rate and power on planted data.

python benches/token_changes.py                                 # 200 checkpoints of 2 million tokens, float16: 0.8 GB
python benches/token_changes.py --checkpoints 100 --examples 256 --rounds 3
python benches/token_changes.py --calibrate 12                  # instead: how often it errs, over 12 seeds a case
"""

import argparse
import resource
import shutil
import tempfile
from pathlib import Path

import numpy as np
import ruptures
from _timing import compare, interleave, read_limit, write_record

import phaseflow as pf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=200)
    parser.add_argument("--examples", type=int, default=2048)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=int, default=200, help="tokens that the peer searches; its time is scaled up")
    parser.add_argument("--folder", type=Path, default=None, help="where the archive is written; a temporary folder")
    parser.add_argument("--calibrate", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--record", default="token_changes", help="name of the file under benches/record")
    options = parser.parse_args()
    if options.calibrate:
        calibrate(options.calibrate)
        return
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        write_record(options.record, [from_files(folder, options)])
    finally:
        shutil.rmtree(folder)


def from_files(folder, options):
    steps = np.unique(np.round(np.geomspace(10, 10_000, options.checkpoints * 2)).astype(int))
    steps = steps[np.linspace(0, len(steps) - 1, options.checkpoints).astype(int)]
    shape = options.examples, options.context
    rng = np.random.default_rng(0)
    level = rng.uniform(0.5, 6, shape).astype(np.float32)
    dropping = rng.integers(0, 100, shape) == 0
    at = rng.choice(steps[20:-20], shape)
    tokens = np.zeros((options.examples, options.context + 1), int)
    with pf.Recorder(folder / "run", probes={"text": pf.Probe(tokens)}) as recorder:
        for step in steps:
            losses = level + 4 * step**-0.5 + rng.normal(0, 0.3, shape).astype(np.float32)
            losses -= np.minimum(2.0, losses) * (dropping & (step > at))
            recorder.log(int(step), per_token_loss={"text": np.maximum(losses, 0).astype(np.float16)})
    run = pf.open(folder).runs[0]

    def from_archive():
        for kept in folder.rglob("derived"):
            shutil.rmtree(kept)
        return pf.open(folder).token_changes()

    def read():
        for step in run.steps:
            tensor = np.asarray(run.tensor(step, "loss/text"))
            read_limit(tensor, 2)()

    def peer():
        """ruptures' PELT, token by token, on a few of them."""
        few = np.stack([np.asarray(run.tensor(step, "loss/text"))[0, : options.peers] for step in run.steps])
        for series in few.T.astype(float):
            ruptures.Pelt(model="l2", jump=1, min_size=5).fit_predict(series, 3.0)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = from_archive()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{found.height} breaks of {level.size} tokens; peak memory {peak / 1e6:.2f} GB, {before / 1e6:.2f} before")
    true = dropping[found["example"].to_numpy(), found["token_index"].to_numpy() - 1]
    assert true.mean() > 0.85, true.mean()
    assert true.sum() > 0.5 * dropping.sum()
    names = ("phaseflow", "limit: read all bytes", f"ruptures PELT, {options.peers} tokens only")
    seconds = interleave(dict(zip(names, (from_archive, read, peer), strict=True)), options.rounds)
    case = compare(f"{options.checkpoints} checkpoints × {level.size} tokens, float16 files", seconds, "phaseflow")
    return case | {"breaks": found.height, "peak_memory_gb": round(peak / 1e6, 3)}


def calibrate(seeds):
    """False-discovery proportion and power: 5,000 tokens on 70 checkpoints, 1% drop, each at a step of its own."""
    steps = np.unique(np.round(np.geomspace(10, 10_000, 70))).astype(float)
    gaps = np.sqrt(np.diff(np.log10(steps), prepend=np.log10(steps[0])))[:, None]
    print("wander, drop (noise variances a decade, noise deviations): false share, power, size at .05, size at .01")
    for wander in (0.0, 0.25, 4.0, 36.0):
        for drop in (3.0, 6.0):
            rows = [one_set(seed, steps, gaps, wander, drop) for seed in range(seeds)]
            print(f"{wander:6g} {drop:4g}   " + "  ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)))
    print("no wander, drops of six deviations, noise of other kinds than the test takes it for: the same numbers")
    for kind in KINDS:
        rows = [one_set(seed, steps, gaps, 0.0, 6.0, kind=kind) for seed in range(seeds)]
        print(f"{kind:40s}" + "  ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)))


def changing(first, last):
    """Deviations that change linearly from the first checkpoint to the last."""
    return lambda rng, shape: rng.normal(size=shape) * np.linspace(first, last, shape[0])[:, None]


def autoregressive(rng, shape):
    noise = rng.normal(size=shape)
    for at in range(1, shape[0]):
        noise[at] = 0.5 * noise[at - 1] + np.sqrt(0.75) * noise[at]
    return noise


KINDS = {
    "normal": changing(1, 1),
    "Student's t, 5 degrees of freedom": lambda rng, shape: rng.standard_t(5, shape) / np.sqrt(5 / 3),
    "Student's t, 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "AR(1) 0.5 from checkpoint to checkpoint": autoregressive,
    "grows by half": changing(0.8, 1.2),
    "grows threefold": changing(0.5, 1.5),
    "shrinks by a third": changing(1.2, 0.8),
    "shrinks threefold": changing(1.5, 0.5),
}


def one_set(seed, steps, gaps, wander, drop, n=5000, noise=0.3, kind="normal"):
    rng = np.random.default_rng(seed)
    odds = rng.uniform(0, 5, n) + rng.uniform(0, 3, n) * (steps[:, None] / steps[0]) ** -rng.choice([0.25, 0.5], n)
    odds += np.cumsum(gaps * rng.normal(0, np.sqrt(wander) * noise, (len(steps), n)), axis=0)
    odds += noise * KINDS[kind](rng, odds.shape)
    chosen = rng.choice(n, n // 100, replace=False)
    for token in chosen:
        odds[rng.integers(12, len(steps) - 8) :, token] -= drop * noise
    losses = np.log1p(np.maximum(np.exp(odds) - 0.001, 0))[:, None, :]
    every = pf.token_changes(losses, steps, fdr=1.0)
    token = every["token_index"].to_numpy() - 1
    true, found = np.isin(token, chosen), every["q_value"].to_numpy() <= 0.05
    p_value = every["p_value"].to_numpy()[~true]
    false_share = (found & ~true).sum() / max(found.sum(), 1)
    return false_share, (found & true).sum() / len(chosen), (p_value <= 0.05).mean(), (p_value <= 0.01).mean()


if __name__ == "__main__":
    main()
