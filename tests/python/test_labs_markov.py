"""In-context Markov chains from training to verdict: two layers pass all stages, one does not, and detection says so."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

from pathlib import Path

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import phaseflow
from phaseflow.labs.markov import Findings, find, markov_configs, page
from phaseflow.labs.markov.stages import change_to_bigram, stages_of_run
from phaseflow.training import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("markov")
    for name, config in markov_configs(range(1), steps=300).items():
        train(config, root / name)
    return root


@pytest.fixture(scope="module")
def findings(trained: Path) -> Findings:
    return find(phaseflow.open(trained))


def test_two_layers_pass_from_uniform_through_unigram_to_bigram_and_one_layer_stops_before(findings: Findings) -> None:
    passed = dict(findings.verdicts.select("run", "stages").iter_rows())
    assert passed == {"two-layer-0": "uniform → unigram → bigram", "one-layer-0": "uniform → unigram"}
    left = dict(findings.verdicts.select("run", "kl_bigram").iter_rows())
    # The unigram predictor itself is 0.11 away from the bigram one.
    assert left["two-layer-0"] < 0.03 < 0.09 < left["one-layer-0"]


def test_the_change_to_the_bigram_is_one_sharp_window_in_which_the_induction_head_forms(findings: Findings) -> None:
    row = findings.verdicts.row(by_predicate=pl.col("run") == "two-layer-0", named=True)
    assert row["p_value"] < 1e-4
    assert 50 < row["start"] < row["end"] < 250
    assert row["end"] / row["start"] < 2
    assert row["head_start"] < row["end"]
    assert row["head_end"] > row["start"]
    assert row["prefix_matching_score"] > 0.6  # chance, on three states, is a third
    assert list(findings.changes) == ["two-layer-0"]
    assert [claim.verdict for claim in findings.claims] == ["holds"] * 4


def test_the_page_shows_the_claims_both_figures_and_every_window(trained: Path, findings: Findings) -> None:
    path = trained / "markov.html"
    page.write(path, phaseflow.open(trained), findings, command="phaseflow lab markov")
    html = path.read_text()
    assert "From uniform through unigram to bigram went 1 of 1 two-layer models and 0 of 1 one-layer models" in html
    assert html.count("holds</td>") == 4
    assert 'id="figure-1"' in html
    assert 'id="figure-2"' in html
    assert html.count('<td class="">kl_bigram') == findings.windows.filter(metric="kl_bigram").height
    assert "phaseflow lab markov" in html


# Stages of curves drawn by hand

STEPS = np.unique(np.logspace(0, 3, 80).astype(int))


def drawn(levels: list[tuple[float, float, float]], changes: list[int]) -> pl.DataFrame:
    """Divergences (uniform, unigram, bigram) that pass from one level to the next at each step of ``changes``."""
    rng = np.random.default_rng(0)
    at = np.searchsorted(changes, STEPS, side="right")
    values = np.array(levels)[at] + rng.normal(0, 0.001, (len(STEPS), 3))
    return pl.concat(
        pl.DataFrame({"run": "drawn", "step": STEPS, "name": f"kl_{name}", "value": values[:, column]})
        for column, name in enumerate(("uniform", "unigram", "bigram"))
    )


THREE = [(0.01, 0.12, 0.2), (0.1, 0.01, 0.11), (0.2, 0.1, 0.01)]


def test_stages_are_named_by_the_nearest_predictor_and_begin_where_the_curve_breaks() -> None:
    stages = stages_of_run("drawn", drawn(THREE, [30, 200]))
    assert stages["nearest"].to_list() == ["uniform", "unigram", "bigram"]
    assert stages["start"].to_list() == stages["start"].sort().to_list()
    assert stages["end"].to_list()[:-1] == stages["start"].to_list()[1:]
    for found, true in zip(stages["start"][1:], (30, 200), strict=True):
        assert abs(np.log(found / true)) < 0.25


def test_a_run_that_never_leaves_uniform_has_one_stage() -> None:
    stages = stages_of_run("drawn", drawn(THREE[:1], []))
    assert stages.select("nearest", "start", "end").rows() == [("uniform", 1.0, 1000.0)]


def test_the_change_to_the_bigram_is_the_drop_in_which_it_becomes_the_nearest() -> None:
    windows = pl.DataFrame(
        {
            "run": ["drawn"] * 4,
            "metric": ["kl_bigram", "kl_bigram", "kl_bigram", "kl_unigram"],
            "start": [25.0, 150.0, 150.0, 150.0],
            "end": [40.0, 250.0, 250.0, 250.0],
            "size": [-0.1, 0.1, -0.1, -0.1],
        }
    )
    found = change_to_bigram("drawn", drawn(THREE, [30, 200]), windows)
    assert found == {"run": "drawn", "metric": "kl_bigram", "start": 150.0, "end": 250.0, "size": -0.1}
    assert change_to_bigram("drawn", drawn(THREE[:2], [30]), windows) is None
    assert change_to_bigram("drawn", drawn(THREE, [30, 200]), windows[:2]) is None
