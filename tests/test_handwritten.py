"""Programs as people write them run as they are: results, changed arguments and objects as in NumPy, gradients as by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from benchmarks.handwritten import SMALL, Sizes, courses, programs
from tests.covering import covering
from tests.same import same

PROGRAMS = programs()
#: one of everything; few steps, which stay unrolled; and an odd number of them
SIZES = [SMALL, Sizes(1, 1, 1, 1, 2), Sizes(3, 2, 2, 3, 4), Sizes(1, 9, 5, 2, 3)]


@pytest.mark.parametrize(("name", "sizes"), covering(list(PROGRAMS), SIZES))
def test_same_as_numpy(name: str, sizes: Sizes) -> None:
    f, arguments = PROGRAMS[name](sizes, np.random.default_rng(0))
    g, others = PROGRAMS[name](sizes, np.random.default_rng(0))
    compiled = irdl.jit(g)
    for _ in range(3):
        expected, got = f(*arguments), compiled(*others)
        assert same(got, expected)
        assert same(others, arguments)
        assert same(getattr(g, "__self__", None), getattr(f, "__self__", None))


def test_gradients_are_those_by_hand() -> None:
    random = np.random.default_rng(0)

    def close(found: Any, expected: Any) -> None:
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)

    for forward, backward, gates in ((courses.rnn_forward, courses.rnn_backward, 1), (courses.lstm_forward, courses.lstm_backward, 4)):
        arguments = courses._sequence(SMALL, random, gates)
        h, cache = forward(*arguments)
        dh = random.standard_normal(h.shape)
        gradient = irdl.jit(irdl.grad(lambda *a, forward=forward, dh=dh: (forward(*a)[0] * dh).sum(), (0, 1, 2, 3, 4)))
        close(gradient(*arguments), backward(dh, cache))

    x, a0, parameters = courses._course(SMALL, random)
    a, _, caches = courses.course_forward(x, a0, parameters)
    da = random.standard_normal(a.shape)
    gradient = irdl.jit(irdl.grad(lambda x, a0, p: (courses.course_forward(x, a0, p)[0] * da).sum(), (0, 1, 2)))
    dx, d0, dp = gradient(x, a0, parameters)
    by_hand = courses.course_backward(da, caches)
    close([dx, d0, dp["Wax"], dp["Waa"], dp["ba"]], [by_hand[key] for key in ("dx", "da0", "dWax", "dWaa", "dba")])

    arguments = courses._batched(SMALL, random)
    h, _, _, cache = courses.batched_forward(*arguments)
    dh = random.standard_normal(h.shape)
    gradient = irdl.jit(irdl.grad(lambda *a: (courses.batched_forward(*a)[0] * dh).sum(), (0, 1, 2, 3)))
    close(gradient(*arguments), courses.batched_backward(dh, cache))

    inputs, targets = (random.integers(0, SMALL.vocabulary, SMALL.steps) for _ in range(2))
    hprev, *parameters = np.zeros((SMALL.hidden, 1)), *courses.character_parameters(SMALL, random)
    gradient = irdl.jit(irdl.grad(lambda *p: courses.loss_fun(inputs, targets, hprev, *p)[0], (0, 1, 2, 3, 4)))
    close(gradient(*parameters), courses.loss_fun(inputs, targets, hprev, *parameters)[1:6])


@pytest.mark.parametrize("name", PROGRAMS)
def test_compile_time_does_not_grow_with_the_steps(name: str) -> None:
    """But for making the lists: the graph of many steps has as many nodes as that of a few."""
    counts = []
    for steps in (12, 24):
        f, arguments = PROGRAMS[name](Sizes(3, steps, 16, 16, 8), np.random.default_rng(0))
        counts.append(len(list(irdl.compile(f, backend="interpret")(*arguments).graph.all_nodes())))
    few, many = counts
    # What is left to grow is one node for each array that comes or goes in a list.
    leaves = 24 * 12
    assert many <= few + leaves, counts
