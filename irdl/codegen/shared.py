"""Kernels that do the same with other memory: they have one form, and a backend makes one function for all of them.

Before -> after: `kernel a { y[32 + i] = x[i] }`, `kernel b { z[64 + i] = y[32 + i] }` -> `a(&y[32], &x[0])`, `a(&z[64], &y[32])`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import Barrier, CheckIndex, For, If, Kernel, Leave, Let, Prefetch, Statement, Store, While


class Form:
    """What a kernel does, its buffers and variables known by the order in which they are met.

    Args:
        kernel: the kernel.
        buffers: those it is called with.
        variables: the outer loops' variables it is called with.
        memory: for each of the buffers, what stands for its memory.

    Attributes:
        starts: the place in each buffer that others are counted from.
        key: equal for kernels of one form.
    """

    def __init__(self, kernel: Kernel, buffers: Sequence[Buffer], variables: Sequence[str], memory: Mapping[Buffer, Buffer]) -> None:
        self.starts: dict[Buffer, int] = {}
        self._names = {name: place for place, name in enumerate(variables)}
        self._buffers = {buffer: place for place, buffer in enumerate(buffers)}
        self._parts: list[Hashable] = []
        owners = [memory[buffer] for buffer in buffers]
        for buffer, owner in zip(buffers, owners, strict=True):
            self._parts.append((buffer.dtype, buffer.space == "input", owners.index(owner)))
        self._body(kernel.body)
        self.key = tuple(self._parts)

    def _body(self, body: Sequence[Statement]) -> None:
        add = self._parts.append
        for statement in body:
            add(type(statement).__name__)
            if isinstance(statement, For):
                add((statement.start, statement.stop, statement.step, statement.kind, statement.lanes, self._turns(statement)))
                add(self._name(statement.variable))
                self._body(statement.body)
            elif isinstance(statement, Let):
                self._expression(statement.value)
                add(self._name(statement.variable.name))
            elif isinstance(statement, Store):
                add(self._place(statement.buffer, statement.index))
                self._expression(statement.value)
            elif isinstance(statement, CheckIndex):
                add((statement.extent, statement.code))
                self._expression(statement.value)
                add(self._name(statement.variable.name))
            elif isinstance(statement, If):
                self._expression(statement.condition)
                self._body(statement.then)
                self._body(statement.otherwise)
            elif isinstance(statement, While):
                self._body(statement.before)
                self._expression(statement.condition)
                self._body(statement.body)
            elif isinstance(statement, Prefetch):
                add((statement.write, self._place(statement.buffer, statement.index)))
            else:
                assert isinstance(statement, (Barrier, Kernel, Leave))
                add(id(statement))  # of its own form
            add("end")

    def _turns(self, loop: For) -> int | None:
        return self._name(loop.turns) if loop.turns else None

    def _name(self, name: str) -> int:
        return self._names.setdefault(name, len(self._names))

    def _terms(self, index: Index) -> tuple[Any, ...]:
        return tuple(sorted((self._name(name), coefficient) for name, coefficient in index.terms))

    def _place(self, buffer: Buffer, index: Index) -> Hashable:
        if buffer.space == "register":
            number = self._buffers.setdefault(buffer, len(self._buffers))
            return (number, buffer.dtype, buffer.size, index.constant, self._terms(index))
        start = self.starts.setdefault(buffer, index.constant)
        return (self._buffers[buffer], index.constant - start, self._terms(index))

    def _expression(self, expression: Expression) -> None:
        stack: list[Any] = [expression]
        while stack:
            item = stack.pop()
            if isinstance(item, Operation):
                self._parts.append((item.name, item.dtype, len(item.arguments)))
                stack.extend(item.arguments)
            elif isinstance(item, Literal):
                self._parts.append((item.dtype, item.value.tobytes()))
            elif isinstance(item, Variable):
                self._parts.append((self._name(item.name), item.dtype))
            elif isinstance(item, Load):
                self._parts.append(self._place(item.buffer, item.index))
            else:
                assert isinstance(item, IndexValue)
                self._parts.append(("index", item.index.constant, self._terms(item.index)))
