"""The whole way from files to a verdict, on archives whose phase change was planted at known steps."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import phaseflow as pf
from phaseflow import schema
from synthetic import INDUCTION_HEAD, N_HEADS, STEPS, WINDOW, planted_run


@pytest.fixture(scope="module")
def archive(planted: Path) -> pf.Archive:
    return pf.open(planted)


def verdict(archive: pf.Archive, run: str) -> dict:
    return archive.verdicts().row(by_predicate=pl.col(schema.RUN) == run, named=True)


def test_the_planted_phase_change_is_found_and_the_other_run_has_none(archive: pf.Archive) -> None:
    assert verdict(archive, "with")[schema.PHASE_CHANGE] is True
    assert verdict(archive, "without")[schema.PHASE_CHANGE] is False


def test_its_interval_is_the_planted_one_to_a_checkpoint_or_two(archive: pf.Archive) -> None:
    found = verdict(archive, "with")
    assert found[schema.START] == pytest.approx(WINDOW[0], rel=0.3)
    assert found[schema.END] == pytest.approx(WINDOW[1], rel=0.3)
    assert {found[schema.START], found[schema.END]} <= {float(step) for step in STEPS}


def test_only_the_planted_head_is_an_induction_head(archive: pf.Archive) -> None:
    layer, head = INDUCTION_HEAD
    assert verdict(archive, "with")[schema.HEADS] == [f"L{layer}H{head}"]


def test_the_size_of_the_jump_is_the_planted_one(archive: pf.Archive) -> None:
    # -0.3 nats times the mean of the gain (1) times ln(1 + 256/50) - ln(1 + 50/50).
    planted_size = -0.3 * (math.log1p(256 / 50) - math.log1p(1))
    found = verdict(archive, "with")
    assert found[schema.SIZE] == pytest.approx(planted_size, rel=0.2)
    assert found[schema.lower(schema.SIZE)] <= found[schema.SIZE] <= found[schema.upper(schema.SIZE)]


def test_almost_all_in_context_learning_appears_inside(archive: pf.Archive) -> None:
    found = verdict(archive, "with")
    assert found[schema.SHARE] > 0.8
    assert found[schema.lower(schema.SHARE)] < found[schema.SHARE] < found[schema.upper(schema.SHARE)]


def test_a_scheduled_event_inside_the_window_is_named(planted: Path, tmp_path: Path) -> None:
    for name, step in (("inside", 1500), ("before", 100)):
        shutil.copytree(planted / "with", tmp_path / name)
        manifest = tmp_path / name / "phaseflow.json"
        content = json.loads(manifest.read_text())
        content["config"]["events"] = {"learning rate halved": step}
        manifest.write_text(json.dumps(content))
    archive = pf.open(tmp_path)
    assert verdict(archive, "inside")[schema.EVENTS] == ["learning rate halved"]
    assert verdict(archive, "before")[schema.EVENTS] == []


def test_every_table_is_tidy_and_complete(archive: pf.Archive) -> None:
    n_steps = len(STEPS)
    heads = archive.head_scores()
    assert heads.height == 2 * n_steps * 2 * N_HEADS * heads[schema.METRIC].n_unique()
    assert archive.in_context_learning().height == 2 * n_steps
    assert archive.position_losses().height == 2 * n_steps * 256
    assert archive.loss_curve().height == 2 * n_steps
    assert archive.loss_derivative().height == 2 * n_steps * 256
    for table in (heads, archive.in_context_learning(), archive.position_losses()):
        assert table.columns[:4] == [schema.RUN, schema.STEP, schema.TOKENS_SEEN, schema.PROBE]
        assert table[schema.TOKENS_SEEN].to_list() == (table[schema.STEP] * 4096).to_list()


def test_the_tables_hold_what_the_array_functions_give(archive: pf.Archive) -> None:
    run = next(run for run in archive.runs if run.name == "with")
    losses = np.asarray(run.tensor(10_000, "loss/text"), dtype=np.float64)
    row = archive.in_context_learning().row(
        by_predicate=(pl.col(schema.RUN) == "with") & (pl.col(schema.STEP) == 10_000), named=True
    )
    # e^(1/8) = 1.133: tokens 226 to 256 stand for the last, 45 to 56 for the 50th.
    expected = losses[:, 225:256].mean() - losses[:, 44:56].mean()
    assert row[schema.VALUE] == pytest.approx(expected, abs=1e-12)
    assert row[schema.LATE] == 256


def test_a_second_analysis_reads_no_tensor_again(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pf.open(planted)
    expected = first.head_scores()

    def forbidden(*_: object) -> None:
        raise AssertionError("a tensor was read although its result is on disk")

    second = pf.open(planted)
    monkeypatch.setattr("phaseflow.metrics.head_scores", forbidden)
    assert second.head_scores().equals(expected)


def test_new_steps_are_the_only_ones_computed(planted: Path, tmp_path: Path) -> None:
    shutil.copytree(planted / "with", tmp_path / "with")
    before = pf.open(tmp_path).in_context_learning().height
    computed: list[tuple[str, int, int]] = []
    with pf.Recorder(tmp_path / "with") as recorder:
        recorder.log(20_000, tokens_seen=1, per_token_loss={"text": np.ones((64, 256), np.float32)})
    archive = pf.open(tmp_path, progress=lambda *seen: computed.append(seen))
    assert archive.in_context_learning().height == before + 1
    assert {total for _, _, total in computed} == {64 * 256 * 4}  # the bytes of the new step
    assert max(done for _, done, _ in computed) == 64 * 256 * 4


def test_a_nan_loss_is_reported_and_its_step_left_out(tmp_path: Path) -> None:
    planted_run(tmp_path / "with", induction=True)
    with pf.Recorder(tmp_path / "with") as recorder:
        losses = np.ones((64, 256), np.float32)
        losses[3, 7] = np.nan
        recorder.log(20_000, tokens_seen=1, per_token_loss={"text": losses})
    archive = pf.open(tmp_path)
    assert verdict(archive, "with")[schema.PHASE_CHANGE] is True
    problem = archive.problems.row(0, named=True)
    assert "20000" in problem[schema.OBJECT]
    assert "nan" in problem[schema.FOUND].lower()


def test_a_run_without_patterns_has_a_verdict_that_says_why(tmp_path: Path) -> None:
    with pf.Recorder(tmp_path / "bare", probes={"text": pf.Probe(np.ones((4, 257), int))}) as recorder:
        for step in range(1, 40):
            recorder.log(step, per_token_loss={"text": np.full((4, 256), 1.0 / step, np.float32)})
    found = verdict(pf.open(tmp_path), "bare")
    assert found[schema.PHASE_CHANGE] is None
    assert "patterns" in found[schema.REASON]


def recorded(run_dir: Path, steps: list[int], probe_losses: dict, patterns: dict | None = None) -> None:
    """A run of given losses and patterns, functions of the step."""
    probes = {name: pf.Probe(np.tile(np.arange(1, 9), (4, 33))[:, :257]) for name in probe_losses}
    probes |= {name: pf.Probe(np.tile(np.arange(1, 9), (2, 2))) for name in patterns or {}}
    with pf.Recorder(run_dir, probes=probes) as recorder:
        for step in steps:
            losses = {name: values for name, of in probe_losses.items() if (values := of(step)) is not None}
            attention = {name: [values] for name, of in (patterns or {}).items() if (values := of(step)) is not None}
            recorder.log(step, per_token_loss=losses, attention=attention)


def drop(step: int, *, at: float = 500, height: float = 0.4) -> np.ndarray:
    """Losses (4, 256) whose late tokens fall by ``height`` around a step."""
    late = height / (1 + (step / at) ** -8)
    noise = 0.01 * np.random.default_rng(step).normal(size=(4, 256))
    return (4.0 - late * (np.arange(256) >= 128) + noise).astype(np.float32)


DENSE = sorted({round(10 ** (3.5 * i / 59)) for i in range(60)})


def test_a_curve_that_is_undefined_takes_nothing_from_the_others(planted: Path, tmp_path: Path) -> None:
    shutil.copytree(planted / "with", tmp_path / "with", ignore=shutil.ignore_patterns("derived"))
    alone = pf.open(tmp_path).verdicts()
    # The same run, and beside it a probe whose tokens never repeat: its prefix matching is NaN by definition.
    both = tmp_path / "both"
    run = pf.open(tmp_path).runs[0]
    probes = {**run.probes, "once": pf.Probe(np.arange(12).reshape(1, 12))}
    with pf.Recorder(both, probes=probes) as recorder:
        for step in run.steps:
            layers = [np.asarray(run.tensor(step, f"attention/repeated/L{layer:02d}")) for layer in range(2)]
            attention = {"repeated": layers, "once": [np.full((1, 1, 12, 12), 1 / 12, np.float32)]}
            losses = {"text": np.asarray(run.tensor(step, "loss/text"))}
            recorder.log(step, attention=attention, per_token_loss=losses)
    found = pf.open(both).verdicts()
    columns = [schema.PHASE_CHANGE, schema.START, schema.END, schema.HEADS]
    assert found.select(columns).equals(alone.select(columns))


def test_curves_on_different_steps_keep_their_own(tmp_path: Path) -> None:
    half = len(DENSE) // 2
    early = set(DENSE[:half])
    recorded(
        tmp_path / "run",
        DENSE,
        {"early": lambda step: drop(step, at=1e9) if step in early else None, "late": lambda step: drop(step, at=1000)},
    )
    changes = pf.open(tmp_path).phase_changes().filter(pl.col(schema.METRIC) == "in_context_learning_score")
    assert changes[schema.PROBE].to_list() == ["late"]
    assert changes[schema.START][0] < 1000 < changes[schema.END][0]


def test_the_interval_of_an_end_holds_it(archive: pf.Archive) -> None:
    for row in archive.phase_changes().iter_rows(named=True):
        for edge in (schema.START, schema.END):
            assert row[schema.lower(edge)] <= row[edge] <= row[schema.upper(edge)]


def test_a_run_of_few_checkpoints_is_undecided_and_keeps_nobody_else_from_a_verdict(
    planted: Path, tmp_path: Path
) -> None:
    shutil.copytree(planted / "with", tmp_path / "with")
    for count in (1, 3, 11):
        recorded(
            tmp_path / f"short{count}",
            DENSE[:count],
            {"text": drop},
            {"repeated": lambda _: np.eye(16)[None, None].repeat(2, 0)},
        )
    archive = pf.open(tmp_path)
    assert verdict(archive, "with")[schema.PHASE_CHANGE] is True
    for count in (1, 3, 11):
        found = verdict(archive, f"short{count}")
        assert found[schema.PHASE_CHANGE] is None
        assert f"{count} checkpoints have" in found[schema.REASON]


def test_a_context_too_short_for_the_score_is_undecided(tmp_path: Path) -> None:
    tokens = np.tile(np.arange(1, 9), (2, 2))
    with pf.Recorder(tmp_path / "run", probes={"short": pf.Probe(tokens)}) as recorder:
        for step in DENSE:
            pattern = np.tril(np.ones((16, 16)))[None, None].repeat(2, 0)
            recorder.log(step, attention={"short": [pattern]}, per_token_loss={"short": np.ones((2, 16))})
    found = verdict(pf.open(tmp_path), "run")
    assert found[schema.PHASE_CHANGE] is None
    assert "200 tokens" in found[schema.REASON]


def test_attention_looked_at_once_more_than_losses_stops_nothing(planted: Path, tmp_path: Path) -> None:
    shutil.copytree(planted / "with", tmp_path / "with")
    with pf.Recorder(tmp_path / "with") as recorder:
        layers = [
            np.full((n, N_HEADS, pos, pos), 1 / pos, np.float32)
            for n, pos in [recorder.probes["repeated"].tokens.shape]
        ]
        recorder.log(20_000, attention={"repeated": layers * 2})
    found = verdict(pf.open(tmp_path), "with")
    assert found[schema.PHASE_CHANGE] is True
    assert 0 < found[schema.SHARE] < 1.5


def test_a_run_with_a_damaged_manifest_is_named_and_the_others_are_judged(planted: Path, tmp_path: Path) -> None:
    for name in ("with", "damaged"):
        shutil.copytree(planted / "with", tmp_path / name)
    (tmp_path / "damaged" / "phaseflow.json").write_text("{")
    archive = pf.open(tmp_path)
    assert verdict(archive, "with")[schema.PHASE_CHANGE] is True
    assert archive.problems[schema.RUN].to_list() == ["damaged"]


def test_an_empty_directory_says_what_a_run_looks_like(tmp_path: Path) -> None:
    with pytest.raises(pf.exceptions.MissingDataError, match=r"phaseflow\.json"):
        pf.open(tmp_path)
