"""The arena: buffers alive together lie apart, and little is lost between them."""

from __future__ import annotations

import random
from unittest import mock

import numpy as np
import pytest

import irdl
from irdl.ir.graph import Graph
from irdl.loops.expressions import Buffer
from irdl.loops.passes import memory
from irdl.loops.target import Gpu
from irdl.loops.walk import buffers_of, walk
from irdl.runtime.build import Build
from irdl.runtime.cpu import Cpu
from irdl.runtime.cuda import Cuda
from tests.models import lstm_data, lstm_loss
from tests.programs import Programs


def share_of_live_set(graph: Graph) -> float:
    """The arena's size in terms of the largest set of buffers alive at once."""
    found = []

    def assign(spans):
        total = memory_assign(spans)
        for buffer, (first, last) in spans.items():
            for other, (start, end) in spans.items():
                apart = buffer.offset + buffer.nbytes <= other.offset or other.offset + other.nbytes <= buffer.offset
                assert buffer is other or last < start or end < first or apart or not (buffer.nbytes and other.nbytes)
        found.append((total, memory.largest_live_set(spans)))
        return total

    memory_assign = memory.assign
    with mock.patch.object(memory, "assign", assign):
        program = Build(graph, Cpu()).program
    (total, live), *_ = found
    assert total == program.arena_bytes >= live
    return total / live if live else 1.0


@pytest.mark.parametrize("shape", [(35, 32, 28, 256), (50, 64, 512, 512), (100, 1, 64, 64), (7, 3, 5, 13)])
def test_arena_of_a_training_step_is_little_more_than_its_largest_live_set(shape):
    graph = irdl.trace(irdl.value_and_grad(lstm_loss))(*lstm_data(*shape))
    assert share_of_live_set(graph) < 1.2


def test_arenas_of_random_programs():
    for seed in range(100):
        assert share_of_live_set(Programs(random.Random(seed)).graph()) < 1.2


def test_largest_live_set():
    sizes = {name: Buffer(name, np.dtype(np.float32), size, "arena") for name, size in (("a", 16), ("b", 32), ("c", 64))}
    assert memory.largest_live_set({sizes["a"]: (0, 2), sizes["b"]: (2, 4), sizes["c"]: (3, 5)}) == 32 * 4 + 64 * 4
    assert memory.largest_live_set({}) == 0


@pytest.mark.parametrize(("rows", "shares"), [(8, False), (20_000, True)])
def test_buffers_of_a_loop_on_a_gpu(rows, shares):
    """Blocks would have to meet before one took another's place, which is worth it for large ones."""

    def chain(x, w):
        def step(h, _):
            for _ in range(4):
                h = np.tanh(h @ w)
            return h, None

        return irdl.scan(step, x, None, length=3)[0]

    graph = irdl.trace(chain)(np.zeros((rows, 64), np.float32), np.zeros((64, 64), np.float32))
    program = Build(graph, Cuda(), target=Gpu()).program
    own = {b for s in walk(program.body) for b in buffers_of(s) if b.space == "arena" and b.depth}
    assert len(own) >= 3
    together = any(a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes for a in own for b in own if a is not b)
    assert together is shares
