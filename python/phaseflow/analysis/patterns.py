"""The scores of every head at every step of a run: stored patterns of any size, read in bounded memory.

Patterns whose bytes lie in a file as they are (a run's own shards, ``.npy``, ``.safetensors``), whole, packed or as
their parts, are read by the compiled scanner: some hundred at a time, in blocks, by all cores. Those that a library has
to decode (compressed ``.npz``, HDF5 in chunks, Zarr) come one at a time through it, the larger ones some heads and
examples at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phaseflow import _core, schema
from phaseflow._core import HeadScores, PatternParts, StoredTensor, TokenIndex
from phaseflow.analysis.tables import OnBytes, OnProgress, applicable, batches, computed, probes_of, problem_rows
from phaseflow.archive import RunSource
from phaseflow.archive.compact import read_whole, whole_name
from phaseflow.exceptions import PhaseflowError
from phaseflow.metrics import CompactPattern

Place = tuple[int, str]  # step and name of a pattern

NAME = "head_scores"
PREFIX = "attention/"
FORM = pl.DataFrame(
    schema={
        schema.RUN: pl.String,
        schema.STEP: pl.Int64,
        schema.TOKENS_SEEN: pl.Int64,
        schema.PROBE: pl.String,
        schema.LAYER: pl.Int32,
        schema.HEAD: pl.Int32,
        schema.METRIC: pl.String,
        schema.VALUE: pl.Float64,
        schema.STANDARD_ERROR: pl.Float64,
        schema.CHANCE: pl.Float64,
        schema.N_QUERIES: pl.Int64,
        schema.UNNORMALISED_ROWS: pl.Int64,
        schema.NONFINITE_ENTRIES: pl.Int64,
    }
)


def table(run: RunSource, memory: int, progress: OnProgress | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The scores of a run, columns as in :data:`FORM`, and what kept them from being more."""
    stored_at = applicable(run, PREFIX, lambda _: True)
    names_at = {step: list(dict.fromkeys(map(whole_name, names))) for step, names in stored_at.items()}

    @cache
    def index_of(probe: str) -> TokenIndex:
        """Token occurrences, found once for all patterns of a probe."""
        return TokenIndex(run.probes[probe].tokens, run.probes[probe].bos)

    unreadable: dict[tuple[int, str], str] = {}
    incomplete: set[int] = set()

    def rows_of_steps(steps: list[int], on_bytes: OnBytes) -> pl.DataFrame | None:
        found = {}
        places = [(step, name) for step in steps for name in names_at[step]]
        for place, scores in scored(run, places, index_of, memory, on_bytes):
            if isinstance(scores, Exception):
                unreadable[place] = str(scores)
                incomplete.add(place[0])
            else:
                found[place] = scores
        return rows(found) if found else None

    depends_on = {"probes": probes_of(run), "metrics": _core.HEAD_METRICS}
    result = computed(
        run,
        NAME,
        depends_on,
        stored_at,
        rows_of_steps,
        FORM,
        progress,
        batches=lambda steps, sizes: batches(steps, sizes, names_at),
        incomplete=incomplete,
    )
    return result, problems(run, result, unreadable)


def scored(
    run: RunSource, places: list[Place], index_of: Callable[[str], TokenIndex], memory: int, on_bytes: OnBytes
) -> Iterator[tuple[Place, HeadScores | Exception]]:
    """The scores of the pattern at each step and name, as the core gives them, or the exception that says why not."""
    stored: dict[Place, Any] = {}
    read = 0
    for place in places:
        try:
            if (decoded := run.decoded(*place, memory)) is not None:
                parts = PatternParts(index_of(probe_of(place)), *decoded.shape[:2])
                for part in decoded:
                    parts.add(part.example, part.head, part.array, None)
                    read += part.array.nbytes
                    on_bytes(read)
                yield place, parts.scores()
                continue
            pattern = read_whole(run, *place)
            if (files := stored_parts(pattern)) is not None:
                stored[place] = files
                continue
            probe = run.probes[probe_of(place)]
            of = _core.head_scores_of_compact if isinstance(pattern, CompactPattern) else _core.head_scores
            yield place, of(pattern, probe.tokens, probe.bos, None)
        except (PhaseflowError, OSError) as error:
            yield place, error
    of_batches = [index_of(probe_of(place)) for place in stored]
    yield from zip(
        stored,
        _core.scan_head_scores(list(stored.values()), of_batches, memory, None, lambda more: on_bytes(read + more)),
        strict=True,
    )


def stored_parts(pattern: Any) -> Any:
    """What the scanner takes: the stored tensor, or the stored parts and the scale; None of arrays in memory."""
    if isinstance(pattern, StoredTensor):
        return pattern
    if isinstance(pattern, CompactPattern):
        parts = (pattern.queries, pattern.keys, pattern.log_sum_exp)
        return (*parts, pattern.scale) if all(isinstance(part, StoredTensor) for part in parts) else None
    return None


def probe_of(place: Place) -> str:
    """The probe of ``attention/<probe>/L00``."""
    return place[1].split("/")[1]


def rows(found: Mapping[Place, HeadScores]) -> pl.DataFrame:
    """The rows of many patterns, without run and tokens_seen."""
    heads = [len(scores.value) for scores in found.values()]
    metrics = len(_core.HEAD_METRICS)
    lengths = [count * metrics for count in heads]

    def of_place(values: Iterable[Any]) -> NDArray[Any]:
        return np.repeat(np.array(list(values)), lengths)

    def of_scores(column: Callable[[HeadScores, int], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([column(scores, count) for scores, count in zip(found.values(), heads, strict=True)])

    return pl.DataFrame(
        {
            schema.STEP: of_place(step for step, _ in found),
            schema.PROBE: of_place(probe_of(place) for place in found),
            schema.LAYER: of_place(int(name.rpartition("/L")[2]) for _, name in found),
            schema.HEAD: of_scores(lambda _, count: np.repeat(np.arange(count), metrics)),
            schema.METRIC: _core.HEAD_METRICS * sum(heads),
            schema.VALUE: of_scores(lambda scores, _: scores.value.ravel()),
            schema.STANDARD_ERROR: of_scores(lambda scores, _: scores.standard_error.ravel()),
            schema.CHANCE: of_scores(lambda scores, count: np.tile(scores.chance, count)),
            schema.N_QUERIES: of_scores(lambda scores, count: np.tile(scores.n_queries, count)),
            schema.UNNORMALISED_ROWS: of_scores(lambda scores, _: np.repeat(scores.unnormalised_rows, metrics)),
            schema.NONFINITE_ENTRIES: of_scores(lambda scores, _: np.repeat(scores.nonfinite_entries, metrics)),
        },
        schema={name: dtype for name, dtype in FORM.schema.items() if name not in (schema.RUN, schema.TOKENS_SEEN)},
    )


def problems(run: RunSource, result: pl.DataFrame, unreadable: Mapping[Place, str]) -> pl.DataFrame:
    """Tensors that could not be read, and those whose rows are no patterns."""
    found = [(*place, "a readable tensor", text) for place, text in unreadable.items()]
    one = result.filter(pl.col(schema.METRIC) == _core.HEAD_METRICS[-1])
    counts = one.group_by(schema.STEP, schema.PROBE, schema.LAYER, maintain_order=True).agg(
        pl.col(schema.N_QUERIES, schema.UNNORMALISED_ROWS, schema.NONFINITE_ENTRIES).sum()
    )
    for step, probe, layer, n_rows, unnormalised, nonfinite in counts.iter_rows():
        name = f"{PREFIX}{probe}/L{layer:02}"
        if nonfinite:
            found.append((step, name, "finite numbers", f"{nonfinite:,} entries that are NaN or infinite"))
        if unnormalised:
            text = f"{unnormalised:,} of {n_rows:,} that do not; is it attention after softmax, and causal?"
            found.append((step, name, "rows that sum to 1 (within 0.01)", text))
    return problem_rows(run, found)
