"""Which figure features form: every figure by name, beside others at right angles, disturbed, and none of these."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from figures import FIGURES, antiprism, polygon
from phaseflow.exceptions import ParameterError

NAMED = {name: corners for name, corners in FIGURES.items() if name != "octahedron"} | {"square antiprism": antiprism()}


def side_by_side(figures):
    """Figures in spaces of their own, at right angles to each other."""
    W = np.zeros((sum(len(f) for f in figures), sum(f.shape[1] for f in figures)))
    row = column = 0
    for figure in figures:
        W[row : row + len(figure), column : column + figure.shape[1]] = figure
        row, column = row + len(figure), column + figure.shape[1]
    return W


@pytest.mark.parametrize("name", NAMED)
def test_every_figure_is_called_by_its_name(name):
    table = pf.feature_geometry(1.3 * NAMED[name])
    assert set(table["geometry"]) == {name}
    assert table["certainty"].to_list() == pytest.approx([1] * len(table), abs=1e-2 if "anti" in name else 1e-9)
    assert set(table["corners"]) == {len(table)}
    assert set(table["component"]) == {0}


def test_an_octahedron_is_three_digons():
    table = pf.feature_geometry(FIGURES["octahedron"])
    assert table["geometry"].to_list() == ["digon"] * 6
    assert table["component"].to_list() == [0, 1, 2, 0, 1, 2]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(sorted(NAMED)), min_size=1, max_size=4), st.integers(0, 2**32))
def test_figures_side_by_side_keep_their_names_however_they_lie_and_in_any_order(names, seed):
    rng = np.random.default_rng(seed)
    W = side_by_side([NAMED[name] * rng.uniform(0.5, 2) for name in names])
    expected = np.repeat(names, [NAMED[name].shape[1] for name in names])
    order = rng.permutation(W.shape[1])
    turned = np.linalg.qr(rng.normal(size=(len(W), len(W))))[0] @ W[:, order]
    table = pf.feature_geometry(turned + rng.normal(0, 0.005, turned.shape))
    assert table["geometry"].to_list() == expected[order].tolist()
    assert table["component"].n_unique() == len(names)
    assert (table["certainty"] > 0.7).all()


def test_certainty_falls_with_disturbance_down_to_none_of_these():
    # A triangle whose third corner leans by an angle: cosines -1/2, -1/2 ± sin(60°) · angle to first order.
    last = 1.0
    for angle in (0.0, 0.05, 0.1):
        W = polygon(3)
        W[:, 2] = [np.cos(4 * np.pi / 3 + angle), np.sin(4 * np.pi / 3 + angle)]
        exact = np.array([-1 / 2, np.cos(4 * np.pi / 3 + angle), np.cos(2 * np.pi / 3 + angle)])
        certainty = 1 - np.sqrt(np.mean((exact + 1 / 2) ** 2)) / 0.1
        table = pf.feature_geometry(W)
        assert table["certainty"].to_list() == pytest.approx([max(certainty, 0)] * 3, abs=1e-12)
        assert certainty <= last
        last = certainty
    W[:, 2] = W[:, 1]
    assert set(pf.feature_geometry(W)["geometry"]) == {"none of these"}


@pytest.mark.parametrize("corners", [9, 12, 15])
def test_polygons_of_many_corners_are_told_from_crowds_and_their_certainty_is_exact(corners):
    rng = np.random.default_rng(corners)
    for scale in (0.0, 0.02, 0.05, 0.3):
        W = polygon(corners) + scale * rng.normal(size=(2, corners))
        unit = W / np.linalg.norm(W, axis=0)
        pairs = np.triu_indices(corners, 1)
        sorted_cosines = [np.sort((figure.T @ figure)[pairs]) for figure in (unit, polygon(corners))]
        certainty = max(1 - np.sqrt(np.mean(np.subtract(*sorted_cosines) ** 2)) / 0.1, 0)
        table = pf.feature_geometry(W, edge=0.05)
        assert table["certainty"].to_list() == pytest.approx([certainty] * corners, abs=1e-9)
        assert set(table["geometry"]) == {f"{corners}-gon" if certainty else "none of these"}
    crowd = rng.normal(size=(4, corners))
    assert set(pf.feature_geometry(crowd, edge=0.05)["geometry"]) == {"none of these"}


@pytest.mark.parametrize("name", ["cube", "square antiprism", "8-gon"])
def test_of_several_figures_within_reach_the_nearest_gives_the_name(name):
    assert set(pf.feature_geometry(NAMED[name], tolerance=1.9)["geometry"]) == {name}


@pytest.mark.parametrize("corners", [7, 9, 14])
@pytest.mark.parametrize("part", [0.5, 0.995, 1.005])
def test_an_umbrella_of_many_corners_is_a_polygon_to_the_last_bit_of_the_tolerance(corners, part):
    # Lifted out of the plane, all cosines c become (1 - h) c + h: a distance of h times the root mean square of 1 - c.
    pairs = np.triu_indices(corners, 1)
    away = np.sqrt(np.mean((1 - (polygon(corners).T @ polygon(corners))[pairs]) ** 2))
    height = part * 0.1 / away
    W = np.vstack([np.sqrt(1 - height) * polygon(corners), np.full(corners, np.sqrt(height))])
    table = pf.feature_geometry(W, edge=0.01)
    assert table["certainty"].to_list() == pytest.approx([max(1 - part, 0)] * corners, abs=1e-9)
    assert set(table["geometry"]) == {f"{corners}-gon" if part < 1 else "none of these"}


@pytest.mark.parametrize("scale", [1e-8, 1e-2, 1e8])
def test_the_scale_of_all_of_it_changes_no_name(scale):
    W = np.hstack([side_by_side([polygon(3), polygon(2)]), [[0.05], [0.0], [0.0], [0.05]]])
    names = pf.feature_geometry(scale * W)["geometry"].to_list()
    assert names == ["triangle"] * 3 + ["digon"] * 2 + ["not learned"]


def test_random_features_are_none_of_these():
    W = np.random.default_rng(3).normal(size=(5, 40))
    table = pf.feature_geometry(W)
    assert set(table["geometry"]) == {"none of these"}
    assert set(table["certainty"]) == {0.0}


def test_small_and_zero_columns_are_not_learned():
    table = pf.feature_geometry(np.array([[1.0, -1.0, 0.09, 0.0, 0.11]]))
    assert table["geometry"].to_list() == [
        "none of these",
        "none of these",
        "not learned",
        "not learned",
        "none of these",
    ]
    assert set(pf.feature_geometry(np.zeros((2, 3)))["geometry"]) == {"not learned"}
    assert pf.feature_geometry([[1.0, -1.0, 0.3]], learned=0.5)["geometry"].to_list() == ["digon"] * 2 + ["not learned"]


@pytest.mark.parametrize(("name", "value"), [("learned", 0.0), ("edge", 1.0), ("tolerance", -1.0), ("edge", np.nan)])
def test_parameters_outside_their_range_are_named(name, value):
    with pytest.raises(ParameterError, match=f"{name} is .*, expected a number between 0 and"):
        pf.feature_geometry(np.eye(2), **{name: value})
