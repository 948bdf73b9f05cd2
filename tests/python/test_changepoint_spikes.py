"""Far samples that are drawn in: by hand, what keeps its shape, and what it does to the test of convexity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import phaseflow as pf
from phaseflow.changepoint.spikes import drawn_in


def of(curve: list[float] | np.ndarray, deviation: np.ndarray | None = None) -> np.ndarray:
    return drawn_in(np.asarray([curve], dtype=float), deviation)[0]


def test_a_lone_sample_comes_to_four_mean_distances() -> None:
    curve = np.tile([0.0, 1.0], 10)
    curve[10] = 50.0
    # The median of five around it is 1. Of the 20 distances seven are 1 and one is 49; it counts as three means.
    medians = [np.median(curve[max(at - r, 0) : at + r + 1]) for at in range(20) for r in [min(at, 19 - at, 2)]]
    distance = np.abs(curve - medians)
    cut = np.minimum(distance, 3 * distance.mean())
    around = np.delete(cut[2:19], 8).mean()
    found = of(curve)
    assert found[10] == pytest.approx(medians[10] + 4 * max(around, cut.mean()))
    np.testing.assert_array_equal(np.delete(found, 10), np.delete(curve, 10))


@given(arrays(float, st.integers(5, 40), elements=st.floats(-1e6, 1e6)))
def test_a_monotone_course_stays_as_it_is(curve: np.ndarray) -> None:
    np.testing.assert_array_equal(of(np.sort(curve)), np.sort(curve))
    np.testing.assert_array_equal(of(np.sort(curve)[::-1]), np.sort(curve)[::-1])


def test_what_lasts_three_samples_stays() -> None:
    curve = np.zeros(30)
    curve[12:15] = 5.0
    np.testing.assert_array_equal(of(curve), curve)
    curve[14] = 0.0
    assert of(curve).max() < 5.0


def test_the_top_of_a_course_without_noise_stays() -> None:
    curve = -((np.arange(40.0) - 20) ** 2)
    np.testing.assert_array_equal(of(curve), curve)


@given(st.integers(0, 99), st.floats(-100, 100), st.floats(0.01, 100))
def test_unit_offset_and_direction_do_not_matter(seed: int, offset: float, unit: float) -> None:
    curve = np.random.default_rng(seed).standard_t(2, 30)
    np.testing.assert_allclose(of(unit * curve + offset), unit * of(curve) + offset, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(of(curve[::-1]), of(curve)[::-1], rtol=1e-12)


def test_a_deviation_that_is_known_says_what_is_far() -> None:
    rng = np.random.default_rng(0)
    deviation = np.where(np.arange(60) % 10 == 5, 20.0, 1.0)
    curve = rng.normal(size=60) * deviation
    assert np.abs(of(curve) - curve).max() > 3
    assert (of(curve, deviation) != curve).sum() <= 1
    np.testing.assert_allclose(of(curve, 7 * deviation), of(curve, deviation))


@pytest.mark.parametrize("noise", ["spike", "student"])
def test_spikes_are_no_bumps_and_hide_none(noise: str) -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(2, 9, 100)
    curves = 3 + 4 * np.exp(-0.3 * x) + 0.02 * rng.normal(size=(60, 100))
    if noise == "student":
        curves += 0.02 * (rng.standard_t(3, (60, 100)) - rng.normal(size=(60, 100)))
    else:
        curves[np.arange(60), rng.integers(3, 97, 60)] += 0.2
    assert pf.non_convexity(curves, x=x)["series"].n_unique() <= 6
    drop = 0.5 * np.clip((x - 5) / 0.7, 0, 1)
    assert pf.non_convexity(curves - drop, x=x)["series"].n_unique() >= 45
