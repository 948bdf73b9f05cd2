"""Types of the compiled module; its meaning is documented where Python calls it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

# attention
HEAD_METRICS: list[str]

def prefix_matching_score(
    pattern: Any, tokens: NDArray[np.int64], offset: int, reduce: str, bos: int | None, threads: int | None
) -> NDArray[np.float64]: ...
def head_scores(
    pattern: Any, tokens: NDArray[np.int64], bos: int | None, threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]: ...

# loss
def position_losses(per_token_loss: Any, threads: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def in_context_learning_score(
    per_token_loss: Any, early: int, late: int, threads: int | None
) -> NDArray[np.float64]: ...
def in_context_learning_interval(
    per_token_loss: Any, early: int, late: int, level: float, resamples: int, seed: int, threads: int | None
) -> NDArray[np.float64]: ...
def loss_log_derivative(per_token_loss: Any, bandwidth: float, threads: int | None) -> NDArray[np.float64]: ...

class WindowDetector:
    def __init__(
        self,
        x: NDArray[np.float64],
        variance: NDArray[np.float64] | None,
        *,
        scale: str,
        base: str,
        flank: int,
        max_width: float | None,
        simulations: int,
        seed: int,
    ) -> None: ...
    def detect(
        self, signals: NDArray[np.float64], *, level: float, max_windows: int, min_size: float, threads: int | None
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]: ...
    def clearest(
        self, signals: NDArray[np.float64], *, threads: int | None
    ) -> list[tuple[float, tuple[int, int] | None]]: ...
