"""Variables that functions have through their closures, as the trace sees them."""

from __future__ import annotations

import dis
import types
from dataclasses import dataclass, field
from typing import Any

_EMPTY = object()


@dataclass
class Variable:
    """One variable, which several functions may share.

    Attributes:
        original, made: where it is, and where it is during the trace.
        before: what the trace sees there at first.
        codes: those of the functions.
    """

    original: types.CellType
    made: types.CellType
    name: str
    before: Any = _EMPTY
    codes: list[types.CodeType] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing in it at first."""
        return self.before is _EMPTY

    @property
    def is_bound(self) -> bool:
        """Whether the trace has bound it to something else."""
        try:
            return self.made.cell_contents is not self.before
        except ValueError:
            return False

    @property
    def is_read(self) -> bool:
        """Whether a function looks at it."""
        return any(_looks_at(code, self.name) for code in self.codes)


def _looks_at(code: types.CodeType, name: str) -> bool:
    if name not in code.co_freevars:
        return False
    if any(step.opname.startswith("LOAD") and step.opname != "LOAD_CLOSURE" and step.argval == name for step in dis.get_instructions(code)):
        return True
    return any(isinstance(part, types.CodeType) and _looks_at(part, name) for part in code.co_consts)
