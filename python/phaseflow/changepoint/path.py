"""Every segmentation that is the cheapest at some penalty (CROPS: Haynes, Eckley and Fearnhead 2017).

With C(m) the least cost at m changepoints, the segmentation of m is the cheapest at some penalty where C has a corner
of its lower convex hull. Of two known corners, the one in between, if there is one, is found at the penalty at which
both cost the same.
"""

from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from phaseflow import schema
from phaseflow.changepoint.arguments import check_names, check_numbers
from phaseflow.changepoint.detection import detect
from phaseflow.changepoint.segmentation import APPROXIMATE, Segmentation
from phaseflow.exceptions import ParameterError

if TYPE_CHECKING:
    import polars as pl


def detect_path(
    signal: ArrayLike,
    *,
    penalties: tuple[float, float] | None = None,
    x: ArrayLike | None = None,
    cost: str = "l2",
    search: str = "auto",
    min_size: int = 1,
    jump: int = 1,
) -> "pl.DataFrame":
    """All segmentations that are the cheapest at some penalty, from few changepoints to many.

    How fast ``cost`` falls along the path shows how many changepoints are worth having: look for its elbow, or for
    a segmentation that stays the cheapest over a wide range of penalties.

    Parameters
    ----------
    signal, x, cost, search, min_size, jump
        As in :func:`detect`; the search must be exact.
    penalties
        ``(lowest, highest)``, in the unit of the cost. Without it, from Akaike's criterion to where no changepoint is
        left.

    Returns
    -------
    polars.DataFrame
        One row a segmentation: ``n_changepoints``; ``cost``, without penalties; ``penalty_lower`` and
        ``penalty_upper``, between which it is the cheapest (within ``penalties``); ``changepoints``, a list.

    Raises
    ------
    ParameterError
        A search that is not exact, penalties that are negative or out of order, or a signal whose penalties are too
        small or too large for double precision; else as :func:`detect`.

    Notes
    -----
    CROPS, Haynes, Eckley and Fearnhead 2017: about two searches for each segmentation found. Not every number of
    changepoints is the cheapest at some penalty; for one that is not, pass ``n_changepoints`` to :func:`detect`.

    Examples
    --------
    >>> import phaseflow as pf
    >>> path = pf.detect_path([0, 0, 0, 6, 6, 9], penalties=(1, 100))
    >>> path.select("n_changepoints", "penalty_lower", "penalty_upper").rows()
    [(0, 73.5, 100.0), (1, 6.0, 73.5), (2, 1.0, 6.0)]
    """
    check_names(search=search)
    if search in APPROXIMATE:
        raise ParameterError(f'search "{search}" is not exact, so it has no path; pass search="auto"')

    def at(penalty: float | str) -> Segmentation:
        return detect(signal, x=x, cost=cost, search=search, penalty=penalty, min_size=min_size, jump=jump)

    if penalties is None:
        first = at("aic")
        lowest = float(first.penalty or 0.0)
        none, highest = first, lowest
        while len(none.changepoints):
            highest *= 4
            if not 0 < highest < float("inf"):  # or it would never get further
                raise ParameterError(
                    f"penalty is {highest} for this signal, expected what double precision can tell from 0 and from "
                    "infinity: its costs are squares; pass the signal in another unit"
                )
            none = at(highest)
    else:
        pair = [] if isinstance(penalties, str | Set | Mapping) or not isinstance(penalties, Iterable) else [*penalties]
        if len(pair) != 2:
            raise ParameterError(f"penalties is {penalties!r}, expected (lowest, highest), or None")
        lowest, highest = pair
        check_numbers(**{"penalties[0]": lowest, "penalties[1]": highest})
        if not 0 <= lowest <= highest:
            raise ParameterError(f"penalties are {lowest} and {highest}, expected 0 or above and in order")
        first, none = at(lowest), at(highest)
    known = {len(found.changepoints): found for found in (first, none)}
    open_pairs = [(len(first.changepoints), len(none.changepoints))]
    while open_pairs:
        many, few = open_pairs.pop()
        if many - few < 2:
            continue
        # Costs that tie may differ by their rounding, either way.
        between = at(max((known[few].cost - known[many].cost) / (many - few), 0.0))
        count = len(between.changepoints)
        if few < count < many:
            known[count] = between
            open_pairs += [(many, count), (count, few)]
    return _table([known[count] for count in sorted(known)], lowest, highest)


def _table(path: list[Segmentation], lowest: float, highest: float) -> "pl.DataFrame":
    import polars as pl

    counts = [len(found.changepoints) for found in path]
    corners = [
        (path[index].cost - path[index + 1].cost) / (counts[index + 1] - counts[index])
        for index in range(len(path) - 1)
    ]
    return pl.DataFrame(
        {
            schema.N_CHANGEPOINTS: counts,
            schema.COST: [found.cost for found in path],
            schema.lower(schema.PENALTY): [*corners, float(lowest)],
            schema.upper(schema.PENALTY): [float(highest), *corners],
            schema.CHANGEPOINTS: [found.changepoints.tolist() for found in path],
        },
        schema_overrides={schema.CHANGEPOINTS: pl.List(pl.Int64)},
    )
