"""What an online detector knows, as plain values that JSON keeps to the bit: written, sealed, and read with suspicion.

A state may come back from another version of phaseflow, cut short, or edited. Each of its numbers is looked at where it
is used, and the state that the new detector gives is held against the seal of the one it was made from, so that
whatever was lost or altered on the way is refused instead of going on with other answers.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from phaseflow.exceptions import ParameterError

#: 1 had no seal, and the covariance of a line.
VERSION = 2

_Made = TypeVar("_Made")


def sealed(state: dict[str, Any]) -> dict[str, Any]:
    """With its version and a checksum over all of it."""
    state = {"version": VERSION, **state}
    plain = json.dumps({name: value for name, value in state.items() if name != "runs"}, sort_keys=True)
    numbers = b"" if state["runs"] is None else np.array(state["runs"], dtype="<f8").tobytes()
    return state | {"checksum": zlib.crc32(numbers, zlib.crc32(plain.encode()))}


def opened(
    state: object, make: Callable[[Mapping[str, Any]], _Made], again: Callable[[_Made], dict[str, Any]]
) -> _Made:
    """What ``make`` makes of a state, if it gives the same state ``again``."""
    if not isinstance(state, Mapping) or "version" not in state:
        raise ParameterError(
            f"state is a {type(state).__name__} without a version, expected the dict that state() gave"
        )
    if state["version"] != VERSION:
        raise ParameterError(
            f"state has version {state['version']!r}, expected {VERSION}: another version of phaseflow made it, with "
            "numbers that mean something else; read it with that one, or feed a new detector the samples again"
        )
    try:
        made = make(state)
    except KeyError as error:
        raise ParameterError(f"state has no entry {error}, expected the dict that state() gave, whole") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ParameterError(f"state was changed since state() gave it: {error}") from error
    if again(made)["checksum"] != state.get("checksum"):
        raise ParameterError(
            "state was changed since state() gave it: its checksum is another; pass it as it was given"
        )
    return made
