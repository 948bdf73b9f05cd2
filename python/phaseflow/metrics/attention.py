"""Scores read off attention patterns.

A pattern is the softmax output, axes ``(batch, head, query_pos, key_pos)``. Only its causal part,
``key_pos <= query_pos``, is read; rows are taken as they are and need not sum to 1. It may also come packed, axes
``(batch, head, entry)``: the lower triangle row after row, as `pack_pattern` makes it.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from phaseflow import _core, schema
from phaseflow.exceptions import ShapeError
from phaseflow.metrics import _inputs
from phaseflow.metrics.compact import CompactPattern

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import ArrayLike, NDArray


def prefix_matching_score(
    pattern: "ArrayLike | CompactPattern",
    tokens: "ArrayLike",
    *,
    offset: int = 1,
    reduce: Literal["sum", "mean", "nearest"] = "sum",
    bos: int | None = None,
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """Attention to what followed the current token before: from 0 to 1, which is an ideal induction head.

    A query ``q`` has the targets ``p + offset`` for every earlier position ``p < q`` that holds the same token, as
    long as ``0 <= p + offset <= q``. The score is ::

        mean over queries q that have a target of  ( sum over targets k of pattern[q, k] )

    over the queries of all examples together.

    Parameters
    ----------
    pattern : array (batch, head, query_pos, key_pos), packed (batch, head, entry), or CompactPattern
        Attention after softmax; float16, bfloat16, float32 or float64, of any strides, never copied. Arrays may lack
        the batch axis, as then do the tokens.
    tokens : integer array (batch, pos) or (pos,)
        The tokens attended over.
    offset : int
        How far after the earlier copy the target lies: 1 for induction, 0 for the duplicate-token score, -1 the
        paper's wording taken literally. A token repeated at once makes the query its own target with offset 1; that
        counts.
    reduce : {"sum", "mean", "nearest"}
        ``sum`` as above. ``mean`` averages over all (query, target) entries alike, so that it is bounded by one over
        the mean number of targets of a query. ``nearest`` counts only the latest target of each query.
    bos : int, optional
        A start-of-sequence token, which is neither query nor target.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (head,)
        float64. NaN if no query has a target, and for a head with a NaN in an entry that counts.

    Raises
    ------
    ShapeError
        The axes of ``pattern`` and ``tokens`` do not fit.
    DtypeError
        ``pattern`` is not floating point or ``tokens`` not integer.
    UnknownNameError
        ``reduce`` is none of the three.

    References
    ----------
    Olsson 2022, *In-context Learning and Induction Heads*, arXiv 2209.11895, "Head Activation Evaluators"; with the
    target after the earlier copy and the sum over earlier copies, which are what its figures show.

    Examples
    --------
    The last query of "a b a" should look at the "b" that followed the first "a"; this head gives it 3/4.

    >>> import numpy as np
    >>> import phaseflow as pf
    >>> pattern = np.array([[[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.75, 0]]])
    >>> pf.prefix_matching_score(pattern, [7, 8, 7])
    array([0.75])
    """
    compact = isinstance(pattern, CompactPattern)
    return (_core.prefix_matching_score_of_compact if compact else _core.prefix_matching_score)(
        pattern if compact else _inputs.tensor("pattern", pattern),
        _inputs.token_ids("tokens", tokens),
        _inputs.integer("offset", offset),
        _inputs.name("reduce", reduce),
        _inputs.optional_integer("bos", bos),
        _inputs.optional_integer("threads", threads, least=1),
    )


def head_scores(
    pattern: "ArrayLike | CompactPattern",
    tokens: "ArrayLike",
    *,
    bos: int | None = None,
    per_example: bool = False,
    threads: int | None = None,
) -> "pl.DataFrame":
    """All scores of every head, in one pass over the pattern.

    ==================================  ==================  =======  ==============================================
    metric                              range               unit     mean over queries of
    ==================================  ==================  =======  ==============================================
    ``prefix_matching_score``           0 to 1              share    attention to what followed the token before
    ``duplicate_token_score``           0 to 1              share    attention to earlier copies of the token
    ``literal_prefix_matching_score``   0 to 1              share    attention to what stood before those copies
    ``previous_token_score``            0 to 1              share    ``pattern[q, q - 1]``, ``q >= 1``
    ``first_token_score``               0 to 1              share    ``pattern[q, 0]``, ``q >= 1`` (attention sink)
    ``attention_entropy``               0 to ln(context)    nats     ``-sum p ln p`` of the row; 0 is one key alone
    ==================================  ==================  =======  ==============================================

    The first three are `prefix_matching_score` with offset 1, 0 and -1 (the wording of the paper taken literally),
    means over the queries that have a target. Each comes three times: under its name with ``reduce="sum"``, with
    ``_mean`` and with ``_nearest`` behind it. The others do not look at tokens.

    Parameters
    ----------
    pattern : array (batch, head, query_pos, key_pos), packed (batch, head, entry), or CompactPattern
        Attention after softmax; float16, bfloat16, float32 or float64, of any strides, never copied. Arrays may lack
        the batch axis, as then do the tokens.
    tokens : integer array (batch, pos) or (pos,)
        The tokens attended over.
    bos : int, optional
        A start-of-sequence token: neither query nor target of the first three scores.
    per_example : bool
        One row a head, metric and example instead: means over the queries of that example.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    polars.DataFrame
        One row a head and metric: ``head, metric, value, standard_error, chance, n_queries, unnormalised_rows,
        nonfinite_entries``; or with ``per_example`` ``head, metric, example, value, chance, n_queries``.

        ``value`` is the mean over the ``n_queries`` queries of all examples (of ``_mean``: over so many entries of a
        query and a target); NaN if there is none, or if an entry that counts is NaN (for the entropy also if one is
        negative).
        Everything is summed in double precision; logarithms of float32 entries are taken in single precision, so that
        the entropy of such a pattern is good to 3e-7 of itself, about what storing it in float32 lost.
        ``standard_error`` takes the examples as independent, not their queries: with sums ``s_e`` over ``n_e`` queries
        in each of ``m`` examples that have any, and value ``v``, it is
        ``sqrt(m / (m - 1) * sum (s_e - v * n_e)**2) / sum n_e``; with equal ``n_e`` that is the standard deviation of
        the examples' means over ``sqrt(m)``. NaN with one example.
        ``chance`` is the value of a head that looks at all keys up to the query alike, on the same tokens.
        ``unnormalised_rows`` counts the head's rows of finite entries that do not sum to 1 within 0.01 (the head is
        not causal, or this is not attention after softmax), ``nonfinite_entries`` its entries that are NaN or
        infinite; both should be 0.

    Raises
    ------
    ShapeError
        The axes of ``pattern`` and ``tokens`` do not fit.
    DtypeError
        ``pattern`` is not floating point or ``tokens`` not integer.

    References
    ----------
    Olsson 2022, *In-context Learning and Induction Heads*, arXiv 2209.11895.

    Examples
    --------
    >>> import numpy as np
    >>> import phaseflow as pf
    >>> pattern = np.array([[[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.75, 0]]])
    >>> table = pf.head_scores(pattern, [7, 8, 7])
    >>> dict(zip(table["metric"], table["value"].round(3)))["previous_token_score"]
    0.625
    """
    import polars as pl

    compact = isinstance(pattern, CompactPattern)
    scores = (_core.head_scores_of_compact if compact else _core.head_scores)(
        pattern if compact else _inputs.tensor("pattern", pattern),
        _inputs.token_ids("tokens", tokens),
        _inputs.optional_integer("bos", bos),
        _inputs.optional_integer("threads", threads, least=1),
    )
    heads, metrics = scores.value.shape
    if per_example:
        examples = scores.example_value.shape[2]
        return pl.DataFrame(
            {
                schema.HEAD: np.repeat(np.arange(heads), metrics * examples),
                schema.METRIC: np.repeat(_core.HEAD_METRICS * heads, examples),
                schema.EXAMPLE: np.tile(np.arange(examples), heads * metrics),
                schema.VALUE: scores.example_value.ravel(),
                schema.CHANCE: np.tile(scores.example_chance.ravel(), heads),
                schema.N_QUERIES: np.tile(scores.example_queries.ravel(), heads),
            },
            schema_overrides={schema.METRIC: pl.String},
        )
    return pl.DataFrame(
        {
            schema.HEAD: np.repeat(np.arange(heads), metrics),
            schema.METRIC: _core.HEAD_METRICS * heads,
            schema.VALUE: scores.value.ravel(),
            schema.STANDARD_ERROR: scores.standard_error.ravel(),
            schema.CHANCE: np.tile(scores.chance, heads),
            schema.N_QUERIES: np.tile(scores.n_queries, heads),
            schema.UNNORMALISED_ROWS: np.repeat(scores.unnormalised_rows, metrics),
            schema.NONFINITE_ENTRIES: np.repeat(scores.nonfinite_entries, metrics),
        },
        schema_overrides={schema.HEAD: pl.Int64, schema.METRIC: pl.String},
    )


def pack_pattern(pattern: "ArrayLike") -> "NDArray[Any]":
    """The lower triangle of attention patterns, row after row: all that a causal head has, in half the room.

    Entry ``q * (q + 1) / 2 + k`` is ``pattern[..., q, k]``. Every score takes either form, with the same result.

    Parameters
    ----------
    pattern : array (..., query_pos, key_pos)
        Of any dtype. What lies above the diagonal is dropped.

    Returns
    -------
    array (..., entry)
        A copy, of the same dtype; ``pos * (pos + 1) / 2`` entries.

    Raises
    ------
    ShapeError
        The last two axes differ.

    Examples
    --------
    >>> import phaseflow as pf
    >>> pf.pack_pattern([[1.0, 0.0], [0.25, 0.75]])
    array([1.  , 0.25, 0.75])
    """
    array = np.asarray(pattern)
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise ShapeError(f"pattern has shape {array.shape}, expected (..., query_pos, key_pos), both the same")
    queries, keys = np.tril_indices(array.shape[-1])
    return array[..., queries, keys]
