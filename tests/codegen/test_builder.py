"""The text of LLVM functions: instructions that take turns."""

from __future__ import annotations

import numpy as np

from irdl.codegen.cpu.llvm.ir_builder import IRBuilder, Kind

F = Kind(np.dtype(np.float32))


def chain(b: IRBuilder, x: str, detour: bool) -> tuple[int, int]:
    start = len(b.lines)
    y = b.binary(F, "fadd", x, "%one")
    if detour:
        slot = b.alloca("float")
        b.do(f"store float {y}, ptr {slot}")
        b.detour("%rare", lambda: b.do(f"store float %one, ptr {slot}"))
        y = b.fresh(f"load float, ptr {slot}")
    b.binary(F, "fmul", y, y)
    return start, len(b.lines)


def operations(b: IRBuilder) -> list[str]:
    return [line.split("=")[-1].split()[0] for line in b.lines]


def test_instructions_take_turns():
    b = IRBuilder()
    b.take_turns([chain(b, x, detour=False) for x in ("%x", "%y", "%z")])
    assert operations(b) == ["fadd"] * 3 + ["fmul"] * 3


def test_detours_are_taken_one_after_the_other():
    b = IRBuilder()
    b.take_turns([chain(b, x, detour=True) for x in ("%x", "%y")])
    side = ["br", "b2:", "store", "br", "b3:"]
    assert operations(b)[:4] == ["fadd", "fadd", "store", "store"]
    assert [line for line in operations(b) if line == "br"] == ["br"] * 4
    assert operations(b)[-4:] == ["load", "load", "fmul", "fmul"]
    assert len(side) * 2 + 8 == len(b.lines)


def test_other_branches_stay_as_they_are():
    b = IRBuilder()
    marks = []
    for x in ("%x", "%y"):
        start = len(b.lines)
        b.binary(F, "fadd", x, "%one")
        label = b.label()
        b.do(f"br label %{label}")
        b.start(label)
        marks.append((start, len(b.lines)))
    before = list(b.lines)
    b.take_turns(marks)
    assert b.lines == before


def test_a_value_that_another_stretch_makes_later_keeps_the_order():
    b = IRBuilder()
    first = chain(b, "%x", detour=True)
    made = b.lines[-1].split()[0]
    start = len(b.lines)
    b.binary(F, "fadd", made, "%two")
    slot = b.alloca("float")
    b.detour("%rare", lambda: b.do(f"store float %one, ptr {slot}"))
    b.fresh(f"load float, ptr {slot}")
    before = list(b.lines)
    b.take_turns([first, (start, len(b.lines))])
    assert b.lines == before
