"""Windows into tokens of several files in a row, none of which crosses from one file into the next."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow.exceptions import MissingDataError


@dataclass(frozen=True)
class Split:
    """Tokens of several files in a row, `tokens` (token,); file `i` is `[bounds[i], bounds[i + 1])`."""

    tokens: NDArray[np.integer[Any]]  # may be mapped from a file: windows are read, never the whole
    bounds: NDArray[np.int64]

    def windows(self, length: int) -> NDArray[np.int64]:
        """Running number of windows of `length` tokens inside the files so far, (file + 1,); the last is all."""
        inside = np.maximum(np.diff(self.bounds) - length + 1, 0)
        return np.concatenate([[0], np.cumsum(inside)])

    def window(self, running: NDArray[np.int64], index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Windows number `index` of all, (index, length); `running` comes from `windows(length)`."""
        file = np.searchsorted(running, index, side="right") - 1
        start = self.bounds[file] + index - running[file]
        return np.asarray(self.tokens[start[:, None] + np.arange(length)]).astype(np.int64)

    def draw(self, rng: np.random.Generator, n: int, length: int) -> NDArray[np.int64]:
        """Windows anywhere, each as likely as any other, (n, length)."""
        running = self._some_windows(length)
        return self.window(running, rng.integers(running[-1], size=n), length)

    def draw_different(self, n: int, length: int, seed: int) -> NDArray[np.int64]:
        """Different windows, (n, length); the same at every call."""
        running = self._some_windows(length)
        if running[-1] < n:
            raise MissingDataError(
                f"{n} held-out examples asked for, but the held-out files have {running[-1]} windows of {length} tokens"
            )
        return self.window(running, np.random.default_rng(seed).choice(running[-1], n, replace=False), length)

    def _some_windows(self, length: int) -> NDArray[np.int64]:
        running = self.windows(length)
        if running[-1] == 0:
            raise MissingDataError(
                f"no file has {length} tokens: name a source with longer files, or a shorter context"
            )
        return running
