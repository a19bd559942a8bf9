"""Program -> CUDA C: a function for each launch, its kernels one after the other inside it, and its time loops around them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from irdl.codegen.cuda.dealing import as_guard
from irdl.codegen.cuda.declarations import homes, read_ahead, variables_shown
from irdl.codegen.cuda.expressions import c_type, copies, format_index, format_literal, format_operation, prelude, tensor_cores
from irdl.codegen.cuda.registers import (
    copied_at_once,
    is_run_loaded,
    is_widened_pair,
    nests_of,
    paired,
    reads_runs_ahead,
    registers_of,
)
from irdl.errors import ProgramError
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.instructions import TF32
from irdl.loops.language import (
    BOUND,
    Barrier,
    CheckIndex,
    Commit,
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
    Wait,
    While,
)
from irdl.loops.walk import bound_nest, buffers_of, expressions, subexpressions, walk

#: bytes between what different blocks wait at
LINE = 128
_INDENT = "    "
#: of each kind of bound loop: a thread's place in it, and how many places there are, where the launch does not say
_UNITS = {"grid": ("thread", "threads"), "block": ("blockIdx.x", "gridDim.x"), "warp": ("warp", ""), "lane": ("lane", "")}
#: the most turns that are unrolled, and how many a thread of a grid has at once, or runs that it has on their way
_UNROLLED, _IN_FLIGHT = 8, 4
#: registers of a multiprocessor, and how many more nvcc may need of a thread than are counted
_REGISTERS, _MORE = 65536, 20
#: how far behind the last place a loop's variable may get: by the threads of a grid, or the rest of a tile
_BEYOND = 1 << 20
#: of products of matrices, how many are unrolled
_PRODUCTS = 16
_BARRIERS = {
    "all": "irdl::grid_barrier(barrier, passed);",
    "blocks": f"irdl::meet(barrier + {LINE // 4} * (1 + blockIdx.x / {{blocks}}), {{count}}, met);",
    "block": "__syncthreads();",
    "warp": "__syncwarp();",
}


def emit_cuda(program: Program) -> str:
    """The source of a program that is a list of launches.

    A launch's function takes the addresses of its `parameters`, of the arena, of the status word (three 64-bit integers, the first
    0) and of `barrier_bytes` zeros.
    """
    head = prelude() + "\n" + (tensor_cores() + "\n" if _has_products(program) else "")
    head += copies() + "\n" if any(isinstance(statement, Copy) for statement in walk(program.body)) else ""
    return head + "\n".join(_Function(program, launch).text() for launch in launches(program))


def _has_products(program: Program) -> bool:
    """Warps multiply matrices, or there is what they would multiply."""
    return any(isinstance(statement, Multiply) for statement in walk(program.body)) or any(
        operation.name == TF32.rounded for operation in _operations(program.body)
    )


def _operations(body: Sequence[Statement]) -> Iterator[Operation]:
    return (item for s in walk(body) for e in expressions(s) for item in subexpressions(e) if isinstance(item, Operation))


def launches(program: Program) -> list[Launch]:
    """
    Raises:
        ProgramError: the program is one of a CPU.
    """
    found = [statement for statement in program.body if isinstance(statement, Launch)]
    if len(found) != len(program.body):
        raise ProgramError(f"the program {program.name} is not one of launches")
    return found


def barrier_bytes(launch: Launch) -> int:
    """Where its blocks wait: a line for all, and one for each run of blocks."""
    if not launch.cooperative:
        return 0
    return LINE * (1 + (launch.blocks if launch.exact else 0))


def parameters(program: Program, launch: Launch) -> list[Buffer]:
    """The inputs, outputs and constants that a launch's function takes, in order."""
    used = {buffer for statement in walk(launch.body) for buffer in buffers_of(statement)}
    return [b for b in (*program.inputs, *program.outputs, *(buffer for buffer, _ in program.constants)) if b in used]


class _Function:
    """One launch: statements in, lines of C out."""

    def __init__(self, program: Program, launch: Launch) -> None:
        self.launch = launch
        self.parameters = parameters(program, launch)
        self.written = {buffer for pair in program.aliased for buffer in pair}
        self.ahead = read_ahead(launch.body)
        self.names = _parameter_names(program)
        largest = max((buffer.size for s in walk(launch.body) for buffer in buffers_of(s)), default=0)
        #: of loop variables and offsets
        self.index = "int" if max(largest, program.arena_bytes) < 2**31 - _BEYOND else "long long"
        self.lines: list[str] = []
        self.indent = _INDENT
        #: the variables of the bound loops around
        self.bound: list[str] = []
        #: those of them that are loops over blocks
        self.blocks: list[str] = []
        self.homes = homes(launch.body)
        self.pairs = paired(launch.body) if launch.exact else set[Buffer]()
        self.widens = self.pairs and any(map(is_widened_pair, _operations(launch.body)))
        self.kinds: set[str] = set()
        self.counts_threads = False
        self.barriers: set[str] = set()

    def text(self) -> str:
        launch = self.launch
        self.scope(launch.body)
        # Where blocks keep something, one that runs well is worth more than several at once, but two where registers are enough.
        few = ", 1" if launch.cooperative or launch.shared_bytes else ""
        if few and not launch.cooperative and 2 * launch.threads * (registers_of(launch.body) + _MORE) <= _REGISTERS:
            few = ", 2"
        head = f'extern "C" __global__ void __launch_bounds__({launch.threads}{few}) {launch.name}'
        given = [*map(self.parameter, self.parameters), "char* arena", "unsigned long long* status", "unsigned* barrier"]
        return f"{head}({', '.join(given)}) {{\n" + "".join(f"{line}\n" for line in [*self._places(), *self.lines]) + "}\n"

    def _places(self) -> Iterator[str]:
        """Where a thread is, as far as it matters, and where buffers are."""
        index = self.index
        if "grid" in self.kinds:
            count = f", threads = {index}(gridDim.x) * blockDim.x" if self.counts_threads else ""
            yield f"{_INDENT}const {index} thread = {index}(blockIdx.x) * blockDim.x + threadIdx.x{count};"
        if "warp" in self.kinds:
            yield f"{_INDENT}const int warp = threadIdx.x / 32;"
        if "lane" in self.kinds:
            yield f"{_INDENT}const int lane = threadIdx.x % 32;"
        for scope, name in (("all", "passed"), ("blocks", "met")):
            if scope in self.barriers:
                yield f"{_INDENT}unsigned {name} = 0;"
        if self.launch.shared_bytes:
            yield f"{_INDENT}extern __shared__ __align__(16) char smem[];"
        for buffer in dict.fromkeys(b for s in walk(self.launch.body) for b in buffers_of(s) if b.space in ("arena", "shared")):
            base = "arena" if buffer.space == "arena" else "smem"
            yield f"{_INDENT}{c_type(buffer.dtype)}* const {buffer.name} = ({c_type(buffer.dtype)}*)({base} + {buffer.offset});"

    def name(self, buffer: Buffer) -> str:
        return self.names.get(buffer, buffer.name)

    def parameter(self, buffer: Buffer) -> str:
        constant = "const " if buffer.space in ("input", "constant") else ""
        # The compiler may read what is never written through another path, which does not see other blocks' stores; and at another time,
        # as late as can be, which is not what reading ahead is for.
        restrict = "__restrict__ " if constant and buffer not in self.written | self.ahead else ""
        return f"{constant}{c_type(buffer.dtype)}* {restrict}{self.name(buffer)}"

    def line(self, text: str) -> None:
        self.lines.append(self.indent + text)

    def block(self, head: str, body: Sequence[Statement], first: Sequence[str] = (), scope: bool = False) -> None:
        self.line(head + "{")
        self.indent += _INDENT
        for text in first:
            self.line(text)
        self.scope(body) if scope else self.body(body)
        self.indent = self.indent[len(_INDENT) :]
        self.line("}")

    def scope(self, body: Sequence[Statement]) -> None:
        """Statements, behind the declarations of the register tiles that are used nowhere else."""
        for buffer in self.homes.get(id(body), ()):
            if buffer in self.pairs:
                self.line(f"irdl::pairs<{c_type(buffer.dtype)}, {buffer.size // buffer.copies}> {buffer.name};")
                continue
            count = f"[{buffer.size // buffer.copies}]" if buffer.size > buffer.copies else ""
            self.line(f"{c_type(buffer.dtype)} {buffer.name}{count};")
        self.body(body)

    def body(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, For):
                self._for(statement, alone=len(statements) == 1)
            elif isinstance(statement, Let):
                self.line(f"const {c_type(statement.variable.dtype)} {statement.variable.name} = {self.value(statement.value)};")
            elif isinstance(statement, Store):
                place, value = self.place(statement.buffer, statement.index), self.value(statement.value)
                self.line(f"irdl::put({place}, {value});" if statement.buffer in self.pairs else f"{place} = {value};")
            elif isinstance(statement, CheckIndex):
                value = f"irdl::check({self.value(statement.value)}, {statement.extent}, {statement.code}, status)"
                self.line(f"const {self.index} {statement.variable.name} = {value};")
            elif isinstance(statement, Kernel):
                self.line(f"// {statement.name}{f' ({statement.where})' if statement.where else ''}")
                self.block("", statement.body, scope=True)
            elif isinstance(statement, If):
                self.block(f"if ({self.value(statement.condition)}) ", statement.then)
                if statement.otherwise:
                    self.block("else ", statement.otherwise)
            elif isinstance(statement, Barrier):
                self.barriers.add(statement.scope)
                self.line(_BARRIERS[statement.scope].format(blocks=statement.blocks, count=self._in_run(statement.blocks)))
            elif isinstance(statement, While):
                self._while(statement)
            elif isinstance(statement, Multiply):
                places = ", ".join(f"&{self.place(buffer, index)}" for _, buffer, index in statement.operands)
                self.line(f"irdl::{statement.instruction.name}({places});")
            elif isinstance(statement, LoadMatrices):
                self._load_matrices(statement)
            elif isinstance(statement, Copy):
                to, source = self.place(statement.buffer, statement.index), self.place(statement.source, statement.source_index)
                self.line(f"irdl::begin_copy(&{to}, &{source});")
            elif isinstance(statement, Commit):
                self.line("irdl::commit_copies();")
            elif isinstance(statement, Wait):
                self.line(f"irdl::wait_for_copies<{statement.pending}>();")
            else:
                assert isinstance(statement, Prefetch), "other warps hide the latency"

    def _load_matrices(self, statement: LoadMatrices) -> None:
        self.kinds.add("lane")
        second, third = statement.steps
        line = f"lane % 8 * {statement.line} + lane / 8 % 2 * {second} + lane / 16 * {third}"
        to, source = self.place(statement.buffer, statement.index), self.place(statement.source, statement.source_index)
        self.line(f"irdl::load_matrices<{'true' if statement.transposed else 'false'}>(&{to}, &{source} + ({line}));")

    def _for(self, loop: For, alone: bool) -> None:
        name, index = loop.variable, self.index
        if loop.kind in BOUND:
            self._bound(loop, alone)
        elif loop.kind in ("serial", "unrolled"):
            if loop.kind == "unrolled":
                self.line("#pragma unroll")
            elif any(isinstance(statement, Multiply) for statement in walk(loop.body)):
                # What more of them multiply would be loaded ahead, and there are so many registers.
                products = sum(isinstance(statement, Multiply) for statement in loop.body)
                self.line(f"#pragma unroll {max(1, _PRODUCTS // products) if products else 1}")
            elif self.launch.exact and (runs := sum(map(is_run_loaded, loop.body))):
                # The same of runs, where registers are full of what is kept.
                self.line(f"#pragma unroll {max(1, _IN_FLIGHT // runs)}")
            is_of_steps = self.widens and any(nest.kind == "block" for nest in nests_of(loop.body))
            first = [f"[[maybe_unused]] const unsigned nothing = irdl::nothing(int({name}));"] if is_of_steps else []
            self.block(f"for ({index} {name} = {loop.start}; {name} < {loop.stop}; {name} += {loop.step}) ", loop.body, first)
        elif (copy := copied_at_once(loop)) is not None:
            to, source = (self.address(part.buffer, part.index.substitute({name: Index()})) for part in copy)
            what = "load" if copy[0].buffer.space == "register" else "store"
            self.line(f"irdl::{what}<{loop.stop}>({to}, {source});")
        else:
            raise ProgramError(f"the loop {name} is {loop.kind}, which is a CPU's")

    def _bound(self, loop: For, alone: bool) -> None:
        """A nest of one kind: its steps as one sequence, of which a thread takes every so many-th. `alone`: it needs no scope of its own."""
        nest = bound_nest(loop)
        unit, count = _UNITS[loop.kind]
        steps = math.prod(item.stop for item in nest)
        known = {"warp": self.launch.threads // 32, "lane": 32}.get(loop.kind)
        if loop.kind == "block" and self.launch.exact:
            known = self.launch.blocks
        at = f"at_{nest[-1].variable}"
        first: list[str] = []
        if known is not None and steps <= known:
            head, at = "" if steps == known else f"if ({unit} < {steps}) ", unit
        elif steps == 1:
            head, at = f"if ({unit} == 0) ", unit
        elif known is not None and steps % known == 0:
            # So that the compiler sees how often.
            if steps // known <= _UNROLLED:
                self.line("#pragma unroll")
            head = f"for ({self.index} turn = 0; turn < {steps // known}; ++turn) "
            first.append(f"const {self.index} {at} = {known} * turn + {unit};")
        else:
            if (
                loop.kind == "grid"
                and steps >= _IN_FLIGHT * self.launch.blocks * self.launch.threads
                and not reads_runs_ahead(nest[-1].body)
            ):
                self.line(f"#pragma unroll {_IN_FLIGHT}")  # that many loads are on their way at once
            head = f"for ({self.index} {at} = {unit}; {at} < {steps}; {at} += {count if known is None else known}) "
            self.counts_threads |= loop.kind == "grid"
        variables, stride, used = [], 1, variables_shown(nest[-1].body, loop.kind)
        for place, item in reversed(list(enumerate(nest))):
            value = at if stride == 1 else f"{at} / {stride}"
            if place and item.stop * stride < steps:
                value += f" % {item.stop}"
            if item.variable in used:
                variables.append(f"{item.variable} = {value}")
            stride *= item.stop
        first = [*first, f"const {self.index} {', '.join(reversed(variables))};"] if variables else []
        if head or variables:
            self.kinds.add(loop.kind)
        variables_of = [item.variable for item in nest]
        self.bound += variables_of
        self.blocks += variables_of if loop.kind == "block" else []
        if alone and not head:
            for text in first:
                self.line(text)
            self.scope(nest[-1].body)
        else:
            self.block(head, nest[-1].body, first, scope=True)
        self.bound, self.blocks = self.bound[: -len(nest)], [name for name in self.blocks if name not in variables_of]

    def _in_run(self, blocks: int) -> str:
        """How many blocks of a run meet: the last run may have fewer."""
        rest = self.launch.blocks % blocks if blocks else 0
        return f"blockIdx.x < {self.launch.blocks - rest} ? {blocks} : {rest}" if rest else str(blocks)

    def _while(self, statement: While) -> None:
        self.line("while (true) {")
        self.indent += _INDENT
        self.body(statement.before)
        self.line(f"if (!({self.value(statement.condition)})) break;")
        self.body(statement.body)
        self.indent = self.indent[len(_INDENT) :]
        self.line("}")

    def place(self, buffer: Buffer, index: Index) -> str:
        if buffer.copies > 1:
            # What says whose part it is, the thread or the block does.
            own = self.bound if buffer.space == "register" else self.blocks
            index = Index(index.constant, tuple((name, c) for name, c in index.terms if name not in own))
        if buffer.space == "register" and buffer.size == buffer.copies:
            return buffer.name
        if buffer in self.pairs:
            return f"{buffer.name}, {format_index(index)}"
        return f"{self.name(buffer)}[{format_index(index)}]"

    def address(self, buffer: Buffer, index: Index) -> str:
        """Of the first of some neighbours, as functions of the prelude take it."""
        return self.place(buffer, index) if buffer in self.pairs else f"&{self.place(buffer, index)}"

    def value(self, expression: Expression) -> str:
        if isinstance(expression, Literal):
            return format_literal(expression.value)
        if isinstance(expression, Variable):
            return expression.name
        if isinstance(expression, IndexValue):
            return f"(long long)({format_index(expression.index)})"
        if (guard := as_guard(expression)) is not None:
            return f"{format_index(guard[0])} < {guard[1]}"
        if isinstance(expression, Load):
            where = self.place(expression.buffer, expression.index)
            return f"irdl::get({where})" if expression.buffer in self.pairs else where
        if expression.name == "cast" and isinstance(place := expression.arguments[0], IndexValue) and expression.dtype.kind in "iu":
            return f"({c_type(expression.dtype)})({format_index(place.index)})"
        if is_widened_pair(expression) and isinstance(kept := expression.arguments[0], Load) and kept.buffer in self.pairs:
            return f"irdl::widen({self.place(kept.buffer, kept.index)}, nothing)"
        return format_operation(expression, [self.value(argument) for argument in expression.arguments])


def _parameter_names(program: Program) -> dict[Buffer, str]:
    names: dict[Buffer, str] = {}
    for space, buffers in (("in", program.inputs), ("out", program.outputs), ("c", [b for b, _ in program.constants])):
        for place, buffer in enumerate(buffers):
            own = re.sub(r"\W", "_", buffer.name, flags=re.ASCII)
            names[buffer] = own if own == f"{space}{place}" else f"{space}{place}_{own}"
    return names
