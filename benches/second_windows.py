"""How often detect_windows finds a second window beside a true one, where there is none, and both where there are two.

python benches/second_windows.py        # two minutes

Smooth curves of window_calibration.py with a drop over 0.3 decades in the middle, of a form the detector has: share of
curves with two windows or more, at level 0.05 and the defaults; in even noise also with variance=None. The same for a
drop of a form it lacks, which begins at once and ends like a relaxation. Then curves with two drops: share in which
both are found.
"""

import argparse
from itertools import product

import numpy as np
import polars as pl
from _timing import write_record
from window_calibration import GRIDS, NOISE, SMOOTH, START, WIDTH

import phaseflow as pf

SETTINGS = ((30, "log-spaced"), (95, "mixed"), (120, "log-spaced"), (120, "uniform"))
NOISES = ("independent", "AR(1) 0.8", "with the level")
FORMS = {"ramp": lambda z: np.clip(z, 0, 1), "logistic": lambda z: 1 / (1 + np.exp(-4 * (z - 0.5)))}
LACKING = {"relaxation": lambda z: 1 - np.exp(-3 * np.maximum(z, 0))}
PAIRS = ((40, 5), (40, 10), (40, 20))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=100, help="simulated curves a row")
    parser.add_argument("--heights", type=float, nargs="+", default=[40, 200], help="drops, in standard deviations")
    options = parser.parse_args()
    print(__doc__)
    cases = []
    for (samples, grid), noise in product(SETTINGS, NOISES):
        x = GRIDS[grid](samples)
        case = {"samples": samples, "grid": grid, "noise": noise, "curves": options.curves}
        cases.append(
            case
            | sizes(x, noise, options, FORMS, "one")
            | sizes(x, noise, options, LACKING, "a relaxation")
            | {f"both of {a}, {b}": both(x, noise, a, b, options) for a, b in PAIRS}
        )
        print(", ".join(f"{name} {value}" for name, value in cases[-1].items()), flush=True)
    write_record("second_windows", cases)


def places(x, at):
    """Of a drop that starts at a part of the decades covered: 0 at its start, 1 at its end."""
    u = np.log10(x)
    return (u - u[0] - at * (u[-1] - u[0])) / WIDTH


def sizes(x, noise, options, forms, title):
    shares = {"auto": [], None: []}
    for smooth, form, height in product(("power law", "power and exponential"), forms.values(), options.heights):
        level = np.broadcast_to(SMOOTH[smooth](x) + height * (1 - form(places(x, START))), (options.curves, len(x)))
        curves = level + NOISE[noise](np.random.default_rng(1), level)
        for variance in ("auto",) if noise == "with the level" else ("auto", None):
            found = pf.detect_windows(curves, x=x, variance=variance)["series"].value_counts()
            shares[variance].append((found["count"] > 1).sum() / options.curves)
    words = {"auto": "", None: ", variance None"}
    return {
        f"two of {title}{words[variance]}, {name}": round(float(function(values)), 4)
        for variance, values in shares.items()
        for name, function in (("mean", np.mean), ("most", np.max))
        if values
    }


def both(x, noise, first, second, options):
    steps = [height * (1 - np.clip(places(x, at), 0, 1)) for height, at in ((first, 0.35), (second, 0.7))]
    level = np.broadcast_to(SMOOTH["power law"](x) + sum(steps), (options.curves, len(x)))
    found = pf.detect_windows(level + NOISE[noise](np.random.default_rng(2), level), x=x).filter(pl.col("size") < 0)
    hits = []
    for at in (0.35, 0.7):
        inside = x[(places(x, at) > 0) & (places(x, at) < 1)]
        hits.append(set(found.filter((pl.col("start") < inside[-1]) & (pl.col("end") > inside[0]))["series"]))
    return round(len(hits[0] & hits[1]) / options.curves, 4)


if __name__ == "__main__":
    main()
