"""Kernels that walk the same rows: merged where rows do not depend on each other, and only there."""

from __future__ import annotations

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.merge import merge_kernels
from irdl.loops.interpret import interpret
from irdl.loops.language import Kernel
from irdl.loops.target import Target
from irdl.loops.walk import walk
from irdl.runtime.threads import num_threads, set_num_threads


@pytest.fixture(autouse=True)
def one_thread():
    before = num_threads()
    set_num_threads(1)
    yield
    set_num_threads(before)


def kernels(compiled):
    return [statement for statement in walk(compiled.program.body) if isinstance(statement, Kernel)]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("f", [softmax, layer_norm])
@pytest.mark.parametrize("shape", [(64, 100), (37, 1000), (5, 8, 33), (256, 7), (4, 2)])
def test_rows_go_through_one_kernel(f, shape):
    x = normal(*shape)
    np.testing.assert_allclose(irdl.jit(f)(x), f(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("f", [softmax, layer_norm])
def test_what_is_passed_on_needs_a_block_of_rows_only(f):
    compiled = irdl.compile(f)(normal(512, 1024))
    assert len(kernels(compiled)) == 1
    assert compiled.memory.arena < 64 * 1024


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (y := x / x.sum(1, keepdims=True))[::-1] + y,
        lambda x: (y := x / x.sum(1, keepdims=True))[1:] - y[:-1],
        lambda x: np.concatenate([(y := np.exp(x) / x.sum(1, keepdims=True))[5:], y[:5]]) * y.sum(0),
        lambda x: (y := x / x.sum(1, keepdims=True)) @ y.T,
        lambda x: np.cumsum(x / x.sum(1, keepdims=True), axis=0) * 2,
        lambda x: x.reshape(2, -1, x.shape[1]).sum(0).max(1),
    ],
)
def test_rows_that_read_others_stay_apart(f):
    x = np.abs(normal(64, 20)) + 1
    np.testing.assert_allclose(irdl.jit(f)(x), f(x), rtol=1e-12, atol=1e-12)


def test_donated_rows():
    def f(x, y):
        return y - x.sum(1, keepdims=True), x * y.max(1, keepdims=True)

    x, y = normal(64, 20), normal(64, 20)
    expected = f(x, y)
    for result, right in zip(irdl.jit(f, donate_argnums=(0, 1))(x, y), expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-12, atol=1e-12)


def test_state_of_a_loop_is_kept():
    def f(xs):
        def step(c, x):
            c = c * 0.5 + softmax(x)
            return c, c.sum(1)

        return irdl.scan(step, np.zeros(xs.shape[1:]), xs)

    xs = normal(7, 64, 20)
    for result, right in zip(irdl.jit(f)(xs), f(xs), strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-12, atol=1e-12)


USED_AGAIN = """program main arena=64 {
  input x: f32[128]
  output out0: f32[128]
  arena a0: f32[16] at 0
  kernel ones {
    for j0 in 0:16 {
      a0[j0] = 1.0f32
    }
  }
  kernel first {
    for i1 in 0:8 {
      for j1 in 0:16 {
        out0[16*i1 + j1] = add(x[16*i1 + j1], a0[j1])
      }
    }
  }
  kernel twos {
    for j2 in 0:16 {
      a0[j2] = 2.0f32
    }
  }
  kernel last {
    for i3 in 0:8 {
      for j3 in 0:16 {
        out0[16*i3 + j3] = mul(out0[16*i3 + j3], a0[j3])
      }
    }
  }
}
"""


def test_what_stores_into_what_was_used_stays_behind():
    x = np.arange(128, dtype=np.float32)
    program = merge_kernels(irdl.parse(USED_AGAIN), Target(64, 32))
    (out,) = interpret(program, [x])
    np.testing.assert_array_equal(out, (x + 1) * 2)
