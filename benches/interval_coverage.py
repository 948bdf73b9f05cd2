"""How often the intervals of the in-context learning score hold the true score, and how wide they are.

python benches/interval_coverage.py                     # about a minute on two cores
python benches/interval_coverage.py --sets 500 --examples 20 100

Simulated: the difference of the two tokens' losses in each example is normal, exponential (skewness 2) or log-normal
(skewness 6); 95% intervals of 1,000 resamples; the resamples are the same for all data sets, as for checkpoints.
"""

import argparse

import numpy as np
from _timing import write_record

import phaseflow as pf

METHODS = ("percentile", "bca", "studentized")
DIFFERENCES = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "log-normal": lambda rng, shape: rng.lognormal(size=shape) - np.exp(0.5),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=4000, help="data sets a case")
    parser.add_argument("--seeds", type=int, default=10, help="resamplings, each for its share of the data sets")
    parser.add_argument("--examples", type=int, nargs="+", default=[10, 20, 50, 100, 200, 500])
    parser.add_argument("--record", default="interval_coverage", help="name of the file under benches/record")
    options = parser.parse_args()
    print(__doc__)
    cases = []
    for name, draw in DIFFERENCES.items():
        for n_examples in options.examples:
            rng = np.random.default_rng(0)
            case = {"differences": name, "examples": n_examples}
            inside = {method: [] for method in METHODS}
            width = {method: [] for method in METHODS}
            for seed in range(options.seeds):
                losses = np.zeros((options.sets // options.seeds, n_examples, 2))
                losses[..., 1] = draw(rng, losses.shape[:2])
                for method in METHODS:
                    found = pf.in_context_learning_interval(losses, early=1, late=2, seed=seed, method=method)
                    inside[method].append((found[:, 0] <= 0) & (found[:, 1] >= 0))
                    width[method].append(np.diff(found)[:, 0])
            for method in METHODS:
                case[method] = round(float(np.mean(inside[method])), 4)
                case[f"{method} width"] = round(float(np.median(width[method])), 4)
            cases.append(case)
            print(", ".join(f"{key} {value}" for key, value in case.items()), flush=True)
    write_record(options.record, cases)


if __name__ == "__main__":
    main()
