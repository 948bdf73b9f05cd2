"""Principal components of function space: by hand, the slow oracle, laws, edges, archives."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from oracles import function_space as oracle
from phaseflow import _core
from phaseflow.analysis.function_space import one_a_row
from phaseflow.archive import Run
from phaseflow.metrics import function_space as module
from strategies import laid_out

# By hand


def test_a_straight_path_has_one_component() -> None:
    # Two of four tokens fall by 1 a checkpoint: 1, 0, -1 about the mean, root mean square over four tokens 1/sqrt(2).
    losses = np.array([[5.0, 4.0, 3.0, 2.0], [4.0, 3.0, 3.0, 2.0], [3.0, 2.0, 3.0, 2.0]])
    found = pf.function_space_pca(losses)
    np.testing.assert_allclose(found.positions[:, 0], [0.5**0.5, 0, -(0.5**0.5)], atol=1e-15)
    np.testing.assert_allclose(found.positions[:, 1], 0, atol=1e-7)
    np.testing.assert_allclose(found.share, [1, 0], atol=1e-15)
    assert found.n_tokens == 4


def test_distances_are_root_mean_square_differences_of_the_losses() -> None:
    losses = np.random.default_rng(0).normal(3, 1, (4, 30))
    found = pf.function_space_pca(losses, components=4).positions
    for one in range(4):
        for other in range(4):
            expected = np.sqrt(((losses[one] - losses[other]) ** 2).mean())
            assert np.linalg.norm(found[one] - found[other]) == pytest.approx(expected, abs=1e-7)


# The oracle


@given(st.data())
def test_it_agrees_with_a_singular_value_decomposition(data: st.DataObject) -> None:
    n, shape = data.draw(st.integers(2, 9)), data.draw(st.tuples(st.integers(1, 6), st.integers(2, 400)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # Components of clearly different variance, so that their directions are determined; not centred by themselves.
    factors = rng.normal(size=(n, 3)) * [4.0, 1.0, 0.25]
    losses = 5 + (factors @ (0.3 + rng.normal(size=(3, shape[0] * shape[1])))).reshape(n, *shape)
    stored = [data.draw(laid_out(one)) for one in losses]
    # Of what has three components the rest is rounding, on either side of 0.
    every = pf.function_space_pca(stored, components=n)
    assert np.isfinite(every.positions).all()
    assert every.share.sum() == pytest.approx(1)
    found = pf.function_space_pca(stored, components=min(n, 2))
    values = np.array([np.asarray(one).astype(float) for one in stored])
    positions, shares = oracle.positions_and_shares(values, min(n, 2))
    np.testing.assert_allclose(found.share, shares, rtol=1e-9, atol=1e-12)
    gap = np.diff(oracle.positions_and_shares(values, n)[1][:3])
    if (np.abs(gap) > 0.01).all():
        np.testing.assert_allclose(found.positions, positions, rtol=1e-6, atol=1e-8)


def test_inner_products_are_those_of_double_precision_whatever_the_blocks() -> None:
    rng = np.random.default_rng(1)
    losses = rng.normal(3, 1, (150, 2500)).astype(np.float16)
    products, totals, used = _core.loss_gram(list(losses), 0, 2500, None)
    centred = losses.astype(float) - losses.astype(float).mean(axis=0)
    np.testing.assert_allclose(products, centred @ centred.T, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(totals, centred.sum(axis=1), atol=1e-9)
    assert used == 2500
    np.testing.assert_array_equal(products, products.T)


# Laws


def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    losses = list(np.random.default_rng(2).normal(3, 1, (140, 3000)).astype(np.float32))
    one, two = (_core.loss_gram(losses, 0, 3000, threads)[0] for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_columns_read_in_parts_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = np.random.default_rng(3).normal(3, 1, (20, 5000))
    # What the last part rises by is less than what the others fall: the sign of the component is that of them all.
    losses += np.where(np.arange(5000) < 4096, -1, 1) * np.linspace(0, 3, 20)[:, None]
    whole = pf.function_space_pca(losses)
    monkeypatch.setattr(module, "MAPPED", 0)
    parts = pf.function_space_pca(losses)
    np.testing.assert_allclose(whole.positions, parts.positions, rtol=1e-9, atol=1e-11)


def test_what_all_checkpoints_have_in_common_and_the_order_of_tokens_change_nothing() -> None:
    rng = np.random.default_rng(4)
    losses = rng.normal(3, 1, (6, 40)) * rng.uniform(0.1, 3, (6, 1))
    found = pf.function_space_pca(losses)
    order = rng.permutation(40)
    moved = pf.function_space_pca((losses + 100 * rng.normal(size=40))[:, order])
    np.testing.assert_allclose(np.abs(moved.positions), np.abs(found.positions), rtol=1e-8)
    np.testing.assert_allclose(pf.function_space_pca(3 * losses).positions, 3 * found.positions, rtol=1e-10)


def test_moving_up_a_component_raises_the_mean_loss() -> None:
    rng = np.random.default_rng(5)
    losses = 4 - np.linspace(0, 2, 12)[:, None] + rng.normal(0, 0.05, (12, 300))
    found = pf.function_space_pca(losses).positions[:, 0]
    assert np.corrcoef(found, losses.mean(axis=1))[0, 1] > 0.99
    flipped = pf.function_space_pca(losses[::-1]).positions[:, 0]
    np.testing.assert_allclose(flipped, found[::-1], rtol=1e-7)


@pytest.mark.parametrize("far", [0, 1, 2])
def test_where_the_mean_loss_does_not_move_the_farthest_checkpoint_lies_above(far: int) -> None:
    # Every token has one that moves the other way; what their sum rounds to says nothing.
    path = np.where(np.arange(3) == far, 2.0, -1.0)[:, None]
    moving = path * np.random.default_rng(far).normal(size=50)
    for sign in (-1, 1):
        found = pf.function_space_pca(3.1 + sign * np.hstack([moving, -moving])).positions[:, 0]
        assert found[far] == pytest.approx(2 * np.sqrt((moving**2).mean(axis=1).min()))


# Edges


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_token_that_is_no_number_somewhere_is_left_out(bad: float) -> None:
    losses = np.random.default_rng(6).normal(3, 1, (5, 30))
    expected = pf.function_space_pca(np.delete(losses, 7, axis=1))
    losses[2, 7] = bad
    found = pf.function_space_pca(losses)
    np.testing.assert_allclose(found.positions, expected.positions, rtol=1e-9)
    assert found.n_tokens == 29


def test_one_checkpoint_or_no_usable_token_has_no_variance() -> None:
    for losses in (np.ones((1, 5)), np.full((3, 4), np.nan), np.ones((3, 4)), np.ones((3, 0))):
        found = pf.function_space_pca(losses, components=1)
        assert (found.positions == 0).all()
        assert np.isnan(found.share).all()


@pytest.mark.parametrize(
    ("losses", "components", "error"),
    [
        (np.ones((3, 4)), 0, "components is 0"),
        (np.ones((3, 4)), 4, "at most 3, the number of checkpoints"),
        ([np.ones(3), np.ones(4)], 1, "the same tokens"),
        ([], 1, "no checkpoints"),
        (np.ones((0, 4)), 1, "no checkpoints"),
        (1.0, 1, "got 0 axes"),
    ],
)
def test_what_has_no_components_is_refused_by_name(losses: object, components: int, error: str) -> None:
    with pytest.raises(pf.exceptions.PhaseflowError, match=error):
        pf.function_space_pca(losses, components=components)


# Archives


def record(path: Path, *, turn: bool, seed: int, tokens: np.ndarray) -> None:
    """Loss falls alike in all tokens; with ``turn`` the second half of each example falls further from step 100 on."""
    rng = np.random.default_rng(seed)
    late = np.arange(tokens.shape[1] - 1) >= tokens.shape[1] // 2
    with pf.Recorder(path, probes={"text": pf.Probe(tokens)}) as recorder:
        for step in (1, 3, 10, 30, 100, 300, 1000):
            losses = 3 + 4 * step**-0.5 - 1.5 * late * (turn and step >= 100) + rng.normal(0, 0.05, (8, len(late)))
            recorder.log(step, tokens_seen=64 * step, per_token_loss={"text": losses.astype(np.float32)})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> pf.Archive:
    root = tmp_path_factory.mktemp("space")
    tokens = np.random.default_rng(0).integers(0, 99, (8, 61))
    record(root / "turns", turn=True, seed=1, tokens=tokens)
    record(root / "straight", turn=False, seed=2, tokens=tokens)
    return pf.open(root)


@pytest.mark.parametrize("tokens", ["one", "all"])
def test_the_run_that_turns_leaves_the_others_path(archive: pf.Archive, tokens: str) -> None:
    table = archive.function_space(tokens=tokens)
    assert table.height == 2 * 7 * 2
    wide = table.pivot(on="component", index=["run", "step"], values="value").sort("step")
    last = {run: rows.row(-1)[2:] for (run,), rows in wide.group_by("run")}
    first = {run: rows.row(0)[2:] for (run,), rows in wide.group_by("run")}
    assert np.hypot(*np.subtract(first["turns"], first["straight"])) < 0.1
    assert np.hypot(*np.subtract(last["turns"], last["straight"])) > 0.7
    assert table["share"].unique().sum() > 0.95
    assert (table["tokens_seen"] == 64 * table["step"]).all()


def test_all_tokens_give_the_components_of_the_whole_matrix(archive: pf.Archive) -> None:
    runs = sorted(archive.runs, key=lambda run: run.name)
    losses = [np.asarray(run.tensor(step, "loss/text")) for run in runs for step in run.steps]
    expected = pf.function_space_pca(losses)
    table = archive.function_space(tokens="all").sort("run", "step", "component")
    np.testing.assert_allclose(table["value"].to_numpy().reshape(-1, 2), expected.positions, rtol=1e-9, atol=1e-12)


def test_runs_on_other_tokens_have_a_space_of_their_own(tmp_path: Path) -> None:
    for seed in (0, 1):
        tokens = np.random.default_rng(seed).integers(0, 99, (8, 61))
        record(tmp_path / f"run{seed}", turn=False, seed=seed, tokens=tokens)
    table = pf.open(tmp_path).function_space(components=1, tokens="all")
    means = table.group_by("run").agg(pl.col("value").mean())["value"]
    np.testing.assert_allclose(means, 0, atol=1e-12)


def test_undefined_losses_are_left_out_and_told(tmp_path: Path) -> None:
    with pf.Recorder(tmp_path / "run", probes={"text": pf.Probe(np.ones((2, 6), int))}) as recorder:
        for step in range(1, 5):
            losses = np.random.default_rng(step).normal(3, 1, (2, 5))
            losses[0, 0] = np.nan if step == 2 else 3.0
            recorder.log(step, per_token_loss={"text": np.full((2, 5), np.nan) if step == 4 else losses})
    for tokens, kept in (("all", 9), ("one", None)):
        archive = pf.open(tmp_path)
        assert archive.function_space(tokens=tokens)["step"].unique().to_list() == [1, 2, 3]
        told = archive.problems["found"].to_list()
        assert any("checkpoint is left out" in text for text in told)
        lost = [text for text in told if "left out of function space" in text]
        one_is_drawn = kept is not None or 0 in one_a_row((2, 5), seed=0)
        assert [text.split(" with")[0] for text in lost] == ["1 tokens"] * one_is_drawn


def test_there_are_as_many_components_as_usable_checkpoints_at_most(tmp_path: Path) -> None:
    with pf.Recorder(tmp_path / "run", probes={"text": pf.Probe(np.ones((2, 6), int))}) as recorder:
        for step in range(1, 5):
            losses = np.random.default_rng(step).normal(3, 1, (2, 5))
            recorder.log(step, per_token_loss={"text": np.full((2, 5), np.nan) if step == 4 else losses})
    table = pf.open(tmp_path).function_space(components=9, tokens="all")
    assert sorted(set(table["component"])) == [1, 2, 3]


def test_probes_have_spaces_of_their_own_though_their_tokens_are_the_same(tmp_path: Path) -> None:
    probe = pf.Probe(np.ones((2, 6), int))
    with pf.Recorder(tmp_path / "run", probes={"plain": probe, "ablated": probe}) as recorder:
        for step in range(1, 5):
            plain = np.random.default_rng(step).normal(3, 1, (2, 5))
            recorder.log(step, per_token_loss={"plain": plain, "ablated": plain + step})
    table = pf.open(tmp_path).function_space(tokens="all")
    assert table["probe"].unique(maintain_order=True).to_list() == ["ablated", "plain"]
    means = table.group_by("probe", "component").agg(pl.col("value").mean())["value"]
    np.testing.assert_allclose(means, 0, atol=1e-12)


def test_an_unknown_choice_of_tokens_lists_the_known(archive: pf.Archive) -> None:
    with pytest.raises(pf.exceptions.UnknownNameError, match="known: all, one"):
        archive.function_space(tokens="some")


@pytest.mark.parametrize("options", [{"components": 0}, {"components": 1.5}, {"seed": -1}, {"seed": 0.5}])
@pytest.mark.parametrize("tokens", ["one", "all"])
def test_a_number_that_is_none_is_refused_by_name(archive: pf.Archive, options: dict, tokens: str) -> None:
    with pytest.raises(pf.exceptions.ParameterError, match=f"{next(iter(options))} is"):
        archive.function_space(tokens=tokens, **options)


# Kept beside the first of the runs


def recorded_and_found(root: Path, **options: object) -> tuple[pl.DataFrame, pl.DataFrame]:
    archive = pf.open(root)
    return archive.function_space(**options), archive.problems


def two_runs(root: Path) -> Path:
    """Of one space; at one step of the second run nothing is finite, at another one token is not."""
    tokens = np.random.default_rng(0).integers(0, 99, (8, 61))
    record(root / "a", turn=True, seed=1, tokens=tokens)
    record(root / "b", turn=False, seed=2, tokens=tokens)
    log(root / "b", 2000, np.full((8, 60), np.nan))
    log(root / "b", 3000, np.where(np.arange(480).reshape(8, 60) == 17, np.nan, 3.0))
    return root


def log(path: Path, step: int, losses: np.ndarray) -> None:
    with pf.Recorder(path, probes={"text": pf.open(path).runs[0].probes["text"]}) as recorder:
        recorder.log(step, tokens_seen=64 * step, per_token_loss={"text": losses.astype(np.float32)})


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(run: Run, step: int, name: str) -> None:
        raise AssertionError(f"{name} at step {step} of {run.name} is read")

    monkeypatch.setattr(Run, "tensor", refused)


@pytest.mark.parametrize("tokens", ["one", "all"])
def test_a_second_analysis_reads_no_losses_and_tells_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: str
) -> None:
    table, problems = recorded_and_found(two_runs(tmp_path), tokens=tokens)
    assert table["run"].unique(maintain_order=True).to_list() == ["a", "b"]
    assert problems.filter(pl.col("found").str.contains("left out"))["run"].to_list()[0] == "b"
    no_reading(monkeypatch)
    kept, kept_problems = recorded_and_found(tmp_path, tokens=tokens)
    assert kept.equals(table)
    assert kept_problems.equals(problems)


def test_a_checkpoint_of_another_shape_has_a_space_of_its_own_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(1, 6):
        np.save(tmp_path / f"step{step}.npy", np.random.default_rng(step).normal(3, 1, (2, 5 if step == 3 else 9)))
    where = {"path": f"{tmp_path}/step{{step}}.npy", "axes": "batch pos", "cache": tmp_path / "kept"}
    table = pf.open(**where).function_space(tokens="all")
    assert sorted(table.filter(component=1)["step"]) == [1, 2, 3, 4, 5]
    assert table.filter(step=3)["value"].to_list() == [0.0]
    monkeypatch.setattr("phaseflow.analysis.function_space.function_space", None)
    assert pf.open(**where).function_space(tokens="all").equals(table)


def test_another_choice_of_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pf.open(two_runs(tmp_path)).function_space(tokens="one")
    pf.open(tmp_path).function_space(tokens="all", seed=5)
    no_reading(monkeypatch)
    assert pf.open(tmp_path).function_space(tokens="all", seed=6).height > 0  # no seed chooses among all
    for options in ({"seed": 1}, {"components": 3}, {"components": 1, "tokens": "all"}):
        with pytest.raises(AssertionError, match="is read"):
            pf.open(tmp_path).function_space(**options)


@pytest.mark.parametrize("run", ["a", "b"])
def test_a_new_checkpoint_of_any_run_is_a_new_space_and_the_old_one_is_gone(tmp_path: Path, run: str) -> None:
    pf.open(two_runs(tmp_path)).function_space(tokens="all")
    before = set(tmp_path.rglob("derived/function_space-*.parquet"))
    log(tmp_path / run, 4000, np.full((8, 60), 2.0))
    table = pf.open(tmp_path).function_space(tokens="all")
    assert table.filter(step=4000)["run"].unique().to_list() == [run]
    after = set(tmp_path.rglob("derived/function_space-*.parquet"))
    assert len(before) == len(after) == 2
    assert not before & after
    shutil.rmtree(tmp_path / "a" / "derived")
    assert pf.open(tmp_path).function_space(tokens="all").equals(table)


def test_a_run_alone_and_beside_another_has_two_spaces_that_are_both_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = pf.open(two_runs(tmp_path)).function_space(tokens="all")
    alone = pf.open(tmp_path / "a").function_space(tokens="all")
    assert not alone["value"].equals(together.filter(run="a")["value"])
    no_reading(monkeypatch)
    assert pf.open(tmp_path).function_space(tokens="all").equals(together)
    assert pf.open(tmp_path / "a").function_space(tokens="all").equals(alone)


def test_runs_under_other_names_keep_their_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, problems = recorded_and_found(two_runs(tmp_path), tokens="all")
    for old, new in (("a", "first"), ("b", "second")):
        (tmp_path / old).rename(tmp_path / new)
    no_reading(monkeypatch)
    found, found_problems = recorded_and_found(tmp_path, tokens="all")
    assert found["run"].unique(maintain_order=True).to_list() == ["first", "second"]
    assert found.drop("run").equals(table.drop("run"))
    assert found_problems["run"].to_list() == ["second", "first, second"]
    assert problems["run"].to_list() == ["b", "a, b"]


@pytest.mark.parametrize("opened", ["before", "after"])
def test_what_cannot_be_read_is_tried_again(tmp_path: Path, opened: str) -> None:
    whole = pf.open(two_runs(tmp_path / "runs")).function_space(tokens="all")
    shutil.rmtree(tmp_path / "runs" / "a" / "derived")
    (damaged,) = (tmp_path / "runs" / "b" / "tensors").glob("*1000-*")
    content = damaged.read_bytes()
    # A damaged file is left out when it is opened; one that is damaged later is found when it is read.
    archive = pf.open(tmp_path / "runs")
    if opened == "before":
        assert archive.runs[1].steps[-3:] == [1000, 2000, 3000]
    damaged.write_bytes(content[:100])
    less = (archive if opened == "before" else pf.open(tmp_path / "runs")).function_space(tokens="all")
    assert less.height < whole.height
    assert less["step"].max() > 1000  # a checkpoint of no use comes after it, and a good one
    damaged.write_bytes(content)
    assert pf.open(tmp_path / "runs").function_space(tokens="all").equals(whole)


def test_one_token_of_each_example_is_drawn_from_its_whole_context() -> None:
    chosen = one_a_row((400, 3), seed=0)
    np.testing.assert_array_equal(chosen // 3, np.arange(400))
    counts = np.bincount(chosen % 3)
    assert counts.sum() == 400
    assert (abs(counts - 400 / 3) < 4 * np.sqrt(400 * 2 / 9)).all()
