"""Noise that changes along a curve: read off what the curve has beside its windows, and what that does to these."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats

import phaseflow as pf
from phaseflow import _core
from phaseflow.changepoint import grids, uneven, variance
from phaseflow.changepoint.variance import contradicted, errors, neighbour_squares, profiles_of, slopes
from phaseflow.exceptions import UnknownNameError

X = np.logspace(1, 4, 120)
U = np.log10(X)
POWER_LAW = 80 * X**-0.3
STEEP = 250 * X**-0.6


def proportional(curve, size, seed, count):
    """Curves whose noise is in proportion to the level."""
    return curve * (1 + size * np.random.default_rng(seed).standard_normal((count, len(curve))))


def even(curve, seed, count):
    return curve + np.random.default_rng(seed).standard_normal((count, len(curve)))


def found_in(curves, **options):
    return pf.detect_windows(curves, x=X, simulations=200, **options)["series"].n_unique()


# By hand


def test_the_cubic_through_four_even_neighbours():
    # Weights -1/6, 2/3, 2/3, -1/6: squares sum to 17/18, with the value's own 35/18. The curve is 1 above its mean, 1/6,
    # less that: 5/6 is its largest deviation.
    (found,) = neighbour_squares(np.arange(6.0), np.array([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]))
    assert found == pytest.approx(np.array([1, 4 / 9]) / (35 / 18) / (5 / 6) ** 2, rel=1e-14)


def test_profiles_are_a_line_and_steps_from_one_level_to_another():
    profiles, coarse = profiles_of(np.arange(50.0).tobytes())
    assert profiles.mean(1) == pytest.approx(0, abs=1e-12)
    assert (profiles**2).mean(1) == pytest.approx(1)
    assert profiles[0] == pytest.approx((np.arange(50) - 24.5) / np.sqrt((50**2 - 1) / 12))
    assert (np.diff(profiles) > 0).all()
    assert 1 < coarse < len(profiles)


def test_the_constants_of_cut_squares_are_those_of_normal_noise():
    cut = variance._WILD

    def moment(power):
        inside = integrate.quad(lambda z: z ** (2 * power) * stats.norm.pdf(z), -np.sqrt(cut), np.sqrt(cut))[0]
        return inside + cut**power * stats.chi2.sf(cut, 1)

    growth = moment(1) - cut * stats.chi2.sf(cut, 1)
    assert pytest.approx(moment(1), abs=1e-5) == variance._MEAN
    assert pytest.approx(growth / moment(1), abs=1e-5) == variance._GROWTH
    assert pytest.approx(moment(2) / moment(1) ** 2 - 1, abs=1e-5) == variance._SPREAD


# What squares say


def test_a_cubic_leaves_nothing_on_any_grid():
    u = np.sort(np.random.default_rng(0).uniform(0, 4, 40))
    assert neighbour_squares(u, (2 - u + 3 * u**2 - u**3)[None]).max() < 1e-18


@pytest.mark.parametrize("amplitude", [0.0, 0.7, -2.0])
def test_the_amplitude_of_noise_is_found_within_its_error(amplitude):
    profiles, _ = profiles_of(U.tobytes())
    squares = np.random.default_rng(1).standard_normal((400, 120)) ** 2 * np.exp(amplitude * profiles[0])
    found = slopes(squares, profiles[:1], 1, 1.0)
    off = (found.amplitude - amplitude) / found.error
    assert abs(off.mean()) < 5 / np.sqrt(400)
    assert off.std() == pytest.approx(1, abs=0.2)
    # Fisher's information of an amplitude is n / 2; cutting wild squares costs a little of it.
    assert np.median(found.error) == pytest.approx(np.sqrt(2 / 120), rel=0.1)


def test_amplitude_error_and_deviance_are_those_of_the_equations_solved_by_another():
    random = np.random.default_rng(4)
    profile = profiles_of(U.tobytes())[0][3]
    squares = (random.standard_normal(120) * np.exp(0.3 * profile)) ** 2
    squares[::7] = np.nan
    there = np.isfinite(squares)
    own = profile[there] - profile[there].mean()

    def excess(middle, amplitude):
        return np.minimum(squares[there] / np.exp(middle + amplitude * own), 6.25) / variance._MEAN - 1

    solved = optimize.root(lambda at: [excess(*at).sum(), (excess(*at) * own).sum()], [0.0, 0.0], tol=1e-12).x
    found = slopes(squares[None], profile[None], 1, 0.5)
    assert found.amplitude[0] == pytest.approx(solved[1], abs=1e-4)
    unit = (own**2).mean()
    spread = max((excess(*solved) ** 2 * own**2).mean() / unit**2, variance._SPREAD / unit)
    assert found.error[0] == pytest.approx(np.sqrt(spread / there.sum() / 0.5) / variance._GROWTH, rel=1e-3)
    # Twice the negative log-likelihood, squares beyond the cut counting as their logarithm.
    ratio = squares[there] / np.exp(solved[0] + solved[1] * own)
    lost = np.where(ratio < 6.25, ratio, 6.25 + 6.25 * np.log(ratio / 6.25)) / variance._MEAN
    deviance = variance._fit(np.log(np.where(there, squares, 1))[None], there[None] * 1.0, profile, 9.0)[2][0]
    assert deviance == pytest.approx(there.sum() * solved[0] + lost.sum(), rel=1e-6)


def test_squares_that_vary_less_than_normal_noises_are_no_surer():
    profile = profiles_of(U.tobytes())[0][:1]
    found = slopes(np.ones((1, 120)), profile, 1, 1.0)
    assert found.error[0] == pytest.approx(np.sqrt(variance._SPREAD / 120) / variance._GROWTH, rel=1e-6)


def test_wild_samples_and_missing_ones_say_little():
    profiles, _ = profiles_of(U.tobytes())
    squares = np.random.default_rng(2).standard_normal((50, 120)) ** 2
    wild = squares.copy()
    wild[:, [5, 6, 7]] = 1e6
    wild[:, -10:] = np.nan
    plain, rough = (slopes(rows, profiles[:1], 1, 1.0) for rows in (squares, wild))
    assert np.abs(rough.amplitude - plain.amplitude).max() < 1
    assert (rough.error > plain.error).all()


def test_the_screen_sees_what_the_fit_would():
    profiles, coarse = profiles_of(U.tobytes())
    squares = np.concatenate(
        [
            neighbour_squares(U, even(POWER_LAW, 3, 200)),
            neighbour_squares(U, proportional(STEEP, 0.03, 3, 50)),
        ]
    )
    inner = profiles[:coarse, 2:-2]
    score = contradicted(squares, inner, 1 / 2.63)
    assert (score[:200] > 3.5).mean() < 0.02
    assert (score[200:] > 3.5).all()
    fitted = errors(slopes(squares[:200], inner, coarse, 1 / 2.63))
    assert np.corrcoef(score[:200], fitted)[0, 1] > 0.5


# Windows


@pytest.mark.parametrize("curve", [STEEP, 1 + 40 * np.exp(-X / 800), 1 + 150 * (1 - np.exp(-X / 3750))],
                         ids=["power law", "exponential", "late rise"])  # fmt: skip
def test_windows_are_not_found_in_noise_that_goes_with_the_level(curve):
    # In 200 curves the rates are .02 to .10, and taken for even .32 to .91.
    curves = proportional(curve, 0.03, 4, 60)
    assert found_in(curves, variance=None) > 12
    assert found_in(curves, variance=curve**2) <= 9
    assert found_in(curves) <= 12


def test_nor_on_thirty_checkpoints_where_little_can_be_read_off():
    x = np.linspace(333, 10_000, 30)
    curve = 1 + 40 * np.exp(-x / 800)
    curves = proportional(curve, 1.0, 5, 80)
    taken_for_even = pf.detect_windows(curves, x=x, variance=None, simulations=200)["series"].n_unique()
    assert taken_for_even > 20
    assert pf.detect_windows(curves, x=x, simulations=200)["series"].n_unique() <= 14


def test_what_is_no_window_in_some_noise_that_the_curve_allows_is_none():
    # Noise in proportion to the level that happens to look even.
    curves = proportional(POWER_LAW, 0.03, 4, 300)[[165, 172, 274]]
    assert found_in(curves, variance=None) == 3
    assert found_in(curves) <= 1


def test_a_drop_of_five_deviations_in_even_noise_is_nearly_as_often_found():
    curves = even(POWER_LAW, 0, 100) - 5 * np.clip((U - 2.5) / 0.3, 0, 1)
    assert found_in(curves, variance=None) >= 90
    assert found_in(curves) >= 80


@pytest.mark.parametrize(("level", "variance", "most"), [(True, "auto", 9), (False, None, 12)])
def test_a_second_window_beside_a_true_one_is_seldom_found_where_there_is_none(level, variance, most):
    # In .15 to .22 of such curves in noise with the level while the first alone was held against all noise; in .09 in even
    # noise, known to be, while nothing was paid for what the first is fitted with.
    x = np.logspace(1, 4, 30)
    curve = 80 * x**-0.3 + 40 * (1 - np.clip((np.log10(x) - 2.5) / 0.3, 0, 1))
    noise = np.random.default_rng(8).standard_normal((100, 30)) * (0.02 * curve if level else 1)
    found = pf.detect_windows(curve + noise, x=x, variance=variance).group_by("series").len()
    assert found.height >= 80
    assert (found["len"] > 1).sum() <= most


def test_a_drop_in_uneven_noise_is_found():
    drop = 6 * np.clip((U - 2.5) / 0.3, 0, 1)
    curves = proportional(POWER_LAW, 0.02, 5, 4) - drop
    found = pf.detect_windows(curves, x=X, simulations=200)
    assert found["series"].n_unique() == 4
    assert (found["size"] < 0).sum() >= 4


def test_each_curve_is_judged_as_if_alone():
    curves = proportional(POWER_LAW, 0.03, 6, 3) - 8 * np.clip((U - 2.5) / 0.3, 0, 1)
    together = pf.detect_windows(curves, x=X, simulations=200)
    assert together.height > 0
    for series, curve in enumerate(curves):
        alone = pf.detect_windows(curve, x=X, simulations=200)
        assert alone.drop("series").equals(together.filter(series=series).drop("series"))


def test_a_p_value_is_the_largest_over_noise_and_never_below_that_of_even_noise_unless_it_is_ruled_out():
    curves = even(POWER_LAW, 8, 40) - 6 * np.clip((U - 2.5) / 0.3, 0, 1)
    auto, none = (pf.detect_windows(curves, x=X, max_windows=1, variance=word) for word in ("auto", None))
    both = auto.join(none, on="series")
    assert both.height > 30
    assert (both["p_value"] >= both["p_value_right"] * (1 - 1e-12)).all()
    assert (both["p_value"] > 1.01 * both["p_value_right"]).mean() > 0.3


def test_a_curve_without_a_window_in_even_noise_is_looked_at_once(detectors_made):
    x = np.logspace(0.9, 4, 60)  # a grid that no other test meets in the cache
    curves = 20 * x**-0.3 + np.random.default_rng(9).standard_normal((3, 60))
    assert pf.detect_windows(curves, x=x, simulations=100, level=1e-4).is_empty()
    assert detectors_made == [True]


def test_discoveries_are_those_of_p_values_held_against_all_noise():
    # The slow way: every series at a level of 1 alone, so that nothing stops early; then the procedure over all.
    random = np.random.default_rng(10)
    heights = np.where(np.arange(30) % 3 == 0, 7.0, 0.0)
    curves = even(POWER_LAW, 11, 30) - heights[:, None] * np.clip((U - 2.5) / 0.3, 0, 1)
    curves[random.permutation(30)[:5]] *= 3
    rate = 0.1
    p_values = np.ones(30)
    for series, curve in enumerate(curves):
        alone = pf.detect_windows(curve, x=X, simulations=200, max_windows=1)
        if alone.height:
            p_values[series] = alone["p_value"][0]
    expected = np.flatnonzero(pf.q_values(p_values) <= rate)
    found = pf.detect_windows(curves, x=X, simulations=200, max_windows=1, fdr=rate)
    assert len(expected) > 3
    assert found["series"].to_list() == expected.tolist()


@pytest.mark.parametrize(
    ("elsewhere", "expected"),
    [
        ([(12, 14, 0.03), (150, 300, 0.01)], 0.01),
        ([(150, 300, 1e-9)], 1e-3),
        ([(12, 14, 0.01), (200, 300, 0.001)], 1.0),
    ],
    ids=["less sure there", "surer there", "not there"],
)
def test_a_further_window_is_as_sure_as_the_one_that_overlaps_it_in_other_noise(elsewhere, expected):
    # In even noise one window from 10 to 20 and one from 100 to 200; in other noise those told.
    found = {True: [(10.0, 20.0, 1e-6), (100.0, 200.0, 1e-3)], False: elsewhere}

    class Told:
        def __init__(self, variance, thresholds_of):
            self.even = variance is None

        def detect(self, curves, *, level, max_windows):
            assert max_windows == 3
            rows = [(series, *window) for series in range(len(curves)) for window in found[self.even]]
            columns = dict(zip(("series", "start", "end", "p_value"), np.array(rows).T, strict=True))
            columns["series"] = columns["series"].astype(np.int64)
            rests = np.random.default_rng(0).standard_normal((len(curves), 120))
            return columns, np.full(len(curves), 1e-6), np.arange(len(curves)), rests

    panel = uneven.UnevenPanel(even(POWER_LAW, 12, 2), U, Told, 0.05, max_windows=3)
    panel.hold_against_all(np.array([1]))
    (table,) = panel.tables
    assert table["p_value"].tolist() == [1e-6, 1e-3, 1e-6, expected]


@pytest.mark.parametrize(
    ("amplitude", "curve"),
    [(0.0, POWER_LAW), (0.4, POWER_LAW), (1.5, POWER_LAW), (3.4, POWER_LAW), (0.0, STEEP)],
    ids=["even", "a little uneven", "clearly uneven", "as uneven as noise may be", "as its neighbours showed"],
)
def test_a_window_is_held_against_both_ends_of_what_its_rest_says(amplitude, curve):
    profiles, coarse = profiles_of(U.tobytes())
    rests = np.random.default_rng(1).standard_normal((1, 120)) * np.exp(0.5 * amplitude * profiles[0])
    tried = []

    class Records:
        def __init__(self, shape, thresholds_of):
            self.shape = shape

        def detect(self, curves, **options):
            tried.append(None if self.shape is None else self.shape.tolist())
            return {"series": np.zeros(0, np.int64), "p_value": np.zeros(0)}, np.full(1, 1e-6), np.zeros(1, int), rests

    curves = even(POWER_LAW, 12, 1) if curve is POWER_LAW else proportional(STEEP, 0.03, 3, 1)
    panel = uneven.UnevenPanel(curves, U, Records, 0.05, max_windows=1)
    (assumed,) = tried
    assert (assumed is None) == (curve is POWER_LAW)
    panel.hold_against_all(np.array([0]))
    said = slopes(rests**2 * (1 if assumed is None else np.array(assumed)), profiles, coarse, 110 / 120)
    places = [said.amplitude[0] + by * said.error[0] for by in (0, -1.645, 1.645)]
    steps = [round(np.clip(place, -said.most[0], said.most[0]) / 0.25) for place in places]
    shapes = [np.exp(0.25 * step * profiles[said.profile[0]]).tolist() if step else None for step in steps]
    clear = errors(said)[0] > 4
    assert clear == (amplitude > 1 or curve is STEEP)
    # Described as at first, and again where the rest says something else; then held against the ends, but not twice the same.
    centre = shapes[0] if clear else None
    described = [assumed] if centre == assumed else [assumed, centre]
    assert tried == described + [shape for shape in shapes[1:] if shape != described[-1]]


def test_what_curves_show_is_theirs_however_many_there_are():
    class Nothing:
        def __init__(self, shape, thresholds_of):
            pass

        def detect(self, curves, **options):
            columns = {"series": np.zeros(0, np.int64), "p_value": np.zeros(0)}
            return columns, np.ones(len(curves)), np.zeros(0, np.int64), np.zeros((0, 120))

    curves = np.concatenate([even(POWER_LAW, 3, 280), proportional(STEEP, 0.03, 3, 1)])
    panel = uneven.UnevenPanel(curves, U, Nothing, 0.05)
    assert panel._noise[280] != uneven.EVEN
    assert sum(noise != uneven.EVEN for noise in panel._noise[:280]) <= 6
    panel.hold_against_all(np.arange(281))  # without a window there is nothing to hold
    assert (panel.p_values == 1).all()


def test_thresholds_of_even_noise_serve_for_weak_unevenness_and_not_for_strong():
    class Made:
        def __init__(self, variance, thresholds_of):
            self.variance, self.thresholds_of = variance, thresholds_of

        def detect(self, curves, **options):
            columns = {"series": np.zeros(0, np.int64), "p_value": np.zeros(0)}
            return columns, np.ones(len(curves)), np.zeros(0, np.int64), np.zeros((0, curves.shape[1]))

    panel = uneven.UnevenPanel(even(POWER_LAW, 12, 1), U, Made, 0.05)
    weak, strong = (panel._detector(uneven.Noise(2, steps)) for steps in (3, 9))
    assert weak.thresholds_of.variance is None
    assert strong.thresholds_of.variance == pytest.approx(np.exp(2 * panel._profiles[2]))
    assert panel._detector(uneven.Noise(2, 8)).thresholds_of is None


def test_borrowed_thresholds_are_those_of_the_other_detector():
    options = {"scale": "log", "base": "decay", "flank": 3, "max_width": None, "simulations": 100, "seed": 0}
    limits = {"level": 1e-300, "max_windows": 1, "min_size": 0.0, "threads": None}
    shape, curves = X**-0.4, even(POWER_LAW, 13, 5)
    plain = _core.WindowDetector(X, None, **options)
    own = _core.WindowDetector(X, shape, **options)
    # The other's own p-values at the statistics of the one that borrows: with one variance on both sides nothing changes.
    same = _core.WindowDetector(X, None, **options, thresholds_of=plain)
    assert same.detect(curves, **limits)[1].tolist() == plain.detect(curves, **limits)[1].tolist()
    borrowed = _core.WindowDetector(X, shape, **options, thresholds_of=plain).detect(curves, **limits)[1]
    assert borrowed.tolist() != own.detect(curves, **limits)[1].tolist()
    near = borrowed > 0.01  # beyond, both are extrapolated from a hundred draws
    assert near.any()
    assert np.abs(np.log(borrowed / own.detect(curves, **limits)[1]))[near].max() < 0.5


def test_a_detector_of_a_grid_borrows_the_thresholds_it_is_told_to():
    options = grids.Options("log", "decay", 3, None, 100, 0)
    limits = {"level": 1e-300, "max_windows": 1, "min_size": 0.0, "threads": None}
    shape, curves = X**-0.4, even(POWER_LAW, 13, 5)
    plain = grids.grid(X, None, options)
    borrows = _core.WindowDetector(X, shape, **options._asdict(), thresholds_of=plain)
    own, borrowed = (grids.grid_of_curves(X, shape, options, of).detect(curves, **limits)[1] for of in (None, plain))
    assert borrowed.tolist() == borrows.detect(curves, **limits)[1].tolist()
    assert borrowed.tolist() != own.tolist()


def test_the_rests_of_a_curve_are_white_noise_of_one_size_in_the_assumed_variance():
    deviations = np.exp(0.8 * (U - U.mean()))
    random = np.random.default_rng(14)
    drop = 40 * np.clip((U - 2.5) / 0.3, 0, 1)
    curves = POWER_LAW - drop + random.standard_normal((60, 120)) * deviations
    detector = _core.WindowDetector(
        X, deviations**2, scale="log", base="decay", flank=3, max_width=None, simulations=100, seed=0
    )
    _, _, sure, rests = detector.detect(curves, level=0.05, max_windows=1, min_size=0.0, threads=None)
    assert sure.tolist() == list(range(60))
    squares = rests**2 / np.nanmean(rests**2)
    thirds = [np.nanmean(squares[:, part]) for part in (slice(40), slice(40, 80), slice(80, None))]
    assert thirds == pytest.approx([1, 1, 1], abs=0.15)


def test_an_unknown_word_is_refused():
    with pytest.raises(UnknownNameError, match="variance is 'level', expected 'auto'"):
        pf.detect_windows(POWER_LAW, x=X, variance="level")


@pytest.mark.parametrize(
    "curve",
    [np.where(np.arange(120) < 60, 0.0, np.random.default_rng(0).normal(0, 1, 120)), np.zeros(120), np.full(120, 3e300),
     np.where(np.arange(120) < 60, 0.0, 1.0)],
    ids=["no noise at first", "zeros", "constant", "jump"],
)  # fmt: skip
def test_curves_that_are_exactly_constant_in_places_are_no_trouble(curve):
    assert pf.detect_windows(curve, x=X, simulations=200).height <= 3
