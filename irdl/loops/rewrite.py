"""Programs changed: fresh names, expressions and places replaced."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from irdl.loops.expressions import Buffer, Expression, IndexValue, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import (
    CheckIndex,
    Copy,
    For,
    If,
    Kernel,
    Launch,
    Let,
    LoadMatrices,
    Multiply,
    Prefetch,
    Program,
    Statement,
    Store,
    While,
)
from irdl.loops.walk import expressions, subexpressions, walk


def rebuild(expression: Expression, leaf: Callable[[Expression], Expression]) -> Expression:
    """The expression with each part that is no operation replaced."""
    if isinstance(expression, Operation):
        return Operation(expression.name, tuple(rebuild(a, leaf) for a in expression.arguments), expression.dtype)
    return leaf(expression)


def rewrite(
    body: Sequence[Statement], leaf: Callable[[Expression], Expression], place: Callable[[Buffer, Index], Index]
) -> list[Statement]:
    """New statements: each part of an expression that is no operation becomes what `leaf` makes of it, and where is stored and
    fetched ahead what `place` does."""

    def value(expression: Expression) -> Expression:
        return rebuild(expression, leaf)

    def inside(body: Sequence[Statement]) -> list[Statement]:
        return rewrite(body, leaf, place)

    result: list[Statement] = []
    for statement in body:
        if isinstance(statement, (For, Kernel, Launch)):
            result.append(replace(statement, body=inside(statement.body)))
        elif isinstance(statement, (Let, CheckIndex)):
            result.append(replace(statement, value=value(statement.value)))
        elif isinstance(statement, Store):
            result.append(replace(statement, index=place(statement.buffer, statement.index), value=value(statement.value)))
        elif isinstance(statement, Prefetch):
            result.append(replace(statement, index=place(statement.buffer, statement.index)))
        elif isinstance(statement, Multiply):
            total, left, right = (place(buffer, index) for _, buffer, index in statement.operands)
            result.append(replace(statement, total_index=total, left_index=left, right_index=right))
        elif isinstance(statement, (Copy, LoadMatrices)):
            to, source = place(statement.buffer, statement.index), place(statement.source, statement.source_index)
            result.append(replace(statement, index=to, source_index=source))
        elif isinstance(statement, If):
            condition = value(statement.condition)
            result.append(If(condition, inside(statement.then), inside(statement.otherwise)))
        elif isinstance(statement, While):
            result.append(While(inside(statement.before), value(statement.condition), inside(statement.body)))
        else:
            result.append(statement)
    return result


def substitute(body: Sequence[Statement], values: Mapping[str, Index | int]) -> list[Statement]:
    """`body` with loop variables replaced by indices."""

    def leaf(old: Expression) -> Expression:
        if isinstance(old, Load):
            return Load(old.buffer, old.index.substitute(values))
        return IndexValue(old.index.substitute(values)) if isinstance(old, IndexValue) else old

    return rewrite(body, leaf, lambda _, index: index.substitute(values))


def copy_program(program: Program) -> Program:
    """One that shares nothing with it that a pass changes."""
    fresh: dict[Buffer, Buffer] = {}

    def buffer(old: Buffer) -> Buffer:
        if old not in fresh:
            fresh[old] = replace(old)
        return fresh[old]

    def leaf(old: Expression) -> Expression:
        return Load(buffer(old.buffer), old.index) if isinstance(old, Load) else old

    body = rewrite(program.body, leaf, lambda _, index: index)
    for statement in walk(body):
        if isinstance(statement, (Store, Prefetch)):
            statement.buffer = buffer(statement.buffer)
        elif isinstance(statement, (Copy, LoadMatrices)):
            statement.buffer, statement.source = buffer(statement.buffer), buffer(statement.source)
        elif isinstance(statement, Multiply):
            statement.total, statement.left, statement.right = (buffer(old) for _, old, _ in statement.operands)
    return replace(
        program,
        inputs=[buffer(old) for old in program.inputs],
        outputs=[buffer(old) for old in program.outputs],
        constants=[(buffer(old), array) for old, array in program.constants],
        body=body,
        checks=list(program.checks),
        aliased=[(buffer(a), buffer(b)) for a, b in program.aliased],
    )


class Names:
    """Fresh names for one program, numbered from where those that it has end."""

    def __init__(self, program: Program | None = None) -> None:
        self._program = program
        self._count: Iterator[int] | None = None if program is not None else itertools.count()

    def __call__(self, prefix: str) -> str:
        if self._count is None:  # few passes need any
            assert self._program is not None
            self._count = itertools.count(max(map(_number, _names(self._program)), default=-1) + 1)
        return f"{prefix}{next(self._count)}"


def _number(name: str) -> int:
    match = re.search(r"[0-9]+$", name)
    return int(match.group()) if match else -1


def _names(program: Program) -> set[str]:
    found = {buffer.name for buffer in (*program.inputs, *program.outputs, *(b for b, _ in program.constants))}
    for statement in walk(program.body):
        if isinstance(statement, For):
            found.add(statement.variable)
        elif isinstance(statement, (Kernel, Launch)):
            found.add(statement.name)
        elif isinstance(statement, (Let, CheckIndex)):
            found.add(statement.variable.name)
        elif isinstance(statement, Store):
            found.add(statement.buffer.name)
        elif isinstance(statement, Multiply):
            found.update(buffer.name for _, buffer, _ in statement.operands)
        elif isinstance(statement, (Copy, LoadMatrices)):
            found |= {statement.buffer.name, statement.source.name}
        found.update(item.buffer.name for e in expressions(statement) for item in subexpressions(e) if isinstance(item, Load))
    return found
