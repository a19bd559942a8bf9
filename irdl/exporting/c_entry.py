"""The function that C calls, in LLVM IR: it hands the program its table of addresses, and says how it went."""

from __future__ import annotations

import numpy as np

from irdl.codegen.cpu.llvm.emit import ENTRY
from irdl.codegen.cpu.llvm.ir_builder import IRBuilder
from irdl.codegen.cpu.llvm.status import FAILED, WORDS
from irdl.exporting.interface import ALIGNMENT, Interface, Parameter, Place

#: of numbers that are passed by value, by size in bytes and whether they are floats
_SCALARS = {(4, True): "float", (8, True): "double", (1, False): "i8", (4, False): "i32", (8, False): "i64"}


def c_entry(interface: Interface) -> str:
    """The function, and the constants that the program reads.

    It returns 0, or one more than the number of the check that failed.
    """
    b = IRBuilder()
    table = [*interface.inputs, *interface.outputs]
    addresses = b.alloca(f"[{max(1, len(table))} x ptr]")
    status = b.alloca(f"[{WORDS} x i64]")
    slots = {place: b.alloca(scalar(parameter)) for place, parameter in enumerate(interface.parameters) if parameter.by_value}
    for number, slot in slots.items():
        b.do(f"store {scalar(interface.parameters[number])} %a{number}, ptr {slot}")

    def address(place: Place) -> str:
        if place.kind == "constant":
            return f"@{_constant(interface, place.at)}"
        if place.kind == "parameter":
            return slots.get(place.at, f"%a{place.at}")
        return b.emit(f"getelementptr i8, ptr %{place.kind}, i64 {place.at}")

    for number, place in enumerate(table):
        b.do(f"store ptr {address(place)}, ptr {b.emit(f'getelementptr ptr, ptr {addresses}, i64 {number}')}")
    for word in range(WORDS):
        b.do(f"store i64 0, ptr {b.emit(f'getelementptr i64, ptr {status}, i64 {word}')}")
    b.do(f"call void @{ENTRY}(ptr {addresses}, ptr %memory, ptr {status})")
    if interface.checks:
        failed = b.fresh(f"load i64, ptr {b.fresh(f'getelementptr i64, ptr {status}, i64 {FAILED}')}")
        code = b.fresh(f"load i64, ptr {b.fresh(f'getelementptr i64, ptr {status}, i64 {FAILED + 2}')}")
        bad, good = b.label(), b.label()
        b.do(f"br i1 {b.fresh(f'icmp eq i64 {failed}, 0')}, label %{good}, label %{bad}")
        b.start(bad)
        shown = b.fresh(f"trunc i64 {code} to i32")
        b.do(f"ret i32 {b.fresh(f'add i32 {shown}, 1')}")
        b.start(good)
    for source, target, count in interface.copies:
        b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {address(target)}, ptr {address(source)}, i64 {count}, i1 false)")
    b.do("ret i32 0")
    parameters = [f"{scalar(parameter) if parameter.by_value else 'ptr'} %a{place}" for place, parameter in enumerate(interface.parameters)]
    if interface.members:
        parameters.insert(0, "ptr %state")
    parameters.append("ptr %memory")
    lines = [_data(_constant(interface, number), array, "internal") for number, array in enumerate(interface.constants)]
    if interface.members and interface.state == interface.name:
        lines.append(_data(f"{interface.name}_initial", _initial(interface), ""))
    lines.append("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    return "\n".join([*lines, b.text(f"define i32 @{interface.name}({', '.join(parameters)}) nounwind"), ""])


def scalar(parameter: Parameter) -> str:
    """LLVM's type of a number that is passed by value."""
    dtype = parameter.type.dtype
    return _SCALARS[dtype.itemsize, dtype.kind == "f"]


def _constant(interface: Interface, number: int) -> str:
    return f"{interface.name}.constant{number}"


def _data(name: str, array: np.ndarray, linkage: str) -> str:
    """Bytes of the object file."""
    contents = array.tobytes()
    text = 'c"\\' + contents.hex(" ").replace(" ", "\\") + '"' if contents else "zeroinitializer"
    return f"@{name} = {linkage} constant [{len(contents)} x i8] {text}, align {ALIGNMENT}"


def _initial(interface: Interface) -> np.ndarray:
    """The state as it is at first."""
    contents = np.zeros(interface.state_bytes, np.uint8)
    for member in interface.members:
        own = np.ascontiguousarray(member.initial).reshape(-1).view(np.uint8)
        contents[member.offset : member.offset + own.size] = own
    return contents
