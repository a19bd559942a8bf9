"""Rows that are reduced in every step of a loop over time: lanes lie along them, and whatever goes with them is the same blocks'."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.emit import launches
from irdl.loops.expressions import Load
from irdl.loops.language import For, Kernel
from irdl.loops.walk import expressions, subexpressions, walk
from tests.codegen.on_cpu import HAVE_COMPILER, gpu_program
from tests.codegen.test_cuda import (
    PLACES,
    SPILLING,
    check_functions,
    check_interpreted,
    check_that_barriers_are_missed,
    check_that_nothing_spills,
    kinds_of_barriers,
    normal,
    softmax,
    weights,
)

F32 = np.float32
needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")


def standard(x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + F32(1e-5))


def normed_cell(x, wx, wh, b):
    """Rows are reduced in each step, of the gates and of a carry."""

    def step(carry, x):
        h, c = carry
        i, f, g = np.split(standard(x @ wx) + standard(h @ wh) + b, 3, axis=-1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(standard(c))
        return (h, c), h

    start = np.zeros((x.shape[1], wh.shape[0]), x.dtype)
    (_, c), y = irdl.scan(step, (start, start), x)
    return c, y


def normed_cell_gradient(x, wx, wh, b):
    return irdl.grad(lambda *w: sum((part**2).sum() for part in normed_cell(x, *w)), argnums=(0, 1, 2))(wx, wh, b)


def attention(x, keys):
    """In each step a softmax over what is kept, of some heads; no row of it is a block's alone where there are few."""

    def step(h, x):
        scores = np.einsum("bhd,bhtd->bht", h, keys)
        h = np.tanh(np.einsum("bht,bhtd->bhd", softmax(scores), keys) + x)
        return h, scores.max(-1)

    return irdl.scan(step, x[0], x)


def normed_until(x, w):
    def goes_on(carry):
        return (carry[0] ** 2).mean() > F32(0.3)

    return irdl.while_loop(goes_on, lambda carry: (standard(carry[0] @ w) * F32(0.8) ** carry[1], carry[1] + F32(1)), (x, F32(1)))


FUNCTIONS = [
    (normed_cell, normal(4, 6, 3), *weights(3, 70, 3)),
    (normed_cell, normal(3, 40, 5), *weights(5, 64, 3)),
    (normed_cell, normal(3, 1, 3), *weights(3, 100, 3)),
    (normed_cell, normal(3, 0, 3), *weights(3, 70, 3)),
    (normed_cell_gradient, normal(3, 5, 3), *weights(3, 70, 3)),
    (normed_cell_gradient, normal(2, 1, 3), *weights(3, 64, 3)),
    (attention, normal(3, 2, 3, 16), normal(2, 3, 70, 16)),
    (normed_until, normal(3, 70), normal(70, 70)),
    (normed_cell_gradient, normal(2, 3, 3), *weights(3, 520, 3)),
]
SMALL = [
    (normed_cell, normal(2, 2, 3), *weights(3, 65, 3)),
    (normed_cell_gradient, normal(2, 2, 3), *weights(3, 65, 3)),
    (normed_until, normal(2, 70), normal(70, 70)),
]
#: the same, to be run once for each barrier: rows of less than 64, in which all blocks meet more often; and the loop forward is in that of
#: the gradient
FEWER = [
    (normed_cell, normal(2, 2, 3), *weights(3, 34, 3)),
    (normed_cell_gradient, normal(2, 1, 3), *weights(3, 65, 3)),
    (normed_until, normal(2, 70), normal(70, 70)),
]


@needs_compiler
@pytest.mark.parametrize(("multiprocessors", "first", "every"), PLACES)
def test_functions(tmp_path, multiprocessors, first, every):
    check_functions(multiprocessors, tmp_path, FUNCTIONS[first::every])


@pytest.mark.parametrize("number", range(len(SMALL)))
def test_interpreted(number):
    check_interpreted(*SMALL[number])


@pytest.mark.parametrize("number", range(len(FEWER)))
def test_a_missing_barrier_is_found(number):
    check_that_barriers_are_missed(*FEWER[number])


def test_barriers_of_a_loop_that_reduces_rows():
    """The blocks that share rows in a contraction meet before it, which reads what rows have become, and behind it. What else there is in a
    step, they do by themselves, with a row each, and with elements of a carry in registers."""
    arguments = normal(5, 32, 8), *weights(8, 256, 3)
    for function, blocks in ((normed_cell, [24]), (normed_cell_gradient, [24, 8])):
        found = kinds_of_barriers(function, *arguments)
        assert [[kind for kind in kinds if kind not in ("block", "warp")] for kinds in found] == [[f"{n} blocks"] * 2 for n in blocks]
    program = gpu_program(irdl.trace(lambda *a: normed_cell(*a)[1])(*arguments))
    (loop,) = [launch for launch in launches(program) if launch.exact]
    assert {"keep", "put"} <= {s.name.split("_")[0] for s in loop.body if isinstance(s, Kernel)}


def test_what_never_changes_is_read_across_rows():
    """Lanes lie across the rows of weights, which are read once, but along rows that are new in each step, as they lie."""

    def along(w, x, h):
        return irdl.scan(lambda h, x: (np.tanh((x * h[0] * w).sum(-1) + h), None), h, x)[0]

    for arguments, stride in (((normal(32, 256), normal(3, 256), normal(32)), 256), ((normal(256), normal(3, 32, 256), normal(32)), 1)):
        program = gpu_program(irdl.trace(along)(*arguments))
        lanes = {s.variable for s in walk(program.body) if isinstance(s, For) and s.kind == "lane"}
        matrix = max(program.inputs, key=lambda buffer: buffer.size)
        loads = [item for s in walk(program.body) for e in expressions(s) for item in subexpressions(e) if isinstance(item, Load)]
        found = {load.index.coefficient(name) for load in loads if load.buffer is matrix for name in load.index.variables() & lanes}
        assert found == {stride}


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize(("multiprocessors", "capability", "first", "every"), SPILLING)
def test_nvcc_compiles_it_without_spills(tmp_path, multiprocessors, capability, first, every):
    check_that_nothing_spills(multiprocessors, capability, tmp_path, FUNCTIONS[first::every])
