"""A plain Python interpreter of the loop language: the second oracle. Slow, meant for small shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from irdl.errors import ProgramError, out_of_bounds
from irdl.ir.dtypes import is_float
from irdl.ir.op import find_op
from irdl.loops.index import Index
from irdl.loops.instructions import Fragment, round_to_tf32
from irdl.loops.language import (
    BOUND,
    Buffer,
    CheckIndex,
    Expression,
    For,
    If,
    IndexValue,
    Kernel,
    Launch,
    Leave,
    Let,
    Literal,
    Load,
    Multiply,
    Operation,
    Program,
    Statement,
    Store,
    Variable,
    While,
)


def interpret(program: Program, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run a program on arrays; flat outputs in order.

    Raises:
        IndexError: an index check failed.
        ProgramError: an access outside its buffer.
    """
    return Machine(program).call(arguments)


#: what gives a value, of what the variables are
_Value = Callable[[dict[str, Any]], Any]


class Machine:
    """The memory and the state of one run; every access to memory is a `read` or a `write`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.memory: dict[Buffer, np.ndarray] = {}
        self.failure: tuple[int, int] | None = None
        self._arena = np.zeros(program.arena_bytes, np.uint8)
        #: by the identity of an expression: itself, and what computes it; most are computed many times
        self._values: dict[int, tuple[Expression, _Value]] = {}

    def call(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        program = self.program
        for buffer, argument in zip(program.inputs, arguments, strict=True):
            self.memory[buffer] = np.ascontiguousarray(argument, buffer.dtype).reshape(-1)
        for buffer, array in program.constants:
            self.memory[buffer] = np.ascontiguousarray(array).reshape(-1)
        for first, second in program.aliased:
            self.memory[first] = self.memory[second] = self.memory[first].copy()
        with np.errstate(all="ignore"):
            self.run(program.body, {})
        if self.failure is not None:
            index, code = self.failure
            raise out_of_bounds(index, *program.checks[code])
        return [self.array(buffer) for buffer in program.outputs]

    def array(self, buffer: Buffer) -> np.ndarray:
        if buffer not in self.memory:
            if buffer.space == "arena":
                # Through the arena's own bytes, so that a wrong offset shows.
                piece = self._arena[buffer.offset : buffer.offset + buffer.nbytes]
                self.memory[buffer] = piece.view(buffer.dtype)
            else:
                # What nobody has stored shows.
                garbage = np.nan if is_float(buffer.dtype) and buffer.space in ("register", "shared") else 0
                self.memory[buffer] = np.full(buffer.size, garbage, buffer.dtype)
        return self.memory[buffer]

    def run(self, body: Sequence[Statement], scope: dict[str, Any]) -> None:
        for statement in body:
            if isinstance(statement, For):
                steps = statement.steps(scope)
                # Backwards, so that a loop whose steps depend on each other shows.
                inner = dict(scope)
                for step in reversed(steps) if statement.kind in ("parallel", *BOUND) else steps:
                    inner[statement.variable] = step
                    self.run(statement.body, inner)
            elif isinstance(statement, Let):
                scope[statement.variable.name] = self.value(statement.value, scope)
            elif isinstance(statement, Store):
                value = self.value(statement.value, scope)
                self.write(statement.buffer, self.place(statement.buffer, statement.index, scope), value)
            elif isinstance(statement, CheckIndex):
                index = int(self.value(statement.value, scope))
                extent = statement.extent
                if not -extent <= index < extent:
                    if self.failure is None:
                        self.failure = (index, statement.code)
                    index = 0
                scope[statement.variable.name] = np.int64(index + extent if index < 0 else index)
            elif isinstance(statement, If):
                self.run(statement.then if self.value(statement.condition, scope) else statement.otherwise, dict(scope))
            elif isinstance(statement, While):
                while True:
                    inner = dict(scope)
                    self.run(statement.before, inner)
                    if not self.value(statement.condition, inner):
                        break
                    self.run(statement.body, dict(scope))
            elif isinstance(statement, (Kernel, Launch)):
                self.run(statement.body, dict(scope))
            elif isinstance(statement, Multiply):
                self.multiply(statement, scope)
            elif isinstance(statement, Leave) and self.failure is not None:
                break

    def multiply(self, statement: Multiply, scope: dict[str, Any]) -> None:
        instruction = statement.instruction
        total, left, right = (self._matrix(*operand, scope) for operand in statement.operands)
        if instruction.rounded is not None:
            exact = scalar_function(Operation(instruction.rounded, (), instruction.operand))
            for side, buffer in ((left, statement.left), (right, statement.right)):
                if not np.array_equal(exact(side), side, equal_nan=True):
                    raise ProgramError(f"{buffer.name} holds numbers that {instruction.rounded} has not rounded")
        left, right = left.astype(instruction.dtype), right.astype(instruction.dtype)
        for step in range(left.shape[1]):
            total = total + left[:, step, None] * right[None, step]
        places = self._places(statement.instruction.total, statement.total, statement.total_index, scope)
        for place, element in places:
            self.write(statement.total, place, total[element])

    def _places(self, fragment: Fragment, buffer: Buffer, index: Index, scope: dict[str, Any]) -> Iterator[tuple[int, tuple[int, int]]]:
        """Where in a buffer each element of a matrix is."""
        stride = buffer.size // buffer.copies
        for lane in range(32):
            for slot in range(len(fragment.places)):
                yield self.place(buffer, index + (lane * stride + slot), scope), fragment.at(lane, slot)

    def _matrix(self, fragment: Fragment, buffer: Buffer, index: Index, scope: dict[str, Any]) -> np.ndarray:
        matrix = np.empty(fragment.shape, buffer.dtype)
        for place, element in self._places(fragment, buffer, index, scope):
            matrix[element] = self.read(buffer, place)
        return matrix

    def read(self, buffer: Buffer, place: int) -> Any:
        array = self.memory.get(buffer)
        return (self.array(buffer) if array is None else array)[place]

    def write(self, buffer: Buffer, place: int, value: Any) -> None:
        self.array(buffer)[place] = value

    def place(self, buffer: Buffer, index: Index, scope: dict[str, Any]) -> int:
        place = index.constant
        for name, coefficient in index.terms:
            place += coefficient * int(scope[name])
        if not 0 <= place < buffer.size:
            raise ProgramError(f"{buffer.name}[{index}] is element {place} of {buffer.size}")
        return place

    def value(self, expression: Expression, scope: dict[str, Any]) -> Any:
        found = self._values.get(id(expression))
        if found is None:
            found = self._values[id(expression)] = expression, self._computed(expression)
        return found[1](scope)

    def _computed(self, expression: Expression) -> _Value:
        if isinstance(expression, Literal):
            value = expression.value
            return lambda scope: value
        if isinstance(expression, Variable):
            name = expression.name
            return lambda scope: scope[name]
        if isinstance(expression, IndexValue):
            index = expression.index
            return lambda scope: np.int64(index.constant + sum(c * int(scope[name]) for name, c in index.terms))
        if isinstance(expression, Load):
            buffer, index = expression.buffer, expression.index
            return lambda scope: self.read(buffer, self.place(buffer, index, scope))
        function = scalar_function(expression)
        parts = [self._computed(argument) for argument in expression.arguments]
        return lambda scope: function(*[part(scope) for part in parts])


def scalar_function(operation: Operation) -> Callable[..., Any]:
    """One elementwise op, of NumPy scalars (`tf32`: of arrays too)."""
    dtype = operation.dtype
    if operation.name == "fma":
        return lambda a, b, c: dtype.type(a * b + c)
    if operation.name == "tf32":
        return lambda x: round_to_tf32(x)[()]
    op = find_op(operation.name)
    if op is None:
        raise ProgramError(f"there is no op named {operation.name!r}")
    if operation.name == "cast":
        return lambda x: np.asarray(x).astype(dtype)[()]
    evaluate, attributes = op.evaluate, op.Attributes()

    def apply(*arguments: Any) -> Any:
        (result,) = evaluate([np.asarray(argument) for argument in arguments], attributes, ())
        return np.asarray(result)[()]

    return apply
