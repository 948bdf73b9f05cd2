"""Breaks of single tokens in archives: repeated passages, the table, bursts, what is left out."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseflow as pf
from oracles import token_change as oracle
from phaseflow.analysis.bursts import histogram, numbered, token_bursts, typical_tokens, upper_tail
from phaseflow.analysis.repeats import repeat_lengths
from phaseflow.analysis.token_changes import token_changes

STEPS = np.unique(np.round(np.geomspace(1, 10_000, 81)).astype(int))
CHANGE = 2000

# Repeated passages


def test_a_passage_that_stood_before_is_counted_from_its_start() -> None:
    tokens = np.array([[5, 1, 2, 3, 9, 1, 2, 3, 8], [4, 4, 4, 4, 4, 4, 4, 4, 4]])
    expected = [[0, 0, 0, 0, 0, 1, 2, 3, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8]]
    np.testing.assert_array_equal(repeat_lengths(tokens), expected)


@given(st.integers(1, 4), st.integers(0, 25), st.integers(1, 5), st.integers(0, 2**32))
def test_repeat_lengths_agree_with_looking_everywhere(batch: int, context: int, kinds: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, kinds, (batch, context))
    expected = [[oracle.repeat_length(list(row), at) for at in range(context)] for row in tokens]
    np.testing.assert_array_equal(repeat_lengths(tokens), np.reshape(expected, tokens.shape))


# An archive in which repeated tokens drop at one step, and nothing else does


def text_with_repeats(n_examples: int, context: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 400, (n_examples, context + 1))
    tokens[:, 40:60] = tokens[:, 10:30]
    return tokens


def run_with_repeats(path: Path, *, change: bool, n_examples: int = 32, context: int = 64) -> Path:
    """Tokens inside the repeated passage lose 1.5 nats at step CHANGE; the loss is one token short of the tokens."""
    rng = np.random.default_rng(1)
    tokens = text_with_repeats(n_examples, context)
    induced = repeat_lengths(tokens)[:, 1:] >= 2
    level = rng.uniform(2, 5, induced.shape)
    vocabulary = {int(token): f"[{token}]" for token in np.unique(tokens)}
    with pf.Recorder(path, probes={"text": pf.Probe(tokens, vocabulary=vocabulary)}) as recorder:
        for step in STEPS:
            drop = 1.5 * induced * (change and step > CHANGE)
            losses = level + 3 * step**-0.3 - drop + rng.normal(0, 0.3, level.shape)
            recorder.log(int(step), per_token_loss={"text": losses.astype(np.float16)})
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> pf.Archive:
    root = tmp_path_factory.mktemp("tokens")
    run_with_repeats(root / "with", change=True)
    run_with_repeats(root / "without", change=False)
    return pf.open(root)


def test_the_tokens_that_break_are_those_of_repeated_passages(archive: pf.Archive) -> None:
    found = archive.token_changes().filter(pl.col("run") == "with")
    assert found.height > 400
    assert (found["repeat_length"] >= 2).mean() > 0.95
    assert (found["size"] < 0).mean() > 0.95
    assert (found["start"] <= CHANGE).mean() > 0.9
    assert (found["end"] > CHANGE).mean() > 0.9


def test_a_run_without_a_change_has_hardly_any(archive: pf.Archive) -> None:
    assert archive.token_changes().filter(pl.col("run") == "without").height <= 2


def test_each_row_names_its_token_and_what_stands_around_it(archive: pf.Archive) -> None:
    tokens = text_with_repeats(32, 64)
    for row in archive.token_changes().head(20).iter_rows(named=True):
        here, behind = np.split(tokens[row["example"]], [row["token_index"] + 1])
        assert row["token"] == here[-1]
        assert row["text"] == f"[{here[-1]}]"
        assert row["context"] == "".join(f"[{token}]" for token in here[-17:-1])
        assert row["following"] == "".join(f"[{token}]" for token in behind[:8])


def test_the_burst_is_where_the_change_is(archive: pf.Archive) -> None:
    bursts = archive.token_bursts()
    inside = bursts.drop_nulls("burst")
    assert inside["run"].unique().to_list() == ["with"]
    assert inside["burst"].unique().to_list() == [1]
    assert inside["start"].min() <= CHANGE <= inside["end"].max()
    assert inside["repeated_share"].min() > 0.9
    share = (repeat_lengths(text_with_repeats(32, 64))[:, 1:] >= 2).mean()
    assert inside["repeated_share_of_all"][0] == pytest.approx(share)


def test_chance_puts_breaks_where_they_are_looked_for(archive: pf.Archive) -> None:
    found = token_changes(archive.runs, fdr=1.0, first_step=None, seed=0, progress=None)
    for (run,), places in found.places.group_by("run"):
        assert places["share"].sum() == pytest.approx(1)
        tried = set(places.select("start", "end").rows())
        assert all(start < end for start, end in tried)
        assert set(found.changes.filter(run=run).select("start", "end").rows()) <= tried


def test_what_chance_gives_adds_up_to_what_was_found(archive: pf.Archive) -> None:
    for (_,), bins in archive.token_bursts().group_by("run"):
        assert bins["expected_falls"].sum() == pytest.approx(bins["falls"].sum())


def test_typical_tokens_are_of_the_burst_and_of_different_kinds(archive: pf.Archive) -> None:
    typical = archive.burst_tokens(n=4)
    assert typical.equals(typical_tokens(archive.token_changes(), archive.token_bursts(), n=4))
    assert archive.burst_tokens(n=2, seed=1).height == 2
    assert typical.height == 4
    assert typical["token"].n_unique() == 4
    assert (typical["burst"] == 1).all()
    assert typical["p_value"].is_sorted()


def test_steps_long_before_the_last_are_left_out(archive: pf.Archive) -> None:
    everything = archive.token_changes(fdr=1.0, first_step=100)
    assert everything["start"].min() >= 100
    assert everything.height == 2 * 32 * 64
    # The last three decades of 10,000 steps, unless told otherwise; five checkpoints lie at or before every break.
    assert archive.token_changes(fdr=1.0)["start"].min() == STEPS[STEPS >= 10][4]


def of_losses(folder: Path, steps: range, tokens: np.ndarray | None = None, **options: object) -> pf.Archive:
    """Losses of 4 × 10 tokens at these steps, in files of their own, without the tokens unless they are given."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for step in steps:
        np.save(folder / f"step{step}.npy", rng.normal(3, 0.3, (4, 10)))
    return pf.open(str(folder / "step{step}.npy"), axes="batch pos", tokens=tokens)


def test_the_first_step_asked_for_and_the_fewest_checkpoints_are_among_those_tested(tmp_path: Path) -> None:
    archive = of_losses(tmp_path / "a", range(1, 31))
    assert archive.token_changes(fdr=1.0, first_step=15).height == 40  # 15 to 30: 16 checkpoints
    assert archive.token_changes(fdr=1.0, first_step=16).is_empty()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"fdr": 0.0}, "fdr is 0.0, expected above 0"),
        ({"first_step": float("nan")}, "first_step is nan, expected a step from 0 on"),
        ({"first_step": -1}, "first_step is -1, expected a step from 0 on"),
        ({"first_step": "all"}, "first_step is 'all', expected a number"),
        ({"seed": -1}, "seed is -1, expected an integer from 0 on"),
        ({"seed": 1.5}, "seed is 1.5, expected an integer"),
    ],
)
def test_options_that_are_none_are_refused_by_name(tmp_path: Path, options: dict, error: str) -> None:
    archive = of_losses(tmp_path / "a", range(1, 17))
    for table in (archive.token_changes, archive.token_bursts):
        with pytest.raises(pf.exceptions.ParameterError, match=error):
            table(**options)


def test_step_0_is_no_checkpoint_of_the_test(tmp_path: Path) -> None:
    archive = of_losses(tmp_path / "a", range(17))
    assert archive.token_changes(fdr=1.0, first_step=0)["start"].min() >= 1
    assert of_losses(tmp_path / "b", range(16)).token_changes(fdr=1.0, first_step=0).is_empty()


@pytest.mark.parametrize("more", [-1, 0, 1, 2])
def test_tokens_are_named_where_they_are_those_of_the_losses_or_have_one_in_front(tmp_path: Path, more: int) -> None:
    # Four tokens over and over: the first one, which has no loss, is part of every passage.
    tokens = np.arange(4)[:, None] * 4 + np.arange(10 + more) % 4
    found = of_losses(tmp_path / "a", range(1, 31), tokens).token_changes(fdr=1.0).sort("example", "token_index")
    known = more in (0, 1)
    assert found["token"].to_list() == (tokens[:, more:].ravel().tolist() if known else [None] * 40)
    lengths = 4 * [max(0, pos + more - 3) for pos in range(10)]
    assert found["repeat_length"].to_list() == (lengths if known else [None] * 40)


def test_what_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    of_losses(tmp_path / "a", range(1, 31))
    where = {"path": str(tmp_path / "a" / "step{step}.npy"), "axes": "batch pos", "cache": tmp_path / "kept"}
    file = tmp_path / "a" / "step20.npy"
    np.save(tmp_path / "a" / "step25.npy", np.full((4, 10), np.nan))  # read well, and of no use
    archive = pf.open(**where)
    whole, times = file.read_bytes(), file.stat()
    file.write_bytes(whole[:-1])
    archive.token_changes()
    assert archive.problems["object"].to_list() == ["loss/probe at step 20", "loss/probe at step 25"]
    file.write_bytes(whole)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = pf.open(**where)
    again.token_changes()
    assert again.problems["object"].to_list() == ["loss/probe at step 25"]


def test_kept_results_are_those_of_the_same_tokens(tmp_path: Path) -> None:
    of_losses(tmp_path / "a", range(1, 31))
    where = {"path": str(tmp_path / "a" / "step{step}.npy"), "axes": "batch pos", "cache": tmp_path / "kept"}
    for first in (0, 100, 0):
        tokens = first + np.arange(40).reshape(4, 10)
        found = pf.open(**where, tokens=tokens).token_changes(fdr=1.0)
        assert sorted(found["token"]) == tokens.ravel().tolist()


def test_the_seed_draws_what_chance_gives(tmp_path: Path) -> None:
    archive = of_losses(tmp_path / "a", range(1, 31))
    tables = [archive.token_changes(fdr=1.0, seed=seed).sort("example", "token_index") for seed in (0, 0, 1)]
    assert tables[0].equals(tables[1])
    assert not tables[0]["p_value"].equals(tables[2]["p_value"])
    np.testing.assert_allclose(tables[0]["p_value"], tables[2]["p_value"], rtol=0.5)


def test_tables_are_written_with_the_others(archive: pf.Archive, tmp_path: Path) -> None:
    archive.write_tables(tmp_path)
    assert pl.read_parquet(tmp_path / "token_changes.parquet").equals(archive.token_changes())
    assert pl.read_parquet(tmp_path / "token_bursts.parquet").height == archive.token_bursts().height


def test_undefined_losses_are_left_out_and_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    with pf.Recorder(tmp_path / "run", probes={"text": pf.Probe(rng.integers(0, 9, (4, 11)))}) as recorder:
        for step in range(1, 31):
            losses = rng.normal(3, 0.3, (4, 10))
            if step == 7:
                losses[:] = np.nan
            losses[2, 5] = np.inf if step == 9 else 3.0
            recorder.log(step, per_token_loss={"text": losses})
    archive = pf.open(tmp_path / "run")
    found = archive.token_changes(fdr=1.0)
    assert found.height == 39
    told = archive.problems.select("object", "found").rows()
    assert ("loss/text at step 7", "98% NaN or infinite; the checkpoint is left out") in told
    assert any(text.startswith("1 tokens with a NaN or infinite loss") for _, text in told)


@pytest.mark.parametrize("other", [1, 8, 29])
def test_a_checkpoint_with_other_tokens_is_left_out_and_told(tmp_path: Path, other: int) -> None:
    rng = np.random.default_rng(2)
    for step in range(1, 31):
        np.save(tmp_path / f"step{step}.npy", rng.normal(3, 0.3, (4, 5 if step == other else 10)))
    archive = pf.open(str(tmp_path / "step{step}.npy"), axes="batch pos")
    assert archive.token_changes(fdr=1.0).height == 40
    told = archive.problems.select("object", "found").rows()
    assert told == [
        (f"loss/probe at step {other}", "shape [4, 5], not [4, 10] as at the last step; the checkpoint is left out")
    ]


def test_too_few_checkpoints_give_no_rows(tmp_path: Path) -> None:
    with pf.Recorder(tmp_path / "run", probes={"text": pf.Probe(np.ones((4, 11), int))}) as recorder:
        for step in range(1, 16):
            recorder.log(step, per_token_loss={"text": np.ones((4, 10))})
    archive = pf.open(tmp_path / "run")
    assert archive.token_changes().is_empty()
    assert archive.token_bursts().is_empty()


def test_a_vocabulary_comes_back_with_the_probe(tmp_path: Path) -> None:
    vocabulary = {0: "<start>", 5: "naïve\n"}
    with pf.Recorder(tmp_path / "run", probes={"text": pf.Probe([[0, 5, 7]], vocabulary=vocabulary)}):
        pass
    probe = pf.open(tmp_path / "run").runs[0].probes["text"]
    assert probe.vocabulary == vocabulary
    assert probe.text([0, 5, 7]) == "<start>naïve\n<7>"


# Kept beside the run


def small_run(path: Path, *, steps: int = 30, seed: int = 3) -> Path:
    rng = np.random.default_rng(seed)
    tokens = np.random.default_rng(0).integers(0, 9, (4, 11))
    with pf.Recorder(path, probes={"text": pf.Probe(tokens)}) as recorder:
        for step in range(1, steps + 1):
            losses = rng.normal(3, 0.3, (4, 10)) - 2.0 * (step > 15)
            losses[1, 2] = np.nan
            recorder.log(step, per_token_loss={"text": losses})
    return path


def test_a_second_analysis_scans_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_run(tmp_path / "run")
    first = pf.open(path)
    tables = first.token_changes(), first.token_bursts(), first.problems
    assert not tables[0].is_empty()
    assert not tables[2].is_empty()
    monkeypatch.setattr("phaseflow.analysis.token_changes.token_breaks", None)
    again = pf.open(path)
    for table, kept in zip(tables, (again.token_changes(), again.token_bursts(), again.problems), strict=True):
        assert table.equals(kept)
    for options in ({"fdr": 0.01}, {"first_step": 5}, {"seed": 1}):
        with pytest.raises(TypeError):
            pf.open(path).token_changes(**options)


def test_probes_of_the_same_tokens_keep_results_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe, rng = pf.Probe(np.ones((4, 11), int)), np.random.default_rng(0)
    with pf.Recorder(tmp_path / "run", probes={"plain": probe, "ablated": probe}) as recorder:
        for step in range(1, 31):
            losses = rng.normal(3, 0.3, (2, 4, 10))
            recorder.log(step, per_token_loss={"plain": losses[0], "ablated": losses[1]})
    first = pf.open(tmp_path).token_changes(fdr=1.0)
    assert first["probe"].unique(maintain_order=True).len() == 2
    monkeypatch.setattr("phaseflow.analysis.token_changes.token_breaks", None)
    assert pf.open(tmp_path).token_changes(fdr=1.0).equals(first)


def test_a_new_checkpoint_is_a_new_scan_and_the_old_result_is_gone(tmp_path: Path) -> None:
    path = small_run(tmp_path / "run")
    pf.open(path).token_changes()
    before = set((path / "derived").glob("token_changes-*"))
    with pf.Recorder(path, probes={"text": pf.open(path).runs[0].probes["text"]}) as recorder:
        recorder.log(31, per_token_loss={"text": np.full((4, 10), 9.0)})
    assert pf.open(path).token_changes(fdr=1.0)["end"].max() <= 31
    pf.open(path).token_changes()
    after = set((path / "derived").glob("token_changes-*"))
    assert not before & after


def test_a_damaged_result_is_scanned_anew(tmp_path: Path) -> None:
    path = small_run(tmp_path / "run")
    expected = pf.open(path).token_changes()
    for kept in (path / "derived").glob("token_changes-*.parquet"):
        kept.write_bytes(kept.read_bytes()[:-7])
    assert pf.open(path).token_changes().equals(expected)


def test_a_run_under_another_name_keeps_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_run(tmp_path / "run")
    expected = pf.open(path).token_changes()
    path.rename(tmp_path / "other")
    monkeypatch.setattr("phaseflow.analysis.token_changes.token_breaks", None)
    found = pf.open(tmp_path / "other").token_changes()
    assert found["run"].unique().to_list() == ["other"]
    assert found.drop("run").equals(expected.drop("run"))


# Bursts by hand


TWO_PLACES = pl.DataFrame(
    {"start": [100.0, 1000.0], "end": [110.0, 1100.0], "share": [0.5, 0.5], "repeated_share_of_all": [0.25, 0.25]}
)


def drops_at_the_first_place(examples: np.ndarray) -> dict:
    """The first of the bins over two places of equal chance, with all drops at the first: one of each of the examples."""
    n = len(examples)
    columns = {"start": [100.0] * n, "end": [110.0] * n, "example": examples.astype(np.int32), "height": [-5.0] * n}
    return histogram(pl.DataFrame(columns | {"repeat_length": [0] * n}), TWO_PLACES).row(0, named=True)


def test_a_bin_counts_drops_and_rises_and_compares_with_chance() -> None:
    # Ten drops at the first place, of ten examples, four inside repeated passages; a rise there and one at the second.
    changes = pl.DataFrame(
        {
            "start": [100.0] * 10 + [1000.0, 100.0],
            "end": [110.0] * 10 + [1100.0, 110.0],
            "example": np.arange(12, dtype=np.int32),
            "height": [-5.0] * 10 + [5.0, 5.0],
            "repeat_length": [2] * 4 + [1] + [0] * 6 + [9],
        }
    )
    bins = histogram(changes, TWO_PLACES)
    first, last = bins.row(0, named=True), bins.row(-1, named=True)
    assert (first["falls"], first["rises"], first["expected_falls"], first["repeated_share"]) == (10, 1, 5.0, 0.4)
    assert (last["falls"], last["rises"], last["expected_falls"]) == (0, 1, 5.0)
    # An excess of 5, Poisson variance 5 above the examples' scatter of 11 * (10/11) * (1/11): z = sqrt(5).
    assert first["p_value"] == pytest.approx(0.0126736, rel=1e-4)
    assert last["p_value"] == 1.0


def test_where_the_tokens_are_not_known_no_share_of_them_is_repeated() -> None:
    changes = pl.DataFrame(
        {"start": [100.0], "end": [110.0], "example": [0], "height": [-5.0], "repeat_length": [None]}
    )
    assert histogram(changes, TWO_PLACES)["repeated_share"].is_nan().all()


def test_the_bins_of_a_probe_hold_its_own_breaks_alone() -> None:
    of = [("a", "code"), ("a", "text"), ("b", "code"), ("b", "text")]
    n_breaks = [3, 5, 7, 11]
    changes = pl.DataFrame(
        [
            (run, probe, 100.0, 110.0, 0, -5.0, 0)
            for (run, probe), n in zip(of, n_breaks, strict=True)
            for _ in range(n)
        ],
        ["run", "probe", "start", "end", "example", "height", "repeat_length"],
        orient="row",
    )
    places = pl.concat([TWO_PLACES.with_columns(pl.lit(run).alias("run"), probe=pl.lit(probe)) for run, probe in of])
    bins = token_bursts(changes, places).group_by("run", "probe", maintain_order=True).agg(pl.col("falls").sum())
    assert bins.rows() == [(*names, n) for names, n in zip(of, n_breaks, strict=True)]


def test_the_drops_of_one_example_say_less_than_those_of_many() -> None:
    # An excess of 50: of a hundred examples z = sqrt(50); of the last of ten z = 50 / sqrt(10 * (100² / 10 - 10²)) = 0.527.
    assert drops_at_the_first_place(np.arange(100))["p_value"] == pytest.approx(7.687e-13, rel=1e-3)
    assert drops_at_the_first_place(np.full(100, 9))["p_value"] == pytest.approx(0.29907, rel=1e-4)


def test_a_burst_stands_out_of_all_bins_together() -> None:
    # z = sqrt(n / 2); the level of 0.001 is shared by 11 bins.
    few, many = (drops_at_the_first_place(np.arange(n)) for n in (23, 32))
    assert 0.001 / 11 < few["p_value"] < 0.001
    assert (few["burst"], many["burst"]) == (None, 1)


def test_typical_are_the_surest_drops_of_the_burst_one_a_token() -> None:
    changes = pl.DataFrame(
        {
            "run": ["a"] * 6 + ["b", "a", "a", "a"],
            "probe": ["text"] * 7 + ["code", "text", "text"],
            "start": [100.0, 100.0, 100.0, 90.0, 1000.0, 90.0, 100.0, 100.0, 100.0, 120.0],
            "end": [110.0, 110.0, 110.0, 100.0, 1100.0, 91.0, 110.0, 110.0, 110.0, 120.0],
            "height": [-9.0, -8.0, 9.0, -7.0, -9.0, -6.0, -9.0, -9.0, -8.5, -9.0],
            "p_value": [1e-6, 1e-7, 1e-9, 1e-5, 1e-9, 1e-4, 1e-9, 1e-9, 1e-7, 1e-9],
            "token": [5, 7, 8, 5, 9, 6, 1, 2, 4, 3],
        }
    )
    bursts = pl.DataFrame(
        {"run": ["a"] * 2, "probe": ["text"] * 2, "start": [90.0, 100.0], "end": [100.0, 120.0], "burst": [1, 1]}
    )
    # Not the rise (8), not the drop elsewhere (9) or at the burst's end (3), not the other run's (1) or probe's (2), of
    # the two of token 5 the surer one, and of two as sure (4, 7) the higher one first.
    typical = typical_tokens(changes, bursts, n=4)
    assert typical.select("burst", "token", "height").rows() == [(1, 4, -8.5), (1, 7, -8.0), (1, 5, -9.0), (1, 6, -6.0)]


def test_a_count_is_uncertain_by_one_at_least() -> None:
    # Two drops where chance puts a hundredth and the examples do not differ: the normal tail beyond two.
    found = upper_tail(np.array([2.0, 0.0, 4.0]), np.array([0.0, 9.0, 4.0]), np.array([0.01, 0.0, 1.0]))
    np.testing.assert_allclose(found, [0.022750131948, 1.0, 0.022750131948], rtol=1e-9)


def test_neighbouring_bins_are_one_burst() -> None:
    assert numbered(np.array([True, True, False, False, True, False])) == [1, 1, None, None, 2, None]
