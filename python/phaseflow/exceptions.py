"""Every exception phaseflow raises of its own; I/O errors stay the builtin ones.

Each says what was expected, what was found and what to do next, and each is also the builtin exception a caller
would expect, so ``except ValueError`` keeps working.
"""


class PhaseflowError(Exception):
    """Base of all of them."""


class ShapeError(PhaseflowError, ValueError):
    """An array has the wrong axes, or axes that do not fit each other."""


class DtypeError(PhaseflowError, TypeError):
    """An array has an element type that is not supported, or lies in memory in a way that cannot be borrowed."""


class ParameterError(PhaseflowError, ValueError):
    """A parameter lies outside its range, or two choices do not go together."""


class NotFiniteError(PhaseflowError, ValueError):
    """A NaN or an infinity where a number is needed."""


class UnknownNameError(PhaseflowError, ValueError):
    """A name that is not one of the known ones; the message lists those."""


class MissingDataError(PhaseflowError, LookupError):
    """An archive does not hold what was asked for."""


class CorruptArchiveError(PhaseflowError):
    """A file on disk is truncated, foreign or inconsistent."""


class MissingExtraError(PhaseflowError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it."""
