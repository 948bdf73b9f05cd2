"""Size, power and location of non_convexity on simulated learning curves.

python benches/non_convexity.py                                # a few minutes on two cores
python benches/non_convexity.py --curves 100 --samples 60
python benches/non_convexity.py --resume cases.jsonl           # goes on where a run with the same file was stopped

Size: share of convex curves in which a stretch is found at level 0.05. Power: of the same curves less a drop of some
noise deviations, straight in x over a tenth of its range from the middle on (the first half of a logarithmic x), the
share in which a stretch is found that meets the corner where the drop begins; and how many samples such a stretch has.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
from _timing import write_record

import phaseflow as pf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=400, help="simulated curves a row")
    parser.add_argument("--samples", type=int, nargs="+", default=[30, 60, 100, 300, 1000])
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--smooth", nargs="+", choices=SMOOTH, default=list(SMOOTH))
    parser.add_argument("--noise", nargs="+", choices=NOISE, default=list(NOISE))
    parser.add_argument("--drops", type=float, nargs="+", default=[6, 12, 25, 50], help="in noise deviations")
    parser.add_argument("--resume", type=Path, help="file that keeps every case; those in it are not run again")
    parser.add_argument("--record", default="non_convexity", help="name of the file under benches/record")
    options = parser.parse_args()
    print(__doc__)
    kept = options.resume is not None and options.resume.exists()
    cases = [json.loads(line) for line in options.resume.read_text().splitlines()] if kept else []
    done = [tuple(case[name] for name in ("samples", "grid", "smooth", "noise")) for case in cases]
    for n_samples in options.samples:
        # Four times the work for four times the samples; fewer curves are enough to see that nothing changes.
        curves = max(options.curves * 100 // max(n_samples, 100), options.curves // 4)
        for spacing in options.grids:
            for smooth in options.smooth:
                for noise in options.noise:
                    if (n_samples, spacing, smooth, noise) in done:
                        continue
                    setting = {"samples": n_samples, "grid": spacing, "smooth": smooth, "noise": noise}
                    cases.append(setting | row(GRIDS[spacing](n_samples), smooth, noise, curves, options))
                    print(", ".join(f"{name} {value}" for name, value in cases[-1].items()), flush=True)
                    if options.resume is not None:
                        with options.resume.open("a") as file:
                            file.write(json.dumps(cases[-1]) + "\n")
    table = pl.DataFrame(cases, infer_schema_length=None)
    print(
        table.group_by("samples", "noise", maintain_order=True).agg(
            pl.col("size").mean(), pl.col("size").max().alias("largest size"), pl.col("^power.*$").mean()
        )
    )
    write_record(options.record, cases)


GRIDS = {
    "uniform": lambda n: np.linspace(1e4 / n, 1e4, n),
    "log-spaced": lambda n: np.geomspace(10, 1e4, n),
    "mixed": lambda n: np.concatenate(
        [np.geomspace(1, 1e3, n // 2, endpoint=False), np.linspace(1e3, 1e4, n - n // 2)]
    ),
}

# x of the test, and a curve convex in it: training of length 10,000, from about 40 noise deviations to near 0.
SMOOTH = {
    "straight line": (lambda step: step, lambda step: 40 * (1 - step / 1e4)),
    "power law": (lambda step: step, lambda step: 80 * step**-0.3),
    "exponential": (lambda step: step, lambda step: 40 * np.exp(-step / 800)),
    "kink": (lambda step: step, lambda step: np.maximum(40 * (1 - step / 3e3), 0)),
    "power law, log x": (np.log, lambda step: 80 * step**-0.3),
}


def autoregressive(rho):
    def draw(random, curves):
        draws = random.standard_normal(curves.shape)
        for i in range(1, curves.shape[1]):
            draws[:, i] = rho * draws[:, i - 1] + np.sqrt(1 - rho**2) * draws[:, i]
        return draws

    return draw


def with_level(random, curves):
    """5 % of the level above an irreducible 1: the deviation changes 40-fold."""
    return 0.05 * (curves + 1) * random.standard_normal(curves.shape)


NOISE = {
    "independent": autoregressive(0.0),
    "AR(1) 0.5": autoregressive(0.5),
    "AR(1) 0.8": autoregressive(0.8),
    "with the level": with_level,
}


def row(step, smooth, noise, n_curves, options):
    random = np.random.default_rng(0)
    x_of, curve = SMOOTH[smooth]
    x = x_of(step)
    base = np.broadcast_to(curve(step), (n_curves, len(step)))
    curves = base + NOISE[noise](random, base)
    found = pf.non_convexity(curves, x=x)
    result = {"size": round(found["series"].n_unique() / n_curves, 4)}
    corner = len(x) // 2
    width = 0.1 * (x[-1] - x[0])
    deviation = np.std(NOISE[noise](random, base)[:, corner])
    for drop in options.drops:
        dropped = curves - drop * deviation * np.clip((x - x[corner]) / width, 0, 1)
        found = pf.non_convexity(dropped, x=x)
        hits = found.filter((pl.col("start") <= x[corner]) & (pl.col("end") >= x[corner]))
        result[f"power at {drop:g}"] = round(hits["series"].n_unique() / n_curves, 4)
        if hits.height:
            samples = np.searchsorted(x, hits["end"]) - np.searchsorted(x, hits["start"]) + 1
            result[f"samples at {drop:g}"] = float(np.median(samples))
    return result


if __name__ == "__main__":
    main()
