"""Changepoints inside polars expressions: ``pl.col("loss").phase.changepoints()``.

``import phaseflow.polars`` registers the namespace ``phase`` (``import phaseflow`` alone does not load polars). Each
expression takes one series for every group of its context (``select`` is one group; ``group_by().agg``; ``over``) and
hands all groups to the kernel in one call, on all threads, eagerly or lazily.

The groups arrive as lists (``implode``) and leave as lists, so polars sees an element-wise function: that is what makes
it one call, and what lets a query be split into batches of groups (polars 1.31 or newer). A false-discovery rate over
all groups is therefore not an option here; :func:`phaseflow.q_values` makes one of the column of p-values.
"""

from collections.abc import Callable, Iterable, Iterator
from inspect import signature
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import schema
from phaseflow.changepoint import detect_many, detect_windows
from phaseflow.changepoint.arguments import check_counts
from phaseflow.changepoint.groups import Groups, have_room
from phaseflow.changepoint.windows import least_samples
from phaseflow.exceptions import DtypeError, MissingExtraError, ParameterError, PhaseflowError, ShapeError

__all__ = ["Phase"]

_NOT_HERE = {"signals", "signal", "x", "offsets", "fdr", "fdr_method"}


_OLDEST = (1, 31)  # before, a list made by implode was not taken for one value a group


def _check_version(version: str) -> None:
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise MissingExtraError(f"phaseflow.polars needs polars {oldest} or newer, found {version}; upgrade polars")


_check_version(pl.__version__)


def _struct(columns: Iterable[str]) -> pl.List:
    return pl.List(pl.Struct({name: pl.Int64 if name == schema.CHANGEPOINT else pl.Float64 for name in columns}))


_CHANGEPOINTS = _struct(
    [schema.CHANGEPOINT, schema.X, schema.BEFORE, schema.AFTER, schema.SIZE, schema.P_VALUE],
)
_WINDOW = [
    *(
        name
        for column in (schema.START, schema.END, schema.SIZE)
        for name in (column, schema.lower(column), schema.upper(column))
    ),
    schema.P_VALUE,
]
_WINDOWS = _struct(_WINDOW)
_SEGMENTS = pl.List(pl.Int64)
_AXIS, _VARIANCE = "phase.x", "phase.variance"
_READ_OFF: Literal["auto"] = "auto"

#: What belongs to the rows of every group beside the series, in lists like it: their axis, their variance.
Beside = dict[str, pl.Series | None]
Columns = dict[str, NDArray[np.float64] | None]


@pl.api.register_expr_namespace("phase")
class Phase:
    """The namespace ``phase`` of a numeric expression: one series for every group, in the order of the rows.

    A null or NaN is a missing sample; it counts as a row. Sort by step first.

    What is found in a group is a list, empty where it was tested and nothing was found, and null where it could not be
    tested because it has too few samples: one short run stops no query, and does not pass for a run without a change. A
    number that cannot be, such as an infinite loss or a step that does not increase, does stop it, with an error that
    names the group by its rows.
    """

    def __init__(self, expr: pl.Expr) -> None:
        self._expr = expr

    def changepoints(self, x: str | pl.Expr | None = None, **options: Any) -> pl.Expr:
        """The changepoints of every group, as a list of structs.

        Parameters
        ----------
        x
            Column or expression of the axis, as long as the series; the row number within the group without it.
        **options
            Those of :func:`phaseflow.detect_many`, without ``offsets`` and ``fdr``.

        Returns
        -------
        polars.Expr
            One value a group, repeated for its rows in ``over``: a list, empty where nothing changes, of
            ``changepoint`` (row within the group, from 0, of the first sample of the new segment), ``x`` there,
            ``before``, ``after``, ``size``, ``p_value``, as :func:`phaseflow.detect_many` defines them. ``explode`` and
            ``unnest`` make it one row a changepoint. Null for a group with no room for a change: fewer than two
            samples, or than two segments of ``min_size`` (of ``n_changepoints`` and one more).

        Raises
        ------
        ParameterError
            At once, an option that does not exist. The others of :func:`phaseflow.detect_many`, when the query runs.

        Examples
        --------
        >>> import polars as pl, phaseflow.polars
        >>> losses = pl.DataFrame({"run": ["a"] * 4 + ["b"] * 4, "loss": [3, 3, 1, 1, 2, 2, 2, 2]})
        >>> found = losses.group_by("run").agg(pl.col("loss").phase.changepoints(penalty=1.0))
        >>> found.explode("loss").unnest("loss").drop_nulls("changepoint").select("run", "changepoint", "size").rows()
        [('a', 2, -2.0)]
        """
        _check(options, detect_many)

        def changepoints(lists: pl.Series, beside: Beside) -> pl.Series:
            return _as_lists(*_detected(lists, beside, options), _CHANGEPOINTS)

        return self._apply({_AXIS: x}, changepoints, _CHANGEPOINTS)

    def segment(self, x: str | pl.Expr | None = None, **options: Any) -> pl.Expr:
        """Number of the segment that each row lies in, from 0: as many values as rows.

        Parameters are those of :meth:`changepoints`. A group with no room for a change is one segment, 0.

        Examples
        --------
        >>> import polars as pl, phaseflow.polars
        >>> losses = pl.DataFrame({"run": ["a"] * 4 + ["b"] * 4, "loss": [3, 3, 1, 1, 2, 2, 2, 2]})
        >>> losses.select(pl.col("loss").phase.segment(penalty=1.0).over("run"))["loss"].to_list()
        [0, 0, 1, 1, 0, 0, 0, 0]
        """
        _check(options, detect_many)

        def numbers(lists: pl.Series, beside: Beside) -> pl.Series:
            starts = _starts(lists)
            found, _ = _detected(lists, beside, options)
            begins = np.zeros(starts[-1] + 1, np.int64)
            begins[starts[found[schema.SERIES].to_numpy()] + found[schema.CHANGEPOINT].to_numpy()] = 1
            total = np.cumsum(begins)[:-1]
            sizes = np.diff(starts)
            series = np.repeat(np.arange(len(lists)), sizes)
            # A group's first row begins no segment, so what is counted there was counted before it.
            before = np.repeat(total[starts[:-1][sizes > 0]], sizes[sizes > 0])
            numbered = pl.DataFrame({schema.SERIES: series, schema.SEGMENT: total - before})
            return _as_lists(numbered, np.ones(len(lists), bool), _SEGMENTS)

        return self._apply({_AXIS: x}, numbers, _SEGMENTS).explode()

    def windows(
        self, x: str | pl.Expr | None = None, *, variance: str | pl.Expr | None = _READ_OFF, **options: Any
    ) -> pl.Expr:
        """The phase-change windows of every group, as a list of structs.

        Groups with the same axis, and the same variance where one is given, are searched together; each further axis or
        variance needs its own simulated thresholds, which take a second or so.

        Parameters
        ----------
        x
            Column or expression of the step; 1, 2, 3, ... without it.
        variance
            How strong the noise is along the curve. ``"auto"``: read off each group. A column (by another name than
            that; else ``pl.col("auto")``) or expression: the noise variance of every row, up to a factor, such as the
            squared standard error of each evaluation; it may be null where the series is. None: equally strong
            everywhere.
        **options
            Those of :func:`phaseflow.detect_windows`, which has more on ``variance`` too, without ``fdr``.

        Returns
        -------
        polars.Expr
            As :meth:`changepoints`, of ``start``, ``end`` and ``size`` with ``*_lower`` and ``*_upper``, and
            ``p_value``. Null for a group with fewer than 12 samples that are not null (or ``2 * flank + 6``).

        Raises
        ------
        ParameterError
            At once, an option that does not exist. The others of :func:`phaseflow.detect_windows`, when the query runs.

        Examples
        --------
        >>> import numpy as np, polars as pl, phaseflow.polars
        >>> step = np.logspace(1, 4, 60)
        >>> drop = np.clip((np.log10(step) - 2.5) / 0.3, 0, 1)
        >>> error = 0.05 * step**-0.3
        >>> loss = step**-0.3 - 0.4 * drop + np.random.default_rng(0).normal(0, error)
        >>> losses = pl.DataFrame({"run": "a", "step": step, "loss": loss, "error": error})
        >>> windows = pl.col("loss").phase.windows("step", variance=pl.col("error") ** 2)
        >>> found = losses.group_by("run").agg(windows).explode("loss").unnest("loss")
        >>> found.select("run", pl.col("size").round(1)).rows()
        [('a', -0.4)]
        """
        _check(options, detect_windows)
        read_off: Literal["auto"] | None = None if variance is None else _READ_OFF
        given = None if variance is None or (isinstance(variance, str) and variance == _READ_OFF) else variance

        def windows(lists: pl.Series, beside: Beside) -> pl.Series:
            tables = [pl.DataFrame(schema={schema.SERIES: pl.Int64, **dict.fromkeys(_WINDOW, pl.Float64)})]
            groups = _groups(lists, beside)
            check_counts(flank=options.get("flank", 3))
            least = least_samples(options.get("flank", 3))
            detect_windows(np.empty((0, least)), **options)  # no group is at fault where an option is
            tested = groups.present() >= least
            columns = {_AXIS: groups.x, _VARIANCE: _of_rows("variance", lists, beside[_VARIANCE])}
            for members, rows, shared in _alike(groups, tested, columns):
                known = read_off if given is None else shared[_VARIANCE]
                try:
                    found = detect_windows(rows, x=shared[_AXIS], variance=known, **options)
                except PhaseflowError as error:
                    raise type(error)(f"{error} (in {groups.name(int(members[0]))})") from error
                series = pl.Series(schema.SERIES, members[found[schema.SERIES].to_numpy()])
                tables.append(found.with_columns(series))
            return _as_lists(pl.concat(tables), tested, _WINDOWS)

        return self._apply({_AXIS: x, _VARIANCE: given}, windows, _WINDOWS)

    def _apply(
        self,
        beside: dict[str, str | pl.Expr | None],
        function: Callable[[pl.Series, Beside], pl.Series],
        dtype: pl.List,
    ) -> pl.Expr:
        groups = self._expr.implode()
        given = {name: pl.col(of) if isinstance(of, str) else of for name, of in beside.items() if of is not None}
        without: Beside = dict.fromkeys(beside)
        if not given:
            return groups.map_batches(lambda lists: function(lists, without), return_dtype=dtype, is_elementwise=True)

        def together(fields: pl.Series) -> pl.Series:
            lists, *others = fields.struct.unnest().get_columns()
            return function(lists, without | dict(zip(given, others, strict=True)))

        # A struct takes the name of its first field, as the expression should.
        fields = pl.struct(groups, *(of.implode().alias(name) for name, of in given.items()))
        return fields.map_batches(together, return_dtype=dtype, is_elementwise=True)


def _check(options: dict[str, Any], function: Callable[..., Any]) -> None:
    known = [name for name in signature(function).parameters if name not in _NOT_HERE]
    for name in options:
        if name not in known:
            raise ParameterError(f"option {name} is not one of this expression's: {', '.join(known)}")


def _starts(lists: pl.Series) -> NDArray[np.int64]:
    """Where each list starts when all are laid end to end, and the end of the last."""
    sizes = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    return np.concatenate([[0], np.cumsum(sizes)])


def _numbers(argument: str, lists: pl.Series) -> NDArray[np.float64]:
    """All lists end to end; a null is NaN."""
    flat = lists.filter(lists.list.len() > 0).explode()
    if not (flat.dtype.is_numeric() or flat.dtype in (pl.Boolean, pl.Null)):
        raise DtypeError(f"{argument} is a column of {flat.dtype}, expected numbers")
    return flat.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _of_rows(argument: str, lists: pl.Series, of: pl.Series | None) -> NDArray[np.float64] | None:
    if of is None:
        return None
    if not np.array_equal(_starts(lists), _starts(of)):
        raise ShapeError(f"{argument} has another number of rows than the series, expected one for every row")
    return _numbers(argument, of)


def _groups(lists: pl.Series, beside: Beside) -> Groups:
    groups = Groups(_starts(lists), _numbers("signal", lists), _of_rows(schema.X, lists, beside[_AXIS]))
    groups.check()
    return groups


def _detected(lists: pl.Series, beside: Beside, options: dict[str, Any]) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """The table of :func:`detect_many`, and which groups had room for a change."""
    groups = _groups(lists, beside)
    tested = have_room(groups.present(), options)
    kept = groups.only(tested)
    found = _in_every(kept, options)
    series = pl.Series(schema.SERIES, np.flatnonzero(tested)[found[schema.SERIES].to_numpy()])
    return found.with_columns(series), tested


def _in_every(groups: Groups, options: dict[str, Any]) -> pl.DataFrame:
    try:
        return detect_many(groups.values, offsets=groups.starts, x=groups.x, **options)
    except PhaseflowError as error:
        detect_many(np.empty(0), offsets=[0], **options)  # no group is at fault where an option is
        for group, (start, end) in enumerate(pairwise(groups.starts.tolist())):
            axis = None if groups.x is None else groups.x[start:end]
            try:
                detect_many(groups.values[start:end], offsets=[0, end - start], x=axis, **options)
            except PhaseflowError as alone:
                text = str(alone).replace(" (series 0)", "")
                raise type(alone)(f"{text} (in {groups.name(group)})") from error
        raise


def _alike(
    groups: Groups, tested: NDArray[np.bool_], columns: Columns
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], Columns]]:
    """The groups that share an axis and a variance: which, their rows, and what they share."""
    starts, values = groups.starts, groups.values
    members: dict[object, list[int]] = {}
    for index, (start, end) in enumerate(pairwise(starts.tolist())):
        shared = tuple(None if of is None else of[start:end].tobytes() for of in columns.values())
        if tested[index]:
            members.setdefault((end - start, shared), []).append(index)
    for group in members.values():
        start, end = starts[group[0]], starts[group[0] + 1]
        rows = np.stack([values[starts[index] : starts[index + 1]] for index in group])
        yield np.array(group), rows, {name: None if of is None else of[start:end] for name, of in columns.items()}


def _as_lists(table: pl.DataFrame, tested: NDArray[np.bool_], dtype: pl.List) -> pl.Series:
    """The rows of each series, without its number, as one list; null for those that were not tested."""
    columns = [name for name in table.columns if name != schema.SERIES]
    entry = pl.col(columns[0]) if len(columns) == 1 else pl.struct(columns)
    lists = table.group_by(schema.SERIES, maintain_order=True).agg(entry.alias(schema.FOUND))
    every = pl.DataFrame({schema.SERIES: np.arange(len(tested))})
    joined = every.join(lists, on=schema.SERIES, how="left", maintain_order="left")
    found = pl.col(schema.FOUND).cast(dtype).fill_null(pl.lit([], dtype=dtype))
    return joined.select(pl.when(pl.Series(tested, dtype=pl.Boolean)).then(found).alias(schema.FOUND)).to_series()
