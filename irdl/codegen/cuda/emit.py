"""Program -> CUDA C: one kernel for the whole program, with its time loops inside, that every thread of the grid runs.

A thread of the program is a warp, and the lanes of a vector loop are the warp's: a register tile lies across them, and what
is not in a vector loop all of them do alike, one of them storing it. A parallel loop's steps are dealt out to the warps of
the grid; barriers are the grid's, so that all its blocks have to be resident (a cooperative launch).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from irdl.errors import ProgramError
from irdl.ir.dtypes import is_bool, is_float, is_unsigned
from irdl.loops.index import Index
from irdl.loops.language import (
    Barrier,
    Buffer,
    CheckIndex,
    Expression,
    For,
    If,
    IndexValue,
    Kernel,
    Let,
    Literal,
    Load,
    Operation,
    Prefetch,
    Program,
    Statement,
    Store,
    Variable,
    While,
)
from irdl.loops.walk import buffers_of, free, is_parallel, nested, walk

ENTRY = "irdl_main"
WARP = 32
_INDENT = "    "
_TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned",
    "uint64": "unsigned long long",
    "float32": "float",
    "float64": "double",
}
_INFIX = {"equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
_INFIX_OF_FLOATS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def emit_cuda(program: Program) -> str:
    """The source.

    The kernel `irdl_main` takes the addresses of the inputs, outputs and constants in order, of the arena, of the status
    word (three 64-bit integers, the first 0) and of the barrier's counter (a 32-bit 0). Blocks are whole warps.
    """
    return _Source(program).text()


@lru_cache(maxsize=1)
def operations() -> set[str]:
    """The ops that the prelude, or C itself, has code for."""
    return {
        *re.findall(r"\b(\w+)\(", prelude()),
        *re.findall(r"IRDL_\w+\((\w+)", prelude()),
        *_INFIX,
        *_INFIX_OF_FLOATS,
        "select",
        "stop_gradient",
    }


def prelude() -> str:
    """What the source is put behind: NumPy's arithmetic."""
    return (Path(__file__).parent / "prelude.h").read_text()


class _Source:
    """The text of a whole program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.functions: list[str] = []
        self.names: dict[Buffer, str] = {}
        self.written = {buffer for pair in program.aliased for buffer in pair}
        for space, buffers in (("in", program.inputs), ("out", program.outputs), ("c", [b for b, _ in program.constants])):
            for place, buffer in enumerate(buffers):
                self.names[buffer] = f"{space}{place}" + (f"_{name}" if (name := re.sub(r"\W", "_", buffer.name, flags=re.ASCII)) else "")
        largest = max((b.size for s in walk(program.body) for b in buffers_of(s)), default=0)
        #: of loop variables and offsets
        self.index = "int" if max(largest, program.arena_bytes) < 2**31 else "long long"

    def name(self, buffer: Buffer) -> str:
        return self.names.get(buffer, buffer.name)

    def parameter(self, buffer: Buffer) -> str:
        constant = "const " if buffer.space in ("input", "constant") else ""
        # The compiler may read what is never written through another path, which does not see other blocks' stores.
        restrict = "__restrict__ " if constant and buffer not in self.written else ""
        return f"{constant}{_type(buffer.dtype)}* {restrict}{self.name(buffer)}"

    def text(self) -> str:
        program = self.program
        main = _Function(self, in_kernel=False)
        main.line("const int warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32, warps = gridDim.x * blockDim.x / 32;")
        main.line("unsigned passed = 0;")
        main.body(program.body)
        places = [*program.inputs, *program.outputs, *(buffer for buffer, _ in program.constants)]
        parameters = [*map(self.parameter, places), "char* arena", "unsigned long long* status", "unsigned* barrier"]
        self.functions.append(_definition(f'extern "C" __global__ void {ENTRY}', parameters, main.lines))
        return prelude() + "\n" + "\n".join(self.functions)

    def kernel(self, kernel: Kernel, buffers: Sequence[Buffer], variables: Sequence[str]) -> None:
        function = _Function(self, in_kernel=True, shared=not kernel.independent)
        function.line("const int lane = threadIdx.x % 32;")
        for buffer, lanes in _tiles(kernel).items():
            function.tile_lanes[buffer] = lanes
            function.line(f"{_type(buffer.dtype)} {self.name(buffer)}[{buffer.size // max(1, lanes)}];")
        function.body(kernel.body)
        # What one lane wrote, another may read in the warp's next kernel.
        function.line("__syncwarp();")
        parameters = [*map(self.parameter, buffers), *(f"{self.index} {name}" for name in variables)]
        parameters += ["unsigned long long* status", "int warp", "int warps"]
        self.functions.append(_definition(f"static __device__ void {kernel.name}", parameters, function.lines))


def _definition(head: str, parameters: Sequence[str], lines: Sequence[str]) -> str:
    inside = "".join(f"{_INDENT}{line}\n" for line in lines)
    return f"{head}({', '.join(parameters)}) {{\n{inside}}}\n"


class _Function:
    """One function: statements in, lines of C out."""

    def __init__(self, source: _Source, in_kernel: bool, shared: bool = False) -> None:
        self.source = source
        self.in_kernel = in_kernel
        #: lanes may read what others of their warp write
        self.shared = shared
        self.lines: list[str] = []
        self.indent = ""
        #: of each register tile, how many of its elements lie across the lanes (0: every lane has all of it)
        self.tile_lanes: dict[Buffer, int] = {}
        #: the vector loop around: its variable, and how many lanes it uses
        self.lane = ""
        self.used = 0
        self.count = 0

    def line(self, text: str) -> None:
        self.lines.append(self.indent + text)

    def block(self, head: str, body: Sequence[Statement], first: str = "") -> None:
        self.line(head + "{")
        self.indent += _INDENT
        if first:
            self.line(first)
        self.body(body)
        self.indent = self.indent[len(_INDENT) :]
        self.line("}")

    def body(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, For):
                self._for(statement)
            elif isinstance(statement, Let):
                self.line(f"const {_type(statement.variable.dtype)} {statement.variable.name} = {self.value(statement.value)};")
            elif isinstance(statement, Store):
                self._store(statement)
            elif isinstance(statement, CheckIndex):
                self._check(statement)
            elif isinstance(statement, Kernel):
                self._call(statement)
            elif isinstance(statement, If):
                self.block(f"if ({self.value(statement.condition)}) ", statement.then)
                self.block("else ", statement.otherwise)
            elif isinstance(statement, Barrier):
                self.line("irdl::grid_barrier(barrier, passed);")
            elif isinstance(statement, While):
                self._while(statement)
            else:
                assert isinstance(statement, Prefetch), "other warps hide the latency"

    def _for(self, loop: For) -> None:
        name, index = loop.variable, self.source.index
        if loop.kind == "vector":
            if loop.start or loop.stop > WARP or self.lane:
                raise ProgramError(f"the vector loop {name} is not one over the lanes of a warp")
            self.lane, self.used = name, loop.stop
            self.block("", loop.body, f"const {index} {name} = lane;")
            self.lane, self.used = "", 0
        elif loop.kind == "parallel":
            self.block(f"for ({index} {name} = warp; {name} < {loop.stop}; {name} += warps) ", loop.body)
        elif loop.turns:
            back = f"{loop.turns} % 2 ? {loop.start + loop.stop - 1} - {name}_step : {name}_step"
            steps = f"{index} {name}_step = {loop.start}; {name}_step < {loop.stop}; ++{name}_step"
            self.block(f"for ({steps}) ", loop.body, f"const {index} {name} = {back};")
        else:
            if loop.kind in ("unrolled", "abreast"):
                self.line("#pragma unroll")
            self.block(f"for ({index} {name} = {loop.start}; {name} < {loop.stop}; {name} += {loop.step}) ", loop.body)

    def _while(self, statement: While) -> None:
        self.line("while (true) {")
        self.indent += _INDENT
        self.body(statement.before)
        self.line(f"if (!({self.value(statement.condition)})) break;")
        self.body(statement.body)
        self.indent = self.indent[len(_INDENT) :]
        self.line("}")

    def _call(self, kernel: Kernel) -> None:
        buffers, variables = free(kernel)
        self.source.kernel(kernel, buffers, variables)
        arguments = [*map(self.pointer, buffers), *variables, "status", "warp", "warps"]
        first = "" if is_parallel(kernel) else "if (warp == 0) "
        self.line(f"{first}{kernel.name}({', '.join(arguments)});")

    def _check(self, statement: CheckIndex) -> None:
        value = self._by_all(self.value(statement.value), "long long")
        call = f"irdl::check({value}, {statement.extent}, {statement.code}, status)"
        self.line(f"const {self.source.index} {statement.variable.name} = {self._if_used(call, '0')};")

    # Lanes: those of a vector loop beyond the ones it uses go along, touching no memory.

    def _condition(self) -> str:
        """Where a store takes place; "" for in every lane."""
        if self.lane:
            return f"lane < {self.used}" if self.used < WARP else ""
        return "lane == 0"

    def _if_used(self, value: str, otherwise: str) -> str:
        return f"({self._condition()} ? {value} : {otherwise})" if self.lane and self.used < WARP else value

    def _by_all(self, value: str, type: str, first: bool = False) -> str:
        """A value for use under a condition: lanes that exchange values have to do so together. `first`: before any stores."""
        if "__shfl" not in value and not first:
            return value
        self.count += 1
        self.line(f"const {type} given{self.count} = {value};")
        return f"given{self.count}"

    def _store(self, store: Store) -> None:
        buffer = store.buffer
        in_memory = buffer.space != "register"
        value = self._by_all(self.value(store.value), _type(buffer.dtype), self.shared and in_memory)
        if not in_memory:
            place, moved = self._in_tile(buffer, store.index)
            if moved or (not self.lane and self.tile_lanes[buffer]):
                raise ProgramError(f"a store to {buffer.name}[{store.index}] in another lane")
            condition = self._condition() if self.lane else ""
            self.line(f"{f'if ({condition}) ' if condition else ''}{buffer.name}[{place}] = {value};")
            return
        # All lanes have read what one of them now overwrites.
        if self.shared or not self.lane:
            self.line("__syncwarp();")
        condition = self._condition()
        self.line(f"{f'if ({condition}) ' if condition else ''}{self.pointer(buffer)}[{_index(store.index)}] = {value};")
        if self.shared:
            self.line("__syncwarp();")

    # Expressions.

    def pointer(self, buffer: Buffer) -> str:
        if buffer.space == "arena" and not self.in_kernel:
            return f"(({_type(buffer.dtype)}*)(arena + {buffer.offset}))"
        return self.source.name(buffer)

    def value(self, expression: Expression) -> str:
        if isinstance(expression, Literal):
            return _literal(expression.value)
        if isinstance(expression, Variable):
            return expression.name
        if isinstance(expression, IndexValue):
            return f"(long long)({_index(expression.index)})"
        if isinstance(expression, Load):
            if expression.buffer.space == "register":
                return self._load_tile(expression)
            return self._if_used(f"{self.pointer(expression.buffer)}[{_index(expression.index)}]", "0")
        return _operation(expression.name, [self.value(argument) for argument in expression.arguments], expression)

    def _in_tile(self, buffer: Buffer, index: Index) -> tuple[str, int]:
        """Which of a lane's own elements of a register tile, and how many lanes on (outside of a vector loop: which lane)."""
        lanes = self.tile_lanes[buffer]
        if not lanes:
            return _index(index), 0
        place, element = divmod(index.constant, lanes)
        terms = []
        for name, coefficient in index.terms:
            if name == self.lane and coefficient == 1:
                continue
            if coefficient % lanes:
                raise ProgramError(f"{buffer.name}[{index}] cannot be told apart by lane")
            terms.append((name, coefficient // lanes))
        return _index(Index(place, tuple(terms))), element

    def _load_tile(self, load: Load) -> str:
        place, element = self._in_tile(load.buffer, load.index)
        own = f"{load.buffer.name}[{place}]"
        if not self.tile_lanes[load.buffer]:
            return own
        if self.lane and load.index.coefficient(self.lane):
            return f"__shfl_down_sync(0xffffffffu, {own}, {element})" if element else own
        return f"__shfl_sync(0xffffffffu, {own}, {element})"


def _index(index: Index) -> str:
    return str(index).replace(" ", "").replace("+-", "-")


def _type(dtype: np.dtype) -> str:
    return _TYPES[dtype.name]


def _literal(value: np.generic) -> str:
    dtype = value.dtype
    if is_bool(dtype):
        return "true" if value else "false"
    if is_float(dtype):
        number = float(value)
        if math.isnan(number):
            return f"{_type(dtype)}(NAN)"
        if math.isinf(number):
            return f"{_type(dtype)}({'-' if number < 0 else ''}INFINITY)"
        return repr(number) + ("" if dtype == np.float64 else "f")
    if dtype.itemsize < 8:
        return f"({_type(dtype)}){value!s}" if int(value) != -(2**31) else "(-2147483647 - 1)"
    if is_unsigned(dtype):
        return f"{value!s}ull"
    return f"{value!s}ll" if int(value) != -(2**63) else "(-9223372036854775807ll - 1)"


def _operation(name: str, arguments: Sequence[str], operation: Operation) -> str:
    operand = operation.arguments[-1].dtype
    infix = _INFIX.get(name) or (_INFIX_OF_FLOATS.get(name) if operand.kind == "f" else None)
    if infix is not None:
        return f"({arguments[0]} {infix} {arguments[1]})"
    if name == "select":
        return f"({arguments[0]} ? {arguments[1]} : {arguments[2]})"
    # C works out small integers as int: each argument is made what it is again.
    function = f"cast<{_type(operation.dtype)}>" if name == "cast" else name
    if operand.kind in "biu":
        arguments = [f"({_type(operand)})({argument})" for argument in arguments]
    return f"irdl::{function}({', '.join(arguments)})"


def _tiles(kernel: Kernel) -> dict[Buffer, int]:
    """The register tiles of a kernel, and how many of the elements of each lie across the lanes."""
    found: dict[Buffer, int] = {}

    def visit(body: Sequence[Statement], lanes: int) -> None:
        for statement in body:
            for buffer in buffers_of(statement):
                if buffer.space == "register":
                    found[buffer] = found.get(buffer) or lanes
            for part in nested(statement):
                visit(part, statement.lanes if isinstance(statement, For) and statement.kind == "vector" else lanes)

    visit(kernel.body, 0)
    return found
