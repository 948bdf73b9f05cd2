"""In-context Markov chains: exact predictors, chains that follow their matrices, divergences of a known model."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from hypothesis import given
from hypothesis import strategies as st

from oracles import markov as oracle
from phaseflow.exceptions import ParameterError
from phaseflow.training.markov import (
    MarkovChains,
    MarkovConfig,
    divergences,
    draw_chains,
    predictions,
    stationary,
)
from phaseflow.training.probe import ProbeConfig


def test_the_rule_of_succession_by_hand() -> None:
    found = predictions(np.array([[0, 1, 0, 0, 1]]), 2)
    assert found["uniform"][0].tolist() == [[0.5, 0.5]] * 5
    # After 0, 1, 0, 0, 1 each: 1, 1, 2, 3, 3 zeros of 1, 2, 3, 4, 5 states.
    expected = [Fraction(2, 3), Fraction(2, 4), Fraction(3, 5), Fraction(4, 6), Fraction(4, 7)]
    np.testing.assert_allclose(found["unigram"][0, :, 0], [float(p) for p in expected], rtol=1e-15)
    # Zeros after the current state: 0 of 0; 0 of 0; 0 of 1 (0 -> 1); 1 of 2 (0 -> 1, 0 -> 0); 1 of 1 (1 -> 0).
    expected = [Fraction(1, 2), Fraction(1, 2), Fraction(1, 3), Fraction(2, 4), Fraction(2, 3)]
    np.testing.assert_allclose(found["bigram"][0, :, 0], [float(p) for p in expected], rtol=1e-15)


@given(st.integers(2, 5), st.integers(1, 4), st.integers(1, 20), st.integers(0, 99))
def test_predictors_are_those_of_counting_anew_at_every_position(k: int, n: int, length: int, seed: int) -> None:
    states = np.random.default_rng(seed).integers(k, size=(n, length))
    found = predictions(states, k)
    for row, chain in enumerate(states.tolist()):
        for name, slow in (("unigram", oracle.unigram), ("bigram", oracle.bigram)):
            exact = [[float(p) for p in at] for at in slow(chain, k)]
            np.testing.assert_allclose(found[name][row], exact, rtol=1e-15)


def test_a_stationary_distribution_is_left_as_it_is() -> None:
    matrix = np.random.default_rng(0).dirichlet(np.ones(4), size=(50, 4))
    p = stationary(matrix)
    np.testing.assert_allclose(np.einsum("cs,cst->ct", p, matrix), p, atol=1e-12)
    np.testing.assert_allclose(p.sum(axis=-1), 1)
    np.testing.assert_allclose(stationary(np.array([[0.9, 0.1], [0.3, 0.7]])), [0.75, 0.25])


class OneMatrix:
    """A random generator whose every transition matrix is the given one."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix, self.rng = matrix, np.random.default_rng(0)

    def dirichlet(self, alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        assert alpha.tolist() == [1.0] * size[1] == [1.0] * len(self.matrix)
        return np.broadcast_to(self.matrix, (*size, len(alpha)))

    def random(self, size: tuple[int, ...]) -> np.ndarray:
        return self.rng.random(size)


def test_chains_follow_their_matrix_from_its_stationary_distribution_on() -> None:
    matrix = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.0, 0.6, 0.4]])
    n = 40_000
    states = draw_chains(OneMatrix(matrix), n, 6, 3)  # type: ignore[arg-type]
    p = stationary(matrix)
    for at in (0, 5):
        np.testing.assert_allclose(np.bincount(states[:, at], minlength=3) / n, p, atol=4 * 0.5 / n**0.5)
    for before in range(3):
        after = states[states[:, 4] == before, 5]
        error = 4 * 0.5 / len(after) ** 0.5
        np.testing.assert_allclose(np.bincount(after, minlength=3) / len(after), matrix[before], atol=error)


def test_every_sequence_has_a_matrix_of_its_own() -> None:
    # One matrix for all would make transitions of different sequences alike: Dirichlet(1, 1) rows are uniform, so a
    # share of stays spreads over [0, 1] with standard deviation 1 / sqrt(12), over 0.29.
    states = draw_chains(np.random.default_rng(0), 2000, 400, 2)
    stays = [(row[1:] == row[:-1])[row[:-1] == 0].mean() for row in states if (row[:-1] == 0).sum() > 30]
    assert np.std(stays) == pytest.approx(12**-0.5, abs=0.03)


@pytest.mark.parametrize("name", ["uniform", "unigram", "bigram"])
def test_a_model_that_is_a_predictor_is_at_distance_zero_from_it_alone(name: str) -> None:
    states = draw_chains(np.random.default_rng(1), 64, 50, 3)
    found = divergences(states, np.log(predictions(states, 3)[name]))
    assert found.pop(f"kl_{name}") == pytest.approx(0, abs=1e-12)
    assert min(found.values()) > 0.01


def test_divergences_are_of_the_predictor_from_the_model_by_hand() -> None:
    # One state seen of two: the unigram says 2/3 and 1/3, the others have counted nothing and say halves.
    found = divergences(np.array([[0]]), np.log([[[3 / 4, 1 / 4]]]))
    halves = np.log(2 / 3) / 2 + np.log(2) / 2
    unigram = 2 / 3 * np.log((2 / 3) / (3 / 4)) + 1 / 3 * np.log((1 / 3) / (1 / 4))
    assert found == pytest.approx({"kl_uniform": halves, "kl_unigram": unigram, "kl_bigram": halves}, abs=1e-12)


def test_no_predictor_loses_less_than_the_bigram_one() -> None:
    states = draw_chains(np.random.default_rng(2), 500, 60, 3)
    chain, at = np.ogrid[:500, :59]
    losses = {name: -np.log(p[chain, at, states[:, 1:]]).mean() for name, p in predictions(states, 3).items()}
    assert losses["bigram"] < losses["unigram"] - 0.05 < losses["uniform"] - 0.1


def test_a_model_is_measured_on_the_states_alone() -> None:
    data = MarkovChains(MarkovConfig(3))
    probes = data.probes(ProbeConfig(n_repeated=2, n_text=5), 20)
    assert {name: each.tokens.shape for name, each in probes.items()} == {"chains": (2, 21), "text": (5, 21)}
    tokens = torch.tensor(probes["text"].tokens)
    assert (tokens[:, 0] == 0).all()
    assert set(tokens[:, 1:].unique().tolist()) == {1, 2, 3}

    def ignorant(tokens: torch.Tensor) -> torch.Tensor:
        return torch.tensor([7.0, 2.0, 2.0, 2.0]).expand(*tokens.shape, 4)  # the start token, then the states

    found = data.measures(ignorant, {"text": tokens})  # type: ignore[arg-type]
    assert found["kl_uniform"] == pytest.approx(0, abs=1e-12)
    assert found == pytest.approx(divergences(probes["text"].tokens[:, 1:] - 1, np.full((5, 20, 3), -np.log(3))))


def test_one_state_is_no_chain() -> None:
    with pytest.raises(ParameterError, match="n_states"):
        MarkovConfig(1)
