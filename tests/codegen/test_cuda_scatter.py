"""Scatters of CUDA C, run on the CPU: NumPy's results to the bit, whatever the order of threads; and how they are dealt out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.emit import launches
from irdl.ir.evaluate import evaluate
from irdl.loops.interpret import interpret
from irdl.loops.language import Barrier, CheckIndex, For, Program
from irdl.loops.target import Gpu
from irdl.loops.text import large_constants
from irdl.loops.walk import walk
from irdl.passes.distribute import distribute
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.watched import Watched

needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
F32 = np.float32


def normal(*shape: int, dtype: type = F32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def indices(extent: int, *shape: int) -> np.ndarray:
    """From the front and from the back, some of them several times."""
    return np.random.default_rng(extent).integers(-extent, extent, shape)


def added(x, k, u):
    y = x.copy()
    np.add.at(y, k, u)
    return y


def stored(x, k, u):
    """Of several, the last: NumPy leaves it open, irdl does not."""
    y = x.copy()
    y[k] = u
    return y


def columns(x, k, u):
    return irdl.grad(lambda x: (x[:, k] * u).sum())(x)


def pairs(x, k, l, u):
    y = x.copy()
    np.add.at(y, (k, l), u)
    return y


def known(x, k, u):
    """Rows of which the program knows one index: they do not count, or count to less than there are."""
    y = x.copy()
    np.add.at(y, (np.array([2, 0, 2, 1]), k), u)
    np.add.at(y, (np.arange(4), k), u)
    return y


def lines(x, k, u):
    """More updates than places, of lines of which some have none."""
    y = x.copy()
    np.add.at(y, (np.arange(len(k))[:, None], k), u)
    return y


def picked(x, k):
    return irdl.grad(lambda x: (np.take_along_axis(x, k[..., None], axis=-1) ** 2).sum())(x)


def middle(x, k):
    return irdl.grad(lambda x: (np.take_along_axis(x, k, axis=1) ** 3).sum())(x)


def embedded(w, u, k):
    """A table of which each step of a loop reads some rows."""

    def loss(w, u):
        h, _ = irdl.scan(lambda h, k: (np.tanh(h @ u + w[k]), None), np.zeros((k.shape[1], w.shape[1]), w.dtype), k)
        return (h**2).sum()

    return irdl.grad(loss, argnums=(0, 1))(w, u)


def counted(x, ks, u):
    """Into what later steps read."""

    def step(y, k):
        y = y.copy()
        np.add.at(y, k, u * y[0])
        return y, y.sum()

    return irdl.scan(step, x, ks)


CASES: list[tuple[Callable, list[np.ndarray]]] = [
    (added, [normal(7), indices(7, 40), normal(40)]),
    (added, [normal(7, 33), indices(7, 25), normal(25, 33)]),
    (added, [normal(9, 70, dtype=np.float64), indices(9, 5, 6), normal(5, 6, 70, dtype=np.float64)]),
    (added, [normal(5, 3, 40), indices(5, 11), normal(11, 3, 40)]),
    (added, [normal(4, 600), indices(4, 9), normal(9, 600)]),  # more columns than a warp takes
    (added, [np.arange(12).reshape(3, 4), indices(3, 8), np.arange(32).reshape(8, 4)]),
    (added, [normal(3, 4).astype(np.float16), indices(3, 8), normal(8, 4).astype(np.float16)]),
    (stored, [normal(6, 50), indices(6, 20), normal(20, 50)]),
    (stored, [np.zeros(6, bool), indices(6, 4), np.array([True, False, True, True])]),
    (columns, [normal(40, 6), indices(6, 17), normal(40, 17)]),  # what lies side by side is indexed
    (pairs, [normal(5, 6, 34), indices(5, 30), indices(6, 30), normal(30, 34)]),
    (known, [normal(6, 5, 36), indices(5, 4), normal(4, 36)]),
    (lines, [normal(5, 2), indices(2, 3, 9), normal(3, 9)]),
    (picked, [normal(4, 5, 37), indices(37, 4, 5)]),
    (picked, [normal(66, 3), indices(3, 66)]),
    (middle, [normal(3, 6, 35), indices(6, 3, 4, 35)]),
    (embedded, [normal(8, 12), normal(12, 12), indices(8, 5, 7)]),
    (embedded, [normal(40, 48), normal(48, 48), indices(40, 3, 6)]),
    (counted, [normal(6, 36), indices(6, 4, 9), normal(9, 36)]),
    (added, [normal(3, 4), np.zeros(0, np.int64), normal(0, 4)]),
]


@needs_compiler
def test_results(tmp_path: Path) -> None:
    graphs = [irdl.trace(function)(*arrays) for function, arrays in CASES]
    programs = [gpu_program(graph, Gpu(multiprocessors=8)) for graph in graphs]
    kernels = OnCpu(programs, tmp_path)
    for number, ((function, arrays), graph, program) in enumerate(zip(CASES, graphs, programs, strict=True)):
        assert irdl.parse(str(program), constants=large_constants(program)) == program
        expected = evaluate(graph, arrays)
        # Contractions add in another order, and sums of 16 bits are rounded once.
        exact = function not in (embedded, counted) and arrays[0].dtype != np.float16
        near = 2e-3 if arrays[0].dtype == np.float16 else 2e-5
        for order in (0, 1, 7):
            for result, right in zip(kernels(number, arrays, order=order), expected, strict=True):
                if exact:
                    np.testing.assert_array_equal(result.reshape(right.shape), right, err_msg=f"{function.__name__} {arrays[0].shape}")
                else:
                    np.testing.assert_allclose(result.reshape(right.shape), right, rtol=near, atol=near)
        if exact and number % 3 == 0:
            for result, right in zip(interpret(program, arrays), kernels(number, arrays), strict=True):
                np.testing.assert_array_equal(result, right.reshape(-1))


def test_eager_numpy_gives_the_same() -> None:
    for function, arrays in CASES:
        given = [array.copy() for array in arrays]
        for result, right in zip(evaluate(irdl.trace(function)(*arrays), given), irdl.tree.leaves(function(*arrays)), strict=True):
            np.testing.assert_allclose(result, right, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("number", [1, 10, 15, 18])
def test_no_two_threads_store_into_one_place(number: int) -> None:
    function, arrays = CASES[number]
    graph = irdl.trace(function)(*arrays)
    watched = Watched(gpu_program(graph, Gpu(multiprocessors=8)))
    for result, right in zip(watched.call(arrays), evaluate(graph, arrays), strict=True):
        np.testing.assert_allclose(result.reshape(right.shape), right, rtol=2e-5, atol=2e-5)


def serial(program: Program) -> int:
    """Steps that a thread goes through to find the rows for its place."""
    loops = [s for s in walk(program.body) if isinstance(s, For) and s.kind == "serial" and s.variable.startswith("p")]
    return sum(loop.stop for loop in loops)


def test_nobody_waits_for_each_row() -> None:
    """A launch, or a part of one, without a barrier; rows that a place knows are not looked for; nor are their indices looked at."""
    program = gpu_program(irdl.trace(added)(normal(94, 128), indices(94, 300), normal(300, 128)))
    assert not [s for s in walk(program.body) if isinstance(s, Barrier)] and serial(program) == 300
    program = gpu_program(irdl.trace(picked)(normal(4, 5, 37), indices(37, 4, 5)))
    assert serial(program) == 0 and len(launches(program)) <= 2
    of_the_gradient = [s for s in walk(program.body) if isinstance(s, CheckIndex)]
    assert len(of_the_gradient) == 3 + 1  # of what is read, and of the column that does not count
    # Of a table of a million rows not each place looks for its rows, and so many updates that all looks take longer follow each other.
    for count, looked in ((8, 16), (200_000, 0)):
        shapes = ((F32, (1 << 20, 64)), (np.int64, (count,)), (F32, (count, 64)))
        assert serial(gpu_program(irdl.trace(added)(*(np.broadcast_to(np.zeros(1, dtype), shape) for dtype, shape in shapes)))) == looked


def test_what_steps_scatter_leaves_the_loop() -> None:
    """All steps' updates are added to the carry at once, on a CPU too."""
    function, arrays = CASES[16]
    graph = irdl.trace(function)(*arrays)
    assert [node.op.name for node in graph.all_nodes()].count("scatter_add") == 1
    assert "scatter_add" not in [node.op.name for node in graph.nodes]
    for found in (distribute(graph), distribute(graph, Gpu())):
        assert [node.op.name for node in found.nodes].count("scatter_add") == 1
        assert [node.op.name for node in found.all_nodes()].count("scatter_add") == 1
    compiled = irdl.compile(function)(*arrays)
    for result, right in zip(irdl.tree.leaves(compiled(*arrays)), irdl.tree.leaves(function(*arrays)), strict=True):
        np.testing.assert_allclose(result, right, rtol=2e-5, atol=2e-5)


@needs_compiler
def test_indices_out_of_range(tmp_path: Path) -> None:
    arrays = [normal(7, 33), np.array([1, 7, -8]), normal(3, 33)]
    program = gpu_program(irdl.trace(added)(*arrays))
    with pytest.raises(IndexError, match=r"index (7|-8) is out of bounds for axis 0 with size 7"):
        interpret(program, arrays)
    with pytest.raises(IndexError, match=r"index (7|-8) is out of bounds for axis 0 with size 7"):
        OnCpu([program], tmp_path)(0, arrays)
