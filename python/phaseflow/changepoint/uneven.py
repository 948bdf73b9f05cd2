"""Windows of curves whose noise may be stronger in places: with every variance that the curve allows.

A curve is tried in even noise, or, where its neighbouring samples contradict that clearly, in the noise that they
show. Without a significant window it is done, because its p-value could only grow. What a curve with one has beside
its windows gives the amplitude of its noise with an interval, and the window must be significant with the amplitudes
at both ends, and in even noise unless that is clearly wrong; with few samples, of which base and window take the larger
part, in what the neighbours show as well. The largest p-value counts (Berger and Boos 1994: the largest over a
confidence set of what is not known).

A curve's further windows are held against the same: each against those that overlap it there.

Given its own variance the statistic is distributed nearly as in even noise: the quantiles of 1,500 curves are the same
to their own error up to amplitude 1, and a p-value of .05 is one of .02 to .08 in the worst at 3. So even noise lends
its simulated thresholds to small amplitudes, and each further `_ALIKE` of amplitude has its own.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core, schema
from phaseflow.changepoint.variance import (
    FLOOR,
    LEAST,
    STEP,
    Slope,
    contradicted,
    errors,
    neighbour_squares,
    profiles_of,
    slopes,
)

#: A detector for noise of this variance, with the thresholds of another one.
MakeDetector = Callable[[NDArray[np.float64] | None, "_core.WindowDetector | None"], "_core.WindowDetector"]

# Standard errors from 0 at which an amplitude
_SCREEN = 3.5  # that neighbouring samples show contradicts even noise,
_NOTED = 2.0  # that they show is among the noise a window is held against,
_CLEAR = 4.0  # of what is left beside the windows rules even noise out: they are described in the likeliest instead.
_REACH = 1.645  # of the interval of an amplitude, 90 %
_UNSURE = 0.25  # standard error of an amplitude above which neighbours are asked as well: some 40 samples
_SHARED = 1 / 2.63  # fourth differences: one over the sum of their squared autocorrelations
_TAKEN = 10  # samples' worth of freedom that the base takes, about
_ALIKE = 2.0
_AT_ONCE = 256  # curves, of a size that stays in the cache
_NOTHING = 1e-300  # a level at which no window is worth describing


class Noise(NamedTuple):
    """A profile, and an amplitude in steps; 0 is even noise, whatever the profile."""

    profile: int
    steps: int


EVEN = Noise(0, 0)


class UnevenPanel:
    """Curves on the same checkpoints, without gaps: their windows and p-values, at first in one noise each.

    Before `hold_against_all` a p-value is a lower bound, and above ``level`` it stays one.
    """

    def __init__(
        self, curves: NDArray[np.float64], axis: NDArray[np.float64], make: MakeDetector, level: float, **limits: Any
    ) -> None:
        self._curves, self._axis, self._make, self._level, self._limits = curves, axis, make, level, limits
        self._rests: dict[int, NDArray[np.float64]] = {}
        self._noise = [EVEN] * len(curves)
        self.p_values = np.ones(len(curves))
        self.tables: list[dict[str, NDArray[Any]]] = []
        make(None, None)  # checks the axis
        self._says_anything = curves.shape[1] >= LEAST
        if self._says_anything:
            self._profiles, self._coarse = profiles_of(axis.tobytes())
            for series, noise in self._contradict_even_noise():
                self._noise[series] = noise
        self._describe(np.arange(len(curves)))

    def hold_against_all(self, series: NDArray[np.int64]) -> None:
        """Raises the p-values of these to the largest over the noise that they allow, or to one above the level."""
        series = np.array([index for index in series if index in self._rests], np.int64)
        if not self._says_anything or not len(series):
            return
        found = self._beside_windows(series)
        uneven = errors(found) > _CLEAR
        centres = [_lattice(found, k, 0.0) if clear else EVEN for k, clear in enumerate(uneven)]
        moved = [k for k, index in enumerate(series) if centres[k] != self._noise[index]]
        for k in moved:
            self._noise[series[k]] = centres[k]
        self._describe(series[moved])
        for end in (-_REACH, _REACH):
            self._raise(series, [_lattice(found, k, end) for k in range(len(series))])
        unsure = found.error > _UNSURE
        self._raise(series[unsure], self._seen_by_neighbours(series[unsure]))

    def _raise(self, series: NDArray[np.int64], noises: list[Noise | None]) -> None:
        pairs = [
            (int(index), noise)
            for index, noise in zip(series, noises, strict=True)
            if noise is not None and noise != self._noise[index] and self.p_values[index] <= self._level
        ]
        several = self._with_several_windows()
        for noise, members in _by_noise(pairs):
            for some in (members[several[members]], members[~several[members]]):
                if not len(some):
                    continue
                limits = {"level": self._level} if several[some[0]] else {"level": _NOTHING, "max_windows": 1}
                columns, p_values, *_ = self._detector(noise).detect(
                    np.ascontiguousarray(self._curves[some]), **(self._limits | limits)
                )
                self.p_values[some] = np.maximum(self.p_values[some], p_values)
                if several[some[0]]:
                    self._raise_further(some, columns | {schema.SERIES: some[columns[schema.SERIES]]})

    def _with_several_windows(self) -> NDArray[np.bool_]:
        counts = np.zeros(len(self._curves), np.int64)
        for table in self.tables:
            np.add.at(counts, table[schema.SERIES], 1)
        several: NDArray[np.bool_] = counts > 1
        return several

    def _raise_further(self, series: NDArray[np.int64], other: dict[str, NDArray[Any]]) -> None:
        """All windows of these series but the surest: to the p-value of one that overlaps in other noise, or to 1."""
        for table in self.tables:
            for row in np.flatnonzero(np.isin(table[schema.SERIES], series)):
                own = table[schema.SERIES] == table[schema.SERIES][row]
                if table[schema.P_VALUE][row] <= table[schema.P_VALUE][own].min():
                    continue
                overlaps = (
                    (other[schema.SERIES] == table[schema.SERIES][row])
                    & (other[schema.START] < table[schema.END][row])
                    & (other[schema.END] > table[schema.START][row])
                )
                there = other[schema.P_VALUE][overlaps].min(initial=1.0)
                table[schema.P_VALUE][row] = max(table[schema.P_VALUE][row], there)

    def _describe(self, series: NDArray[np.int64]) -> None:
        """Windows, p-values and rests of these series in their noise, instead of those they had."""
        anew = np.zeros(len(self._curves), np.bool_)
        anew[series] = True
        self.tables = [
            {name: values[~anew[table[schema.SERIES]]] for name, values in table.items()} for table in self.tables
        ]
        for noise, members in _by_noise([(int(index), self._noise[index]) for index in series]):
            columns, self.p_values[members], sure, rests = self._detector(noise).detect(
                np.ascontiguousarray(self._curves[members]), level=self._level, **self._limits
            )
            self._rests |= dict(zip(members[sure].tolist(), rests, strict=True))
            self.tables.append(columns | {schema.SERIES: members[columns[schema.SERIES]]})

    def _contradict_even_noise(self) -> Iterator[tuple[int, Noise]]:
        """The series whose neighbouring samples do, and the noise that they show."""
        series, squares = [], []
        for first in range(0, len(self._curves), _AT_ONCE):
            block = neighbour_squares(self._axis, self._curves[first : first + _AT_ONCE])
            some = np.flatnonzero(contradicted(block, self._profiles[: self._coarse, 2:-2], _SHARED) > _SCREEN)
            series += (first + some).tolist()
            squares.append(block[some])
        # All of them at once: few of a block are among them, and a call costs as much for one as for many.
        found = self._slopes(np.concatenate(squares), slice(2, -2), _SHARED)
        for k in np.flatnonzero(errors(found) > _SCREEN).tolist():
            yield series[k], _lattice(found, k, 0.0)

    def _seen_by_neighbours(self, series: NDArray[np.int64]) -> list[Noise | None]:
        found = self._slopes(neighbour_squares(self._axis, self._curves[series]), slice(2, -2), _SHARED)
        return [_lattice(found, k, 0.0) if noted else None for k, noted in enumerate(errors(found) > _NOTED)]

    def _beside_windows(self, series: NDArray[np.int64]) -> Slope:
        """What the rests of these series, in units of the noise they were found in, say of it."""
        assumed = np.stack([self._variance(self._noise[index]) for index in series])
        squares = np.stack([self._rests[index] for index in series]) ** 2 * assumed + FLOOR
        n_samples = squares.shape[1]
        return self._slopes(squares, slice(None), max(n_samples - _TAKEN, _TAKEN) / n_samples)

    def _slopes(self, squares: NDArray[np.float64], samples: slice, independent: float) -> Slope:
        profiles = self._profiles[:, samples]
        blocks = [
            slopes(squares[first : first + _AT_ONCE], profiles, self._coarse, independent)
            for first in range(0, max(len(squares), 1), _AT_ONCE)
        ]
        return Slope(*(np.concatenate(values) for values in zip(*blocks, strict=True)))

    def _detector(self, noise: Noise) -> "_core.WindowDetector":
        if noise == EVEN:
            return self._make(None, None)
        alike = self._alike(noise)
        return self._make(self._variance(noise), None if alike == noise else self._detector(alike))

    def _alike(self, noise: Noise) -> Noise:
        """The noise whose thresholds serve: of the likest coarse profile, and an amplitude from a coarser lattice."""
        amplitude = _ALIKE * round(STEP * noise.steps / _ALIKE)
        if not amplitude:
            return EVEN
        likeness = self._profiles[: self._coarse] @ self._profiles[noise.profile]
        return Noise(int(likeness.argmax()), round(amplitude / STEP))

    def _variance(self, noise: Noise) -> NDArray[np.float64]:
        if noise == EVEN:
            return np.ones(self._curves.shape[1])
        variance: NDArray[np.float64] = np.exp(STEP * noise.steps * self._profiles[noise.profile])
        return variance


def _lattice(found: Slope, index: int, standard_errors: float) -> Noise:
    """The nearest noise that curves share, so many standard errors from the likeliest."""
    amplitude = float(found.amplitude[index] + standard_errors * found.error[index])
    steps = round(min(max(amplitude, -found.most[index]), found.most[index]) / STEP)
    return Noise(int(found.profile[index]), steps) if steps else EVEN


def _by_noise(pairs: list[tuple[int, Noise]]) -> Iterator[tuple[Noise, NDArray[np.int64]]]:
    members: dict[Noise, list[int]] = {}
    for index, noise in pairs:
        members.setdefault(noise, []).append(index)
    for noise in sorted(members):
        yield noise, np.array(members[noise], np.int64)
