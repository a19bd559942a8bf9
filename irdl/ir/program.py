"""The loop language: what a graph becomes once it is scheduled, and what a backend prints.

    program   = buffers, kernels in order, nested in loops
    statement = for v in start:stop:step (serial | unrolled | abreast | vector | parallel) { statement* }
              | let x = expression
              | buffer[index] = expression
              | if expression { statement* } else { statement* }
              | while { statement* ; expression } { statement* }
              | kernel name { statement* }
              | barrier
              | prefetch buffer[index] (to read | to write)
              | check index expression against an axis
    expression = literal | variable | index | buffer[index] | op(expression, ...)
    index      = integer + integer * variable + ...

Spaces of buffers: `input`, `output`, `constant` and `status` come with each call, `arena` is scratch memory, and
`register` is a tile that lives in registers (its indices are constants once unrolled, plus the lane of a vector loop;
a load may be of some lanes further on).
A vector loop runs its steps, at most `lanes`, as one; its variable is the lane. The steps of a loop `abreast` are
independent: it is unrolled, and their instructions take turns. A loop that turns with an outer variable runs backwards
where that is odd.

All threads of a team run the program. Each takes its share of the steps of a parallel loop, in any order; a kernel without
one is the first thread's; a barrier lets none pass before all have come. After a barrier there may be fewer: a caller that has
waited for long goes on alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from irdl.errors import ProgramError
from irdl.ir.types import short_name

KINDS = ("serial", "unrolled", "abreast", "vector", "parallel")
SPACES = ("input", "output", "constant", "status", "arena", "register")


@dataclass(eq=False)
class Buffer:
    """`size` elements of one dtype. `offset` (bytes) is set by the memory pass for the arena's buffers."""

    name: str
    dtype: np.dtype
    size: int
    space: str
    offset: int = 0

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class Index:
    """An affine integer: `constant + sum(coefficient * variable)`, terms ordered by name, none zero."""

    constant: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def variable(name: str, coefficient: int = 1) -> Index:
        return Index(0, ((name, coefficient),) if coefficient else ())

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.constant + other, self.terms)
        terms = dict(self.terms)
        for name, coefficient in other.terms:
            terms[name] = terms.get(name, 0) + coefficient
        return Index(self.constant + other.constant, tuple(sorted((n, c) for n, c in terms.items() if c)))

    def __mul__(self, factor: int) -> Index:
        if factor == 0:
            return Index()
        return Index(self.constant * factor, tuple((n, c * factor) for n, c in self.terms))

    def coefficient(self, name: str) -> int:
        return dict(self.terms).get(name, 0)

    def variables(self) -> set[str]:
        return {name for name, _ in self.terms}

    def substitute(self, values: Mapping[str, Index | int]) -> Index:
        result = Index(self.constant)
        for name, coefficient in self.terms:
            value = values.get(name)
            if value is None:
                result = result + Index.variable(name, coefficient)
            else:
                result = result + value * coefficient
        return result

    def __str__(self) -> str:
        parts = [name if c == 1 else f"{c}*{name}" for name, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


@dataclass(frozen=True)
class Literal:
    value: np.generic

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype


@dataclass(frozen=True)
class Variable:
    """A value bound by a `Let`."""

    name: str
    dtype: np.dtype


@dataclass(frozen=True)
class IndexValue:
    """An index as an int64 number."""

    index: Index

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.int64)


@dataclass(frozen=True)
class Load:
    buffer: Buffer
    index: Index

    @property
    def dtype(self) -> np.dtype:
        return self.buffer.dtype


@dataclass(frozen=True)
class Operation:
    """An elementwise op of the registry on expressions; `fma(a, b, c)` is the one addition."""

    name: str
    arguments: tuple[Expression, ...]
    dtype: np.dtype


Expression: TypeAlias = Literal | Variable | IndexValue | Load | Operation


@dataclass
class For:
    variable: str
    start: int
    stop: int
    step: int
    kind: str
    body: list[Statement]
    #: of a vector loop: the machine's lanes, of which it uses the first `stop`
    lanes: int = 0
    #: an outer loop's variable: backwards where it is odd
    turns: str = ""

    def steps(self, outer: Mapping[str, Any]) -> range:
        """The values the variable takes, in order, given those of the outer variables."""
        steps = range(self.start, self.stop, self.step)
        return steps[::-1] if self.turns and int(outer[self.turns]) % 2 else steps


@dataclass
class Let:
    variable: Variable
    value: Expression


@dataclass
class Store:
    buffer: Buffer
    index: Index
    value: Expression


@dataclass
class CheckIndex:
    """Bind `variable` to `value` made non-negative for an axis of `extent`; out of range reports `code` and binds 0."""

    variable: Variable
    value: Expression
    extent: int
    code: int


@dataclass
class If:
    condition: Expression
    then: list[Statement]
    otherwise: list[Statement]


@dataclass
class While:
    """Run `before`; leave if `condition` fails; run `body`; again."""

    before: list[Statement]
    condition: Expression
    body: list[Statement]


@dataclass
class Kernel:
    """A named piece of work that a backend makes one function of.

    `independent`: its statements write different elements, and none reads what another writes.
    """

    name: str
    body: list[Statement]
    independent: bool = False


@dataclass
class Barrier:
    """Every thread waits here for all others."""


@dataclass
class Prefetch:
    """Bring what lies there near, without waiting for it. A hint: it counts neither as reading nor as writing."""

    buffer: Buffer
    index: Index
    write: bool = False


Statement: TypeAlias = For | Let | Store | CheckIndex | If | While | Kernel | Barrier | Prefetch


@dataclass
class Program:
    """Buffers and statements. `checks` explains the codes that index checks report: (axis, extent, where).

    `threads`: how many it was divided for; 1 means that no loop is parallel; `work`: the cycles, roughly, that are divided. `aliased` pairs buffers that share memory (a donated
    input and its output).
    """

    name: str
    inputs: list[Buffer]
    outputs: list[Buffer]
    constants: list[tuple[Buffer, np.ndarray]]
    body: list[Statement]
    checks: list[tuple[int, int, str]] = field(default_factory=list)
    arena_bytes: int = 0
    threads: int = 1
    work: float = 0
    aliased: list[tuple[Buffer, Buffer]] = field(default_factory=list)

    def __str__(self) -> str:
        return print_program(self)


def nested(statement: Statement) -> list[list[Statement]]:
    """The statement lists inside a statement."""
    if isinstance(statement, (For, Kernel)):
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


# Text.


def print_program(program: Program) -> str:
    """The program as text, one statement a line."""
    threads = f" threads={program.threads}" if program.threads > 1 else ""
    lines = [f"program {program.name} arena={program.arena_bytes}{threads}"]
    for label, buffers in (("input", program.inputs), ("output", program.outputs)):
        lines += [f"  {label} {buffer.name}: {short_name(buffer.dtype)}[{buffer.size}]" for buffer in buffers]
    lines += [f"  constant {b.name}: {short_name(b.dtype)}[{b.size}]" for b, _ in program.constants]
    _print_body(program.body, "  ", lines)
    return "\n".join(lines) + "\n"


def _print_body(body: Sequence[Statement], indent: str, lines: list[str]) -> None:
    for statement in body:
        if isinstance(statement, For):
            step = f":{statement.step}" if statement.step != 1 else ""
            kind = "" if statement.kind == "serial" else f" {statement.kind}"
            kind += f" turning with {statement.turns}" if statement.turns else ""
            lines.append(f"{indent}for {statement.variable} in {statement.start}:{statement.stop}{step}{kind} {{")
            _print_body(statement.body, indent + "  ", lines)
            lines.append(indent + "}")
        elif isinstance(statement, Let):
            lines.append(f"{indent}let {statement.variable.name} = {format_expression(statement.value)}")
        elif isinstance(statement, Store):
            lines.append(f"{indent}{statement.buffer.name}[{statement.index}] = {format_expression(statement.value)}")
        elif isinstance(statement, CheckIndex):
            value = format_expression(statement.value)
            lines.append(f"{indent}let {statement.variable.name} = check {value} in {statement.extent} code {statement.code}")
        elif isinstance(statement, If):
            lines.append(f"{indent}if {format_expression(statement.condition)} {{")
            _print_body(statement.then, indent + "  ", lines)
            lines.append(indent + "} else {")
            _print_body(statement.otherwise, indent + "  ", lines)
            lines.append(indent + "}")
        elif isinstance(statement, While):
            lines.append(indent + "while {")
            _print_body(statement.before, indent + "  ", lines)
            lines.append(f"{indent}  {format_expression(statement.condition)}")
            lines.append(indent + "} {")
            _print_body(statement.body, indent + "  ", lines)
            lines.append(indent + "}")
        elif isinstance(statement, Barrier):
            lines.append(indent + "barrier")
        elif isinstance(statement, Prefetch):
            lines.append(f"{indent}prefetch {statement.buffer.name}[{statement.index}] to {'write' if statement.write else 'read'}")
        else:
            lines.append(f"{indent}kernel {statement.name} {{")
            _print_body(statement.body, indent + "  ", lines)
            lines.append(indent + "}")


def format_expression(expression: Expression) -> str:
    if isinstance(expression, Literal):
        return f"{expression.value!s}"
    if isinstance(expression, Variable):
        return expression.name
    if isinstance(expression, IndexValue):
        return f"index({expression.index})"
    if isinstance(expression, Load):
        return f"{expression.buffer.name}[{expression.index}]"
    suffix = f".{short_name(expression.dtype)}" if expression.name == "cast" else ""
    return f"{expression.name}{suffix}({', '.join(format_expression(a) for a in expression.arguments)})"


# Checks.


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
        elif isinstance(statement, While):
            _verify_body(statement.before, bound)
            inner = bound | {s.variable.name for s in statement.before if isinstance(s, (Let, CheckIndex))}
            _verify_expression(statement.condition, inner)
            _verify_body(statement.body, bound)
        else:
            for inner_body in nested(statement):
                _verify_body(inner_body, bound)


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
