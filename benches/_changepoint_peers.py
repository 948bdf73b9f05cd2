"""Other people's detectors beside ours, each if it is installed: ``pip install -r benches/peers.txt``.

Every function returns contenders ``{name: () -> changepoints}`` for one problem in the words of the peer: the same cost
and price of a changepoint, every sample a candidate.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

Contenders = dict[str, Callable[[], list[int]]]
_absent: set[str] = set()


def module(name: str) -> Any:
    """The module, or None with one line about it."""
    try:
        return import_module(name)
    except ImportError:
        if name not in _absent:
            print(f"{name} is not installed: left out")
            _absent.add(name)
        return None


def levels(y: np.ndarray, penalty: float, most: int) -> Contenders:
    """Cost l2, exact; ``most`` samples for those that are not linear in them."""
    found: Contenders = {}
    if fpop := module("skchange.detectors._fpop"):
        found["skchange FPOP (numba)"] = lambda: fpop._backtrack(fpop._fpop_mean(y, penalty)).tolist()
    if (fastcpd := module("fastcpd")) and len(y) <= 50 * most:
        # Its cost is half of l2 for noise of variance 1.
        options = {"beta": penalty / 2, "cost_adjustment": "BIC", "variance_estimation": np.eye(1)}
        found["fastcpd mean"] = lambda: _inner(fastcpd.detect_mean(y[:, None], **options).cp_set, y)
    return found | _ruptures_like(y, "l2", penalty, 1, most)


def other(y: np.ndarray, cost: str, penalty: float, most: int) -> Contenders:
    """Another cost, exact, at least 2 samples in a segment."""
    if cost == "rbf":
        rustures = module("rustures")
        if not rustures or len(y) > 5 * most:
            return {}
        return {
            "rustures KernelCPD": lambda: rustures.KernelCPD(kernel="rbf", min_size=2).fit(y[:, None])
            .predict(pen=penalty)[:-1]
        }  # fmt: skip
    return _ruptures_like(y, cost, penalty, 2, most)


def otherwise(y: np.ndarray, cost: str) -> Contenders:
    """The same cost with a penalty of the peer's own."""
    if cost != "normal" or not (fastcpd := module("fastcpd")):
        return {}
    return {"fastcpd, its own penalty": lambda: _inner(fastcpd.detect_meanvariance(y[:, None]).cp_set, y)}


def window_scan(rows: np.ndarray, u: np.ndarray) -> dict[str, Callable[[], Any]]:
    """One scan of all ramps beside a power law for each row, in numba: the closed form and nothing else."""
    if not (numba := module("numba")):
        return {}
    t = 10.0 ** (u - u.mean())
    base, _ = np.linalg.qr(np.stack([np.ones_like(u), u, t**-0.25, t**-0.5], axis=1))
    places = np.arange(4, len(u) - 4)
    hinges = np.maximum(u - u[places, None], 0.0)
    hinges -= (hinges @ base) @ base.T
    gram = hinges @ hinges.T
    spread = np.diag(gram)[:, None] + np.diag(gram) - 2 * gram
    inverse = np.where(spread > 1e-12 * spread.max(), 1 / np.where(spread > 0, spread, 1), 0)

    @numba.njit(parallel=True, fastmath=True)
    def best(b: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        gains = np.zeros(len(b))
        for row in numba.prange(len(b)):
            for i in range(b.shape[1]):
                for j in range(i + 1, b.shape[1]):
                    gains[row] = max(gains[row], (b[row, i] - b[row, j]) ** 2 * inverse[i, j])
        return gains

    return {"numba, one scan at one known noise": lambda: best(rows @ hinges.T, inverse)}


def lines(design: np.ndarray, penalty: float, most: int) -> Contenders:
    """Cost linear, exact, at least 3 samples in a segment; ``design`` is y, x, 1."""
    return _ruptures_like(design, "linear", penalty, 3, most)


def greedy(y: np.ndarray, penalty: float) -> Contenders:
    """Binary segmentation, cost l2, at least 2 samples in a segment."""
    found: Contenders = {}
    for name in ("ruptures_rs", "rustures"):
        if peer := module(name):
            found[f"{name} Binseg"] = lambda peer=peer: (
                peer.Binseg(model="l2", min_size=2, jump=1).fit(y[:, None]).predict(pen=penalty)[:-1]
            )
    return found


def greedy_otherwise(y: np.ndarray) -> Contenders:
    """Binary segmentation that decides by itself when to stop: only its time compares."""
    if not (changeforest := module("changeforest")):
        return {}
    return {
        "changeforest, its own stop": lambda: changeforest.changeforest(
            y[:, None], "change_in_mean", "bs"
        ).split_points()
    }


def many(rows: np.ndarray, penalty: float) -> dict[str, Callable[[], list[list[int]]]]:
    """Cost l2, one series after the other."""
    found: dict[str, Callable[[], list[list[int]]]] = {}
    if fpop := module("skchange.detectors._fpop"):
        found["skchange FPOP (numba), a loop"] = lambda: [
            fpop._backtrack(fpop._fpop_mean(y, penalty)).tolist() for y in rows
        ]
    return found


def _ruptures_like(signal: np.ndarray, model: str, penalty: float, min_size: int, most: int) -> Contenders:
    """The quicker of the two gets five times as many samples."""
    signal = signal if signal.ndim == 2 else signal[:, None]
    found: Contenders = {}
    for name, samples in (("ruptures_rs", 5 * most), ("rustures", most)):
        if len(signal) <= samples and (peer := module(name)):
            found[f"{name} Pelt"] = lambda peer=peer: (
                peer.Pelt(model=model, min_size=min_size, jump=1).fit(signal).predict(pen=penalty)[:-1]
            )
    return found


def _inner(places: np.ndarray, y: np.ndarray) -> list[int]:
    return [int(place) for place in places if 0 < place < len(y)]
