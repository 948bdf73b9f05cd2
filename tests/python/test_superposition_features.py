"""Feature dimensionality, norm, interference and leverage: closed forms, definitions, laws, edges."""

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from figures import FIGURES, antiprism, cube, polygon
from oracles import superposition as oracle
from phaseflow.exceptions import DtypeError, ShapeError
from strategies import DTYPES, laid_out

MEASURES = ["norm", "dimensionality", "interference", "leverage"]


@st.composite
def matrices(draw):
    """Of any rank, with zero columns, repeated columns and columns of unlike length."""
    hidden, feature, rank = draw(st.integers(1, 6)), draw(st.integers(1, 9)), draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    W = rng.normal(size=(hidden, rank)) @ rng.normal(size=(rank, feature))
    W *= 10.0 ** draw(st.integers(-3, 3)) * rng.choice([0.0, 0.1, 1.0], feature)
    return W


def rotation(rng, size):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


# By hand and closed forms


def test_one_direction_shared_one_to_two():
    # W = (1, 2): D = 1 / (1 + 4) and 4 / (1 + 4), each of the other's square on its direction.
    table = pf.feature_geometry([[1.0, 2.0]])
    assert table["dimensionality"].to_list() == pytest.approx([1 / 5, 4 / 5], rel=1e-15)
    assert table["interference"].to_list() == pytest.approx([4, 1], rel=1e-15)
    assert table["leverage"].to_list() == pytest.approx([1 / 5, 4 / 5], rel=1e-15)
    assert table["norm"].to_list() == [1, 2]


CLOSED_FORMS = {
    "dedicated": 1,
    "digon": 1 / 2,
    "triangle": 2 / 3,
    "tetrahedron": 3 / 4,
    "pentagon": 2 / 5,
    "octahedron": 1 / 2,
    "cube": 3 / 8,
    "7-gon": 2 / 7,
}


@given(st.sampled_from(sorted(CLOSED_FORMS)), st.integers(0, 2**32), st.integers(0, 4), st.floats(0.01, 100))
def test_regular_figures_have_their_share_however_they_lie(name, seed, more_dimensions, scale):
    rng = np.random.default_rng(seed)
    corners = FIGURES[name]
    W = scale * np.pad(corners, ((0, more_dimensions), (0, 0)))
    W = rotation(rng, len(W)) @ W[:, rng.permutation(W.shape[1])]
    np.testing.assert_allclose(pf.feature_dimensionality(W), CLOSED_FORMS[name], rtol=1e-12)


def test_the_square_antiprism_has_nearly_but_not_quite_that_of_the_cube():
    np.testing.assert_allclose(pf.feature_dimensionality(antiprism()), 0.374, atol=5e-4)
    assert (pf.feature_dimensionality(antiprism()) < pf.feature_dimensionality(cube()) - 5e-4).all()


def test_dimensions_per_feature_by_hand():
    # Two dimensions; squared norms 1, 1, 4.
    assert pf.dimensions_per_feature([[1.0, -1.0, 0.0], [0.0, 0.0, 2.0]]) == 1 / 3
    assert pf.dimensions_per_feature(np.zeros((2, 3))) == np.inf


# The oracle


@settings(deadline=None)
@given(matrices(), st.data())
def test_every_measure_is_its_definition(W, data):
    W = data.draw(laid_out(W))
    table, expected = pf.feature_geometry(W), oracle.features(W)
    wide = np.asarray(W).astype(float)
    scale = np.abs(wide).max(initial=0) ** 2
    # The oracle's pseudo-inverse loses as many digits as the condition of W has.
    singular = np.linalg.svd(wide, compute_uv=False) if wide.size else np.zeros(0)
    singular = singular[singular > 1e-12 * singular.max(initial=0)]
    lost = np.finfo(float).eps * singular.max() / singular.min() if singular.size else 0.0
    for name, values in zip(MEASURES, expected, strict=True):
        tolerance = {"interference": 1e-9 * scale, "leverage": 1e-9 + 100 * lost}.get(name, 1e-9)
        np.testing.assert_allclose(table[name].to_numpy(), values, rtol=1e-8, atol=tolerance, err_msg=name)
    # By way of the second moments rather than a basis.
    alone = pf.feature_dimensionality(W)
    np.testing.assert_allclose(alone, table["dimensionality"].to_numpy(), rtol=1e-11, atol=1e-13)


# Laws


@settings(deadline=None)
@given(matrices(), st.integers(0, 2**32))
def test_shares_add_up_to_the_rank_at_most_and_no_rotation_changes_them(W, seed):
    table = pf.feature_geometry(W)
    rank = np.linalg.matrix_rank(W)
    dimensionality, leverage = table["dimensionality"].to_numpy(), table["leverage"].to_numpy()
    assert (dimensionality >= 0).all()
    assert (table["interference"] >= 0).all()
    assert (dimensionality <= leverage + 1e-9).all()
    assert (leverage <= 1 + 1e-12).all()
    assert leverage.sum() == pytest.approx(rank, abs=1e-6)
    assert dimensionality.sum() <= rank + 1e-6
    turned = pf.feature_geometry(rotation(np.random.default_rng(seed), len(W)) @ W)
    np.testing.assert_allclose(turned["dimensionality"].to_numpy(), dimensionality, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(turned["leverage"].to_numpy(), leverage, rtol=1e-6, atol=1e-6)


def test_a_small_feature_beside_large_ones_keeps_its_digits():
    # Orthogonal to all others and a millionth of their size: a dimension of its own.
    W = np.diag([1e6, 1.0, 1e6])[:, [0, 0, 1, 2]]
    W = rotation(np.random.default_rng(0), 3) @ W
    np.testing.assert_allclose(pf.feature_dimensionality(W), [1 / 2, 1 / 2, 1, 1], rtol=1e-8)


@pytest.mark.parametrize("size", [3, 7, 20])
def test_features_at_right_angles_do_not_interfere_not_even_by_a_negative_rounding_error(size):
    found = pf.feature_geometry(rotation(np.random.default_rng(size), size))["interference"].to_numpy()
    assert (found >= 0).all()
    np.testing.assert_allclose(found, 0, atol=1e-15)


def test_rows_that_are_nearly_parallel_cost_no_digits():
    # Exact in binary: the second row is the first but for 2^-27 of other integers. Sums as fractions.
    rows = [[3, 1, 2, 5, -4], [1, -2, 4, 0, 7]]
    exact = [[Fraction(a) for a in rows[0]], [a + Fraction(b, 2**27) for a, b in zip(*rows, strict=True)]]
    gram = [[sum(row[i] * row[j] for row in exact) for j in range(5)] for i in range(5)]
    expected = [gram[i][i] ** 2 / sum(gram[i][j] ** 2 for j in range(5)) for i in range(5)]
    table = pf.feature_geometry(np.array(exact, dtype=float))
    np.testing.assert_allclose(table["dimensionality"].to_numpy(), np.array(expected, dtype=float), rtol=1e-14)
    assert (table["dimensionality"] <= table["leverage"]).all()


@pytest.mark.parametrize("size", [2, 5])
def test_features_as_many_as_dimensions_have_a_leverage_of_one_however_near_its_rows_are(size):
    rng = np.random.default_rng(0)
    W = rng.normal(size=size) + 2.0**-27 * rng.normal(size=(size, size))
    np.testing.assert_allclose(pf.feature_geometry(W)["leverage"].to_numpy(), 1, rtol=1e-13)


def test_a_stack_is_measured_matrix_by_matrix():
    stack = np.random.default_rng(1).normal(size=(2, 3, 4, 6))
    found = pf.feature_dimensionality(stack)
    table = pf.feature_geometry(stack)
    assert found.shape == (2, 3, 6)
    assert table.select("matrix", "feature").rows() == [(m, f) for m in range(6) for f in range(6)]
    for number, place in enumerate(np.ndindex(2, 3)):
        assert found[place].tolist() == pf.feature_dimensionality(stack[place]).tolist()
        alone = pf.feature_geometry(stack[place]).drop("matrix")
        assert table.filter(matrix=number).drop("matrix").equals(alone)
    np.testing.assert_allclose(pf.dimensions_per_feature(stack), 4 / (stack**2).sum((2, 3)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bits_depend_neither_on_threads_nor_on_strides(dtype):
    stack = np.random.default_rng(2).normal(size=(40, 5, 30)).astype(dtype)
    one = pf.feature_geometry(stack, threads=1)
    for same in (stack, np.asfortranarray(stack)):
        assert one.equals(pf.feature_geometry(same, threads=3))


# Edges


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_spoils_its_matrix_alone(bad):
    stack = np.ones((3, 2, 2))
    stack[1, 0, 0] = bad
    assert np.isnan(pf.feature_dimensionality(stack)).tolist() == [[False] * 2, [True] * 2, [False] * 2]
    spoiled = pf.feature_geometry(stack).filter(pl.col("certainty").is_nan())
    assert spoiled.select("matrix", "geometry").rows() == [(1, "none of these")] * 2
    assert spoiled["component"].to_list() == [0, 1]
    for name in MEASURES:
        assert pf.feature_geometry(stack)[name].is_nan().to_list() == [False] * 2 + [True] * 2 + [False] * 2, name


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 2, 3), (2, 0, 3)])
def test_empty_axes_give_zeros_or_nothing(shape):
    found = pf.feature_dimensionality(np.ones(shape))
    assert found.shape == (*shape[:-2], shape[-1])
    assert not found.any()
    assert len(pf.feature_geometry(np.ones(shape))) == found.size


def test_errors_name_the_weights():
    for function in (pf.feature_dimensionality, pf.feature_geometry, pf.dimensions_per_feature):
        with pytest.raises(ShapeError, match=r"W must have axes \(..., hidden, feature\), got 1"):
            function(np.ones(3))
    with pytest.raises(DtypeError, match="W has dtype"):
        pf.feature_dimensionality(np.ones((2, 2), int))


def test_polygons_come_near_none_of_each_other():
    for corners in range(3, 10):
        np.testing.assert_allclose(pf.feature_dimensionality(polygon(corners)), 2 / corners, rtol=1e-13)


# Examples


@given(st.integers(3, 12), st.integers(0, 2**32))
def test_examples_evenly_in_a_plane_share_it(count, seed):
    hidden = 0.7 * rotation(np.random.default_rng(seed), 2) @ polygon(count)
    np.testing.assert_allclose(pf.example_dimensionality(hidden.T), 2 / count, rtol=1e-12)


def test_examples_are_rows_where_features_are_columns():
    hidden = np.random.default_rng(4).normal(size=(3, 7, 2))
    found = pf.example_dimensionality(hidden, threads=1)
    assert found.tolist() == [pf.feature_dimensionality(each.T).tolist() for each in hidden]
    with pytest.raises(ShapeError, match=r"hidden must have axes \(..., example, hidden\), got 1"):
        pf.example_dimensionality(np.ones(3))


@pytest.mark.parametrize("small", [1e-2, 1e-5, 1e-9, 1e-100])
def test_a_small_column_among_large_ones_keeps_its_digits(small):
    # Two columns at an angle whose squared cosine is 1/2; D = |a|^2 / (|a|^2 + |b|^2 / 2).
    W = np.array([[small, 1.0], [0.0, 1.0]])
    own = small**2
    expected = [own / (own + 1), 2 / (2 + own / 2)]
    np.testing.assert_allclose(pf.feature_dimensionality(W), expected, rtol=1e-13)


@pytest.mark.parametrize("size", [1e-100, 1e-60, 1.0, 1e60, 1e100])
def test_the_size_of_all_of_it_does_not_matter(size):
    W = np.random.default_rng(5).normal(size=(3, 7))
    np.testing.assert_allclose(pf.feature_dimensionality(size * W), pf.feature_dimensionality(W), rtol=1e-12)
