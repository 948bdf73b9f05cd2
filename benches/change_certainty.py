"""P-values of detect without a change, and coverage of the effects' intervals with one.

python benches/change_certainty.py        # three minutes

Size: share of signals without a change whose p-value is at most 0.05, 0.1 and 0.5. Coverage: share of the 95% intervals
of what changed that hold it, one change in the middle, the number of changes given. Then both in AR(1) noise, as
penalty "auto" tells them; of cost l2, place and size of a step of 6 long-run standard errors, beside the rules for
independent noise.
"""

import argparse

import numpy as np
from _timing import write_record

import phaseflow as pf
from phaseflow.changepoint.certainty import certainty, existence

LEVELS = (0.05, 0.1, 0.5)
COSTS = ("l1", "biweight", "normal", "variance", "poisson", "linear", "clinear", "rank", "cosine", "rbf", "ar")
# Cost: what is drawn, and the effect that is true of it.
CHANGES = {
    "normal": ("log_scale", np.log(3)),
    "variance": ("log_scale", np.log(3)),
    "poisson": ("log_rate", np.log(3)),
    "linear": ("slope", 4.0),
    "clinear": ("slope", 4.0),
    "l1": ("median", 4.0),
    "rank": ("median", 4.0),
    "l2": ("mean", 2.0),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=400, help="simulated signals a row")
    parser.add_argument("--samples", type=int, default=60)
    options = parser.parse_args()
    print(__doc__)
    cases = []
    for cost in COSTS:
        for rho in (0.0, 0.8) if cost == "ar" else (0.0,):
            cases.append(size(cost, rho, options))
            print(", ".join(f"{name} {value}" for name, value in cases[-1].items()), flush=True)
    for cost in CHANGES:
        cases.append(coverage(cost, options))
        print(", ".join(f"{name} {value}" for name, value in cases[-1].items()), flush=True)
    for cost in ("l2", "l1", "normal", "linear", "clinear", "rank"):
        for samples in (60, 200):
            for rho in (0.0, 0.5, 0.8):
                cases.append(lasting_size(cost, samples, rho, options))
                print(", ".join(f"{name} {value}" for name, value in cases[-1].items()), flush=True)
    for samples in (60, 200, 400):
        for rho in (0.0, 0.5, 0.8):
            cases.append(lasting_coverage(samples, rho, options))
            print(", ".join(f"{name} {value}" for name, value in cases[-1].items()), flush=True)
    write_record("change_certainty", cases)


def size(cost, rho, options):
    random, n = np.random.default_rng(7), options.samples
    p_values = []
    for _ in range(options.signals):
        y = random.poisson(3.0, n).astype(float) if cost == "poisson" else random.standard_t(4, n) + 5 * (rho == 0)
        for i in range(1, n if rho else 0):
            y[i] += rho * y[i - 1]
        signal = np.stack([y, random.normal(1, 1, n)], axis=1) if cost == "cosine" else y[:, None]
        p_values += existence(np.arange(float(n)), signal, np.array([n // 2]), cost, 1, 1, lasting=False).tolist()
    noise = "counts" if cost == "poisson" else f"AR(1) {rho:g} of Student t(4)" if rho else "Student t(4)"
    shares = {f"p at most {level:g}": round(float(np.mean(np.array(p_values) <= level)), 4) for level in LEVELS}
    return {"cost": cost, "noise": noise, "signals": options.signals} | shares


def autoregressive(rho, n, random):
    """AR(1) noise of variance 1."""
    y = random.normal(0, 1, n + 100)
    for i in range(1, len(y)):
        y[i] = rho * y[i - 1] + np.sqrt(1 - rho**2) * y[i]
    return y[100:]


def lasting_size(cost, n, rho, options):
    random, p_values = np.random.default_rng(5), []
    for _ in range(options.signals):
        y, place = autoregressive(rho, n, random)[:, None], np.array([n // 2])
        p_values += existence(np.arange(float(n)), y, place, cost, 1, 1, lasting=True).tolist()
    shares = {f"p at most {level:g}": round(float(np.mean(np.array(p_values) <= level)), 4) for level in LEVELS}
    return {"cost": cost, "noise": f"AR(1) {rho:g}", "samples": n, "signals": options.signals} | shares


def lasting_coverage(n, rho, options):
    random, held = np.random.default_rng(6), np.zeros(4)
    step = 6 * np.sqrt((1 + rho) / (1 - rho) * 4 / n)
    for _ in range(options.signals):
        y = autoregressive(rho, n, random) + step * (np.arange(n) >= n // 2)
        found = pf.detect(y, n_changepoints=1)
        shown = pf.detect(y).autocorrelation or 0.0
        for column, coefficient in enumerate((shown, 0.0)):
            sure = certainty(found.x, found.signal, found.changepoints, "l2", 1, 1, 0.95, coefficient)
            (first, last), (lower, upper) = sure.places[0], sure.size_intervals[0, 0]
            held[2 * column : 2 * column + 2] += first <= n // 2 <= last, lower <= step <= upper
    names = ("place", "size", "place, independent", "size, independent")
    shares = dict(zip(names, np.round(held / options.signals, 3).tolist(), strict=True))
    return {"cost": "l2", "noise": f"AR(1) {rho:g}", "samples": n, "signals": options.signals} | shares


def coverage(cost, options):
    random, n = np.random.default_rng(11), options.samples
    name, true = CHANGES[cost]
    held = 0
    for _ in range(options.signals):
        y = drawn(cost, n, random)
        min_size = 1 if cost in ("clinear", "l2") else 5
        found = pf.detect(y, x=np.arange(n) / 10, cost=cost, n_changepoints=1, min_size=min_size).effects()
        row = next(row for row in found.iter_rows(named=True) if row["effect"] == name)
        held += row["size_lower"] <= true <= row["size_upper"]
    return {"cost": cost, "effect": name, "signals": options.signals, "covered": round(held / options.signals, 4)}


def drawn(cost, n, random):
    late = np.arange(n) >= n // 2
    if cost in ("normal", "variance"):
        return random.normal(0, np.where(late, 3.0, 1.0))
    if cost == "poisson":
        return random.poisson(np.where(late, 6.0, 2.0)).astype(float)
    if cost in ("linear", "clinear"):
        x = np.arange(n) / 10
        bend = 4 * np.clip(x - x[n // 2], 0, None)
        return x + bend + (5 * late if cost == "linear" else 0) + random.normal(0, 1, n)
    return random.normal(0, 1, n) + 2 * late if cost == "l2" else random.standard_t(3, n) + 4 * late


if __name__ == "__main__":
    main()
