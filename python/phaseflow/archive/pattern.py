"""Path patterns: which file holds which tensor of which step of which run.

``"logs/{run}/step{step}/attn_{layer}.npy"`` matches ``logs/seed0/step100/attn_1.npy`` with run ``seed0``, step 100 and
layer 1. ``{run}`` and ``{probe}`` stand for any text without a separator, ``{step}`` and ``{layer}`` for digits. What
follows ``::`` names the tensor inside a file that holds several: ``"step{step}.npz::attn.{layer}"``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from glob import escape, iglob

from phaseflow.exceptions import ParameterError

_FIELD = re.compile(r"\{([^{}]*)\}")
_TEXT, _NUMBER = "[^/]+", r"\d+"
_FIELDS = {"run": _TEXT, "probe": _TEXT, "step": _NUMBER, "layer": _NUMBER}
INSIDE = "::"


def is_pattern(path: object) -> bool:
    """Whether ``path`` is text with a field in braces."""
    return isinstance(path, str) and _FIELD.search(path) is not None


@dataclass(frozen=True)
class PathPattern:
    """A pattern of paths, and of names inside the files where ``::`` separates one."""

    text: str

    def __post_init__(self) -> None:
        unknown = [field for field in self.fields if field not in _FIELDS]
        if unknown:
            known = ", ".join(f"{{{field}}}" for field in _FIELDS)
            raise ParameterError(f"the pattern {self.text!r} has {{{unknown[0]}}}, known: {known}")

    @property
    def fields(self) -> list[str]:
        """Names in braces, in order."""
        return _FIELD.findall(self.text)

    @property
    def file(self) -> str:
        """The part that is a path."""
        return self.text.partition(INSIDE)[0]

    @property
    def inside(self) -> str | None:
        """The part that names a tensor inside a file; None where a file is a tensor."""
        return self.text.partition(INSIDE)[2] or None

    def files(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The paths on disk that match, sorted, with what the fields stand for."""
        fixed = _FIELD.split(self.file)[::2]
        for path in sorted(iglob("*".join(escape(part) for part in fixed))):
            if (match := self._file.fullmatch(path)) is not None:
                yield path, match.groupdict()

    def match_inside(self, name: str) -> dict[str, str] | None:
        """What the fields stand for in the name of a tensor inside a file; None where it does not match."""
        match = self._inside.fullmatch(name)
        return None if match is None else match.groupdict()

    @cached_property
    def _file(self) -> re.Pattern[str]:
        return _compiled(self.file)

    @cached_property
    def _inside(self) -> re.Pattern[str]:
        return _compiled(self.inside or "")


def _compiled(pattern: str) -> re.Pattern[str]:
    """A field that comes twice has to stand for the same both times."""
    parts = _FIELD.split(pattern)
    seen: set[str] = set()
    expression = re.escape(parts[0])
    for field, text in zip(parts[1::2], parts[2::2], strict=True):
        expression += f"(?P={field})" if field in seen else f"(?P<{field}>{_FIELDS[field]})"
        expression += re.escape(text)
        seen.add(field)
    return re.compile(expression, re.ASCII)
