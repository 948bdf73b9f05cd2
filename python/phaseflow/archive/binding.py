"""What a file of somebody else's holds: a path pattern, the kind of tensor, and the axes in it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phaseflow._core import StoredTensor
from phaseflow.archive.formats import WHOLE, Opened, form, open_file
from phaseflow.archive.in_place import MEASURED
from phaseflow.archive.pattern import PathPattern
from phaseflow.exceptions import DtypeError, MissingDataError, ParameterError, ShapeError

AXES = {"attention": ("batch", "head", "query_pos", "key_pos"), "loss": ("batch", "pos")}
#: Attention whose files hold the lower triangles alone, row after row.
PACKED = ("batch", "head", "entry")
#: Axes that a file may have besides, and that tell tensors apart.
_OUTER = ("step", "layer")


@dataclass(frozen=True)
class Binding:
    """One pattern, what its files hold, and the axes of the tensors in them."""

    pattern: PathPattern
    kind: str
    probe: str | None
    axes: tuple[str, ...]

    @property
    def inner(self) -> tuple[str, ...]:
        """The axes of one tensor, in the order that measures take."""
        return PACKED if "entry" in self.axes else AXES[self.kind]


@dataclass(frozen=True)
class Place:
    """Where one tensor lies: file, name inside it, and which index of the outer axes."""

    file: str
    inside: str
    outer: tuple[tuple[str, int], ...]
    binding: Binding
    shape: tuple[int, ...]
    dtype: str
    identity: str

    @property
    def index(self) -> tuple[int | slice, ...]:
        """Where it stands in the array of its file."""
        outer = dict(self.outer)
        return tuple(outer.get(axis, slice(None)) for axis in self.binding.axes)


def named(patterns: str | Mapping[str, str], axes: str | Mapping[str, str] | None) -> dict[str, str]:
    """Patterns by kind; one alone is of attention where it has layers or its files have heads, else of losses."""
    if isinstance(patterns, str):
        attention = "{layer}" in patterns or (isinstance(axes, str) and "head" in axes)
        return {"attention" if attention else "loss": patterns}
    return dict(patterns)


def bind(kind: str, pattern: str, axes: str | Mapping[str, str] | None) -> Binding:
    """What ``{kind: pattern}`` says; ``kind`` may name its probe: ``"loss/text"``."""
    what, _, probe = kind.partition("/")
    if what not in AXES:
        raise ParameterError(f'the pattern {pattern!r} is for {kind!r}, expected "attention" or "loss", or "loss/text"')
    given = axes.get(kind) if isinstance(axes, Mapping) else axes
    order = AXES[what] if given is None else tuple(given.split())
    inner = PACKED if what == "attention" and "entry" in order else AXES[what]
    if len(set(order)) != len(order) or not {*inner} - {"batch"} <= {*order} <= {*inner, *_OUTER}:
        raise ParameterError(
            f"axes of {kind} are {given!r}, expected each of {' '.join(inner)} once (batch may be left out)"
            " and, where a file holds several, step or layer"
        )
    binding = Binding(PathPattern(pattern), what, probe or None, order)
    needed = {"step", "layer"} if what == "attention" else {"step"}
    if lacking := needed - set(binding.pattern.fields) - set(order):
        name = sorted(lacking)[0]
        raise ParameterError(f"nothing in {pattern!r} tells the {name}: put {{{name}}} into it, or {name} into axes")
    return binding


def places(
    binding: Binding, file: str, fields: Mapping[str, str], steps: Sequence[int] | None
) -> Iterator[tuple[tuple[int, str], Place]]:
    """The tensors of one file, by step and name."""
    status = os.stat(file)
    changed = f"{status.st_size}-{status.st_mtime_ns}"
    with open_file(Path(file)) as opened:
        for inside, more in names_inside(binding, file, opened):
            shape, dtype = form(Path(file), opened, inside)
            if dtype not in MEASURED:
                raise DtypeError(f"{file} holds {dtype}, expected one of {', '.join(MEASURED)}")
            if len(shape) != len(binding.axes):
                expected = f"expected the axes ({', '.join(binding.axes)}); name what it has with axes="
                raise ShapeError(f"{file} has shape {shape}, {expected}")
            sizes = dict(zip(binding.axes, shape, strict=True))
            if "step" in sizes and (steps is None or len(steps) != sizes["step"]):
                given = "none" if steps is None else str(len(steps))
                raise ShapeError(f"{file} holds {sizes['step']} steps, {given} given: name them with steps=")
            for outer in outer_indices(binding, sizes):
                at = {**fields, **more, **{axis: str(index) for axis, index in outer}}
                step = int(at["step"]) if "step" not in sizes or steps is None else steps[int(at["step"])]
                probe = binding.probe or at.get("probe") or "probe"
                layer = f"/L{int(at['layer']):02d}" if binding.kind == "attention" else ""
                inner = tuple(sizes.get(axis, 1) for axis in binding.inner)
                # Everything that tells these numbers from others; results are kept by it.
                identity = "|".join([file, inside, str(outer), " ".join(binding.axes), dtype, changed])
                place = Place(file, inside, outer, binding, inner, dtype, identity)
                yield (step, f"{binding.kind}/{probe}{layer}"), place


def names_inside(binding: Binding, file: str, opened: Opened) -> Iterator[tuple[str, dict[str, str]]]:
    """The names of the tensors meant, with what the fields in them stand for."""
    if binding.pattern.inside is None:
        if len(opened) != 1:
            raise MissingDataError(
                f"{file} holds {len(opened)} tensors ({', '.join(sorted(opened)[:8])}); say which: "
                f"'{binding.pattern.text}::<name>'"
            )
        yield next(iter(opened)), {}
        return
    matches = [(name, more) for name in opened if (more := binding.pattern.match_inside(name)) is not None]
    if not matches:
        raise MissingDataError(
            f"{file} holds no tensor {binding.pattern.inside!r}, it holds {', '.join(sorted(opened)[:8]) or WHOLE}"
        )
    yield from matches


def outer_indices(binding: Binding, sizes: Mapping[str, int]) -> Iterator[tuple[tuple[str, int], ...]]:
    """Every index of the axes that tell tensors apart."""
    outer = [axis for axis in binding.axes if axis in _OUTER]
    for index in np.ndindex(*(sizes[axis] for axis in outer)):
        yield tuple(zip(outer, index, strict=True))


def bound(found: StoredTensor | NDArray[Any], place: Place) -> StoredTensor | NDArray[Any]:
    """A tensor, axes in the order of its kind, from what its file gave: a mapped array whole, others indexed."""
    wanted = place.binding.inner
    axes = [axis for axis in place.binding.axes if axis not in dict(place.outer)]
    if isinstance(found, StoredTensor):
        outer_first = place.binding.axes[: len(place.outer)] == tuple(axis for axis, _ in place.outer)
        if outer_first and axes in ([*wanted], [*wanted[1:]]):
            return found.part([index for _, index in place.outer]).reshape(place.shape)
        found = np.asarray(found)[place.index]
    if "batch" not in axes:
        found, axes = found[None], ["batch", *axes]
    return found.transpose([axes.index(axis) for axis in wanted])
