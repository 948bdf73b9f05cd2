"""How soon Ctrl-C ends each long call of the changepoint functions, and what memory a call takes.

python benches/interrupts.py                       # three minutes
python benches/interrupts.py --only constants --after 20

Each call runs in a process of its own, which gets a SIGINT so many seconds after the call began, as from a terminal.
One that is done before that says how long it took. Memory: the peak over what the process held before the call, in
bytes a number of the input.
"""

import argparse
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
from _timing import write_record

import phaseflow as pf
from phaseflow.exceptions import PhaseflowError

COSTS = ("l2", "l1", "biweight", "normal", "variance", "poisson", "linear", "clinear", "ar", "rank", "cosine", "rbf")
MILLION, LONG = 1_000_000, 100_000


def constants(cost):
    y = np.full(MILLION, 3.0)
    return y, lambda: pf.detect(y, cost=cost)


def jump(cost):
    y = np.where(np.arange(MILLION) < MILLION // 2, 3.0, 7.0)
    return y, lambda: pf.detect(y, cost=cost)


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).standard_normal(n_samples)


def noisy(cost, search="auto", n_samples=LONG, **options):
    y = noise(n_samples)
    y = np.floor(np.abs(3 * y)) if cost == "poisson" else y
    return y, lambda: pf.detect(y, cost=cost, search=search, **options)


def missing():
    y = np.full(MILLION, np.nan)
    return y, lambda: pf.detect(y)


def after(cost, what, n_samples, count):
    """What is asked of a segmentation once it is found."""
    y = noise(n_samples) + 5 * (np.arange(n_samples) >= n_samples // 2)
    y = np.floor(np.abs(3 * y)) if cost == "poisson" else y
    found = pf.detect(y, cost=cost, search="binseg" if cost not in ("clinear", "biweight") else "auto",
                      **({"n_changepoints": count} if cost not in ("clinear", "biweight") else {}))  # fmt: skip
    return y, lambda: what(found)


def online(model):
    y = noise(LONG)

    def updates():
        detector = pf.OnlineDetector(model)
        for x, value in enumerate(y):
            detector.update(x, value)

    return y, updates


def many(series, n_samples, **options):
    y = noise(series * n_samples).reshape(series, n_samples)
    return y, lambda: pf.detect_many(y, **options)


def windows(series, n_samples):
    y = noise(series * n_samples).reshape(series, n_samples)
    return y, lambda: pf.detect_windows(y if series > 1 else y[0], x=np.arange(1.0, n_samples + 1))


def bumps(n_samples):
    y = noise(n_samples)
    return y, lambda: pf.non_convexity(y, x=np.arange(1.0, n_samples + 1))


def path(cost, n_samples):
    y = noise(n_samples)
    return y, lambda: pf.detect_path(y, cost=cost)


def posterior(n_samples):
    y = noise(n_samples)
    return y, lambda: pf.run_length_posterior(y)


CASES = {
    **{f"a million constants, {cost}": (constants, cost) for cost in COSTS},
    **{f"a million with one jump, {cost}": (jump, cost) for cost in COSTS},
    "a million missing": (missing,),
    **{f"noise, {cost}": (noisy, cost) for cost in COSTS},
    "noise, multivariate normal": (lambda: (y := noise(3 * LONG).reshape(-1, 3), lambda: pf.detect(y, cost="normal")),),
    **{f"noise, {cost}, optimal": (noisy, cost, "optimal") for cost in ("l2", "l1", "normal", "linear", "ar")},
    **{
        f"noise, {cost}, {search}": (noisy, cost, search, MILLION)
        for search in ("binseg", "bottom-up", "seeded", "window")
        for cost in ("l2", "l1", "normal", "linear", "ar")
    },
    "noise, l2, 50 changepoints": (lambda: noisy("l2", n_changepoints=50),),
    "noise, clinear, 5 changepoints": (lambda: noisy("clinear", n_changepoints=5),),
    "noise, l2, shape": (lambda: noisy("l2", n_samples=MILLION, shape="up-down"),),
    "detect_many, pelt": (lambda: many(100_000, 100, cost="normal"),),
    "detect_many, single": (lambda: many(100_000, 100, search="single"),),
    "detect_many, single, long": (lambda: many(4, MILLION, search="single"),),
    "detect_many, long series": (lambda: many(4, LONG, cost="normal"),),
    "detect_windows, 10,000 samples": (windows, 1, 10_000),
    "detect_windows, 1,000 series": (windows, 1_000, 300),
    "non_convexity, 10,000 samples": (bumps, 10_000),
    "non_convexity, 100,000 samples": (bumps, LONG),
    "detect_path, l2": (path, "l2", LONG),
    "detect_path, normal": (path, "normal", LONG),
    **{f"p-values, {cost}": (after, cost, lambda found: found.p_values, 20_000, 1) for cost in COSTS if cost != "rbf"},
    "p-values, l2, long": (after, "l2", lambda found: found.p_values, MILLION, 3),
    **{f"places, {cost}": (after, cost, lambda found: found.places, MILLION, 3)
       for cost in COSTS if cost not in ("rbf", "clinear", "biweight")},
    "effects, linear": (after, "linear", lambda found: found.effects(), MILLION, 3),
    "effects, ar": (after, "ar", lambda found: found.effects(), MILLION, 3),
    **{f"OnlineDetector, {model}": (online, model) for model in ("normal", "autoregressive", "student")},
    "run_length_posterior": (posterior, 20_000),
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--after", type=float, default=0.5, help="seconds from the call to the interrupt")
    parser.add_argument("--only", default="", help="a regular expression of the names of the cases to run")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        call(options.case)
        return
    print(__doc__)
    print("| call | done in | interrupted after | bytes a number |\n|---|---|---|---|")
    cases = [measure(name, options.after) for name in CASES if re.search(options.only, name)]
    latest = max((case["interrupted_ms"], case["call"]) for case in cases if case["interrupted_ms"] is not None)
    print(f"\nlatest: {latest[0]:.0f} ms, {latest[1]}")
    if not options.only:
        write_record("interrupts", cases)


def call(name):
    make, *arguments = CASES[name]
    data, run = make(*arguments)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("begins", flush=True)
    start = time.monotonic()
    try:
        run()
        outcome = "done"
    except KeyboardInterrupt:
        outcome = "interrupted"
    except PhaseflowError:
        outcome = "refused"
    end = time.monotonic()
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / data.size
    print(outcome, start, end, grown, flush=True)


def measure(name, after):
    command = [sys.executable, __file__, "--case", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        try:
            process.wait(after)
            sent = None
        except subprocess.TimeoutExpired:
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
        outcome, start, end, grown = (process.stdout.read().split() + [None] * 4)[:4]
    seconds = float(end) - float(start)
    late = 1e3 * (float(end) - sent) if outcome == "interrupted" else None
    case = {"call": name, "outcome": outcome, "seconds": round(seconds, 3), "bytes": round(float(grown), 1)}
    case["interrupted_ms"] = None if late is None else round(late, 1)
    done = f"{seconds:.2f} s" if outcome == "done" else "refused" if outcome == "refused" else f"more than {after:g} s"
    print(f"| {name} | {done} | {'' if late is None else f'{late:.0f} ms'} | {float(grown):.0f} |", flush=True)
    return case


if __name__ == "__main__":
    main()
