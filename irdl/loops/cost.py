"""What statements cost, roughly: for decisions only."""

from __future__ import annotations

from collections.abc import Sequence

from irdl.loops.language import CheckIndex, For, Let, Load, Operation, Statement, Store
from irdl.loops.walk import subexpressions

#: Cycles per vector, where it is not one.
_CYCLES = {
    "div": 8,
    "sqrt": 10,
    "exp": 16,
    "log": 20,
    "tanh": 26,
    "sigmoid": 20,
    "erf": 30,
    "sin": 30,
    "cos": 30,
    "power": 400,
    "arctan": 300,
}


def cycles(body: Sequence[Statement]) -> float:
    """A rough count of cycles."""
    total = 0.0
    for statement in body:
        if isinstance(statement, For):
            steps = 1 if statement.kind == "vector" else len(range(statement.start, statement.stop, statement.step))
            total += steps * cycles(statement.body)
        elif isinstance(statement, (Let, Store, CheckIndex)):
            total += isinstance(statement, Store) and statement.buffer.space != "register"
            for item in subexpressions(statement.value):
                if isinstance(item, Operation):
                    total += _CYCLES.get(item.name, 1)
                elif isinstance(item, Load) and item.buffer.space != "register":
                    total += 0.5
    return total
