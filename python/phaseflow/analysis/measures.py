"""What is computed from each stored tensor of a step: one small class a measure, some columns a tensor.

A measure says which tensors it reads (by the prefix of their names), which parameters its numbers depend on (they
name its results on disk), and computes the rows of one tensor. Everything else, which steps are new, where results
are kept, is the same for all of them and lives in :mod:`phaseflow.analysis.tables`. Attention is read otherwise, many
tensors at a time: :mod:`phaseflow.analysis.patterns`.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import metrics, schema
from phaseflow._core import StoredTensor
from phaseflow.archive import Probe

# A text probe shorter than this many times the early index has no late tokens to speak of (the repeated probe, say).
LEAST_CONTEXT = 4

# Mapped in an archive, or an array that somebody else's file holds.
Tensor = StoredTensor | NDArray[Any]
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

    def rows(self, tensor: Any, probe: Probe) -> Values:
        """The rows of one tensor, without run, step and probe: a value a row in each of its columns."""
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

    def rows(self, tensor: Tensor, probe: Probe) -> Values:
        """One row a token index."""
        mean, standard_error = metrics.position_losses(tensor)
        return indexed({schema.VALUE: mean, schema.STANDARD_ERROR: standard_error})


@dataclass(frozen=True)
class LossDerivative:
    """Derivative with respect to ln(token index): :func:`phaseflow.loss_log_derivative`."""

    name: ClassVar[str] = "loss_derivative"
    prefix: ClassVar[str] = "loss/"
    columns: ClassVar[Columns] = {schema.TOKEN_INDEX: pl.Int32, schema.VALUE: pl.Float64}

    bandwidth: float = 0.25

    def parameters(self) -> dict[str, Any]:
        """The bandwidth."""
        return asdict(self)

    def applies(self, shape: tuple[int, ...]) -> bool:
        """Losses of a batch."""
        return len(shape) == 2

    def rows(self, tensor: Tensor, probe: Probe) -> Values:
        """One row a token index."""
        return indexed({schema.VALUE: metrics.loss_log_derivative(tensor, bandwidth=self.bandwidth)})


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

    def rows(self, tensor: Tensor, probe: Probe) -> Values:
        """One row."""
        tokens = self.tokens(tensor.shape[1])
        score = metrics.in_context_learning_score(tensor, **tokens)
        lower, upper = metrics.in_context_learning_interval(
            tensor, **tokens, level=self.level, resamples=self.resamples, seed=self.seed, method=self.method
        )
        return {
            schema.EARLY: np.array([tokens["early"]]),
            schema.LATE: np.array([tokens["late"]]),
            schema.VALUE: np.array([score]),
            schema.LOWER: np.array([lower]),
            schema.UPPER: np.array([upper]),
        }


def indexed(columns: Values) -> Values:
    """Columns over the positions of a context, with the 1-based token index in front."""
    length = len(next(iter(columns.values())))
    return {schema.TOKEN_INDEX: np.arange(1, length + 1, dtype=np.int32), **columns}
