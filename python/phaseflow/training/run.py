"""A run under way: its model and optimiser, what it shows at its checkpoints, and the state it is resumed from.

A thread writes, while training goes on: first what a checkpoint shows, then, when that is on disk, the state after it.
So a kept state is never ahead of the archive; a run that is killed repeats what had not been written yet.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from phaseflow.archive import BackgroundRecorder
from phaseflow.training import probe, resume
from phaseflow.training.config import TrainConfig
from phaseflow.training.data import TEXT, Data
from phaseflow.training.model import Transformer
from phaseflow.training.optimiser import adamw


class TrainingRun:
    """Everything of a run but its updates; its archive is open inside `with`.

    Parameters
    ----------
    config : TrainConfig
    run_dir : path
        A run that was stopped is taken up: `begin` is the step it goes on from.
    data : Data
        What `config.corpus` builds.
    device : str
    records : bool
        Whether to look and record: one process of a team does.
    at_rest : str, optional
        Where the model lies but for looking, where it is not this model that is trained; by default on the device.

    Raises
    ------
    ParameterError
        `run_dir` holds a run with another configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        run_dir: Path,
        data: Data,
        device: str,
        *,
        records: bool = True,
        at_rest: str | None = None,
    ) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.config, self.run_dir, self.data, self.device = config, run_dir, data, device
        self.record = config.as_record(data)
        with torch.random.fork_rng(devices=[]):  # the caller's random state is not ours to move
            torch.manual_seed(config.seed)
            self.model = Transformer(config.model)  # drawn on the CPU: the same weights on any device
        self.at_rest = at_rest or device
        self.model.to(self.at_rest)
        self.optimiser = adamw(self.model, config.optimiser)
        self.begin = resume.load(run_dir, self.model, self.optimiser, self.record)
        self.checkpoints = {step: index for index, step in enumerate(config.checkpoints.steps(config.steps))}
        self._records = records
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        if self._records:
            self._probes = self.data.probes(self.config.probes, self.config.model.context)
            self._tokens = {name: torch.tensor(each.tokens, device=self.device) for name, each in self._probes.items()}
            self._recorder = self._opened.enter_context(
                BackgroundRecorder(self.run_dir, config=self.record, probes=self._probes, packed=True, gaps=False)
            )
            # A run killed between archiving a checkpoint and keeping its state archived more than it kept.
            self._archived = -1 if self._recorder.last_step is None else self._recorder.last_step
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def checkpoint(self, step: int, train_loss: float | None) -> str | None:
        """Archive what the model shows after `step` updates, keep its state; a note for people, where it looked.

        `train_loss` is the mean over the updates since the last checkpoint; None where there were none.
        """
        if not self._records:
            return None
        keep = None
        if step > self.begin:
            keep = partial(resume.save, self.run_dir, resume.state_of(step, self.model, self.optimiser, self.record))
        if step > self._archived:
            return self._look(step, train_loss, keep)
        if keep is not None:
            keep()
        return None

    def _look(self, step: int, train_loss: float | None, then: Callable[[], None] | None) -> str:
        config, patterned = self.config, frozenset(self._probes) - {TEXT}
        self.model.to(self.device)
        seen = probe.evaluate(self.model, self._tokens, patterned)
        scalars = {
            "learning_rate": config.optimiser.learning_rate.at(step, config.steps),
            "text_loss": float(seen.per_token_loss[TEXT].mean()),
            **self.data.measures(self.model, self._tokens),
        }
        if train_loss is not None:
            scalars["train_loss"] = train_loss
        self._recorder.log(
            step,
            tokens_seen=step * config.tokens_per_step,
            scalars=scalars,
            attention=seen.attention,
            per_token_loss=seen.per_token_loss,
            weights=self.model.weights() if self.checkpoints[step] % config.weights_every == 0 else None,
            then=then,
        )
        self.model.to(self.at_rest)
        self._archived = step
        best = max(
            probe.best_prefix_matching(seen.attention[name], self._probes[name].tokens, self.data.bos)
            for name in patterned
        )
        return f"loss {scalars['text_loss']:.2f}, prefix matching {best:.2f}"
