"""Loops over time on a GPU: what streams through them, what threads pass on to themselves, and what leaves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.emit import launches
from irdl.codegen.cuda.resident import keep_resident
from irdl.ir.evaluate import evaluate
from irdl.loops.expressions import Load
from irdl.loops.interpret import Machine
from irdl.loops.language import Kernel, Store
from irdl.loops.target import Gpu
from irdl.loops.walk import expressions, subexpressions, walk
from irdl.ops.control import SCAN
from irdl.ops.reduce import Reduce
from irdl.runtime.build import Build
from irdl.runtime.cuda import Cuda
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.test_cuda import check_interpreted, lstm, lstm_gradient, normal, weights
from tests.codegen.test_cuda_rows import normed_cell
from tests.codegen.watched import Watched

F32 = np.float32


def loads(statements) -> list[Load]:
    """From memory that all threads share."""
    found = [item for s in walk(statements) for e in expressions(s) for item in subexpressions(e) if isinstance(item, Load)]
    return [load for load in found if load.buffer.space not in ("register", "shared", "constant")]


def gru(x, wx, wh, b, d):
    """Biases of both products; its gradient puts the same parts side by side twice."""

    def step(h, x):
        r, z, n = np.split(h @ wh + b, 3, axis=-1)
        i, j, k = np.split(x @ wx + d, 3, axis=-1)
        r, z = 1 / (1 + np.exp(-(i + r))), 1 / (1 + np.exp(-(j + z)))
        h = (1 - z) * np.tanh(k + r * n) + z * h
        return h, h

    return irdl.scan(step, np.zeros((x.shape[1], wh.shape[0]), x.dtype), x)[1]


def gru_gradient(x, *weights):
    return irdl.grad(lambda *w: (gru(x, *w) ** 2).sum(), argnums=(0, 1, 2, 3))(*weights)


def delayed(x, w, h):
    """States of the last steps but one and two, of which all are returned; two change places in each step."""

    def step(carry, x):
        a, b, c, d, e = carry
        new = np.tanh(x + b @ w + c)
        return (new, a, b, e + new, d - c), (a, c, e)

    return irdl.scan(step, (h, h * 2, h * 3, h, h), x)


def delayed_gradient(x, w, h):
    return irdl.grad(lambda w: sum((y**2).sum() for y in delayed(x, w, h)[1]))(w)


def read_again(x, w, h):
    """What a step makes of an element, the next phases of the same step read, and another thread in the next one."""

    def step(h, x):
        a = np.tanh(x + h @ w)
        b = a @ w + a
        return np.roll(b, 1, axis=-1) * a, (a, b)

    return irdl.scan(step, h, x, reverse=True)


def over_inputs(x, w, h):
    """A result of each step takes the place of what the step has read, another thread's state and its own are the last step's."""

    def step(carry, x):
        h, c = carry
        y = np.tanh(x + h @ w)
        return (y, np.tanh(c + y)), (y * c, c)

    return irdl.scan(step, (h, h), x * F32(2))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (over_inputs, (normal(4, 2, 34), normal(34, 34) / F32(6), normal(2, 34))),
        (gru_gradient, (normal(2, 2, 2), *weights(2, 20, 3), normal(60))),
        (delayed, (normal(4, 2, 34), normal(34, 34) / F32(6), normal(2, 34))),
        (delayed_gradient, (normal(3, 2, 20), normal(20, 20) / F32(5), normal(2, 20))),
        (read_again, (normal(3, 3, 32), normal(32, 32) / F32(6), normal(3, 32))),
    ],
)
def test_interpreted(function, arguments):
    check_interpreted(function, *arguments)


def in_steps(function, *arguments) -> list[set[str]]:
    """Of each loop, the kernels of a step that read memory, but for those that read ahead."""
    program = gpu_program(irdl.trace(function)(*arguments))
    found = []
    for launch in launches(program):
        for loop in (s for s in launch.body if launch.exact and not isinstance(s, Kernel)):
            names = {kernel.name for kernel in walk([loop]) if isinstance(kernel, Kernel) and loads([kernel])}
            found.append({name.split("_")[0] for name in names} - {"ahead"})
    return found


def test_a_step_reads_what_others_have_made_and_no_more():
    """What a thread has stored itself, it has in registers, though others read it as well, and what it stores over, it has read ahead."""
    arguments = normal(5, 32, 8), *weights(8, 256, 4)
    assert in_steps(lstm, *arguments) == [{"dot"}]
    assert in_steps(lstm_gradient, *arguments) == [{"dot"}] * 2
    assert in_steps(gru_gradient, normal(5, 32, 8), *weights(8, 256, 3), normal(768)) == [{"dot"}] * 2
    for launch in launches(gpu_program(irdl.trace(lstm_gradient)(*arguments))):
        if launch.exact:
            (dot,) = (kernel for kernel in walk(launch.body) if isinstance(kernel, Kernel) and kernel.name.startswith("dot"))
            assert len({load.buffer for load in loads([dot])}) == 1  # the state, or its gradient


@pytest.mark.parametrize("units", [40, 41])
def test_what_is_streamed_is_brought_into_order(tmp_path: Path, monkeypatch, units):
    """Weights that fit neither registers nor shared memory, and whose rows lanes go along: a warp finds runs side by side."""
    monkeypatch.setattr("irdl.codegen.cuda.resident._KEPT", 8)
    monkeypatch.setattr("irdl.codegen.cuda.resident._WORTH_PACKING", 2)
    arguments = normal(2, 2, 3), *weights(3, units, 4)
    graph = irdl.trace(lstm_gradient)(*arguments)
    program = gpu_program(graph, Gpu(shared_bytes=12 * 1024))
    packs = [s for s in walk(program.body) if isinstance(s, Kernel) and s.name.startswith("pack_")]
    packed = {load.buffer for launch in launches(program) if launch.exact for load in loads([launch])}
    packed = {buffer for buffer in packed if buffer.name.startswith("packed_")}
    assert len(packs) == len(packed) > 0
    assert max(buffer.offset + buffer.nbytes for buffer in packed) <= program.arena_bytes
    results = OnCpu([program], tmp_path)(0, arguments, order=3) if HAVE_COMPILER and units == 41 else Watched(program).call(arguments)
    for result, exact in zip(results, evaluate(graph, arguments), strict=True):
        np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5)


def body_of_loop(function, *arguments) -> list:
    """What is in the last loop of a graph, on its way to a GPU, once it has been distributed."""
    steps = Build(irdl.trace(function)(*arguments), Cuda(), target=Gpu()).graphs
    graph = next(step.code for step in steps if step.name == "distribute")
    for result, exact in zip(evaluate(graph, arguments), evaluate(irdl.trace(function)(*arguments), arguments), strict=True):
        np.testing.assert_allclose(result, exact, rtol=2e-4, atol=2e-4)
    return [node for node in graph.nodes if node.op is SCAN][-1].regions[0].nodes


def test_reductions_leave_the_loops_of_a_gpu(monkeypatch):
    """Of inputs before them, of what only results need behind them; as long as there is room for what they read of all steps."""
    arguments = normal(3, 4, 2), *weights(2, 6, 3)
    count = len([node for node in body_of_loop(normed_cell, *arguments) if isinstance(node.op, Reduce)])
    assert count == 4  # twice of the state's product, twice of c
    assert not any(isinstance(node.op, Reduce) for node in body_of_loop(gru_gradient, *arguments, normal(18)))

    def summed(x, h):
        return irdl.scan(lambda carry, x: ((np.tanh(carry[0] + x), carry[1] + carry[0].sum()), carry[0].max(-1)), (h, F32(1)), x)

    assert not any(isinstance(node.op, Reduce) for node in body_of_loop(summed, normal(3, 4, 5), normal(4, 5)))
    monkeypatch.setattr("irdl.passes.distribute._STACKED", 3 * 4 * 5 * 4 - 1)
    assert any(isinstance(node.op, Reduce) for node in body_of_loop(summed, normal(3, 4, 5), normal(4, 5)))


LOOP = """program p arena=0 {{
  input x: f32[160]
  output y: f32[160]
  output z: f32[128]
  kernel first {{
    for j in 0:1 block {{ for w in 0:1 warp {{ for l in 0:32 lane {{ {first} }} }} }}
  }}
  for t in 0:4 {{
    kernel one {{
      for j in 0:1 block {{ for w in 0:1 warp {{ for l in 0:32 lane {{ {one} }} }} }}
    }}
    kernel two {{
      for j in 0:1 block {{ for w in 0:1 warp {{ for k in 0:32 lane {{ {two} }} }} }}
    }}
  }}
}}
"""
COPY = "\n".join(f"y[l + {32 * n}] = x[l + {32 * n}]" for n in range(5))


@pytest.mark.parametrize(
    ("one", "two", "kept"),
    [
        # Of the last step, before and behind what the step stores.
        ("y[32*t + l + 32] = mul(y[32*t + l], 2.0f32)", "z[32*t + k] = y[32*t + k + 32]", True),
        ("y[32*t + l + 32] = mul(x[32*t + l], 2.0f32)", "z[32*t + k] = y[32*t + k]", False),
        # What the step stores over, and what it has stored there.
        ("y[32*t + l] = mul(y[32*t + l], 2.0f32)", "z[32*t + k] = 1.0f32", False),
        ("y[32*t + l] = mul(x[32*t + l], 2.0f32)\nz[32*t + l] = y[32*t + l]", "z[32*t + k] = 1.0f32", True),
        ("z[32*t + l] = y[32*t + l + 32]\ny[32*t + l] = x[l]", "y[32*t + k] = x[k + 32]", False),
        # Another thread's, one step of two back, and under another condition.
        ("y[32*t + l + 32] = mul(y[32*t + -1*l + 31], 2.0f32)", "z[32*t + k] = y[32*t + -1*k + 63]", False),
        ("y[32*t + l + 32] = mul(y[16*t + l], 2.0f32)", "z[32*t + k] = 1.0f32", False),
        ("if less(index(l), 16i64) { y[32*t + l + 32] = y[32*t + l] } else { }", "z[32*t + k] = y[32*t + k + 32]", False),
    ],
)
def test_what_threads_pass_on_to_themselves(one: str, two: str, kept: bool) -> None:
    text = LOOP.format(first=COPY, one=one, two=two)
    before, after = irdl.parse(text), keep_resident(irdl.parse(text), Gpu())
    assert (
        any(isinstance(s, Store) and s.buffer.name.startswith("kept_") and not isinstance(s.value, Load) for s in walk(after.body)) == kept
    )
    x = normal(160)
    for result, expected in zip(Machine(after).call([x]), Machine(before).call([x]), strict=True):
        np.testing.assert_array_equal(result, expected)
