"""Coincidence of intervals and the share of a change inside one: hand-computed, then by simulation."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phaseflow.analysis.overlap import chance_of_at_least, chance_of_meeting, overlap
from phaseflow.analysis.share import share_of_change


def test_half_of_the_joint_length_is_shared() -> None:
    assert overlap((0.0, 3.0), (1.0, 4.0)) == Fraction(2, 4)


def test_intervals_apart_share_nothing_and_equal_ones_everything() -> None:
    assert overlap((0.0, 1.0), (2.0, 3.0)) == 0
    assert overlap((1.0, 2.0), (1.0, 2.0)) == 1
    assert overlap((1.0, 1.0), (1.0, 1.0)) == 1


def test_two_quarter_wide_intervals_meet_five_times_in_nine() -> None:
    # Starts uniform on [0, 3/4]; apart when |a - b| > 1/4: (1/2)² / (3/4)² = 4/9.
    assert chance_of_meeting(0.25, 0.25, 1.0) == pytest.approx(float(Fraction(5, 9)), abs=1e-15)


def test_intervals_too_wide_to_avoid_each_other_always_meet() -> None:
    assert chance_of_meeting(0.6, 0.5, 1.0) == 1.0


@pytest.mark.parametrize(("first", "second"), [(0.1, 0.3), (0.02, 0.02), (0.5, 0.05)])
def test_the_closed_form_agrees_with_throwing_intervals(first: float, second: float) -> None:
    rng = np.random.default_rng(1)
    starts_first = rng.uniform(0, 1 - first, 200_000)
    starts_second = rng.uniform(0, 1 - second, 200_000)
    met = (starts_first <= starts_second + second) & (starts_second <= starts_first + first)
    assert chance_of_meeting(first, second, 1.0) == pytest.approx(met.mean(), abs=0.005)


def test_two_of_three_coins() -> None:
    assert chance_of_at_least(2, [0.5, 0.5, 0.5]) == Fraction(1, 2)
    assert chance_of_at_least(0, []) == 1


@given(st.lists(st.floats(0, 1), max_size=6))
def test_all_of_them_is_the_product_and_none_of_them_is_certain_to_be_beaten(chances: list[float]) -> None:
    assert chance_of_at_least(len(chances), chances) == pytest.approx(float(np.prod(chances)), abs=1e-12)
    assert chance_of_at_least(0, chances) == pytest.approx(1.0, abs=1e-12)


def test_two_thirds_of_the_change_fall_inside() -> None:
    ones = np.ones(5)
    share, lower, upper = share_of_change(0 * ones, -1 * ones, -3 * ones, -3 * ones)
    assert (share, lower, upper) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_no_change_at_all_has_no_share() -> None:
    ones = np.ones(4)
    assert np.isnan(share_of_change(ones, ones, ones, ones)).all()


def test_the_interval_of_the_share_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        noise = rng.normal(0, 0.3, (4, 60)) + rng.normal(0, 1, 60)
        means = np.array([0.0, -0.2, -0.8, -1.0])[:, None]
        _, lower, upper = share_of_change(*(means + noise), resamples=400, seed=trial)
        covered += lower <= 0.6 <= upper
    assert 0.89 <= covered / 200 <= 0.99
