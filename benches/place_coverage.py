"""How often the interval of a changepoint's place holds it, and how wide it is: simulated, 95% intervals.

python benches/place_coverage.py               # about a minute
python benches/place_coverage.py --sets 100

One change in the middle of each signal, found with their number given (biweight: with BIC, signals in which it finds
one). Where the noise is another than the cost is made for, or stronger behind the change, the line says so.
"""

import argparse

import numpy as np
from _timing import write_record

import phaseflow as pf


def normal(random, n):
    return random.normal(0, 1, n)


def laplace(random, n):
    return random.laplace(0, np.sqrt(0.5), n)


def student(random, n):
    return random.standard_t(2, n)


def step(size, noise=normal, after=1.0):
    def draw(random, n):
        late = np.arange(n) >= n // 2
        return noise(random, n) * np.where(late, after, 1.0) + size * late

    return draw


def several(sizes, shared=0.0, spreads=1.0):
    def draw(random, n):
        common = random.normal(0, 1, (n, 1))
        own = random.normal(0, 1, (n, len(sizes)))
        noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
        return noise * spreads + np.outer(np.arange(n) >= n // 2, sizes)

    return draw


def line(jump, slope):
    def draw(random, n):
        beyond = np.arange(n) - n // 2
        return normal(random, n) + np.where(beyond >= 0, jump + slope * beyond, 0.0)

    return draw


def counts(before, after):
    return lambda random, n: random.poisson(np.repeat([before, after], [n // 2, n - n // 2])).astype(float)


def dynamics(before, after):
    def draw(random, n):
        y = np.zeros(n)
        for i in range(1, n):
            y[i] = (before if i < n // 2 else after) * y[i - 1] + random.normal()
        return y

    return draw


CASES = [
    ("l2", "step 1", 40, step(1)),
    ("l2", "step 2", 40, step(2)),
    ("l2", "step 1", 200, step(1)),
    ("l2", "step 2, noise 3 times as strong after it", 40, step(2, after=3.0)),
    ("l2", "step 1, Student t with 2 degrees of freedom", 200, step(1, student)),
    ("l2", "3 features, steps 1 1 0, correlation 0", 80, several([1, 1, 0])),
    ("l2", "3 features, steps 1 1 0, correlation 0.8", 80, several([1, 1, 0], shared=0.8)),
    ("l2", "3 features, steps 1 1 0, noise 3 1 1", 80, several([1, 1, 0], spreads=np.array([3, 1, 1]))),
    ("l1", "step 1", 40, step(1)),
    ("l1", "step 1", 200, step(1)),
    ("l1", "step 1, Laplace", 200, step(1, laplace)),
    ("l1", "step 1, Student t with 2 degrees of freedom", 200, step(1, student)),
    ("l1", "3 features, steps 1 1 0, correlation 0.8", 80, several([1, 1, 0], shared=0.8)),
    ("biweight", "step 2", 40, step(2)),
    ("biweight", "step 2, Student t with 2 degrees of freedom", 200, step(2, student)),
    ("normal", "spread 1 to 3", 40, step(0, after=3.0)),
    ("normal", "step 2", 40, step(2)),
    ("normal", "spread 1 to 2", 120, step(0, after=2.0)),
    ("normal", "3 features, steps 1 1 0, correlation 0.8", 80, several([1, 1, 0], shared=0.8)),
    ("variance", "spread 1 to 3", 40, step(0, after=3.0)),
    ("variance", "spread 1 to 2", 120, step(0, after=2.0)),
    ("poisson", "rate 1 to 3", 40, counts(1, 3)),
    ("poisson", "rate 1 to 2", 120, counts(1, 2)),
    ("linear", "jump 1, slope 0 to 0.3", 40, line(1, 0.3)),
    ("linear", "jump 2, slope 0 to 0.1", 80, line(2, 0.1)),
    ("clinear", "slope 0 to 0.1", 40, line(0, 0.1)),
    ("clinear", "slope 0 to 0.1", 80, line(0, 0.1)),
    ("clinear", "slope 0 to 1", 80, line(0, 1)),
    ("ar", "coefficient 0.9 to 0", 120, dynamics(0.9, 0)),
    ("ar", "coefficient 0 to 0.9", 60, dynamics(0, 0.9)),
    ("rank", "step 1", 80, step(1)),
    ("rank", "step 1, Student t with 2 degrees of freedom", 200, step(1, student)),
    ("cosine", "2 features, steps 2 -2 about 4", 80, lambda random, n: 4 + several([2, -2])(random, n)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000, help="signals a case")
    parser.add_argument("--record", default="place_coverage", help="name of the file under benches/record")
    options = parser.parse_args()
    print(__doc__)
    print("| cost | change | samples | holds it | median samples inside |\n|---|---|---|---|---|")
    cases = []
    for cost, what, n_samples, draw in CASES:
        random = np.random.default_rng(0)
        given = {"penalty": "bic"} if cost == "biweight" else {"n_changepoints": 1}
        inside, widths = [], []
        for _ in range(options.sets):
            found = pf.detect(draw(random, n_samples), cost=cost, **given)
            if len(found.changepoints) == 1:
                first, last = found.places[0]
                inside.append(first <= n_samples // 2 <= last)
                widths.append(last - first + 1)
        case = {"cost": cost, "change": what, "samples": n_samples, "signals": len(inside)}
        case |= {"holds it": round(float(np.mean(inside)), 3), "median width": float(np.median(widths))}
        cases.append(case)
        print(f"| `{cost}` | {what} | {n_samples} | {np.mean(inside):.3f} | {np.median(widths):.0f} |", flush=True)
    write_record(options.record, cases)


if __name__ == "__main__":
    main()
