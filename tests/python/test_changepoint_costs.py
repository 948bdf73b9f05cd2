"""Every cost and search of detect: by hand, against every segmentation, beside ruptures, and its laws."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.changepoint import all_segmentations, binary_segmentation, bottom_up, segment_cost, total_cost

SEPARATE = ["l2", "l1", "normal", "variance", "poisson", "linear", "rank", "cosine", "rbf"]


def problem(cost, seed, n_samples, n_features=1):
    random = np.random.default_rng(seed)
    shape = (n_samples, n_features)
    spread = np.repeat(random.choice([0.5, 3.0], n_samples), random.integers(1, 5, n_samples))[:n_samples, None]
    levels = np.repeat(random.normal(0, 3, shape), random.integers(1, 5, n_samples), axis=0)[:n_samples]
    y = levels + spread * random.normal(0, 1, shape)
    if cost == "poisson":
        y = random.poisson(np.exp(0.4 * levels)).astype(float)
    return np.cumsum(random.uniform(0.1, 3, n_samples)), y


def noise_of(y):
    """The noise variance as the costs are given it."""
    return pf.detect(y, penalty="bic").noise_variance


# By hand


def test_l1_counts_distances_from_the_median():
    found = pf.detect([0, 0, 1, 0, 50, 7, 7, 7], cost="l1", penalty=10)
    # Medians 0 and 7: distances 1 + 50; a cut on either side of the 50 would save 43 and cost 20.
    assert found.changepoints.tolist() == [4, 5]
    one = pf.detect([0, 0, 1, 0, 50, 7, 7, 7], cost="l1", n_changepoints=1)
    assert one.changepoints.tolist() == [4]
    assert one.costs.tolist() == [1, 43]


def test_a_score_that_jumps_and_stays_is_cut_once_whatever_its_outliers():
    random = np.random.default_rng(0)
    score = np.repeat([0.05, 0.8], [60, 40]) + random.normal(0, 0.02, 100)
    score[[10, 30, 75]] = [0.9, 0.6, 0.0]
    found = pf.detect(score, cost="biweight")
    assert found.changepoints.tolist() == [60]
    assert found.search == "functional"
    assert len(pf.detect(score).changepoints) > 1


def test_normal_sees_a_change_of_spread():
    y = np.r_[np.random.default_rng(0).normal(0, 1, 80), np.random.default_rng(1).normal(0, 5, 80)]
    found = pf.detect(y, cost="normal")
    assert found.changepoints.tolist() == [pytest.approx(80, abs=3)]
    assert found.costs[0] == pytest.approx(
        len(y[: found.changepoints[0]]) * np.log(y[: found.changepoints[0]].var()), rel=1e-4
    )


def test_with_one_mean_only_a_change_of_spread_is_a_change():
    # Squares 1 and 16 about the mean 0: 6 ln 1 + 6 ln 16 in place of 12 ln(17 / 2).
    y = [1, -1, 1, -1, 1, -1, 4, -4, 4, -4, 4, -4]
    found = pf.detect(y, cost="variance", penalty=3.0)
    assert found.changepoints.tolist() == [6]
    assert found.cost == pytest.approx(6 * np.log(16), rel=1e-4)
    assert np.isnan(found.sizes).all()
    assert pf.detect(y, cost="variance", penalty=12 * np.log(17 / 2) - 6 * np.log(16) + 0.01).changepoints.size == 0


def test_rates_of_counts_are_cut_where_they_change():
    y = [1, 0, 1, 1, 0, 9, 8, 11, 9]
    found = pf.detect(y, cost="poisson")
    assert found.changepoints.tolist() == [5]
    assert found.costs.tolist() == pytest.approx([2 * (3 - 3 * np.log(3 / 5)), 2 * (37 - 37 * np.log(37 / 4))])


def test_directions_change_whatever_the_length():
    y = [[1, 0], [5, 0], [2, 0], [0, 3], [0, 1]]
    found = pf.detect(y, cost="cosine", penalty=0.5)
    assert found.changepoints.tolist() == [3]
    assert found.cost == pytest.approx(0, abs=1e-15)
    # All together: 5 less the squared length 3^2 + 2^2 of the sum over 5.
    assert pf.detect(y, cost="cosine", n_changepoints=0).cost == pytest.approx(5 - 13 / 5)


def test_criteria_of_likelihoods_charge_in_their_own_unit():
    y = problem("normal", 3, 50, 2)[1]
    assert pf.detect(y, cost="normal", penalty="bic").penalty == pytest.approx((1 + 2 + 3) * np.log(50))
    assert pf.detect(y, cost="rank", penalty="bic").penalty == pytest.approx(3 * np.log(50))
    scale = np.sqrt(noise_of(y) / 2)
    assert pf.detect(y, cost="l1", penalty="bic").penalty == pytest.approx(3 * np.log(50) * scale / 2)


def test_the_default_charges_l1_for_normal_noise():
    y = np.random.default_rng(2).standard_normal(50)
    found = pf.detect(y, cost="l1")
    assert found.autocorrelation == 0
    density_at_median = 1 / np.sqrt(2 * np.pi * found.noise_variance)
    assert found.penalty == pytest.approx(2 * np.log(50) / (4 * density_at_median))


def test_in_noise_that_lasts_the_default_charges_l1_for_the_signs():
    y = np.random.default_rng(2).standard_normal(300)
    for i in range(1, 300):
        y[i] += 0.8 * y[i - 1]
    found = pf.detect(y, cost="l1")
    rho = found.autocorrelation
    assert 0.6 < rho < 0.95
    # Sign(a) and sign(b) of normal a and b with correlation c have the correlation 2 asin(c) / pi.
    signs = 1 + 2 * np.sum(2 / np.pi * np.arcsin(rho ** np.arange(1, 1000)))
    deviation = np.sqrt(found.noise_variance * (1 - rho) / (1 + rho))
    assert found.penalty == pytest.approx(2 * np.log(300) * signs * np.sqrt(2 * np.pi) * deviation / 4, rel=1e-3)


@pytest.mark.parametrize("law", ["normal", "laplace"])
def test_l1_finds_few_changes_where_there_are_none_and_still_finds_one(law):
    noise = getattr(np.random.default_rng(0), law)(size=(100, 100))
    step = np.where(np.arange(100) < 50, 0.0, 2.0)
    share = [pf.detect_many(y, cost="l1")["series"].n_unique() / 100 for y in (noise, noise + step)]
    assert share[0] <= 0.06
    assert share[1] >= 0.95


# Every segmentation


@settings(max_examples=150, deadline=None)
@given(
    cost=st.sampled_from(SEPARATE),
    search=st.sampled_from(["auto", "optimal", "pelt"]),
    seed=st.integers(0, 2**31),
    n_samples=st.integers(2, 8),
    n_features=st.integers(1, 2),
    min_size=st.integers(1, 3),
    jump=st.integers(1, 2),
    penalty=st.sampled_from([0.05, 0.5, 3.0]),
)
def test_no_segmentation_is_cheaper(cost, search, seed, n_samples, n_features, min_size, jump, penalty):
    x, y = problem(cost, seed, n_samples, n_features)
    least = min(1 + n_features, n_samples) if cost in ("normal", "variance") else 1
    min_size = min(max(min_size, least), n_samples)
    found = pf.detect(y, x=x, cost=cost, search=search, penalty=penalty, min_size=min_size, jump=jump)
    bounds = [0, *found.changepoints, n_samples]
    assert all(b - a >= min_size for a, b in pairwise(bounds))
    assert all(changepoint % jump == 0 for changepoint in found.changepoints)
    noise = noise_of(y)
    every = list(all_segmentations(n_samples, min_size, jump))
    cheapest = min(total_cost(cost, x, y, cuts, noise) + penalty * len(cuts) for cuts in every)
    assert found.cost + penalty * len(found.changepoints) == pytest.approx(cheapest, rel=1e-7, abs=1e-7)
    count = len(found.changepoints)
    fixed = pf.detect(y, x=x, cost=cost, n_changepoints=count, min_size=min_size, jump=jump)
    assert fixed.cost == pytest.approx(
        min(total_cost(cost, x, y, cuts, noise) for cuts in every if len(cuts) == count), rel=1e-7, abs=1e-7
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), n_samples=st.integers(2, 9), penalty=st.sampled_from([0.1, 2.0, 20.0]))
def test_no_segmentation_is_cheaper_for_the_biweight_loss(seed, n_samples, penalty):
    x, y = problem("biweight", seed, n_samples)
    noise = noise_of(y)
    found = pf.detect(y, cost="biweight", penalty=penalty)
    every = all_segmentations(n_samples)
    cheapest = min(total_cost("biweight", x, y, cuts, noise) + penalty * len(cuts) for cuts in every)
    assert found.cost + penalty * len(found.changepoints) == pytest.approx(cheapest, rel=1e-8, abs=1e-8)


def test_the_biweight_loss_of_nearby_samples_is_l2():
    for seed in range(30):
        y = np.random.default_rng(seed).uniform(-1, 1, 80)
        squares, clipped = (pf.detect(y, cost=cost, penalty=0.5) for cost in ("l2", "biweight"))
        assert squares.cost + 0.5 * len(squares.changepoints) == pytest.approx(
            clipped.cost + 0.5 * len(clipped.changepoints), rel=1e-10
        )


@pytest.mark.parametrize("cost", ["l1", "normal", "poisson", "rbf"])
@pytest.mark.parametrize("min_size", [1, 4])
def test_pruning_never_changes_the_cost(cost, min_size):
    for seed in range(15):
        x, y = problem(cost, seed, 60)
        totals = []
        for search in ("pelt", "optimal"):
            found = pf.detect(y, x=x, cost=cost, search=search, penalty=1.5, min_size=min_size)
            totals.append(found.cost + 1.5 * len(found.changepoints))
        assert totals[0] == pytest.approx(totals[1], rel=1e-10)


@pytest.mark.parametrize("cost", ["l2", "l1", "normal", "variance", "poisson", "linear"])
@pytest.mark.parametrize("min_size", [1, 6])
def test_starts_that_wait_are_priced_again_when_a_change_comes(cost, min_size):
    # Long segments, clear changes and hardly visible ones: most starts wait, and the best may be one of them.
    for seed in range(6):
        random = np.random.default_rng(seed)
        sizes = random.integers(1, 160, 12)
        level = np.repeat(random.normal(0, 1.5, 12), sizes)[:500]
        y = level + np.repeat(random.choice([0.5, 1.0, 3.0], 12), sizes)[:500] * random.normal(0, 1, len(level))
        y = random.poisson(np.exp(0.5 * level)).astype(float) if cost == "poisson" else y
        for penalty in (4.0, 30.0, "mbic"):
            pair = [pf.detect(y, cost=cost, search=each, penalty=penalty, min_size=min_size) for each in EXACT]
            totals = [whole_price(found, cost) for found in pair]
            assert totals[0] == pytest.approx(totals[1], rel=1e-12)


EXACT = ("pelt", "optimal")


def whole_price(found, cost):
    """With mBIC's charge for lengths."""
    total = found.cost + found.penalty * len(found.changepoints)
    if found.criterion == "mbic":
        own = {"normal": 2, "linear": 2}.get(cost, 1)
        bounds = [0, *found.changepoints, len(found.x)]
        total += own * worth(found, cost) * sum(np.log(end - start) for start, end in pairwise(bounds))
    return total


def worth(found, cost):
    """What a parameter is charged in: mBIC's penalty is 2 ln n of it."""
    return found.penalty / (2 * np.log(len(found.x)))


def test_bounds_decide_nothing_that_is_close():
    # Segments of a few values tie or nearly do; the bounds that prune are good to 1e-7 a sample.
    for seed in range(40):
        random = np.random.default_rng(seed)
        y = np.cumsum(random.integers(-1, 2, 250)) + 1e-5 * random.normal(0, 1, 250)
        totals = []
        for search in ("pelt", "optimal"):
            found = pf.detect(y, cost="normal", search=search, penalty=1.0)
            totals.append(found.cost + len(found.changepoints))
        assert totals[0] == pytest.approx(totals[1], rel=1e-13)


@settings(max_examples=80, deadline=None)
@given(
    cost=st.sampled_from(["l2", "linear", "normal"]),
    seed=st.integers(0, 2**31),
    n_samples=st.integers(2, 25),
    min_size=st.integers(2, 4),
    jump=st.integers(1, 3),
    penalty=st.sampled_from([0.5, 5.0]),
)
def test_greedy_searches_do_what_they_say(cost, seed, n_samples, min_size, jump, penalty):
    x, y = problem(cost, seed, n_samples)
    min_size = min(min_size, n_samples)
    noise = noise_of(y)

    def price(start, end):
        return segment_cost(cost, x, y, start, end, noise)

    for search, oracle in (("binseg", binary_segmentation), ("bottom-up", bottom_up)):
        found = pf.detect(y, x=x, cost=cost, search=search, penalty=penalty, min_size=min_size, jump=jump)
        expected = oracle(price, n_samples, penalty, min_size, jump)
        assert found.changepoints.tolist() == expected
        fixed = pf.detect(y, x=x, cost=cost, search=search, n_changepoints=len(expected), min_size=min_size, jump=jump)
        assert fixed.changepoints.tolist() == expected


# Beside ruptures


@pytest.mark.parametrize(("cost", "min_size"), [("l1", 2), ("normal", 4), ("rank", 2)])
def test_costs_that_ruptures_has_cost_the_same(cost, min_size):
    ruptures = pytest.importorskip("ruptures")
    for seed in range(6):
        x, y = problem(cost, seed, 50, 2 if cost == "rank" else 1)
        y = y + np.random.default_rng(seed).normal(0, 0.3, y.shape)
        params = {"add_small_diag": False} if cost == "normal" else None
        theirs = ruptures.Dynp(model=cost, params=params, min_size=min_size, jump=1).fit(y).predict(n_bkps=3)[:-1]
        ours = pf.detect(y, x=x, cost=cost, n_changepoints=3, min_size=min_size)
        assert ours.cost == pytest.approx(total_cost(cost, x, y, theirs, noise_of(y)), rel=1e-6)


@pytest.mark.parametrize("kernel", ["rbf", "cosine"])
def test_kernels_cost_what_ruptures_finds(kernel):
    ruptures = pytest.importorskip("ruptures")
    for seed in range(6):
        y = problem(kernel, seed, 60, 3)[1]
        theirs = ruptures.KernelCPD(kernel=kernel, min_size=1).fit(y).predict(pen=0.7)[:-1]
        ours = pf.detect(y, cost=kernel, penalty=0.7)
        expected = total_cost(kernel, None, y, theirs) + 0.7 * len(theirs)
        assert ours.cost + 0.7 * len(ours.changepoints) == pytest.approx(expected, rel=1e-6)


def test_binary_segmentation_is_that_of_ruptures():
    ruptures = pytest.importorskip("ruptures")
    for seed in range(10):
        y = problem("l2", seed, 60)[1]
        theirs = ruptures.Binseg(model="l2", min_size=2, jump=1).fit(y).predict(pen=6.0)[:-1]
        assert pf.detect(y, search="binseg", penalty=6.0, min_size=2).changepoints.tolist() == theirs


# Laws and edges


@pytest.mark.parametrize("cost", ["l1", "biweight", "normal", "rank", "rbf"])
def test_offset_and_unit_change_no_changepoint(cost):
    y = problem(cost, 7, 60)[1][:, 0]
    plain = pf.detect(y, cost=cost, penalty="bic")
    assert plain.changepoints.size
    for other in (y + 1e6, y * 1e-100, y * 1e140, -y):
        assert pf.detect(other, cost=cost, penalty="bic").changepoints.tolist() == plain.changepoints.tolist()


def test_normal_costs_are_in_the_unit_of_the_signal():
    y = problem("normal", 7, 60, 2)[1]
    plain, scaled = pf.detect(y, cost="normal"), pf.detect(1000 * y, cost="normal")
    assert scaled.cost == pytest.approx(plain.cost + 60 * 4 * np.log(1000))


@pytest.mark.parametrize("cost", [*SEPARATE, "biweight", "clinear"])
def test_missing_samples_are_left_out(cost):
    x, y = problem(cost, 5, 40)
    holes = y.copy()
    holes[[0, 7, 8, 30]] = np.nan
    there = ~np.isnan(holes[:, 0])
    found = pf.detect(holes, x=x, cost=cost)
    alone = pf.detect(y[there], x=x[there], cost=cost)
    assert found.changepoints.tolist() == np.flatnonzero(there)[alone.changepoints].tolist()
    assert found.costs.tolist() == alone.costs.tolist()
    assert found.means == pytest.approx(alone.means)


@pytest.mark.parametrize("cost", [*SEPARATE, "biweight"])
@pytest.mark.parametrize("n_samples", [1, 2, 3, 30])
def test_a_constant_has_no_changepoint(cost, n_samples):
    assert pf.detect(np.full(n_samples, 7.0), cost=cost).changepoints.size == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cost": "poisson", "signal": [1.0, -1.0]}, r"-1 at \[1, 0\]"),
        ({"cost": "cosine", "signal": [1.0, 0.0]}, "0 at sample 1"),
        ({"cost": "biweight", "n_changepoints": 1}, "needs a penalty"),
        ({"cost": "biweight", "min_size": 2}, "min_size=1"),
        ({"cost": "biweight", "search": "pelt"}, "functional"),
        ({"cost": "biweight", "signal": np.zeros((4, 2))}, "one feature"),
        ({"cost": "rbf", "search": "binseg"}, "exact"),
        ({"cost": "l1", "search": "functional"}, "pelt"),
        ({"search": "binseg", "n_changepoints": 4}, "n_changepoints is 4"),
        ({"search": "bottom-up", "n_changepoints": 4}, "n_changepoints is 4"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_by_name(arguments, words):
    with pytest.raises(pf.exceptions.ParameterError, match=words):
        pf.detect(**({"signal": [0.0, 1.0, 0.0, 2.0]} | arguments))
