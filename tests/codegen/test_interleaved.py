"""Elements that take turns in memory, as the parts of complex numbers: read and written at once, the same as NumPy's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.llvm.interleaved import Interleaved
from irdl.loops.expressions import Buffer, Load, Variable
from irdl.loops.index import Index, part_of_run
from irdl.loops.language import Let, Statement, Store
from tests.teams import team_of, wide_vectors

RNG = np.random.default_rng(0)
SIZES = (0, 1, 3, 8, 17, 33, 64, 130)
DTYPES = ("float64", "int64", "int16", "uint8", "float16")
F32 = np.dtype(np.float32)


def store_one(x):
    y = x + 1
    y[..., 1] = x[..., 0] * 2
    return y


FUNCTIONS = {
    "both": (2, lambda x: np.stack([x[..., 0] * 2 - x[..., 1], x[..., 1] + x[..., 0]], -1)),
    "swapped": (2, lambda x: np.stack([x[..., 1], x[..., 0]], -1)),
    "one read": (2, lambda x: (x[..., 0] * 3, x[..., 1] + 1)),
    "one written": (2, store_one),
    "written": (2, lambda x: np.stack([x[: len(x) // 2].sum(-1), x[len(x) - len(x) // 2 :].sum(-1)], -1)),
    "summed": (2, lambda x: ((x[..., 0] * x[..., 1]).sum(), (x[..., 0] - x[..., 1]).max(initial=0))),
    "three": (3, lambda x: np.stack([x[..., 2] + x[..., 0], x[..., 1] * 2, x[..., 0]], -1)),
    "two of three": (3, lambda x: np.stack([x[..., 2], x[..., 0] + x[..., 2]], -1)),
    "four": (4, lambda x: np.stack([x[..., 3] * x[..., 0], x[..., 1], x[..., 0] + x[..., 2], x[..., 2] - x[..., 3]], -1)),
    "copies": (3, lambda x: np.stack([x[..., 0], x[::-1, 1], x[..., 0]], -1)),
    "rows": (2, lambda x: np.stack([x[None, ..., 0] * x[:5, None, 1], x[None, ..., 1] + x[:5, None, 0]], -1)),
}


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float32") for name in FUNCTIONS), *(("both", d) for d in DTYPES), *(("one written", d) for d in DTYPES)]
)
def test_same_as_numpy(name: str, dtype: str) -> None:
    parts, function = FUNCTIONS[name]
    compiled = irdl.jit(function)
    for size in SIZES:
        x = RNG.integers(0, 9, (size, parts)).astype(dtype)
        found, exact = compiled(x), function(x)
        for ours, theirs in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, exact)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("parts", [2, 4])
def test_in_the_place_of_what_is_read(parts: int) -> None:
    """A donated array, whose elements change places."""
    swap = irdl.jit(lambda x: np.stack([x[:, parts - 1 - part] + part for part in range(parts)], -1), donate_argnums=0)
    for size in SIZES[1:]:
        x = RNG.standard_normal((size, parts)).astype(np.float32)
        expected = x[:, ::-1] + np.arange(parts, dtype=np.float32)
        np.testing.assert_array_equal(swap(x), expected)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_by_threads(dtype: str) -> None:
    with team_of(3):
        f = irdl.jit(lambda x, y: (x * y + 1, np.conj(x), (x - y).sum(), x.T * y))
        for size in SIZES:
            x, y = ((RNG.standard_normal((size, size)) + 1j * RNG.standard_normal((size, size))).astype(dtype) for _ in range(2))
            for ours, exact in zip(f(x, y), (x * y + 1, np.conj(x), (x - y).sum(), x.T * y), strict=True):
                np.testing.assert_allclose(ours, exact, rtol=1e-5 if dtype == "complex64" else 1e-12, atol=1e-4)


def test_no_lane_is_alone() -> None:
    x = np.zeros(160, np.complex64)
    with wide_vectors():
        text = irdl.compile(lambda x, y: x * y)(x, x).llvm_ir
    assert "load <32 x float>" in text and "store <32 x float>" in text
    assert "insertelement" not in text and "extractelement" not in text


def test_nothing_behind_the_last_element_is_read() -> None:
    """Arrays that end where the process may not read on."""
    code = """
import ctypes, mmap, numpy as np, irdl
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
for dtype in ("float32", "float64"):
    for size in (16, 32, 33, 100):
        count = 2 * size
        x = np.frombuffer(memory, dtype, count, page - count * np.dtype(dtype).itemsize).reshape(size, 2)
        x[...] = np.arange(count).reshape(size, 2)
        for f in (lambda x: x[:, 0] * 2, lambda x: x[:, 1] * 2, lambda x: x[:, 0] + x[:, 1], lambda x: x[:, 1].sum()):
            np.testing.assert_array_equal(irdl.jit(f)(x), f(x))
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "done", done.stderr


def test_which_part_of_a_run() -> None:
    x = Buffer("x", F32, 100, "input")
    place = Index.variable("l", 2) + Index.variable("i", 10)
    assert part_of_run(x, place, "l", {(x, place), (x, place + 1)}) == 0
    assert part_of_run(x, place + 1, "l", {(x, place), (x, place + 1)}) == 1
    assert part_of_run(x, place, "l", {(x, place), (x, place + 3)}) is None
    assert part_of_run(x, place, "i", {(x, place + n) for n in range(20)}) is None, "ten places apart"


def test_what_is_stored_at_once() -> None:
    x, out = Buffer("x", F32, 100, "input"), Buffer("out", F32, 100, "output")
    here = Index.variable("l", 2)
    t = Variable("t", F32)

    def families(*body: Statement) -> list[list[Store]]:
        found = Interleaved(body, "l", lambda buffer: buffer)
        return [found.family(statement) for statement in body if isinstance(statement, Store)]

    first, second = Store(out, here, t), Store(out, here + 1, t)
    assert families(second, Let(t, Load(x, here)), first) == [[first, second], [first, second]]
    assert families(first) == [[]]
    assert families(first, Let(t, Load(out, here)), second) == [[], []], "what was stored is read in between"
    assert families(first, Store(out, here + 50, t), second) == [[], [], []], "and may be stored to again"
    assert families(first, Store(out, here, t), second) == [[], [], []]
