"""The polars namespace: what detect_many and detect_windows find, in every context of an expression."""

import numpy as np
import polars as pl
import pytest

import phaseflow as pf
import phaseflow.exceptions
import phaseflow.polars  # registers the namespace

LOSSES = pl.DataFrame(
    {
        "run": ["a", "b", "a", "b", "a", "b", "a", "b", "a", "b"],
        "step": [1, 1, 2, 2, 4, 4, 8, 8, 16, 16],
        "loss": [3.0, 2.0, 3.0, None, None, 2.0, 1.0, 2.0, 1.0, 2.0],
    }
)
FOUND = {"changepoint": 3, "x": 8.0, "before": 3.0, "after": 1.0, "size": -2.0}


def test_a_drop_of_one_group_is_found_where_it_is_and_the_other_has_none():
    found = LOSSES.group_by("run", maintain_order=True).agg(pl.col("loss").phase.changepoints("step", penalty=1.0))
    assert found["run"].to_list() == ["a", "b"]
    drop, nothing = found["loss"].to_list()
    assert [{name: drop[0][name] for name in FOUND}] == [FOUND]
    assert nothing == []
    rows = found.explode("loss").unnest("loss")
    assert rows.drop_nulls("changepoint").select("run", "changepoint").rows() == [("a", 3)]


def test_a_selection_is_one_series():
    found = LOSSES.filter(run="a").select(pl.col("loss").phase.changepoints(pl.col("step").log(2), penalty=1.0))
    assert found.shape == (1, 1)
    assert [entry["x"] for entry in found["loss"][0]] == [3.0]
    beside = LOSSES.filter(run="a").with_columns(pl.col("loss").phase.changepoints(penalty=1.0).alias("found"))
    assert [len(entries) for entries in beside["found"].to_list()] == [1] * 5


def test_over_a_group_every_row_knows_its_segment_and_its_changes():
    found = LOSSES.with_columns(
        pl.col("loss").phase.segment(penalty=1.0).over("run").alias("segment"),
        pl.col("loss").phase.changepoints(penalty=1.0).over("run").alias("found"),
    )
    assert found.filter(run="a")["segment"].to_list() == [0, 0, 0, 1, 1]
    assert found.filter(run="b")["segment"].to_list() == [0] * 5
    assert found["found"].list.len().to_list() == [1, 0] * 5
    assert LOSSES.filter(run="a").select(pl.col("loss").phase.segment(penalty=1.0))["loss"].to_list() == [0, 0, 0, 1, 1]


def test_rows_out_of_order_are_put_in_order_by_over():
    shuffled = LOSSES.reverse()
    segment = pl.col("loss").phase.segment("step", penalty=1.0).over("run", order_by="step")
    assert (
        shuffled.select(segment)
        .reverse()
        .equals(LOSSES.select(pl.col("loss").phase.segment("step", penalty=1.0).over("run")))
    )


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize(
    "query",
    [
        lambda frame: frame.filter(pl.col("run") == pl.col("run").first()).select(
            pl.col("loss").phase.changepoints("step", penalty=1.0)
        ),
        lambda frame: frame.group_by("run").agg(pl.col("loss").phase.changepoints("step", penalty=1.0)).sort("run"),
        lambda frame: frame.select("run", pl.col("loss").phase.changepoints("step", penalty=1.0).over("run")),
        lambda frame: frame.select(pl.col("loss").phase.segment("step", penalty=1.0).over("run")),
        lambda frame: frame.group_by("run").agg(pl.col("loss").phase.segment(penalty=1.0)).sort("run"),
    ],
)
def test_a_lazy_query_knows_its_types_and_gives_the_same(query, engine):
    lazy = query(LOSSES.lazy())
    eager = query(LOSSES)
    assert lazy.collect_schema() == eager.schema
    assert lazy.collect(engine=engine).equals(eager)


def panel(n_groups, seed=0):
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 40, n_groups)
    frame = pl.DataFrame({"group": np.repeat(np.arange(n_groups), sizes)})
    levels = np.concatenate([np.repeat(random.normal(0, 4, 2), [size // 2, size - size // 2]) for size in sizes])
    loss = levels + random.normal(0, 0.5, len(levels))
    return frame.with_columns(
        pl.Series("loss", np.where(random.random(len(loss)) < 0.1, np.nan, loss)).fill_nan(None),
        pl.Series("step", np.cumsum(random.uniform(0.1, 2, len(loss)))),
    )


@pytest.mark.parametrize("options", [{}, {"cost": "linear"}, {"search": "single", "level": 0.01}, {"min_size": 3}])
def test_groups_of_any_length_have_the_changepoints_that_detect_many_finds(options):
    frame = panel(200)
    found = (
        frame.group_by("group", maintain_order=True)
        .agg(pl.col("loss").phase.changepoints("step", **options))
        .explode("loss")
        .unnest("loss")
        .drop_nulls("changepoint")
    )
    offsets = np.r_[0, np.cumsum(np.bincount(frame["group"]))]
    loss = frame["loss"].fill_null(np.nan).to_numpy()
    expected = pf.detect_many(loss, offsets=offsets, x=frame["step"].to_numpy(), **options)
    assert found.rename({"group": "series"}).equals(expected)
    assert found.height > 10


def test_segments_change_number_at_the_changepoints_of_every_group():
    frame = panel(100, 1)
    both = frame.with_columns(
        pl.col("loss").phase.segment().over("group").alias("segment"),
        pl.col("loss").phase.changepoints().over("group").alias("found"),
    )
    for (_,), rows in both.group_by("group"):
        starts = np.flatnonzero(np.diff(rows["segment"], prepend=0))
        found = rows["found"][0]
        assert (found is None) == (rows["loss"].drop_nulls().len() < 2)
        assert starts.tolist() == ([] if found is None else [entry["changepoint"] for entry in found])


def test_windows_of_groups_are_those_of_detect_windows():
    random = np.random.default_rng(0)
    step = np.logspace(1, 4, 60)
    drop = np.clip((np.log10(step) - 2.5) / 0.3, 0, 1)
    curves = np.stack([step**-0.3 - size * drop + random.normal(0, 0.01, 60) for size in (0.4, 0.0, 0.6)])
    frame = pl.DataFrame({"run": np.repeat([7, 8, 9], 60), "step": np.tile(step, 3), "loss": curves.ravel()})
    expected = pf.detect_windows(curves, x=step, simulations=200)
    found = (
        frame.group_by("run", maintain_order=True)
        .agg(pl.col("loss").phase.windows("step", simulations=200))
        .explode("loss")
        .unnest("loss")
        .drop_nulls("start")
    )
    assert set(found["run"]) >= {7, 9}
    assert found.drop("run").equals(expected.drop("series"))
    alone = frame.filter(run=8, step=step[0]).clear().select(pl.col("loss").phase.windows())
    assert alone["loss"].to_list() == [None]


def runs_with_errors():
    """Three runs on the same steps: noise that fades with the step, a drop in the first and the last, gaps in the last."""
    random = np.random.default_rng(3)
    step = np.logspace(1, 4, 60)
    error = 0.3 * step**-0.4
    drop = np.clip((np.log10(step) - 2.5) / 0.3, 0, 1)
    curves = np.stack([step**-0.3 - size * drop + random.normal(0, error) for size in (0.6, 0.0, 0.6)])
    curves[2, [5, 40]] = np.nan
    frame = pl.DataFrame(
        {
            "run": np.repeat([7, 8, 9], 60),
            "step": np.tile(step, 3),
            "loss": curves.ravel(),
            "error": np.where(np.isnan(curves), np.nan, error).ravel(),
        }
    )
    return step, error, curves, frame.with_columns(pl.col("loss", "error").fill_nan(None))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("word", ["auto", None, "column", "expression"])
def test_the_variance_of_windows_is_that_of_detect_windows(word, lazy):
    step, error, curves, frame = runs_with_errors()
    options = {"simulations": 200}
    if word in ("auto", None):
        known = variance = word
    else:
        known = error**2
        variance = pl.col("error") ** 2 if word == "expression" else "square"
    expected = pf.detect_windows(curves, x=step, variance=known, **options)
    expression = pl.col("loss").phase.windows("step", variance=variance, **options)
    rows = frame.with_columns((pl.col("error") ** 2).alias("square"))
    found = (rows.lazy() if lazy else rows).group_by("run", maintain_order=True).agg(expression)
    found = (found.collect() if lazy else found).explode("loss").unnest("loss").drop_nulls("start")
    assert found.drop("run").equals(expected.drop("series"))
    assert set(found["run"]) >= {7, 9}


def test_groups_with_other_variances_are_judged_by_their_own():
    step, error, curves, frame = runs_with_errors()
    # The second run's noise grows where that of the others fades.
    frame = frame.with_columns(pl.when(run=8).then(1 / pl.col("error")).otherwise("error").alias("error"))
    found = frame.group_by("run", maintain_order=True).agg(
        pl.col("loss").phase.windows("step", variance=pl.col("error") ** 2, simulations=200, level=1.0, max_windows=1)
    )
    for curve, known, windows in zip(curves, (error**2, (1 / error) ** 2, error**2), found["loss"], strict=True):
        alone = pf.detect_windows(curve, x=step, variance=known, simulations=200, level=1.0, max_windows=1)
        assert windows.struct.unnest().equals(alone.drop("series"))


def test_a_variance_without_an_axis_is_that_of_the_rows():
    _, error, curves, frame = runs_with_errors()
    found = frame.filter(run=7).select(pl.col("loss").phase.windows(variance=pl.col("error") ** 2, simulations=100))
    alone = pf.detect_windows(curves[0], variance=error**2, simulations=100)
    assert found.explode("loss").unnest("loss").equals(alone.drop("series"))


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt32, pl.Float32, pl.Boolean])
def test_columns_of_any_number_pass(dtype):
    frame = pl.DataFrame({"y": pl.Series([0, 0, 0, 1, 1, 1]).cast(dtype)})
    found = frame.select(pl.col("y").phase.changepoints(penalty=0.5))
    assert [entry["changepoint"] for entry in found["y"][0]] == [3]


def test_columns_without_rows_or_values_cannot_be_tested():
    nothing = pl.DataFrame(schema={"y": pl.Float64})
    assert nothing.select(pl.col("y").phase.changepoints())["y"].to_list() == [None]
    assert nothing.select(pl.col("y").phase.segment())["y"].drop_nulls().len() == 0
    empty = pl.DataFrame({"y": [None, None]})
    assert empty.select(pl.col("y").phase.changepoints())["y"].to_list() == [None]


# Groups that cannot be tested, and groups that are at fault


def runs_of(*lengths):
    """Runs a, b, ... of so many rows, with a drop after the third; steps 1, 2, ... in each."""
    return pl.DataFrame(
        {
            "run": [chr(97 + run) for run, length in enumerate(lengths) for _ in range(length)],
            "step": [float(step) for length in lengths for step in range(1, length + 1)],
            "loss": [3.0 if step < 3 else 1.0 for length in lengths for step in range(length)],
        }
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_windows_of_a_group_that_is_too_short_are_null_and_of_the_others_what_they_are(lazy):
    random = np.random.default_rng(0)
    step = np.logspace(1, 4, 60)
    drop = np.clip((np.log10(step) - 2.5) / 0.3, 0, 1)
    long, flat = step**-0.3 - 0.4 * drop + random.normal(0, 0.01, 60), step**-0.3 + random.normal(0, 0.01, 60)
    gaps = np.where(np.arange(60) < 11, long, np.nan)  # 60 rows, 11 samples
    frame = pl.DataFrame(
        {
            "run": ["long"] * 60 + ["short"] * 11 + ["flat"] * 60 + ["gaps"] * 60,
            "step": np.r_[step, step[:11], step, step],
            "loss": np.r_[long, long[:11], flat, gaps],
        }
    )
    windows = pl.col("loss").phase.windows("step", simulations=200)
    found = (frame.lazy() if lazy else frame).group_by("run", maintain_order=True).agg(windows)
    found = dict((found.collect() if lazy else found).iter_rows())
    assert found["short"] is None
    assert found["gaps"] is None
    assert found["flat"] == []
    assert found["long"] == pf.detect_windows(long, x=step, simulations=200).drop("series").to_dicts()
    beside = frame.with_columns(windows.over("run").alias("windows"))
    assert {run: rows["windows"].to_list()[-1] for (run,), rows in beside.group_by("run")} == found


def test_windows_with_wider_flanks_need_more_samples():
    frame = runs_of(21, 22)
    found = frame.group_by("run", maintain_order=True).agg(
        pl.col("loss").phase.windows("step", flank=8, simulations=100)
    )
    assert [windows is None for windows in found["loss"]] == [True, False]


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, 2),
        ({"min_size": 3}, 6),
        ({"jump": 4, "min_size": 3}, 7),
        ({"cost": "normal"}, 10),
        ({"cost": "normal", "penalty": "bic"}, 4),
        ({"cost": "l1"}, 4),
        ({"jump": np.uint8(3), "min_size": np.uint8(2)}, 5),
        ({"search": "single", "jump": 30}, 2),
        ({"cost": "ar", "order": 2}, 8),
        ({"cost": "clinear", "min_size": 2}, 4),
        ({"cost": "clinear"}, 3),
        ({"cost": "l1", "min_size": 4}, 8),
        ({"n_changepoints": 2, "min_size": 2}, 6),
        ({"search": "single", "min_size": 3}, 6),
    ],
)
def test_changepoints_are_null_where_there_is_no_room_for_one(options, least):
    if options.keys() <= {"min_size", "jump", "order", "cost"} and options.get("cost") not in ("normal", "l1"):
        # That is where the kernel has none either.
        pf.detect(np.arange(least) % 3.0, n_changepoints=1, **options)
        with pytest.raises(pf.exceptions.ParameterError):
            pf.detect(np.arange(least - 1) % 3.0, n_changepoints=1, **options)
    frame = runs_of(1, least - 1, least, 30)
    changepoints = pl.col("loss").phase.changepoints("step", **options)
    found = frame.group_by("run", maintain_order=True).agg(changepoints)["loss"].to_list()
    assert [entry is None for entry in found] == [True, True, False, False]
    alone = frame.filter(run="d").select(changepoints)["loss"].to_list()
    assert found[3] == alone[0]
    over = frame.with_columns(changepoints.over("run").alias("found"))
    assert over.filter(run="b")["found"].to_list() == [None] * (least - 1)
    segment = frame.select("run", pl.col("loss").phase.segment("step", **options).over("run"))
    assert set(segment.filter(pl.col("run").is_in(["a", "b"]))["loss"]) == {0}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"loss": np.inf}, "signal is inf at row 4 of the group of 20 rows, x from 1 to 20"),
        ({"step": None}, "x is null or NaN at row 4 of the group of 20 rows"),
        ({"step": np.inf}, "x is inf at row 4 of the group of 20 rows"),
        ({"step": 4.0}, "x is 4 after 4 in the group of 20 rows, x from 1 to 20"),
    ],
)
@pytest.mark.parametrize("what", ["changepoints", "windows", "segment"])
def test_a_number_that_cannot_be_is_a_fault_that_names_its_group(what, fault, words):
    # The third run is at fault in its fifth row; the first is too short to be tested.
    ((column, value),) = fault.items()
    wrong = (pl.col("run") == "c") & (pl.int_range(pl.len()).over("run") == 4)
    frame = runs_of(1, 30, 20).with_columns(pl.when(wrong).then(value).otherwise(column).alias(column))
    with pytest.raises(Exception, match=words):
        frame.group_by("run").agg(getattr(pl.col("loss").phase, what)("step"))


def test_a_fault_that_the_detector_sees_names_its_group():
    frame = runs_of(3, 30, 20).with_columns(pl.when(run="c").then(pl.col("step") - 1).otherwise("step").alias("step"))
    with pytest.raises(Exception, match=r"x.* \(in the group of 20 rows, x from 0 to 19\)"):
        frame.group_by("run").agg(pl.col("loss").phase.windows("step"))


def test_a_fault_that_only_the_cost_sees_names_its_group_and_an_option_at_fault_none():
    frame = runs_of(1, 30, 20).with_columns(pl.when(run="c", step=5.0).then(None).otherwise("loss").alias("loss"))
    gap = r"cost \"ar\" predicts.* \(in the group of 20 rows, x from 1 to 20\)"
    with pytest.raises(Exception, match=gap):
        frame.group_by("run").agg(pl.col("loss").phase.changepoints("step", cost="ar"))
    negative = frame.with_columns(pl.when(run="c").then(-1.0).otherwise("loss").alias("loss"))
    with pytest.raises(Exception, match=r"\(in the group of 20 rows, signal from -1 to -1\)"):
        negative.group_by("run").agg(pl.col("loss").phase.changepoints(cost="poisson"))
    with pytest.raises(Exception, match="l1, ") as of_option:
        frame.group_by("run").agg(pl.col("loss").phase.changepoints(cost="l3"))
    assert "group" not in str(of_option.value)


@pytest.mark.parametrize("length", [3, 40])
@pytest.mark.parametrize(
    ("options", "words"), [({"level": 2}, "level"), ({"scale": "foo"}, "scale"), ({"simulations": 5}, "simulations")]
)
def test_an_option_of_windows_that_cannot_be_is_no_groups_fault(length, options, words):
    frame = pl.DataFrame({"step": np.arange(1.0, length + 1), "loss": np.arange(length) % 3.0})
    with pytest.raises(Exception, match=words) as caught:
        frame.select(pl.col("loss").phase.windows("step", **options))
    assert "group" not in str(caught.value)


def test_an_option_that_cannot_be_is_refused_though_no_group_can_be_tested():
    for options in ({"cost": "l3"}, {"min_size": -1}):
        with pytest.raises(Exception, match=r"l1|min_size is -1"):
            runs_of(1, 1).group_by("run").agg(pl.col("loss").phase.changepoints(**options))


def test_what_it_cannot_do_is_refused_by_name():
    with pytest.raises(pf.exceptions.ParameterError, match="option fdr is not one of"):
        pl.col("loss").phase.changepoints(fdr=0.1)
    with pytest.raises(pf.exceptions.ParameterError, match=r"option cost .*base"):
        pl.col("loss").phase.windows(cost="l2")
    for expression, words in [
        (pl.col("run").phase.changepoints(), "column of String"),
        (pl.col("loss").phase.changepoints(pl.col("step").head(2)), "another number of rows"),
        (pl.col("loss").phase.changepoints(pl.col("loss")), "null or NaN"),
        (pl.col("loss").phase.changepoints(cost="l3"), "l2, l1"),
        (pl.col("loss").phase.windows(variance=pl.col("step").head(2)), "variance has another number of rows"),
        (pl.col("loss").phase.windows(variance="run"), "variance is a column of String"),
        (pl.col("loss").phase.windows(variance="none such"), "none such"),
    ]:
        with pytest.raises(Exception, match=words):
            LOSSES.select(expression)


def test_a_polars_that_is_too_old_is_named():
    with pytest.raises(pf.exceptions.MissingExtraError, match=r"1\.31 or newer, found 1\.30\.0"):
        phaseflow.polars._check_version("1.30.0")
    phaseflow.polars._check_version("2.0.0-beta.1")
