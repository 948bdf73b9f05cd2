"""Where to compute."""

import torch

from phaseflow.exceptions import ParameterError


def usable_device(name: str | None) -> str:
    """The device of that name, or CUDA where there is one, else the CPU; one that is not there is refused by name."""
    found = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise ParameterError(f"device is {found!r}, which torch cannot use here: {reason}; try 'cpu'") from error
    return found
