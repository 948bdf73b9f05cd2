"""Eigenvalues of factored circuits and the copying statistic: by hand, against LAPACK on the whole matrix, edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from oracles import circuit as oracle
from phaseflow.exceptions import ShapeError
from strategies import DTYPES, laid_out


@st.composite
def ov_weights(draw):
    leading = [draw(st.integers(0, 3)) for _ in range(draw(st.integers(0, 2)))]
    vocab, d_model, d_head = draw(st.integers(1, 14)), draw(st.integers(1, 9)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = [(vocab, d_model), (*leading, d_model, d_head), (*leading, d_head, d_model), (d_model, vocab)]
    return tuple(draw(laid_out(rng.normal(size=shape))) for shape in shapes)


def match(found, expected, tolerance):
    """Each eigenvalue of ``expected`` has one in ``found``, in any order."""
    left = list(found)
    for value in expected:
        nearest = min(left, key=lambda other: abs(other - value))
        assert abs(nearest - value) <= tolerance, f"{value} is missing: {found}"
        left.remove(nearest)


# By hand


def test_copying_its_opposite_and_a_bit_of_both():
    # Diagonal OV circuits (1, 1), (-2, -2), (3, -1): 2/2, -4/4, 2/4.
    W_V = np.stack([np.eye(3)[:, :2]] * 3)
    W_O = np.stack([np.diag(d)[:2] for d in ([1.0, 1, 0], [-2.0, -2, 0], [3.0, -1, 0])])
    assert pf.ov_copying_statistic(np.eye(3), W_V, W_O, np.eye(3)).tolist() == [1, -1, 1 / 2]


def test_turning_by_a_right_angle_copies_nothing():
    turn = np.array([[0.0, -2.0], [2.0, 0.0]])
    assert pf.ov_eigenvalues(np.eye(2), np.eye(2), turn, np.eye(2)).tolist() == [2j, -2j]
    assert pf.ov_copying_statistic(np.eye(2), np.eye(2), turn, np.eye(2)) == 0


def test_a_head_that_permutes_the_tokens_has_roots_of_one_for_eigenvalues():
    for size in (3, 6, 8, 25):
        found = pf.factored_eigenvalues(np.roll(np.eye(size), 1, axis=0), np.eye(size))
        match(found, np.exp(2j * np.pi * np.arange(size) / size), 1e-13)


def test_defective_matrices_come_near():
    # A Jordan block of 5: its only eigenvalue moves by the fifth root of a rounding error.
    match(pf.factored_eigenvalues(np.eye(5) + np.eye(5, k=1), np.eye(5)), np.ones(5), 1e-12)
    match(pf.factored_eigenvalues(np.eye(5, k=1), np.eye(5)), np.zeros(5), 1e-12)


# The oracle


@settings(deadline=None)
@given(ov_weights())
def test_the_heads_eigenvalues_are_the_vocabularys_and_the_rest_is_zero(args):
    found, expected = pf.ov_eigenvalues(*args), oracle.ov_eigenvalues(*args)
    np.testing.assert_allclose(found.sum(-1), expected.sum(-1), rtol=1e-9, atol=1e-9)
    for place in np.ndindex(found.shape[:-1]):
        scale = np.abs(expected[place]).max(initial=0) + 1
        padded = sorted([*found[place], *[0] * expected.shape[-1]], key=abs)[::-1]
        # The zeros of the whole matrix are zero to the square root of rounding only, where it is defective.
        match(padded, [value for value in expected[place] if abs(value) > 1e-4 * scale], 1e-7 * scale)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40), st.integers(0, 2**32), st.integers(0, 20))
def test_eigenvalues_of_any_square_matrix_are_lapacks(size, seed, decades):
    rng = np.random.default_rng(seed)
    scale = 10.0 ** (decades * rng.uniform(-1, 1, size))
    matrix = scale[:, None] * rng.normal(size=(size, size)) / scale
    match(pf.factored_eigenvalues(matrix, np.eye(size)), np.linalg.eigvals(matrix), 1e-6)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(0, 2**32), st.floats(0.3, 1))
def test_every_eigenvalue_of_a_matrix_with_zeros_is_that_of_one_a_rounding_error_away(size, seed, sparsity):
    rng = np.random.default_rng(seed)
    matrix = rng.choice([-1.0, 1.0, 2.0], (size, size)) * (rng.random((size, size)) >= sparsity)
    found = pf.factored_eigenvalues(matrix, np.eye(size))
    rounding = 1e-14 * size * (1 + np.linalg.norm(matrix))
    assert abs(found.sum() - np.trace(matrix)) < rounding
    for value in found:
        assert np.linalg.svd(matrix - value * np.eye(size), compute_uv=False)[-1] < rounding


def test_eigenvalues_of_integers_are_exact_to_rounding():
    # A similarity of diag(1, ..., 12) by a matrix of integers with determinant 1.
    rng = np.random.default_rng(1)
    lower = np.tril(rng.integers(-1, 2, (12, 12)), -1) + np.eye(12)
    matrix = lower @ np.diag(np.arange(1.0, 13)) @ np.round(np.linalg.inv(lower))
    assert pf.factored_eigenvalues(matrix, np.eye(12)).real.tolist() == pytest.approx(range(12, 0, -1), rel=1e-8)


def test_a_small_eigenvalue_beside_a_large_one_keeps_its_digits():
    # The roots of x² - x - c, the smaller as the product of both over the larger: their difference would lose it.
    for c in (1e-6, 1e-9, 1e-20):
        found = pf.factored_eigenvalues(np.array([[1.0, 1.0], [c, 0.0]]), np.eye(2))
        larger = (1 + math.sqrt(1 + 4 * c)) / 2
        assert found.real.tolist() == pytest.approx([larger, -c / larger], rel=1e-14, abs=0)


def test_a_stack_of_factors_is_taken_circuit_by_circuit():
    rng = np.random.default_rng(8)
    left, right = rng.normal(size=(2, 3, 7, 4)), rng.normal(size=(2, 3, 4, 7))
    found = pf.factored_eigenvalues(left, right)
    assert found.shape == (2, 3, 4)
    for place in np.ndindex(2, 3):
        assert found[place].tolist() == pf.factored_eigenvalues(left[place], right[place]).tolist()


def test_a_vocabulary_of_thousands_is_summed_to_the_last():
    rng = np.random.default_rng(6)
    args = [rng.normal(size=shape) for shape in [(2500, 70), (2, 70, 5), (2, 5, 70), (70, 2500)]]
    small = args[2] @ (args[3] @ args[0]) @ args[1]
    values = np.linalg.eigvals(small)
    expected = values.sum(-1).real / np.abs(values).sum(-1)
    np.testing.assert_allclose(pf.ov_copying_statistic(*args), expected, rtol=1e-12)


# Laws


@settings(deadline=None)
@given(ov_weights())
def test_the_statistic_lies_between_minus_one_and_one_and_changes_sign_with_the_head(args):
    W_E, W_V, W_O, W_U = (np.asarray(weights).astype(float) for weights in args)
    found = pf.ov_copying_statistic(W_E, W_V, W_O, W_U)
    assert (np.abs(found[np.isfinite(found)]) <= 1 + 1e-12).all()
    np.testing.assert_allclose(pf.ov_copying_statistic(W_E, -3 * W_V, W_O, W_U), -found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bits_depend_neither_on_threads_nor_on_strides(dtype):
    rng = np.random.default_rng(2)
    shapes = [(1500, 130), (3, 4, 130, 10), (3, 4, 10, 130), (130, 1500)]
    args = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    one = pf.ov_eigenvalues(*args, threads=1)
    for threads in (2, 3, None):
        for order in "CF":
            again = pf.ov_eigenvalues(*(np.asarray(weights, order=order) for weights in args), threads=threads)
            assert one.tobytes() == again.tobytes()


def test_conjugates_stand_side_by_side_largest_first():
    values = pf.factored_eigenvalues(np.random.default_rng(3).normal(size=(30, 30)), np.eye(30))
    assert (np.diff(np.abs(values)) <= 1e-12).all()
    above = np.flatnonzero(values.imag > 0)
    np.testing.assert_array_equal(values[above + 1], values[above].conj())


# Edges


def test_a_head_of_zeros_and_one_that_is_not_finite_are_undefined():
    W_V = np.stack([np.eye(3), np.zeros((3, 3)), np.full((3, 3), np.nan)])
    found = pf.ov_copying_statistic(np.eye(3), W_V, np.stack([np.eye(3)] * 3), np.eye(3))
    np.testing.assert_array_equal(found, [1, np.nan, np.nan])
    assert pf.factored_eigenvalues(np.zeros((4, 2)), np.zeros((2, 4))).tolist() == [0, 0]


def test_empty_axes_give_empty_results():
    assert pf.ov_copying_statistic(np.ones((5, 3)), np.ones((0, 3, 2)), np.ones((0, 2, 3)), np.ones((3, 5))).shape == (
        0,
    )
    assert pf.factored_eigenvalues(np.ones((2, 3, 0)), np.ones((2, 0, 3))).shape == (2, 0)


def test_errors_name_the_weights():
    W_E, W_V, W_O, W_U = np.ones((5, 3)), np.ones((2, 3, 2)), np.ones((2, 2, 3)), np.ones((3, 5))
    with pytest.raises(ShapeError, match="W_U has 4 along vocab, expected 5"):
        pf.ov_copying_statistic(W_E, W_V, W_O, W_U[:, :4])
    with pytest.raises(ShapeError, match="W_O has 1 along a leading axis, expected 2"):
        pf.ov_copying_statistic(W_E, W_V, W_O[:1], W_U)
    with pytest.raises(ShapeError, match=r"W_V must have axes \(..., d_model, d_head\), got 1 axis"):
        pf.ov_copying_statistic(W_E, W_V[0, 0], W_O, W_U)
    with pytest.raises(ShapeError, match="right has 3 along rank, expected 2"):
        pf.factored_eigenvalues(np.ones((4, 2)), np.ones((3, 4)))
