"""What every head is for, at every checkpoint that stored weights: ablations as a tidy table (Olsson 2022).

Each model is rebuilt from the run's configuration and a checkpoint's weights, and looked at without each of its heads
in turn, fully and preserving patterns (:mod:`phaseflow.training.ablation`). With `L` the per-token losses of the text
probe, three numbers say what is lost:

* `loss_change`: mean of `L_ablated - L_whole`, nats; positive where the head helps.
* `in_context_learning_change`: in-context learning score of the ablated model less that of the whole one, nats;
  positive where the head carries in-context learning.
* `before_after_attribution`: `v · (L_ablated - L_whole)` with `v = (L_end - L_start) / |L_end - L_start|` over the
  vector of all per-token losses; negative for a head that does what the change from start to end did. **choice**: start
  and end are those of the run's phase change where it has one, else its first and last checkpoint.

Standard errors are over the probe's examples, for the attribution with `v` as given. `copying_score` stands beside
them: of the first of the repeats in the probe of repeated tokens, without the start token.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from phaseflow import analysis, metrics, schema
from phaseflow.analysis.measures import InContextLearning
from phaseflow.analysis.tables import OnBytes, OnProgress, computed, probes_of
from phaseflow.archive import RunSource
from phaseflow.exceptions import MissingDataError
from phaseflow.training.ablation import ablate_every_head, copying_scores
from phaseflow.training.device import usable_device
from phaseflow.training.model import ModelConfig, Transformer

LOSS_CHANGE = "loss_change"
IN_CONTEXT_LEARNING_CHANGE = "in_context_learning_change"
BEFORE_AFTER = "before_after_attribution"
COPYING_SCORE = "copying_score"
FULL, PATTERN_PRESERVING = "full", "pattern_preserving"

FORM = pl.DataFrame(
    schema={
        schema.RUN: pl.String,
        schema.STEP: pl.Int64,
        schema.TOKENS_SEEN: pl.Int64,
        schema.PROBE: pl.String,
        schema.ABLATION: pl.String,
        schema.METRIC: pl.String,
        schema.LAYER: pl.Int32,
        schema.HEAD: pl.Int32,
        schema.VALUE: pl.Float64,
        schema.STANDARD_ERROR: pl.Float64,
    }
)
_PREFIX = "weights/"


def ablation_scores(
    source: str | Path | analysis.Archive,
    *,
    examples: int = 64,
    last_only: bool = False,
    device: str | None = None,
    progress: OnProgress | None = None,
) -> pl.DataFrame:
    """What every head of every run is for, at every checkpoint that stored weights; kept beside the run.

    Parameters
    ----------
    source : path or Archive
        A run that :func:`phaseflow.training.train` recorded, a directory of runs, or an open archive.
    examples : int
        Of the text probe, from its first; all of them if it has fewer.
    last_only : bool
        Look at the last of those checkpoints alone.
    device : str, optional
        A torch device; CUDA where there is one, else the CPU.
    progress : callable, optional
        As that of :func:`phaseflow.open`.

    Returns
    -------
    polars.DataFrame
        run, step, tokens_seen, probe, ablation, metric, layer, head, value, standard_error. ``ablation`` and
        ``standard_error`` are null for ``copying_score``, which is NaN for a head that raises no token.

    Raises
    ------
    phaseflow.exceptions.MissingDataError
        When a run stored no weights, not all of them, or nothing to rebuild a model from.

    Examples
    --------
    >>> from phaseflow.labs.ablations import ablation_scores
    >>> ablation_scores("runs/demo")  # doctest: +SKIP
    """
    archive = source if isinstance(source, analysis.Archive) else analysis.open(source, progress=progress)
    names_at = {run.name: weights_at(run) for run in archive.runs}
    if last_only:
        names_at = {name: {max(at): at[max(at)]} for name, at in names_at.items()}
    device = usable_device(device)
    windows = {row[schema.RUN]: row for row in archive.verdicts().iter_rows(named=True) if row[schema.PHASE_CHANGE]}
    tables = []
    for run in archive.runs:
        window = windows.get(run.name)
        span = (int(window[schema.START]), int(window[schema.END])) if window else (run.steps[0], run.steps[-1])
        tables.append(_of_run(run, names_at[run.name], span, examples, device, progress))
    return pl.concat(tables)


def weights_at(run: RunSource) -> dict[int, list[str]]:
    """The names of the weights that each step stored; a run whose models cannot be rebuilt is refused."""
    if "n_vocab" not in (run.config.get("model") or {}):
        raise MissingDataError(
            f"run {run.name!r} was not trained by phaseflow: its configuration has no model to rebuild; name other runs"
        )
    names_at: dict[int, list[str]] = {}
    stored = run.index.filter(pl.col(schema.NAME).str.starts_with(_PREFIX)).select(schema.STEP, schema.NAME)
    for step, name in stored.unique().sort(schema.STEP, schema.NAME).iter_rows():
        names_at.setdefault(step, []).append(name)
    if not names_at:
        raise MissingDataError(f"run {run.name!r} stored no weights; log some: Recorder.log(..., weights=...)")
    return names_at


def _of_run(
    run: RunSource,
    names_at: dict[int, list[str]],
    span: tuple[int, int],
    examples: int,
    device: str,
    progress: OnProgress | None,
) -> pl.DataFrame:
    def rows_of_step(steps: list[int], _: OnBytes) -> pl.DataFrame:
        [step] = steps
        model = rebuilt(run, step, names_at[step], device)
        rows = pl.concat([*_ablations(run, model, span, examples), *_copying(run, model)])
        return rows.with_columns(pl.lit(step, pl.Int64).alias(schema.STEP))

    depends_on = {"examples": examples, "span": span, "model": run.config["model"], "probes": probes_of(run)}
    return computed(run, "ablation_scores", depends_on, names_at, rows_of_step, FORM, progress)


def rebuilt(run: RunSource, step: int, names: list[str], device: str) -> Transformer:
    """The model of a run at a step, from its configuration and stored weights."""
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced
        model = Transformer(ModelConfig(**run.config["model"]))
    weights = {name.removeprefix(_PREFIX): torch.from_numpy(np.array(run.tensor(step, name))) for name in names}
    try:
        model.load_weights(weights)
    except MissingDataError as error:
        raise MissingDataError(f"run {run.name!r} at step {step}: {error}; record it again") from None
    return model.to(device)


def _ablations(run: RunSource, model: Transformer, span: tuple[int, int], examples: int) -> Iterator[pl.DataFrame]:
    for name, probe in run.probes.items():
        measure = InContextLearning()
        context = probe.tokens.shape[1] - 1
        if not measure.applies((len(probe.tokens), context)):
            continue
        tokens = torch.tensor(probe.tokens[:examples], device=model.W_E.device)
        start, end = (np.asarray(run.tensor(step, f"loss/{name}"), np.float64)[:examples] for step in span)
        with np.errstate(invalid="ignore"):  # nothing changed: no direction, and no attribution
            direction = (end - start) / np.linalg.norm(end - start)
        at = measure.tokens(context)
        for ablation in (FULL, PATTERN_PRESERVING):
            losses = ablate_every_head(model, tokens, preserve_patterns=ablation == PATTERN_PRESERVING)
            change = (losses.without - losses.whole).double().numpy()  # (layer, head, example, pos)
            of_examples = {
                LOSS_CHANGE: change.mean(-1),
                IN_CONTEXT_LEARNING_CHANGE: metrics.in_context_learning_score(change[..., None, :], **at),
                # A sum over examples, as the mean of this many times each.
                BEFORE_AFTER: len(tokens) * (change * direction).sum(-1),
            }
            for metric, values in of_examples.items():
                error = values.std(axis=-1, ddof=1) / len(tokens) ** 0.5 if len(tokens) > 1 else np.nan * values[..., 0]
                yield _frame(name, ablation, metric, values.mean(-1), error)


def _copying(run: RunSource, model: Transformer) -> Iterator[pl.DataFrame]:
    probe = run.probes.get("repeated")
    if probe is not None:
        # Each example repeats different tokens, as many as it likes: up to here none of them has come back.
        shortest = min(len(np.unique(example)) for example in probe.tokens[:, 1:])
        once = torch.tensor(probe.tokens[:, 1 : 1 + shortest], device=model.W_E.device)
        yield _frame("repeated", None, COPYING_SCORE, copying_scores(model, once), None)


def _frame(
    probe: str, ablation: str | None, metric: str, values: NDArray[np.float64], error: NDArray[np.float64] | None
) -> pl.DataFrame:
    """One row a head of (layer, head)."""
    layer, head = np.indices(values.shape).reshape(2, -1)
    columns = {
        schema.PROBE: [probe] * values.size,
        schema.ABLATION: [ablation] * values.size,
        schema.METRIC: [metric] * values.size,
        schema.LAYER: layer,
        schema.HEAD: head,
        schema.VALUE: values.ravel(),
        schema.STANDARD_ERROR: [None] * values.size if error is None else error.ravel(),
    }
    return pl.DataFrame(columns, schema_overrides={name: FORM.schema[name] for name in columns})


def at_the_end(scores: pl.DataFrame) -> pl.DataFrame:
    """The table of the last checkpoint of every run, a row a head, a column a number: for people."""
    last = scores.filter(pl.col(schema.STEP) == pl.col(schema.STEP).max().over(schema.RUN))
    named = last.with_columns(pl.concat_str(schema.METRIC, schema.ABLATION, separator=", ", ignore_nulls=True))
    return named.pivot(schema.METRIC, index=[schema.RUN, schema.LAYER, schema.HEAD], values=schema.VALUE)
