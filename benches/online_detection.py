"""How often the online detector is wrong, and how late it is right: simulated series, the defaults.

python benches/online_detection.py             # about a minute
python benches/online_detection.py --series 20

False alarms: series of 1000 samples without a change, as each model takes them, and with independent, heavy-tailed and
autocorrelated noise. Steps:
of several sizes, in standard deviations of the noise, after 100 of 160 samples; median delay and mean distance.
"""

import argparse
import time

import numpy as np
from _timing import write_record

import phaseflow as pf

NOISES = {
    "independent normal": (0.0, None),
    "Student t, 5": (0.0, 5),
    "AR(1) 0.3": (0.3, None),
    "AR(1) 0.6": (0.6, None),
}
OWN = {
    **dict.fromkeys(("normal", "student", "autoregressive", "linear"), lambda random: random.normal(0, 1, 1000)),
    "poisson": lambda random: random.poisson(5.0, 1000).astype(float),
    "bernoulli": lambda random: (random.random(1000) < 0.3).astype(float),
}
SIZES = (1.0, 2.0, 3.0, 5.0, 10.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100, help="simulated series of each kind")
    parser.add_argument("--record", default="online_detection", help="name of the file under benches/record")
    options = parser.parse_args()
    cases = [own_noise(options.series), false_alarms(options.series), steps(options.series), speed()]
    write_record(options.record, cases)


def noise(random, n_samples, rho=0.0, freedom=None):
    """Of variance 1."""
    new = random.normal(0, 1, n_samples) if freedom is None else random.standard_t(freedom, n_samples)
    new = new if freedom is None else new * np.sqrt(1 - 2 / freedom)
    for index in range(1, n_samples):
        new[index] = rho * new[index - 1] + np.sqrt(1 - rho**2) * new[index]
    return new


def announced(y, observation="normal"):
    detector = pf.OnlineDetector(observation)
    return [change for x, value in enumerate(y) if (change := detector.update(x, value))]


def own_noise(n_series):
    print(
        f"\nof {n_series} series of 1000 samples as each model takes them, without a change, those with an announcement"
    )
    rows = {}
    for model, draw in OWN.items():
        rows[model] = sum(bool(announced(draw(np.random.default_rng(seed)), model)) for seed in range(n_series))
        print(f"  {model:20s} {rows[model]:6d}")
    return {"case": "own noise", "series": n_series, "samples": 1000, "series with an announcement": rows}


def false_alarms(n_series):
    print(f"\nannouncements in {n_series} series of 1000 samples without a change, and how many series have one")
    print(f"  {'noise':20s} {'normal':>12s} {'autoregressive':>18s} {'student':>12s}")
    rows = {}
    for name, (rho, freedom) in NOISES.items():
        series = [noise(np.random.default_rng(seed), 1000, rho, freedom) for seed in range(n_series)]
        counts = {
            model: [len(announced(y, model)) for y in series] for model in ("normal", "autoregressive", "student")
        }
        rows[name] = {model: [sum(found), int(np.count_nonzero(found))] for model, found in counts.items()}
        cells = [f"{alarms:6d} in {with_one:3d}" for alarms, with_one in rows[name].values()]
        print(f"  {name:20s} {cells[0]:>12s} {cells[1]:>18s} {cells[2]:>12s}")
    return {"case": "false alarms", "series": n_series, "samples": 1000, "announcements, series with one": rows}


def steps(n_series):
    print(f"\na step after 100 of 160 samples, {n_series} series")
    print("  size   found   samples until noticed   samples off   in its interval")
    rows = {}
    for size in SIZES:
        near = []
        for seed in range(n_series):
            y = noise(np.random.default_rng(seed), 160) + size * (np.arange(160) >= 100)
            near += [change for change in announced(y) if abs(change.began - 100) <= 20][:1]
        delay = float(np.median([change.noticed - 99 for change in near])) if near else None
        off = float(np.mean([abs(change.began - 100) for change in near])) if near else None
        inside = sum(change.lower <= 100 <= change.upper for change in near)
        rows[str(size)] = {"found": len(near), "delay": delay, "off": off, "inside": inside}
        print(f"  {size:4.0f} {len(near):7d} {delay or np.nan:23.0f} {off or 0.0:13.2f} {inside:17d}")
    return {"case": "steps", "series": n_series, "found": rows}


def speed():
    y = noise(np.random.default_rng(0), 5_000)
    detector = pf.OnlineDetector()
    start = time.perf_counter()
    for x, value in enumerate(y):
        detector.update(x, value)
    microseconds = 1e6 * (time.perf_counter() - start) / len(y)
    print(f"\none sample, over {len(y):,}: {microseconds:.0f} µs")
    return {"case": "one sample", "microseconds": round(microseconds, 1)}


if __name__ == "__main__":
    main()
