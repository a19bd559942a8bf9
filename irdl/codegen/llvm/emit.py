"""Program -> LLVM IR. Each kernel becomes a function of the buffers and loop variables it uses; the program's own
statements become `irdl_main(arguments, arena, status)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from irdl.codegen.llvm.arithmetic import emit_cast, emit_operation
from irdl.codegen.llvm.builder import Builder, Kind, scalar_constant
from irdl.errors import ProgramError
from irdl.ir.program import (
    Buffer,
    CheckIndex,
    Expression,
    For,
    If,
    Index,
    IndexValue,
    Kernel,
    Let,
    Literal,
    Load,
    Program,
    Statement,
    Store,
    Variable,
    While,
    expressions,
    subexpressions,
    walk,
)
from irdl.passes.target import Target

ENTRY = "irdl_main"
_INDEX = Kind(np.dtype(np.int64))
_CHECK = """
define internal i64 @irdl_check(i64 %value, i64 %extent, i64 %code, ptr %status) nounwind {
entry:
  %negative = icmp slt i64 %value, 0
  %wrapped = add i64 %value, %extent
  %index = select i1 %negative, i64 %wrapped, i64 %value
  %inside = icmp ult i64 %index, %extent
  br i1 %inside, label %good, label %bad
good:
  ret i64 %index
bad:
  %seen = load i64, ptr %status
  %first = icmp eq i64 %seen, 0
  br i1 %first, label %record, label %done
record:
  store i64 1, ptr %status
  %p1 = getelementptr i64, ptr %status, i64 1
  store i64 %value, ptr %p1
  %p2 = getelementptr i64, ptr %status, i64 2
  store i64 %code, ptr %p2
  br label %done
done:
  ret i64 0
}
"""


def emit_program(program: Program, target: Target, aliased: Iterable[tuple[Buffer, Buffer]] = ()) -> str:
    """The module's text. `aliased` pairs buffers that share memory (a donated input and its output)."""
    module = _Module(program, target, aliased)
    return module.text()


@dataclass(frozen=True)
class _Operand:
    """A value in the function: its name, and how many lanes it has (0: one for all lanes)."""

    name: str
    dtype: np.dtype
    lanes: int = 0

    @property
    def kind(self) -> Kind:
        return Kind(self.dtype, self.lanes)


class _Module:
    def __init__(self, program: Program, target: Target, aliased: Iterable[tuple[Buffer, Buffer]]) -> None:
        self.program = program
        self.target = target
        self.functions: list[str] = []
        self.declarations: set[str] = set()
        self.same: dict[Buffer, Buffer] = {}
        for first, second in aliased:
            self.same[second] = self.same.get(first, first)

    def key(self, buffer: Buffer) -> Buffer:
        """What stands for the memory of a buffer, where several share it."""
        return self.same.get(buffer, buffer)

    def text(self) -> str:
        main = _Function(self, in_kernel=False)
        b = main.builder
        program = self.program
        places = [*program.inputs, *program.outputs, *(buffer for buffer, _ in program.constants)]
        for place, buffer in enumerate(places):
            slot = b.emit(f"getelementptr ptr, ptr %arguments, i64 {place}")
            main.pointers[buffer] = b.emit(f"load ptr, ptr {slot}, align 8")
        main.body(program.body)
        b.do("ret void")
        header = f"define void @{ENTRY}(ptr %arguments, ptr %arena, ptr %status) nounwind"
        self.functions.append(b.text(header))
        self.declarations |= b.declarations
        return _CHECK + "\n".join([*self.functions, *sorted(self.declarations)]) + "\n"

    def kernel(self, kernel: Kernel, buffers: Sequence[Buffer], variables: Sequence[str]) -> None:
        function = _Function(self, in_kernel=True)
        parameters = []
        keys = [self.key(buffer) for buffer in buffers]
        for place, buffer in enumerate(buffers):
            name = f"%p{place}"
            function.pointers[buffer] = name
            noalias = " noalias" if keys.count(self.key(buffer)) == 1 and buffer.space != "input" else ""
            parameters.append(f"ptr{noalias} {name}")
        for place, variable in enumerate(variables):
            function.scope[variable] = _Operand(f"%i{place}", _INDEX.dtype)
            parameters.append(f"i64 %i{place}")
        function.body(kernel.body)
        function.builder.do("ret void")
        header = f"define internal void @{kernel.name}({', '.join([*parameters, 'ptr %status'])}) nounwind noinline"
        self.functions.append(function.builder.text(header))
        self.declarations |= function.builder.declarations


class _Function:
    """One function: statements in, instructions out."""

    def __init__(self, module: _Module, in_kernel: bool) -> None:
        self.module = module
        self.in_kernel = in_kernel
        self.builder = Builder(module.target.avx512)
        self.pointers: dict[Buffer, str] = {}
        #: loop variables and let-bound values; an int is a step of an unrolled loop
        self.scope: dict[str, _Operand | int] = {}
        self.order: dict[str, int] = {}
        self.tiles: dict[tuple[Buffer, int], str] = {}
        self.tile_lanes: dict[Buffer, int] = {}
        self.epochs: dict[Buffer, int] = {}
        #: the vector loop being emitted: its variable, lanes and how many of them are used
        self.lane = ""
        self.lanes = 0
        self.used = 0

    # Statements.

    def body(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, For):
                self._for(statement)
            elif isinstance(statement, Let):
                self.scope[statement.variable.name] = self.value(statement.value)
            elif isinstance(statement, Store):
                self._store(statement)
            elif isinstance(statement, CheckIndex):
                self._check(statement)
            elif isinstance(statement, Kernel):
                self._call(statement)
            elif isinstance(statement, If):
                self._if(statement)
            else:
                assert isinstance(statement, While)
                self._while(statement)

    def _for(self, loop: For) -> None:
        if loop.kind == "unrolled":
            for step in range(loop.start, loop.stop, loop.step):
                self.scope[loop.variable] = step
                self.body(loop.body)
        elif loop.kind == "vector":
            assert loop.start == 0 and loop.step == 1 and not self.lane, "vector loops are innermost and start at 0"
            self.lane, self.lanes, self.used = loop.variable, loop.lanes, loop.stop
            self.body(loop.body)
            self.lane, self.lanes, self.used = "", 0, 0
        elif loop.stop > loop.start:
            self._serial(loop)

    def _serial(self, loop: For) -> None:
        b = self.builder
        if loop.stop - loop.start <= loop.step:
            self.scope[loop.variable] = loop.start
            self.body(loop.body)
            return
        label, end = b.label(), b.label()
        before = b.block
        b.do(f"br label %{label}")
        b.start(label)
        variable = b.name()
        self.scope[loop.variable] = _Operand(variable, _INDEX.dtype)
        self.order[loop.variable] = len(self.order)
        place = len(b.lines)
        b.lines.append("")
        outside = b.known()
        self._forget(loop.body)
        self.body(loop.body)
        following = b.fresh(f"add nuw nsw i64 {variable}, {loop.step}")
        more = b.fresh(f"icmp ult i64 {following}, {loop.stop}")
        b.lines[place] = f"  {variable} = phi i64 [ {loop.start}, %{before} ], [ {following}, %{b.block} ]"
        b.do(f"br i1 {more}, label %{label}, label %{end}")
        b.start(end)
        b.restore(outside)
        self._forget(loop.body)

    def _if(self, statement: If) -> None:
        b = self.builder
        condition = self.value(statement.condition)
        then, otherwise, end = b.label(), b.label(), b.label()
        b.do(f"br i1 {condition.name}, label %{then}, label %{otherwise}")
        outside = b.known()
        for label, body in ((then, statement.then), (otherwise, statement.otherwise)):
            b.start(label)
            self.body(body)
            b.do(f"br label %{end}")
            b.restore(dict(outside))
        b.start(end)
        self._forget([statement])

    def _while(self, statement: While) -> None:
        b = self.builder
        head, inside, end = b.label(), b.label(), b.label()
        outside = b.known()
        b.do(f"br label %{head}")
        b.start(head)
        self._forget([statement])
        self.body(statement.before)
        condition = self.value(statement.condition)
        b.do(f"br i1 {condition.name}, label %{inside}, label %{end}")
        b.start(inside)
        self.body(statement.body)
        b.do(f"br label %{head}")
        b.start(end)
        b.restore(outside)
        self._forget([statement])

    def _forget(self, body: Sequence[Statement]) -> None:
        """Loads of what `body` stores to are not shared across this point."""
        for statement in walk(body):
            if isinstance(statement, Store):
                self._touch(statement.buffer)

    def _touch(self, buffer: Buffer) -> None:
        key = self.module.key(buffer)
        self.epochs[key] = self.epochs.get(key, 0) + 1

    def _call(self, kernel: Kernel) -> None:
        buffers, variables = _free(kernel)
        self.module.kernel(kernel, buffers, variables)
        arguments = [f"ptr {self._pointer(buffer)}" for buffer in buffers]
        for variable in variables:
            value = self.scope[variable]
            arguments.append(f"i64 {value if isinstance(value, int) else value.name}")
        self.builder.do(f"call void @{kernel.name}({', '.join([*arguments, 'ptr %status'])})")
        for buffer in buffers:
            self._touch(buffer)

    def _pointer(self, buffer: Buffer) -> str:
        if buffer not in self.pointers:
            if buffer.space != "arena":
                raise ProgramError(f"buffer {buffer.name} ({buffer.space}) is not declared")
            return self.builder.emit(f"getelementptr i8, ptr %arena, i64 {buffer.offset}")
        return self.pointers[buffer]

    def _check(self, statement: CheckIndex) -> None:
        b = self.builder
        value = self.value(statement.value)
        wide = self._cast(value, _INDEX.dtype)

        def one(name: str) -> str:
            return b.fresh(f"call i64 @irdl_check(i64 {name}, i64 {statement.extent}, i64 {statement.code}, ptr %status)")

        if not wide.lanes:
            self.scope[statement.variable.name] = _Operand(one(wide.name), _INDEX.dtype)
            return
        result, kind = "zeroinitializer", wide.kind
        for lane in range(self.used):
            checked = one(b.emit(f"extractelement {kind.text} {wide.name}, i64 {lane}"))
            result = b.emit(f"insertelement {kind.text} {result}, i64 {checked}, i64 {lane}")
        self.scope[statement.variable.name] = _Operand(result, _INDEX.dtype, wide.lanes)

    # Addresses.

    def _offset(self, index: Index) -> tuple[str, int]:
        """The part of an index that loops move (a name or ""), and its constant part."""
        b, constant = self.builder, index.constant
        moving: list[tuple[int, str, int]] = []
        for name, coefficient in index.terms:
            value = self.scope.get(name)
            if isinstance(value, int):
                constant += value * coefficient
            elif name == self.lane and name:
                continue
            else:
                assert value is not None and not value.lanes, f"{name} varies by lane"
                moving.append((self.order.get(name, -1), value.name, coefficient))
        total = ""
        for _, name, coefficient in sorted(moving):
            part = name if coefficient == 1 else b.emit(f"mul nsw i64 {name}, {coefficient}")
            total = part if not total else b.emit(f"add nsw i64 {total}, {part}")
        return total, constant

    def _address(self, buffer: Buffer, index: Index) -> str:
        b = self.builder
        scalar = Kind(buffer.dtype).memory
        pointer = self._pointer(buffer)
        moving, constant = self._offset(index)
        if moving:
            pointer = b.emit(f"getelementptr {scalar}, ptr {pointer}, i64 {moving}")
        if constant:
            pointer = b.emit(f"getelementptr {scalar}, ptr {pointer}, i64 {constant}")
        return pointer

    def _varying(self, index: Index) -> list[tuple[str, int]]:
        """The terms that differ by lane, other than the lane itself."""
        found = []
        for name, coefficient in index.terms:
            value = self.scope.get(name)
            if isinstance(value, _Operand) and value.lanes:
                found.append((name, coefficient))
        return found

    def _mask(self) -> str:
        bits = ", ".join(f"i1 {'true' if lane < self.used else 'false'}" for lane in range(self.lanes))
        return f"<{bits}>"

    def _lane_address(self, buffer: Buffer, index: Index, lane: int) -> str:
        """The address that one lane uses."""
        b = self.builder
        extra = dict(self._varying(index))
        plain = Index(
            index.constant + index.coefficient(self.lane) * lane, tuple(t for t in index.terms if t[0] != self.lane and t[0] not in extra)
        )
        pointer = self._address(buffer, plain)
        for name, coefficient in extra.items():
            value = self.scope[name]
            assert isinstance(value, _Operand)
            part = b.emit(f"extractelement {value.kind.text} {value.name}, i64 {lane}")
            part = b.emit(f"mul nsw i64 {part}, {coefficient}")
            pointer = b.emit(f"getelementptr {Kind(buffer.dtype).memory}, ptr {pointer}, i64 {part}")
        return pointer

    # Expressions.

    def value(self, expression: Expression) -> _Operand:
        if isinstance(expression, Literal):
            return _Operand(scalar_constant(expression.dtype, expression.value), expression.dtype)
        if isinstance(expression, Variable):
            found = self.scope[expression.name]
            assert isinstance(found, _Operand)
            return found
        if isinstance(expression, Load):
            return self._load(expression)
        if isinstance(expression, IndexValue):
            return self._index_value(expression.index)
        arguments = [self.value(argument) for argument in expression.arguments]
        lanes = max(argument.lanes for argument in arguments)
        if expression.name == "cast":
            return self._cast(arguments[0], expression.dtype)
        names = [self._widen(argument, lanes) for argument in arguments]
        kind = Kind(arguments[-1].dtype, lanes)
        result = Kind(expression.dtype, lanes)
        return _Operand(emit_operation(self.builder, expression.name, kind, result, names), expression.dtype, lanes)

    def _widen(self, operand: _Operand, lanes: int) -> str:
        if operand.lanes == lanes or not lanes:
            return operand.name
        kind = Kind(operand.dtype, lanes)
        if not operand.name.startswith("%"):
            return f"splat ({kind.scalar} {operand.name})"
        return self.builder.splat(kind, operand.name)

    def _cast(self, operand: _Operand, dtype: np.dtype) -> _Operand:
        name = operand.name
        if operand.dtype == dtype:
            return operand
        return _Operand(emit_cast(self.builder, operand.kind, Kind(dtype, operand.lanes), name), dtype, operand.lanes)

    def _index_value(self, index: Index) -> _Operand:
        b = self.builder
        coefficient = index.coefficient(self.lane) if self.lane else 0
        varying = self._varying(index)
        plain = Index(index.constant, tuple(t for t in index.terms if t[0] != self.lane and t not in varying))
        moving, constant = self._offset(plain)
        name = str(constant) if not moving else moving if not constant else b.emit(f"add nsw i64 {moving}, {constant}")
        if not coefficient and not varying:
            return _Operand(name, _INDEX.dtype)
        kind = Kind(_INDEX.dtype, self.lanes)
        steps = ", ".join(f"i64 {lane * coefficient}" for lane in range(self.lanes))
        total = b.binary(kind, "add", self._widen(_Operand(name, _INDEX.dtype), self.lanes), f"<{steps}>")
        for variable, factor in varying:
            value = self.scope[variable]
            assert isinstance(value, _Operand)
            total = b.binary(kind, "add", total, b.binary(kind, "mul", value.name, kind.constant(factor)))
        return _Operand(total, _INDEX.dtype, self.lanes)

    def _load(self, load: Load) -> _Operand:
        buffer = load.buffer
        if buffer.space == "register":
            return self._load_tile(load)
        epoch = self.epochs.get(self.module.key(buffer), 0)
        coefficient = load.index.coefficient(self.lane) if self.lane else 0
        varying = self._varying(load.index)
        align = buffer.dtype.itemsize
        if not coefficient and not varying:
            kind = Kind(buffer.dtype)
            address = self._address(buffer, load.index)
            name = self._memory(f"load {kind.memory}, ptr {address}, align {align}", epoch)
        elif coefficient == 1 and not varying:
            kind = Kind(buffer.dtype, self.lanes)
            address = self._address(buffer, load.index)
            if self.used == self.lanes:
                name = self._memory(f"load {kind.memory}, ptr {address}, align {align}", epoch)
            else:
                name = self._memory(self._masked_load(kind, address, align), epoch)
        else:
            kind = Kind(buffer.dtype, self.lanes)
            name = "zeroinitializer"
            scalar = Kind(buffer.dtype)
            for lane in range(self.used):
                one = self._memory(f"load {scalar.memory}, ptr {self._lane_address(buffer, load.index, lane)}, align {align}", epoch)
                name = self.builder.emit(f"insertelement {kind.memory} {name}, {scalar.memory} {one}, i64 {lane}")
        if buffer.dtype == np.bool_:
            zero = "zeroinitializer" if kind.lanes else "0"
            name = self.builder.emit(f"icmp ne {kind.memory} {name}, {zero}")
        return _Operand(name, buffer.dtype, kind.lanes)

    def _memory(self, text: str, epoch: int) -> str:
        """A load, shared until something is stored to its buffer.

        Not between kernels: the arena's buffers take turns in the same memory there.
        """
        return self.builder.emit(f"{text} ; {epoch}") if self.in_kernel else self.builder.fresh(text)

    def _masked_load(self, kind: Kind, address: str, align: int) -> str:
        suffix = self._memory_suffix(kind)
        full = f"llvm.masked.load.{suffix}.p0"
        flags = f"<{kind.lanes} x i1>"
        self.builder.declarations.add(f"declare {kind.memory} @{full}(ptr, {flags}, {kind.memory})")
        return f"call {kind.memory} @{full}(ptr align {align} {address}, {flags} {self._mask()}, {kind.memory} zeroinitializer)"

    def _memory_suffix(self, kind: Kind) -> str:
        return f"v{kind.lanes}i8" if kind.dtype == np.bool_ else kind.suffix

    def _store(self, store: Store) -> None:
        b, buffer = self.builder, store.buffer
        value = self.value(store.value)
        if buffer.space == "register":
            self._store_tile(store, value)
            return
        coefficient = store.index.coefficient(self.lane) if self.lane else 0
        varying = self._varying(store.index)
        kind = Kind(buffer.dtype, self.lanes if self.lane else 0)
        if self.lane and not coefficient and not varying:
            raise ProgramError(f"every lane stores to {buffer.name}[{store.index}]")
        name = self._widen(value, kind.lanes)
        if buffer.dtype == np.bool_:
            name = b.emit(f"zext {kind.text} {name} to {kind.memory}")
        align = buffer.dtype.itemsize
        if not self.lane:
            b.do(f"store {kind.memory} {name}, ptr {self._address(buffer, store.index)}, align {align}")
        elif coefficient == 1 and not varying:
            address = self._address(buffer, store.index)
            if self.used == self.lanes:
                b.do(f"store {kind.memory} {name}, ptr {address}, align {align}")
            else:
                full = f"llvm.masked.store.{self._memory_suffix(kind)}.p0"
                flags = f"<{kind.lanes} x i1>"
                b.declarations.add(f"declare void @{full}({kind.memory}, ptr, {flags})")
                b.do(f"call void @{full}({kind.memory} {name}, ptr align {align} {address}, {flags} {self._mask()})")
        else:
            scalar = Kind(buffer.dtype)
            for lane in range(self.used):
                one = b.emit(f"extractelement {kind.memory} {name}, i64 {lane}")
                b.do(f"store {scalar.memory} {one}, ptr {self._lane_address(buffer, store.index, lane)}, align {align}")
        self._touch(buffer)

    # Register tiles: one stack slot per vector (or scalar), which LLVM promotes to registers.

    def _slot(self, buffer: Buffer, index: Index) -> tuple[str, Kind, int]:
        """The slot an index falls in, its type, and the element in it."""
        moving, constant = self._offset(index)
        if moving:
            raise ProgramError(f"the register tile {buffer.name} is indexed by a loop that is not unrolled: {index}")
        lanes = self._lanes_of(buffer)
        kind = Kind(buffer.dtype, lanes)
        place, element = divmod(constant, lanes) if lanes else (constant, 0)
        if (buffer, place) not in self.tiles:
            self.tiles[buffer, place] = self.builder.alloca(kind.text)
        return self.tiles[buffer, place], kind, element

    def _lanes_of(self, buffer: Buffer) -> int:
        """The lanes of a tile's slots: those of the vector loop that meets it first (0: it is a scalar)."""
        if self.lane:
            self.tile_lanes.setdefault(buffer, self.lanes)
        return self.tile_lanes.get(buffer, 0)

    def _load_tile(self, load: Load) -> _Operand:
        slot, kind, element = self._slot(load.buffer, load.index)
        name = self.builder.fresh(f"load {kind.text}, ptr {slot}, align 64")
        if self.lane and load.index.coefficient(self.lane):
            return _Operand(name, load.dtype, kind.lanes)
        if kind.lanes:
            name = self.builder.fresh(f"extractelement {kind.text} {name}, i64 {element}")
        return _Operand(name, load.dtype)

    def _store_tile(self, store: Store, value: _Operand) -> None:
        b = self.builder
        slot, kind, element = self._slot(store.buffer, store.index)
        if self.lane:
            name = self._widen(value, kind.lanes)
            if self.used != self.lanes:
                old = b.fresh(f"load {kind.text}, ptr {slot}, align 64")
                name = b.fresh(f"select <{kind.lanes} x i1> {self._mask()}, {kind.text} {name}, {kind.text} {old}")
        elif kind.lanes:
            old = b.fresh(f"load {kind.text}, ptr {slot}, align 64")
            name = b.fresh(f"insertelement {kind.text} {old}, {kind.scalar} {value.name}, i64 {element}")
        else:
            name = value.name
        b.do(f"store {kind.text} {name}, ptr {slot}, align 64")


def _free(kernel: Kernel) -> tuple[list[Buffer], list[str]]:
    """The buffers a kernel uses (registers aside), and the loop variables it takes from outside."""
    buffers: dict[Buffer, None] = {}
    bound: set[str] = set()
    used: dict[str, None] = {}
    for statement in walk(kernel.body):
        if isinstance(statement, For):
            bound.add(statement.variable)
        elif isinstance(statement, (Let, CheckIndex)):
            bound.add(statement.variable.name)
        if isinstance(statement, Store):
            buffers.setdefault(statement.buffer)
            used.update(dict.fromkeys(name for name, _ in statement.index.terms))
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load):
                    buffers.setdefault(item.buffer)
                if isinstance(item, (Load, IndexValue)):
                    used.update(dict.fromkeys(name for name, _ in item.index.terms))
    return [b for b in buffers if b.space != "register"], [name for name in used if name not in bound]
