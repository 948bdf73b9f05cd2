"""The lab: claims decided on runs made up to show one thing, the plan of a budget, and the command on tiny runs."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import math
from dataclasses import replace
from fractions import Fraction

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import numpy as np
import polars as pl
from rich.console import Console
from typer.testing import CliRunner

import phaseflow as pf
from phaseflow.archive import Run
from phaseflow.cli import app
from phaseflow.exceptions import MissingDataError, ParameterError, UnknownNameError
from phaseflow.labs.induction import budget, claims, lab, sweep
from phaseflow.labs.induction.deciding import above, counted, from_counts, hull, meet, over_seeds, share_interval
from phaseflow.labs.induction.measured import Measured, Turn, bumps, measured, sharpest_turn
from phaseflow.labs.induction.sweep import Job, config_of, jobs
from phaseflow.training import BatchConfig, Checkpoints, ModelConfig, tiny_config
from training_text import write_text

WINDOW = (3000.0, 4500.0)


def run_of(variant, seed=0, *, window=WINDOW, **changed):
    """A run that shows everything the paper says, or without a window nothing of it."""
    verdict = {
        "phase_change": window is not None, "reason": "made up", "heads": ["L1H0"] if window else [], "events": [],
        "best_score": 0.6 if window else 0.02, "overlap_chance": 0.1, "p_value": 0.001, "share": 0.7,
        "share_lower": 0.5, "share_upper": 0.9,
    }  # fmt: skip
    if window:
        start, end = window
        verdict |= {"start": start, "end": end, "start_lower": 0.9 * start, "start_upper": 1.1 * start}
    shown = Measured(
        job=Job(variant, seed), verdict=verdict, first_step=1, last_step=8000, events={"end of warm-up": 100},
        final=(-0.4, -0.45, -0.35) if window else (-0.03, -0.08, 0.02), bumps=((1500.0, 3500.0, 0.01),) if window else (),
        turn=Turn(2800.0, 0.4) if window else Turn(300.0, 0.05),
        ablated={"L0H0": (0.01, 0.02), "L1H0": (0.3, 0.1) if window else (0.0, 0.01)},
    )  # fmt: skip
    return replace(shown, **changed)


COPYING = pl.DataFrame(
    {
        "run": ["a"] * 8,
        "layer": 0,
        "head": range(8),
        "copying_score": np.linspace(-0.8, 0.4, 8),
        "ov_copying_statistic": np.linspace(-0.5, 1, 8),
    }
)


def verdict_of(claim, *args):
    return claim(*args).verdict


def paper(*, seeds=2):
    """Runs of every variant that show what the paper says."""
    with_change = {
        sweep.TWO: WINDOW, sweep.ONE_SMEARED: WINDOW, sweep.TWO_SMEARED: (1000.0, 2000.0), sweep.OTHER_TEXT: WINDOW,
        sweep.OTHER_SCHEDULE: WINDOW, sweep.TWO_MLP: WINDOW, sweep.THREE: WINDOW, sweep.ONE: None, sweep.ONE_MLP: None,
    }  # fmt: skip
    return [run_of(variant, seed, window=window) for seed in range(seeds) for variant, window in with_change.items()]


# Claims


def test_runs_that_show_what_the_paper_says_make_every_claim_hold():
    found = claims.decided(paper(), COPYING, text="novels")
    assert len(found) == 15
    assert [claim.claim for claim in found if claim.verdict != "holds"] == []
    assert claims.table(found).columns[:3] == ["claim", "verdict", "measured"]


def test_without_runs_every_claim_is_undecided_and_says_why():
    found = claims.decided([], COPYING.clear(), text=None)
    assert {claim.verdict for claim in found} == {"undecided"}
    assert {claim.runs for claim in found} == {0}
    assert [claim.measured for claim in found if "data set" in claim.claim] == ["give another text with --text"]


def test_runs_that_show_the_opposite_make_the_claims_fail():
    opposite = {sweep.TWO: None, sweep.ONE: WINDOW, sweep.ONE_SMEARED: None, sweep.ONE_MLP: WINDOW}
    runs = [run_of(variant, seed, window=window) for seed in (0, 1) for variant, window in opposite.items()]
    found = {claim.claim: claim.verdict for claim in claims.decided(runs, COPYING, text=None)}
    for claim in (
        "In-context learning forms in a window of training", "Induction heads form in the same window",
        "The loss curve has a bump there", "A one-layer model never does it", "With smeared keys, one layer does it",
        "A one-layer model with an MLP never does it",
    ):  # fmt: skip
        assert found[claim] == "does not", claim


def test_two_meetings_of_a_tenth_by_chance_decide_and_one_does_not():
    two = [run_of(sweep.TWO, seed) for seed in (0, 1)]
    assert verdict_of(claims.heads_in_window, two) == "holds"  # 1/100
    assert verdict_of(claims.heads_in_window, two[:1]) == "undecided"  # 1/10


def test_a_share_is_held_against_the_share_of_steps():
    runs = [run_of(sweep.TWO)]
    claim = claims.share_inside(runs)
    assert (claim.verdict, claim.value, claim.lower, claim.upper) == ("holds", 0.7, 0.5, 0.9)
    even = float(Fraction(1500, 8000))
    assert f"{100 * even:.0f}% of its steps" in claim.measured
    less = replace(runs[0], verdict=runs[0].verdict | {"share_lower": 0.1})
    assert verdict_of(claims.share_inside, [less]) == "undecided"


def test_a_bump_outside_of_the_window_is_none_of_it():
    away = [run_of(sweep.TWO, seed, bumps=((100.0, 900.0, 1e-9),)) for seed in (0, 1)]
    assert verdict_of(claims.bump, away, []) == "does not"


def test_one_layer_that_ends_as_low_as_two_leaves_the_claim_open():
    low = [run_of(sweep.ONE, window=None, final=(-0.3, -0.4, -0.2))]
    assert verdict_of(claims.never, low, [run_of(sweep.TWO)]) == "undecided"


def test_windows_that_start_in_each_others_intervals_are_not_earlier():
    two = [run_of(sweep.TWO)]
    for start, verdict in ((1000.0, "holds"), (2600.0, "undecided"), (7000.0, "does not")):
        smeared = [run_of(sweep.TWO_SMEARED, window=(start, 7500.0))]
        assert verdict_of(claims.earlier, smeared, two) == verdict


def test_an_event_inside_a_window_or_windows_apart_count_against_schedules_not_mattering():
    two = [run_of(sweep.TWO)]
    other = run_of(sweep.OTHER_SCHEDULE)
    assert verdict_of(claims.schedule, two, [other]) == "holds"
    inside = replace(other, verdict=other.verdict | {"events": ["end of warm-up"]})
    assert verdict_of(claims.schedule, two, [inside]) == "does not"
    assert verdict_of(claims.schedule, two, [run_of(sweep.OTHER_SCHEDULE, window=(6000.0, 7000.0))]) == "does not"


def test_an_ablation_that_costs_nothing_or_helps_is_told():
    for change, verdict in (((0.3, 0.1), "holds"), ((0.1, 0.1), "undecided"), ((-0.3, 0.1), "does not")):
        run = run_of(sweep.TWO, ablated={"L0H0": (0.0, 0.1), "L1H0": change})
        assert verdict_of(claims.ablation, [run]) == verdict


def test_a_pivot_elsewhere_or_no_larger_than_of_one_layer_is_none():
    two, one = [run_of(sweep.TWO, seed) for seed in (0, 1, 2)], [run_of(sweep.ONE, window=None)]
    assert verdict_of(claims.pivot, two, one) == "holds"
    assert verdict_of(claims.pivot, [replace(run, turn=Turn(500.0, 0.4)) for run in two], one) == "does not"
    assert verdict_of(claims.pivot, two, [replace(one[0], turn=Turn(300.0, 0.5))]) == "undecided"


@pytest.mark.parametrize(
    ("variant", "window", "overturned"),
    [
        (sweep.TWO_MLP, None, ["The same happens with MLPs"]),
        (sweep.THREE, None, ["The same happens with three layers"]),
        (sweep.OTHER_TEXT, None, ["The same happens on novels"]),
        (sweep.ONE_SMEARED, None, ["With smeared keys, one layer does it"]),
        (sweep.ONE, WINDOW, ["A one-layer model never does it"]),
        (sweep.ONE_MLP, WINDOW, ["A one-layer model with an MLP never does it"]),
        (sweep.TWO_SMEARED, (6000.0, 7000.0), ["Smeared keys move the window of a two-layer model earlier"]),
        (sweep.OTHER_SCHEDULE, (6000.0, 7000.0), ["Schedules of learning rate and weight decay do not set the window"]),
    ],
)
def test_each_claim_is_of_its_own_runs(variant, window, overturned):
    """One variant shows the opposite, with a turn as small as one layer's; every claim but its own holds."""
    runs = [run for run in paper() if run.job.variant != variant]
    runs += [run_of(variant, seed, window=window, turn=Turn(300.0, 0.05)) for seed in (0, 1)]
    found = claims.decided(runs, COPYING, text="novels")
    assert [claim.claim for claim in found if claim.verdict != "holds"] == overturned
    assert [claim.verdict for claim in found if claim.claim in overturned] == ["does not"]


def test_heads_without_a_window_and_a_window_without_heads_are_no_heads_in_a_window():
    heads = [run_of(sweep.TWO, seed, window=None) for seed in (0, 1)]
    heads = [replace(run, verdict=run.verdict | {"heads": ["L1H0"]}) for run in heads]
    assert verdict_of(claims.heads_in_window, heads) == "does not"
    bare = [run_of(sweep.TWO, seed) for seed in (0, 1)]
    bare = [replace(run, verdict=run.verdict | {"heads": []}) for run in bare]
    assert verdict_of(claims.heads_in_window, bare) == "does not"


def test_heads_in_one_of_two_runs_leave_the_claim_open():
    runs = [run_of(sweep.TWO, 0), run_of(sweep.TWO, 1, window=None)]
    runs[0] = replace(runs[0], verdict=runs[0].verdict | {"overlap_chance": 0.001})
    assert verdict_of(claims.heads_in_window, runs) == "undecided"


def test_one_of_several_bumps_in_the_window_is_enough_and_without_a_window_none_is():
    several = ((100.0, 900.0, 0.01), (4000.0, 6000.0, 0.01))
    two = [run_of(sweep.TWO, seed, bumps=several) for seed in (0, 1)]
    one = [run_of(sweep.ONE, seed, window=None, bumps=bumps) for seed, bumps in enumerate(((), several, ()))]
    claim = claims.bump(two, one)
    assert claim.verdict == "holds"
    assert "not convex from 4,000 to 6,000" in claim.measured
    assert "from 100" not in claim.measured
    assert claim.measured.endswith("of one layer, 2 of 3 curves are convex throughout")
    assert verdict_of(claims.bump, [run_of(sweep.TWO, seed, window=None, bumps=several) for seed in (0, 1)], []) == (
        "does not"
    )


def test_one_layer_is_apart_from_two_only_if_every_interval_is():
    two, one = run_of(sweep.TWO), run_of(sweep.ONE, window=None)  # [-0.45, -0.35] and [-0.08, 0.02]
    near_two, near_one = (replace(run, final=(-0.2, -0.36, -0.05)) for run in (two, one))
    assert verdict_of(claims.never, [one], [two]) == "holds"
    assert verdict_of(claims.never, [one], [two, near_two]) == "undecided"  # its upper end reaches -0.05
    assert verdict_of(claims.never, [one, near_one], [two]) == "undecided"  # its lower end reaches -0.36
    assert verdict_of(claims.never, [near_one], [two]) == "undecided"  # though -0.2 lies above all of -0.4
    assert verdict_of(claims.never, [one], []) == "undecided"
    assert verdict_of(claims.never, [one, run_of(sweep.ONE, 1, final=one.final)], [two]) == "does not"


def test_where_another_setting_does_not_do_it_the_best_run_is_told():
    runs = [run_of(sweep.THREE, seed, window=None) for seed in (0, 1)]
    runs[1] = replace(runs[1], verdict=runs[1].verdict | {"best_score": 0.25, "reason": "rose without a break"})
    claim = claims.does_it(runs, "The same happens")
    assert claim.verdict == "does not"
    assert claim.measured == "0 of 2 runs; none; best prefix matching 0.25, rose without a break"


def starting(variant, *spans):
    """Runs whose windows start in these intervals, at their geometric mean."""
    runs = [run_of(variant, seed, window=((a * b) ** 0.5, 7500.0)) for seed, (a, b) in enumerate(spans)]
    return [
        replace(run, verdict=run.verdict | {"start_lower": a, "start_upper": b})
        for run, (a, b) in zip(runs, spans, strict=True)
    ]


def test_earlier_means_all_intervals_before_all_others_and_its_ratio_is_of_geometric_means():
    plain = starting(sweep.TWO, (2000, 3000), (4000, 6000))
    claim = claims.earlier(starting(sweep.TWO_SMEARED, (100, 200), (400, 800)), plain)
    assert claim.verdict == "holds"
    expected = (100 * 200 * 400 * 800 / (2000 * 3000 * 4000 * 6000)) ** 0.25
    assert (claim.value, claim.lower, claim.upper) == pytest.approx((expected, 100 / 6000, 800 / 2000))
    # Starts lie before, their intervals do not; one interval of two does not.
    assert verdict_of(claims.earlier, starting(sweep.TWO_SMEARED, (500, 2100)), plain) == "undecided"
    assert verdict_of(claims.earlier, starting(sweep.TWO_SMEARED, (100, 200), (1000, 2500)), plain) == "undecided"
    assert verdict_of(claims.earlier, starting(sweep.TWO_SMEARED, (100, 200), (6500, 7000)), plain) == "undecided"
    assert verdict_of(claims.earlier, starting(sweep.TWO_SMEARED, (5000, 6500)), plain) == "undecided"
    assert verdict_of(claims.earlier, starting(sweep.TWO_SMEARED, (6100, 6500)), plain) == "does not"


def test_schedules_matter_if_an_event_is_inside_a_window_of_either_and_one_meeting_of_two_is_open():
    two, other = run_of(sweep.TWO), run_of(sweep.OTHER_SCHEDULE)
    inside = {"events": ["end of warm-up"]}
    for first, second in (({}, inside), (inside, {})):
        runs = (replace(run, verdict=run.verdict | more) for run, more in ((two, first), (other, second)))
        assert verdict_of(claims.schedule, *([run] for run in runs)) == "does not"
    apart = run_of(sweep.OTHER_SCHEDULE, 1, window=(6000.0, 7000.0))
    claim = claims.schedule([two], [other, apart])
    assert (claim.verdict, claim.value) == ("undecided", 0.5)
    # To meet one of the first schedule's windows is to meet them.
    later = run_of(sweep.TWO, 1, window=(6500.0, 7500.0))
    assert verdict_of(claims.schedule, [two, later], [other, apart]) == "holds"


def without(change, *, heads=("L1H0",), **others):
    run = run_of(sweep.TWO, ablated={heads[0]: change} | others)
    return replace(run, verdict=run.verdict | {"heads": list(heads)})


def test_an_ablation_counts_from_two_standard_errors_on_in_more_than_half_of_the_runs_and_against_in_one():
    rises, falls, neither = (0.21, 0.1), (-0.21, 0.1), [(0.19, 0.1), (-0.19, 0.1)]
    for changes, verdict in (
        ([rises, rises, neither[0]], "holds"),
        ([rises, neither[1]], "undecided"),
        ([neither[0]], "undecided"),
        ([neither[1]], "undecided"),
        ([rises, rises, falls], "does not"),
    ):
        assert verdict_of(claims.ablation, [without(change) for change in changes]) == verdict, changes


def test_the_strongest_head_is_the_first_and_induction_heads_are_not_among_the_others():
    run = without((0.5, 0.1), heads=("L1H1", "L1H0"), L1H0=(0.4, 0.1), L0H0=(0.02, 0.1), L0H1=(-0.3, 0.1))
    claim = claims.ablation([run])
    assert claim.measured == "seed 0: L1H1 +0.50 nats, others at most +0.02"
    assert (claim.value, claim.lower, claim.upper) == pytest.approx((0.5, 0.5 - 0.196, 0.5 + 0.196))
    assert claims.ablation([run_of(sweep.TWO, window=None)]).runs == 0


def test_a_pivot_is_held_against_the_chance_of_meeting_on_the_log_of_steps():
    # Of a span of ln 8000, a turn takes ln 1.5² and the start ln(1.1 / 0.9).
    span, widths = math.log(8000), (math.log(1.5**2), math.log(1.1 / 0.9))
    gap = span - sum(widths)
    chance = 1 - gap**2 / ((span - widths[0]) * (span - widths[1]))
    one = [run_of(sweep.ONE, window=None)]
    claim = claims.pivot([run_of(sweep.TWO)], one)
    assert f"1 of 1 at the start of the window, by chance {chance:.2g}" in claim.measured
    assert claim.verdict == "undecided"  # 0.12 is not rare enough
    assert verdict_of(claims.pivot, [run_of(sweep.TWO, seed) for seed in (0, 1)], one) == "holds"
    # A turn while the window closes is none while it opens.
    late = [run_of(sweep.TWO, seed, window=(1000.0, 4500.0)) for seed in (0, 1)]
    assert verdict_of(claims.pivot, late, one) == "does not"


def test_every_pivot_must_be_larger_than_all_of_one_layer():
    two = [run_of(sweep.TWO, seed, turn=Turn(2800.0, size)) for seed, size in enumerate((0.4, 0.2))]
    one = [run_of(sweep.ONE, seed, window=None, turn=Turn(300.0, size)) for seed, size in enumerate((0.1, 0.3))]
    assert verdict_of(claims.pivot, two, one[:1]) == "holds"
    assert verdict_of(claims.pivot, two, one) == "undecided"
    assert verdict_of(claims.pivot, two, []) == "undecided"


def copying(*pairs):
    scores, statistics = zip(*pairs, strict=True)
    return pl.DataFrame(
        {"run": "a", "layer": 0, "head": range(len(pairs)), "copying_score": scores, "ov_copying_statistic": statistics}
    )


def test_agreement_is_fishers_interval_of_the_correlation_and_heads_without_a_score_do_not_count():
    # Of (0, 0), (1, 1), (2, 0), (3, 1): covariance 2 over sqrt(5 · 1), before the common factor.
    square = [(0.0, 0.0), (1.0, 1.0), (2.0, 0.0), (3.0, 1.0)]
    claim = claims.agreement(copying(*square, (math.nan, 1.0)))
    r = 1 / 5**0.5
    assert claim.value == pytest.approx(r)
    assert (claim.lower, claim.upper) == pytest.approx(
        tuple(math.tanh(math.atanh(r) + z / math.sqrt(4 - 3)) for z in (-1.96, 1.96))
    )
    assert claim.verdict == "undecided"
    assert verdict_of(claims.agreement, copying(*10 * square)) == "holds"
    assert verdict_of(claims.agreement, copying(*((a, -b) for a, b in 10 * square))) == "does not"
    assert claims.agreement(copying(*square[:3])).runs == 0


# What they are decided by


def test_counts_are_held_against_chance():
    assert from_counts(1, 1, 0.05) == "holds"
    assert from_counts(2, 3, 0.007) == "holds"
    assert from_counts(1, 2, 0.0975) == "undecided"
    assert from_counts(0, 1, 1.0) == "undecided"
    assert from_counts(1, 3, 0.14) == "does not"
    assert from_counts(2, 5, 0.023) == "undecided"  # some seeds do it beyond chance
    assert from_counts(1, 2, 0.001) == "undecided"  # not more than half
    assert from_counts(2, 3, 0.06) == "undecided"
    # Two of two by chance: 1/400. Two of three: 3 · 0.05² · 0.95 + 0.05³.
    assert counted("", 2, 2, "", "runs").verdict == "holds"
    assert counted("", 3, 2, "", "runs").verdict == "holds"
    assert counted("", 5, 3, "", "runs").verdict == "holds"
    assert counted("", 4, 2, "", "runs").verdict == "undecided"
    # At least two of five by chance: 0.023, of eight 0.057; one of three: 0.14.
    assert counted("", 5, 2, "", "runs").verdict == "undecided"
    assert counted("", 8, 2, "", "runs").verdict == "does not"
    assert counted("", 3, 1, "", "runs").verdict == "does not"


def test_intervals_meet_in_a_point_and_their_hull_holds_all():
    assert meet((1.0, 2.0), (2.0, 3.0))
    assert meet((2.0, 3.0), (1.0, 2.0))
    assert not meet((1.0, 2.0), (2.5, 3.0))
    assert not meet((2.5, 3.0), (1.0, 2.0))
    assert hull([(2.0, 5.0), (1.0, 3.0), (4.0, 4.0)]) == (1.0, 5.0)


def test_the_interval_of_a_share_is_clopper_and_pearsons():
    assert share_interval(3, 3) == pytest.approx((0.025 ** (1 / 3), 1.0))
    assert share_interval(0, 2) == pytest.approx((0.0, 1 - 0.025 ** (1 / 2)))
    assert share_interval(7, 10) == pytest.approx(
        (0.3475471, 0.9332605), abs=1e-6
    )  # scipy.stats.binomtest(7, 10).proportion_ci()


def test_the_interval_of_a_mean_is_students_from_three_seeds_on():
    mean, lower, upper = over_seeds([1.0, 2.0, 3.0], [])
    assert mean == 2.0
    assert (upper - lower) / 2 == pytest.approx(4.303 / 3**0.5)
    assert over_seeds([1.0, 3.0], [(0.5, 2.0), (1.0, 4.0)]) == (2.0, 0.5, 4.0)
    assert above(0.2, 0.9, 0.1) == "holds"
    assert above(0.2, 0.9, 0.95) == "does not"
    assert above(0.2, 0.9, 0.5) == "undecided"
    assert above(0.5, 0.9, 0.5) == above(0.2, 0.5, 0.5) == "undecided"


def test_the_sharpest_turn_is_where_a_path_bends_most():
    """Two straight lines over log(step), at right angles at step 1000; then at rest, where angles mean nothing."""
    steps = np.unique(np.geomspace(1, 8000, 120).astype(int))
    x = np.minimum(np.log(steps), math.log(1000))
    y = np.clip(np.log(steps) - math.log(1000), 0, 1.5)
    rng = np.random.default_rng(0)
    wobble = rng.normal(0, 1e-3, (2, len(steps)))
    space = pl.concat(
        pl.DataFrame({"step": steps, "component": component, "value": values})
        for component, values in ((1, x + wobble[0]), (2, y + wobble[1]))
    )
    turn = sharpest_turn(space, after=100)
    assert turn.step == pytest.approx(1000, rel=0.06)
    assert turn.size == pytest.approx(math.log(1.5), rel=0.1)
    assert turn.span[0] < 1000 < turn.span[1]
    assert sharpest_turn(space.filter(component=1), after=100) is None
    assert sharpest_turn(space.head(3), after=100) is None


def test_a_bump_planted_after_warm_up_is_found_and_the_bend_before_is_not_looked_at():
    steps = np.unique(np.geomspace(1, 8000, 160).astype(int))
    rng = np.random.default_rng(0)
    early = 3 / (1 + np.exp(4 * (np.log10(steps) - 1.5)))  # slow, then quick: not convex, and over by step 100
    smooth = 2 + 2 * steps**-0.3 + early + rng.normal(0, 0.003, len(steps))
    late = 0.3 / (1 + np.exp(20 * (np.log10(steps) - 3.5)))
    for values, found in ((smooth, 0), (smooth + late, 1)):
        curve = pl.DataFrame({"step": steps, "value": values})
        stretches = bumps(curve, after=100)
        assert len(stretches) == found
        assert all(start < 10**3.5 < 2 * end for start, end, _ in stretches)
    assert bumps(pl.DataFrame({"step": steps[:5], "value": smooth[:5]}), after=0) == ()


def test_what_is_measured_of_a_run_is_its_own_after_warm_up_and_at_its_end(tmp_path):
    """Losses that turn sharply at step 20, in warm-up, and less at step 1000, beside a run that does not."""
    steps = [0, *np.unique(np.geomspace(2, 8000, 100).astype(int)).tolist()]
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 99, (8, 231))
    a, b = rng.choice([-1.0, 1.0], (2, 8, 230))
    for name, turns in (("two-layer/seed3", 1), ("one-layer/seed0", 0)):
        config = {"events": {"end of warm-up": 100}}
        with pf.Recorder(tmp_path / name, config=config, probes={"text": pf.Probe(tokens)}) as recorder:
            for step in steps:
                x = math.log(max(step, 1))
                late = max(x - math.log(20), 0) * b + 0.4 * max(x - math.log(1000), 0) * a
                losses = 9 + a * min(x, math.log(20)) + turns * late - 0.1 * x * (np.arange(230) > 100)
                recorder.log(step, per_token_loss={"text": (losses + rng.normal(0, 0.1, a.shape)).astype(np.float32)})
    rows = [
        (run, step, ablation, metric, head, value)
        for run, more in (("two-layer/seed3", 1.0), ("one-layer/seed0", 100.0))
        for step, value in ((4000, more), (8000, 2 * more))
        for ablation, metric, head, value in (
            ("full", "loss_change", 0, 30 * value),
            ("full", "in_context_learning_change", 0, value),
            ("full", "in_context_learning_change", 1, 3 * value),
            ("pattern_preserving", "in_context_learning_change", 0, 50 * value),
        )
    ]
    names = ["run", "step", "ablation", "metric", "head", "value"]
    ablations = pl.DataFrame(rows, names, orient="row").with_columns(
        layer=1, probe=pl.lit("text"), standard_error=pl.col("value") / 10
    )
    archive = pf.open(tmp_path)
    found = {run.job: run for run in measured(archive, ablations)}
    assert set(found) == {Job(sweep.TWO, 3), Job(sweep.ONE, 0)}
    run = found[Job(sweep.TWO, 3)]
    assert (run.first_step, run.last_step, run.events) == (2, 8000, {"end of warm-up": 100})
    assert run.span == pytest.approx(math.log(4000))
    assert run.ablated == {"L1H0": (2.0, pytest.approx(0.2)), "L1H1": (6.0, pytest.approx(0.6))}
    last = archive.in_context_learning().filter(run="two-layer/seed3", step=8000)
    assert run.final == last.select("value", "lower", "upper").row(0)
    assert run.final[1] < run.final[0] < run.final[2]
    assert run.turn.step == pytest.approx(1000, rel=0.15)
    assert found[Job(sweep.ONE, 0)].turn.size < run.turn.size / 2


# The plan


def test_the_most_decisive_runs_come_first_and_nothing_comes_twice():
    order = jobs(text="novels")
    assert [job.name for job in order[:4]] == [
        "two-layer/seed0",
        "one-layer/seed0",
        "two-layer/seed1",
        "one-layer/seed1",
    ]
    assert len(order) == len(set(order))
    assert {job.variant for job in order[:12]} == {sweep.TWO, sweep.ONE, *sweep.SECOND}
    assert sweep.OTHER_TEXT not in {job.variant for job in jobs(text=None)}


@pytest.mark.parametrize("scale", ["small", "full"])
def test_every_variant_differs_from_the_base_in_one_thing(scale):
    base = config_of(Job(sweep.TWO, 3), text=None, scale=scale)
    for variant in (sweep.ONE, *sweep.SECOND):
        other = config_of(Job(variant, 3), text="novels", scale=scale)
        changed = [name for name in vars(base) if getattr(base, name) != getattr(other, name)]
        assert len(changed) == 1, variant
        assert other.seed == 3
    assert config_of(Job(sweep.OTHER_TEXT, 0), text="novels", scale=scale).corpus.source == "novels"
    assert config_of(Job(sweep.ONE_SMEARED, 0), text=None, scale=scale).model.smeared_keys


def test_the_other_schedule_has_its_events_in_the_record():
    schedule = config_of(Job(sweep.OTHER_SCHEDULE, 0), text=None, scale="full")
    assert schedule.optimiser.learning_rate.warmup_steps == 1000
    assert schedule.optimiser.weight_decay.changes == ((6000, 0.01),)
    assert config_of(Job(sweep.OTHER_SCHEDULE, 0), text=None, scale="small").optimiser.learning_rate.warmup_steps == 200


def test_the_scale_is_the_full_one_where_the_time_is_enough_and_an_unknown_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(budget, "seconds_per_update", lambda configs, device: dict.fromkeys(configs, 0.03))
    monkeypatch.setattr(budget, "workers", lambda: 2)
    assert lab.scale_that_fits(15 * 60, "cpu", Console()) == "small"
    assert lab.scale_that_fits(120 * 60, "cpu", Console()) == "full"
    with pytest.raises(UnknownNameError, match="scale is 'huge', known: auto, small, full"):
        lab.run(tmp_path, tmp_path / "page.html", minutes=1, scale="huge")


def test_a_text_or_a_page_that_cannot_be_is_refused_before_anything_is_timed(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere"):
        lab.run(tmp_path / "runs", tmp_path / "page.html", minutes=1, text=str(tmp_path / "nowhere"))
    with pytest.raises(ParameterError, match="is a directory, expected a file"):
        lab.run(tmp_path / "runs", tmp_path, minutes=1)
    assert not (tmp_path / "runs").exists()


def test_runs_that_do_not_fit_are_left_out_and_shorter_ones_after_them_are_not():
    a, b, c, d = (Job(name, 0) for name in "abcd")
    seconds = {a: 6.0, b: 4.0, c: 6.0, d: 3.0}
    assert budget.that_fit([a, b, c, d], seconds, processes=2, available=9.0) == [a, b, d]
    assert budget.that_fit([a, b, c, d], seconds, processes=2, available=10.0) == [a, b, c, d]
    assert budget.that_fit([a, b, c, d], seconds, processes=1, available=5.0) == [b]
    assert budget.that_fit([a, b, c, d], seconds, processes=1, available=1.0) == []


def test_updates_are_timed_on_the_device_they_will_run_on(tiny):
    config = lab.config_of(Job(sweep.TWO, 0), text=None, scale="full")
    assert 0 < budget._time(config, "cpu") < 60


# The command


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """The sweep with runs of a second each."""
    source = str(write_text(tmp_path / "text", n_words=700))
    base = tiny_config(source)
    model = ModelConfig(n_vocab=300, context=200, n_layers=2, n_heads=2, d_model=16)

    def config(job, *, text, scale):
        return replace(
            base,
            model=replace(model, n_layers=1 if job.variant.startswith("one") else 2),
            batches=BatchConfig(batch_size=2),
            checkpoints=Checkpoints(n_log=3, dense_every=2),
            seed=job.seed,
        )

    monkeypatch.setattr(lab, "config_of", config)
    return tmp_path


def test_the_command_trains_decides_and_writes_the_page_and_a_second_call_trains_nothing(tiny, monkeypatch):
    monkeypatch.setattr(budget, "seconds_per_update", lambda configs, device: dict.fromkeys(configs, 0.01))
    page, out = tiny / "page.html", tiny / "runs"
    call = [
        "lab",
        "induction",
        "--budget",
        "5",
        "--scale",
        "full",
        "--runs",
        "3",
        "--out",
        str(out),
        "--report",
        str(page),
    ]
    done = CliRunner().invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "3 runs fit" in done.output
    names = ["one-layer/seed0", "two-layer/seed0", "two-layer/seed1"]
    archive = pf.open(out / "full")
    assert [run.name for run in archive.runs] == names
    assert all(run.steps[-1] == 30 for run in archive.runs)
    html = page.read_text()
    for text in ("undecided at this budget", "A one-layer model never does it", "--budget 5", *names):
        assert text in html

    monkeypatch.setattr(lab, "train_together", None)  # a call of it would fail
    before = page.stat().st_mtime_ns
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    assert page.stat().st_mtime_ns > before


def test_a_budget_for_nothing_says_what_is_needed(tiny, monkeypatch):
    monkeypatch.setattr(budget, "seconds_per_update", lambda configs, device: dict.fromkeys(configs, 1e3))
    done = CliRunner().invoke(
        app, ["lab", "induction", "--budget", "0.1", "--scale", "small", "--out", str(tiny / "runs")]
    )
    assert done.exit_code != 0
    assert "too small for one run: two-layer/seed0 needs" in str(done.exception)
    assert not (tiny / "runs").exists()


def test_a_run_that_was_stopped_does_not_count(tiny):
    job = Job(sweep.TWO, 0)
    config = lab.config_of(job, text=None, scale="full")
    from phaseflow.training import train

    train(replace(config, steps=10), tiny / "runs" / job.name)
    assert lab.finished(tiny / "runs" / job.name, job, config) is None
    assert isinstance(lab.finished(tiny / "runs" / job.name, job, replace(config, steps=10)), Run)
    assert lab.finished(tiny / "nowhere", job, config) is None
