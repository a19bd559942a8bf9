"""The C library's functions, called once per lane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.codegen.cpu.llvm.ir_builder import IRBuilder, Kind

#: The function behind an op; those for float32 end in f.
LIBRARY = {
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "fmod": "fmod",
    "erf": "erf",
}


def call_library(b: IRBuilder, function: str, kind: Kind, operands: Sequence[str]) -> str:
    """One call per lane of a libm function."""
    full = function + ("f" if kind.dtype == np.float32 else "")
    b.declarations.add(f"declare {kind.scalar} @{full}({', '.join([kind.scalar] * len(operands))}) memory(none)")
    if not kind.lanes:
        return b.emit(f"call {kind.scalar} @{full}({', '.join(f'{kind.scalar} {x}' for x in operands)})")
    result = "zeroinitializer"
    for lane in range(kind.lanes):
        parts = [b.emit(f"extractelement {kind.text} {x}, i64 {lane}") for x in operands]
        one = b.emit(f"call {kind.scalar} @{full}({', '.join(f'{kind.scalar} {x}' for x in parts)})")
        result = b.emit(f"insertelement {kind.text} {result}, {kind.scalar} {one}, i64 {lane}")
    return result
