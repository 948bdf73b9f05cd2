"""The table of circuits: the rows of stored weights, kept, joined with patterns; and what happens to damage."""

import numpy as np
import polars as pl
import pytest

import phaseflow as pf
from phaseflow.archive import Probe

LAYERS, HEADS, D_MODEL, D_HEAD, VOCAB, POS = 3, 2, 12, 4, 20, 6
SHAPES = {
    "W_Q": (HEADS, D_MODEL, D_HEAD),
    "W_K": (HEADS, D_MODEL, D_HEAD),
    "W_V": (HEADS, D_MODEL, D_HEAD),
    "W_O": (HEADS, D_HEAD, D_MODEL),
}


def random_weights(rng):
    weights = {
        f"{name}/L{layer:02d}": rng.normal(size=shape).astype(np.float32)
        for name, shape in SHAPES.items()
        for layer in range(LAYERS)
    }
    weights["W_E"] = rng.normal(size=(VOCAB, D_MODEL)).astype(np.float32)
    weights["W_U"] = rng.normal(size=(D_MODEL, VOCAB)).astype(np.float32)
    return weights


def patterns(rng):
    return [rng.dirichlet(np.ones(POS), (2, HEADS, POS)).astype(np.float32) for _ in range(LAYERS)]


@pytest.fixture
def run(tmp_path):
    """Weights at steps 0 and 20, patterns at 10 and 20."""
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    stored = {0: random_weights(rng), 20: random_weights(rng)}
    shown = {10: patterns(rng), 20: patterns(rng)}
    probes = {"repeated": Probe(rng.integers(0, VOCAB, (2, POS)))}
    with pf.Recorder(path, config={}, probes=probes) as recorder:
        for step in (0, 10, 20):
            attention = {"repeated": shown[step]} if step in shown else None
            recorder.log(step, tokens_seen=100 * step, weights=stored.get(step), attention=attention)
    return path, stored, shown


def stacked(weights):
    return {name: np.stack([weights[f"{name}/L{layer:02d}"] for layer in range(LAYERS)]) for name in SHAPES}


def test_every_row_is_that_of_the_function_it_names(run):
    path, stored, _ = run
    table = pf.open(path).circuit_scores()
    assert table["step"].unique().to_list() == [0, 20]
    assert table["tokens_seen"].unique().to_list() == [0, 2000]
    for step, weights in stored.items():
        at = table.filter(step=step)
        heads = stacked(weights)
        expected = {
            f"{kind.lower()}_composition": pf.composition_scores(**heads, kind=kind) for kind in ("Q", "K", "V")
        }
        for metric, scores in expected.items():
            rows = at.filter(metric=metric)
            assert len(rows) == HEADS**2 * LAYERS * (LAYERS - 1) // 2
            for row in rows.iter_rows(named=True):
                assert row["earlier_layer"] < row["layer"]
                pair = row["earlier_layer"], row["earlier_head"], row["layer"], row["head"]
                assert row["value"] == scores[pair]
                assert row["chance"] == D_MODEL**-0.5
        copying = at.filter(metric="ov_copying_statistic")
        assert copying.select("layer", "head").rows() == list(np.ndindex(LAYERS, HEADS))
        assert copying["earlier_layer"].is_null().all()
        found = pf.ov_copying_statistic(weights["W_E"], heads["W_V"], heads["W_O"], weights["W_U"])
        assert copying["value"].to_list() == found.ravel().tolist()


def test_the_previous_token_term_is_there_where_patterns_are(run):
    path, stored, shown = run
    archive = pf.open(path)
    rows = archive.circuit_scores().filter(metric="qk_previous_token_term")
    assert rows["step"].unique().to_list() == [20]
    assert rows.select("layer", "head").rows() == list(np.ndindex(LAYERS, HEADS))[HEADS:]
    tokens = archive.runs[0].probes["repeated"].tokens
    previous = [pf.head_scores(p, tokens).filter(metric="previous_token_score")["value"] for p in shown[20]]
    expected = pf.qk_previous_token_term(
        stored[20]["W_E"], **stacked(stored[20]), previous_token_scores=np.stack(previous)
    )
    np.testing.assert_allclose(rows["value"].to_numpy(), expected[1:].ravel(), rtol=1e-12)


def test_a_second_analysis_reads_what_the_first_kept(run):
    path, _, _ = run
    first = pf.open(path).circuit_scores()
    computed = []
    again = pf.open(path, progress=lambda what, done, total: computed.append(what)).circuit_scores()
    assert first.equals(again)
    assert not [what for what in computed if "circuit" in what]


def test_weights_of_layers_that_do_not_match_have_no_rows(tmp_path):
    rng = np.random.default_rng(1)
    probes = {"text": Probe([[1, 2]])}
    lacking, uneven = random_weights(rng), random_weights(rng)
    del lacking["W_K/L01"]
    uneven["W_V/L02"] = uneven["W_V/L02"][:1]
    bare = {name: weights for name, weights in random_weights(rng).items() if name not in ("W_E", "W_U")}
    with pf.Recorder(tmp_path / "a", config={}, probes=probes) as recorder:
        for step, weights in enumerate([lacking, uneven, bare]):
            recorder.log(step, weights=weights)
    table = pf.open(tmp_path / "a").circuit_scores()
    assert table["step"].unique().to_list() == [2]
    assert set(table["metric"]) == {"q_composition", "k_composition", "v_composition"}


def test_a_run_without_weights_has_an_empty_table_of_the_same_columns(run, tmp_path):
    with pf.Recorder(tmp_path / "b", config={}, probes={"text": Probe([[1, 2]])}) as recorder:
        recorder.log(0, per_token_loss={"text": np.ones((1, 2))})
    empty = pf.open(tmp_path / "b").circuit_scores()
    assert empty.is_empty()
    assert empty.schema == pf.open(run[0]).circuit_scores().schema
    assert pf.open(tmp_path).circuit_scores()["run"].unique().to_list() == ["a"]


def test_a_head_of_zeros_is_told_as_a_problem(tmp_path):
    weights = random_weights(np.random.default_rng(2))
    weights["W_O/L00"][1] = 0
    with pf.Recorder(tmp_path / "a", config={}, probes={"text": Probe([[1, 2]])}) as recorder:
        recorder.log(5, weights=weights)
    archive = pf.open(tmp_path / "a")
    undefined = archive.circuit_scores().filter(pl.col("value").is_nan())
    assert set(
        undefined.filter(pl.col("earlier_layer").is_not_null()).select("earlier_layer", "earlier_head").rows()
    ) == {(0, 1)}
    assert archive.problems["object"].to_list() == ["weights at step 5"]
    assert f"leave {len(undefined)} circuit scores undefined" in archive.problems["found"][0]
