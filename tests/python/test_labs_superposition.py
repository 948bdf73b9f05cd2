"""The superposition lab: its verdicts on weights made by hand, and every part once at its smallest."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import re

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)

from typer.testing import CliRunner

import phaseflow as pf
from figures import polygon
from phaseflow.cli import app
from phaseflow.exceptions import ParameterError
from phaseflow.labs import superposition
from phaseflow.labs.superposition import correlated, diagram, jumps, pentagon
from phaseflow.labs.superposition.lab import named

# Phase diagram


@pytest.mark.parametrize(
    ("W", "phase"),
    [
        ([[1, 0]], "last ignored"),
        ([[0, 0.9]], "another ignored"),
        ([[1.1, 0.3]], "last ignored"),  # a square of 1.3: nearer to one direction kept than to two features
        ([[0.9, -0.9]], "last opposite another"),
        ([[1, -1.1]], "last opposite another"),
        ([[1, 0, 0], [0, 1, 0]], "last ignored"),
        ([[0, 1, 0], [0, 0, 1]], "another ignored"),
        ([[1, 0, -1], [0, 1, 0]], "last opposite another"),
        ([[1, -1, 0], [0, 0, 1]], "two others opposite"),
        # Dense features: the difference of the two others is kept, their sum ignored. Nothing is superposed.
        ([[0.5**0.5, -(0.5**0.5), 0], [0, 0, 1]], "another ignored"),
    ],
)
def test_solutions_are_named_by_what_they_leave_out(W, phase):
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(len(W), len(W))))[0] @ np.array(W, float)
    assert diagram.PHASES[diagram.phases(turned)] == phase
    assert diagram.PHASES[diagram.phases(np.stack([turned, turned]))[1]] == phase


@pytest.mark.parametrize("n_features", [2, 3])
def test_the_closed_form_boundary_is_where_the_losses_are_equal(n_features):
    for importance in (0.1, 0.7, 1.0, 3.0):
        p = diagram.closed_form_boundary(importance, n_features)
        losses = pf.superposition_losses(p, importance, n_features=n_features)
        superposed = min(value for name, value in losses.items() if "opposite" in name)
        ignored = min(value for name, value in losses.items() if "ignored" in name)
        assert superposed == pytest.approx(ignored, rel=1e-12)


def test_the_trained_diagram_is_that_of_the_closed_form_away_from_boundaries(tmp_path):
    found = diagram.phase_diagram(2, tmp_path / "run", points=7, restarts=4, steps=300)
    assert found.away.sum() > 15
    assert found.agreement(found.away) >= 0.95
    assert found.agreement() > 0.85
    # Ignoring a feature costs what the closed form says; superposition a little less than its own.
    ratio = found.loss.min(-1) / found.closed_form.min(0)
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    edges = diagram.boundaries(found)
    assert len(edges) == 7
    for edge in edges:
        assert edge.lower <= edge.density <= edge.upper
        assert 0.7 < edge.density / edge.closed_form < 1.5
    # Loaded, not trained again.
    again = diagram.phase_diagram(2, tmp_path / "run", points=7, restarts=4, steps=300)
    np.testing.assert_array_equal(again.loss, found.loss)


def test_neighbours_of_a_boundary_and_ties_do_not_count_as_away():
    density, importance = np.array([0.05, 0.1, 0.2, 0.9, 0.95, 1.0]), np.array([2.0, 4.0, 8.0])
    closed = np.stack(list(pf.superposition_losses(density, importance[:, None]).values()))
    made = diagram.Diagram(2, density, importance, np.zeros((3, 6, 1)), np.zeros((3, 6, 1), int), closed)
    assert made.expected.tolist() == [[2, 2, 2, 1, 1, 1], [2, 2, 2, 1, 1, 1], [2, 2, 1, 1, 1, 1]]
    assert made.away.tolist()[1] == [True, False, False, False, True, True]
    tied = diagram.Diagram(2, density, importance, made.loss, made.phase, np.ones_like(closed))
    assert not tied.away.any()
    # A phase that costs the same agrees: at importance 1 it does not matter which of the features is ignored.
    dense = np.stack(list(pf.superposition_losses([[0.9, 0.9, 0.9]], 1.0).values()))
    drawn = diagram.Diagram(2, np.full(3, 0.9), np.ones(1), np.zeros((1, 3, 1)), np.array([[[0], [1], [2]]]), dense)
    assert drawn.agrees.tolist() == [[True, True, False]]


# Pentagon to digons


def test_a_crossing_of_curves_is_found_to_the_order_of_a_cubic():
    ratio = np.arange(1, 0.01, -0.02)
    at, slope, bend = pentagon.cross(ratio, 0.01 * 0.3**0.5 - 0.01 * ratio**0.5)
    assert at == pytest.approx(0.3, abs=1e-5)
    assert slope == pytest.approx(-0.005 / 0.3**0.5, rel=0.05)
    assert 0 <= bend < 1e-4


def test_a_crossing_of_lines_is_exact_between_two_points():
    ratio = np.array([1, 0.4, 0.3, 0.2, 0.1])
    assert pentagon.cross(ratio, 0.25 - ratio) == pytest.approx((0.25, -1, 0), abs=1e-12)
    assert np.isnan(pentagon.cross(ratio, 0.05 + ratio)).all()


def test_branches_tell_their_crossing_and_where_they_end():
    ratio = np.linspace(1, 0.1, 10)
    full, digons = np.concatenate([1.1 * polygon(5)]), np.array([[1.0, -1, 0, 0, 0], [0, 0, 1, -1, 0]])
    W = np.stack([[full] * 7 + [digons] * 3, [digons] * 10]).astype(np.float32)
    W[0, 3:7, :, 4] *= 0.8  # a fifth feature that shrinks is still there
    loss = np.stack([0.004 + 0.005 * ratio, 0.0165 * ratio + 0.0017])
    made = pentagon.Branches(ratio, W, np.zeros((2, 10, 5)), np.stack([loss, loss]), np.zeros((2, 10)))
    at, error, height = made.crossing
    assert at == pytest.approx(0.0023 / 0.0115)
    assert error < 1e-9
    assert height == pytest.approx(0.004 + 0.005 * at)
    assert made.last_pentagon() == pytest.approx((0.4, 0.3))
    assert made.first_digons() == 1


# Pairs


def test_pairs_are_judged_by_the_angle_between_them():
    side = np.array([[1, np.cos(1.2)], [0, np.sin(1.2)]])
    verdicts = {
        correlated.ORTHOGONAL: [[1, 0, -1, 0], [0, 1, 0, -1]],
        correlated.OPPOSITE: [[1, -1, 0, 0], [0, 0, 1, -1]],
        correlated.COLLAPSED: [[0.7, 0.7, 0, 0], [0, 0, 0.7, 0.7]],
        correlated.SIDE_BY_SIDE: np.concatenate([side, -side], axis=1),
        correlated.OTHERWISE: [[1, 1, 1, 0], [0, 0, 0, 1]],
    }
    for verdict, W in verdicts.items():
        assert correlated.judged(np.array(W, float))[2] == verdict
    one_opposite = [[1, -1, 0, 1], [0, 0, 1, 0]]
    crowded = np.array([np.cos([0, 1.2, 0.1, 1.3]), np.sin([0, 1.2, 0.1, 1.3])])  # nearer to the other pair than within
    for W in (one_opposite, crowded):
        assert correlated.judged(np.array(W, float))[2] == correlated.OTHERWISE
    inside, others, _ = correlated.judged(np.array(verdicts[correlated.ORTHOGONAL], float))
    assert inside.tolist() == [0, 0]
    assert sorted(others.tolist()) == [-1, -1, 0, 0]


def test_opposites_never_active_together_become_opposite(tmp_path, monkeypatch):
    monkeypatch.setattr(correlated, "CASES", correlated.CASES[3:])
    [found] = correlated.demonstrations(tmp_path, steps=700)
    assert found.verdict == found.case.expected
    assert found.loss < 1e-4


# Energy levels


def planted(rng, coincide, n_instances=80):
    """One feature of each restart jumps from 0 to 1/2; its own loss drops there, or somewhere else."""
    steps = np.unique(np.geomspace(10, 100_000, 200).astype(int))
    sample = np.arange(len(steps))
    rows, losses = [], []
    for i in range(n_instances):
        at = rng.integers(60, 180)
        rows += [(int(s), i, 0, 0.5 * (k >= at) + 0.001 * rng.normal()) for k, s in enumerate(steps)]
        drop = at if coincide else rng.integers(60, 180)
        # A fall that all share, then a plateau, then the drop.
        curve = np.exp(-np.minimum(sample, 30) / 6) * np.where(sample >= drop, 0.5, 1)
        losses += [(i, int(s), float(v)) for s, v in zip(steps, curve, strict=True)]
    geometry = pl.DataFrame(rows, schema=["step", "instance", "feature", "dimensionality"], orient="row")
    return geometry, pl.DataFrame(losses, schema=["instance", "step", "value"], orient="row")


def test_jumps_with_drops_of_their_own_coincide_and_others_do_not():
    rng = np.random.default_rng(0)
    found = jumps.compared(*planted(rng, coincide=True))
    assert found.jumps.height == 80
    assert found.jumps["size"].to_numpy() == pytest.approx([0.5] * 80, abs=0.01)
    assert found.p_value < 0.001
    assert found.mean_drop > 3 * found.chance_drop
    assert found.mean_drop == pytest.approx(np.log(2), abs=0.01)
    assert found.jumps["coincides"].mean() > 0.8
    # Losses fall over 5.7 in their logarithm, 5 of it evenly over 30 steps: four fifths have come at the 28th.
    steps = found.losses["step"].unique().sort()
    assert found.begin == steps[28]
    by_chance = [jumps.compared(*planted(rng, coincide=False), pairings=200) for _ in range(8)]
    assert sum(each.jumps["coincides"].sum() for each in by_chance) <= 4
    assert np.median([each.p_value for each in by_chance]) > 0.1


def test_jumps_while_all_losses_fall_are_not_counted():
    geometry, losses = planted(np.random.default_rng(1), coincide=True, n_instances=20)
    early = geometry["step"].unique().sort()[10]
    raised = pl.when(pl.col("step") < early).then(1.0).otherwise(0.0)
    jumping_early = geometry.with_columns(pl.col("dimensionality") + raised)
    assert jumps.compared(jumping_early, losses, pairings=20).jumps.height == 20


def test_drops_are_measured_over_a_tenth_of_a_decade():
    steps = np.array([0, 100, 112, 125, 400])
    log_loss = np.array([[0.0, -1.0, -2.0, -4.0, -8.0]])
    # Around 112: from 100 to 125 (10^±0.05 = 0.89 to 1.12). Where no other checkpoint is so near: from the last one.
    assert jumps.drops_around(log_loss, steps).tolist() == [[0.0, 2.0, 3.0, 2.0, 4.0]]


# The lab


def test_one_call_trains_archives_and_writes_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(correlated, "CASES", correlated.CASES[::3])
    command = "phaseflow lab superposition"
    [claim] = superposition.run(tmp_path / "runs", tmp_path / "page.html", parts=["pairs"], command=command)
    assert (claim.verdict, claim.measured) == ("holds", "2 of 2 cases lie as the paper finds them")
    text = (tmp_path / "page.html").read_text()
    for word in ("the claim holds", "Correlated features", "orthogonal", "about a third of all", command, "Reproduce"):
        assert word in text
    assert "page.html has the figures" in capsys.readouterr().out
    assert pf.open(tmp_path / "runs").feature_geometry()["run"].n_unique() == 2


def test_the_command_names_its_parts_and_its_page(tmp_path, monkeypatch):
    called = {}
    monkeypatch.setattr(superposition, "run", lambda *args, **more: called.update(more, args=args))
    done = CliRunner().invoke(
        app, ["lab", "superposition", "--diagram", "--levels", "--report", str(tmp_path / "p.html"), "--size", "0.5"]
    )
    assert done.exit_code == 0, done.output
    assert called["parts"] == ["diagram", "levels"]
    assert called["args"][1] == tmp_path / "p.html"
    assert called["size"] == 0.5
    CliRunner().invoke(app, ["lab", "superposition"])
    assert called["parts"] == ["diagram", "pentagon", "pairs", "levels"]


def test_unknown_parts_and_sizes_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="expected some of diagram, pentagon, pairs, levels"):
        superposition.run(tmp_path, tmp_path / "page.html", parts=["diagrams"])
    with pytest.raises(ParameterError, match="size is 0"):
        superposition.run(tmp_path, tmp_path / "page.html", size=0)


def test_a_page_or_a_device_that_cannot_be_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for arguments, said in (
        (["--report", str(tmp_path)], "is a directory, expected a file"),
        (["--report", str(tmp_path / "file" / "page.html")], "in the way|file"),
        (["--device", "nope"], "device is 'nope', which torch cannot use here"),
    ):
        for name in ("superposition", "markov"):
            out = tmp_path / "runs"
            done = CliRunner().invoke(app, ["lab", name, "--out", str(out), *arguments])
            assert isinstance(done.exception, (ParameterError, OSError)), done.output
            assert re.search(said, str(done.exception))
            assert not out.exists()


def test_a_plane_is_named_by_the_figures_in_it():
    angle = 2 * np.pi * np.arange(5) / 5
    assert named(np.array([np.cos(angle), np.sin(angle)])) == "pentagon"
    assert named(np.array([[1.0, -1.0, 0.0, 0.0, 0.01], [0.0, 0.0, 1.0, -1.0, 0.0]])) == "2 digons"
    assert named(np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])) == "digon, dedicated"
