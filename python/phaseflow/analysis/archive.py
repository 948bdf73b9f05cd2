"""An archive: one run or many on disk, and every table phaseflow reads off them.

Nothing is read when it is opened. A table is computed when it is first asked for, kept in memory, and kept under the
run's ``derived/`` folder, so that a second analysis, in another process too, computes only the steps that are new.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from phaseflow import schema
from phaseflow.analysis import (
    bursts,
    circuits,
    function_space,
    loss_bumps,
    patterns,
    phase_changes,
    tables,
    toy_models,
    training_derivative,
)
from phaseflow.analysis import token_changes as tokens_of
from phaseflow.analysis.measures import InContextLearning, LossDerivative, Measure, PositionLosses
from phaseflow.analysis.tables import PROBLEM_SCHEMA, OnProgress
from phaseflow.analysis.verdict import INDUCTION_THRESHOLD, verdicts
from phaseflow.archive import Numbers, RunSource, find_foreign_runs, find_runs, is_pattern

#: Bytes that patterns may hold in memory at once.
MEMORY = 256 << 20

TABLES = [
    "scalars",
    "head_scores",
    "position_losses",
    "loss_curve",
    "loss_bumps",
    "in_context_learning",
    "loss_derivative",
    "loss_training_derivative",
    "function_space",
    "circuit_scores",
    "feature_geometry",
    "toy_losses",
    "token_changes",
    "token_bursts",
    "phase_changes",
    "verdicts",
]


def open(
    path: str | Path | Mapping[str, str],
    *,
    tokens: Numbers | Mapping[str, Numbers] | None = None,
    bos: int | None = None,
    axes: str | Mapping[str, str] | None = None,
    steps: Numbers | None = None,
    cache: str | Path | None = None,
    memory: int = MEMORY,
    progress: OnProgress | None = None,
) -> "Archive":
    """Opens a run, every run below a directory, or the tensor files of others, without reading any tensor.

    Parameters
    ----------
    path : path, pattern, or mapping of str to pattern
        A run's directory (it holds ``phaseflow.json``) or a directory with runs anywhere below it. Or a path pattern
        with fields in braces, ``"logs/{run}/step{step}/attn_{layer}.npy"``: of attention patterns where it has
        ``{layer}``, else of per-token losses. Or both, ``{"attention": pattern, "loss": pattern}``, where
        ``"loss/text"`` names the probe. Files are ``.npy``, ``.npz``, ``.safetensors``, ``.pt``, ``.h5`` or ``.zarr``;
        ``::`` goes before the name of a tensor inside one, ``"step{step}.npz::attn.{layer}"``.
    tokens : array (batch, pos), .npy file, or dict of one for each probe, optional
        What the patterns were made on; attention cannot be scored without it.
    bos : int, optional
        Id of the start-of-sequence token in ``tokens``.
    axes : str, or dict of str for each key of ``path``, optional
        Axes of the files in their order, ``"layer head batch query_pos key_pos"``; by default
        ``"batch head query_pos key_pos"`` for attention, ``"batch pos"`` for losses. ``step`` and ``layer`` may be
        among them, ``batch`` may be missing. ``"batch head entry"`` are packed lower triangles, see
        :func:`phaseflow.pack_pattern`.
    steps : array of int, or .npy file, optional
        The steps along an axis ``step``.
    cache : path, optional
        Where results computed from the files of others are kept; without it they are computed anew every time.
    memory : int
        Bytes that patterns may hold in memory at once while they are read, 256 MiB by default, whatever the archive's
        size. (Files that only a library can decode, ``.npz``, HDF5, Zarr, need one whole tensor.)
    progress : callable, optional
        Called as ``progress(what, done, total)`` while tables are computed, both in bytes of stored tensors.

    Returns
    -------
    Archive

    Raises
    ------
    phaseflow.exceptions.MissingDataError
        When there is no such directory, it holds no run, or no file matches.
    phaseflow.exceptions.ParameterError
        When a pattern leaves step or layer open, or tokens are missing.

    Examples
    --------
    >>> import phaseflow as pf
    >>> archive = pf.open("runs/")  # doctest: +SKIP
    >>> archive.phase_changes()  # doctest: +SKIP
    >>> pf.open("logs/{run}/step{step}/attn_{layer}.npy", tokens="logs/tokens.npy", bos=0)  # doctest: +SKIP
    """
    if isinstance(path, Mapping) or is_pattern(path):
        patterns = dict(path) if isinstance(path, Mapping) else str(path)
        runs = find_foreign_runs(patterns, tokens=tokens, bos=bos, axes=axes, steps=steps, cache=cache)
        return Archive(runs[0].path, [*runs], memory=memory, progress=progress)
    damaged: list[pl.DataFrame] = []
    return Archive(Path(path), [*find_runs(path, damaged)], problems=damaged, memory=memory, progress=progress)


class Archive:
    """Runs on disk and the tables read off them; made by :func:`phaseflow.open`.

    All tables are tidy polars frames whose columns are named in :mod:`phaseflow.schema`.
    """

    def __init__(
        self,
        path: Path,
        runs: list[RunSource],
        *,
        problems: Sequence[pl.DataFrame] = (),
        memory: int = MEMORY,
        progress: OnProgress | None = None,
    ) -> None:
        self.path = path
        self.runs = runs
        self._memory = memory
        self._progress = progress
        self._kept: dict[tuple[Any, ...], pl.DataFrame] = {}
        self._tokens: dict[tuple[Any, ...], tokens_of.TokenChanges] = {}
        self._problems: list[pl.DataFrame] = [pl.DataFrame(schema=PROBLEM_SCHEMA), *problems]

    def __repr__(self) -> str:
        names = ", ".join(run.name for run in self.runs[:4]) + (", ..." if len(self.runs) > 4 else "")
        return f"Archive({str(self.path)!r}: {len(self.runs)} run{'s' * (len(self.runs) != 1)}: {names})"

    def scalars(self) -> pl.DataFrame:
        """Everything logged as a number: run, step, tokens_seen, name, value, wall_time."""
        frames = [run.scalars().select(pl.lit(run.name).alias(schema.RUN), pl.all()) for run in self.runs]
        return pl.concat(frames)

    def head_scores(self) -> pl.DataFrame:
        """Pattern scores of every head at every step: the rows of :func:`phaseflow.head_scores`."""
        return self._keep(
            ("head_scores",),
            lambda: self._of_runs(lambda run: patterns.table(run, self._memory, self._progress)),
        )

    def position_losses(self) -> pl.DataFrame:
        """Mean loss and standard error, in nats, of every token index at every step."""
        return self._table(PositionLosses())

    def loss_curve(self) -> pl.DataFrame:
        """Mean loss over all tokens of every text probe, in nats: run, step, tokens_seen, probe, value.

        A probe counts as text from 200 tokens an example on, as in :meth:`in_context_learning`; the mean of shorter
        ones can be had from :meth:`position_losses`.
        """
        where = [schema.RUN, schema.STEP, schema.TOKENS_SEEN, schema.PROBE]
        texts = self.in_context_learning().select(where)
        return (
            self.position_losses()
            .join(texts, on=where, how="semi", nulls_equal=True)
            .group_by(where, maintain_order=True)
            .agg(pl.col(schema.VALUE).mean())
        )

    def loss_bumps(self, *, x: str = "step", level: float = 0.05) -> pl.DataFrame:
        """Where the loss curve of each text probe is not convex: run, probe, start and end in steps, size, p_value, ...

        :func:`phaseflow.non_convexity` says how it is tested. ``x`` is what the curve would be convex in: ``"step"``,
        ``"log_step"``, ``"tokens_seen"`` or ``"log_tokens_seen"``; ``level`` the false-alarm rate of one curve.
        """
        return self._keep(("loss_bumps", x, level), lambda: loss_bumps.loss_bumps(self.loss_curve(), x=x, level=level))

    def in_context_learning(self, *, early: int = 50, late: int = 500, bandwidth: float = 0.25) -> pl.DataFrame:
        """In-context learning score of every text probe at every step, with its 95% bootstrap interval over examples.

        Around either token those within ``bandwidth / 2`` in ln(token index) are averaged, since a probe of hundreds
        of examples is far from the paper's ten thousand; 0 compares the two tokens alone. Where examples are shorter
        than ``late`` tokens their last one stands in, and the column ``late`` says so.
        Probes shorter than four times ``early`` (the repeated probe) are left out; another ``early`` than the default
        for which that would be all of them is refused.
        """
        measure = InContextLearning(early=early, late=late, bandwidth=bandwidth)
        measure.check()
        shapes = [shape for run in self.runs for shape in tables.shapes(run, measure.prefix)]
        measure.check_reach([shape[1] for shape in shapes if len(shape) == 2])
        return self._table(measure)

    def loss_derivative(self, *, bandwidth: float = 0.25) -> pl.DataFrame:
        """Derivative of the mean loss with respect to ln(token index), of every text probe at every step.

        :func:`phaseflow.loss_log_derivative` says how it is estimated; ``standard_error`` is over the examples.
        """
        measure = LossDerivative(bandwidth=bandwidth)
        measure.check()
        return self._table(measure)

    def loss_training_derivative(self, *, x: str = "step", bandwidth: float = 0.5) -> pl.DataFrame:
        """How fast the mean loss of every token index changes along training, in nats per factor e of ``x``.

        :func:`phaseflow.loss_training_derivative` says how it is estimated. It is linear: the mean over token indices
        is the slope of the mean loss.

        Parameters
        ----------
        x : str
            ``"step"``, or ``"tokens_seen"`` where every checkpoint logged it. Checkpoints at 0 have no logarithm and
            are left out.
        bandwidth : float
            Full width of the window in ``ln(x)``.

        Returns
        -------
        polars.DataFrame
            run, step, tokens_seen, probe, token_index, value (NaN where a loss in the window is undefined).
        """
        return self._keep(
            ("loss_training_derivative", x, bandwidth),
            lambda: training_derivative.training_derivative(self.position_losses(), x=x, bandwidth=bandwidth),
        )

    def function_space(self, *, components: int = 2, tokens: str = "one", seed: int = 0) -> pl.DataFrame:
        """Principal components of the losses of all checkpoints of all runs: one trajectory a run, in nats.

        Parameters
        ----------
        components : int
            How many; at most one a checkpoint.
        tokens : str
            ``"one"``: one random token of each example, as in the paper; ``"all"``: all of them, far less noisy.
        seed : int
            Chooses those tokens.

        Returns
        -------
        polars.DataFrame
            run, step, tokens_seen, probe, component (from 1), value (nats, root mean square over tokens) and share, the
            part of the variance that the component explains. Runs share a space where their probe has the same tokens.
        """
        return self._keep(("function_space", components, tokens, seed), lambda: self._spaces(components, tokens, seed))

    def _spaces(self, components: int, tokens: str, seed: int) -> pl.DataFrame:
        table, problems = function_space.function_spaces(
            self.runs, components=components, tokens=tokens, seed=seed, progress=self._progress
        )
        self._problems.append(problems)
        return table

    def circuit_scores(self) -> pl.DataFrame:
        """What the weights of every head say, at every step that stored weights.

        Returns
        -------
        polars.DataFrame
            run, step, tokens_seen, metric, layer, head, earlier_layer, earlier_head, value, chance. Of single heads
            ``ov_copying_statistic`` and ``qk_previous_token_term`` (at steps with patterns too); of pairs of an earlier
            head that writes and a head of a later layer that reads ``q_composition``, ``k_composition``,
            ``v_composition`` and ``qk_previous_token_trace``. ``chance`` is what random weights have. Weights are taken
            as stored: nothing of a normalisation is folded into them.
        """
        return self._keep(
            ("circuit_scores",),
            lambda: circuits.with_previous_token_term(
                self._of_runs(lambda run: circuits.table(run, self._progress)), self.head_scores()
            ),
        )

    def feature_geometry(self, *, learned: float = 0.1, edge: float = 0.2, tolerance: float = 0.1) -> pl.DataFrame:
        """Every feature of every toy model at every step: its share of a dimension, and the figure it belongs to.

        Of runs that stored ``weights/toy/W (instance, hidden, feature)``. Parameters and columns are those of
        :func:`phaseflow.feature_geometry`, with run, step and tokens_seen in front and ``instance`` for ``matrix``.
        """
        return self._keep(
            ("feature_geometry", learned, edge, tolerance),
            lambda: self._of_runs(lambda run: toy_models.geometry(run, learned, edge, tolerance, self._progress)),
        )

    def toy_losses(self) -> pl.DataFrame:
        """The loss of every toy model at every step: run, step, tokens_seen, instance, value."""
        return self._keep(("toy_losses",), lambda: self._of_runs(lambda run: toy_models.losses(run, self._progress)))

    def token_changes(self, *, fdr: float = 0.05, first_step: float | None = None, seed: int = 0) -> pl.DataFrame:
        """The breaks that the average hides: every token of every probe whose own loss breaks, when, how far, how sure.

        :func:`phaseflow.token_changes` says how a token is tested, and what holds the false-discovery rate.

        Parameters
        ----------
        fdr : float
            Expected share of false breaks among the rows of one probe of one run, as far as the noise is what the test
            takes it for; 1 gives every token.
        first_step : float, optional
            Checkpoints before it are not used; by default those before a thousandth of the last step.
        seed : int
            Seed of the simulated tokens.

        Returns
        -------
        polars.DataFrame
            One row a token, by run and probe, the surest first: run, probe, example, token_index, the token's id, its
            ``text``, the 16 tokens in front of it (``context``) and the 8 behind (``following``), where the probe has a
            vocabulary, ``repeat_length`` (of the longest passage ending with this token that stood earlier in the
            example; from 2 on an induction head can know it), and the columns of :func:`phaseflow.token_changes`. A
            probe with fewer than 16 checkpoints in that span has no rows.
        """
        return self._token_changes(fdr, first_step, seed).changes

    def token_bursts(self, *, fdr: float = 0.05, first_step: float | None = None, seed: int = 0) -> pl.DataFrame:
        """When tokens break: per tenth of a decade of steps how many drop and rise, and how many by chance.

        Parameters as in :meth:`token_changes`. A burst is a run of bins with more drops than chance gives; the rule is
        stated in :mod:`phaseflow.analysis.bursts`.

        Returns
        -------
        polars.DataFrame
            run, probe, start and end of the bin in steps, falls, rises, expected_falls, p_value, the share of falling
            tokens that end a repeated passage and that share of all tokens, and the number of the burst (null outside).
        """
        found = self._token_changes(fdr, first_step, seed)
        return bursts.token_bursts(found.changes, found.places)

    def burst_tokens(
        self, *, n: int = 5, fdr: float = 0.05, first_step: float | None = None, seed: int = 0
    ) -> pl.DataFrame:
        """What breaks in each burst: its ``n`` surest drops, at most one a token id.

        The number of the burst, as in :meth:`token_bursts`, and the columns of :meth:`token_changes`, whose parameters
        the others are.
        """
        where: dict[str, Any] = {"fdr": fdr, "first_step": first_step, "seed": seed}
        return bursts.typical_tokens(self.token_changes(**where), self.token_bursts(**where), n=n)

    def _token_changes(self, fdr: float, first_step: float | None, seed: int) -> tokens_of.TokenChanges:
        key = (fdr, first_step, seed)
        if key not in self._tokens:
            found = tokens_of.token_changes(
                self.runs, fdr=fdr, first_step=first_step, seed=seed, progress=self._progress
            )
            self._tokens[key] = found
            self._problems.append(found.problems)
        return self._tokens[key]

    def phase_changes(
        self, *, early: int = 50, late: int = 500, bandwidth: float = 0.25, level: float = 0.05
    ) -> pl.DataFrame:
        """The answer: one row for each window in which a measure breaks, with its certainty.

        Parameters
        ----------
        early, late, bandwidth
            Numbers of the in-context learning score, as in :meth:`in_context_learning`.
        level : float
            False-alarm rate of one curve; over the heads of a run it bounds the false-discovery rate.

        Returns
        -------
        polars.DataFrame
            run, metric, probe, layer, head, then the window: start and end in steps (last checkpoint before, first
            after), size, each with its interval, p_value; the measure before and after; and its share of the run's
            total change.

        Notes
        -----
        The windows are those of :func:`phaseflow.detect_windows` over log(step). How the noise changes along a curve is
        read off the losses and the heads' scores; that of the in-context learning score, a difference of losses, counts
        as equally strong everywhere.
        """
        return self._keep(
            ("phase_changes", early, late, bandwidth, level),
            lambda: phase_changes.phase_changes(
                self.head_scores(),
                self.in_context_learning(early=early, late=late, bandwidth=bandwidth),
                self.loss_curve(),
                level=level,
            ),
        )

    def verdicts(self, *, level: float = 0.05, induction_threshold: float = INDUCTION_THRESHOLD) -> pl.DataFrame:
        """One row a run: did it go through the induction phase change, when, by which heads, how sure is that.

        The rule is stated in :mod:`phaseflow.analysis.verdict`.
        """
        return self._keep(
            ("verdicts", level, induction_threshold),
            lambda: verdicts(
                self.runs,
                self.phase_changes(level=level),
                self.head_scores(),
                self.in_context_learning(),
                induction_threshold=induction_threshold,
            ),
        )

    @property
    def problems(self) -> pl.DataFrame:
        """Files and tensors that could not be used: run, file, object, expected, found. Empty when all is well.

        Damaged files are there from the start; tensors whose values leave a measure undefined, once it was computed.
        """
        return pl.concat([*(run.problems for run in self.runs), *self._problems]).unique(maintain_order=True)

    def verify(self) -> pl.DataFrame:
        """Reads every stored byte again, compares checksums: rows as in :attr:`problems`, none when all is well."""
        return pl.concat([run.verify(tables.told_of(run, self._progress)) for run in self.runs])

    def write_tables(self, directory: str | Path) -> None:
        """Writes every table as Parquet, ``<table>.parquet``, into ``directory``."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            table: pl.DataFrame = getattr(self, name)()
            table.write_parquet(directory / f"{name}.parquet")

    def _table(self, measure: Measure) -> pl.DataFrame:
        return self._keep(
            (measure.name, *measure.parameters().items()),
            lambda: self._of_runs(lambda run: tables.table(run, measure, self._progress)),
        )

    def _of_runs(self, table: Callable[[RunSource], tuple[pl.DataFrame, pl.DataFrame]]) -> pl.DataFrame:
        found = [table(run) for run in self.runs]
        self._problems += [problems for _, problems in found]
        return pl.concat([table for table, _ in found])

    def _keep(self, key: tuple[Any, ...], compute: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        table = self._kept.get(key)
        if table is None:
            table = self._kept[key] = compute()
        return table
