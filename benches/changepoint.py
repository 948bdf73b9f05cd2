"""Changepoint searches beside ruptures: the same cost, penalty and grid, and the same or a lower total cost.

python benches/changepoint.py                  # to 1e6 samples, 10,000 series of 200, 20,000 curves of 200
python benches/changepoint.py --scale 0.05 --rounds 3

ruptures takes minutes where the others take milliseconds, so it runs once a round on as much as it can do in a second,
and its time is scaled to the case by the number of series; for one long series it runs only up to --peer-samples.
fastcpd, ruptures-rs, rustures, changeforest and skchange take part where they are installed (benches/peers.txt); what
is quick enough runs on more samples than ruptures.
"""

import argparse
import os
import time
from itertools import pairwise

import _changepoint_peers as peers
import numpy as np
import ruptures
from _timing import compare, interleave, write_record

import phaseflow as pf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="all sizes are multiplied by it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peer-samples", type=int, default=2_000, help="longest series given to ruptures")
    parser.add_argument("--record", default="changepoint", help="name of the file under benches/record")
    options = parser.parse_args()
    cases = [levels(round(options.scale * n), options) for n in (1e4, 1e5, 1e6)]
    cases += [lines(round(options.scale * 2e3), options)]
    cases += [other("normal", round(options.scale * n), options) for n in (2e3, 1e4)]
    cases += [other("rank", round(options.scale * 2e3), options)]
    cases += [other("rbf", round(options.scale * n), options) for n in (2e3, 1e4)]
    cases += [greedy(round(options.scale * n), options) for n in (2e3, 1e6)]
    cases += [many(round(options.scale * 1e4), 200, options)]
    cases += [single(round(options.scale * 1e6), 200, dtype, options) for dtype in ("float32", "float16")]
    cases += [windows(round(options.scale * 2e4), 200, options)]
    write_record(options.record, cases)


def steps(n_samples, n_segments, seed=0):
    random = np.random.default_rng(seed)
    levels = random.normal(0, 3, n_segments)[np.arange(n_samples) * n_segments // n_samples]
    return levels + random.normal(0, 1, n_samples)


def total(y, cuts, penalty):
    """What a segmentation into levels costs."""
    bounds = [0, *cuts, len(y)]
    parts = (y[start:end] for start, end in pairwise(bounds))
    return sum(((part - part.mean()) ** 2).sum() for part in parts) + penalty * len(cuts)


def levels(n_samples, options):
    """One series of ten levels, cost l2."""
    y, penalty = steps(n_samples, 10), 2 * np.log(n_samples)
    contenders = {"phaseflow functional": lambda: pf.detect(y, penalty=penalty).changepoints}
    if n_samples <= 1e4:
        contenders["phaseflow pelt"] = lambda: pf.detect(y, penalty=penalty, search="pelt").changepoints
    if n_samples <= options.peer_samples:
        contenders["ruptures Pelt"] = lambda: (
            ruptures.Pelt(model="l2", min_size=1, jump=1).fit(y).predict(pen=penalty)[:-1]
        )
        contenders["ruptures KernelCPD linear"] = lambda: (
            ruptures.KernelCPD(kernel="linear", min_size=1).fit(y).predict(pen=penalty)[:-1]
        )
    contenders |= peers.levels(y, penalty, options.peer_samples)
    seconds = interleave(contenders, options.rounds)
    costs = {name: total(y, contender(), penalty) for name, contender in contenders.items()}
    best = min(costs.values())
    assert costs["phaseflow functional"] <= best * (1 + 1e-9), costs
    return compare(f"l2, one series of {n_samples:,} samples", seconds, "phaseflow functional")


def lines(n_samples, options):
    """One series of ten lines, cost linear."""
    x = np.linspace(0, 1, n_samples)
    y, penalty = np.cumsum(steps(n_samples, 10)) / 30 + steps(n_samples, 1, 1), 3 * np.log(n_samples)
    contenders = {"phaseflow": lambda: pf.detect(y, x=x, cost="linear", penalty=penalty, min_size=3).changepoints}
    if n_samples <= options.peer_samples:
        design = np.stack([y, x, np.ones_like(x)], axis=1)
        contenders["ruptures Pelt, jump=5"] = lambda: (
            ruptures.Pelt(model="linear", min_size=3, jump=5).fit(design).predict(pen=penalty)[:-1]
        )
        contenders |= peers.lines(design, penalty, options.peer_samples)
    seconds = interleave(contenders, options.rounds)
    return compare(f"linear, one series of {n_samples:,} samples", seconds, "phaseflow")


def other(cost, n_samples, options):
    """One series of ten levels, another cost; what is not exact or has a penalty of its own need not agree."""
    y = steps(n_samples, 10)
    penalty = {"normal": 3 * np.log(n_samples), "rank": 2 * np.log(n_samples), "rbf": 0.5 * np.log(n_samples)}[cost]
    contenders = {"phaseflow": lambda: pf.detect(y, cost=cost, penalty=penalty, min_size=2).changepoints}
    if n_samples <= options.peer_samples and cost == "rbf":
        contenders["ruptures KernelCPD"] = lambda: (
            ruptures.KernelCPD(kernel="rbf", min_size=2).fit(y).predict(pen=penalty)[:-1]
        )
    elif n_samples <= options.peer_samples:
        params = {"add_small_diag": False} if cost == "normal" else None
        contenders["ruptures Pelt, jump=5"] = lambda: (
            ruptures.Pelt(model=cost, params=params, min_size=2, jump=5).fit(y).predict(pen=penalty)[:-1]
        )
    contenders |= peers.other(y, cost, penalty, options.peer_samples)
    free = peers.otherwise(y, cost)
    seconds = interleave(contenders | free, options.rounds)
    same_answer = {name: contender() for name, contender in contenders.items() if "jump" not in name}
    if cost != "rbf":
        assert all(list(found) == same_answer["phaseflow"].tolist() for found in same_answer.values()), same_answer
    case = compare(f"{cost}, one series of {n_samples:,} samples", seconds, "phaseflow")
    if cost == "normal":
        found = {name: contender() for name, contender in (contenders | free).items()}
        case["total cost"] = {
            name: round(log_variances(y, cuts) + penalty * len(cuts), 3)
            for name, cuts in found.items()
            if min(np.diff([0, *cuts, n_samples])) > 1  # a single sample has no variance, and its logarithm no end
        }
        print("  total cost: " + ", ".join(f"{name} {value}" for name, value in case["total cost"].items()))
        assert case["total cost"]["phaseflow"] <= min(case["total cost"].values()) + 1e-3  # the floor under a variance
    return case


def log_variances(y, cuts):
    """What a segmentation costs at cost normal."""
    parts = (y[start:end] for start, end in pairwise([0, *cuts, len(y)]))
    return sum(len(part) * np.log(part.var()) for part in parts)


def greedy(n_samples, options):
    """Binary segmentation, cost l2: the same changepoints."""
    y, penalty = steps(n_samples, 10), 2 * np.log(n_samples)
    contenders = {"phaseflow": lambda: pf.detect(y, search="binseg", penalty=penalty, min_size=2).changepoints.tolist()}
    if n_samples <= options.peer_samples:
        contenders["ruptures Binseg"] = lambda: (
            ruptures.Binseg(model="l2", min_size=2, jump=1).fit(y).predict(pen=penalty)[:-1]
        )
    contenders |= peers.greedy(y, penalty)
    seconds = interleave(contenders | peers.greedy_otherwise(y), options.rounds)
    assert len({tuple(contender()) for contender in contenders.values()}) == 1
    return compare(f"binary segmentation, l2, {n_samples:,} samples", seconds, "phaseflow")


def many(n_series, n_samples, options):
    """Many series of two levels each; ruptures does one in a hundred."""
    y = np.stack([steps(n_samples, 2, seed) for seed in range(n_series)])
    penalty = 2 * np.log(n_samples)
    few = y[:: max(1, n_series // 100)]

    def kernel():
        return [ruptures.KernelCPD(kernel="linear", min_size=1).fit(row).predict(pen=penalty)[:-1] for row in few]

    contenders = {
        "phaseflow": lambda: pf.detect_many(y, penalty=penalty, threads=options.threads),
        "phaseflow, bic": lambda: pf.detect_many(y, penalty="bic", threads=options.threads),
        "ruptures KernelCPD linear, scaled up": kernel,
    }
    loops = peers.many(y, penalty)
    seconds = interleave(contenders | loops, options.rounds)
    scaled = "ruptures KernelCPD linear, scaled up"
    seconds[scaled] = [time * n_series / len(few) for time in seconds[scaled]]
    found = dict(contenders["phaseflow"]().group_by("series").agg("changepoint").iter_rows())
    for index, theirs in zip(range(0, n_series, max(1, n_series // 100)), kernel(), strict=True):
        mine, theirs = (total(y[index], cuts, penalty) for cuts in (sorted(found.get(index, [])), theirs))
        assert mine <= theirs * (1 + 1e-9), (index, mine, theirs)
    for name, loop in loops.items():
        assert loop() == [sorted(found.get(index, [])) for index in range(n_series)], name
    return compare(f"l2, {n_series:,} series of {n_samples}", seconds, "phaseflow")


def single(n_series, n_samples, dtype, options):
    """The clearest drop of each of very many series that lie step by step, as an archive holds them."""
    random = np.random.default_rng(0)
    y = random.standard_normal((n_samples, n_series), dtype=np.float32).astype(dtype).T

    def numpy_sums():
        """As many series at a time as fit the cache; without p-values."""
        count = np.arange(1, n_samples)[:, None]
        places = []
        for start in range(0, n_series, 2_000):
            block = y[start : start + 2_000].T.astype(np.float64)
            block -= block.mean(0)
            excess = np.maximum(block[:-1].cumsum(0), 0)
            places.append((excess**2 / (count * (n_samples - count))).argmax(0) + 1)
        return np.concatenate(places)

    contenders = {
        "phaseflow": lambda: pf.detect_many(y, search="single", direction="down", threads=options.threads),
        "numpy cumulative sums": numpy_sums,
    }
    seconds = interleave(contenders, options.rounds)
    found = contenders["phaseflow"]()
    theirs = numpy_sums()[found["series"].to_numpy()]
    assert np.mean(found["changepoint"].to_numpy() == theirs) > 0.9999
    return compare(f"clearest drop, {n_series:,} series of {n_samples}, {dtype}", seconds, "phaseflow")


def windows(n_series, n_samples, options):
    """The window detector over a panel: first with its thresholds to be simulated, then with those it has.

    No other tool has one. Beside it a single scan in numba, of one base and one known noise, without thresholds,
    estimation or intervals: what the search alone must cost.
    """
    x = np.logspace(1, 4, n_samples)
    y = x**-0.3 + np.random.default_rng(0).normal(0, 0.02, (n_series, n_samples))
    name = "phaseflow, thresholds kept"
    contenders = {name: lambda: pf.detect_windows(y, x=x, threads=options.threads)}
    started = time.perf_counter()
    contenders[name]()
    first = time.perf_counter() - started
    contenders |= peers.window_scan(y, np.log10(x))
    seconds = interleave(contenders, max(3, options.rounds // 2))
    seconds["phaseflow, thresholds simulated"] = [first]
    return compare(f"windows, {n_series:,} series of {n_samples}", seconds, name)


if __name__ == "__main__":
    main()
