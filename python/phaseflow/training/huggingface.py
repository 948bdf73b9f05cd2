"""A callback for the `Trainer` of Hugging Face's ``transformers``: probes, a schedule, an archive.

    trainer.add_callback(PhaseflowCallback("runs/mine", {"repeated": repeated, "text": text}))

Process 0 looks and records; the model must be whole there (one device, or data parallel).
"""

import json
from typing import Any

from transformers import TrainerCallback

from phaseflow.training.capture import Capture


class PhaseflowCallback(TrainerCallback):  # type: ignore[misc]  # checked as if it were not installed
    """Records losses and attention patterns on fixed probes while a ``Trainer`` trains.

    Parameters
    ----------
    run_dir, probes, **options
        As of :class:`phaseflow.training.capture.Capture`.
    tokens_per_step : int, optional
        Tokens of one update over all devices; without it the count of the ``Trainer``, where it keeps one
        (``include_num_input_tokens_seen``).

    Examples
    --------
    >>> from phaseflow.training.huggingface import PhaseflowCallback
    >>> callback = PhaseflowCallback("runs/mine", {"repeated": [[5, 3, 9, 5, 3, 9]]})
    """

    def __init__(self, run_dir: Any, probes: Any, *, tokens_per_step: int | None = None, **options: Any) -> None:
        self.capture = Capture(run_dir, probes, **options)
        self.tokens_per_step = tokens_per_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Opens the run and looks at the model as it is."""
        if state.is_world_process_zero:
            self.capture.begin(state.max_steps, _record(args, state, kwargs["model"]))
            self.on_step_end(args, state, control, **kwargs)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Looks at the model if that is due."""
        if state.is_world_process_zero:
            self.capture.step(state.global_step, kwargs["model"], tokens_seen=self._tokens_seen(state))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Records what the trainer logs."""
        if state.is_world_process_zero and self.capture.recording:
            self.capture.scalars(state.global_step, logs or {}, tokens_seen=self._tokens_seen(state))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the run."""
        self.capture.end()

    def _tokens_seen(self, state: Any) -> int | None:
        if self.tokens_per_step is not None:
            return int(state.global_step * self.tokens_per_step)
        return int(state.num_input_tokens_seen) or None


def _record(args: Any, state: Any, model: Any) -> dict[str, Any]:
    """The configuration as it stands in the archive: the model's, and what of the arguments bears on the numbers."""
    schedule = json.loads(args.to_json_string())
    kept = (
        "learning_rate",
        "lr_scheduler_type",
        "weight_decay",
        "per_device_train_batch_size",
        "max_grad_norm",
        "seed",
    )
    warmup = int(args.get_warmup_steps(state.max_steps))
    return {
        "model": json.loads(model.config.to_json_string(use_diff=True)),
        "optimiser": {name: schedule.get(name) for name in kept},
        "steps": int(state.max_steps),
        # The analysis warns where a phase change coincides with one of these.
        "events": {"end of warm-up": warmup} if warmup else {},
    }
