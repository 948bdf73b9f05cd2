"""Fixed probes shown to any causal language model while somebody else trains it.

A `Capture` has a schedule, looks when it is due, and records from the background. It is told of every step by a
trainer's callback (:mod:`phaseflow.training.huggingface`, :mod:`phaseflow.training.lightning`) or a loop of one's own.
Looking changes neither weights, mode nor random state.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from phaseflow.archive import BackgroundRecorder, Probe
from phaseflow.exceptions import ParameterError, UnknownNameError
from phaseflow.training.probe import CHUNK, Evaluation
from phaseflow.training.schedule import Checkpoints

#: (model, tokens (batch, pos), whether patterns are wanted) to logits (batch, pos, vocab) and one pattern a layer.
Forward = Callable[[Any, Tensor, bool], tuple[Tensor, Sequence[Tensor] | None]]


def huggingface_forward(model: Any, tokens: Tensor, patterns: bool) -> tuple[Tensor, Sequence[Tensor] | None]:
    """How models of ``transformers`` are called; fused attention is set aside while patterns are wanted."""
    with _eager_attention(model, patterns):
        out = model(input_ids=tokens, output_attentions=patterns, use_cache=False)
    return out.logits, out.attentions if patterns else None


def look(
    model: nn.Module,
    tokens: Mapping[str, Tensor],
    with_patterns: Collection[str] = (),
    *,
    forward: Forward = huggingface_forward,
) -> Evaluation:
    """Losses of a model on every probe, and its patterns on some, a few examples at a time.

    Parameters
    ----------
    model : torch.nn.Module
        Left as it is.
    tokens : mapping of str to integer Tensor (batch, pos)
        On the model's device.
    with_patterns : collection of str
        Probes whose attention patterns are wanted, as float16.
    forward : callable
        How the model is called: takes model, tokens and whether patterns are wanted; returns logits (batch, pos,
        vocab) and, if they are, patterns, one (batch, head, query_pos, key_pos) a layer.

    Raises
    ------
    ParameterError
        The model gave no patterns.
    """
    training = model.training
    model.eval()
    attention: dict[str, list[Tensor]] = {}
    losses: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, probe in tokens.items():
            parts, layers = [], []
            for chunk in torch.split(probe, CHUNK):
                logits, patterns = forward(model, chunk, name in with_patterns)
                flat, targets = logits[:, :-1].flatten(0, 1).float(), chunk[:, 1:]
                parts.append(F.cross_entropy(flat, targets.flatten(), reduction="none").view(targets.shape))
                if name in with_patterns:
                    if not patterns or any(pattern is None for pattern in patterns):
                        raise ParameterError(
                            f"the model gave no attention patterns on probe {name!r}: load it with"
                            " attn_implementation='eager', or ask for none (patterns=())"
                        )
                    layers.append([pattern.half() for pattern in patterns])
            losses[name] = torch.cat(parts)
            if layers:
                attention[name] = [torch.cat(layer) for layer in zip(*layers, strict=True)]
    model.train(training)
    return Evaluation(attention, losses)


class Capture:
    """Looks at a model at the steps of a schedule, and records.

    Parameters
    ----------
    run_dir : path
        The run's archive; a run that exists goes on after its last step.
    probes : mapping of str to Probe or integer array (batch, pos)
        The fixed tokens; losses are recorded on all of them.
    patterns : collection of str
        Probes whose attention patterns are recorded: a repeated random one; patterns of long text fill disks.
    checkpoints : Checkpoints
        When to look.
    forward : callable
        How the model is called, see :func:`look`.
    waiting : int
        Steps that may wait for the disk, see :class:`phaseflow.BackgroundRecorder`.

    Examples
    --------
    ::

        capture = Capture("runs/mine", {"repeated": repeated}, forward=my_forward)
        capture.begin(steps=1000)
        for step in range(1001):
            capture.step(step, model)
            ...  # an update
        capture.end()
    """

    def __init__(
        self,
        run_dir: str | PathLike[str],
        probes: Mapping[str, Probe | ArrayLike],
        *,
        patterns: Collection[str] = ("repeated",),
        checkpoints: Checkpoints | None = None,
        forward: Forward = huggingface_forward,
        waiting: int = 2,
    ) -> None:
        self.run_dir = run_dir
        self.probes = {
            name: each if isinstance(each, Probe) else Probe(np.asarray(each)) for name, each in probes.items()
        }
        unknown = set(patterns) - set(self.probes)
        if unknown:
            raise UnknownNameError(
                f"patterns names {', '.join(sorted(unknown))}, which are not among the probes {', '.join(self.probes)};"
                " patterns=() records none"
            )
        self.patterns = frozenset(patterns)
        self.checkpoints = checkpoints or Checkpoints()
        self.forward = forward
        self.waiting = waiting
        self._recorder: BackgroundRecorder | None = None
        self._due: frozenset[int] = frozenset()
        self._pending: dict[str, Any] = {}  # of the step at hand: its numbers may come after its look

    @property
    def recording(self) -> bool:
        """Whether the run is open."""
        return self._recorder is not None

    def begin(self, steps: int, config: Mapping[str, Any] | None = None) -> None:
        """Opens the run; `steps` is how many updates there will be."""
        self._recorder = BackgroundRecorder(
            self.run_dir, config=config, probes=self.probes, packed=True, waiting=self.waiting
        )
        last = self._recorder.last_step
        self._due = frozenset(step for step in self.checkpoints.steps(steps) if last is None or step > last)

    def step(self, step: int, model: nn.Module, *, tokens_seen: int | None = None) -> None:
        """Looks at the model after `step` updates if that is due."""
        if step not in self._due:
            return
        self._at(step, tokens_seen)
        if "per_token_loss" in self._pending:
            return  # a trainer that tells of a step twice
        device = next(model.parameters()).device
        tokens = {name: torch.tensor(probe.tokens, device=device) for name, probe in self.probes.items()}
        seen = look(model, tokens, self.patterns, forward=self.forward)
        self._pending |= {"attention": seen.attention, "per_token_loss": seen.per_token_loss}

    def scalars(self, step: int, values: Mapping[str, Any], *, tokens_seen: int | None = None) -> None:
        """Records the numbers among `values` for the model after `step` updates."""
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        last = None if self._recorder is None else self._recorder.last_step
        if numbers and (last is None or step > last):
            self._at(step, tokens_seen)
            self._pending["scalars"] = self._pending.get("scalars", {}) | numbers

    def end(self) -> None:
        """Writes what waits and closes the run."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            with recorder:
                self._write(recorder)

    def _at(self, step: int, tokens_seen: int | None) -> None:
        """Makes `step` the one at hand; the one before is complete."""
        if self._recorder is None:
            raise ParameterError("the Capture has not begun: call begin(steps) first")
        if self._pending.get("step", step) != step:
            self._write(self._recorder)
        self._pending |= {"step": step, "tokens_seen": tokens_seen}

    def _write(self, recorder: BackgroundRecorder) -> None:
        pending, self._pending = self._pending, {}
        if pending:
            recorder.log(**pending)


@contextmanager
def _eager_attention(model: Any, wanted: bool) -> Iterator[None]:
    """Attention spelt out where `transformers` would fuse it, which forms no patterns."""
    used = getattr(getattr(model, "config", None), "_attn_implementation", "eager")
    switch = wanted and used != "eager" and hasattr(model, "set_attn_implementation")
    if switch:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if switch:
            model.set_attn_implementation(used)
