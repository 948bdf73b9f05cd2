"""Breaks of single tokens: cases by hand, the slow oracle, error rates on planted data, laws, edges."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from oracles import token_change as oracle
from phaseflow import _core
from phaseflow.metrics import _token_scan
from strategies import DTYPES, laid_out

STEPS = np.unique(np.round(np.geomspace(10, 10_000, 70))).astype(float)


def smooth_losses(
    n_examples: int, context: int, *, noise: float = 0.3, wander: float = 0.0, seed: int = 0, course: object = 1.0
) -> np.ndarray:
    """(checkpoint, batch, pos): every token's log-odds decay at a rate and to a level of their own, wander, are noisy.

    ``course`` says how the noise's deviation changes over the checkpoints.
    """
    rng = np.random.default_rng(seed)
    shape = (n_examples, context)
    level, fall, rate = rng.uniform(0, 5, shape), rng.uniform(0, 3, shape), rng.choice([0.25, 0.5], shape)
    decay = level + fall * (STEPS[:, None, None] / STEPS[0]) ** -rate
    steps = np.sqrt(np.diff(np.log10(STEPS), prepend=np.log10(STEPS[0])))
    walk = np.cumsum(steps[:, None, None] * rng.normal(0, wander * noise, (len(STEPS), *shape)), axis=0)
    course = np.broadcast_to(course, len(STEPS))[:, None, None]
    return oracle.loss_of(decay + walk + course * rng.normal(0, noise, (len(STEPS), *shape)))


def changes(losses: object, steps: np.ndarray, *, simulations: int = 20_000, **options: object) -> pl.DataFrame:
    return pf.token_changes(losses, steps, simulations=simulations, **options)


# By hand


def test_a_token_that_falls_from_three_nats_to_one_is_found_where_it_falls() -> None:
    losses = smooth_losses(10, 20)
    losses[:40, 4, 7] = 3.0
    losses[40:, 4, 7] = 1.0
    row = changes(losses, STEPS).row(0, named=True)
    assert (row["example"], row["token_index"]) == (4, 8)
    assert (row["start"], row["end"]) == (STEPS[39], STEPS[40])
    assert (row["before"], row["after"], row["size"]) == (3.0, 1.0, -2.0)
    assert row["height"] < 0
    assert row["p_value"] <= row["q_value"] < 1e-6


def test_a_token_that_rises_has_a_positive_size() -> None:
    losses = smooth_losses(10, 20)
    losses[30:, 0, 0] += 3.0
    row = changes(losses, STEPS).row(0, named=True)
    assert (row["example"], row["token_index"]) == (0, 1)
    assert row["size"] > 2
    assert row["height"] > 0


def test_a_fall_over_half_a_decade_has_its_two_ends() -> None:
    losses = smooth_losses(10, 20, noise=0.05)
    u = np.log10(STEPS)
    losses[:, 2, 3] -= 2 * np.clip((u - u[30]) / 0.6, 0, 1)
    row = changes(losses, STEPS).row(0, named=True)
    assert (row["example"], row["token_index"]) == (2, 4)
    assert abs(np.log10(row["start"]) - u[30]) < 0.1
    assert abs(np.log10(row["end"]) - u[30] - 0.6) < 0.1


def test_the_level_before_and_after_is_the_mean_of_eight_checkpoints() -> None:
    losses = smooth_losses(10, 20, noise=0.05)
    losses[35:, 1, 1] -= 1.5
    row = changes(losses, STEPS).row(0, named=True)
    assert row["end"] == STEPS[35]
    assert row["before"] == pytest.approx(losses[27:35, 1, 1].mean())
    assert row["after"] == pytest.approx(losses[35:43, 1, 1].mean())


# The oracle


def scan(
    losses: list[np.ndarray], steps: np.ndarray, *, noise: np.ndarray | None = None, threads: int | None = None
) -> dict:
    grid = _core.TokenGrid(steps)
    grid = grid if noise is None else grid.with_noise(noise)
    return grid.scan(losses, 0, losses[0].size, threads=threads)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_the_scan_agrees_with_dense_least_squares(data: st.DataObject) -> None:
    n = data.draw(st.integers(16, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    steps = np.cumsum(rng.uniform(0.2, 3, n)) * rng.choice([0.1, 100])
    shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9)))
    losses = 3 + rng.normal(0, 0.5, (n, *shape))
    losses[rng.integers(5, n - 5) :, 0, 0] -= 2
    losses[rng.integers(0, n), -1, -1] += rng.choice([-2, 4])
    stored = [data.draw(laid_out(one)) for one in losses]
    noise = data.draw(st.sampled_from([None, rng.uniform(0.2, 5, n)]))
    found = scan(stored, steps, noise=noise)
    names = _core.TokenGrid(steps).ramps
    assert names == oracle.ramps(np.log10(steps))
    for token in range(losses[0].size):
        trajectory = np.array([np.asarray(one, dtype=float).reshape(-1)[token] for one in stored])
        statistic, ramp, height, wander = oracle.best_break(oracle.on_odds_scale(trajectory), steps, noise)
        assert found["statistic"][token] == pytest.approx(statistic, rel=1e-7, abs=1e-6)
        assert (names[found["ramp"][token]], found["wander"][token]) == (ramp, wander)
        assert found["height"][token] == pytest.approx(height, rel=1e-5)
        start, end = ramp
        assert found["before"][token] == pytest.approx(trajectory[max(0, start - 7) : start + 1].mean())
        assert found["after"][token] == pytest.approx(trajectory[end : end + 8].mean())


# Noise that changes along training

THIRD = np.linspace(1.5, 0.5, len(STEPS))


def deviations(losses: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    return np.sqrt(_core.TokenGrid(STEPS).noise(_token_scan.sample(list(losses)), threads=threads))


@pytest.mark.parametrize("wander", [0.0, 2.0])
@pytest.mark.parametrize("course", [np.ones(len(STEPS)), THIRD, THIRD[::-1], np.where(STEPS < 100, 2.0, 1.0)])
def test_how_the_noise_changes_is_read_off_the_tokens(course: np.ndarray, wander: float) -> None:
    found = deviations(smooth_losses(40, 50, wander=wander, seed=5, course=course))
    # Half of the middle checkpoint's variance is the least.
    ratio = found / np.maximum(course / np.median(course), np.sqrt(0.5))
    assert found.min() >= np.sqrt(0.5)
    # The two checkpoints beside a jump are told from one side only.
    steady = np.abs(np.diff(np.log(course), prepend=np.log(course[0]))) < 0.5
    assert np.abs(np.log(ratio[steady])).max() < 0.2
    assert np.abs(np.log(ratio)).mean() < 0.05


def test_what_many_tokens_do_together_is_no_noise() -> None:
    losses = smooth_losses(40, 50, seed=6)
    alone = deviations(losses)
    # A fifth of all tokens break at one checkpoint, and all are off by the same at another.
    losses[33:, :8] = oracle.loss_of(oracle.on_odds_scale(losses[33:, :8]) - 1.5)
    losses[50] = oracle.loss_of(oracle.on_odds_scale(losses[50]) + 0.5)
    # Their deviation at that checkpoint would be twice the noise.
    np.testing.assert_allclose(deviations(losses), alone, rtol=0.2)


def test_noise_of_few_or_of_silent_tokens_counts_as_even() -> None:
    assert (deviations(smooth_losses(1, 15, course=THIRD)) == 1).all()
    assert (deviations(np.full((len(STEPS), 4, 50), 2.0)) == 1).all()
    # The tokens differ by nothing, or hardly one checkpoint from the others.
    same = smooth_losses(1, 1)
    assert (deviations(np.tile(same, (1, 4, 50))) == 1).all()
    once = np.full((len(STEPS), 4, 50), 2.0)
    once[::2] += smooth_losses(4, 50)[::2] * (np.arange(len(STEPS))[::2, None, None] < 4)
    assert np.isfinite(deviations(once)).all()
    losses = smooth_losses(20, 50, course=THIRD)
    expected = deviations(losses[:, 1:])
    losses[7, 0] = np.nan
    np.testing.assert_array_equal(deviations(losses), expected)


def test_the_unit_of_a_token_is_its_own() -> None:
    losses = smooth_losses(30, 50, noise=0.1, course=THIRD, seed=8)
    y = oracle.on_odds_scale(losses)
    louder = y * np.random.default_rng(0).uniform(0.5, 2, y.shape[1:])
    np.testing.assert_allclose(deviations(oracle.loss_of(louder)), deviations(losses), rtol=1e-6)


def test_the_tokens_the_noise_is_read_off_lie_in_64_runs_spread_over_all() -> None:
    few = np.arange(64 * 256.0).reshape(64, 256)
    np.testing.assert_array_equal(_core.sample_tokens(few), few.reshape(-1))
    np.testing.assert_array_equal(_core.sample_tokens(few[:3, ::-1]), few[:3, ::-1].reshape(-1))
    # A 64th of 100,000 tokens, rounded up, from one run's start to the next one's.
    starts = np.arange(0, 100_000, 1563)
    assert len(starts) == 64
    many = np.arange(100_000.0).reshape(100, 1000)
    np.testing.assert_array_equal(_core.sample_tokens(many), np.add.outer(starts, np.arange(256)).reshape(-1))
    # The last run ends with the tokens.
    odd = _core.sample_tokens(np.arange(16_400.0)[None])
    np.testing.assert_array_equal(odd, np.add.outer(np.arange(0, 16_400, 257), np.arange(256)).reshape(-1)[:16_337])


@pytest.mark.parametrize("change", [1.0, 3.0])
def test_the_share_of_far_distances_is_counted_token_by_token(change: float) -> None:
    rng = np.random.default_rng(4)
    steps = 10 + np.cumsum(rng.exponential(20, 60))
    noise = np.geomspace(1, change, 60)
    losses = 20 + rng.standard_t(3, (60, 4, 10)) * np.sqrt(noise)[:, None, None]
    u = np.log10(steps)
    base, _ = np.linalg.qr(np.stack([np.ones_like(u), u, steps**-0.25, steps**-0.5], axis=1))
    y = oracle.on_odds_scale(losses).reshape(60, -1)
    y = y - base @ (base.T @ y)
    before = (u[2:] - u[1:-1]) / (u[2:] - u[:-2])
    off = np.abs(y[1:-1] - before[:, None] * y[:-2] - (1 - before)[:, None] * y[2:])
    off /= np.sqrt(noise[1:-1] + before**2 * noise[:-2] + (1 - before) ** 2 * noise[2:])[:, None]
    expected = (off > 3.8189 * np.median(off, axis=0)).mean()
    found = _core.TokenGrid(steps).with_noise(noise).far_share(_token_scan.sample(list(losses)), threads=None)
    assert expected > 0.03
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wrong", [np.ones(3), np.zeros(len(STEPS)), np.full(len(STEPS), np.nan)])
def test_noise_that_is_none_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="noise"):
        _core.TokenGrid(STEPS).with_noise(wrong)


@pytest.mark.parametrize("course", [THIRD, THIRD[::-1]])
def test_drops_are_found_at_the_stated_rate_in_noise_that_changes_threefold(course: np.ndarray) -> None:
    # Taken for even, 61% of what is found were false in noise that shrinks, 23% in noise that grows.
    true, false = 0, 0
    for seed in range(4):
        losses = smooth_losses(50, 40, seed=40 + seed, course=course)
        rng = np.random.default_rng(seed)
        dropping = rng.permutation(2000)[:40]
        for token in dropping:
            drop = losses[rng.integers(12, len(STEPS) - 8) :, token // 40, token % 40]
            drop[:] = oracle.loss_of(oracle.on_odds_scale(drop) - 2.4)
        found = changes(losses, STEPS)
        right = np.isin((found["example"] * 40 + found["token_index"] - 1).to_numpy(), dropping)
        true, false = true + right.sum(), false + (~right).sum()
    assert true > 0.9 * 160
    assert false / (true + false) < 0.12


# Error rates


@pytest.mark.parametrize("wander", [0.0, 1.0, 3.0])
def test_p_values_of_smooth_tokens_are_uniform(wander: float) -> None:
    losses = smooth_losses(80, 50, wander=wander, seed=3)
    p_values = changes(losses, STEPS, fdr=1.0)["p_value"].to_numpy()
    assert len(p_values) == 4000
    for level in (0.01, 0.05, 0.2):
        # Four standard errors, and a fifth more for the wander that is estimated.
        assert (p_values <= level).mean() < 1.2 * level + 4 * np.sqrt(level / 4000)


def test_p_values_go_on_smoothly_beyond_what_was_simulated() -> None:
    null = _core.TokenGrid(STEPS).null(np.zeros(100, np.uint8), np.nan, simulations=20_000, seed=0, threads=None)
    p_values = null.p_values(np.linspace(0, 80, 4001))
    assert p_values[0] == 1
    assert (np.diff(p_values) <= 0).all()
    # A fiftieth of a unit of the likelihood ratio apart; simulated ones beyond the last 1 in 500 are an exponential.
    likely = p_values[p_values > 1e-3]
    assert (likely[:-1] < 1.2 * likely[1:]).all()
    assert 0 < p_values[-1] < 1e-9


def test_one_token_in_a_hundred_that_drops_by_itself_is_found_at_the_stated_rate() -> None:
    # Each by six noise deviations at a step of its own, so that the mean over tokens stays smooth.
    true, false, near = 0, 0, 0
    for seed in range(3):
        losses = smooth_losses(100, 50, wander=0.5, seed=seed)
        rng = np.random.default_rng(seed)
        planted = dict(zip(rng.choice(5000, 50, replace=False), rng.integers(12, len(STEPS) - 8, 50), strict=True))
        for token, checkpoint in planted.items():
            trajectory = losses[:, token // 50, token % 50]
            trajectory[checkpoint:] = oracle.loss_of(oracle.on_odds_scale(trajectory[checkpoint:]) - 1.8)
        assert pf.non_convexity(losses.mean((1, 2)), x=np.log(STEPS)).is_empty()
        for row in changes(losses, STEPS, simulations=100_000).iter_rows(named=True):
            at = planted.get(row["example"] * 50 + row["token_index"] - 1)
            true += at is not None
            false += at is None
            near += at is not None and abs(np.searchsorted(STEPS, row["end"]) - at) <= 2
    assert false < 0.1 * (true + false)
    assert true > 0.95 * 150
    assert near > 0.9 * true


def test_confident_and_unlikely_tokens_are_judged_alike() -> None:
    # Noise in the logits: small in the loss of a confident token. A test on the loss itself would be fooled by tokens
    # that become confident.
    rng = np.random.default_rng(8)
    margin = np.linspace(-3, 3, 4000).reshape(80, 50) + np.log10(STEPS)[:, None, None]
    losses = np.log1p(np.exp(-(margin + rng.normal(0, 0.5, (len(STEPS), 80, 50)))))
    p_values = changes(losses, STEPS, fdr=1.0)["p_value"].to_numpy()
    assert (p_values <= 0.01).mean() < 0.02


def test_first_and_last_checkpoints_that_are_far_off_hide_few_breaks() -> None:
    # Not drawn in, two of 120 were found: where every token's ends are off, so are those of the simulated ones.
    rng = np.random.default_rng(2)
    losses = smooth_losses(60, 50, seed=12)
    losses[[0, -1]] += 2.4 * rng.choice([-1, 1], (2, 60, 50))
    losses[40:, :, :2] -= 1.8
    found = changes(losses, STEPS)
    planted = found["token_index"] <= 2
    assert planted.sum() > 40
    assert (~planted).sum() < 8


# Laws


def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    losses = list(smooth_losses(40, 30).astype(np.float32))
    one, two = (scan(losses, STEPS, threads=threads) for threads in (1, 2))
    for name, column in one.items():
        np.testing.assert_array_equal(column, two[name])
    tables = [changes(losses, STEPS, fdr=1.0, threads=threads) for threads in (1, 2)]
    assert tables[0].equals(tables[1])


def test_a_token_is_judged_by_its_own_losses_alone() -> None:
    losses = smooth_losses(20, 30)
    order = np.random.default_rng(1).permutation(600)
    found = scan(list(losses), STEPS)
    permuted = scan([one.reshape(-1)[order].reshape(20, 30) for one in losses], STEPS)
    for name, column in found.items():
        np.testing.assert_array_equal(column[order], permuted[name])


def test_of_equally_sure_tokens_the_higher_ramp_comes_first() -> None:
    found = changes(smooth_losses(40, 50), STEPS, fdr=1.0, simulations=10_000)
    assert found["p_value"].n_unique() < found.height
    assert {True, False} == set(found["height"] > 0)
    keys = list(zip(found["p_value"], -found["height"].abs(), strict=True))
    assert keys == sorted(keys)


def test_tokens_that_cannot_be_tested_are_as_good_as_absent() -> None:
    losses = smooth_losses(20, 60, wander=1.0)
    half = losses.copy()
    half[3, :, ::2] = np.nan
    found, alone = (changes(one, STEPS, fdr=1.0) for one in (half, losses[:, :, 1::2]))
    for name in ("p_value", "q_value", "height", "size"):
        np.testing.assert_array_equal(found[name], alone[name])


def test_q_values_are_those_of_all_tokens_that_could_be_tested() -> None:
    losses = smooth_losses(20, 50)
    losses[40:, :2] -= 1.5
    losses[3, 19, 7] = np.nan
    found = changes(losses, STEPS, fdr=1.0)
    assert found.height == 999
    np.testing.assert_array_equal(found["q_value"], pf.q_values(found["p_value"]))
    few = changes(losses, STEPS, fdr=0.05)
    assert 50 < few.height < 200
    assert few.equals(found.filter(pl.col("q_value") <= 0.05))


def test_tokens_read_in_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = smooth_losses(20, 30, wander=1.0)
    whole = changes(losses, STEPS, fdr=1.0)
    for chunk in (1, 77, 599):
        monkeypatch.setattr(_token_scan, "CHUNK", chunk)
        assert changes(losses, STEPS, fdr=1.0).equals(whole)


def test_a_part_of_the_tokens_is_scanned_as_in_the_whole() -> None:
    losses = list(smooth_losses(20, 30))
    grid = _core.TokenGrid(STEPS)
    whole = grid.scan(losses, 0, 600, threads=None)
    parts = [grid.scan(losses, start, stop, threads=None) for start, stop in ((0, 277), (277, 600))]
    for name, column in whole.items():
        np.testing.assert_array_equal(column, np.concatenate([part[name] for part in parts]))


def test_a_smooth_course_changes_nothing() -> None:
    # Far above 2 nats the scale of the odds is the loss itself.
    losses = smooth_losses(20, 30) + 20
    extra = 3 * (STEPS**-0.5 + np.log(STEPS) / 9)[:, None, None]
    found, shifted = (changes(one, STEPS, fdr=1.0) for one in (losses, losses + extra))
    np.testing.assert_allclose(found["p_value"], shifted["p_value"], rtol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_stored_type_is_taken(dtype: np.dtype) -> None:
    losses = smooth_losses(10, 20)
    losses[40:, 4, 7] -= 2.5
    row = changes(losses.astype(dtype), STEPS).row(0, named=True)
    assert (row["example"], row["token_index"], row["end"]) == (4, 8, STEPS[40])


# Edges


def test_a_token_with_a_nan_is_left_out_and_harms_no_other() -> None:
    losses = smooth_losses(10, 20)
    losses[40:, 4, 7] -= 2.5
    losses[12, 0, 3] = np.nan
    losses[13, 0, 4] = np.inf
    found = changes(losses, STEPS, fdr=1.0)
    assert found.height == 198
    assert found.row(0)[:2] == (4, 8)


def test_tokens_that_never_move_do_not_break() -> None:
    losses = np.full((len(STEPS), 5, 8), 2.5)
    found = changes(losses, STEPS, fdr=1.0)
    assert (found["p_value"] == 1.0).all()
    assert changes(losses, STEPS).is_empty()


def test_without_tokens_there_are_no_breaks() -> None:
    for shape in ((20, 0, 3), (20, 3, 0)):
        found = changes(np.ones(shape), np.arange(1, 21))
        assert found.is_empty()
        assert found.schema == changes(np.ones((20, 1, 1)), np.arange(1, 21)).schema


def test_nothing_is_tested_where_a_checkpoint_has_no_finite_loss() -> None:
    losses = smooth_losses(4, 5)
    losses[9] = np.nan
    assert changes(losses, STEPS, fdr=1.0).is_empty()


@pytest.mark.parametrize(
    ("losses", "steps", "error"),
    [
        (np.ones((15, 2, 3)), np.arange(1, 16), "at least 16"),
        (np.ones((20, 3)), np.arange(1, 21), "checkpoint, batch, pos"),
        (np.ones((20, 2, 3)), np.arange(1, 20), "one for every checkpoint"),
        (np.ones((20, 2, 3)), np.arange(20), "above 0 at checkpoint 0"),
        (np.ones((20, 2, 3)), np.arange(20, 0, -1), "at checkpoint 1"),
        ([np.ones((2, 3))] * 19 + [np.ones((2, 4))], np.arange(1, 21), r"\(2, 3\) at checkpoint 0 and \(2, 4\) at 19"),
        (np.ones((0, 2, 3)), np.arange(0), "no checkpoints"),
    ],
)
def test_what_cannot_be_tested_is_refused_by_name(losses: object, steps: np.ndarray, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        changes(losses, steps)


@pytest.mark.parametrize("options", [{"fdr": 0.0}, {"fdr": 1.1}, {"simulations": 100}, {"seed": -1}])
def test_parameters_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(pf.exceptions.ParameterError, match=next(iter(options))):
        changes(smooth_losses(2, 3), STEPS, **options)
