"""Size, power, location error and interval coverage of detect_windows on simulated learning curves, beside peers.

python benches/window_calibration.py                              # the table of the documentation, a quarter of an hour
python benches/window_calibration.py --keep-peers                 # the peers' columns from the record: half of that
python benches/window_calibration.py --curves 400 --samples 30 120 1000 10000 --noise all     # hours
python benches/window_calibration.py --print                      # the table of the record, nothing is run

Size: share of smooth curves, without any window, in which one is found (nominal 0.05), at the defaults of
detect_windows, which reads the noise's variance off each curve; of noise in proportion to the level also with that
variance given, and taken for even. Power, error and coverage: a drop of some noise standard deviations over 0.3
decades on the same curves; power in independent noise also where it is taken for even, which it is. ruptures is given
the noise's true variance and BIC's penalty, skchange and changeforest (where they are installed) their defaults; they
find changepoints, not windows, so only "something is there" is compared; and where ruptures is told that there are two
changepoints, how far these lie from start and end. docs/window-calibration.md holds the table and what was learnt from
it.
"""

import argparse
import json
import warnings
from itertools import product

import numpy as np
import polars as pl
import ruptures
from _timing import RECORDS, write_record

import phaseflow as pf

try:
    import changeforest
except ImportError:
    changeforest = None
try:
    import skchange
except ImportError:
    skchange = None

START, WIDTH = 0.5, 0.3  # of the decades covered; decades


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=100, help="simulated curves a row")
    parser.add_argument("--samples", type=int, nargs="+", help="without it the table of the documentation is made")
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--smooth", nargs="+", choices=SMOOTH, default=list(SMOOTH))
    parser.add_argument(
        "--noise", nargs="+", choices=[*NOISE, "all"], default=["independent", "AR(1) 0.8", "with the level"]
    )
    parser.add_argument("--heights", type=float, nargs="+", default=[5, 10], help="drops, in standard deviations")
    parser.add_argument("--base", default="decay", help="of detect_windows")
    parser.add_argument("--level", type=float, default=0.05)
    parser.add_argument("--peer-curves", type=int, default=10, help="of them given to ruptures, up to 200 samples")
    parser.add_argument("--keep-peers", action="store_true", help="take theirs from the record, where it has them")
    parser.add_argument("--record", default="window_calibration", help="name of the file under benches/record")
    parser.add_argument("--print", action="store_true", help="the table of the record")
    options = parser.parse_args()
    if options.print:
        print_table(json.loads((RECORDS / f"{options.record}.json").read_text())["cases"])
        return
    print(__doc__)
    cases = []
    options.kept = {}
    if options.keep_peers:
        record = json.loads((RECORDS / f"{options.record}.json").read_text())["cases"]
        options.kept = {tuple(case[name] for name in SETTING): peers_of(case) for case in record}
    for n_samples, spacing, smooth, noise, curves in settings(options):
        options.curves, options.grid = curves, spacing
        setting = dict(zip(SETTING, (n_samples, spacing, smooth, noise), strict=True)) | {"curves": curves}
        cases.append(setting | row(GRIDS[spacing](n_samples), smooth, noise, options))
        print(", ".join(f"{name} {value}" for name, value in cases[-1].items()), flush=True)
    write_record(options.record, cases)
    print_table(cases)


def settings(options):
    """Samples, grid, smooth curve, noise and number of curves of every row."""
    if options.samples is None:
        for n_samples, grid, curves in TABLE:
            few = n_samples > 1000
            for smooth in ("power law", "rate decay at the end") if few else DECAYS:
                for noise in NOISE if grid == "log-spaced" and n_samples < 1000 else ENDS[: 2 if few else 3]:
                    yield n_samples, grid, smooth, noise, curves
        return
    noises = list(NOISE) if "all" in options.noise else options.noise
    for setting in product(options.samples, options.grids, options.smooth, noises):
        yield *setting, options.curves


def peers_of(case):
    """What a row of the record says of other tools."""
    return {name: value for name, value in case.items() if name.startswith("size of ") or "clinear" in name}


SETTING = ("samples", "grid", "smooth", "noise")
DECAYS = ("power law", "exponential", "power and exponential", "rate decay at the end")
ENDS = ("independent", "AR(1) 0.9", "with the level")
# Samples, grid, curves a row.
TABLE = (
    (30, "log-spaced", 100),
    (30, "uniform", 100),
    (120, "log-spaced", 100),
    (120, "uniform", 100),
    (1000, "log-spaced", 60),
    (10_000, "uniform", 40),
)


def print_table(cases):
    """Markdown: sizes and powers of every row, then the means of each noise."""
    heights = [name.removeprefix("power at ") for name in cases[0] if name.startswith("power at")]
    peers = [name.removeprefix("size of ") for case in cases[:1] for name in case if name.startswith("size of ")]

    def share(value):
        return "" if value is None else f"{value:.2f}".lstrip("0") if value < 1 else "1"

    def several(case, names):
        values = [share(case.get(name)) for name in names]
        return ", ".join(values) if any(values) else ""

    print(f"\n| samples | smooth curve | noise | size | power at {', '.join(heights)} | error at {heights[-1]} "
          f"| covered at {heights[-1]} | size of {', '.join(peers)} | error of clinear |")  # fmt: skip
    print("|---" * 9 + "|")
    for case in cases:
        sizes = ["size"] + [name for name in case if name.startswith("size, ")]
        powers = [f"power at {height}" for height in heights]
        even = several(case, [f"power, variance None at {height}" for height in heights])
        columns = [
            f"{case['samples']:,} {case['grid']}",
            case["smooth"],
            case["noise"],
            several(case, sizes),
            several(case, powers) + (f" ({even})" if even else ""),
            several(case, [f"{side} error at {heights[-1]}" for side in ("start", "end")]),
            several(case, [f"{side} covered at {heights[-1]}" for side in ("start", "end", "size")]),
            several(case, [f"size of {peer}" for peer in peers]),
            several(case, [f"{side} error of ruptures clinear, told two" for side in ("start", "end")]),
        ]
        print("| " + " | ".join(columns) + " |")
    for noise in dict.fromkeys(case["noise"] for case in cases):
        sizes = [case["size"] for case in cases if case["noise"] == noise]
        print(f"{noise}: size {np.mean(sizes):.3f} on average of {len(sizes)} rows, {max(sizes):.2f} at most")


def mixed(n):
    """A third spaced evenly in log(step) from step 1 on, the rest evenly in step: the demo's own, for n of about 90."""
    early = np.round(np.logspace(0, 4, n // 3 + n // 10))  # some fall together
    late = np.linspace(1e4 / (n - n // 3), 1e4, n - n // 3)
    return np.unique(np.concatenate([early, late]))


GRIDS = {
    "log-spaced": lambda n: np.logspace(1, 4, n),
    "uniform": lambda n: np.linspace(1e4 / n, 1e4, n),
    "mixed": mixed,
}

# Curves of training length 10,000 that fall from about 40 noise deviations to near 0.
SMOOTH = {
    "power law": lambda x: 80 * x**-0.3,
    "exponential": lambda x: 40 * np.exp(-x / 800),
    "power and exponential": lambda x: 40 * x**-0.3 + 20 * np.exp(-x / 800),
    "two exponentials": lambda x: 30 * np.exp(-x / 250) + 40 * np.exp(-x / 7000),
    "rise": lambda x: 40 * (1 - np.exp(-x / 800)),
    "late rise": lambda x: 150 * (1 - np.exp(-x / 3750)),  # the time scale of the demo's control, and its noise
    "hyperbola": lambda x: 60 / (1 + x / 2500),
    "rate decay at the end": lambda x: 80 * x**-0.3 - 3 * np.clip((x - 8000) / 2000, 0, 1) ** 2,
}


def autoregressive(rho):
    def draw(random, curves):
        draws = random.standard_normal(curves.shape)
        for i in range(1, curves.shape[1]):
            draws[:, i] = rho * draws[:, i - 1] + np.sqrt(1 - rho**2) * draws[:, i]
        return draws

    return draw


def with_level(random, curves):
    """Deviation in proportion to the level, 1 in its middle."""
    return random.standard_normal(curves.shape) * deviation(curves)


def deviation(curves):
    level = np.abs(curves) + 1
    return level / np.median(level)


NOISE = {
    "independent": autoregressive(0.0),
    "AR(1) 0.5": autoregressive(0.5),
    "AR(1) 0.8": autoregressive(0.8),
    "AR(1) 0.9": autoregressive(0.9),
    "with the level": with_level,
}


def row(x, smooth, noise, options):
    """Size, and for each height power, median errors in decades and coverage."""
    random = np.random.default_rng(0)
    base = np.broadcast_to(SMOOTH[smooth](x), (options.curves, len(x)))
    curves = base + NOISE[noise](random, base)
    result = {"size": size(curves, x, options)}
    if noise == "with the level":
        result["size, variance given"] = size(curves, x, options, variance=deviation(SMOOTH[smooth](x)) ** 2)
        result["size, variance None"] = size(curves, x, options, variance=None)
    u = np.log10(x)
    start = float(u[0] + START * (u[-1] - u[0]))
    drop = np.clip((u - start) / WIDTH, 0, 1)
    for height in options.heights:
        found = windows(curves - height * drop, x, options, max_windows=1)
        result |= {f"{name} at {height:g}": value for name, value in quality(found, start, height, options).items()}
        if noise == "independent":
            found = windows(curves - height * drop, x, options, max_windows=1, variance=None)
            result[f"power, variance None at {height:g}"] = quality(found, start, height, options)["power"]
    known = options.kept.get((len(x), options.grid, smooth, noise))
    if known is not None:
        return result | known
    return result | (peers(curves, drop, u, start, options) if len(x) <= 200 else {})


def windows(curves, x, options, **more):
    return pf.detect_windows(curves, x=x, base=options.base, level=options.level, **more)


def size(curves, x, options, **more):
    """Share of curves with a window."""
    return round(windows(curves, x, options, **more)["series"].n_unique() / len(curves), 4)


def peers(curves, drop, u, start, options):
    """Sizes of other tools, and how far off two kinks are beside the largest drop."""
    some = curves[: options.peer_curves]
    result = {}
    for model in ("clinear", "l2", "normal"):
        result[f"size of ruptures {model}"] = round(float(np.mean([peer(model, curve) for curve in some])), 4)
    if skchange is not None:
        result["size of skchange"] = round(float(np.mean([skchange_finds(curve) for curve in some])), 4)
    if changeforest is not None:
        result["size of changeforest"] = round(float(np.mean([forest_finds(curve) for curve in some])), 4)
    places = np.array([two_kinks(u, curve) for curve in some - options.heights[-1] * drop])
    for side, true, place in (("start", start, places[:, 0]), ("end", start + WIDTH, places[:, 1])):
        result[f"{side} error of ruptures clinear, told two"] = round(float(np.median(np.abs(place - true))), 4)
    return result


def quality(found, start, height, options):
    truth = {"start": 10**start, "end": 10 ** (start + WIDTH), "size": -height}
    # A window of the right sign that reaches into the true one.
    hits = found.filter((pl.col("size") < 0) & (pl.col("start") < truth["end"]) & (pl.col("end") > truth["start"]))
    result = {"power": round(hits["series"].n_unique() / options.curves, 4)}
    if hits.height:
        for side in ("start", "end"):
            error = (hits[side].log10() - np.log10(truth[side])).abs().median()
            result[f"{side} error"] = round(error, 4)
        for column, value in truth.items():
            inside = (hits[f"{column}_lower"] <= value) & (value <= hits[f"{column}_upper"])
            result[f"{column} covered"] = round(inside.mean(), 4)
    return result


def two_kinks(u, curve):
    """Where ruptures puts two kinks."""
    search = ruptures.BottomUp(model="clinear", min_size=3, jump=1).fit(curve)
    return [u[place] for place in search.predict(n_bkps=2)[:2]]


def forest_finds(curve):
    """Whether changeforest's change in mean finds a changepoint, at its defaults."""
    found = changeforest.changeforest(np.ascontiguousarray(curve[:, None]), "change_in_mean", "bs")
    return len(found.split_points()) > 0


def skchange_finds(curve):
    """Whether skchange's continuous linear trend score finds a changepoint, at its default penalty."""
    from skchange.detectors import SeededBinarySegmentation
    from skchange.interval_scorers import ContinuousLinearTrendScore

    signal = curve[:, None]
    return len(SeededBinarySegmentation(ContinuousLinearTrendScore()).fit(signal).predict(signal)) > 0


def peer(model, curve):
    """Whether ruptures finds a changepoint in a curve whose noise has variance 1."""
    warnings.filterwarnings("ignore", message="New behaviour in v1.1.5")
    penalty = {"clinear": 2, "l2": 2, "normal": 3}[model] * np.log(len(curve))
    search = ruptures.BottomUp if model == "clinear" else ruptures.Pelt
    return len(search(model=model, min_size=3, jump=1).fit(curve).predict(pen=penalty)) > 1


if __name__ == "__main__":
    main()
