"""The table of ablations: its rows are those of the functions it names, kept, and of damage it tells."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import numpy as np
import polars as pl
from typer.testing import CliRunner

import phaseflow as pf
from phaseflow.analysis import Archive
from phaseflow.archive import Run
from phaseflow.cli import app
from phaseflow.exceptions import MissingDataError
from phaseflow.labs.ablations import ablation_scores
from phaseflow.training import BatchConfig, Checkpoints, ModelConfig, tiny_config, train
from phaseflow.training.ablation import ablate_every_head, copying_scores
from training_text import write_text

EXAMPLES = 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two layers with an MLP, its context long enough for late tokens; the model it ended with."""
    folder = tmp_path_factory.mktemp("lab")
    config = tiny_config(str(write_text(folder / "text", n_words=700)))
    config = replace(
        config,
        model=ModelConfig(n_vocab=300, context=200, n_layers=2, n_heads=2, d_model=16, d_mlp=8),
        batches=BatchConfig(batch_size=2),
        checkpoints=Checkpoints(n_log=3),
    )
    return folder / "run", train(config, folder / "run")


def rows(table, **where):
    at = table.filter(**where).sort("layer", "head")
    return at["value"].to_numpy().reshape(2, 2), at["standard_error"].to_numpy()


@pytest.mark.parametrize("ablation", ["full", "pattern_preserving"])
def test_every_row_is_that_of_the_function_it_names(trained, ablation):
    path, model = trained
    run = Run(path)
    last = ablation_scores(path, examples=EXAMPLES).filter(step=30, ablation=ablation)
    tokens = torch.tensor(run.probes["text"].tokens[:EXAMPLES])
    losses = ablate_every_head(model, tokens, preserve_patterns=ablation == "pattern_preserving")
    change = (losses.without - losses.whole).numpy().astype(float)

    values, errors = rows(last, metric="loss_change")
    np.testing.assert_allclose(values, change.mean((2, 3)), rtol=1e-6)
    expected = change.mean(3).std(axis=2, ddof=1) / EXAMPLES**0.5
    np.testing.assert_allclose(errors, expected.ravel(), rtol=1e-6)

    values, _ = rows(last, metric="in_context_learning_change")
    options = {"early": 50, "late": 200, "bandwidth": 0.25}
    whole = pf.in_context_learning_score(losses.whole.numpy(), **options)
    without = pf.in_context_learning_score(losses.without.numpy(), **options)
    np.testing.assert_allclose(values, without - whole, atol=1e-7)

    # No phase change: from the first checkpoint to the last.
    start, end = (np.asarray(run.tensor(step, "loss/text"))[:EXAMPLES].astype(float) for step in (0, 30))
    v = (end - start).ravel() / np.linalg.norm(end - start)
    values, errors = rows(last, metric="before_after_attribution")
    np.testing.assert_allclose(values, change.reshape(2, 2, -1) @ v, rtol=1e-6)
    # Of a sum of independent examples.
    of_examples = (change * v.reshape(EXAMPLES, -1)).sum(3)
    np.testing.assert_allclose(errors, of_examples.std(axis=2, ddof=1).ravel() * EXAMPLES**0.5, rtol=1e-6)


def test_the_attribution_is_along_the_runs_phase_change_where_it_has_one(trained, monkeypatch):
    path, model = trained
    run = Run(path)
    without_change = ablation_scores(path, examples=EXAMPLES).filter(step=30)
    first, second = run.steps[1:3]
    verdicts = (
        pf.open(path)
        .verdicts()
        .with_columns(phase_change=pl.lit(True), start=pl.lit(float(first)), end=pl.lit(float(second)))
    )
    monkeypatch.setattr(Archive, "verdicts", lambda self: verdicts)
    found = ablation_scores(path, examples=EXAMPLES).filter(step=30)
    tokens = torch.tensor(run.probes["text"].tokens[:EXAMPLES])
    losses = ablate_every_head(model, tokens, preserve_patterns=False)
    change = (losses.without - losses.whole).numpy().astype(float)
    start, end = (np.asarray(run.tensor(step, "loss/text"))[:EXAMPLES].astype(float) for step in (first, second))
    v = (end - start).ravel() / np.linalg.norm(end - start)
    values, _ = rows(found, metric="before_after_attribution", ablation="full")
    np.testing.assert_allclose(values, change.reshape(2, 2, -1) @ v, rtol=1e-6)
    others = pl.col("metric") != "before_after_attribution"
    assert found.filter(others).equals(without_change.filter(others))


def test_one_example_has_values_of_its_own_and_no_standard_error(trained):
    path, model = trained
    one = ablation_scores(path, examples=1).filter(step=30, ablation="full")
    values, errors = rows(one, metric="loss_change")
    losses = ablate_every_head(model, torch.tensor(Run(path).probes["text"].tokens[:1]), preserve_patterns=False)
    np.testing.assert_allclose(values, (losses.without - losses.whole).mean((2, 3)), rtol=1e-6)
    assert np.isnan(errors).all()


def test_copying_scores_are_of_the_probes_tokens_once(trained):
    path, model = trained
    values, errors = rows(ablation_scores(path, examples=EXAMPLES), metric="copying_score", step=30)
    once = torch.tensor(Run(path).probes["repeated"].tokens[:, 1:6])  # the shortest example repeats 5
    assert (np.sort(once, axis=1)[:, 1:] > np.sort(once, axis=1)[:, :-1]).all()
    np.testing.assert_array_equal(values, copying_scores(model, once))
    assert np.isnan(errors.astype(float)).all()


def test_there_are_rows_for_every_checkpoint_with_weights_and_a_second_call_reads_what_the_first_kept(trained):
    path, _ = trained
    table = ablation_scores(path, examples=EXAMPLES)
    stored = Run(path).index.filter(pl.col("name") == "weights/W_E")["step"].unique().sort()
    assert table["step"].unique().sort().to_list() == stored.to_list()
    assert table["tokens_seen"].to_list() == [400 * step for step in table["step"]]
    last = ablation_scores(path, examples=EXAMPLES, last_only=True)
    assert last.equals(table.filter(step=30))
    told = []
    again = ablation_scores(path, examples=EXAMPLES, progress=lambda what, done, total: told.append(what))
    assert table.equals(again)
    assert not [what for what in told if "ablation" in what]


def test_a_run_of_another_program_is_refused_by_name(planted):
    with pytest.raises(MissingDataError, match="run 'with' was not trained by phaseflow"):
        ablation_scores(planted)


def test_a_run_that_left_weights_out_says_which(trained, tmp_path):
    path, model = trained
    weights = model.weights()
    for name, stored in {
        "none": None,
        "lacking": {name: weights[name] for name in weights if name != "W_in/L01"},
    }.items():
        with pf.Recorder(tmp_path / name, config=Run(path).config, probes=Run(path).probes) as recorder:
            recorder.log(0, scalars={"loss": 1.0}, weights=stored)
    with pytest.raises(MissingDataError, match="'none' stored no weights"):
        ablation_scores(tmp_path / "none")
    with pytest.raises(MissingDataError, match=r"step 0: .*missing: W_in/L01"):
        ablation_scores(tmp_path / "lacking")


def test_the_command_shows_the_last_checkpoint_and_writes_all(trained, tmp_path):
    path, _ = trained
    done = CliRunner().invoke(app, ["ablate", str(path), "--examples", "3", "-o", str(tmp_path / "all.parquet")])
    assert done.exit_code == 0, done.output
    assert "copying" in done.output
    assert pl.read_parquet(tmp_path / "all.parquet").equals(ablation_scores(path, examples=EXAMPLES))
