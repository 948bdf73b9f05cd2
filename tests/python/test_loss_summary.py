"""One pass over the losses, and the laws and refusals that all loss measures share."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from oracles import loss as oracle
from strategies import losses

# By hand


def test_three_examples_by_hand() -> None:
    found = pf.loss_summary([[1.0, 5.0, 2.0], [2.0, 5.0, np.nan], [6.0, 5.0, 4.0]], early=1, late=2)
    assert found.mean[:2].tolist() == [3, 5]
    assert found.variance[:2].tolist() == [Fraction(4 + 1 + 9, 2), 0]
    assert found.standard_error[0] == pytest.approx((7 / 3) ** 0.5, rel=1e-15)
    assert found.undefined.tolist() == [0, 0, 1]
    assert found.undefined.dtype == np.int64
    assert np.isnan([found.mean[2], found.variance[2], found.standard_error[2]]).all()
    assert found.late_minus_early.tolist() == [4, 3, -1]


# The oracle


@given(losses(min_context=2), st.data())
def test_it_agrees_with_the_definitions_one_by_one(per_token_loss: np.ndarray, data: st.DataObject) -> None:
    indices = st.integers(1, per_token_loss.shape[-1])
    early, late = data.draw(st.tuples(indices, indices).filter(lambda pair: pair[0] != pair[1]))
    found = pf.loss_summary(per_token_loss, early=early, late=late)
    mean, error = oracle.position_losses(per_token_loss)
    half = per_token_loss.itemsize == 2  # sixteen at a time in single precision
    np.testing.assert_allclose(found.mean, mean, rtol=1e-7 if half else 2e-15)
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-6 if half else 1e-12, atol=1e-16)
    variance = error**2 * per_token_loss.shape[-2]
    np.testing.assert_allclose(found.variance, variance, rtol=1e-6 if half else 1e-11, atol=1e-16)
    values = np.asarray(per_token_loss).astype(float)
    np.testing.assert_array_equal(found.late_minus_early, values[..., late - 1] - values[..., early - 1])
    assert (found.undefined == 0).all()


@given(losses(min_batch=1, min_context=1), st.data())
def test_undefined_losses_are_counted_wherever_they_are(per_token_loss: np.ndarray, data: st.DataObject) -> None:
    values = np.array(per_token_loss)
    for _ in range(data.draw(st.integers(0, 5))):
        if values.size:
            at = data.draw(st.integers(0, values.size - 1))
            values.reshape(-1)[at] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    if values.shape[-1] > 1:
        found = pf.loss_summary(values, early=1, late=2)
        np.testing.assert_array_equal(found.undefined, (~np.isfinite(values.astype(float))).sum(axis=-2))


def test_double_precision_sums_are_those_of_exact_fractions() -> None:
    rng = np.random.default_rng(0)
    column = (rng.normal(3, 1, 3000) * 10.0 ** rng.integers(-6, 3, 3000)).tolist()
    exact_mean = sum(map(Fraction, column)) / len(column)
    exact_variance = sum((Fraction(loss) - exact_mean) ** 2 for loss in column) / (len(column) - 1)
    found = pf.loss_summary(np.array([column, column]).T, early=1, late=2)
    assert found.mean[0] == float(exact_mean)
    assert found.variance[0] == pytest.approx(float(exact_variance), rel=1e-13)


# Laws of all measures


MEASURES = {
    "mean": lambda losses: pf.position_losses(losses)[0],
    "standard error": lambda losses: pf.position_losses(losses)[1],
    "score": lambda losses: pf.in_context_learning_score(losses, early=2, late=9),
    "interval": lambda losses: pf.in_context_learning_interval(losses, early=2, late=9),
    "matrix": lambda losses: pf.in_context_learning_matrix(losses, [2, 5, 9]),
    "derivative": lambda losses: pf.loss_log_derivative(losses, bandwidth=1.0),
    "derivative's error": lambda losses: pf.loss_log_derivative_error(losses, bandwidth=1.0),
}
SHIFTS = {"mean": 1.0}  # by how much a measure moves with a constant added to all losses; 0 for the others
UNSIGNED = {"standard error", "derivative's error"}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("factor", [0.5, 3.0, -2.0])
def test_losses_moved_and_scaled_move_and_scale_every_measure(name: str, factor: float) -> None:
    per_token_loss = np.random.default_rng(1).normal(3, 1, (2, 60, 12))
    before = MEASURES[name](per_token_loss)
    after = MEASURES[name](factor * per_token_loss + 7)
    expected = (abs(factor) if name in UNSIGNED else factor) * before + 7 * SHIFTS.get(name, 0.0)
    if name == "interval" and factor < 0:
        expected = expected[..., ::-1]
    np.testing.assert_allclose(after, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", sorted(MEASURES.keys() - {"interval"}))
def test_the_order_of_examples_changes_no_measure(name: str) -> None:
    rng = np.random.default_rng(2)
    per_token_loss = rng.normal(3, 1, (2, 60, 12))
    shuffled = per_token_loss[:, rng.permutation(60)]
    np.testing.assert_allclose(MEASURES[name](shuffled), MEASURES[name](per_token_loss), rtol=1e-9, atol=1e-12)


@given(losses(min_batch=1, min_context=2), st.data())
def test_two_shards_of_examples_add_up_to_the_whole(per_token_loss: np.ndarray, data: st.DataObject) -> None:
    batch = per_token_loss.shape[-2]
    cut = data.draw(st.integers(0, batch))
    whole = pf.loss_summary(per_token_loss, early=1, late=2)
    parts = [pf.loss_summary(one, early=1, late=2) for one in np.split(per_token_loss, [cut], axis=-2)]
    np.testing.assert_array_equal(
        np.concatenate([part.late_minus_early for part in parts], axis=-1), whole.late_minus_early
    )
    counts = [cut, batch - cut]
    mean = sum(n * np.nan_to_num(part.mean) for n, part in zip(counts, parts, strict=True)) / batch
    np.testing.assert_allclose(whole.mean, mean, rtol=1e-12)


def test_the_bits_do_not_depend_on_the_number_of_threads_or_the_strides() -> None:
    per_token_loss = np.random.default_rng(3).normal(3, 1, (2, 1300, 40)).astype(np.float32)
    per_token_loss[1, 700, 3] = np.nan
    one = pf.loss_summary(per_token_loss, early=2, late=30, threads=1)
    for again in (per_token_loss, np.asfortranarray(per_token_loss), per_token_loss[:, :, ::-1][:, :, ::-1]):
        other = pf.loss_summary(again, early=2, late=30, threads=2)
        for name in ("mean", "variance", "standard_error", "undefined", "late_minus_early"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_mean_difference_is_the_score() -> None:
    per_token_loss = np.random.default_rng(4).normal(3, 1, (3, 50, 600))
    found = pf.loss_summary(per_token_loss, bandwidth=0.25)
    score = pf.in_context_learning_score(per_token_loss, bandwidth=0.25)
    np.testing.assert_allclose(found.late_minus_early.mean(axis=-1), score, rtol=1e-12)


# Edges


def test_one_example_has_a_mean_and_no_variance_and_none_has_neither() -> None:
    one = pf.loss_summary([[4.0, 1.0]], early=1, late=2)
    assert one.mean.tolist() == [4, 1]
    assert np.isnan(one.variance).all()
    assert one.late_minus_early.tolist() == [-3]
    none = pf.loss_summary(np.ones((2, 0, 3)), early=1, late=2)
    assert np.isnan(none.mean).all()
    assert none.late_minus_early.shape == (2, 0)


def test_one_position_has_no_pair_to_compare() -> None:
    with pytest.raises(pf.exceptions.ParameterError, match=r"late is 500.*1 to 1"):
        pf.loss_summary(np.ones((5, 1)), early=1)
    assert pf.position_losses(np.ones((5, 1)))[0].tolist() == [1]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "late is 500, expected a 1-based token index within the context, 1 to 256"),
        ({"early": 3, "late": 3}, "late is 3, expected a token other than early, which is 3"),
        ({"early": 0, "late": 3}, "early is 0"),
        ({"early": 3, "late": 4, "bandwidth": 1.0}, "that do not meet"),
    ],
)
def test_tokens_that_cannot_be_compared_are_refused(keywords: dict, message: str) -> None:
    with pytest.raises(pf.exceptions.ParameterError, match=message):
        pf.loss_summary(np.ones((2, 256)), **keywords)
