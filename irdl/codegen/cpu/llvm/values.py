"""Expressions, loads and stores of one function: what varies by lane is a vector, what does not is a scalar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from irdl.codegen.cpu.llvm.arithmetic import emit_cast, emit_operation
from irdl.codegen.cpu.llvm.interleaved import Interleaved
from irdl.codegen.cpu.llvm.ir_builder import IRBuilder, Kind, scalar_constant
from irdl.errors import ProgramError
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Variable
from irdl.loops.index import Index
from irdl.loops.language import Prefetch, Store

if TYPE_CHECKING:
    from irdl.codegen.cpu.llvm.emit import Module

INDEX = Kind(np.dtype(np.int64))


@dataclass(frozen=True)
class Operand:
    """A value in the function: its name, and how many lanes it has (0: one for all lanes)."""

    name: str
    dtype: np.dtype
    lanes: int = 0

    @property
    def kind(self) -> Kind:
        return Kind(self.dtype, self.lanes)


class Values:
    """The values of one function, and the memory they come from and go to."""

    def __init__(self, module: Module, in_kernel: bool) -> None:
        self.module = module
        self.in_kernel = in_kernel
        self.builder = IRBuilder(module.target)
        self.pointers: dict[Buffer, str] = {}
        #: the elements that the pointers point to, where that is not the first
        self.starts: dict[Buffer, int] = {}
        #: loop variables and let-bound values; an int is a step of an unrolled loop
        self.scope: dict[str, Operand | int] = {}
        self.order: dict[str, int] = {}
        self.tiles: dict[tuple[Buffer, int], str] = {}
        self.tile_lanes: dict[Buffer, int] = {}
        self.epochs: dict[Buffer, int] = {}
        #: the vector loop being emitted: its variable, lanes and how many of them are used
        self.lane = ""
        self.lanes = 0
        self.used = 0
        #: of its body, if all lanes are used, the accesses that take turns in memory; what is to be stored with others, by the store
        self.interleaved: Interleaved | None = None
        self.held: dict[int, str] = {}
        self._interleaved_of: dict[int, Interleaved] = {}

    def touch(self, buffer: Buffer) -> None:
        key = self.module.key(buffer)
        self.epochs[key] = self.epochs.get(key, 0) + 1

    def pointer(self, buffer: Buffer, start: int = 0) -> str:
        """The address of element `start`."""
        offset = start * buffer.dtype.itemsize
        if buffer in self.pointers:
            found = self.pointers[buffer]
            return self.builder.emit(f"getelementptr i8, ptr {found}, i64 {offset}") if offset else found
        if buffer.space != "arena":
            raise ProgramError(f"buffer {buffer.name} ({buffer.space}) is not declared")
        return self.builder.emit(f"getelementptr i8, ptr %arena, i64 {buffer.offset + offset}")

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
        pointer = self.pointer(buffer)
        moving, constant = self._offset(index)
        constant -= self.starts.get(buffer, 0)
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
            if isinstance(value, Operand) and value.lanes:
                found.append((name, coefficient))
        return found

    def _step(self, index: Index) -> int | None:
        """How many elements on the next lane's is (0: it is one for all); None where each lane has a place of its own."""
        if self._varying(index):
            return None
        return index.coefficient(self.lane) if self.lane else 0

    def _is_one_piece(self, step: int | None) -> bool:
        """What lanes read or write is one piece of memory. A mask of one lane is not used: LLVM 22 stores too many bytes for a truncated
        vector under such a mask."""
        return step == 0 or (step == 1 and self.used > 1)

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
            assert isinstance(value, Operand)
            part = b.emit(f"extractelement {value.kind.text} {value.name}, i64 {lane}")
            part = b.emit(f"mul nsw i64 {part}, {coefficient}")
            pointer = b.emit(f"getelementptr {Kind(buffer.dtype).memory}, ptr {pointer}, i64 {part}")
        return pointer

    # Expressions.

    def value(self, expression: Expression) -> Operand:
        if isinstance(expression, Literal):
            return Operand(scalar_constant(expression.dtype, expression.value), expression.dtype)
        if isinstance(expression, Variable):
            found = self.scope[expression.name]
            assert isinstance(found, Operand)
            return found
        if isinstance(expression, Load):
            return self._load(expression)
        if isinstance(expression, IndexValue):
            return self._index_value(expression.index)
        arguments = [self.value(argument) for argument in expression.arguments]
        lanes = max(argument.lanes for argument in arguments)
        if expression.name == "cast":
            return self.cast(arguments[0], expression.dtype)
        names = [self._widen(argument, lanes) for argument in arguments]
        kind = Kind(arguments[-1].dtype, lanes)
        return Operand(emit_operation(self.builder, expression.name, kind, names), expression.dtype, lanes)

    def _widen(self, operand: Operand, lanes: int) -> str:
        if operand.lanes == lanes or not lanes:
            return operand.name
        kind = Kind(operand.dtype, lanes)
        if not operand.name.startswith("%"):
            return f"splat ({kind.scalar} {operand.name})"
        return self.builder.splat(kind, operand.name)

    def cast(self, operand: Operand, dtype: np.dtype) -> Operand:
        name = operand.name
        if operand.dtype == dtype:
            return operand
        return Operand(emit_cast(self.builder, operand.kind, Kind(dtype, operand.lanes), name), dtype, operand.lanes)

    def _index_value(self, index: Index) -> Operand:
        b = self.builder
        coefficient = index.coefficient(self.lane) if self.lane else 0
        varying = self._varying(index)
        plain = Index(index.constant, tuple(t for t in index.terms if t[0] != self.lane and t not in varying))
        moving, constant = self._offset(plain)
        name = str(constant) if not moving else moving if not constant else b.emit(f"add nsw i64 {moving}, {constant}")
        if not coefficient and not varying:
            return Operand(name, INDEX.dtype)
        kind = Kind(INDEX.dtype, self.lanes)
        steps = ", ".join(f"i64 {lane * coefficient}" for lane in range(self.lanes))
        total = b.binary(kind, "add", self._widen(Operand(name, INDEX.dtype), self.lanes), f"<{steps}>")
        for variable, factor in varying:
            value = self.scope[variable]
            assert isinstance(value, Operand)
            total = b.binary(kind, "add", total, b.binary(kind, "mul", value.name, kind.constant(factor)))
        return Operand(total, INDEX.dtype, self.lanes)

    def _load(self, load: Load) -> Operand:
        buffer = load.buffer
        if buffer.space == "register":
            return self._load_tile(load)
        epoch = self.epochs.get(self.module.key(buffer), 0)
        step = self._step(load.index)
        kind = Kind(buffer.dtype, 0 if step == 0 else self.lanes)
        if self._is_one_piece(step):
            name = self._load_piece(load, kind, epoch)
        else:
            name = self._load_apart(load, kind, epoch) or self._load_lanes(load, kind, epoch)
        if buffer.dtype == np.bool_:
            zero = "zeroinitializer" if kind.lanes else "0"
            name = self.builder.emit(f"icmp ne {kind.memory} {name}, {zero}")
        return Operand(name, buffer.dtype, kind.lanes)

    def _load_piece(self, load: Load, kind: Kind, epoch: int) -> str:
        address, align = self._address(load.buffer, load.index), load.dtype.itemsize
        if kind.lanes and self.used != self.lanes:
            return self._memory(self._masked_load(kind, address, align), epoch)
        return self._memory(f"load {kind.memory}, ptr {address}, align {align}", epoch)

    def _load_lanes(self, load: Load, kind: Kind, epoch: int) -> str:
        """Lane by lane."""
        name, scalar = "zeroinitializer", Kind(load.dtype)
        for lane in range(self.used):
            address = self._lane_address(load.buffer, load.index, lane)
            one = self._memory(f"load {scalar.memory}, ptr {address}, align {load.dtype.itemsize}", epoch)
            name = self.builder.emit(f"insertelement {kind.memory} {name}, {scalar.memory} {one}, i64 {lane}")
        return name

    def _load_apart(self, load: Load, kind: Kind, epoch: int) -> str | None:
        """Elements some places apart, out of wide vectors; None of those that are not, or as well lane by lane."""
        if self.interleaved is None or not self.interleaved.is_apart(load.buffer, load.index):
            return None
        step, align = load.index.coefficient(self.lane), load.dtype.itemsize
        part = self.interleaved.part(load)
        if part is not None:
            wide = Kind(load.dtype, step * kind.lanes)
            found = self._memory(f"load {wide.memory}, ptr {self._address(load.buffer, load.index + -part)}, align {align}", epoch)
            return self._shuffle(wide, found, "poison", range(part, wide.lanes, step))
        if step > 2:
            return None
        # Two vectors that end with the last one: there may be nothing behind it.
        ends = [self._address(load.buffer, load.index + start) for start in (0, kind.lanes - 1)]
        first, second = (self._memory(f"load {kind.memory}, ptr {address}, align {align}", epoch) for address in ends)
        places = range(0, 2 * kind.lanes, 2)
        return self._shuffle(kind, first, second, (place if place < kind.lanes else place + 1 for place in places))

    def _store_family(self, family: Sequence[Store], kind: Kind) -> None:
        """Vectors whose elements take turns in memory."""
        vectors, width = [self.held.pop(id(store)) for store in family], kind
        while len(vectors) > 1:
            vectors += ["poison"] * (len(vectors) % 2)
            both = range(2 * width.lanes)
            vectors = [self._shuffle(width, one, other, both) for one, other in zip(vectors[::2], vectors[1::2], strict=True)]
            width = Kind(kind.dtype, 2 * width.lanes)
        in_turns = [part * kind.lanes + lane for lane in range(kind.lanes) for part in range(len(family))]
        name = self._shuffle(width, vectors[0], "poison", in_turns)
        wide = Kind(kind.dtype, len(in_turns))
        address = self._address(family[0].buffer, family[0].index)
        self.builder.do(f"store {wide.memory} {name}, ptr {address}, align {kind.dtype.itemsize}")

    def _store_apart(self, store: Store, kind: Kind, name: str) -> None:
        """Every second element, with what lies between left as it is."""
        wide = Kind(kind.dtype, 2 * kind.lanes)
        spread = self._shuffle(kind, name, "poison", (place // 2 for place in range(wide.lanes)))
        mask = ", ".join(f"i1 {'false' if place % 2 else 'true'}" for place in range(wide.lanes))
        self._masked_store(wide, spread, self._address(store.buffer, store.index), kind.dtype.itemsize, f"<{mask}>")

    def _masked_store(self, kind: Kind, name: str, address: str, align: int, mask: str) -> None:
        full, flags = f"llvm.masked.store.{self._memory_suffix(kind)}.p0", f"<{kind.lanes} x i1>"
        self.builder.declarations.add(f"declare void @{full}({kind.memory}, ptr, {flags})")
        self.builder.do(f"call void @{full}({kind.memory} {name}, ptr align {align} {address}, {flags} {mask})")

    def _shuffle(self, kind: Kind, one: str, other: str, lanes: Iterable[int]) -> str:
        """The lanes of two vectors with these numbers."""
        chosen = [f"i32 {lane}" for lane in lanes]
        return self.builder.emit(f"shufflevector {kind.memory} {one}, {kind.memory} {other}, <{len(chosen)} x i32> <{', '.join(chosen)}>")

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

    def store(self, store: Store) -> None:
        b, buffer = self.builder, store.buffer
        value = self.value(store.value)
        if buffer.space == "register":
            self._store_tile(store, value)
            return
        step = self._step(store.index)
        kind = Kind(buffer.dtype, self.lanes if self.lane else 0)
        if self.lane and step == 0:
            raise ProgramError(f"every lane stores to {buffer.name}[{store.index}]")
        name = self._widen(value, kind.lanes)
        if buffer.dtype == np.bool_:
            name = b.emit(f"zext {kind.text} {name} to {kind.memory}")
        if self.interleaved and (family := self.interleaved.family(store)):
            self.held[id(store)] = name
            if all(id(s) in self.held for s in family):
                self._store_family(family, kind)
        elif self._is_one_piece(step):
            self._store_piece(store, kind, name)
        elif self.interleaved and step == 2 and buffer.dtype.itemsize >= 4 and self.module.target.avx512:
            self._store_apart(store, kind, name)
        else:
            self._store_lanes(store, kind, name)
        self.touch(buffer)

    def _store_piece(self, store: Store, kind: Kind, name: str) -> None:
        address, align = self._address(store.buffer, store.index), kind.dtype.itemsize
        if kind.lanes and self.used != self.lanes:
            self._masked_store(kind, name, address, align, self._mask())
        else:
            self.builder.do(f"store {kind.memory} {name}, ptr {address}, align {align}")

    def _store_lanes(self, store: Store, kind: Kind, name: str) -> None:
        """Lane by lane."""
        scalar = Kind(kind.dtype)
        for lane in range(self.used):
            one = self.builder.emit(f"extractelement {kind.memory} {name}, i64 {lane}")
            self.builder.do(
                f"store {scalar.memory} {one}, ptr {self._lane_address(store.buffer, store.index, lane)}, align {kind.dtype.itemsize}"
            )

    def prefetch(self, hint: Prefetch) -> None:
        """The cache line where a vector starts; of vectors side by side that are not aligned, the next one starts in the line where this ends."""
        b = self.builder
        b.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        b.do(f"call void @llvm.prefetch.p0(ptr {self._address(hint.buffer, hint.index)}, i32 {int(hint.write)}, i32 3, i32 1)")

    # Register tiles: one stack slot per vector (or scalar), which LLVM promotes to registers.

    def _slot(self, buffer: Buffer, index: Index) -> tuple[str, Kind, int]:
        """The slot an index falls in, its type, and the element in it."""
        moving, constant = self._offset(index)
        if moving:
            raise ProgramError(f"the register tile {buffer.name} is indexed by a loop that is not unrolled: {index}")
        lanes = self._lanes_of(buffer, index)
        kind = Kind(buffer.dtype, lanes)
        place, element = divmod(constant, lanes) if lanes else (constant, 0)
        if (buffer, place) not in self.tiles:
            self.tiles[buffer, place] = self.builder.alloca(kind.text)
        return self.tiles[buffer, place], kind, element

    def _lanes_of(self, buffer: Buffer, index: Index) -> int:
        """The lanes of a tile's slots: those of the vector loop whose lanes first are elements of it (0: they are scalars)."""
        if self.lane and index.coefficient(self.lane):
            self.tile_lanes.setdefault(buffer, self.lanes)
        return self.tile_lanes.get(buffer, 0)

    def _load_tile(self, load: Load) -> Operand:
        b = self.builder
        slot, kind, element = self._slot(load.buffer, load.index)
        name = b.fresh(f"load {kind.text}, ptr {slot}, align 64")
        if self.lane and load.index.coefficient(self.lane):
            if element:
                lanes = ", ".join(f"i32 {lane}" if lane < kind.lanes else "i32 poison" for lane in range(element, element + kind.lanes))
                name = b.fresh(f"shufflevector {kind.text} {name}, {kind.text} poison, <{kind.lanes} x i32> <{lanes}>")
            return Operand(name, load.dtype, kind.lanes)
        if kind.lanes:
            name = b.fresh(f"extractelement {kind.text} {name}, i64 {element}")
        return Operand(name, load.dtype)

    def _store_tile(self, store: Store, value: Operand) -> None:
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
