"""Online detection: by hand, against every segmentation, what is announced, and a state that survives."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
import phaseflow.exceptions
from oracles.online import line_start_posterior, log_evidence, poisson_evidence_by_quadrature, start_posterior
from phaseflow import _core
from phaseflow.changepoint.prior import default_prior
from shared_data import shared

PRIORS = {
    "normal": {"mean": 0.5, "kappa": 0.3, "alpha": 1.5, "beta": 2.0},
    "student": {"mean": 0.5, "kappa": 0.3, "alpha": 1.5, "beta": 2.0, "freedom": 4.0},
    "level": {"mean": 0.5, "variance": 4.0, "noise_variance": 1.5},
    "linear": {"mean": 0.5, "kappa": 0.3, "slope_kappa": 0.7, "alpha": 1.5, "beta": 2.0},
    "autoregressive": {"mean": 0.5, "kappa": 0.3, "slope_kappa": 0.7, "alpha": 1.5, "beta": 2.0},
    "poisson": {"alpha": 1.5, "beta": 0.4},
    "bernoulli": {"alpha": 0.5, "beta": 0.8},
}


def samples(observation, seed, n_samples):
    random = np.random.default_rng(seed)
    x = np.cumsum(random.uniform(0.1, 3, n_samples))
    levels = np.repeat(random.normal(0, 3, n_samples), random.integers(1, 5, n_samples))[:n_samples]
    y = levels + random.normal(0, 1, n_samples)
    if observation == "poisson":
        y = random.poisson(np.exp(0.3 * levels)).astype(float)
    if observation == "bernoulli":
        y = (y > 0).astype(float)
    return x, y


def runs(observation, prior, expected_length, **options):
    options = {"min_size": 1, "least": 0.0, "most": 10_000, "certainty": 0.95, "level": 0.9} | options
    return _core.OnlineRuns(observation, list(prior.items()), expected_length=expected_length, **options)


# By hand


def test_two_throws_of_a_coin_that_may_be_changed_between_them():
    # One coin: 3/4 * 1/2 * 1/3. A new one: 1/4 * 1/2 * 1/2. So 2/3 and 1/3.
    coin = {"alpha": 1, "beta": 1}
    found = pf.run_length_posterior([1, 0], observation="bernoulli", prior=coin, expected_length=4)
    assert found.columns == ["sample", "start", "run_length", "probability"]
    assert found.select("sample", "start", "run_length").rows() == [(0, 0, 1), (1, 0, 2), (1, 1, 1)]
    assert found["probability"].to_list() == pytest.approx([1, 2 / 3, 1 / 3], rel=1e-14)


def test_the_next_sample_of_a_normal_segment_is_students_t():
    # After 1 and 3 with mean 0, kappa 1, alpha 1, beta 1: kappa 3, mean 4/3, alpha 2, and beta 1 + 1/4 + 4/3 * ... :
    # 1 * 1 / (2 * 2) = 1/4, then 2 * (3 - 1/2)^2 / (2 * 3) = 25/12; beta = 10/3.
    scipy_stats = pytest.importorskip("scipy.stats")
    prior = {"mean": 0.0, "kappa": 1.0, "alpha": 1.0, "beta": 1.0}
    detector = runs("normal", prior, 1e300)
    for x, value in enumerate([1.0, 3.0]):
        detector.update(x, value)
    before = detector.log_evidence
    detector.update(2, 5.0)
    scale = np.sqrt(10 / 3 * 4 / (2 * 3))
    assert detector.log_evidence - before == pytest.approx(scipy_stats.t.logpdf(5, 4, 4 / 3, scale), rel=1e-13)


def test_the_oracle_itself_integrates_the_prior():
    pytest.importorskip("scipy")
    y = np.array([2.0, 0.0, 5.0])
    expected = poisson_evidence_by_quadrature(1.5, 0.4, y)
    assert log_evidence("poisson", PRIORS["poisson"], y, y) == pytest.approx(expected, rel=1e-6)


# Every segmentation


@settings(max_examples=60, deadline=None)
@given(
    observation=st.sampled_from(list(PRIORS)),
    seed=st.integers(0, 2**31),
    n_samples=st.integers(1, 8),
    expected_length=st.sampled_from([1.5, 10.0, 1000.0]),
    min_size=st.integers(1, 3),
)
def test_the_posterior_is_the_sum_over_all_segmentations(observation, seed, n_samples, expected_length, min_size):
    x, y = samples(observation, seed, n_samples)
    detector = runs(observation, PRIORS[observation], expected_length, min_size=min_size)
    for sample in zip(x, y, strict=True):
        detector.update(*sample)
    expected, evidence = start_posterior(observation, PRIORS[observation], x, y, expected_length, min_size)
    starts, probabilities = detector.posterior()
    assert starts.tolist() == [0, *range(min_size, n_samples)]
    assert probabilities == pytest.approx(expected[starts], rel=1e-8, abs=1e-14)
    assert expected.sum() == pytest.approx(expected[starts].sum())
    assert detector.log_evidence == pytest.approx(evidence, rel=1e-9, abs=1e-9)


def hostile_samples():
    random = np.random.default_rng(4)
    noise, zeros = random.normal(0, 1, 40), np.zeros(25)
    return {
        "noise": noise,
        "zeros": np.zeros(40),
        "sevens": np.full(40, 7.0),
        "zeros, then ones": np.r_[zeros, np.ones(15)],
        "zeros, then noise": np.r_[zeros, noise[:15]],
        "zeros, then noise about 1e8": np.r_[zeros, 1e8 + noise[:15]],
        "zeros, then a walk": np.r_[zeros, np.cumsum(noise[:15])],
        "noise about 1e8": 1e8 + noise,
        "noise, then about 1e8": np.r_[noise[:25], 1e8 + noise[25:]],
        "noise of 1e-130": 1e-130 * noise,
        "noise of 1e130": 1e130 * noise,
        "all of 1e-300": np.full(40, 1e-300),
    }


@pytest.mark.parametrize("observation", ["linear", "autoregressive"])
@pytest.mark.parametrize("samples", list(hostile_samples()))
def test_lines_keep_their_digits_where_covariances_cancel(observation, samples):
    y, x = hostile_samples()[samples], np.arange(40.0)
    prior = default_prior(observation, x[:20], y[:20])
    detector = runs(observation, prior, 250.0)
    for sample in zip(x, y, strict=True):
        detector.update(*sample)
    expected, evidence = line_start_posterior(observation, prior, x, y, 250.0)
    starts, probabilities = detector.posterior()
    assert starts.tolist() == list(range(40))
    # About 1e8 a double has eight digits behind the point.
    assert probabilities == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert detector.log_evidence == pytest.approx(evidence, rel=1e-12, abs=1e-7)


@pytest.mark.parametrize("observation", ["normal", "student", "linear", "autoregressive"])
@pytest.mark.parametrize("after", [1.0, 1e8, 1e100])
def test_what_follows_exact_zeros_is_a_change_however_large(observation, after):
    first, *_ = fed(pf.OnlineDetector(observation), np.repeat([0.0, after], 40))
    assert (first.began, first.size) == (40, after)


@pytest.mark.parametrize("observation", list(PRIORS))
def test_dropping_unlikely_starts_changes_next_to_nothing(observation):
    x, y = samples(observation, 3, 400)
    whole, few = (runs(observation, PRIORS[observation], 20, least=least) for least in (0.0, 1e-12))
    for sample in zip(x, y, strict=True):
        whole.update(*sample)
        few.update(*sample)
    starts, probabilities = few.posterior()
    # What is left of the last sample explains all of these levels: no start is out of the question.
    assert len(starts) < 400 or observation == "autoregressive"
    assert probabilities == pytest.approx(whole.posterior()[1][starts], rel=1e-6, abs=1e-9)
    assert few.log_evidence == pytest.approx(whole.log_evidence, rel=1e-9)


def test_a_whole_signal_at_once_is_the_same_as_one_sample_at_a_time():
    x, y = samples("linear", 5, 60)
    y[[3, 30, 31]] = np.nan
    table = pf.run_length_posterior(y, x=x, observation="linear", prior=PRIORS["linear"], min_size=3, shown=0.0)
    detector = pf.OnlineDetector("linear", prior=PRIORS["linear"])
    for sample in zip(x, y, strict=True):
        detector.update(*sample)
    last = table.filter(sample=59)
    starts, probabilities = detector._runs.posterior()
    assert last["start"].to_list() == np.flatnonzero(~np.isnan(y))[starts].tolist()
    assert last["probability"].to_list() == probabilities.tolist()
    assert table.group_by("sample").agg(pl.col("probability").sum())["probability"].to_numpy() == pytest.approx(1)


# What is announced


def step(n_samples, place, size, seed=0):
    return np.random.default_rng(seed).normal(0, 1, n_samples) + size * (np.arange(n_samples) >= place)


def fed(detector, y, x=None):
    return [
        change
        for sample in zip(range(len(y)) if x is None else x, y, strict=True)
        if (change := detector.update(*sample))
    ]


def test_a_step_is_announced_once_where_it_is_and_as_large_as_it_is():
    for seed in range(20):
        detector = pf.OnlineDetector()
        y = step(120, 70, 5.0, seed)
        (found,) = fed(detector, y, 10 * np.arange(120))
        assert found.began == pytest.approx(700, abs=20)
        assert found.lower < found.began <= found.upper
        assert found.lower <= 700 <= found.upper + 10
        assert found.noticed <= 750
        assert found.probability >= 0.95
        split, noticed = round(found.began / 10), round(found.noticed / 10) + 1
        assert found.before == pytest.approx(y[:split].mean())
        assert found.after == pytest.approx(y[split:noticed].mean())
        assert found.size == found.after - found.before
        assert detector.changes == [found]


def test_the_size_after_a_second_change_is_from_the_level_between():
    detector = pf.OnlineDetector()
    y = np.r_[step(60, 30, 8.0), step(40, 0, -6.0, 1)]
    first, second = fed(detector, y)
    assert (first.began, second.began) == (pytest.approx(30, abs=1), pytest.approx(60, abs=1))
    assert second.before == pytest.approx(y[int(first.began) : int(second.began)].mean())
    assert second.size_lower < second.size < second.size_upper


def test_a_change_of_slope_a_rate_and_a_frequency_are_noticed():
    random = np.random.default_rng(0)
    x = np.arange(100.0)
    line = np.where(x < 60, 0.1 * x, 6 + 1.5 * (x - 60)) + random.normal(0, 0.2, 100)
    (kink,) = fed(pf.OnlineDetector("linear"), line)
    assert kink.began == pytest.approx(60, abs=2)
    (rate,) = fed(pf.OnlineDetector("poisson"), np.r_[random.poisson(1, 60), random.poisson(9, 30)])
    assert rate.began == pytest.approx(60, abs=2)
    (coin,) = fed(pf.OnlineDetector("bernoulli"), np.r_[np.zeros(50), np.ones(20)])
    assert coin.began == 50


def test_one_wild_sample_is_no_change():
    alarms = {1: 0, 3: 0}
    for seed in range(20):
        y = step(100, 200, 0.0, seed)
        y[60] = 5.0
        for min_size in alarms:
            alarms[min_size] += bool(fed(pf.OnlineDetector(min_size=min_size), y))
    assert alarms[3] <= 1 < alarms[1]


def test_noise_alone_is_seldom_called_a_change():
    alarms = sum(bool(fed(pf.OnlineDetector(), step(300, 1000, 0.0, seed))) for seed in range(100))
    assert alarms <= 10


def test_noise_that_lasts_is_seldom_called_a_change_where_it_is_expected():
    alarms = {"normal": 0, "autoregressive": 0}
    for seed in range(15):
        y = step(300, 1000, 0.0, seed)
        for index in range(1, len(y)):
            y[index] = 0.6 * y[index - 1] + 0.8 * y[index]
        for observation in alarms:
            alarms[observation] += bool(fed(pf.OnlineDetector(observation), y))
    assert alarms["autoregressive"] <= 2
    assert alarms["normal"] >= 10
    (found,) = fed(pf.OnlineDetector("autoregressive"), y + 8 * (np.arange(300) >= 200))
    assert found.began == pytest.approx(200, abs=2)


def test_missing_samples_change_nothing():
    y = step(100, 60, 5.0)
    holes = np.insert(y, [5, 30, 61], np.nan)
    x = np.insert(np.arange(100.0), [5, 30, 61], [4.5, 29.5, 60.5])
    plain, with_holes = pf.OnlineDetector(), pf.OnlineDetector()
    assert fed(plain, y) == fed(with_holes, holes, x)
    assert plain.probability == with_holes.probability


def test_offset_and_unit_change_no_announcement():
    y = step(120, 70, 5.0)
    (plain,) = fed(pf.OnlineDetector(), y)
    for scale, offset in ((1e-100, 0), (1e100, 0), (1, 1e6), (-1, 0)):
        (found,) = fed(pf.OnlineDetector(), scale * y + offset)
        assert (found.began, found.lower, found.upper, found.noticed) == (
            plain.began, plain.lower, plain.upper, plain.noticed)  # fmt: skip
        assert found.size == pytest.approx(scale * plain.size, rel=1e-6)


@pytest.mark.parametrize("observation", ["normal", "student", "level", "linear", "autoregressive"])
def test_an_offset_of_1e8_hides_no_change(observation):
    y = step(120, 70, 5.0)
    plain, far = (fed(pf.OnlineDetector(observation), y + offset) for offset in (0.0, 1e8))
    assert [change.began for change in far] == [change.began for change in plain]
    assert 70.0 in [change.began for change in far]


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_values_whose_squares_are_no_numbers_are_refused_when_the_prior_is_made(unit):
    detector, y = pf.OnlineDetector(warm_up=8), unit * step(8, 4, 5.0)
    assert fed(detector, y[:7]) == []
    before = detector.state()
    with pytest.raises(pf.exceptions.ParameterError, match=r"value (is up to|varies by) .* in another unit"):
        detector.update(7.0, y[7])
    assert detector.state() == before


@pytest.mark.parametrize("observation", ["normal", "student", "level", "linear", "autoregressive"])
def test_an_axis_or_constant_whose_squares_are_no_numbers_is_refused_by_name(observation):
    with pytest.raises(pf.exceptions.ParameterError, match=r"value is up to 1e\+300 in size in the first 20 samples"):
        fed(pf.OnlineDetector(observation), np.full(20, 1e300))
    assert not fed(pf.OnlineDetector(observation), np.full(60, 1e-300))
    if observation == "linear":
        with pytest.raises(pf.exceptions.ParameterError, match=r"x spans 1.9e\+201 in the first 20 samples"):
            fed(pf.OnlineDetector(observation), np.ones(20), 1e200 * np.arange(20))


def test_a_change_prints_as_a_sentence():
    (found,) = fed(pf.OnlineDetector(), step(120, 70, 5.0))
    assert str(found).startswith("a change began at 70 (between ")


# State


@pytest.mark.parametrize("stop", [0, 7, 19, 20, 75, 110])
@pytest.mark.parametrize("observation", ["normal", "student", "linear", "autoregressive", "bernoulli"])
def test_a_detector_goes_on_from_its_state_to_the_bit(observation, stop):
    y = step(120, 70, 5.0)
    if observation == "bernoulli":
        y = (y > 2).astype(float)
    whole, part = pf.OnlineDetector(observation), pf.OnlineDetector(observation)
    fed(whole, y)
    fed(part, y[:stop])
    again = pf.OnlineDetector.from_state(json.loads(json.dumps(part.state(), allow_nan=False)))
    fed(again, y[stop:], range(stop, 120))
    assert again.state() == whole.state()
    assert again.changes == whole.changes


def test_a_state_that_was_changed_is_refused():
    detector = pf.OnlineDetector()
    fed(detector, step(40, 70, 0.0))
    for broken in (
        {"version": 0},
        {"runs": detector.state()["runs"][:-1]},
        {"runs": []},
        {"runs": [-1.0, *detector.state()["runs"][1:]]},
        {"options": detector.state()["options"] | {"least": 1.0}},
    ):
        with pytest.raises(pf.exceptions.ParameterError):
            pf.OnlineDetector.from_state(detector.state() | broken)


# Edges


def test_constants_and_jumps_of_any_size_are_right():
    assert not fed(pf.OnlineDetector(), np.full(200, 7.0))
    (found,) = fed(pf.OnlineDetector(), np.repeat([7.0, 8.0], 40))
    assert found.began == 40
    (found,) = fed(pf.OnlineDetector(), np.repeat([0.0, 1e-130], 40))
    assert found.began == 40


def test_memory_and_time_of_a_sample_do_not_grow():
    detector = pf.OnlineDetector(most=50)
    fed(detector, step(2_000, 1_990, 6.0))
    (found,) = detector.changes
    assert found.began == pytest.approx(1_990, abs=1)
    assert len(detector.state()["runs"]) <= 7 + 17 * 50


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"observation": "cauchy"}, pf.exceptions.UnknownNameError, "normal, student, level, linear, autoregressive, poisson, bernoulli"),
        ({"prior": {"mean": 0}}, pf.exceptions.ParameterError, "without kappa"),
        ({"prior": PRIORS["normal"] | {"gamma": 1}}, pf.exceptions.ParameterError, "with gamma"),
        ({"observation": "student", "prior": PRIORS["normal"]}, pf.exceptions.ParameterError, "without freedom"),
        ({"prior": PRIORS["normal"] | {"beta": 0}}, pf.exceptions.ParameterError, "beta = 0"),
        ({"prior": PRIORS["normal"] | {"mean": np.inf}}, pf.exceptions.ParameterError, "finite mean"),
        ({"expected_length": 1.0}, pf.exceptions.ParameterError, "expected_length is 1"),
        ({"expected_length": np.inf}, pf.exceptions.ParameterError, "expected_length is inf"),
        ({"certainty": 1.0}, pf.exceptions.ParameterError, "certainty is 1"),
        ({"level": 0.0}, pf.exceptions.ParameterError, "level is 0"),
        ({"min_size": 0}, pf.exceptions.ParameterError, "min_size is 0"),
        ({"most": 1}, pf.exceptions.ParameterError, "most is 1"),
        ({"least": 0.1}, pf.exceptions.ParameterError, "least is 0.1"),
        ({"warm_up": 3}, pf.exceptions.ParameterError, "warm_up is 3"),
    ],
)  # fmt: skip
def test_what_a_detector_cannot_be_is_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):
        pf.OnlineDetector(**arguments)


@pytest.mark.parametrize("prior", [None, PRIORS["normal"]])
def test_a_sample_that_cannot_be_is_refused_and_forgotten(prior):
    detector = pf.OnlineDetector(prior=prior)
    detector.update(0, 1.0)
    before = detector.state()
    for sample, error, words in [
        ((1, np.inf), pf.exceptions.NotFiniteError, "value"),
        ((np.nan, 1.0), pf.exceptions.NotFiniteError, "x"),
        ((0, 1.0), pf.exceptions.ParameterError, "above the last one, 0"),
    ]:
        with pytest.raises(error, match=words):
            detector.update(*sample)
        assert detector.state() == before


def test_values_that_an_observation_cannot_have_are_refused():
    for observation, value in (("poisson", -1.0), ("poisson", 0.5), ("bernoulli", 2.0)):
        for prior in (None, PRIORS[observation]):
            with pytest.raises(pf.exceptions.ParameterError, match=observation):
                pf.OnlineDetector(observation, prior=prior).update(0, value)
    detector = pf.OnlineDetector(prior=PRIORS["normal"])
    with pytest.raises(pf.exceptions.ParameterError, match="value is 1e300"):
        detector.update(0, 1e300)
    with pytest.raises(pf.exceptions.ShapeError, match="2 axes"):
        pf.run_length_posterior(np.zeros((3, 3)))
    with pytest.raises(pf.exceptions.ShapeError, match=r"x has shape \(2,\)"):
        pf.run_length_posterior(np.zeros(3), x=[0, 1])
    with pytest.raises(pf.exceptions.ParameterError, match="4 are needed"):
        pf.run_length_posterior([1.0, np.nan, 2.0])


# Outside numbers


def test_the_nile_fell_in_1899_give_or_take():
    # Annual flow at Aswan 1871-1970 (Cobb 1978; R's `Nile`): the dam; every published analysis puts the change at 1898/99.
    flow = [
        1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140,
        1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969,
        831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759,
        781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890,
        744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
    ]  # fmt: skip
    first, *_ = fed(pf.OnlineDetector(), flow, range(1871, 1971))
    assert first.lower <= 1899 <= first.upper
    assert first.size == pytest.approx(-250, abs=60)


def test_the_break_of_a_real_series_is_where_its_annotators_see_it():
    series = json.loads((shared("tcpd") / "series" / "rail_lines.json").read_text())
    # Four of its five annotators mark a break at sample 25 or 26 (TCPD: van den Burg and Williams 2020).
    found = fed(pf.OnlineDetector(), np.array(series["series"][0]["raw"], float))
    assert found[-1].began == pytest.approx(25.5, abs=0.5)
    assert found[-1].lower <= 25 <= found[-1].upper
