"""Types of the compiled module; its meaning is documented where Python calls it."""

import os
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HEAD_METRICS",
    "ConvexityTest",
    "HeadScores",
    "OnlineRuns",
    "PatternParts",
    "Shard",
    "StoredTensor",
    "TokenGrid",
    "TokenIndex",
    "TokenNull",
    "WindowDetector",
    "__version__",
    "checksum",
    "composition_scores",
    "copying_score",
    "detect",
    "detect_series",
    "existence_p_values",
    "factored_eigenvalues",
    "feature_dimensionality",
    "feature_geometry",
    "feature_measures",
    "head_scores",
    "head_scores_of_compact",
    "in_context_learning_interval",
    "in_context_learning_score",
    "least_segment",
    "log_derivative",
    "loss_gram",
    "loss_log_derivative",
    "loss_log_derivative_error",
    "loss_summary",
    "may_stay_cached",
    "ov_copying_statistic",
    "ov_eigenvalues",
    "place_intervals",
    "position_losses",
    "prefix_matching_score",
    "prefix_matching_score_of_compact",
    "qk_previous_token_term",
    "qk_previous_token_traces",
    "read_shard_header",
    "run_length_posterior",
    "sample_tokens",
    "scan_head_scores",
    "scan_losses",
    "single_changes",
    "write_file",
    "write_shard",
]

__version__: str

# archive: an entry is (name, dtype, shape, offset, length, checksum)
_Path = str | os.PathLike[str]
_Entry = tuple[str, str, list[int], int, int, str | None]

@final
class StoredTensor:
    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @staticmethod
    def in_file(path: _Path, name: str, dtype: str, shape: Sequence[int], offset: int) -> StoredTensor: ...
    def part(self, indices: Sequence[int]) -> StoredTensor: ...
    def reshape(self, shape: Sequence[int]) -> StoredTensor: ...
    def load(self) -> None: ...
    def prefetch(self, start: int, stop: int) -> None: ...
    def release(self, start: int, stop: int, stays_cached: bool) -> None: ...
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]: ...

@final
class Shard:
    def __new__(cls, path: _Path) -> Shard: ...
    @property
    def entries(self) -> list[_Entry]: ...
    @property
    def notes(self) -> dict[str, str]: ...
    def tensor(self, name: str) -> StoredTensor: ...
    def verify(self, progress: Callable[[int], object] | None = None) -> list[tuple[str, str, str]]: ...

def read_shard_header(path: _Path) -> tuple[list[_Entry], dict[str, str], bool]: ...
def write_shard(
    path: _Path,
    tensors: Sequence[tuple[str, str, Sequence[int], NDArray[np.uint8]]],
    notes: dict[str, str],
) -> list[_Entry]: ...
def write_file(path: _Path, content: bytes) -> None: ...
def checksum(content: bytes) -> str: ...
def may_stay_cached(bytes: int) -> bool: ...

# attention
HEAD_METRICS: list[str]

@final
class HeadScores:
    @property
    def value(self) -> NDArray[np.float64]: ...
    @property
    def standard_error(self) -> NDArray[np.float64]: ...
    @property
    def chance(self) -> NDArray[np.float64]: ...
    @property
    def n_queries(self) -> NDArray[np.int64]: ...
    @property
    def example_value(self) -> NDArray[np.float64]: ...
    @property
    def example_chance(self) -> NDArray[np.float64]: ...
    @property
    def example_queries(self) -> NDArray[np.int64]: ...
    @property
    def unnormalised_rows(self) -> NDArray[np.int64]: ...
    @property
    def nonfinite_entries(self) -> NDArray[np.int64]: ...

def prefix_matching_score(
    pattern: Any, tokens: NDArray[np.int64], offset: int, reduce: str, bos: int | None, threads: int | None
) -> NDArray[np.float64]: ...
def head_scores(pattern: Any, tokens: NDArray[np.int64], bos: int | None, threads: int | None) -> HeadScores: ...

# scan
@final
class TokenIndex:
    def __new__(cls, tokens: NDArray[np.int64], bos: int | None) -> TokenIndex: ...

@final
class PatternParts:
    def __new__(cls, index: TokenIndex, batch: int, heads: int) -> PatternParts: ...
    def add(self, example: int, head: int, part: Any, threads: int | None) -> None: ...
    def scores(self) -> HeadScores: ...

def scan_head_scores(
    patterns: Sequence[StoredTensor | tuple[StoredTensor, StoredTensor, StoredTensor, float]],
    indices: Sequence[TokenIndex],
    memory: int,
    threads: int | None,
    progress: Callable[[int], object] | None,
) -> list[HeadScores | Exception]: ...

# circuit
def composition_scores(
    w_q: Any, w_k: Any, w_v: Any, w_o: Any, kind: str, subtract_baseline: bool, threads: int | None
) -> NDArray[np.float64]: ...
def copying_score(
    pattern: Any, values: Any, w_o: Any, w_u: Any, tokens: NDArray[np.int64], threads: int | None
) -> NDArray[np.float64]: ...
def factored_eigenvalues(left: Any, right: Any, threads: int | None) -> NDArray[np.complex128]: ...
def ov_eigenvalues(w_e: Any, w_v: Any, w_o: Any, w_u: Any, threads: int | None) -> NDArray[np.complex128]: ...
def ov_copying_statistic(w_e: Any, w_v: Any, w_o: Any, w_u: Any, threads: int | None) -> NDArray[np.float64]: ...
def qk_previous_token_term(
    w_e: Any, w_q: Any, w_k: Any, w_v: Any, w_o: Any, previous_token_scores: NDArray[np.float64], threads: int | None
) -> NDArray[np.float64]: ...
def qk_previous_token_traces(
    w_e: Any, w_q: Any, w_k: Any, w_v: Any, w_o: Any, threads: int | None
) -> NDArray[np.float64]: ...
def prefix_matching_score_of_compact(
    pattern: Any, tokens: NDArray[np.int64], offset: int, reduce: str, bos: int | None, threads: int | None
) -> NDArray[np.float64]: ...
def head_scores_of_compact(
    pattern: Any, tokens: NDArray[np.int64], bos: int | None, threads: int | None
) -> HeadScores: ...

# loss
def position_losses(per_token_loss: Any, threads: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def loss_summary(
    per_token_loss: Any, early: int, late: int, bandwidth: float, threads: int | None
) -> list[NDArray[np.float64]]: ...
def in_context_learning_score(
    per_token_loss: Any, early: int, late: int, bandwidth: float, threads: int | None
) -> NDArray[np.float64]: ...
def in_context_learning_interval(
    per_token_loss: Any,
    early: int,
    late: int,
    bandwidth: float,
    level: float,
    resamples: int,
    seed: int,
    method: str,
    threads: int | None,
) -> NDArray[np.float64]: ...
def loss_log_derivative(per_token_loss: Any, bandwidth: float, threads: int | None) -> NDArray[np.float64]: ...
def loss_log_derivative_error(per_token_loss: Any, bandwidth: float, threads: int | None) -> NDArray[np.float64]: ...
def log_derivative(
    mean: NDArray[np.float64], standard_error: NDArray[np.float64], bandwidth: float
) -> NDArray[np.float64]: ...
def scan_losses(
    tensors: Sequence[StoredTensor],
    tokens: Sequence[tuple[int, int, float] | None],
    keep: bool,
    threads: int | None,
    progress: Callable[[int], object] | None,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | Exception]: ...
def sample_tokens(losses: Any) -> NDArray[np.float64]: ...
def loss_gram(
    losses: Sequence[Any], start: int, stop: int, threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]: ...

@final
class TokenGrid:
    def __new__(cls, steps: NDArray[np.float64]) -> TokenGrid: ...
    def noise(self, losses: NDArray[np.float64], *, threads: int | None) -> NDArray[np.float64]: ...
    def far_share(self, losses: NDArray[np.float64], *, threads: int | None) -> float: ...
    def with_noise(self, noise: NDArray[np.float64]) -> TokenGrid: ...
    @property
    def ramps(self) -> list[tuple[int, int]]: ...
    def scan(self, losses: Sequence[Any], start: int, stop: int, *, threads: int | None) -> dict[str, NDArray[Any]]: ...
    def null(
        self, wander: NDArray[np.uint8], far_share: float, *, simulations: int, seed: int, threads: int | None
    ) -> TokenNull: ...

@final
class TokenNull:
    def p_values(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]: ...
    @property
    def placed(self) -> NDArray[np.float64]: ...

_Three = tuple[float, float, float]

@final
class OnlineRuns:
    def __new__(
        cls,
        observation: str,
        prior: list[tuple[str, float]],
        *,
        expected_length: float,
        min_size: int,
        least: float,
        most: int,
        certainty: float,
        level: float,
    ) -> OnlineRuns: ...
    def update(self, x: float, value: float) -> tuple[int, float, float, float, float, _Three, _Three] | None: ...
    @property
    def probability(self) -> float: ...
    @property
    def log_evidence(self) -> float: ...
    @property
    def count(self) -> int: ...
    def posterior(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]: ...
    def store(self) -> tuple[int, list[float]]: ...
    def restore(self, since: int, numbers: list[float]) -> None: ...

@final
class ConvexityTest:
    def __new__(
        cls, x: NDArray[np.float64], variance: NDArray[np.float64] | None, *, simulations: int, seed: int
    ) -> ConvexityTest: ...
    def bumps(
        self, curves: NDArray[np.float64], *, level: float, threads: int | None
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]: ...

@final
class WindowDetector:
    def __new__(
        cls,
        x: NDArray[np.float64],
        variance: NDArray[np.float64] | None,
        *,
        scale: str,
        base: str,
        flank: int,
        max_width: float | None,
        simulations: int,
        seed: int,
        thresholds_of: WindowDetector | None = None,
    ) -> WindowDetector: ...
    def detect(
        self, signals: NDArray[np.float64], *, level: float, max_windows: int, min_size: float, threads: int | None
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]: ...
    def clearest(
        self, signals: NDArray[np.float64], *, threads: int | None
    ) -> list[tuple[float, tuple[int, int] | None]]: ...

def detect(
    x: NDArray[np.float64],
    signal: NDArray[np.float64],
    *,
    cost: str,
    search: str,
    penalty: float | str,
    n_changepoints: int | None,
    min_size: int,
    jump: int,
    width: int | None,
    shape: str,
    order: int,
    threads: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], float | None, float | None, float | None, str]: ...
def least_segment(
    *, cost: str, penalty: float | str, n_changepoints: int | None, min_size: int, order: int, features: int
) -> int: ...
def place_intervals(
    x: NDArray[np.float64],
    signal: NDArray[np.float64],
    changepoints: list[int],
    *,
    cost: str,
    min_size: int,
    order: int,
    lasting: bool,
    level: float,
) -> NDArray[np.int64]: ...
def existence_p_values(
    x: NDArray[np.float64],
    signal: NDArray[np.float64],
    changepoints: list[int],
    *,
    cost: str,
    min_size: int,
    order: int,
    lasting: bool,
    threads: int | None,
) -> NDArray[np.float64]: ...
def detect_series(
    x: NDArray[np.float64],
    signals: Any,
    offsets: NDArray[np.uint64] | None,
    *,
    cost: str,
    search: str,
    penalty: float | str,
    n_changepoints: int | None,
    min_size: int,
    jump: int,
    shape: str,
    order: int,
    threads: int | None,
) -> dict[str, NDArray[Any]]: ...
def run_length_posterior(
    x: NDArray[np.float64],
    signal: NDArray[np.float64],
    observation: str,
    prior: list[tuple[str, float]],
    *,
    expected_length: float,
    min_size: int,
    least: float,
    most: int,
    shown: float,
) -> tuple[dict[str, NDArray[Any]], float]: ...
def single_changes(
    signals: Any, offsets: NDArray[np.uint64] | None, *, direction: str, min_size: int, threads: int | None
) -> dict[str, NDArray[Any]]: ...

# superposition
def feature_dimensionality(w: Any, threads: int | None) -> NDArray[np.float64]: ...
def feature_measures(
    w: Any, threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def feature_geometry(
    w: Any, learned: float, edge: float, tolerance: float, threads: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str], NDArray[np.float64]]: ...
