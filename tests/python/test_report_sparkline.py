"""The small curve beside a token: by hand, and the losses that it draws."""

import math
import re
from pathlib import Path

import numpy as np
import polars as pl

import phaseflow as pf
from phaseflow.analysis.trajectories import trajectories
from phaseflow.reporting.sparkline import sparkline


def test_a_curve_over_two_decades_by_hand() -> None:
    # 150 wide: 10 lies in the middle. 30 high with 3 above and below: 4 nats at the top, 0 at 27, 1 at 21.
    drawn = sparkline([1, 10, 100], [4.0, 1.0, 0.0], start=1, end=10)
    assert re.search('points="(.*?)"', drawn).group(1) == "0.0,3.0 75.0,21.0 150.0,27.0"
    assert '<rect x="0.0" y="0" width="75.0"' in drawn
    assert 'aria-label="loss from 4.00 to 0.00 nats"' in drawn


def test_what_is_not_finite_is_left_out_and_a_single_point_is_no_curve() -> None:
    drawn = sparkline([1, 10, 100], [4.0, math.nan, 2.0], start=50, end=1000)
    assert re.search('points="(.*?)"', drawn).group(1) == "0.0,3.0 150.0,15.0"
    assert 'width="22.6" height="30" fill' in drawn  # from ln(50), to the last step and no further
    assert sparkline([1, 10], [4.0, math.inf], start=1, end=10) == ""
    assert sparkline([], [], start=1, end=10) == ""


def test_a_curve_at_0_lies_on_the_ground() -> None:
    assert 'points="0.0,27.0 150.0,27.0"' in sparkline([1, 10], [0.0, 0.0], start=1, end=10)


def test_trajectories_are_the_losses_of_their_tokens_where_they_can_be_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    losses = {step: rng.normal(3, 1, (4, 5)).astype(np.float16) for step in (0, 1, 10, 100, 1000, 2000)}
    for step, here in losses.items():
        np.save(tmp_path / f"a-step{step}.npy", here[:, :3] if step == 10 else here)
        np.save(tmp_path / f"b-step{step}.npy", -here)
    archive = pf.open({f"loss/{name}": f"{tmp_path}/{name}-step{{step}}.npy" for name in "ab"}, axes="batch pos")
    (tmp_path / "a-step100.npy").write_bytes(b"")
    of = [(archive.runs[0].name, *token) for token in (("a", 3, 5), ("b", 0, 1), ("a", 0, 2))]
    found = trajectories(archive.runs, pl.DataFrame(of, ["run", "probe", "example", "token_index"], orient="row"))
    assert set(found) == set(of)
    # Not step 0, not one of other tokens (10), not one that cannot be read (100), and not before the last three decades.
    for token, steps, sign in zip(of, ([1000, 2000], [10, 100, 1000, 2000], [1000, 2000]), (1, -1, 1), strict=True):
        assert found[token][0].tolist() == steps
        expected = [sign * float(losses[step][token[2], token[3] - 1]) for step in steps]
        assert found[token][1].tolist() == expected
