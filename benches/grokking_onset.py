"""Onset of test accuracy on the labelled grokking runs, beside the authors' own step, with every miss.

python benches/grokking_onset.py /path/to/grokking_normcap/logs.tar.zst       # seconds

The label is the first evaluation with test accuracy .95. "arrival" is what tests/grokking.py measures: the changepoint
(cost l1 or l2) at which the best accuracy so far reaches a segment of that level. "largest step": the largest upward
changepoint of the accuracy as it is, which knows of no level, for comparison: it lies in the middle of a slow rise,
and the wiggles near chance of a run that never groks are changes too.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from _timing import write_record

import phaseflow as pf

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from grokking import arrival, grokking_runs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    options = parser.parse_args()
    print(__doc__)
    runs = grokking_runs(options.archive)
    cases = []
    for name, onset in ONSETS.items():
        grokked = [(run, onset(run.test_accuracy)) for run in runs if run.grokked_at is not None]
        misses = [(run, at) for run, at in grokked if at is None or abs(at - run.grokked_at) > 1]
        false = [run for run in runs if run.grokked_at is None and onset(run.test_accuracy) is not None]
        never = len(runs) - len(grokked)
        case = {
            "onset": name,
            "within one evaluation": round(1 - len(misses) / len(grokked), 3),
            "found where none is": round(len(false) / never, 3),
        }
        cases.append(case)
        print(f"\n{name}: {len(grokked) - len(misses)} of {len(grokked)}, false in {len(false)} of {never}")
        for run, at in misses[:10]:
            near = run.test_accuracy[max(run.grokked_at - 4, 0) : run.grokked_at + 4]
            print(f"  {run.name}: label {run.grokked_at}, found {at}, accuracy around the label {np.round(near, 2)}")
        if len(misses) > 10:
            print(f"  and {len(misses) - 10} more")
    write_record("grokking_onset", cases)


def largest_step(accuracy):
    found = pf.detect(accuracy, penalty="bic")
    steps = np.diff(found.means[:, 0])
    return int(found.changepoints[steps.argmax()]) if len(steps) and steps.max() > 0 else None


ONSETS = {
    "arrival, cost l1, penalty bic": arrival,
    "arrival, cost l2, penalty bic": lambda accuracy: arrival(accuracy, cost="l2"),
    "arrival, cost l1, penalty auto": lambda accuracy: arrival(accuracy, penalty="auto"),
    "largest step, cost l2, penalty bic": largest_step,
}


if __name__ == "__main__":
    main()
