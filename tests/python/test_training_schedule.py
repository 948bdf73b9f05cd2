"""Learning rates and checkpoint steps, by hand."""

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from phaseflow.exceptions import ParameterError
from phaseflow.training.schedule import Checkpoints, LearningRate, WeightDecay


def test_the_rate_climbs_in_equal_steps_and_stays() -> None:
    rate = LearningRate(peak=0.4, warmup_steps=4)
    assert [rate.at(step, 100) for step in (0, 1, 3, 4, 50, 100)] == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4, 0.4])
    assert LearningRate(peak=0.4, warmup_steps=0).at(0, 100) == 0.4


def test_a_cosine_passes_its_middle_halfway_and_ends_at_its_floor() -> None:
    rate = LearningRate(peak=1.0, warmup_steps=10, decay="cosine", floor_share=0.2)
    assert rate.at(10, 110) == pytest.approx(1.0)
    assert rate.at(60, 110) == pytest.approx(0.6)
    assert rate.at(110, 110) == pytest.approx(0.2)


def test_factors_are_of_the_schedule_not_of_each_other() -> None:
    rate = LearningRate(peak=0.4, warmup_steps=0, factors=((10, 0.5), (20, 0.25)))
    assert [rate.at(step, 100) for step in (9, 10, 19, 20, 99)] == [0.4, 0.2, 0.2, 0.1, 0.1]
    cosine = LearningRate(peak=1.0, warmup_steps=0, decay="cosine", floor_share=0.2, factors=((50, 0.5),))
    assert cosine.at(49, 100) == pytest.approx(0.6, abs=0.02)
    assert cosine.at(50, 100) == pytest.approx(0.3)


def test_weight_decay_is_that_of_the_latest_change() -> None:
    decay = WeightDecay(0.1, changes=((5, 0.0), (8, 0.2)))
    assert [decay.at(step) for step in (0, 4, 5, 7, 8, 1000)] == [0.1, 0.1, 0.0, 0.0, 0.2, 0.2]
    assert WeightDecay(0.3).at(7) == 0.3


def test_every_abrupt_change_is_an_event() -> None:
    rate = LearningRate(warmup_steps=7, decay="cosine", factors=((10, 0.5), (20, 0.25)))
    assert rate.events() == {
        "end of warm-up": 7, "learning rate x 0.5 at step 10": 10, "learning rate x 0.25 at step 20": 20,
    }  # fmt: skip
    assert LearningRate(warmup_steps=0).events() == {}
    assert WeightDecay(0.1, changes=((5, 0.0),)).events() == {"weight decay 0 from step 5": 5}


def test_checkpoints_are_powers_then_evenly_spaced() -> None:
    assert Checkpoints(n_log=4).steps(10_000) == [0, 1, 10, 100, 1000, 10_000]
    assert Checkpoints(n_log=2, dense_every=20, dense_from=50, dense_to=95).steps(100) == [0, 1, 10, 50, 70, 90, 100]
    assert Checkpoints(n_log=1, dense_every=40).steps(100) == [0, 1, 40, 80, 100]


def test_schedules_out_of_range_are_refused() -> None:
    for wrong in ({"peak": 0.0}, {"warmup_steps": -1}, {"decay": "linear"}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            LearningRate(**wrong)  # type: ignore[arg-type]
    for unsorted in (((0, 0.5),), ((5, 0.5), (5, 0.2)), ((5, 0.5), (4, 0.2))):
        with pytest.raises(ParameterError, match="rising steps from 1"):
            LearningRate(factors=unsorted)
    for value in (-0.5, float("nan"), float("inf")):
        with pytest.raises(ParameterError, match="changes at step 3"):
            WeightDecay(changes=((3, value),))
        with pytest.raises(ParameterError, match="initial" if value != float("inf") else "changes"):
            WeightDecay(value, changes=((3, value),))
    with pytest.raises(ParameterError, match="dense_every"):
        Checkpoints(dense_every=0)
