"""Breaks of single tokens' losses, which the mean over tokens hides."""

from typing import TYPE_CHECKING, Any

import numpy as np

from phaseflow import schema
from phaseflow.discovery import check_rate, q_values
from phaseflow.exceptions import ShapeError
from phaseflow.metrics import _inputs
from phaseflow.metrics._token_scan import TokenBreaks, token_breaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import ArrayLike, NDArray

SIMULATIONS = 100_000


def token_changes(
    per_token_loss: "ArrayLike | Sequence[ArrayLike]",
    steps: "ArrayLike",
    *,
    fdr: float = 0.05,
    simulations: int = SIMULATIONS,
    seed: int = 0,
    threads: int | None = None,
) -> "pl.DataFrame":
    """Every token whose loss breaks at some step of training: when, how far (negative: a drop, nats), how sure.

    Each token is tested by itself. Its losses over the checkpoints are a smooth course (the span of 1, ln(step),
    step^-1/4, step^-1/2), plus a random walk in ln(step) for what it learns and unlearns slowly, plus noise whose
    course over the checkpoints all tokens share; a break is a ramp between two checkpoints, up to about 0.6 decades of
    steps apart. The test is by likelihood ratio: the best ramp, falling or rising, against none, each with the random
    walk that suits it best. A lone checkpoint far off does not count as more than four mean distances from the running
    median. What the ratio is without a break is simulated for tokens that wander as these do, with noise whose tails
    are as heavy. Of the tokens' p-values, Benjamini and Hochberg's procedure keeps those that hold the false-discovery
    rate.

    Parameters
    ----------
    per_token_loss : array (checkpoint, batch, pos), or a sequence of arrays (batch, pos)
        Losses in nats of the same tokens at every checkpoint; float16, bfloat16, float32 or float64. Row-major arrays
        and tensors of an archive are read where they lie, others are copied.
    steps : array (checkpoint,)
        Training step (or tokens seen) of every checkpoint: increasing, above 0, at least 16. Steps long before anything
        interesting only make the smooth course harder to follow; archives use the last three decades.
    fdr : float
        Expected share of false breaks among those returned, above 0 and at most 1; 1 returns every token that could be
        tested.
    simulations : int
        Tokens without a break that are simulated, at least 10,000. Smaller p-values than 1 in 500 are read off an
        exponential tail fitted to the largest of them.
    seed : int
        Seed of those.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    polars.DataFrame
        One row a token, the surest first: ``example`` (from 0), ``token_index`` (from 1), ``start`` and ``end`` (the
        last step before the break and the first after it), ``before`` and ``after`` (mean loss of the 8 checkpoints up
        to and from there, nats), ``size`` (after minus before), ``height`` (of the ramp in standard errors, negative
        for a drop, on the scale of the odds), ``p_value``, ``q_value``. A token with a NaN or infinite loss at any
        checkpoint is not tested.

    Raises
    ------
    ShapeError
        Fewer than 16 checkpoints, checkpoints of different shapes, or another number of steps.
    ParameterError
        Steps that do not increase from above 0, a parameter out of its range.

    Notes
    -----
    The test is done on ``ln(e^loss - 1 + 0.001)``, the log-odds against the token, softened near a loss of 0: there
    the noise from checkpoint to checkpoint is the same for confident and for unlikely tokens, while in the loss its
    variance differs 20,000-fold. A drop from 0.02 to 0.002 nats can be certain, too; ``size`` tells.

    The noise is a token's own times that of the checkpoint, which all tokens share and which is read off them: how far
    a checkpoint is off the line between its neighbours, over the quartiles of up to 16,384 tokens. No
    checkpoint counts as having less than half of the middle one's variance. Of fewer than 1,000 tokens neighbouring
    checkpoints are taken together, of fewer than 16 the noise is taken for even.

    Simulated, 14 sets of 5,000 tokens on 70 log-spaced checkpoints, random walks of 0 to 36 noise variances a decade,
    1 % of the tokens dropping at a step of their own (``benches/token_changes.py --calibrate 14``). Of the others
    p-values below 0.05 came 1.0 to 1.2 times as often as they should, below 0.01 1.0 to 1.2 times. Of drops by six
    noise deviations 99 % were found, 63 % where all tokens wander by 4 noise variances a decade; of those found 5 to
    6 % were false on average. Of drops by three deviations 20 % were found, and hardly any of tokens that wander so. It
    takes checkpoints: with 24 of them a third of the drops by six deviations were found, with 16 one in fifty.
    In noise with Student's tails of 5 or 3 degrees of freedom 4 to 6 % were false, in noise that grows or shrinks along
    training 6 to 7 %, 10 % where it shrinks threefold, and 99 % found.

    The tokens of a run share its weights and so their noise: the false breaks of a run may come
    together at one checkpoint. The procedure holds the mean rate under such positive dependence, not its spread.

    How heavy the noise's tails are is read off the same tokens: the share of those distances beyond 3.8 of their
    token's medians, of normal noise 1 in 100; the simulated noise is Student's t of the degrees of freedom that make
    the share. A token that is restless for part of training only, while others are not, is not foreseen: where one
    token in fifty has threefold noise in a third of the checkpoints, 8 to 17 % of what is found is false, of one in ten
    24 to 45 %, most where it is the first third. Noise that is correlated from checkpoint to checkpoint counts as
    wander and costs power alone (AR(1) 0.5: 2 % false, 79 % found).

    References
    ----------
    Michaud 2023, *The Quantization Model of Neural Scaling*, arXiv 2303.13506, whose per-token curves show such drops.
    Benjamini and Hochberg 1995, *Controlling the False Discovery Rate*.

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> steps = np.geomspace(10, 10_000, 80)
    >>> losses = np.random.default_rng(0).normal(4 + 9 / np.sqrt(steps)[:, None, None], 0.3, (80, 20, 50))
    >>> losses[50:, 3, 7] -= 2.0
    >>> found = pf.token_changes(losses, steps)
    >>> found.select("example", "token_index").row(0)
    (3, 8)
    """
    tensors = checkpoints(per_token_loss)
    at = np.ascontiguousarray(steps, dtype=np.float64)
    if at.shape != (len(tensors),):
        raise ShapeError(f"steps has shape {at.shape}, expected ({len(tensors)},), one for every checkpoint")
    check_rate("fdr", _inputs.real("fdr", fdr))
    breaks = token_breaks(
        tensors,
        at,
        simulations=_inputs.integer("simulations", simulations, least=1),
        seed=_inputs.integer("seed", seed, least=0),
        threads=_inputs.optional_integer("threads", threads, least=1),
    )
    return table(breaks, at, context=tensors[0].shape[1], fdr=fdr)


def checkpoints(per_token_loss: Any) -> list[Any]:
    """One (batch, pos) tensor a checkpoint."""
    if isinstance(per_token_loss, (list, tuple)) and all(hasattr(one, "shape") for one in per_token_loss):
        tensors = [_inputs.tensor("per_token_loss", one) for one in per_token_loss]
    else:
        tensors = list(_inputs.tensor("per_token_loss", per_token_loss))
    if not tensors:
        raise ShapeError("per_token_loss has no checkpoints, needs at least 16")
    for tensor in tensors:
        if len(tensor.shape) != 2:
            raise ShapeError(
                "per_token_loss must have axes (checkpoint, batch, pos), "
                f"got {len(tensor.shape) + 1} {'axis' if len(tensor.shape) == 0 else 'axes'}"
            )
    return tensors


def table(breaks: TokenBreaks, steps: "NDArray[np.float64]", *, context: int, fdr: float) -> "pl.DataFrame":
    """The breaks with a q-value of at most ``fdr`` as a table, surest first."""
    import polars as pl

    q_value = q_values(breaks.p_value)
    kept = np.flatnonzero(q_value <= fdr)
    kept = kept[np.lexsort((-np.abs(breaks.height[kept]), breaks.p_value[kept]))]
    return pl.DataFrame(
        {
            schema.EXAMPLE: (kept // context).astype(np.int32),
            schema.TOKEN_INDEX: (kept % context + 1).astype(np.int32),
            schema.START: steps[breaks.start[kept]],
            schema.END: steps[breaks.end[kept]],
            schema.BEFORE: breaks.before[kept],
            schema.AFTER: breaks.after[kept],
            schema.SIZE: breaks.after[kept] - breaks.before[kept],
            schema.HEIGHT: breaks.height[kept].astype(np.float64),
            schema.P_VALUE: breaks.p_value[kept],
            schema.Q_VALUE: q_value[kept],
        }
    )
