"""What is computed from the losses of every step: one small class a measure, some columns a tensor.

A measure says which tensors it reads (by the prefix of their names), which tokens it compares, which parameters its
numbers depend on (they name its results on disk), and computes the rows of many tensors from what one reading of each
gives, or a second one where it must. Everything else, which steps are new, where results are kept, is the same for all
of them and lives in :mod:`phaseflow.analysis.tables`. Attention is read otherwise: :mod:`phaseflow.analysis.patterns`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import _core, metrics, schema
from phaseflow.analysis.loss_scan import Losses, Tokens
from phaseflow.exceptions import ParameterError
from phaseflow.metrics import _inputs

# A text probe shorter than this many times the early index has no late tokens to speak of (the repeated probe, say).
LEAST_CONTEXT = 4

Again = Callable[[], Iterator[Any]]
Columns = dict[str, pl.DataType | type[pl.DataType]]
Values = dict[str, NDArray[Any]]


class Measure(Protocol):
    """What :func:`phaseflow.analysis.tables.table` needs to know of a measure."""

    name: ClassVar[str]
    prefix: ClassVar[str]  # of the names of the tensors it reads
    columns: ClassVar[Columns]

    def parameters(self) -> dict[str, Any]:
        """Everything its numbers depend on besides the tensor."""
        ...

    def applies(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape has this measure."""
        ...

    def compared(self, context: int) -> Tokens | None:
        """Early token, late token and bandwidth compared in a context of that length; None where none are."""
        ...

    def rows(self, losses: Sequence[Losses], again: Again) -> list[Values]:
        """The rows of each tensor, without run, step and probe: a value a row in each of its columns.

        ``again`` reads the same tensors a second time, for what one reading does not give.
        """
        ...


@dataclass(frozen=True)
class PositionLosses:
    """Mean loss and its standard error at every token index: :func:`phaseflow.position_losses`."""

    name: ClassVar[str] = "position_losses"
    prefix: ClassVar[str] = "loss/"
    columns: ClassVar[Columns] = {
        schema.TOKEN_INDEX: pl.Int32,
        schema.VALUE: pl.Float64,
        schema.STANDARD_ERROR: pl.Float64,
    }

    def parameters(self) -> dict[str, Any]:
        """None."""
        return {}

    def applies(self, shape: tuple[int, ...]) -> bool:
        """Losses of a batch."""
        return len(shape) == 2

    def compared(self, context: int) -> Tokens | None:
        """None."""
        return None

    def rows(self, losses: Sequence[Losses], again: Again) -> list[Values]:
        """One row a token index."""
        return [indexed({schema.VALUE: one.mean, schema.STANDARD_ERROR: one.standard_error}) for one in losses]


@dataclass(frozen=True)
class LossDerivative:
    """Derivative with respect to ln(token index) and its standard error: :func:`phaseflow.loss_log_derivative`."""

    name: ClassVar[str] = "loss_derivative"
    prefix: ClassVar[str] = "loss/"
    columns: ClassVar[Columns] = {
        schema.TOKEN_INDEX: pl.Int32,
        schema.VALUE: pl.Float64,
        schema.STANDARD_ERROR: pl.Float64,
    }

    bandwidth: float = 0.25

    def parameters(self) -> dict[str, Any]:
        """The bandwidth."""
        return asdict(self)

    def check(self) -> None:
        """Refuses a bandwidth that is none."""
        metrics.loss_log_derivative(np.empty((0, 0)), bandwidth=self.bandwidth)

    def applies(self, shape: tuple[int, ...]) -> bool:
        """Losses of a text."""
        return InContextLearning().applies(shape)

    def compared(self, context: int) -> Tokens | None:
        """None."""
        return None

    def rows(self, losses: Sequence[Losses], again: Again) -> list[Values]:
        """One row a token index."""
        found: list[Values] = []
        for one, tensor in zip(losses, again(), strict=True):
            slope = _core.log_derivative(one.mean, one.standard_error, self.bandwidth)
            # The tokens of an example go together: the error of the slope is not that of independent means.
            error = _core.loss_log_derivative_error(tensor, self.bandwidth, None)
            found.append(indexed({schema.VALUE: slope, schema.STANDARD_ERROR: error}))
        return found


@dataclass(frozen=True)
class InContextLearning:
    """In-context learning score and its bootstrap interval: :func:`phaseflow.in_context_learning_score`.

    Where the examples are shorter than ``late``, their last token stands in; the table's column ``late`` says so.
    Archives hold hundreds of examples, not the paper's ten thousand: the tokens around the two are averaged.
    """

    name: ClassVar[str] = "in_context_learning"
    prefix: ClassVar[str] = "loss/"
    columns: ClassVar[Columns] = {
        schema.EARLY: pl.Int32,
        schema.LATE: pl.Int32,
        schema.VALUE: pl.Float64,
        schema.LOWER: pl.Float64,
        schema.UPPER: pl.Float64,
    }

    early: int = 50
    late: int = 500
    bandwidth: float = 0.25
    level: float = 0.95
    resamples: int = 1000
    seed: int = 0
    method: str = "studentized"  # the best covered of the three

    def parameters(self) -> dict[str, Any]:
        """All of them."""
        return asdict(self)

    def applies(self, shape: tuple[int, ...]) -> bool:
        """Losses of examples long enough to have late tokens."""
        return len(shape) == 2 and shape[1] >= LEAST_CONTEXT * self.early

    def tokens(self, context: int) -> dict[str, Any]:
        """The tokens compared in a context of that length."""
        return {"early": self.early, "late": min(self.late, context), "bandwidth": self.bandwidth}

    def check(self) -> None:
        """Refuses tokens that cannot be compared in any context: what no tensor has is no fault of the tensors."""
        longest = max(_inputs.integer("early", self.early, least=1), _inputs.integer("late", self.late, least=1))
        metrics.in_context_learning_score(np.empty((0, longest)), **self.tokens(longest))

    def check_reach(self, contexts: Sequence[int]) -> None:
        """Refuses an early token that was asked for and that is too late for every one of the contexts."""
        longest = max(contexts, default=None)
        if longest is not None and self.early != type(self).early and longest < LEAST_CONTEXT * self.early:
            raise ParameterError(
                f"early is {self.early}, expected at most {longest // LEAST_CONTEXT}: only contexts of at least "
                f"{LEAST_CONTEXT} times early are scored, and the longest here has {longest} tokens"
            )

    def compared(self, context: int) -> Tokens:
        """The same."""
        return self.early, min(self.late, context), self.bandwidth

    def rows(self, losses: Sequence[Losses], again: Again) -> list[Values]:
        """One row."""
        resampling: dict[str, Any] = {
            "level": self.level,
            "resamples": self.resamples,
            "seed": self.seed,
            "method": self.method,
        }
        found: list[Values] = []
        # Checkpoints of as many examples share their resamples, which are drawn once.
        for _, alike in groupby(losses, key=lambda one: len(one.late_minus_early)):
            group = list(alike)
            late = np.stack([one.late_minus_early for one in group])
            pairs = np.stack([np.zeros_like(late), late], axis=-1)
            scores = metrics.in_context_learning_score(pairs, early=1, late=2)
            ends = metrics.in_context_learning_interval(pairs, early=1, late=2, **resampling)
            for one, score, (lower, upper) in zip(group, scores, ends, strict=True):
                row = {
                    schema.EARLY: self.early,
                    schema.LATE: min(self.late, len(one.mean)),
                    schema.VALUE: score,
                    schema.LOWER: lower,
                    schema.UPPER: upper,
                }
                found.append({column: np.array([value]) for column, value in row.items()})
        return found


def indexed(columns: Values) -> Values:
    """Columns over the positions of a context, with the 1-based token index in front."""
    length = len(next(iter(columns.values())))
    return {schema.TOKEN_INDEX: np.arange(1, length + 1, dtype=np.int32), **columns}
