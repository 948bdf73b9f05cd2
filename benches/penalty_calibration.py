"""How often each penalty finds a changepoint where there is none, and whether it still finds one that is there.

python benches/penalty_calibration.py                              # a minute
python benches/penalty_calibration.py --curves 100 --samples 200
python benches/penalty_calibration.py --noise independent --curves 400 --samples 6 10 15 20 30 50 200 \
    --costs l2 l1 biweight normal variance linear clinear ar rank rbf --record penalty_of_every_cost

False alarms: share of signals of nothing but noise in which a changepoint is found. Power: share of signals with one
step in the middle, of 8 standard errors of the difference of the two means (under the noise's true autocorrelation; its
deviation being that of the middle half of its samples), in which one is found.
"""

import argparse

import numpy as np
from _timing import write_record

import phaseflow as pf

PENALTIES = ("aic", "hannan-quinn", "bic", "mbic", "auto")
STEP = 8.0  # standard errors
OF_LEVELS = ("l2", "l1", "rank", "biweight", "normal", "rbf")
WITHOUT_LENGTHS = ("clinear", "biweight")  # whose search does not charge them


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=300, help="simulated signals a row")
    parser.add_argument("--samples", type=int, nargs="+", default=[20, 50, 200])
    parser.add_argument("--noise", nargs="+", choices=NOISE, default=list(NOISE))
    parser.add_argument("--costs", nargs="+", default=["l2", "l1", "rank"])
    parser.add_argument("--min-size", type=int, default=1)
    parser.add_argument("--record", default="penalty_calibration", help="name of the file under benches/record")
    options = parser.parse_args()
    print(__doc__)
    print(f"{'noise':>16} {'samples':>7} {'cost':>8}", *(f"{name:>12}" for name in PENALTIES), f"{'power of auto':>14}")
    cases = []
    for noise, (draw, rho) in NOISE.items():
        if noise not in options.noise:
            continue
        for n_samples in options.samples:
            curves = draw(np.random.default_rng(0), (options.curves, n_samples))
            error = 2 * np.sqrt((1 + rho) / (1 - rho) / n_samples)
            step = np.where(np.arange(n_samples) < n_samples // 2, 0.0, STEP * error)
            for cost in options.costs:
                known = [name for name in PENALTIES if name != "mbic" or cost not in WITHOUT_LENGTHS]
                alarms = {name: share(curves, cost, name, options.min_size) for name in known}
                power = share(curves + step, cost, "auto", options.min_size) if cost in OF_LEVELS else None
                found = {"noise": noise, "samples": n_samples, "cost": cost, **alarms, "power of auto": power}
                cases.append(found)
                shown = [f"{alarms[name]:12.3f}" if name in alarms else f"{'':>12}" for name in PENALTIES]
                print(f"{noise:>16} {n_samples:>7} {cost:>8}", *shown, "" if power is None else f"{power:14.3f}")
    write_record(options.record, cases)


def share(curves, cost, penalty, min_size):
    found = pf.detect_many(curves, cost=cost, penalty=penalty, min_size=min_size)
    return found["series"].n_unique() / len(curves)


def autoregressive(rho):
    def draw(random, shape):
        noise = random.standard_normal(shape)
        for i in range(1, shape[1]):
            noise[:, i] = rho * noise[:, i - 1] + np.sqrt(1 - rho**2) * noise[:, i]
        return noise

    return draw, rho


def with_level(random, shape):
    """Deviation falls from 2 to 1/2 along the signal, as it does with the level of a loss."""
    return random.standard_normal(shape) * np.geomspace(2.0, 0.5, shape[1])


def heavy_tails(random, shape):
    """Student's t with 2 degrees of freedom, which have no variance, over the deviation of their middle half."""
    return random.standard_t(2, shape) / HEAVY


HEAVY = 0.8165 / 0.6745  # quartile of that Student over that of the normal
NOISE = {
    "independent": autoregressive(0.0),
    "AR(1) 0.3": autoregressive(0.3),
    "AR(1) 0.5": autoregressive(0.5),
    "AR(1) 0.8": autoregressive(0.8),
    "AR(1) 0.9": autoregressive(0.9),
    "with the level": (with_level, 0.0),
    "Student t 2": (heavy_tails, 0.0),
}


if __name__ == "__main__":
    main()
