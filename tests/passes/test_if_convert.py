"""Conds of cheap sides become straight code: which do, that results stay the same to the bit, and that what is not chosen does no harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import IrdlError

SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5, -2.5, 5e-324, -1e308])


def conds(f: Callable[..., Any], *arguments: Any) -> int:
    """How many are left of a compiled function."""
    stages = dict(irdl.compile(f)(*arguments).stages)
    return sum(node.op.name == "cond" for node in stages["if-convert"].all_nodes())


def cheap(p: Any, x: Any) -> Any:
    return irdl.cond(p, lambda x: (x * x, x, -x), lambda x: (x + 1, -x, -x), x)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32", "int8", "uint8", "bool", "complex64"])
def test_results_are_the_same_to_the_bit(dtype: str) -> None:
    function: Callable[..., Any] = cheap
    if dtype == "bool":
        function = lambda p, x: irdl.cond(p, lambda x: (~x, x), lambda x: (x, ~x), x)  # noqa: E731
    for shape in ((), (1,), (9,), (3, 3), (0,)):
        with np.errstate(all="ignore"):
            x = np.resize(SPECIAL, shape).astype(dtype)
            if x.dtype.kind in "iub":
                x = np.resize(np.arange(-4, 5), shape).astype(dtype)
        assert conds(function, True, x) == 0
        plain, kept = irdl.jit(function), irdl.jit(function, disable_passes=["if-convert"])
        for p in (True, False):
            with np.errstate(all="ignore"):
                expected = function(p, x)
            for a, b, c in zip(plain(p, x), kept(p, x), expected, strict=True):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
                np.testing.assert_array_equal(a, c)
                assert (np.signbit(np.real(a)) == np.signbit(np.real(c)))[~np.isnan(c)].all() if x.dtype.kind in "fc" else True


def test_the_side_not_taken_has_no_part_in_gradients() -> None:
    def root(x: Any) -> Any:
        return irdl.cond(x > 0, lambda x: np.sqrt(x), lambda x: 0 * x, x)

    derivative = irdl.jit(irdl.grad(root))
    assert derivative(0.0) == 0 and derivative(-4.0) == 0 and derivative(4.0) == 0.25

    def summed(xs: Any) -> Any:
        return irdl.scan(lambda total, x: (total + irdl.cond(x > 0, lambda x: np.log(x), lambda x: 0.0, x), None), 0.0, xs)[0]

    np.testing.assert_array_equal(irdl.jit(irdl.grad(summed))(np.array([2.0, 0.0, -1.0])), [0.5, 0.0, 0.0])


def test_what_may_fail_is_not_computed_in_vain() -> None:
    def picked(x: Any, i: Any) -> Any:
        return irdl.cond(i < len(x), lambda: x[i], lambda: -1.0)

    compiled = irdl.jit(picked)
    x = np.arange(3.0)
    assert compiled(x, 2) == 2 and compiled(x, 3) == -1 and conds(picked, x, 2) == 1

    def stored(x: Any, i: Any) -> Any:
        def side() -> Any:
            y = x.copy()
            y[i] = 7
            return y

        return irdl.cond(i < len(x), side, lambda: x)

    compiled = irdl.jit(stored)
    np.testing.assert_array_equal(compiled(x, 1), [0, 7, 2])
    np.testing.assert_array_equal(compiled(x, 9), x)
    np.testing.assert_array_equal(compiled(x, -1), [0, 1, 7])
    with pytest.raises(IndexError, match="index -4 is out of bounds"):
        compiled(x, -4)

    def solved(a: Any, b: Any) -> Any:
        return irdl.cond(a[0, 0] > 0, lambda: np.linalg.solve(a, b), lambda: b)

    compiled = irdl.jit(solved)
    np.testing.assert_array_equal(compiled(np.zeros((2, 2)), np.ones(2)), np.ones(2))
    with pytest.raises((np.linalg.LinAlgError, IrdlError)):
        compiled(np.ones((2, 2)), np.ones(2))


def test_stores_of_one_side_are_done_in_place() -> None:
    """The array is no result of the branch, so that a step does not copy it."""

    def delayed(x: Any, n: int) -> Any:
        def step(carry: Any, v: Any) -> Any:
            line, i = carry

            def side(line: Any) -> Any:
                line = line.copy()
                line[i] = v
                return line

            line = irdl.cond(v > 0, side, lambda line: line, line)
            i = (i + 1) % n
            return (line, i), line[i]

        return irdl.scan(step, (np.zeros(n), np.int64(0)), x)

    x = np.random.default_rng(0).standard_normal(50)
    for n in (1, 7):
        function = lambda x, n=n: delayed(x, n)  # noqa: E731
        assert conds(function, x) == 0
        for a, b in zip(irdl.jit(function)(x)[0], function(x)[0], strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(irdl.jit(function)(x)[1], function(x)[1])


def test_costly_sides_stay_a_branch() -> None:
    x, w = np.ones(256), np.ones((256, 256))
    product = lambda p, x, w: irdl.cond(p, lambda: x @ w, lambda: x)  # noqa: E731
    assert conds(product, True, x, w) == 1
    assert conds(lambda p, x: irdl.cond(p, lambda: np.tanh(x), lambda: x), True, x) == 1
    assert conds(lambda p, x: irdl.cond(p, lambda: irdl.while_loop(lambda v: v < 9, lambda v: v + 1, x), lambda: x), True, 1.0) == 1
    # The outer one holds a branch.
    both = lambda p, q, x, w: irdl.cond(p, lambda: irdl.cond(q, lambda: x @ w, lambda: x), lambda: x)  # noqa: E731
    assert conds(both, True, True, x, w) == 2
    # A clip of a gradient's norm is one pass over its numbers.
    clip = lambda g: irdl.cond((g * g).sum() > 1, lambda: g / np.sqrt((g * g).sum()), lambda: g)  # noqa: E731
    assert conds(lambda g, m: irdl.cond((g * g).sum() > m, lambda: g * m, lambda: g), x, 2.0) == 0
    np.testing.assert_allclose(irdl.jit(clip)(x), clip(x))
