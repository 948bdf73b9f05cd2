"""Series of any lengths laid end to end, as a query's groups are: which of them can be tested, and which is at fault.

A group that is too short for any change is no fault: among many runs some stopped early. There is nothing to say about
it, which is another thing than that nothing was found. A number that cannot be, in any group, is a fault, and is named
by the group's rows, as a query has no number for its groups.
"""

import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phaseflow import _core
from phaseflow.changepoint.arguments import check_counts
from phaseflow.exceptions import NotFiniteError, ParameterError


class Groups(NamedTuple):
    """``values[starts[i]:starts[i + 1]]`` is group i, NaN where a sample is missing; ``x`` is as long, or None."""

    starts: NDArray[np.int64]
    values: NDArray[np.float64]
    x: NDArray[np.float64] | None

    def check(self) -> None:
        """Refuses infinities, and an axis that is not finite or does not increase within a group."""
        self._no_row_may("signal", np.isinf(self.values), "expected a number, or a null where it is missing")
        if self.x is None:
            return
        self._no_row_may("x", ~np.isfinite(self.x), "expected a number for every row: leave such rows out")
        back = np.zeros(len(self.x), bool)
        back[1:] = self.x[1:] <= self.x[:-1]  # a difference may be no number
        back[self.starts[:-1][np.diff(self.starts) > 0]] = False
        if back.any():
            row = int(back.argmax())
            raise ParameterError(
                f"x is {self.x[row]:g} after {self.x[row - 1]:g} in {self.name(self._group(row))}, expected strictly "
                "increasing numbers: sort by it, and leave out rows that repeat one"
            )

    def _no_row_may(self, argument: str, wrong: NDArray[np.bool_], advice: str) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            group = self._group(row)
            values = self.values if argument == "signal" else self.x
            found = "null or NaN" if values is None or np.isnan(values[row]) else f"{values[row]:g}"
            raise NotFiniteError(
                f"{argument} is {found} at row {row - self.starts[group]} of {self.name(group)}, {advice}"
            )

    def _group(self, row: int) -> int:
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    def name(self, group: int) -> str:
        """What a person knows it by: how many rows it has, and what they begin and end with."""
        start, end = self.starts[group], self.starts[group + 1]
        of, rows = ("signal", self.values) if self.x is None else ("x", self.x)
        ends = f", {of} from {rows[start]:g} to {rows[end - 1]:g}" if end > start else ""
        return f"the group of {end - start} rows{ends}"

    def present(self) -> NDArray[np.int64]:
        """Samples of each group that are not missing."""
        total = np.concatenate([[0], np.cumsum(~np.isnan(self.values))])
        return np.asarray(total[self.starts[1:]] - total[self.starts[:-1]], np.int64)

    def only(self, kept: NDArray[np.bool_]) -> "Groups":
        """Without the others."""
        if kept.all():
            return self
        sizes = np.diff(self.starts)
        rows = np.repeat(kept, sizes)
        starts = np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int64)
        return Groups(starts, self.values[rows], None if self.x is None else self.x[rows])


def have_room(present: NDArray[np.int64], options: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Whether so many samples have room for a change, or as many as are asked for, by the options of `detect_many`."""
    counts = ("min_size", "jump", "order", "n_changepoints")
    check_counts("n_changepoints", **{name: options[name] for name in counts if name in options})
    least, jump, order = (operator.index(options.get(name, 1)) for name in ("min_size", "jump", "order"))
    wanted = options.get("n_changepoints")
    cost = options.get("cost", "l2")
    if options.get("search") == "single":
        jump, wanted = 1, None  # it looks at neither
    else:
        least = _core.least_segment(
            cost=cost,
            penalty=options.get("penalty", "auto"),
            n_changepoints=wanted,
            min_size=least,
            order=order,
            features=1,
        )
    jump = max(jump, 1)
    # Changepoints are multiples of jump, at least so many samples apart and from both ends; no kink is at the last.
    apart = max(-(-least // jump), 1) * jump
    room = (present - max(least, 2 if cost == "clinear" else 1)) // apart
    return np.asarray((present > 0) & (np.maximum(room, 0) >= (1 if wanted is None else operator.index(wanted))))
