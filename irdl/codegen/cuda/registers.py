"""What passes that keep things in registers have in common: the threads of a phase, what they touch, and copies in its place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.loops.index import Index
from irdl.loops.language import BOUND, Buffer, Expression, For, If, Load, Statement, Store, Variable
from irdl.loops.rewrite import rewrite
from irdl.loops.walk import bound_nest, expressions, nested, subexpressions, walk

#: stands for a condition that data decide, and for the other side of one
UNKNOWN = If(Variable("?", np.dtype(bool)), [], [])


def words(dtype: np.dtype) -> int:
    """The registers that a number takes."""
    return max(1, dtype.itemsize // 4)


def threads_of(phase: Statement) -> tuple[list[For], list[For]] | None:
    """The loops over warps and lanes around all that a phase does, if each thread does one step of them."""
    if not (isinstance(phase, For) and phase.kind == "warp"):
        return None
    warps = bound_nest(phase)
    inner = warps[-1].body
    if len(inner) != 1 or not isinstance(inner[0], For) or inner[0].kind != "lane":
        return None
    lanes = bound_nest(inner[0])
    one_step = math.prod(loop.stop for loop in warps) <= WARPS and math.prod(loop.stop for loop in lanes) <= WARP
    return (warps, lanes) if one_step else None


def thread_number(warps: Sequence[For], lanes: Sequence[For]) -> Index:
    """The number of a thread in its block."""
    return number_of(warps) * WARP + number_of(lanes)


def number_of(nest: Sequence[For]) -> Index:
    """The number of a step of a nest."""
    index, stride = Index(), 1
    for loop in reversed(nest):
        index = index + (Index.variable(loop.variable, stride) if loop.stop > 1 else Index())
        stride *= loop.stop
    return index


@dataclass(frozen=True)
class Touch:
    """An access to memory, and the loops and conditions of one thread around it."""

    buffer: Buffer
    index: Index
    writes: bool
    around: tuple[For | If, ...] = ()

    @property
    def loops(self) -> list[For]:
        """Those that its place depends on."""
        return [s for s in self.around if isinstance(s, For) and self.index.coefficient(s.variable)]

    @property
    def conditions(self) -> list[Expression]:
        return [s.condition for s in self.around if isinstance(s, If)]


def touches(body: Sequence[Statement], around: tuple[For | If, ...] = ()) -> Iterator[Touch]:
    """What statements touch, in order."""
    for statement in body:
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load):
                    yield Touch(item.buffer, item.index, False, around)
        if isinstance(statement, Store):
            yield Touch(statement.buffer, statement.index, True, around)
        if isinstance(statement, If):
            known = not any(isinstance(item, (Load, Variable)) for item in subexpressions(statement.condition))
            yield from touches(statement.then, (*around, statement if known else UNKNOWN))
            yield from touches(statement.otherwise, (*around, UNKNOWN))
            continue
        inside = (*around, statement) if isinstance(statement, For) and statement.kind not in BOUND else around
        for part in nested(statement):
            yield from touches(part, inside)


def with_copies(phase: Statement, copies: Mapping[tuple[Buffer, Index], Load]) -> Statement:
    """The phase with copies for what lies at those places. Registers have no address: loops that they are indexed by are unrolled."""
    owner = {buffer: copy.buffer for (buffer, _), copy in copies.items()}

    def leaf(old: Expression) -> Expression:
        return copies.get((old.buffer, old.index), old) if isinstance(old, Load) else old

    def place(buffer: Buffer, index: Index) -> Index:
        return copies[buffer, index].index if (buffer, index) in copies else index

    (result,) = rewrite([phase], leaf, place)
    unrolled = {name for copy in copies.values() if copy.buffer.space == "register" for name in copy.index.variables()}
    for statement in walk([result]):
        if isinstance(statement, Store) and statement.buffer in owner:
            statement.buffer = owner[statement.buffer]
        elif isinstance(statement, For) and statement.kind == "serial" and statement.variable in unrolled:
            statement.kind = "unrolled"
    return result
