"""`detect`: the exact optimum, against hand, brute force over all segmentations, and ruptures."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import ruptures
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseflow as pf
from phaseflow.exceptions import NotFiniteError, ParameterError, PhaseflowError, UnknownNameError


def segment_cost(cost: str, signal: np.ndarray, x: np.ndarray) -> float:
    """Squared distance from the mean, or from the least-squares line, by numpy."""
    if cost == "l2" or len(signal) == 1:
        return float(((signal - signal.mean()) ** 2).sum())
    line = np.column_stack([np.ones_like(x), x - x.mean()])
    fitted = line @ np.linalg.lstsq(line, signal, rcond=None)[0]
    return float(((signal - fitted) ** 2).sum())


def total_cost(cost: str, signal: np.ndarray, x: np.ndarray, changepoints: list[int]) -> float:
    bounds = [0, *changepoints, len(signal)]
    return sum(segment_cost(cost, signal[a:b], x[a:b]) for a, b in pairwise(bounds))


def brute_force(cost: str, signal: np.ndarray, x: np.ndarray, penalty: float, min_size: int) -> float:
    """The least penalised cost over every segmentation."""
    n = len(signal)
    best = np.inf
    for count in range(n):
        for changepoints in combinations(range(1, n), count):
            bounds = [0, *changepoints, n]
            if min(b - a for a, b in pairwise(bounds)) >= min_size:
                best = min(best, total_cost(cost, signal, x, list(changepoints)) + penalty * count)
    return best


def test_a_step_of_two_levels_is_one_changepoint_at_the_first_sample_of_the_second() -> None:
    found = pf.detect([0.0, 0.0, 0.0, 5.0, 5.0], penalty=1.0)
    assert found.changepoints.tolist() == [3]
    assert found.segments == [(0, 3), (3, 5)]


def test_one_forced_changepoint_leaves_the_cost_that_fractions_give() -> None:
    # Levels (0, 1) and (6, 9): costs 1/2 and 9/2.
    found = pf.detect([0.0, 1.0, 6.0, 9.0], n_changepoints=1)
    assert found.changepoints.tolist() == [2]
    assert found.costs.sum() == pytest.approx(5.0, abs=1e-12)


def test_two_lines_on_an_uneven_axis_are_told_apart() -> None:
    x = np.array([0.0, 1.0, 3.0, 4.0, 8.0, 9.0, 11.0, 12.0])
    signal = np.where(x < 5, 2 * x, 40 - x)
    found = pf.detect(signal, x=x, cost="linear", penalty=0.5, min_size=2)
    assert found.changepoints.tolist() == [4]
    assert found.costs.sum() == pytest.approx(0.0, abs=1e-9)


def test_a_kink_is_found_where_two_lines_meet() -> None:
    x = np.arange(21.0)
    found = pf.detect(np.abs(x - 10.0), x=x, cost="clinear", n_changepoints=1)
    assert found.changepoints.tolist() in ([10], [11])
    assert found.costs.sum() == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 9),
    st.sampled_from(["l2", "linear"]),
    st.sampled_from(["optimal", "pelt", "auto"]),
    st.integers(1, 3),
    st.floats(0.01, 5.0),
)
def test_the_penalised_cost_is_the_brute_force_optimum(
    seed: int, n: int, cost: str, search: str, min_size: int, penalty: float
) -> None:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.1, 3.0, n))
    signal = rng.normal(0, 1, n) + 3 * (np.arange(n) >= n // 2)
    if n < min_size:
        return
    found = pf.detect(signal, x=x, cost=cost, search=search, penalty=penalty, min_size=min_size)
    reached = total_cost(cost, signal, x, found.changepoints.tolist()) + penalty * len(found.changepoints)
    assert reached == pytest.approx(brute_force(cost, signal, x, penalty, min_size), abs=1e-8)
    assert min(b - a for a, b in found.segments) >= min_size


@pytest.mark.parametrize("seed", range(20))
def test_the_optimum_is_that_of_ruptures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = np.repeat(rng.normal(0, 3, 6), 25) + rng.normal(0, 1, 150)
    theirs = ruptures.Pelt(model="l2", min_size=1, jump=1).fit(signal).predict(pen=8.0)[:-1]
    ours = pf.detect(signal, penalty=8.0)
    x = np.arange(150.0)
    assert total_cost("l2", signal, x, ours.changepoints.tolist()) + 8 * len(ours.changepoints) == pytest.approx(
        total_cost("l2", signal, x, theirs) + 8 * len(theirs), abs=1e-8
    )


def test_an_offset_of_a_hundred_million_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    signal = np.round(np.repeat([0.0, 2.0, -1.0], 40) + rng.normal(0, 0.3, 120), 6)
    here = pf.detect(signal, penalty=3.0).changepoints
    assert here.tolist() == [40, 80]
    assert pf.detect(signal + 1e8, penalty=3.0).changepoints.tolist() == here.tolist()


def test_a_reversed_signal_has_the_reversed_changepoints() -> None:
    rng = np.random.default_rng(2)
    signal = np.repeat([0.0, 4.0, 1.0], [20, 30, 15]) + rng.normal(0, 0.2, 65)
    forward = pf.detect(signal).changepoints
    assert forward.tolist() == [20, 50]
    assert (65 - pf.detect(signal[::-1]).changepoints[::-1]).tolist() == forward.tolist()


def test_constants_and_single_samples_have_no_changepoint() -> None:
    assert pf.detect(np.full(50, 3.0)).changepoints.tolist() == []
    assert pf.detect([1.0]).changepoints.tolist() == []


def test_noise_alone_seldom_has_a_changepoint_under_bic() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(len(pf.detect(rng.normal(0, 1, 200)).changepoints) > 0 for _ in range(100))
    assert alarms <= 25


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_is_refused_by_its_place(bad: float) -> None:
    with pytest.raises(NotFiniteError, match="signal"):
        pf.detect([0.0, 1.0, bad])


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="clinear"):
        pf.detect([0.0, 1.0, 2.0], cost="l3")


def test_a_search_that_is_not_exact_for_the_cost_is_refused() -> None:
    with pytest.raises(PhaseflowError):
        pf.detect([0.0, 1.0, 2.0, 3.0], cost="clinear", search="pelt")


def test_more_changepoints_than_fit_are_refused() -> None:
    with pytest.raises(ParameterError):
        pf.detect([0.0, 1.0, 2.0], n_changepoints=3)


def test_it_prints_and_becomes_a_table() -> None:
    found = pf.detect([0.0, 0.0, 0.0, 5.0, 5.0], penalty=1.0)
    assert found.to_polars().height == 2
    assert "3" in str(found)
