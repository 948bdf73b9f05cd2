"""What changes at a changepoint, in the words of the cost, and whether anything does."""

import math

import numpy as np
import pytest

import phaseflow as pf
from phaseflow import _core
from phaseflow.changepoint.certainty import existence
from phaseflow.changepoint.effects import Stretch, log_f_quantile, mean_half


def only(found, name, feature=0):
    rows = [row for row in found.effects().iter_rows(named=True) if (row["effect"], row["feature"]) == (name, feature)]
    assert len(rows) == len(found.changepoints) == 1
    return rows[0]


def of(row):
    return row["before"], row["after"], row["size"]


# By hand


def test_a_change_of_scale_is_the_logarithm_of_a_ratio():
    # Squares 4 x 1 and 4 x 9 over 3 degrees of freedom each: scales in the ratio 1 to 3.
    found = pf.detect([1.0, -1, 1, -1, 3, -3, 3, -3], cost="normal", n_changepoints=1, min_size=4)
    scale = only(found, "log_scale")
    assert scale["before"] == pytest.approx(0.5 * math.log(4 / 3))
    assert math.exp(scale["size"]) == pytest.approx(3)
    # The 97.5% quantile of F(3, 3) is 15.44; the interval is the same either way in the logarithm.
    assert scale["size_upper"] - scale["size"] == pytest.approx(0.5 * math.log(15.44), rel=0.05)
    assert of(only(found, "mean")) == (0, 0, 0)


def test_a_change_of_variance_is_about_one_mean():
    found = pf.detect([1.0, -1, 1, -1, 3, -3, 3, -3], cost="variance", n_changepoints=1, min_size=4)
    assert of(only(found, "log_scale")) == pytest.approx((0, math.log(3), math.log(3)))


def test_a_change_of_rate_counts_events():
    found = pf.detect([1, 1, 1, 1, 5, 5, 5, 5], cost="poisson", n_changepoints=1)
    rate = only(found, "log_rate")
    assert math.exp(rate["size"]) == pytest.approx(20.5 / 4.5)
    assert rate["size_upper"] - rate["size"] == pytest.approx(1.95996 * math.sqrt(1 / 4.5 + 1 / 20.5), rel=1e-5)


def test_lines_change_their_level_at_the_changepoint_and_their_slope():
    x = np.array([0.0, 1, 3, 4, 6, 7, 8, 10])
    y = np.where(x < 5, 2 + x, 30 - 2 * x)
    found = pf.detect(y, x=x, cost="linear", n_changepoints=1, min_size=2)
    assert found.changepoints.tolist() == [4]
    assert of(only(found, "slope")) == pytest.approx((1, -2, -3))
    assert of(only(found, "level")) == pytest.approx((8, 18, 10))  # both lines at x = 6


def test_lines_that_meet_change_their_slope():
    x = np.array([0.0, 1, 3, 4, 6, 7, 8, 10])
    found = pf.detect(np.abs(x - 4), x=x, cost="clinear", n_changepoints=1)
    assert of(only(found, "slope")) == pytest.approx((-1, 1, 2))


def test_robust_costs_compare_medians():
    found = pf.detect([0.0, 1, 2, 3, 4, 10, 11, 12, 13, 14], cost="l1", n_changepoints=1)
    row = only(found, "median")
    assert of(row) == (2, 12, 10)
    # Five samples: the smallest and the largest, which 1/32 each lies beyond.
    z = 1.862732
    assert row["size_upper"] - 10 == pytest.approx(1.95996 * math.hypot(4, 4) / (2 * z), rel=1e-4)


def test_a_prediction_changes_its_coefficients():
    y = [1.0]
    random = np.random.default_rng(0)
    for i in range(1, 400):
        y.append((0.9 if i < 200 else -0.5) * y[-1] + random.normal())
    found = pf.detect(y, cost="ar", n_changepoints=1)
    row = only(found, "lag_1")
    assert row["before"] == pytest.approx(0.9, abs=0.1)
    assert row["after"] == pytest.approx(-0.5, abs=0.15)
    assert row["size_lower"] < -1.4 < row["size_upper"] < 0
    assert only(found, "constant")["size_lower"] < 0 < only(found, "constant")["size_upper"]


def test_a_kernel_has_no_parameter_that_could_change():
    found = pf.detect(np.r_[np.zeros(10), np.ones(10)], cost="rbf", n_changepoints=1)
    assert found.effects().height == 0
    assert found.p_values[0] < 0.01


@pytest.mark.parametrize(("first", "second"), [(3, 3), (5, 20), (40, 8), (200, 300)])
def test_quantiles_of_f_are_scipys(first, second):
    stats = pytest.importorskip("scipy.stats")
    for probability in (0.9, 0.975, 0.995):
        expected = math.log(stats.f.ppf(probability, first, second))
        assert log_f_quantile(probability, first, second) == pytest.approx(expected, rel=0.08)


# Simulated: bounds four standard errors wide


def drawn(cost, random):
    """A signal of 60 samples whose 30th begins another segment, and the effects that are true."""
    n, late = 60, np.arange(60) >= 30
    if cost in ("normal", "variance"):
        return random.normal(0, np.where(late, 3.0, 1.0)), {"log_scale": math.log(3)}
    if cost == "poisson":
        return random.poisson(np.where(late, 6.0, 2.0)).astype(float), {"log_rate": math.log(3)}
    if cost in ("linear", "clinear"):
        x = np.arange(n) / 10
        bend = 4 * np.clip(x - 3, 0, None)
        jump = 5 * late if cost == "linear" else 0
        return x + bend + jump + random.normal(0, 1, n), {"slope": 4}
    return random.standard_t(3, n) + 4 * late, {"median": 4}


def test_overdispersed_counts_widen_the_interval_of_a_rate():
    # Means 4 and 16.
    before, after = np.array([1.0, 7, 1, 7]), np.array([10.0, 22, 10, 22])
    # Pearson: 4 * 9 / 4 + 4 * 36 / 16 = 18 over 6 degrees of freedom.
    (row,) = pf.detect(np.r_[before, after], cost="poisson", n_changepoints=1).effects().iter_rows(named=True)
    assert row["size"] == pytest.approx(math.log(64.5 / 16.5))
    half = 1.959964 * math.sqrt(3 * (1 / 16.5 + 1 / 64.5))
    assert row["size_upper"] - row["size"] == pytest.approx(half, rel=1e-6)


def test_intervals_of_overdispersed_counts_hold_rate_and_place():
    random = np.random.default_rng(9)
    held = np.zeros(2)
    for _ in range(150):
        y = random.poisson(random.gamma(3, np.repeat([2.0, 6.0], 60) / 3)).astype(float)
        found = pf.detect(y, cost="poisson", n_changepoints=1, min_size=5)
        (row,) = found.effects().iter_rows(named=True)
        ((first, last),) = _core.place_intervals(
            found.x,
            found.signal,
            found.changepoints.tolist(),
            cost="poisson",
            min_size=5,
            order=1,
            lasting=True,
            level=0.95,
        ).reshape(1, 2)
        held += row["size_lower"] <= math.log(3) <= row["size_upper"], first <= 60 <= last
    # As Poisson counts .83 and .87.
    assert (held >= 0.9 * 150).all()


@pytest.mark.parametrize("cost", ["normal", "variance", "poisson", "linear", "clinear", "l1", "rank"])
def test_intervals_of_effects_cover_what_they_say(cost):
    random = np.random.default_rng(1)
    held = total = 0
    for _ in range(200):
        y, true = drawn(cost, random)
        x = np.arange(60) / 10
        found = pf.detect(y, x=x, cost=cost, n_changepoints=1, min_size=5 if cost != "clinear" else 1)
        for name, size in true.items():
            row = only(found, name)
            held += row["size_lower"] <= size <= row["size_upper"]
            total += 1
    assert held / total > 0.93 - 4 * math.sqrt(0.95 * 0.05 / total)  # the place was chosen where it looks large
    assert held / total < 1


@pytest.mark.parametrize(
    "cost", ["l1", "biweight", "normal", "variance", "poisson", "linear", "clinear", "rank", "cosine", "rbf", "ar"]
)
def test_without_a_change_p_values_are_small_as_seldom_as_they_say(cost):
    # The search over all places is part of the p-value: which of them is the changepoint does not matter.
    random = np.random.default_rng(2)
    p_values = []
    for _ in range(60):
        y = random.poisson(3.0, 40).astype(float) if cost == "poisson" else random.standard_t(4, 40) + 5
        signal = np.stack([y, random.normal(1, 1, 40)], axis=1) if cost == "cosine" else y
        features = signal.reshape(40, -1)
        p_values += existence(np.arange(40.0), features, np.array([20]), cost, 1, 1, lasting=False).tolist()
    below = np.mean(np.array(p_values) <= 0.1)
    assert below <= 0.1 + 4 * math.sqrt(0.1 * 0.9 / 60)
    assert np.mean(np.array(p_values) <= 0.5) > 0.2


def lasting_noise(random, n_samples, rho):
    """AR(1) of variance 1."""
    y = random.normal(0, 1, n_samples + 100)
    for i in range(1, len(y)):
        y[i] = rho * y[i - 1] + math.sqrt(1 - rho**2) * y[i]
    return y[100:]


@pytest.mark.parametrize("cost", ["l2", "l1", "normal", "clinear", "rank"])
def test_in_noise_that_lasts_p_values_are_small_as_seldom_as_they_say(cost):
    random, found = np.random.default_rng(4), {}
    signals = [lasting_noise(random, 80, 0.8)[:, None] for _ in range(80)]
    for lasting in (True, False):
        p_values = [existence(np.arange(80.0), y, np.array([40]), cost, 2, 1, lasting=lasting)[0] for y in signals]
        found[lasting] = np.mean(np.array(p_values) <= 0.1)
    assert found[True] <= 0.12 + 4 * math.sqrt(0.1 * 0.9 / 80)
    assert found[False] > 0.4


def test_a_clear_change_in_noise_that_lasts_has_a_small_p_value():
    y = lasting_noise(np.random.default_rng(1), 200, 0.5) + 4 * (np.arange(200) >= 120)
    found = pf.detect(y)
    assert found.autocorrelation > 0.2
    assert [abs(place - 120) < 5 for place in found.changepoints.tolist()] == [True]
    assert found.p_values[0] < 0.001


def test_in_noise_that_lasts_the_intervals_of_place_and_size_hold_what_they_say():
    random, n = np.random.default_rng(5), 200
    step = 6 * math.sqrt(9 * 4 / n)  # long-run standard errors of AR(1) 0.8
    held, total = np.zeros(2), 0
    for _ in range(150):
        found = pf.detect(lasting_noise(random, n, 0.8) + step * (np.arange(n) >= n // 2), penalty="auto")
        if len(found.changepoints) == 1:
            (first, last), (lower, upper) = found.places[0], found.size_intervals[0, 0]
            held += first <= n // 2 <= last, lower <= step <= upper
            total += 1
    # By the rules for independent noise .87 and .48 (docs/changepoints.md).
    assert total > 60
    assert (held / total > 0.94 - 3 * math.sqrt(0.95 * 0.05 / total)).all()


def test_the_interval_of_a_mean_in_noise_that_lasts_by_hand():
    # rho 1/2: long-run variance 3 times the variance, 12 samples are worth 4: two degrees of freedom.
    y = np.array([1.0, -1, 1, -1, 1, -1, 6, 4, 6, 4, 6, 4])
    stretch = Stretch(np.arange(12.0), y, 6, 1, 0.95, 0.5)
    error = math.sqrt(12 / (12 - 2 * 3) * 3 * (1 / 6 + 1 / 6))
    assert mean_half(stretch, equal=True) == pytest.approx((4.302653 * error, 4.302653 * error))


def test_textbook_penalties_keep_the_certainty_of_independent_noise():
    y = lasting_noise(np.random.default_rng(1), 200, 0.5) + 4 * (np.arange(200) >= 120)
    textbook, given = pf.detect(y, penalty="bic"), pf.detect(y, n_changepoints=1)
    auto = pf.detect(y)
    place = auto.changepoints[0]
    assert given.changepoints.tolist() == [place]
    size = y[place:].mean() - y[:place].mean()
    plain = math.sqrt((len(y[:place]) * y[:place].var() + len(y[place:]) * y[place:].var()) / 198)
    plain *= 1.972017 * math.sqrt(1 / place + 1 / (200 - place))
    assert given.size_intervals[0, 0].tolist() == pytest.approx([size - plain, size + plain], rel=1e-5)
    assert np.ptp(auto.size_intervals[0, 0]) > 1.3 * np.ptp(given.size_intervals[0, 0])
    assert textbook.autocorrelation is None
    assert "p-values and intervals" in auto.assumption


def test_p_values_are_the_same_for_any_number_of_threads():
    y = np.random.default_rng(3).normal(0, 1, (50, 1))
    x = np.arange(50.0)
    one, two = (
        _core.existence_p_values(x, y, [20], cost="normal", min_size=2, order=1, lasting=True, threads=threads)
        for threads in (1, 2)
    )
    assert one == two


# Edges


def test_too_few_samples_for_an_effect_are_null():
    found = pf.detect([0.0, 5, 5, 5], cost="normal", penalty=0.0, min_size=1)
    table = found.effects()
    assert table.height >= 2
    assert pf.detect([1.0, 1, 1]).effects().height == 0
    assert pf.detect([0.0, 9.0], penalty=1.0).effects()["size_lower"].is_null().all()


def test_the_table_names_effects_of_every_feature():
    y = np.r_[np.zeros((10, 2)), np.ones((10, 2))] + np.random.default_rng(0).normal(0, 0.1, (20, 2))
    found = pf.detect(y, n_changepoints=1)
    assert found.effects()["feature"].to_list() == [0, 1]
    printed = str(found)
    assert "mean 0" in printed
    assert "mean 1" in printed
    assert "effect" in printed
