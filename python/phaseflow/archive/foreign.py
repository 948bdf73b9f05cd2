"""Runs whose tensors somebody else's code wrote: bound to steps, layers and axes by path patterns, read where they lie.

A tensor of a foreign run has the name it would have in a run of a Recorder, ``attention/<probe>/L00`` or
``loss/<probe>``, so that everything after this file sees no difference. Files are not checksummed: size and time of
last change tell whether one has changed.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from phaseflow._core import StoredTensor
from phaseflow.archive.binding import Place, bind, bound, named, places
from phaseflow.archive.formats import Opened, check, load, open_file
from phaseflow.archive.index import SCHEMA
from phaseflow.archive.parts import DecodedPattern, too_large
from phaseflow.archive.pattern import PathPattern
from phaseflow.archive.probe import Probe
from phaseflow.archive.problem import Problem, problem_table
from phaseflow.archive.scalars import SCHEMA as SCALARS
from phaseflow.exceptions import MissingDataError, ParameterError, PhaseflowError

Numbers = ArrayLike | str | os.PathLike[str]

#: Stands for a token where none were given.
NO_TOKEN = -1
_OPEN_FILES = 16
_VERIFIED_AT_ONCE = 256 << 20  # bytes of a tensor that has to be decoded


class ForeignRun:
    """One run of files that no Recorder wrote; made by `find_foreign_runs`."""

    def __init__(self, name: str, path: Path, derived: Path | None) -> None:
        self.name = name
        self.path = path
        self.derived = derived
        self.config: dict[str, Any] = {}
        self.probes: dict[str, Probe] = {}
        self.places: dict[tuple[int, str], Place] = {}
        self._identities: dict[int, dict[str, str]] = {}
        self.found: list[Problem] = []
        self._opened: OrderedDict[str, tuple[ExitStack, Opened]] = OrderedDict()

    def __repr__(self) -> str:
        return f"ForeignRun({self.name!r}, {str(self.path)!r})"

    @property
    def steps(self) -> list[int]:
        """The checkpoints, ascending."""
        return sorted(self._identities)

    @cached_property
    def index(self) -> pl.DataFrame:
        """One row a tensor: ``step, rank, name, file, offset, dtype, shape, checksum``."""
        rows = [
            (step, 0, name, place.file, None, place.dtype, list(place.shape), place.identity)
            for (step, name), place in sorted(self.places.items())
        ]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    @property
    def problems(self) -> pl.DataFrame:
        """One row for whatever could not be used."""
        return problem_table(self.name, self.found)

    def scalars(self) -> pl.DataFrame:
        """None: patterns bind tensors."""
        return pl.DataFrame(schema=SCALARS)

    def tokens_seen(self) -> pl.DataFrame:
        """None."""
        return self.scalars().select("step", "tokens_seen")

    def tensor(self, step: int, name: str) -> StoredTensor | NDArray[Any]:
        """One tensor with the axes of its kind; a view where its file is mapped."""
        place = self.places.get((step, name))
        if place is None:
            raise MissingDataError(f"{self.name} has no tensor {name!r} at step {step}; its index lists what it has")
        found = load(Path(place.file), self._open(place.file), place.inside, place.index)
        return found if place.binding.axes == place.binding.inner else bound(found, place)

    def decoded(self, step: int, name: str, memory: int) -> DecodedPattern | None:
        """A pattern that has to be decoded and does not fit so many bytes, in parts that do; else None."""
        place = self.places.get((step, name))
        if place is None or not too_large(opened := self._open(place.file), place, memory):
            return None
        return DecodedPattern(opened, place, memory)

    def checksums(self, step: int) -> dict[str, str]:
        """Which file, what of it, its size and time of last change: for every tensor of a step."""
        return self._identities.get(step, {})

    def verify(self, progress: Callable[[int], object] | None = None) -> pl.DataFrame:
        """Reads every tensor once; of other people's files only ``.npz`` have checksums to compare with."""
        found = []
        done = 0
        for file in sorted({place.file for place in self.places.values()}):
            try:
                check(Path(file))
            except (PhaseflowError, OSError) as error:
                found.append(Problem(file, "file", "a file without damage", str(error)))
        for (step, name), place in sorted(self.places.items()):
            try:
                parts = self.decoded(step, name, _VERIFIED_AT_ONCE)
                arrays = [np.asarray(self.tensor(step, name))] if parts is None else (part.array for part in parts)
                for array in arrays:
                    for part in array:
                        part.sum()
                    done += array.nbytes
            except (PhaseflowError, OSError) as error:
                found.append(Problem(place.file, f"{name} at step {step}", "a readable tensor", str(error)))
            if progress is not None:
                progress(done)
        return pl.concat([self.problems, problem_table(self.name, found)])

    def add(self, step: int, name: str, place: Place) -> None:
        """Takes a tensor in; one that is there already stays, and the second is a problem."""
        if (step, name) in self.places:
            first = self.places[step, name].file
            self.found.append(Problem(place.file, f"{name} at step {step}", "one file of it", f"another: {first}"))
        else:
            self.places[step, name] = place
            self._identities.setdefault(step, {})[name] = place.identity

    def _open(self, file: str) -> Opened:
        held = self._opened.pop(file, None)
        if held is None:
            stack = ExitStack()
            held = stack, stack.enter_context(open_file(Path(file)))
        self._opened[file] = held
        if len(self._opened) > _OPEN_FILES:
            self._opened.popitem(last=False)[1][0].close()
        return held[1]


def find_foreign_runs(
    patterns: str | Mapping[str, str],
    *,
    tokens: Numbers | Mapping[str, Numbers] | None = None,
    bos: int | None = None,
    axes: str | Mapping[str, str] | None = None,
    steps: Numbers | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> list[ForeignRun]:
    """The runs that match; parameters as in :func:`phaseflow.open`."""
    bindings = [bind(kind, pattern, axes) for kind, pattern in named(patterns, axes).items()]
    at = None if steps is None else checked_steps(read_numbers(steps))
    runs: dict[str, ForeignRun] = {}
    for binding in bindings:
        for file, fields in binding.pattern.files():
            name = fields.get("run") or root_of(binding.pattern).name or "run"
            if name not in runs:
                kept = None if cache is None else Path(cache) / name
                runs[name] = ForeignRun(name, root_of(binding.pattern), kept)
            try:
                for (step, tensor), place in places(binding, os.path.abspath(file), fields, at):
                    runs[name].add(step, tensor, place)
            except (PhaseflowError, OSError) as error:
                runs[name].found.append(Problem(file, "file", f"tensors of {binding.kind}", str(error)))
    if not runs:
        raise MissingDataError(f"no file matches {', '.join(repr(binding.pattern.text) for binding in bindings)}")
    for run in runs.values():
        run.probes = probes(run, tokens, bos)
    return [runs[name] for name in sorted(runs)]


def checked_steps(steps: ArrayLike) -> list[int]:
    """Steps along an axis: whole, not negative, no two alike."""
    array = np.asarray(steps)
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array < 0).any() or len(np.unique(array)) != array.size:
        raise ParameterError(f"steps are {array.tolist()}, expected different whole numbers from 0, in one axis")
    return [int(step) for step in array]


def root_of(pattern: PathPattern) -> Path:
    """The directory above the first field."""
    return Path(pattern.file.partition("{")[0] + "x").parent


def probes(run: ForeignRun, tokens: Numbers | Mapping[str, Numbers] | None, bos: int | None) -> dict[str, Probe]:
    """The probes that the run's tensors name, with the tokens given for them."""
    found = {}
    for name in sorted({place_name.split("/")[1] for _, place_name in run.places}):
        given = tokens.get(name) if isinstance(tokens, Mapping) else tokens
        sizes = {place.shape[0] for (_, tensor), place in run.places.items() if tensor.split("/")[1] == name}
        if given is not None:
            found[name] = Probe(np.asarray(read_numbers(given)), bos=bos, description="tokens given")
        elif any(tensor.startswith(f"attention/{name}/") for _, tensor in run.places):
            raise ParameterError(
                f"the patterns of probe {name!r} need the tokens they were made on, (batch, pos):"
                " pass tokens=, an array or a .npy file, or a dict of one for each probe"
            )
        else:
            unknown = np.full((max(sizes, default=1), 1), NO_TOKEN)
            found[name] = Probe(unknown, description="tokens not given")
    return found


def read_numbers(numbers: Numbers) -> ArrayLike:
    """Numbers or steps as an array; text is the name of a file with one."""
    if not isinstance(numbers, str | os.PathLike):
        return numbers
    with open_file(Path(numbers)) as opened:
        if len(opened) != 1:
            raise MissingDataError(f"{numbers} holds {len(opened)} arrays, expected one")
        return np.array(load(Path(numbers), opened, next(iter(opened))))
