"""In-context learning score and its interval: cases by hand, the slow oracle, laws, edges, coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from oracles import loss as oracle
from strategies import losses

# By hand


def test_the_score_is_late_minus_early_counted_from_one():
    per_token_loss = [[4.0, 3.0, 1.0], [2.0, 3.0, 2.5]]
    assert pf.in_context_learning_score(per_token_loss, early=1, late=3) == ((1 - 4) + (2.5 - 2)) / 2
    assert pf.in_context_learning_score(per_token_loss, early=2, late=1) == (4 - 3 + 2 - 3) / 2


def test_the_defaults_are_the_papers_50th_and_500th_token():
    per_token_loss = np.zeros((1, 512))
    per_token_loss[0, [49, 499]] = 5, 4.6
    assert pf.in_context_learning_score(per_token_loss) == pytest.approx(-0.4)


def test_a_bandwidth_averages_around_either_token():
    # e^(1/4) = 1.28: around the tenth token 10/1.28 = 7.8 to 10*1.28 = 12.8, around the second 1.6 to 2.6.
    per_token_loss = np.zeros((1, 20))
    per_token_loss[0, :12] = [9, 3, 9, 9, 9, 9, 9, 1, 2, 0, 4, 5]
    found = pf.in_context_learning_score(per_token_loss, early=2, late=10, bandwidth=0.5)
    assert found == (1 + 2 + 0 + 4 + 5) / 5 - 3


# The oracle


@given(losses(min_context=2), st.data())
def test_the_score_agrees_with_its_definition(per_token_loss, data):
    indices = st.integers(1, per_token_loss.shape[-1])
    early, late = data.draw(st.tuples(indices, indices).filter(lambda pair: pair[0] != pair[1]))
    found = pf.in_context_learning_score(per_token_loss, early=early, late=late)
    expected = oracle.in_context_learning_score(per_token_loss, early, late)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@given(st.integers(1, 6), st.floats(0.0, 1.2), st.integers(0, 2**32 - 1))
def test_windows_agree_with_their_definition(early, bandwidth, seed):
    per_token_loss = np.random.default_rng(seed).normal(size=(3, 5, 40))
    arguments = {"early": early, "late": 30, "bandwidth": bandwidth}
    expected = oracle.in_context_learning_score(per_token_loss, **arguments)
    np.testing.assert_allclose(pf.in_context_learning_score(per_token_loss, **arguments), expected, rtol=1e-12)
    arguments |= {"level": 0.9, "resamples": 7, "seed": seed, "method": "percentile"}
    expected = oracle.in_context_learning_interval(per_token_loss, **arguments)
    np.testing.assert_allclose(pf.in_context_learning_interval(per_token_loss, **arguments), expected, rtol=1e-12)


@settings(max_examples=40)
@given(losses(min_context=2, max_context=4), st.integers(2, 20), st.floats(0.01, 0.99), st.integers(0, 2**63 - 1))
def test_the_interval_agrees_with_resampling_one_by_one(per_token_loss, resamples, level, seed):
    arguments = {"early": 1, "late": 2, "level": level, "resamples": resamples, "seed": seed, "method": "percentile"}
    found = pf.in_context_learning_interval(per_token_loss, **arguments)
    expected = oracle.in_context_learning_interval(per_token_loss, **arguments)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", ["bca", "studentized"])
@pytest.mark.parametrize(("n", "level"), [(12, 0.9), (40, 0.5), (150, 0.99)])
def test_corrected_intervals_agree_with_their_definitions(method: str, n: int, level: float) -> None:
    # Continuous, skewed differences, so that no resample ties with the mean or has no spread.
    per_token_loss = np.random.default_rng(n).exponential(size=(3, n, 2))
    arguments = {"early": 1, "late": 2, "level": level, "resamples": 400, "seed": n, "method": method}
    found = pf.in_context_learning_interval(per_token_loss, **arguments)
    np.testing.assert_allclose(found, oracle.in_context_learning_interval(per_token_loss, **arguments), rtol=1e-8)


@pytest.mark.parametrize("n", [5, 12, 37])
def test_resamples_that_tie_with_the_mean_count_half(n: int) -> None:
    # Whole differences: the means of many resamples are the data's to the last bit.
    per_token_loss = np.random.default_rng(n).integers(0, 3, (3, n, 2)).astype(float)
    arguments = {"early": 1, "late": 2, "level": 0.9, "resamples": 400, "seed": n, "method": "bca"}
    found = pf.in_context_learning_interval(per_token_loss, **arguments)
    np.testing.assert_allclose(found, oracle.in_context_learning_interval(per_token_loss, **arguments), rtol=1e-8)


def test_the_three_methods_agree_where_there_are_many_examples() -> None:
    per_token_loss = np.random.default_rng(0).normal(size=(4000, 2))
    ends = [
        pf.in_context_learning_interval(per_token_loss, early=1, late=2, method=method)
        for method in ("percentile", "bca", "studentized")
    ]
    width = ends[0][1] - ends[0][0]
    for other in ends[1:]:
        np.testing.assert_allclose(other, ends[0], rtol=0, atol=0.06 * width)


# Laws


def test_where_the_loss_is_linear_in_the_log_of_the_index_a_bandwidth_changes_little():
    per_token_loss = 4 - 0.2 * np.log(np.arange(1, 601))[None]  # no end of the context within reach
    alone = pf.in_context_learning_score(per_token_loss)
    assert pf.in_context_learning_score(per_token_loss, bandwidth=0.25) == pytest.approx(alone, abs=2e-3)


@given(losses(min_batch=2, min_context=2, max_context=4), st.floats(0.1, 0.9), st.floats(0.01, 0.09))
def test_a_higher_level_gives_a_wider_interval(per_token_loss, level, more):
    narrow = pf.in_context_learning_interval(per_token_loss, early=1, late=2, level=level, resamples=50)
    wide = pf.in_context_learning_interval(per_token_loss, early=1, late=2, level=level + more, resamples=50)
    assert (wide[..., 0] <= narrow[..., 0]).all()
    assert (narrow[..., 1] <= wide[..., 1]).all()


def test_swapping_the_tokens_mirrors_the_interval():
    per_token_loss = np.random.default_rng(0).random((60, 2))
    forth = pf.in_context_learning_interval(per_token_loss, early=1, late=2)
    back = pf.in_context_learning_interval(per_token_loss, early=2, late=1)
    np.testing.assert_allclose(back, -forth[::-1], rtol=1e-12)


def test_a_checkpoint_is_resampled_alike_alone_and_among_others():
    per_token_loss = np.random.default_rng(0).random((5, 30, 3))
    together = pf.in_context_learning_interval(per_token_loss, early=1, late=3)
    alone = [pf.in_context_learning_interval(one, early=1, late=3) for one in per_token_loss]
    np.testing.assert_array_equal(together, alone)


def test_the_bits_do_not_depend_on_the_number_of_threads_or_the_strides():
    per_token_loss = np.random.default_rng(2).random((3, 130, 7), dtype=np.float32)
    for measure in (pf.in_context_learning_score, pf.in_context_learning_interval):
        one = measure(per_token_loss, early=2, late=7, threads=1)
        for threads in (2, 3, None):
            again = measure(np.asfortranarray(per_token_loss), early=2, late=7, threads=threads)
            assert one.tobytes() == again.tobytes()


def test_the_interval_covers_the_true_score_about_as_often_as_it_says():
    # 2,000 data sets of 20 examples whose differences are skewed (exponential less 1): the true score is 0. The
    # standard deviation of the share covered is 0.005; the percentile method falls short.
    rng = np.random.default_rng(5)
    per_token_loss = np.zeros((2000, 20, 2))
    per_token_loss[..., 1] = rng.exponential(size=(2000, 20)) - 1
    covered = {}
    for method in ("percentile", "studentized"):
        found = pf.in_context_learning_interval(per_token_loss, early=1, late=2, method=method)
        lower, upper = np.moveaxis(found, -1, 0)
        covered[method] = np.mean((lower <= 0) & (upper >= 0))
    assert 0.93 < covered["studentized"] < 0.97
    assert covered["percentile"] < 0.93


# Edges


@pytest.mark.parametrize("method", ["percentile", "bca", "studentized"])
def test_equal_examples_have_an_interval_of_no_width(method: str):
    found = pf.in_context_learning_interval([[3.0, 1.0]] * 7, early=1, late=2, method=method)
    assert found.tolist() == [-2, -2]


def test_a_resample_of_one_example_alone_has_no_spread_but_for_rounding() -> None:
    # Of three examples one resample in nine is one of them three times: both ends are infinite, whatever rounding left.
    for seed in range(20):
        losses = np.random.default_rng(seed).normal(size=(3, 2))
        interval = pf.in_context_learning_interval(losses, early=1, late=2)
        assert np.isinf(interval).all() or np.abs(interval).max() < 1e4


def test_one_example_says_nothing_about_the_spread():
    assert pf.in_context_learning_score([[3.0, 1.0]], early=1, late=2) == -2
    assert np.isnan(pf.in_context_learning_interval([[3.0, 1.0]], early=1, late=2)).all()


def test_without_examples_the_score_is_nan():
    assert np.isnan(pf.in_context_learning_score(np.ones((2, 0, 3)), early=1, late=2)).tolist() == [True, True]
    assert np.isnan(pf.in_context_learning_interval(np.ones((2, 0, 3)), early=1, late=2)).all()


def test_a_nan_spoils_its_own_checkpoint_only():
    per_token_loss = np.ones((3, 10, 4))
    per_token_loss[1, 6, 2] = np.nan
    arguments = {"early": 1, "late": 3}
    assert np.isnan(pf.in_context_learning_score(per_token_loss, **arguments)).tolist() == [False, True, False]
    ends = pf.in_context_learning_interval(per_token_loss, **arguments)
    assert np.isnan(ends).tolist() == [[False] * 2, [True] * 2, [False] * 2]


# Refusals


def test_windows_with_a_single_token_in_common_meet() -> None:
    # A factor of 1.51 either way: tokens 3 to 6 and 6 to 12. Of 1.49: 3 to 5 and 6 to 11.
    per_token_loss = np.random.default_rng(0).normal(size=(4, 20))
    with pytest.raises(pf.exceptions.ParameterError, match="windows around tokens 4 and 8 that do not meet"):
        pf.in_context_learning_score(per_token_loss, early=4, late=8, bandwidth=2 * np.log(1.51))
    found = pf.in_context_learning_score(per_token_loss, early=4, late=8, bandwidth=2 * np.log(1.49))
    assert found == pytest.approx((per_token_loss[:, 5:11].mean(1) - per_token_loss[:, 2:5].mean(1)).mean())


@pytest.mark.parametrize("measure", [pf.in_context_learning_score, pf.in_context_learning_interval])
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, r"late is 500, expected a 1-based token index within the context, 1 to 256.*late=256"),
        ({"early": 257, "late": 3}, "early is 257.*1 to 256"),
        ({"early": 0, "late": 3}, "early is 0"),
        ({"early": 3, "late": 3}, "late is 3, expected a token other than early, which is 3"),
        ({"early": 3, "late": 4, "bandwidth": 1.0}, "bandwidth is 1, expected windows around tokens 3 and 4 that do"),
        ({"early": 3, "late": 90, "bandwidth": -1.0}, "bandwidth is -1, expected a finite number"),
        ({"early": 3, "late": 90, "bandwidth": 1e4}, "bandwidth is 10000, expected windows"),
        ({"early": 1.0, "late": 3}, r"early is 1\.0, expected an integer"),
    ],
)
def test_token_indices_are_checked_against_the_context(measure, keywords, message):
    with pytest.raises(pf.exceptions.ParameterError, match=message):
        measure(np.ones((2, 256)), **keywords)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"level": 0}, "level is 0, expected strictly between 0 and 1"),
        ({"level": 1.0}, "level is 1"),
        ({"level": float("nan")}, "level is NaN"),
        ({"resamples": 1}, "resamples is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"method": "normal"}, 'method is "normal", known: percentile, bca, studentized'),
    ],
)
def test_a_bootstrap_parameter_out_of_range_is_named(keywords, message):
    with pytest.raises((pf.exceptions.ParameterError, pf.exceptions.UnknownNameError), match=message):
        pf.in_context_learning_interval(np.ones((2, 3)), early=1, late=2, **keywords)
