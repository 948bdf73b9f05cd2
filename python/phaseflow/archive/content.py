"""The tensors of one step: their names, and their shapes checked against the probes."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from phaseflow.archive.compact import stored_parts
from phaseflow.archive.host import stored_array
from phaseflow.archive.probe import Probe
from phaseflow.exceptions import ParameterError, ShapeError, UnknownNameError
from phaseflow.metrics import CompactPattern, pack_pattern

#: name, dtype name, C-contiguous array
Tensor = tuple[str, str, NDArray[Any]]


def step_tensors(
    probes: Mapping[str, Probe],
    attention: Mapping[str, Sequence[Any]] | None,
    per_token_loss: Mapping[str, Any] | None,
    weights: Mapping[str, Any] | None,
    *,
    packed: bool,
) -> list[Tensor]:
    """``attention/<probe>/L00``, packed if asked for, or its parts; ``loss/<probe>`` and ``weights/<name>``."""
    tensors: list[Tensor] = []
    for probe, layers in (attention or {}).items():
        batch, pos = _known(probes, "attention", probe).tokens.shape
        for layer, pattern in enumerate(layers):
            name = f"attention/{probe}/L{layer:02d}"
            if isinstance(pattern, CompactPattern):
                tensors += stored_parts(name, pattern, batch, pos)
                continue
            dtype, array = stored_array(name, pattern)
            heads = array.shape[1] if array.ndim > 1 else 0
            if array.shape == (batch, heads, pos, pos):
                array = pack_pattern(array) if packed else array
            elif array.shape != (batch, heads, pos * (pos + 1) // 2):
                raise ShapeError(
                    f"{name} has shape {array.shape}, expected (batch, head, query_pos, key_pos) ="
                    f" ({batch}, any, {pos}, {pos}), or packed ({batch}, any, {pos * (pos + 1) // 2})"
                )
            tensors.append((name, dtype, array))
    for probe, loss in (per_token_loss or {}).items():
        batch, pos = _known(probes, "per_token_loss", probe).tokens.shape
        name = f"loss/{probe}"
        dtype, array = stored_array(name, loss)
        # A model that sees all tokens but the last predicts one fewer than there are.
        if array.shape not in ((batch, pos), (batch, pos - 1)):
            raise ShapeError(
                f"{name} has shape {array.shape}, expected (batch, pos) = ({batch}, {pos}) or ({batch}, {pos - 1})"
            )
        tensors.append((name, dtype, array))
    for name, weight in (weights or {}).items():
        if not isinstance(name, str) or not name.isprintable() or not name:
            raise ParameterError(f"weights has the name {name!r}, expected printable text")
        tensors.append((f"weights/{name}", *stored_array(f"weights/{name}", weight)))
    return tensors


def _known(probes: Mapping[str, Probe], argument: str, name: str) -> Probe:
    if name not in probes:
        known = ", ".join(probes) or "none"
        raise UnknownNameError(
            f'{argument} names the probe "{name}", known: {known}; give the Recorder its tokens as probes={{...}}'
        )
    return probes[name]
