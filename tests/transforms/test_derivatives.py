"""Jacobians, rules for forward mode, loops and trees made of the primitives: against NumPy, finite differences and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree
import pytest

import irdl
from irdl.errors import DifferentiationError

RNG = np.random.default_rng(0)


def array(*shape):
    return RNG.standard_normal(shape)


def same(found, expected, tolerance=1e-6):
    a, b = optree.tree_flatten(found), optree.tree_flatten(expected)
    assert a[1] == b[1]
    for one, other in zip(a[0], b[0], strict=True):
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def differences(f, *arguments, place=0, step=1e-6):
    """The Jacobian by central differences, of one array."""
    x = arguments[place]
    columns = []
    for number in range(x.size):
        moved = []
        for sign in (1, -1):
            shifted = x.copy().reshape(-1)
            shifted[number] += sign * step
            moved.append(f(*arguments[:place], shifted.reshape(x.shape), *arguments[place + 1 :]))
        columns.append((np.asarray(moved[0]) - np.asarray(moved[1])) / (2 * step))
    return np.stack(columns, -1).reshape(*np.shape(columns[0]), *x.shape)


FUNCTIONS = [
    (lambda x, w: np.tanh(x @ w), array(3, 4), array(4, 2)),
    (lambda x, w: (np.sin(x) * w).sum(), array(5), array(5)),
    (lambda x, w: x * w, array(1), array(1)),
    (lambda x, w: irdl.scan(lambda c, r: (np.tanh(c * w + r), c.sum()), x[0], x)[1], array(4, 3), array(3)),
]


@pytest.mark.parametrize("case", range(len(FUNCTIONS)))
@pytest.mark.parametrize("jacobian", [irdl.jacrev, irdl.jacfwd])
def test_jacobians(case, jacobian):
    f, x, w = FUNCTIONS[case]
    for place in (0, 1):
        expected = differences(f, x, w, place=place)
        same(jacobian(f, place)(x, w), expected)
        same(irdl.jit(jacobian(f, place))(x, w), expected)
    both = jacobian(f, (0, "w"))(x, w=w)
    same(both, (differences(f, x, w), differences(f, x, w, place=1)))


def test_jacobians_of_trees():
    def f(p, x):
        return {"y": x @ p["w"] + p["b"], "s": p["b"].sum()}

    p, x = {"w": array(3, 2), "b": array(2)}, array(4, 3)
    for jacobian in (irdl.jacrev, irdl.jacfwd):
        found = jacobian(f)(p, x)
        same(found["y"]["w"], differences(lambda w: f({**p, "w": w}, x)["y"], p["w"]))
        same(found["s"]["b"], np.ones(2))
        same(found["s"]["w"], np.zeros((3, 2)))
        same(irdl.jit(jacobian(f))(p, x), found)
    with pytest.raises(DifferentiationError, match="only floats"):
        irdl.jacrev(lambda i: i * 1.0)(np.arange(3))


@pytest.mark.parametrize("case", [1, 2])
def test_hessians(case):
    f, x, w = FUNCTIONS[case]
    expected = differences(lambda x, w: irdl.jacrev(f)(x, w), x, w)
    same(irdl.hessian(f)(x, w), expected)
    same(irdl.jit(irdl.hessian(f))(x, w), expected)


def test_argnums_by_name():
    def f(x, y, *, scale=1.0):
        return (x * y * y).sum() * scale

    x, y = array(3), array(3)
    same(irdl.grad(f, "y")(x, y, scale=2.0), 4 * x * y)
    same(irdl.grad(f, ("y", "x"))(x, y=y), (2 * x * y, y * y))
    same(irdl.jit(irdl.grad(f, "y"))(x, y), 2 * x * y)
    for wrong in ("z", "scale"):
        with pytest.raises(DifferentiationError, match=f"'{wrong}'"):
            irdl.grad(f, wrong)(x, y)


@irdl.custom_jvp
def log1pexp(x):
    return np.log(1 + np.exp(x))


@log1pexp.defjvp
def _(primals, tangents):
    (x,), (t,) = primals, tangents
    return log1pexp(x), t * (1 - 1 / (1 + np.exp(x)))


@irdl.custom_jvp
def twice(p, n):
    return p["x"] * n


twice.defjvp(lambda primals, tangents: (twice(*primals), 10 * tangents[0]["x"] * primals[1]))


def test_custom_jvp():
    x = np.array([-3.0, 0.0, 100.0])
    expected = 1 / (1 + np.exp(-x))
    for wrap in (lambda f: f, irdl.jit):
        same(wrap(irdl.grad(lambda x: log1pexp(x).sum()))(x), expected)
        same(wrap(lambda x: irdl.jvp(log1pexp, (x,), (np.ones_like(x),))[1])(x), expected)
        same(wrap(irdl.vmap(irdl.grad(log1pexp)))(x), expected)
        same(wrap(irdl.jacfwd(irdl.vmap(log1pexp)))(x), np.diag(expected))
        same(wrap(irdl.vmap(irdl.grad(irdl.grad(log1pexp))))(x), expected * (1 - expected))
        same(
            wrap(lambda x: irdl.scan(lambda c, r: (log1pexp(c) + r, None), x[0], x)[0])(x), log1pexp(log1pexp(log1pexp(-3.0) - 3) + 0) + 100
        )
        p = {"x": array(2, 2)}
        same(wrap(irdl.grad(lambda p: twice(p, 3).sum()))(p), {"x": np.full((2, 2), 30.0)})
        same(wrap(lambda p: irdl.jvp(lambda p: twice(p, 3), (p,), (p,))[1])(p), 30 * p["x"])
    bad = irdl.custom_jvp(lambda x: x)
    bad.defjvp(lambda primals, tangents: tangents[0])
    with pytest.raises(DifferentiationError, match="returns"):
        irdl.grad(lambda x: bad(x).sum())(x)


def test_a_custom_vjp_may_be_called_by_its_rule():
    @irdl.custom_vjp
    def f(x):
        return np.sin(x)

    f.defvjp(lambda x: (f(x), x), lambda x, ct: (3 * np.cos(x) * ct,))
    x = array(3)
    same(irdl.grad(lambda x: f(x).sum())(x), 3 * np.cos(x))
    same(irdl.jit(irdl.grad(lambda x: f(x).sum()))(x), 3 * np.cos(x))


def test_fori_loop():
    def power(x, low, high):
        return irdl.fori_loop(low, high, lambda i, v: v * x + i, np.ones_like(x))

    x = array(3)
    expected = np.ones(3)
    for i in range(2, 7):
        expected = expected * x + i
    same(power(x, 2, 7), expected)
    same(irdl.jit(power, static_argnums=(1, 2))(x, 2, 7), expected)
    same(irdl.jit(power)(x, 2, 7), expected)
    same(irdl.jit(power)(x, 7, 2), np.ones(3))
    same(irdl.jit(power, static_argnums=(1, 2))(x, 7, 2), np.ones(3))
    same(irdl.grad(lambda x: power(x, 0, 3).sum())(x), differences(lambda x: power(x, 0, 3).sum(), x))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 9])
def test_associative_scan(length, reverse):
    x = array(3, length, 2)
    f = lambda x: irdl.associative_scan(np.add, x, reverse=reverse, axis=1)  # noqa: E731
    expected = np.cumsum(x[:, ::-1], 1)[:, ::-1] if reverse else np.cumsum(x, 1)
    same(f(x), expected)
    same(irdl.jit(f)(x), expected)

    def affine(a, b):
        return {"m": b["m"] * a["m"], "c": b["m"] * a["c"] + b["c"]}

    pairs = {"m": array(length, 2), "c": array(length, 2)}
    found = irdl.jit(lambda p: irdl.associative_scan(affine, p, reverse=reverse))(pairs)
    state, states = np.zeros(2), []
    for place in reversed(range(length)) if reverse else range(length):
        state = pairs["m"][place] * state + pairs["c"][place]
        states.append(state)
    same(found["c"], np.array(states[::-1] if reverse else states).reshape(length, 2))
    with pytest.raises(ValueError, match="no axis 3"):
        irdl.associative_scan(np.add, x, axis=3)


def test_eval_shape():
    def f(p, n):
        return {"y": p["w"].astype(np.float32) @ p["w"], "n": n + 1, "s": p["w"].sum()}

    found = irdl.eval_shape(f, {"w": np.zeros((3, 3))}, 2)
    assert found == {
        "y": irdl.ShapeDtype((3, 3), np.dtype("f8")),
        "n": irdl.ShapeDtype((), np.dtype("i8")),
        "s": irdl.ShapeDtype((), np.dtype("f8")),
    }
    huge = irdl.ShapeDtype((200_000, 200_000), np.dtype("f4"))
    assert irdl.eval_shape(lambda x: x @ x, huge) == huge


def test_vmap_over_trees_and_keywords():
    def f(p, x, *, scale):
        return (x @ p["w"] + p["b"]) * scale

    w, b, x, scale = array(5, 3, 2), array(2), array(3, 5), array(5)
    expected = np.stack([f({"w": w[i], "b": b}, x[:, i], scale=scale[i]) for i in range(5)])
    g = irdl.vmap(f, in_axes=({"b": None, "w": 0}, 1))
    same(g({"w": w, "b": b}, x, scale=scale), expected)
    same(irdl.jit(g)({"w": w, "b": b}, x, scale=scale), expected)
    pairs = irdl.vmap(lambda p: p[0] + p[1][0] * p[1][1], in_axes=([0, (None, 0)],))
    same(pairs([scale, (2.0, scale)]), scale * 3)
    for wrong in (({"w": 0}, 1), ([0], 1), ("w", 1)):
        with pytest.raises(ValueError, match="in_axes"):
            irdl.vmap(f, in_axes=wrong)({"w": w, "b": b}, x, scale=scale)


class Point:
    def __init__(self, x, y, name):
        self.x, self.y, self.name = x, y, name


irdl.tree.register_class(Point, lambda p: ((p.x, p.y), p.name), lambda name, parts: Point(*parts, name))


def test_trees():
    p = Point(array(3), {"a": array(2), "b": [1.0]}, "p")
    assert len(irdl.tree.leaves(p)) == 3
    f = irdl.jit(lambda p: Point(p.x * 2, p.y["a"] + p.y["b"][0], p.name + "!"))
    found = f(p)
    assert type(found) is Point and found.name == "p!"
    same((found.x, found.y), (p.x * 2, p.y["a"] + 1))
    gradient = irdl.grad(lambda p: (p.x**2).sum() + p.y["a"].sum())(p)
    same((gradient.x, gradient.y["a"]), (2 * p.x, np.ones(2)))
    tree: dict[str, Any] = {"a": [1, 2], "b": (3,)}
    assert irdl.tree.map(lambda a, b: a + b, tree, tree) == {"a": [2, 4], "b": (6,)}
    assert irdl.tree.reduce(lambda a, b: a + b, tree) == 6
    leaves, structure = irdl.tree.flatten(tree)
    assert irdl.tree.unflatten(structure, leaves) == tree and irdl.tree.structure(tree) == structure
    with pytest.raises(ValueError, match="differ in structure"):
        irdl.tree.map(lambda a, b: a, tree, [1])
