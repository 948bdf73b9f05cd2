"""Which checkpoints' losses are used at all: what is looked at of them, and how much of it may be undefined."""

from pathlib import Path

import numpy as np
import pytest

import phaseflow as pf
from phaseflow.analysis.losses import defect


@pytest.mark.parametrize(
    ("n_losses", "undefined", "share"),
    [
        (10, slice(0, 5), None),  # half of them: most tokens can still be followed
        (10, slice(0, 6), "60%"),
        (2000, slice(600, None), "70%"),  # all are looked at: the first 512 are finite
        (2000, slice(0, 900), None),
        # Of more than 4,096, eight runs of 512 from the first loss to the last: where the defect lies does not matter.
        (20_480, slice(0, 9_000), None),
        (20_480, slice(0, 15_000), "75%"),
        (20_480, slice(5_480, None), "75%"),
        (20_480, slice(512, None), "88%"),
        (20_480, slice(512, -512), "75%"),
    ],
)
def test_a_checkpoint_is_left_out_where_most_of_it_is_undefined(
    tmp_path: Path, n_losses: int, undefined: slice, share: str | None
) -> None:
    losses = np.ones(n_losses)
    losses[undefined] = np.nan
    np.save(tmp_path / "step1.npy", losses.reshape(-1, 10))
    (run,) = pf.open(str(tmp_path / "step{step}.npy"), axes="batch pos").runs
    found = defect(run, 1, "loss/probe")
    assert (found is None) == (share is None)
    if found is not None:
        assert found.text == f"{share} NaN or infinite; the checkpoint is left out"
        assert not found.unreadable
