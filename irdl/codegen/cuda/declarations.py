"""What a launch's function declares, and where: register tiles, and the variables of loops that its text shows."""

from __future__ import annotations

from collections.abc import Sequence

from irdl.codegen.cuda.registers import is_read_ahead
from irdl.loops.expressions import Buffer, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import BOUND, Copy, For, Kernel, LoadMatrices, Multiply, Statement, Store
from irdl.loops.walk import bound_nest, buffers_of, expressions, nested, subexpressions, variables_read, walk


def read_ahead(body: Sequence[Statement]) -> set[Buffer]:
    """What is read in a step of a loop for a later one, or for what comes after threads have met: it goes into registers that outlive
    the nest."""
    loops = [s for s in walk(body) if isinstance(s, For) and s.kind == "serial"]
    stores = [s for loop in loops for s in walk(loop.body) if isinstance(s, Store) and is_read_ahead(s)]
    return {store.value.buffer for store in stores if isinstance(store.value, Load)}


def variables_shown(body: Sequence[Statement], kind: str) -> set[str]:
    """The variables of loops of a kind that the text of their body has. Those that tell whose part of a buffer it is are left out
    (see `place` in `emit`)."""

    def shown(buffer: Buffer, index: Index) -> set[str]:
        return set() if buffer.copies > 1 and (buffer.space == "register" or kind == "block") else index.variables()

    found: set[str] = set()
    for statement in walk(body):
        if isinstance(statement, Store):
            found |= shown(statement.buffer, statement.index)
        elif isinstance(statement, Multiply):
            found.update(*(shown(buffer, index) for _, buffer, index in statement.operands))
        elif isinstance(statement, (Copy, LoadMatrices)):
            found |= shown(statement.buffer, statement.index) | shown(statement.source, statement.source_index)
        for item in (part for expression in expressions(statement) for part in subexpressions(expression)):
            if isinstance(item, Load):
                found |= shown(item.buffer, item.index)
            elif not isinstance(item, Operation):
                found |= variables_read(item)
    return found


def homes(body: Sequence[Statement]) -> dict[int, list[Buffer]]:
    """Where register tiles are declared: by the identity of lists of statements, those of which it is the innermost that has all uses."""
    #: the lists around all uses so far, outermost first
    around: dict[Buffer, tuple[int, ...]] = {}

    def visit(statements: Sequence[Statement], lists: tuple[int, ...]) -> None:
        for statement in statements:
            for buffer in buffers_of(statement):
                if buffer.space == "register":
                    shared = zip(around.get(buffer, lists), lists, strict=False)
                    around[buffer] = tuple(outer for outer, other in shared if outer == other)
            if isinstance(statement, For) and statement.kind in BOUND:
                scope = bound_nest(statement)[-1].body
                visit(scope, (*lists, id(scope)))
            elif isinstance(statement, Kernel):
                visit(statement.body, (*lists, id(statement.body)))
            else:
                for part in nested(statement):
                    visit(part, lists)

    visit(body, (id(body),))
    found: dict[int, list[Buffer]] = {}
    for buffer, lists in around.items():
        found.setdefault(lists[-1], []).append(buffer)
    return found
