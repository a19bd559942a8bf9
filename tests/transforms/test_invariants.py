"""What every step of a loop makes of parameters alone: its gradient is taken once, behind the loop."""

from __future__ import annotations

import numpy as np
import pytest

import irdl
from irdl.ir.graph import Graph
from irdl.ops.control import SCAN
from irdl.testing import check_gradient

RNG = np.random.default_rng(0)


def scans(graph: Graph) -> list:
    return [node for node in graph.all_nodes() if node.op is SCAN]


def gradient_of(f, *arguments) -> Graph:
    return irdl.trace(irdl.value_and_grad(f))(*arguments)


def test_what_leads_to_a_weight_is_differentiated_once() -> None:
    def loss(w, xs):
        def step(h, x):
            h = np.tanh(h @ (np.exp(w) - w.T) + x)
            return h, h

        return irdl.scan(step, np.zeros(3), xs)[1].sum()

    w, xs = RNG.standard_normal((3, 3)), RNG.standard_normal((5, 3))
    check_gradient(loss, w, xs)
    found = scans(gradient_of(loss, w, xs))
    assert len(found) == 2
    names = {node.op.name for scan in found for node in scan.regions[0].nodes}
    assert "exp" not in names and "transpose" not in names and "tanh" in names


def test_what_is_only_repeated_is_not_added_up_as_such() -> None:
    def loss(b, xs):
        def step(h, x):
            h = np.tanh(h + np.broadcast_to(b, (40, 3)).reshape(8, 15) + x)
            return h, h

        return irdl.scan(step, np.zeros((8, 15)), xs)[1].sum()

    b, xs = RNG.standard_normal(3), RNG.standard_normal((5, 8, 15))
    check_gradient(loss, b, xs)
    backward = scans(gradient_of(loss, b, xs))[-1]
    assert [value.shape for value in backward.attributes.outputs(backward.outputs).carry] == [(8, 15), (3,)]


def test_a_broadcast_that_something_else_is_made_of_leaves_with_it() -> None:
    def loss(b, w, xs):
        def step(h, x):
            wide = np.broadcast_to(b, (4, 3)).reshape(2, 6)
            h = np.tanh(h * wide + (wide * w).sum(0) + x)
            return h, h

        return irdl.scan(step, np.zeros((2, 6)), xs)[1].sum()

    check_gradient(loss, RNG.standard_normal(3), RNG.standard_normal((2, 6)), RNG.standard_normal((5, 2, 6)))


def test_parameters_that_no_step_reads_any_more_have_no_sum() -> None:
    def loss(w, xs):
        return irdl.scan(lambda h, x: (np.tanh(h * np.exp(w) + x),) * 2, np.zeros(3), xs)[1].sum()

    backward = scans(gradient_of(loss, RNG.standard_normal(3), RNG.standard_normal((5, 3))))[-1]
    assert backward.attributes.carry == 2


@pytest.mark.parametrize("length", [0, 1, 4])
def test_in_loops_in_loops_and_branches(length: int) -> None:
    def loss(w, xs):
        def outer(h, x):
            def inner(h, y):
                return np.tanh(h @ np.linalg.inv(w @ w.T + np.eye(3)) + y), None

            h, _ = irdl.scan(inner, h, x)
            return irdl.cond(h.sum() > 0, lambda h: h * np.exp(w[0]), lambda h: h - w[1] ** 2, h), h

        last, hs = irdl.scan(outer, np.zeros(3), xs)
        return last.sum() + hs.sum()

    check_gradient(loss, RNG.standard_normal((3, 3)), RNG.standard_normal((length, 2, 3)))


def test_a_complex_weight_made_of_parts_is_two_products_behind_the_loop() -> None:
    def loss(re, im, xs, target):
        def step(h, x):
            h = 0.9j * h + x @ (re + 1j * im)
            return h, (h @ (re - 1j * im)).real

        hs = irdl.scan(step, np.zeros((4, 5), np.complex128), xs)[1]
        return ((hs - target) ** 2).sum()

    re, im = RNG.standard_normal((2, 5, 5))
    xs, target = RNG.standard_normal((2, 6, 4, 5))
    check_gradient(loss, re, im, xs, target)
    compiled = irdl.compile(irdl.value_and_grad(loss, argnums=(0, 1)))(re, im, xs, target)
    stages = dict(compiled.stages)
    assert not any(node.op.name == "dot" for scan in scans(stages["distribute"]) for node in scan.regions[0].nodes)


def test_a_while_that_runs_no_step_raises_nothing() -> None:
    def settle(w, x, steps):
        def step(state):
            h, n = state
            return np.tanh(h @ np.linalg.inv(w) + x @ w), n + 1

        return irdl.while_loop(lambda state: state[1] < steps, step, (x, np.int64(0)))[0]

    singular, x = np.ones((3, 3)), RNG.standard_normal((2, 3))
    compiled = irdl.jit(settle)
    np.testing.assert_array_equal(compiled(singular, x, np.int64(0)), x)
    with pytest.raises(np.linalg.LinAlgError):
        compiled(singular, x, np.int64(1))
    regular = RNG.standard_normal((3, 3)) + 3 * np.eye(3)
    np.testing.assert_allclose(compiled(regular, x, np.int64(3)), settle(regular, x, 3), rtol=1e-9)
    # What cannot raise is computed once, in front of it.
    graph = dict(irdl.compile(settle)(regular, x, np.int64(3)).stages)["distribute"]
    (loop,) = (node for node in graph.nodes if node.op.name == "while")
    assert sum(node.op.name == "dot" for node in graph.nodes) == 1
    assert loop.attributes.cond_consts == 1
