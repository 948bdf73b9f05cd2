"""The state a killed run goes on from: weights, optimiser, step, and the configuration they belong to.

One file, `resume.pt` in the run's directory, written beside its name and renamed, so that it is always whole. It is
read by torch's restricted reader (`weights_only=True`), never as a pickle that may run code.
"""

import os
import pickle
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from phaseflow.exceptions import CorruptArchiveError, ParameterError

FILE = "resume.pt"


def state_of(
    step: int, model: nn.Module, optimiser: torch.optim.Optimizer, config: Mapping[str, Any]
) -> dict[str, Any]:
    """A copy of the state after `step` updates, on the same device: what training does next does not change it."""
    return {
        "step": step,
        "config": config,
        "model": deepcopy(model.state_dict()),
        "optimiser": deepcopy(optimiser.state_dict()),
    }


def save(run_dir: Path, state: Mapping[str, Any]) -> None:
    """Keep a state; it replaces the one before."""
    beside = run_dir / f"{FILE}.new"
    with beside.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(run_dir / FILE)


def load(run_dir: Path, model: nn.Module, optimiser: torch.optim.Optimizer, config: Mapping[str, Any]) -> int:
    """Put the kept state into model and optimiser and return its step; 0, and nothing changed, where none is kept.

    Raises
    ------
    ParameterError
        The state belongs to another configuration; the message names what differs.
    CorruptArchiveError
        The file cannot be read.
    """
    path = run_dir / FILE
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        step, kept = int(state["step"]), state["config"]
    except (RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise CorruptArchiveError(
            f"{path}: expected a saved training state, found something else ({type(error).__name__});"
            " remove the file to train from the start"
        ) from error
    different = differences(kept, config)
    if different:
        raise ParameterError(
            f"{run_dir} holds a run with another configuration: {'; '.join(different)}."
            " Train into another directory, or give the configuration the run began with"
        )
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return step


def differences(kept: Any, given: Any, name: str = "") -> list[str]:
    """Each leaf that differs, as `path: had x, given y`."""
    if isinstance(kept, Mapping) and isinstance(given, Mapping):
        return [
            found
            for key in sorted({*kept, *given})
            for found in differences(kept.get(key), given.get(key), f"{name}.{key}" if name else str(key))
        ]
    return [] if kept == given else [f"{name}: had {kept!r}, given {given!r}"]
