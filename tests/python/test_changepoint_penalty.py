"""Penalties: what each charges, and how often it is mistaken where the noise is not what BIC takes it for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import all_segmentations, binary_segmentation, bottom_up, segment_cost, total_cost


def noise(n_series, n_samples, rho=0.0, seed=0):
    draws = np.random.default_rng(seed).standard_normal((n_series, n_samples))
    for i in range(1, n_samples):
        draws[:, i] = rho * draws[:, i - 1] + np.sqrt(1 - rho**2) * draws[:, i]
    return draws


def alarms(curves, **options):
    return np.mean([len(pf.detect(curve, **options).changepoints) > 0 for curve in curves])


# What is charged


def test_mbic_charges_two_log_n_a_place_and_the_log_of_its_length_a_segment():
    y = np.concatenate([np.zeros(10), np.full(30, 50.0)]) + noise(1, 40)[0]
    found = pf.detect(y, penalty="mbic")
    assert found.changepoints.tolist() == [10]
    assert found.penalty == pytest.approx(2 * np.log(40) * found.noise_variance)
    # One more cut at 20 gains less than 2 ln 40 + ln 10 + ln 20 - ln 30.
    assert found.noise_variance == pytest.approx(pf.detect(y, penalty="bic").noise_variance)


def test_the_default_charges_bic_in_the_long_run_variance():
    y = noise(1, 4000, rho=0.6)[0]
    found = pf.detect(2 * y)
    assert found.criterion == "auto"
    assert found.penalty == pytest.approx(2 * np.log(4000) * found.noise_variance)
    assert found.autocorrelation == pytest.approx(0.6, abs=0.06)
    # 4 (1 + 0.6) / (1 - 0.6) = 16.
    assert found.noise_variance == pytest.approx(16, rel=0.35)
    assert f"coefficient {found.autocorrelation:.2f} estimated" in str(found)


def test_a_likelihood_is_charged_as_many_times_as_the_noise_lasts():
    y = noise(1, 4000, rho=0.6)[0]
    for cost, parameters in (("normal", 3), ("rank", 2)):
        found = pf.detect(y, cost=cost)
        factor = found.penalty / (parameters * np.log(4000))
        rho = found.autocorrelation
        assert factor == pytest.approx((1 + rho) / (1 - rho))
        assert factor == pytest.approx(4, rel=0.25)


def test_counts_are_charged_by_as_much_as_they_vary_more_than_poissons():
    # 4 / 4 and 16 / 6 are 11/6 on average, of which squares cut at nine times the mean keep .995.
    found = pf.detect([3.0, 1.0, 5.0], cost="poisson")
    assert found.penalty == pytest.approx(2 * np.log(30) * 11 / 6 / 0.995)
    assert "counts that vary" in found.assumption
    # Other criteria take them for Poisson's.
    assert pf.detect([3.0, 1.0, 5.0], cost="poisson", penalty="bic").penalty == pytest.approx(2 * np.log(3))


@pytest.mark.parametrize("dispersed", [False, True])
def test_overdispersed_counts_are_no_change_and_a_change_of_them_is_found(dispersed):
    random = np.random.default_rng(12)

    def counts(rate):
        return random.poisson(rate * (random.gamma(3, 1 / 3, 200) if dispersed else np.ones(200))).astype(float)

    without = [len(pf.detect(counts(20.0), cost="poisson").changepoints) > 0 for _ in range(60)]
    assert sum(without) <= 9
    if dispersed:
        bic = [len(pf.detect(counts(20.0), cost="poisson", penalty="bic").changepoints) > 0 for _ in range(10)]
        assert all(bic)
    rate = np.where(np.arange(200) < 100, 20.0, 60.0)
    for _ in range(5):
        found = pf.detect(counts(rate), cost="poisson").changepoints
        assert np.abs(found - 100).min() <= 3


def test_too_few_samples_to_tell_are_taken_for_independent():
    y = noise(1, 19, rho=0.9)[0]
    auto, bic = pf.detect(y), pf.detect(y, penalty="bic")
    assert auto.noise_variance == bic.noise_variance
    assert auto.autocorrelation is None
    assert auto.assumption == bic.assumption == "noise independent between samples and equally strong everywhere"


# Few samples


def test_a_variance_read_off_few_differences_is_charged_as_an_unknown_one():
    y = [0.0, 1.0, 0.5, 2.5, 2.0, 1.0, 1.75]
    # Differences 1, -.5, 2, -.5, -1, .75: their median 7/8, known as well as from two independent squares.
    variance = (1.482602218505602 * 0.875) ** 2 / 2
    found = pf.detect(y)
    assert found.noise_variance == pytest.approx(variance)
    assert found.penalty == pytest.approx(variance * 2 * np.expm1(2 * np.log(30) / 2))  # 2 * (30 - 1) variances
    both = pf.detect(np.stack([y, y], axis=1))
    # Two features of the same spread know their mean variance twice as well.
    assert both.penalty == pytest.approx(variance * 4 * np.expm1(3 * np.log(30) / 4))
    assert pf.detect(y, cost="l1").penalty == pytest.approx(
        np.sqrt(2 * np.pi * variance) / 4 * 8 * np.expm1(2 * np.log(30) / 8)
    )


def test_where_most_neighbours_are_equal_the_mean_square_is_no_estimate_but_a_bound():
    found = pf.detect([1.0, 1.0, 1.0, 5.0, 5.0, 5.0])
    assert found.changepoints.tolist() == [3]
    assert found.penalty == pytest.approx(2 * np.log(6) * 16 / 2 / 5)


@pytest.mark.parametrize("cost", ["l2", "l1", "biweight", "normal", "variance", "linear", "clinear"])
@pytest.mark.parametrize("n_samples", [10, 20, 40])
def test_a_short_signal_of_noise_has_no_change(cost, n_samples):
    # Shares of .07 or less in benches/penalty_calibration.py.
    curves = noise(150, n_samples, seed=8)
    assert alarms(curves, cost=cost) <= 0.12 < alarms(curves, cost=cost, penalty="bic")


@pytest.mark.parametrize("n_samples", [4, 6, 8, 12])
def test_a_step_far_above_the_noise_is_found_in_very_few_samples(n_samples):
    half = n_samples // 2
    wobble = np.where(np.arange(half) % 2, 0.1, -0.1)
    for cost, step in (("l2", 1e6), ("l1", 1e6), ("biweight", 100.0)):
        y = np.concatenate([wobble, step - wobble])
        assert pf.detect(y, cost=cost).changepoints.tolist() == [half], cost
    assert pf.detect(np.repeat([0.0, 5.0], half)).changepoints.tolist() == [half]


@pytest.mark.parametrize("cost", ["l2", "l1", "normal", "rank"])
def test_a_clear_step_in_few_samples_is_found(cost):
    for y in noise(20, 12, seed=9):
        assert pf.detect(y + np.where(np.arange(12) < 6, 0, 20), cost=cost).changepoints.tolist() == [6]


def test_samples_that_lie_together_by_chance_are_no_segment_to_the_default():
    y = noise(1, 60, seed=10)[0]
    y[30:33] = [0.4, 0.4001, 0.4002]
    assert {30, 33} <= set(pf.detect(y, cost="normal", penalty="bic").changepoints.tolist())
    assert pf.detect(y, cost="normal").changepoints.tolist() == []
    y[30:35] = 0.4 + np.array([0, 1, 2, 1, 0]) * 1e-4
    assert pf.detect(y, cost="normal").changepoints.tolist() == [30, 35]
    # A given price takes any segment for one.
    y = noise(1, 60, seed=10)[0]
    y[30] = 40.0
    assert pf.detect(y, cost="l1").changepoints.tolist() == []
    assert pf.detect(y, cost="l1", penalty=10.0).changepoints.tolist() == [30, 31]


@pytest.mark.parametrize("n_samples", [50, 200])
def test_l1_finds_nothing_in_noise_with_heavy_tails(n_samples):
    heavy = np.random.default_rng(11).standard_t(2, (100, n_samples))
    assert alarms(heavy, cost="l1") <= 0.08
    assert alarms(heavy, cost="l1", penalty="bic") > 0.4
    step = 10 * 2 * 1.5 / np.sqrt(n_samples)  # ten standard errors of a difference of medians, and a little
    assert alarms(heavy + np.where(np.arange(n_samples) < n_samples // 2, 0, step), cost="l1") > 0.9


# Every segmentation


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_samples=st.integers(2, 10),
    min_size=st.integers(1, 3),
    jump=st.integers(1, 2),
    which=st.sampled_from(
        [("l2", "auto"), ("l2", "optimal"), ("l2", "pelt"), ("linear", "pelt"), ("l1", "pelt"), ("normal", "pelt")]
    ),
)
def test_no_segmentation_is_cheaper_with_lengths_charged(seed, n_samples, min_size, jump, which):
    cost, search = which
    min_size = min(max(min_size, 2 if cost == "normal" else 1), n_samples)
    random = np.random.default_rng(seed)
    y = np.repeat(random.normal(0, 3, n_samples), random.integers(1, 4, n_samples))[:n_samples]
    y = y + random.normal(0, 0.3, n_samples)
    x = np.arange(float(n_samples))
    found = pf.detect(y, x=x, cost=cost, search=search, penalty="mbic", min_size=min_size, jump=jump)
    worth = found.penalty / (2 * np.log(n_samples))
    parameters = {"l2": 1, "l1": 1, "linear": 2, "normal": 2}[cost]
    variance = pf.detect(y, x=x, cost="linear" if cost == "linear" else "l2", penalty="bic").noise_variance

    def price(cuts):
        lengths = np.diff([0, *cuts, n_samples])
        charged = found.penalty * len(cuts) + worth * parameters * np.log(lengths).sum()
        return total_cost(cost, x, y, cuts, noise=variance) + charged

    cheapest = min(price(cuts) for cuts in all_segmentations(n_samples, min_size, jump))
    assert price(found.changepoints.tolist()) == pytest.approx(cheapest, rel=1e-6, abs=1e-6)


def test_pruning_leaves_room_for_the_lengths():
    for seed in range(30):
        random = np.random.default_rng(seed)
        y = np.repeat(random.normal(0, 1.5, 40), random.integers(1, 12, 40))[:200] + random.normal(0, 1, 200)
        pruned, whole = (pf.detect(y, penalty="mbic", search=search) for search in ("pelt", "optimal"))
        assert pruned.changepoints.tolist() == whole.changepoints.tolist()


@pytest.mark.parametrize(("search", "slowly"), [("binseg", binary_segmentation), ("bottom-up", bottom_up)])
def test_greedy_searches_charge_for_lengths_too(search, slowly):
    y = np.concatenate([np.zeros(40), np.full(3, 2.6), np.zeros(40)]) + 0.5 * noise(1, 83)[0]
    found = pf.detect(y, search=search, penalty="mbic")

    def cost(start, end):
        return segment_cost("l2", None, y, start, end) + found.noise_variance * np.log(end - start)

    assert found.changepoints.tolist() == slowly(cost, 83, found.penalty)


# How often it is mistaken: bounds five standard errors above what benches/penalty_calibration.py measures


@pytest.mark.parametrize("cost", ["l2", "l1"])
@pytest.mark.parametrize(("rho", "most"), [(0.0, 0.09), (0.5, 0.18), (0.9, 0.28)])
def test_noise_that_lasts_is_no_change(rho, most, cost):
    curves = noise(100, 200, rho=rho, seed=5)
    assert alarms(curves, cost=cost) <= most
    if rho:
        assert alarms(curves, cost=cost, penalty="bic") > 0.9


def test_noise_that_falls_along_the_curve_is_no_change():
    curves = noise(100, 200, seed=6) * np.geomspace(2, 0.5, 200)
    assert alarms(curves) <= 0.25
    assert alarms(curves, penalty="bic") > 0.6


def test_a_drift_is_no_staircase_to_the_default():
    loss = 3 + 2 * np.exp(-np.arange(300) / 80) + 0.003 * noise(1, 300)[0]
    assert pf.detect(loss).changepoints.size <= 1
    assert pf.detect(loss, penalty="bic").changepoints.size > 20


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_step_of_ten_standard_errors_is_still_found(rho):
    error = 2 * np.sqrt((1 + rho) / (1 - rho) / 200)
    curves = noise(60, 200, rho=rho, seed=7) + np.where(np.arange(200) < 100, 0, 10 * error)
    assert alarms(curves) > 0.9


# Laws


def test_offset_and_unit_move_only_the_penalty():
    y = noise(1, 200, rho=0.5)[0] + np.where(np.arange(200) < 80, 0, 9)
    plain = pf.detect(y)
    for factor, offset in ((1.0, 1e8), (1e-200, 0.0), (-1e100, 0.0)):
        moved = pf.detect(factor * y + offset)
        assert moved.changepoints.tolist() == plain.changepoints.tolist()
        assert moved.autocorrelation == pytest.approx(plain.autocorrelation, abs=0.011)


def test_many_series_are_charged_as_each_by_itself():
    y = noise(40, 90, rho=0.6, seed=3) + np.where(np.arange(90) < 40, 0, 4)
    found = pf.detect_many(y)
    for series, row in enumerate(y):
        mine = found.filter(found["series"] == series)["changepoint"].to_list()
        assert mine == pf.detect(row).changepoints.tolist()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cost": "clinear"}, 'penalty "mbic" charges for the length'),
        ({"cost": "biweight"}, 'penalty "mbic" charges for the length'),
        ({"search": "functional"}, "without a penalty on lengths"),
    ],
)
def test_mbic_is_refused_where_it_cannot_be_searched_for(arguments, words):
    with pytest.raises(pf.exceptions.ParameterError, match=words):
        pf.detect(np.arange(30.0), penalty="mbic", **arguments)
