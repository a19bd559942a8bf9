"""What statements cost, roughly: for decisions only."""

from __future__ import annotations

import math
from collections.abc import Sequence

from irdl.ir.op import find_op
from irdl.loops.expressions import Load, Operation
from irdl.loops.language import CheckIndex, For, Let, Statement, Store, While
from irdl.loops.walk import nested, subexpressions


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


def most_cycles(body: Sequence[Statement]) -> float:
    """As `cycles`, of whole programs: what is inside of kernels counts, both sides of a choice do, and a while loop has no end."""
    total = 0.0
    for statement in body:
        if isinstance(statement, While):
            return math.inf
        inside = [most_cycles(part) for part in nested(statement)]
        steps = (
            len(range(statement.start, statement.stop, statement.step)) if isinstance(statement, For) and statement.kind != "vector" else 1
        )
        total += steps * sum(inside) if inside else cycles([statement])
    return total
