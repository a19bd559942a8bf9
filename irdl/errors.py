"""The error family. Every message says what was wrong, where in the user's code, and what to do instead."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from types import CodeType
from typing import ClassVar

import numpy as np


class IrdlError(Exception):
    """Base of every error irdl raises on purpose."""


class TraceError(IrdlError):
    """NumPy code did something a traced array cannot follow."""

    #: told of each that is made: code that catches one would go on as NumPy never would, so the traces under way fail (see `recorder`)
    witness: ClassVar[Callable[[TraceError], None]] = staticmethod(lambda error: None)
    #: the code of the function that asked for the truth of a traced value, where that is what went wrong
    branching: CodeType | None = None

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        TraceError.witness(self)


class LeakedTracerError(TraceError):
    """A traced array was used after the trace that made it had ended."""


class GraphError(IrdlError, ValueError):
    """An ill-formed graph: a type that does not follow, a value used before it exists."""


class ParseError(IrdlError, ValueError):
    """Text that is not a graph dump."""


class ProgramError(IrdlError, ValueError):
    """An ill-formed program of the loop language."""


class DifferentiationError(IrdlError):
    """A derivative was asked of something that has none."""


class DonationError(IrdlError, ValueError):
    """A donated argument cannot be reused for a result."""


#: in the place of an axis, of a check that is of no index: it has found the code of an error of the user's
CODE = -1


def out_of_bounds(index: int, axis: int, extent: int, where: str, raises: str = "") -> Exception:
    """NumPy's error for an index, or `raises` ("LinAlgError: what is wrong"), with the user's line; an IrdlError of a class that it does
    not know."""
    line = f" (at {where})" if where else ""
    if raises:
        name, _, message = raises.partition(": ")
        name = name.partition(" ")[0]
        found = _RAISED.get(name) or getattr(builtins, name, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found(message + line)
        return IrdlError(raises + line)
    return IndexError(f"index {index} is out of bounds for axis {axis} with size {extent}{line}")


#: what a check may raise in place of an IndexError, by its name
_RAISED: dict[str, type[Exception]] = {"LinAlgError": np.linalg.LinAlgError}
