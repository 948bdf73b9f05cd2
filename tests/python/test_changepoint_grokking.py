"""Onset of test accuracy on labelled grokking runs (grokking_normcap; benches/grokking_onset.py lists the misses)."""

import pytest

from grokking import arrival, grokking_runs
from shared_data import shared


@pytest.fixture(scope="module")
def runs():
    return grokking_runs(shared("grokking_normcap", "logs.tar.zst")) or pytest.skip(
        "there is no zstd to unpack the runs"
    )


def test_the_arrival_is_within_an_evaluation_of_the_authors_step_in_95_of_100_runs_that_grok(runs):
    grokked = [run for run in runs if run.grokked_at is not None]
    assert len(grokked) == 75
    found = [arrival(run.test_accuracy) for run in grokked]
    near = [at is not None and abs(at - run.grokked_at) <= 1 for at, run in zip(found, grokked, strict=True)]
    assert sum(near) / len(near) >= 0.95


def test_nothing_arrives_in_runs_that_never_grok(runs):
    never = [run for run in runs if run.grokked_at is None]
    assert len(never) == 87
    assert [run.name for run in never if arrival(run.test_accuracy) is not None] == []
