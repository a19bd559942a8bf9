"""What statements cost, roughly: for decisions only."""

from __future__ import annotations

from collections.abc import Sequence

from irdl.ir.op import find_op
from irdl.loops.language import CheckIndex, For, Let, Load, Operation, Statement, Store
from irdl.loops.walk import subexpressions


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
                    op = find_op(item.name)  # none is a fused multiply-add
                    total += op.cycles if op is not None else 1
                elif isinstance(item, Load) and item.buffer.space != "register":
                    total += 0.5
    return total
