"""One function exported for blocks of several lengths, which work on one state."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
STRICT = ["-Wall", "-Wextra", "-Werror", "-std=c11"]


class Ring:
    """A delay whose place comes back to where it was after 16 samples: for such blocks it is no state."""

    def __init__(self) -> None:
        self.ring, self.place = np.zeros(16, np.float32), 0

    def process(self, x: Any) -> Any:
        y = np.empty_like(x)
        for i in range(len(x)):
            y[i] = x[i] + np.float32(0.5) * self.ring[(self.place - 3) % 16]
            self.ring[self.place] = x[i]
            self.place = (self.place + 1) % 16
        return y


class Gate:
    """Numbers and a flag, some bound on one side of a branch alone."""

    def __init__(self) -> None:
        self.gain, self.level, self.hold, self.open = 2.0, np.float32(0), 0, False

    def process(self, x: Any) -> Any:
        y = np.zeros_like(x)
        for i, sample in enumerate(x):
            self.level += np.float32(0.2) * (abs(sample) - self.level)
            if self.level > 0.3:
                self.open, self.hold = True, 5
            elif self.hold > 0:
                self.hold -= 1
            else:
                self.open = False
            y[i] = sample * self.gain if self.open else 0.0
        return y


class Reader:
    """For a single sample it only reads what it keeps for longer blocks."""

    def __init__(self) -> None:
        self.mean, self.scale, self.count, self.odd = np.zeros(2, np.float32), 1.0, 0, False

    def process(self, x: Any) -> Any:
        if len(x) > 1:
            self.mean = 0.5 * self.mean + x.mean()
            self.scale *= 0.75
            self.count += 1
            self.odd = not self.odd
        return np.where(self.odd, x, 2 * x) * np.float32(self.scale) + self.mean[0] + np.float32(self.count)


class Setter:
    """What a longer block reads a single sample sets."""

    def __init__(self) -> None:
        self.last = np.zeros(3)

    def process(self, x: Any) -> Any:
        if len(x) > 1:
            y = x + self.last[0]
            self.last = self.last + 1
            return y
        self.last = np.ones(3)
        return x


class Starter:
    """A single sample sets numbers to what they are at the export."""

    def __init__(self) -> None:
        self.count, self.named, self.read = 0, {"gain": 1.0}, 0

    def process(self, x: Any) -> Any:
        if len(x) > 1:
            self.count += 1
            self.named["gain"] *= 0.5
            self.read += 1
            return x * self.count + self.named["gain"] + self.read
        y = x * self.read
        self.read = 0
        if len(x) == 1:
            self.count = 0
        else:
            self.named["gain"] = 1.0
        return y


class Viewer:
    """For a single sample it reads a view of what it stores into for longer blocks."""

    def __init__(self) -> None:
        self.ring = np.zeros(4)
        self.end = self.ring[2:]

    def process(self, x: Any) -> Any:
        if len(x) > 1:
            self.ring[:] = self.ring + x[0]
            return x + self.ring[0]
        return x + self.end[0]


def exported(owner: Any, lengths: Sequence[int]) -> list[irdl.Exported]:
    """For blocks of each length, on the state of the first."""
    found: list[irdl.Exported] = []
    for length in lengths:
        state = found[0] if found else None
        found.append(irdl.export(owner.process, name=f"block{length}", state=state)(np.full(length, 0.25, np.float32)))
    return found


def played(owner: Any, functions: Sequence[irdl.Exported], lengths: Sequence[int], folder: Path) -> None:
    """Blocks of random lengths in C, on one state, against NumPy."""
    objects = [function.save(folder, test=True).name for function in functions]
    for function in functions:
        linked = {objects[0], f"{function.name}.o"}
        subprocess.run(["gcc", *STRICT, f"{function.name}_test.c", *linked, "-lm", "-o", "program"], cwd=folder, check=True)
        subprocess.run([folder / "program"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["gcc", "-shared", *objects, "-lm", "-o", "library.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "library.so"))
    size = functions[0].state_bytes
    assert all(function.state_bytes == size for function in functions)
    state = np.frombuffer((ctypes.c_uint64 * (-(-size // 8))).in_dll(library, f"{functions[0].name}_initial"), np.uint64).copy()
    memory = np.zeros(max(function.memory_bytes for function in functions) + 64, np.uint8)
    scratch = ctypes.c_void_p(-(-memory.ctypes.data // 64) * 64)
    draw = np.random.default_rng(0)
    for length in draw.choice(lengths, 40):
        x = draw.uniform(-1, 1, length).astype(np.float32)
        y = np.empty_like(x)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (state, x, y)]
        assert getattr(library, f"block{length}")(*pointers, scratch) == 0
        np.testing.assert_allclose(y, owner.process(x), rtol=1e-6, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("cls", [Ring, Gate, Reader])
@pytest.mark.parametrize("lengths", [(5, 1, 16), (7, 32, 1)])
def test_blocks_of_several_lengths_on_one_state(cls: Any, lengths: Sequence[int], tmp_path: Path) -> None:
    owner = cls()
    functions = exported(owner, lengths)
    first, *others = functions
    for function in others:
        assert f'#include "{first.name}.h"' in function.header and f"{first.name}_state *state" in function.header
        assert "typedef" not in function.header and f"{function.name}_initial" not in function.llvm_ir
    played(owner, functions, lengths, tmp_path)


def test_a_state_of_a_state_is_the_first_ones() -> None:
    owner = Ring()
    first = irdl.export(owner.process, name="five")(np.ones(5))
    second = irdl.export(irdl.jit(owner.process), name="one", state=first)(np.ones(1))
    assert "five_state *state" in irdl.export(owner.process, name="sixteen", state=second)(np.ones(16)).header


def test_a_function_that_keeps_nothing() -> None:
    first = irdl.export(np.tanh, name="two")(np.ones(2))
    assert "two" not in irdl.export(np.tanh, name="three", state=first)(np.ones(3)).header


@pytest.mark.parametrize(
    ("owner", "lengths", "message"),
    [
        (Ring(), (16, 5), r"place` is kept from call to call for these shapes, and block16_state has no such member: export .* first"),
        (Reader(), (1, 5), r"is kept from call to call for these shapes, and block1_state has no such member"),
        (Setter(), (5, 1), r"sets `.*last` for these shapes, and does not read it"),
        (Starter(), (5, 1), r"sets `.*count` for these shapes, and does not read it"),
        (Starter(), (5, 0), r"sets `.*named.*` for these shapes, and does not read it"),
        (Viewer(), (5, 1), r"end` shares its memory with a part of block5_state: make the view of it in the function"),
    ],
)
def test_states_that_do_not_fit(owner: Any, lengths: Sequence[int], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        exported(owner, lengths)


def test_states_of_others() -> None:
    owner = Ring()
    first = irdl.export(owner.process, name="five")(np.ones(5))
    with pytest.raises(ValueError, match="`five` is another function; those that work on one state are one function"):
        irdl.export(Ring().process, name="one", state=first)
    with pytest.raises(ValueError, match="`five` is the name of that function already"):
        irdl.export(owner.process, name="five", state=first)
    with pytest.raises(TypeError, match=r"state= is what irdl\.export"):
        irdl.export(owner.process, name="one", state="five")
