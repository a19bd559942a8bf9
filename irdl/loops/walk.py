"""Ways through a program: its statements, expressions, kernels, and what they touch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irdl.loops.expressions import Buffer, Expression, IndexValue, Load, Operation, Variable
from irdl.loops.language import CheckIndex, Copy, For, If, Kernel, Launch, Let, LoadMatrices, Multiply, Statement, Store, While

#: what has statements inside
_OUTER = frozenset((For, Kernel, Launch, If, While))


def nested(statement: Statement) -> list[list[Statement]]:
    """The statement lists inside a statement."""
    if isinstance(statement, (For, Kernel, Launch)):
        return [statement.body]
    if isinstance(statement, If):
        return [statement.then, statement.otherwise]
    if isinstance(statement, While):
        return [statement.before, statement.body]
    return []


def walk(body: Sequence[Statement]) -> Iterator[Statement]:
    """Every statement, outer ones first."""
    stack = list(reversed(body))
    while stack:
        statement = stack.pop()
        yield statement
        if type(statement) in _OUTER:  # few are
            for inner in reversed(nested(statement)):
                stack.extend(reversed(inner))


def is_parallel(kernel: Kernel) -> bool:
    """Whether the kernel's loops are divided among the threads."""
    return any(isinstance(statement, For) and statement.kind == "parallel" for statement in walk(kernel.body))


def expressions(statement: Statement) -> list[Expression]:
    """The expressions a statement holds itself."""
    if isinstance(statement, (Let, Store, CheckIndex)):
        return [statement.value]
    if isinstance(statement, (If, While)):
        return [statement.condition]
    return []


def subexpressions(expression: Expression) -> Iterator[Expression]:
    stack = [expression]
    while stack:
        item = stack.pop()
        yield item
        if isinstance(item, Operation):
            stack.extend(item.arguments)


def kernels(body: Sequence[Statement], times: int = 1, around: tuple[For, ...] = ()) -> Iterator[tuple[Kernel, int, tuple[For, ...]]]:
    """Every kernel, how often it runs at least, and the loops around it."""
    for statement in body:
        if isinstance(statement, Kernel):
            yield statement, times, around
        elif isinstance(statement, For):
            yield from kernels(statement.body, times * (statement.stop - statement.start), (*around, statement))
        else:
            for part in nested(statement):
                yield from kernels(part, times, around)


def buffers_of(statement: Statement) -> list[Buffer]:
    if isinstance(statement, Multiply):
        return [buffer for _, buffer, _ in statement.operands]
    if isinstance(statement, (Copy, LoadMatrices)):
        return [statement.source, statement.buffer]
    found = [item.buffer for e in expressions(statement) for item in subexpressions(e) if isinstance(item, Load)]
    return [*found, statement.buffer] if isinstance(statement, Store) else found


def free(kernel: Kernel) -> tuple[list[Buffer], list[str]]:
    """The buffers a kernel uses (registers aside), and the loop variables it takes from outside."""
    buffers: dict[Buffer, None] = {}
    bound: set[str] = set()
    used: dict[str, None] = {}
    for statement in walk(kernel.body):
        if isinstance(statement, For):
            bound.add(statement.variable)
            used.update({statement.turns: None} if statement.turns else {})
        elif isinstance(statement, (Let, CheckIndex)):
            bound.add(statement.variable.name)
        if isinstance(statement, Store):
            buffers.setdefault(statement.buffer)
            used.update(dict.fromkeys(name for name, _ in statement.index.terms))
        elif isinstance(statement, Multiply):
            used.update(dict.fromkeys(name for _, _, index in statement.operands for name, _ in index.terms))
        elif isinstance(statement, (Copy, LoadMatrices)):
            buffers.update(dict.fromkeys(buffers_of(statement)))
            used.update(dict.fromkeys(name for index in (statement.index, statement.source_index) for name, _ in index.terms))
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load):
                    buffers.setdefault(item.buffer)
                if isinstance(item, (Load, IndexValue)):
                    used.update(dict.fromkeys(name for name, _ in item.index.terms))
    return [b for b in buffers if b.space != "register"], [name for name in used if name not in bound]


def variables_read(expression: Expression) -> set[str]:
    """The loop variables and let-bound variables an expression reads."""
    found: set[str] = set()
    for item in subexpressions(expression):
        if isinstance(item, Variable):
            found.add(item.name)
        elif isinstance(item, (Load, IndexValue)):
            found |= item.index.variables()
    return found


def bound_nest(loop: For) -> list[For]:
    """The loops of one kind that are dealt out as one flat sequence: this one, and what is perfectly nested in it."""
    found = [loop]
    while len(found[-1].body) == 1:
        inner = found[-1].body[0]
        if not (isinstance(inner, For) and inner.kind == loop.kind):
            break
        found.append(inner)
    return found
