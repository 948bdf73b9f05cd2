"""Noise that changes along a curve: read off the curve, and what that does to the windows found."""

import numpy as np
import pytest

import phaseflow as pf
from phaseflow.changepoint.variance import neighbour_residuals, noise_variance, other_variances
from phaseflow.exceptions import UnknownNameError

X = np.logspace(1, 4, 120)
POWER_LAW = 80 * X**-0.3


def proportional(curve, size, seed, count):
    """Curves whose noise is in proportion to the level."""
    return curve * (1 + size * np.random.default_rng(seed).standard_normal((count, len(curve))))


# By hand


def test_the_cubic_through_four_even_neighbours():
    # Weights -1/6, 2/3, 2/3, -1/6: squares sum to 17/18, with the value's own 35/18.
    signal = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    found = neighbour_residuals(np.arange(6.0), signal)
    assert found == pytest.approx(np.array([1, -2 / 3]) / np.sqrt(35 / 18), rel=1e-14)


def test_a_cubic_leaves_nothing_on_any_grid():
    u = np.sort(np.random.default_rng(0).uniform(0, 4, 40))
    assert np.abs(neighbour_residuals(u, 2 - u + 3 * u**2 - u**3)).max() < 1e-9


def test_residuals_of_even_noise_have_its_size():
    noise = np.random.default_rng(1).normal(0, 3, 20_000)
    assert neighbour_residuals(np.arange(20_000.0), noise).std() == pytest.approx(3, rel=0.02)


# What it finds


def test_even_noise_is_left_alone():
    curves = POWER_LAW + np.random.default_rng(2).normal(0, 1, (60, 120))
    alike = [np.ptp(noise_variance(np.log10(X), curve)) == 0 for curve in curves]
    assert np.mean(alike) > 0.85


def test_noise_in_proportion_to_the_level_is_seen():
    truth = np.log(POWER_LAW**2)
    found = np.array([np.log(noise_variance(np.log10(X), curve)) for curve in proportional(POWER_LAW, 0.03, 3, 40)])
    off = (found - found.mean(1, keepdims=True)) - (truth - truth.mean())
    assert np.ptp(truth) > 4
    assert np.sqrt((off**2).mean()) < 0.5


def test_a_short_or_constant_curve_says_nothing():
    assert np.array_equal(noise_variance(np.arange(12.0), np.arange(12.0) ** 2), np.ones(12))
    assert np.array_equal(noise_variance(np.arange(50.0), np.full(50, 3.0)), np.ones(50))


# Windows


def test_windows_are_no_longer_found_in_uneven_noise():
    steep = 250 * X**-0.6
    curves = proportional(steep, 0.03, 4, 8)
    without = pf.detect_windows(curves, x=X, simulations=200)["series"].n_unique()
    told = pf.detect_windows(curves, x=X, variance=steep**2, simulations=200)["series"].n_unique()
    auto = pf.detect_windows(curves, x=X, variance="auto", simulations=200)["series"].n_unique()
    assert without >= 5
    assert told <= 1
    assert auto <= 2


def test_a_window_must_be_one_in_all_noise_that_the_curve_allows():
    # Noise in proportion to the level that happens to look even: alone, that would be held against even noise.
    curves = proportional(POWER_LAW, 0.03, 4, 300)[[165, 172, 274]]
    assert all(np.ptp(noise_variance(np.log10(X), curve)) == 0 for curve in curves)
    assert pf.detect_windows(curves, x=X, simulations=200)["series"].n_unique() == 3
    assert pf.detect_windows(curves, x=X, variance="auto", simulations=200).is_empty()


def test_other_variances_are_steeper_and_flatter_by_what_the_slope_may_be_off():
    curve = proportional(POWER_LAW, 0.03, 3, 1)[0]
    steeper, flatter = (np.log(other) for other in other_variances(np.log10(X), curve))
    fitted = np.log(noise_variance(np.log10(X), curve))
    assert np.ptp(steeper) > np.ptp(fitted) > np.ptp(flatter) > 0
    assert steeper + flatter == pytest.approx(2 * fitted)
    # pi^2 / 2 for a logarithm, 1.6 for shared neighbours; 116 residuals of a regressor of variance 1.
    share = np.ptp(steeper - fitted) / np.ptp(fitted) * np.std(fitted)
    assert share == pytest.approx(1.645 * np.sqrt(1.6 * np.pi**2 / 2 / 116), rel=0.05)
    assert other_variances(np.arange(12.0), np.arange(12.0)) == []


def test_a_drop_in_uneven_noise_is_still_found():
    drop = 6 * np.clip((np.log10(X) - 2.5) / 0.3, 0, 1)
    curves = proportional(POWER_LAW, 0.02, 5, 4) - drop
    found = pf.detect_windows(curves, x=X, variance="auto", simulations=200)
    assert found["series"].n_unique() == 4
    assert (found["size"] < 0).sum() >= 4


def test_each_curve_is_judged_as_if_alone():
    curves = proportional(POWER_LAW, 0.03, 6, 3) - 8 * np.clip((np.log10(X) - 2.5) / 0.3, 0, 1)
    together = pf.detect_windows(curves, x=X, variance="auto", simulations=200)
    assert together.height > 0
    for series, curve in enumerate(curves):
        alone = pf.detect_windows(curve, x=X, variance="auto", simulations=200)
        assert alone.drop("series").equals(together.filter(series=series).drop("series"))


def test_an_unknown_word_is_refused():
    with pytest.raises(UnknownNameError, match="variance is 'level', expected 'auto'"):
        pf.detect_windows(POWER_LAW, x=X, variance="level")
