"""An endless stream of Markov chains, each with a matrix of its own, and what can be predicted of them (Edelman 2024).

A sequence is a chain over `k` states. Its transition matrix is drawn for it alone, rows from Dirichlet(1, ..., 1), its
first state from the matrix' stationary distribution (**choice**: then unigram counts estimate one distribution all
along). A model can know it only from the sequence so far. Predictors of the state after position t:

    uniform   1 / k
    unigram   (count of the state so far + 1) / (t + k)                                  t states seen so far
    bigram    (count of the state after the current one + 1) / (n + k)                   n of these transitions seen

The bigram predictor is the rule of succession for each row: exactly the posterior mean under the prior that draws
them, so no predictor has a lower expected loss (but for what the first state, drawn from the stationary distribution,
tells of the matrix).

**Convention**: state s is token s + 1; token 0 starts every sequence. `divergences` are KL(predictor || model) in nats,
means over sequences and positions, of the model's distribution over states: given that no start token follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phaseflow.archive import Probe
from phaseflow.exceptions import ParameterError
from phaseflow.training.data import TEXT, Stream
from phaseflow.training.probe import ProbeConfig

if TYPE_CHECKING:
    from phaseflow.training.model import Transformer

PREDICTORS = ("uniform", "unigram", "bigram")
CHAINS = "chains"  # the probe whose patterns are archived


@dataclass(frozen=True)
class MarkovConfig:
    """How many states a chain has."""

    kind: ClassVar[str] = "markov"
    repeats: ClassVar[bool] = False  # a few states cannot make a passage of different tokens

    n_states: int = 3  # Edelman 2024's smallest that tells all three predictors well apart

    def __post_init__(self) -> None:
        if self.n_states < 2:
            raise ParameterError(f"n_states must be at least 2, got {self.n_states}")

    @property
    def n_vocab(self) -> int:
        """The states and the start token."""
        return self.n_states + 1

    def build(self) -> "MarkovChains":
        """The stream; there is nothing to read."""
        return MarkovChains(self)


class MarkovChains(Stream):
    """Chains, new matrices in every batch."""

    def __init__(self, config: MarkovConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def description(self) -> str:
        """Which chains."""
        return f"Markov chains of {self.config.n_states} states, a new matrix for each"

    def draw(self, rng: np.random.Generator, n: int, length: int) -> NDArray[np.int64]:
        """Chains as tokens, (n, length)."""
        return draw_chains(rng, n, length, self.config.n_states) + 1

    def probes(self, config: ProbeConfig, context: int) -> dict[str, Probe]:
        """`chains`, a few whose patterns are archived, and `text`, many whose losses and divergences are."""
        sequences = self.with_start(self.draw_held_out(config.n_repeated + config.n_text, context, config.seed))
        return {
            CHAINS: self.probe_of(sequences[: config.n_repeated]),
            TEXT: self.probe_of(sequences[config.n_repeated :]),
        }

    def measures(self, model: "Transformer", tokens: Mapping[str, Tensor]) -> dict[str, float]:
        """How far the model is from each predictor: `kl_uniform`, `kl_unigram`, `kl_bigram`."""
        seen = tokens[TEXT]
        with torch.no_grad():
            log_probabilities = torch.log_softmax(model(seen)[:, 1:, 1:].double(), -1)  # (batch, pos, state)
        return divergences(seen[:, 1:].cpu().numpy() - 1, log_probabilities.cpu().numpy())


def draw_chains(rng: np.random.Generator, n: int, length: int, n_states: int) -> NDArray[np.int64]:
    """Chains of states from 0, (n, length), each of a new matrix."""
    matrix = rng.dirichlet(np.ones(n_states), size=(n, n_states))  # (n, from, to)
    uniform = rng.random((length, n, 1))
    until = matrix.cumsum(axis=-1)[..., :-1]  # the last state takes what rounding leaves
    chain = np.arange(n)
    states = np.empty((length, n), dtype=np.int64)
    states[0] = (uniform[0] >= stationary(matrix).cumsum(axis=-1)[:, :-1]).sum(axis=-1)
    for at in range(1, length):
        states[at] = (uniform[at] >= until[chain, states[at - 1]]).sum(axis=-1)
    return states.T.copy()


def stationary(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distribution that each matrix (..., from, to) leaves as it is, (..., state): p (I - M + 1) = (1, ..., 1)."""
    n_states = matrix.shape[-1]
    system = np.swapaxes(np.eye(n_states) - matrix + 1.0, -1, -2)
    solution = np.linalg.solve(system, np.ones((*matrix.shape[:-1], 1)))
    return solution[..., 0].astype(np.float64)


def predictions(states: NDArray[np.int64], n_states: int) -> dict[str, NDArray[np.float64]]:
    """What each predictor says of the state after every position, (chain, pos, state)."""
    n, length = states.shape
    is_state = np.eye(n_states)[states]  # (chain, pos, state)
    seen = np.arange(1, length + 1)[:, None]  # t
    followed = np.zeros((n, n_states, n_states))  # (chain, from, to), of the transitions so far
    bigram = np.empty((n, length, n_states))
    chain = np.arange(n)
    for at in range(length):
        if at:
            followed[chain, states[:, at - 1], states[:, at]] += 1
        counts = followed[chain, states[:, at]]
        bigram[:, at] = (counts + 1) / (counts.sum(axis=-1, keepdims=True) + n_states)
    return {
        "uniform": np.full((n, length, n_states), 1 / n_states),
        "unigram": (is_state.cumsum(axis=1) + 1) / (seen + n_states),
        "bigram": bigram,
    }


def divergences(states: NDArray[np.int64], log_probabilities: NDArray[np.float64]) -> dict[str, float]:
    """KL from each predictor to a model that gives `log_probabilities` (chain, pos, state) of the next state."""
    known = predictions(states, log_probabilities.shape[-1])
    return {f"kl_{name}": float((p * (np.log(p) - log_probabilities)).sum(axis=-1).mean()) for name, p in known.items()}
