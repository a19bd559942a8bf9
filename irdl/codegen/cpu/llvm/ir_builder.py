"""Text of one LLVM function: fresh names, blocks, and one name for each distinct instruction of a block."""

from __future__ import annotations

import itertools
import re
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from irdl.ir.dtypes import is_bool, is_float, is_half
from irdl.loops.target import Target

_SCALARS = {
    "bool": "i1",
    "int8": "i8",
    "uint8": "i8",
    "int16": "i16",
    "uint16": "i16",
    "int32": "i32",
    "uint32": "i32",
    "int64": "i64",
    "uint64": "i64",
    "float16": "i16",
    "bfloat16": "i16",
    "float32": "float",
    "float64": "double",
}


_BY_NUMBER = {np.dtype(name).num: text for name, text in _SCALARS.items()}


@dataclass(frozen=True)
class Kind:
    """An element dtype and a number of lanes; 0 lanes is a scalar. Floats of 16 bits are their bits: only casts look into them."""

    dtype: np.dtype
    lanes: int = 0

    @property
    def scalar(self) -> str:
        return _BY_NUMBER[self.dtype.num]

    @property
    def text(self) -> str:
        return self._vector(self.scalar)

    @property
    def memory(self) -> str:
        """The type in memory: a bool is a byte there."""
        return self._vector("i8" if self.dtype == np.bool_ else self.scalar)

    @property
    def suffix(self) -> str:
        """`v16f32`, as intrinsics are named."""
        bits = 1 if self.dtype == np.bool_ else self.dtype.itemsize * 8
        element = f"f{bits}" if is_float(self.dtype) and not is_half(self.dtype) else f"i{bits}"
        return f"v{self.lanes}{element}" if self.lanes else element

    @property
    def bits(self) -> int:
        return self.dtype.itemsize * 8

    def with_dtype(self, dtype: DTypeLike) -> Kind:
        return Kind(np.dtype(dtype), self.lanes)

    def _vector(self, scalar: str) -> str:
        return f"<{self.lanes} x {scalar}>" if self.lanes else scalar

    def constant(self, number: float | int | bool) -> str:
        """A literal operand of this type."""
        text = scalar_constant(self.dtype, number)
        return f"splat ({self.scalar} {text})" if self.lanes else text


def scalar_constant(dtype: np.dtype, number: Any) -> str:
    if is_half(dtype):
        return str(int(np.asarray(number, dtype).view(np.uint16)))
    if is_float(dtype):
        exact = float(dtype.type(number))
        return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"
    if is_bool(dtype):
        return "true" if number else "false"
    return str(int(number))


_NAME = re.compile(r"%\w+")


def _made_and_read(line: str) -> tuple[str, list[str]]:
    names = _NAME.findall(line)
    return (names[0], names[1:]) if line.startswith("  %") else ("", names)


def _in_turns(stretches: Sequence[Sequence[str]]) -> list[str]:
    """A line of each stretch in turn, as long as what it reads has been made."""
    rest = [deque((line, *_made_and_read(line)) for line in stretch) for stretch in stretches]
    waiting = {made for stretch in rest for _, made, _ in stretch if made}
    result: list[str] = []
    while any(rest):
        for stretch in rest:
            if stretch and waiting.isdisjoint(stretch[0][2]):
                line, made, _ = stretch.popleft()
                result.append(line)
                waiting.discard(made)
    return result


def _in_order(lines: Sequence[str]) -> bool:
    """Whether every value is made before it is read."""
    waiting = {made for made, _ in map(_made_and_read, lines) if made}
    for line in lines:
        made, read = _made_and_read(line)
        if not waiting.isdisjoint(read):
            return False
        waiting.discard(made)
    return True


class IRBuilder:
    """Instructions of one function, in order. `emit` gives equal instructions of one straight line one name."""

    def __init__(self, target: Target | None = None) -> None:
        self.target = target or Target()
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.declarations: set[str] = set()
        self.block = "entry"
        self._names = itertools.count()
        self._remembered: dict[str, str] = {}
        #: where the lines of detours start and end
        self._detours: list[tuple[int, int]] = []

    def name(self) -> str:
        return f"%v{next(self._names)}"

    def emit(self, text: str) -> str:
        """A pure instruction; the name of its result."""
        found = self._remembered.get(text)
        if found is None:
            found = self.name()
            self.lines.append(f"  {found} = {text}")
            self._remembered[text] = found
        return found

    def fresh(self, text: str) -> str:
        """An instruction that must not be shared."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def detour(self, condition: str, emit: Callable[[], None]) -> None:
        """What `emit` makes runs where `condition` holds, which is rare; it hands nothing on but through memory."""
        inside, after, start = self.label(), self.label(), len(self.lines)
        self.do(f"br i1 {condition}, label %{inside}, label %{after}")
        before = self.remembered()
        self.start(inside)
        emit()
        self.do(f"br label %{after}")
        self.restore(before)
        self.start(after)
        self._detours.append((start, len(self.lines)))

    def take_turns(self, marks: Sequence[tuple[int, int]]) -> None:
        """Let the instructions of neighbouring, independent stretches of lines take turns, each after what it reads: a processor
        looks ahead a few chains of dependent instructions at most. Detours are taken one after the other; stretches with
        other branches stay as they are."""
        start, end = marks[0][0], marks[-1][1]
        detours = [[d for d in self._detours if a <= d[0] < b] for a, b in marks]
        self._detours = [d for d in self._detours if not start <= d[0] < end]
        if len({len(found) for found in detours}) > 1:
            return
        result: list[str] = []
        edges = [[(a, a), *found, (b, b)] for (a, b), found in zip(marks, detours, strict=True)]
        for part in range(len(edges[0]) - 1):
            for own in edges:
                result += self.lines[own[part][0] : own[part][1]]
            straight = [self.lines[own[part][1] : own[part + 1][0]] for own in edges]
            if any(line.endswith(":") for stretch in straight for line in stretch):
                return
            result += _in_turns(straight)
        if _in_order(result):
            self.lines[start:end] = result

    def label(self) -> str:
        return f"b{next(self._names)}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def remembered(self) -> dict[str, str]:
        """What has a name here; give it back with `restore` where only that still holds."""
        return dict(self._remembered)

    def restore(self, before: dict[str, str]) -> None:
        self._remembered = before

    def alloca(self, type: str) -> str:
        name = self.name()
        self.allocas.append(f"  {name} = alloca {type}, align 64")
        return name

    def intrinsic(self, kind: Kind, name: str, *operands: str) -> str:
        """`llvm.name` on operands that all have type `kind`."""
        if name == "roundeven" and not self.target.rounds:
            return self._rounded(kind, *operands)
        full = f"llvm.{name}.{kind.suffix}"
        self.declarations.add(f"declare {kind.text} @{full}({', '.join([kind.text] * len(operands))})")
        return self.emit(f"call {kind.text} @{full}({', '.join(f'{kind.text} {x}' for x in operands)})")

    def _rounded(self, kind: Kind, x: str) -> str:
        """To the nearest whole number, ties to even, by adding what has no room for fractions: LLVM would call a function for each lane."""
        fraction_bits = 52 if kind.dtype == np.float64 else 23
        whole = kind.constant(2.0**fraction_bits)
        size = self.intrinsic(kind, "fabs", x)
        rounded = self.binary(kind, "fsub", self.binary(kind, "fadd", size, whole), whole)
        return self.select(kind, self.compare(kind, "olt", size, whole), self.intrinsic(kind, "copysign", rounded, x), x)

    def binary(self, kind: Kind, op: str, x: str, y: str) -> str:
        return self.emit(f"{op} {kind.text} {x}, {y}")

    def compare(self, kind: Kind, predicate: str, x: str, y: str) -> str:
        op = "fcmp" if is_float(kind.dtype) else "icmp"
        return self.emit(f"{op} {predicate} {kind.text} {x}, {y}")

    def select(self, kind: Kind, condition: str, x: str, y: str) -> str:
        flag = Kind(np.dtype(bool), kind.lanes).text
        return self.emit(f"select {flag} {condition}, {kind.text} {x}, {kind.text} {y}")

    def bitcast(self, source: Kind, target: Kind, x: str) -> str:
        return self.emit(f"bitcast {source.text} {x} to {target.text}")

    def splat(self, kind: Kind, x: str) -> str:
        """A scalar in every lane."""
        one = self.emit(f"insertelement {kind.text} poison, {kind.scalar} {x}, i64 0")
        return self.emit(f"shufflevector {kind.text} {one}, {kind.text} poison, <{kind.lanes} x i32> zeroinitializer")

    def fma(self, kind: Kind, a: str, b: str, c: str) -> str:
        """`a * b + c`, rounded once where the machine can: LLVM would call a function for each lane where it cannot."""
        if self.target.fma:
            return self.intrinsic(kind, "fma", a, b, c)
        return self.binary(kind, "fadd", self.binary(kind, "fmul", a, b), c)

    def text(self, header: str) -> str:
        return "\n".join([f"{header} {{", "entry:", *self.allocas, *self.lines, "}"])
