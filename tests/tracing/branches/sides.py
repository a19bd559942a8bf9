"""Which sides of its branches code takes while it runs: every jump of Python's that depends on a value, by its place in the source."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

#: jumps of `with` and `except`, which no value of the program decides
_OF_EXCEPTIONS = {"WITH_EXCEPT_START", "CHECK_EXC_MATCH"}


def _decisions(code: CodeType) -> dict[int, tuple[str, int, bool]]:
    """For the offset of each conditional jump: where its condition stands, the offset behind it, and what is true when it does not jump."""
    found: dict[int, tuple[str, int, bool]] = {}
    instructions = list(dis.get_instructions(code))
    for before, this, after in zip([instructions[0], *instructions], instructions, instructions[1:], strict=False):
        name = this.opname
        is_assertion = after.opname in ("LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT") or before.opname in _OF_EXCEPTIONS
        if "JUMP" in name and "_IF_" in name and not is_assertion and this.positions is not None:
            place = this.positions
            stands = f"{code.co_filename}:{place.lineno}:{place.col_offset}-{place.end_lineno}:{place.end_col_offset}"
            found[this.offset] = (stands, after.offset, "TRUE" not in name and "NOT_NONE" not in name)
    return found


class Sides:
    """Watches code of some files run: `with Sides(("/path/programs_",)) as sides: f(x)`; `sides.missing()` are the sides not taken then."""

    def __init__(self, files: tuple[str, ...]) -> None:
        self.files = files
        self.codes: dict[CodeType, dict[int, tuple[str, int, bool]]] = {}
        self.taken: set[tuple[str, bool]] = set()

    def _watch(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if not code.co_filename.startswith(self.files):
            return None
        decisions = self.codes.setdefault(code, _decisions(code))
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        last = -1

        def step(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
            nonlocal last
            if event == "opcode":
                if last in decisions:
                    stands, behind, value = decisions[last]
                    self.taken.add((stands, value if frame.f_lasti == behind else not value))
                last = frame.f_lasti
            return step

        return step

    def __enter__(self) -> Sides:
        self._before = sys.gettrace()
        sys.settrace(self._watch)
        return self

    def __exit__(self, *_: Any) -> None:
        sys.settrace(self._before)

    def count(self) -> int:
        """How many decisions there are in the code that ran."""
        return len({stands for decisions in self.codes.values() for stands, _, _ in decisions.values()})

    def missing(self) -> list[str]:
        places = {stands for decisions in self.codes.values() for stands, _, _ in decisions.values()}
        return sorted(f"{stands} is never {value}" for stands in places for value in (True, False) if (stands, value) not in self.taken)
