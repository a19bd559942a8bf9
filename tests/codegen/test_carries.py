"""Loops of short steps: one kernel each, with what a step hands to the next in registers."""

from __future__ import annotations

import itertools

import numpy as np
import optree
import pytest

import irdl
from irdl.loops.expressions import Buffer, Load
from irdl.loops.language import For, Kernel, Store
from irdl.loops.walk import expressions, subexpressions, walk
from irdl.testing import check_gradient
from tests.teams import wide_vectors

RNG = np.random.default_rng(0)


def swap(h, x):
    a, b = h
    return (b, a + x), a * b


def second_order(h, x):
    """The last two results, as a filter keeps them."""
    one, two = h
    y = x * 0.25 + one * 0.5 - two * 0.125
    return (y, one), y


def delayed(h, x):
    """Five steps late."""
    return (*h[1:], x), h[0] + x


def rolled(h, x):
    """Neighbours meet: places are read in another order than they are written in."""
    (a,) = h
    a = np.concatenate([a[..., 1:], a[..., :1]], -1) + x
    return (a,), a


def summed(h, x):
    (a,) = h
    a = a * 0.5 + x + a.mean(-1, keepdims=True) * 0.25
    return (a,), a[..., :1]


def kept(h, x):
    """One carry never changes, another is the step's number."""
    a, b, n = h
    return (a, b * 0.5 + a * x, n + 1), (b, n)


def counted(h, x):
    (a,) = h
    return (np.where(x > 0, a + 1, a // 2),), a % 3


def nested(h, x):
    (a,) = h
    a, _ = irdl.scan(lambda c, _: (c * 0.5 + x, None), a, None, length=3)
    return (a,), a


def row(shape, dtype=np.float64):
    return (RNG.standard_normal(shape) * 4).astype(dtype)


CASES = {
    swap: lambda s, d: (row(s, d), row(s, d)),
    second_order: lambda s, d: (row(s, d), row(s, d)),
    delayed: lambda s, d: tuple(row(s, d) for _ in range(5)),
    rolled: lambda s, d: (row(s, d),),
    summed: lambda s, d: (row(s, d),),
    kept: lambda s, d: (row(s, d), row(s, d), 0),
    counted: lambda s, d: (row(s, np.int64),),
    nested: lambda s, d: (row(s, d),),
}


#: dtypes, numbers of steps, and whether they go backwards: all of all with --slow
WAYS = [
    (np.float32, 0, True),
    (np.float64, 1, False),
    (np.float64, 2, True),
    (np.float32, 3, False),
    (np.float32, 40, False),
    (np.float64, 40, True),
]


@pytest.mark.parametrize("step", CASES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (8,), (16,), (20,), (2, 5), (3, 1), (0,), (130,)], ids=str)
def test_same_as_numpy(step, shape, request):
    if not shape and step in (rolled, summed):
        pytest.skip("rows only")
    every = itertools.product((np.float32, np.float64), (0, 1, 2, 3, 40), (False, True))
    for dtype, length, reverse in every if request.config.getoption("--slow") else WAYS:

        def f(h, x, reverse=reverse):
            return irdl.scan(step, h, x, reverse=reverse)

        h, x = CASES[step](shape, dtype), row((length, *shape), dtype)
        results, expected = optree.tree_leaves(irdl.compile(f)(h, x)(h, x)), optree.tree_leaves(f(h, x))
        for a, b in zip(results, expected, strict=True):
            tolerance = {"rtol": 2e-5 if dtype == np.float32 else 1e-12, "atol": 1e-5 if dtype == np.float32 else 1e-12}
            np.testing.assert_allclose(a, b, **(tolerance if step is summed else {"rtol": 0, "atol": 0}))
            assert np.asarray(a).dtype == np.asarray(b).dtype


@pytest.mark.parametrize("step", [swap, second_order, delayed, rolled, summed, nested])
def test_gradients(step):
    def loss(h, x):
        final, ys = irdl.scan(step, h, x)
        return sum((leaf**2).sum() for leaf in optree.tree_leaves((final, ys)))

    check_gradient(loss, CASES[step]((3,), np.float64), row((6, 3)))


def loops(program):
    """The loops over steps of the program, with the buffers that each reads from memory."""
    for statement in walk(program.body):
        if isinstance(statement, For) and statement.stop == 50:
            loads = [i for s in walk(statement.body) for e in expressions(s) for i in subexpressions(e) if isinstance(i, Load)]
            yield statement, {load.buffer for load in loads if load.buffer.space != "register"}


@pytest.mark.parametrize("step", [swap, second_order, delayed, kept])
@pytest.mark.parametrize("shape", [(), (5,), (16,)], ids=str)
def test_carries_stay_in_registers(step, shape):
    """Of the loop's own memory nothing is read back."""
    h, x = CASES[step](shape, np.float32), row((50, *shape), np.float32)
    irdl.set_num_threads(1)
    with wide_vectors():
        program = irdl.compile(lambda h, x: irdl.scan(step, h, x))(h, x).program
    ((loop, read),) = loops(program)
    assert not any(isinstance(statement, Kernel) for statement in walk(loop.body))
    written: set[Buffer] = {s.buffer for s in walk(loop.body) if hasattr(s, "buffer") and hasattr(s, "value")}
    assert not read & written


@pytest.mark.parametrize("units", [3, 8])
def test_few_terms_are_summed_from_registers(units):
    """A sum over what a step has just made, in vectors as narrow as those that it was made in, reads nothing back from memory."""
    u, v = row((units, units), np.float32), row((units,), np.float32)
    irdl.set_num_threads(1)

    def step(carry, x):
        h, y = carry
        h = np.tanh(x + h @ u + y)
        return (h, h @ v), None

    with wide_vectors():
        carry, x = (row((units,), np.float32), np.float32(0)), row((50, units), np.float32)
        program = irdl.compile(lambda carry, x: irdl.scan(step, carry, x))(carry, x).program
    ((loop, read),) = loops(program)
    assert not read & {s.buffer for s in walk(loop.body) if isinstance(s, Store)}
    assert {s.lanes for s in walk(loop.body) if isinstance(s, For)} == {4 if units == 3 else 8}


def test_steps_that_are_not_unrolled_are_one_kernel():
    """A call of each kernel would count, and constants would be made anew."""
    irdl.set_num_threads(1)
    w, h, x = row((24, 24), np.float32), row((1, 24), np.float32), row((50, 1, 24), np.float32)

    def f(h, x):
        return irdl.scan(lambda h, x: (np.tanh((h @ w).max() + h @ w + x), None), h, x)[0]

    with wide_vectors():
        compiled = irdl.compile(f)(h, x)
    ((loop, _),) = loops(compiled.program)
    assert not any(isinstance(statement, Kernel) for statement in walk(loop.body))
    np.testing.assert_allclose(compiled(h, x), f(h, x), rtol=2e-5, atol=1e-5)


def test_long_steps_stay_kernels():
    w = row((64, 64))
    program = irdl.compile(lambda h, x: irdl.scan(lambda h, x: (np.tanh(h @ w + x), None), h, x))(row((8, 64)), row((50, 8, 64))).program
    ((loop, _),) = loops(program)
    assert any(isinstance(statement, Kernel) for statement in loop.body)


def test_results_in_the_place_of_what_was_read():
    """The next step finds other numbers in that buffer than this one has left."""

    def f(h, x):
        return np.cumsum(irdl.scan(lambda h, x: (h * 0.5 + x, x * x + h), h, np.sqrt(x * x + 1) * 2)[1], 0)

    for shape in ((), (5,), (16,)):
        h, x = row(shape), row((50, *shape))
        compiled = irdl.compile(f)(h, x)
        np.testing.assert_allclose(compiled(h, x), f(h, x), rtol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_places_that_the_data_give_are_no_registers(size):
    """A row of a table that each step reads and stores is another in the next step."""

    def f(table, places, x):
        def step(table, item):
            i, x = item
            table = table.copy()
            np.add.at(table, i[None], x[None])
            return table, x.sum()

        return irdl.scan(step, table, (places, x))

    table, places, x = row((4, size)), np.array([0, 3, 3, 1, 0, 2] * 8), row((48, size))
    for a, b in zip(irdl.jit(f)(table, places, x), f(table, places, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-12)  # of sums in another order


def test_a_lane_read_before_the_vector_is_stored():
    """The register of a vector is set before the loop where any of its lanes is read first."""

    def f(x):
        start = x[0].sum(0)

        def body(carry, v):
            s, c = carry
            y = c + s[2]
            s = v.sum(0)
            return (s, (s[0] * 0.5 + s[1]) * 0.5), y

        return irdl.scan(body, (start, start[0] * 0.5), x)

    x = row((4, 3, 3))
    np.testing.assert_allclose(irdl.jit(f)(x)[1], f(x)[1])
