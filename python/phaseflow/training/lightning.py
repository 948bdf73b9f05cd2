"""A callback for the `Trainer` of Lightning: probes, a schedule, an archive.

    Trainer(callbacks=[PhaseflowCallback("runs/mine", {"repeated": repeated, "text": text}, forward=forward)])

Process 0 looks and records; the model must be whole there (one device, or data parallel).
"""

import math
from typing import Any

from lightning.pytorch.callbacks import Callback

from phaseflow.exceptions import ParameterError
from phaseflow.training.capture import Capture


class PhaseflowCallback(Callback):  # type: ignore[misc]  # checked as if it were not installed
    """Records losses and attention patterns on fixed probes while Lightning trains.

    Parameters
    ----------
    run_dir, probes, **options
        As of :class:`phaseflow.training.capture.Capture`; ``forward`` takes the ``LightningModule``.
    tokens_per_step : int, optional
        Tokens of one update over all devices.
    config : mapping, optional
        Model, optimiser, schedule, data: whatever JSON can hold; by default the module's ``hparams``.
    """

    def __init__(
        self, run_dir: Any, probes: Any, *, tokens_per_step: int | None = None, config: Any = None, **options: Any
    ) -> None:
        self.capture = Capture(run_dir, probes, **options)
        self.tokens_per_step = tokens_per_step
        self.config = config

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Opens the run and looks at the model as it is."""
        if trainer.is_global_zero:
            steps = trainer.estimated_stepping_batches
            if not math.isfinite(steps):
                raise ParameterError("the Trainer has no end: give it max_steps or max_epochs, the schedule needs one")
            self.capture.begin(int(steps), dict(pl_module.hparams) if self.config is None else self.config)
            self._look(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Looks at the model if that is due, and records what was logged of the step."""
        if trainer.is_global_zero:
            self._look(trainer, pl_module)
            numbers = {name: value.item() for name, value in trainer.logged_metrics.items() if value.numel() == 1}
            self.capture.scalars(trainer.global_step, numbers, tokens_seen=self._tokens_seen(trainer))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Closes the run."""
        self.capture.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Closes the run; nothing that was seen is lost."""
        self.capture.end()

    def _look(self, trainer: Any, pl_module: Any) -> None:
        self.capture.step(trainer.global_step, pl_module, tokens_seen=self._tokens_seen(trainer))

    def _tokens_seen(self, trainer: Any) -> int | None:
        return None if self.tokens_per_step is None else int(trainer.global_step * self.tokens_per_step)
