"""A plain Python interpreter of the loop language: the second oracle. Slow, meant for small shapes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np

from irdl.errors import ProgramError, out_of_bounds
from irdl.ir.dtypes import is_float
from irdl.ir.op import find_op
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.instructions import Fragment, round_to_tf32
from irdl.loops.language import (
    BOUND,
    CheckIndex,
    Commit,
    Copy,
    For,
    If,
    Kernel,
    Launch,
    Leave,
    Let,
    LoadMatrices,
    Multiply,
    Program,
    Statement,
    Store,
    Wait,
    While,
)
from irdl.loops.walk import walk


def interpret(program: Program, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run a program on arrays; flat outputs in order.

    Raises:
        IndexError: an index check failed.
        ProgramError: an access outside its buffer.
    """
    return Machine(program).call(arguments)


#: what gives a value, and what runs a statement, of what the variables are
Value = Callable[[dict[str, Any]], Any]
Run = Callable[[dict[str, Any]], None]


class _Left(Exception):
    """The program has ended where a check had failed."""


class Machine:
    """The memory and the state of one run. Statements become functions of the variables before they run, as most run many times; every
    access to memory that threads share goes through a `reader` or a `writer`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.memory: dict[Buffer, np.ndarray] = {}
        self.failure: tuple[int, int] | None = None
        self._arena = np.zeros(program.arena_bytes, np.uint8)
        #: what lands the copies of a block, batch by batch
        self._copies: list[list[Callable[[], None]]] = [[]]
        #: the variables that are no loops': NumPy's numbers
        self._numbers = {s.variable.name for s in walk(program.body) if isinstance(s, (Let, CheckIndex))}

    def call(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = self.start(arguments)
        if self.failure is not None:
            index, code = self.failure
            raise out_of_bounds(index, *self.program.checks[code])
        return results

    def start(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run; the outputs as they are at its end, or where it has left because of its `failure`."""
        program = self.program
        for buffer, argument in zip(program.inputs, arguments, strict=True):
            self.memory[buffer] = np.ascontiguousarray(argument, buffer.dtype).reshape(-1)
        for buffer, array in program.constants:
            self.memory[buffer] = np.ascontiguousarray(array).reshape(-1)
        for first, second in program.aliased:
            self.memory[first] = self.memory[second] = self.memory[first].copy()
        self.run(program.body)
        return [self.array(buffer) for buffer in program.outputs]

    def run(self, body: Sequence[Statement]) -> None:
        with np.errstate(all="ignore"), suppress(_Left):
            self.body(body)({})

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

    def reader(self, buffer: Buffer) -> Callable[[int], Any]:
        """What reads an element."""
        return self.array(buffer).__getitem__

    def writer(self, buffer: Buffer) -> Callable[[int, Any], None]:
        return self.array(buffer).__setitem__

    def body(self, statements: Sequence[Statement]) -> Run:
        parts = [self.statement(statement) for statement in statements]
        if len(parts) == 1:
            return parts[0]

        def run(scope: dict[str, Any]) -> None:
            for part in parts:
                part(scope)

        return run

    def statement(self, statement: Statement) -> Run:
        if isinstance(statement, Store):
            return self._store(statement)
        if isinstance(statement, For):
            return self.loop(statement)
        if isinstance(statement, Let):
            name, value = statement.variable.name, self.value(statement.value)
            return lambda scope: scope.__setitem__(name, value(scope))
        if isinstance(statement, CheckIndex):
            return self._check(statement)
        if isinstance(statement, If):
            condition = self.value(statement.condition)
            then, otherwise = self.body(statement.then), self.body(statement.otherwise)
            return lambda scope: (then if condition(scope) else otherwise)(scope.copy())
        if isinstance(statement, While):
            return self._while(statement)
        if isinstance(statement, (Kernel, Launch)):
            body = self.body(statement.body)
            return lambda scope: body(scope.copy())
        if isinstance(statement, Multiply):
            return self._multiply(statement)
        if isinstance(statement, LoadMatrices):
            return self.loop(statement.spelled_out())
        if isinstance(statement, Copy):
            return self._copy(statement)
        if isinstance(statement, Commit):
            return lambda scope: self._copies.append([])
        if isinstance(statement, Wait):
            return self._wait(statement)
        return self._leave if isinstance(statement, Leave) else lambda scope: None

    def loop(self, loop: For, backwards: bool | None = None) -> Run:
        """`backwards`: by default where the order makes no difference, so that a loop whose steps depend on each other shows."""
        body, name = self.body(loop.body), loop.variable
        turn = -1 if (loop.kind in ("parallel", *BOUND) if backwards is None else backwards) else 1

        def run(scope: dict[str, Any]) -> None:
            inner = scope.copy()
            for step in loop.steps(scope)[::turn]:
                inner[name] = step
                body(inner)

        return run

    def _store(self, statement: Store) -> Run:
        write, place, value = self.writer(statement.buffer), self.place(statement.buffer, statement.index), self.value(statement.value)

        def run(scope: dict[str, Any]) -> None:
            number = value(scope)
            write(place(scope), number)

        return run

    def _copy(self, statement: Copy) -> Run:
        copy = statement.spelled_out()
        (store,) = copy.body
        assert isinstance(store, Store)
        garbage = Literal(store.buffer.dtype.type(np.nan if is_float(store.buffer.dtype) else 0))
        begin, land = self.loop(replace(copy, body=[replace(store, value=garbage)])), self.loop(copy)

        def run(scope: dict[str, Any]) -> None:
            begin(scope)
            then = scope.copy()
            self._copies[-1].append(self.by_thread(lambda: land(then)))

        return run

    def _wait(self, statement: Wait) -> Run:
        def run(scope: dict[str, Any]) -> None:
            while len(self._copies) - 1 > statement.pending:
                for land in self._copies.pop(0):
                    land()

        return run

    def by_thread(self, action: Callable[[], None]) -> Callable[[], None]:
        """What does it later, as the thread that is run now."""
        return action

    def _check(self, statement: CheckIndex) -> Run:
        name, extent, value = statement.variable.name, statement.extent, self.value(statement.value)

        def run(scope: dict[str, Any]) -> None:
            index = int(value(scope))
            if not -extent <= index < extent:
                if self.failure is None:
                    self.failure = (index, statement.code)
                index = 0
            scope[name] = np.int64(index + extent if index < 0 else index)

        return run

    def _while(self, statement: While) -> Run:
        before, condition, body = self.body(statement.before), self.value(statement.condition), self.body(statement.body)

        def run(scope: dict[str, Any]) -> None:
            while True:
                inner = scope.copy()
                before(inner)
                if not condition(inner):
                    break
                body(scope.copy())

        return run

    def _leave(self, scope: dict[str, Any]) -> None:
        if self.failure is not None:
            raise _Left

    def _multiply(self, statement: Multiply) -> Run:
        instruction = statement.instruction
        exact = None if instruction.rounded is None else scalar_function(Operation(instruction.rounded, (), instruction.operand))
        (get_total, put_total), (get_left, _), (get_right, _) = (self._matrix(*operand) for operand in statement.operands)

        def run(scope: dict[str, Any]) -> None:
            total, left, right = get_total(scope), get_left(scope), get_right(scope)
            if exact is not None:
                for side, buffer in ((left, statement.left), (right, statement.right)):
                    if not np.array_equal(exact(side), side, equal_nan=True):
                        raise ProgramError(f"{buffer.name} holds numbers that {instruction.rounded} has not rounded")
            left, right = left.astype(instruction.dtype), right.astype(instruction.dtype)
            for step in range(left.shape[1]):
                total = total + left[:, step, None] * right[None, step]
            put_total(scope, total)

        return run

    def _matrix(
        self, fragment: Fragment, buffer: Buffer, index: Index
    ) -> tuple[Callable[[dict[str, Any]], np.ndarray], Callable[[dict[str, Any], np.ndarray], None]]:
        """What reads and what writes a matrix, which is in registers of lanes."""
        stride, slots, array = buffer.size // buffer.copies, range(len(fragment.places)), self.array(buffer)
        held = [(lane * stride + slot, *fragment.at(lane, slot)) for lane in range(32) for slot in slots]
        places, rows, columns = (np.array(numbers) for numbers in zip(*held, strict=True))
        first, last = self.place(buffer, index), self.place(buffer, index + int(places.max()))

        def get(scope: dict[str, Any]) -> np.ndarray:
            last(scope)
            matrix = np.empty(fragment.shape, buffer.dtype)
            matrix[rows, columns] = array[first(scope) + places]
            return matrix

        def put(scope: dict[str, Any], matrix: np.ndarray) -> None:
            array[first(scope) + places] = matrix[rows, columns]

        return get, put

    def place(self, buffer: Buffer, index: Index) -> Callable[[dict[str, Any]], int]:
        """Where an index is."""
        size, constant, terms = buffer.size, index.constant, index.terms

        def checked(place: int) -> int:
            if 0 <= place < size:
                return place
            raise ProgramError(f"{buffer.name}[{index}] is element {place} of {size}")

        if not terms:
            return lambda scope: checked(constant)
        if not self._numbers.isdisjoint(index.variables()):
            return lambda scope: checked(constant + sum(factor * int(scope[name]) for name, factor in terms))
        # Loops' variables are Python's numbers.
        return _placed(len(terms))(constant, size, checked, *(part for term in terms for part in term))

    def value(self, expression: Expression) -> Value:
        if isinstance(expression, Literal):
            value = expression.value
            return lambda scope: value
        if isinstance(expression, Variable):
            return itemgetter(expression.name)
        if isinstance(expression, IndexValue):
            index = expression.index
            return lambda scope: np.int64(index.constant + sum(factor * int(scope[name]) for name, factor in index.terms))
        if isinstance(expression, Load):
            read, place = self.reader(expression.buffer), self.place(expression.buffer, expression.index)
            return lambda scope: read(place(scope))
        function = scalar_function(expression)
        parts = [self.value(argument) for argument in expression.arguments]
        if len(parts) == 1:
            (x,) = parts
            return lambda scope: function(x(scope))
        if len(parts) == 2:
            x, y = parts
            return lambda scope: function(x(scope), y(scope))
        if len(parts) == 3:
            x, y, z = parts
            return lambda scope: function(x(scope), y(scope), z(scope))
        return lambda scope: function(*[part(scope) for part in parts])


@lru_cache(maxsize=64)
def _placed(count: int) -> Callable[..., Callable[[dict[str, Any]], int]]:
    """Makes what finds places of so many terms: one expression, as half of the time that programs take is spent there."""
    terms = "".join(f" + factor{n} * scope[name{n}]" for n in range(count))
    parameters = ", ".join(f"name{n}, factor{n}" for n in range(count))
    found: Callable[..., Callable[[dict[str, Any]], int]] = eval(
        f"lambda constant, size, checked, {parameters}: lambda scope: place if 0 <= (place := constant{terms}) < size else checked(place)"
    )
    return found


#: what NumPy's numbers do by themselves: in a tenth of the time that arrays of one take
_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "less": operator.lt,
    "less_equal": operator.le,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "select": lambda condition, x, y: x if condition else y,
}


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
    if operation.name in _OPERATORS:
        return _OPERATORS[operation.name]
    evaluate, attributes = op.evaluate, op.Attributes()

    def apply(*arguments: Any) -> Any:
        (result,) = evaluate([np.asarray(argument) for argument in arguments], attributes, ())
        return np.asarray(result)[()]

    return apply
