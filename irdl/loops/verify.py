"""What holds of every program."""

from __future__ import annotations

from collections.abc import Sequence

from irdl.errors import ProgramError
from irdl.loops.expressions import Expression, IndexValue, Load, Variable
from irdl.loops.index import Index
from irdl.loops.language import (
    COPIED,
    KINDS,
    CheckIndex,
    Copy,
    For,
    Let,
    LoadMatrices,
    Multiply,
    Prefetch,
    Program,
    Statement,
    Store,
    While,
)
from irdl.loops.walk import expressions, nested, subexpressions


def verify_program(program: Program) -> None:
    """Check that every variable is bound where it is used, every buffer is declared, and that loops are well formed.

    Raises:
        ProgramError: what is wrong, and where.
    """
    if program.arena_bytes < 0:
        raise ProgramError("the arena has a negative size")
    _verify_body(program.body, set())


def _verify_body(body: Sequence[Statement], bound: set[str]) -> None:
    bound = set(bound)
    for statement in body:
        for expression in expressions(statement):
            if not isinstance(statement, While):
                _verify_expression(expression, bound)
        if isinstance(statement, For):
            if statement.step < 1 or statement.kind not in KINDS:
                raise ProgramError(f"loop {statement.variable} has step {statement.step} and kind {statement.kind}")
            if statement.turns and statement.turns not in bound:
                raise ProgramError(f"loop {statement.variable} turns with {statement.turns} outside its loop")
            _verify_body(statement.body, bound | {statement.variable})
        elif isinstance(statement, (Let, CheckIndex)):
            if statement.variable.name in bound:
                raise ProgramError(f"{statement.variable.name} is bound twice")
            if isinstance(statement, Let) and statement.value.dtype != statement.variable.dtype:
                raise ProgramError(f"{statement.variable.name} is {statement.variable.dtype}, its value {statement.value.dtype}")
            bound.add(statement.variable.name)
        elif isinstance(statement, Store):
            if statement.value.dtype != statement.buffer.dtype:
                raise ProgramError(f"a store of {statement.value.dtype} into {statement.buffer.name} ({statement.buffer.dtype})")
            _verify_index(statement.index, bound)
            if statement.buffer.space in ("input", "constant"):
                raise ProgramError(f"a store into the {statement.buffer.space} {statement.buffer.name}")
        elif isinstance(statement, Prefetch):
            _verify_index(statement.index, bound)
        elif isinstance(statement, Multiply):
            _verify_multiply(statement, bound)
        elif isinstance(statement, (Copy, LoadMatrices)):
            _verify_move(statement, bound)
        elif isinstance(statement, While):
            _verify_body(statement.before, bound)
            inner = bound | {s.variable.name for s in statement.before if isinstance(s, (Let, CheckIndex))}
            _verify_expression(statement.condition, inner)
            _verify_body(statement.body, bound)
        else:
            for inner_body in nested(statement):
                _verify_body(inner_body, bound)


def _verify_multiply(statement: Multiply, bound: set[str]) -> None:
    name = statement.instruction.name
    for fragment, buffer, index in statement.operands:
        _verify_index(index, bound)
        dtype = statement.instruction.dtype if fragment is statement.instruction.total else statement.instruction.operand
        if buffer.dtype != dtype:
            raise ProgramError(f"{name} is of {dtype}, and {buffer.name} of {buffer.dtype}")
        if buffer.space != "register" or buffer.copies % 32 or buffer.size // buffer.copies < len(fragment.places):
            raise ProgramError(f"{name} takes {len(fragment.places)} registers of each lane, which {buffer.name} is not")


def _verify_move(statement: Copy | LoadMatrices, bound: set[str]) -> None:
    to, source = statement.buffer, statement.source
    for index in (statement.index, statement.source_index):
        _verify_index(index, bound)
    if to.dtype != source.dtype:
        raise ProgramError(f"{to.name} is of {to.dtype}, and {source.name} of {source.dtype}")
    if isinstance(statement, Copy):
        if to.space != "shared" or source.space in ("register", "shared") or statement.count * to.dtype.itemsize != COPIED:
            raise ProgramError(f"a copy is of {COPIED} bytes into shared memory, not of {statement.count} of {source.name} to {to.name}")
    elif to.space != "register" or to.copies % 32 or to.size // to.copies < 8 or source.space != "shared" or to.dtype.itemsize != 2:
        raise ProgramError(
            f"matrices of 16 bits are loaded from shared memory into registers of lanes, not from {source.name} to {to.name}"
        )


def _verify_index(index: Index, bound: set[str]) -> None:
    missing = index.variables() - bound
    if missing:
        raise ProgramError(f"index {index} uses {', '.join(sorted(missing))} outside its loop")


def _verify_expression(expression: Expression, bound: set[str]) -> None:
    for item in subexpressions(expression):
        if isinstance(item, Variable) and item.name not in bound:
            raise ProgramError(f"{item.name} is used where it is not bound")
        if isinstance(item, (Load, IndexValue)):
            _verify_index(item.index, bound)
