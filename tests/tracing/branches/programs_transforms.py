"""Branches in functions that are scanned, differentiated, batched and looped over by irdl; what NumPy would do stands beside them."""

from __future__ import annotations

import numpy as np

import irdl
from tests.tracing.branches.corpus import program


def step(carry, x):
    if x > 0:
        carry = carry + x
    else:
        carry = carry * 0.5
    return carry, carry * x


def stepped(xs, carry):
    ys = []
    for x in xs:
        carry, y = step(carry, x)
        ys.append(y)
    return carry, np.array(ys)


@program((np.array([1.0, -1.0, 2.0, -2.0]), 0.0), (np.array([-1.0, -1.0, -2.0, -2.0]), 1.0), gradient=(0, 1), reference=stepped)
def in_a_scan(xs, start):
    return irdl.scan(step, start, xs)


def bent(x):
    if x.sum() > 0:
        return (x**2).sum()
    return np.exp(x).sum()


@program(
    (np.array([1.0, -1.0, 2.0]),),
    (np.array([-1.0, -2.0, -0.5]),),
    reference=lambda x: (bent(x), 2 * x if x.sum() > 0 else np.exp(x)),
)
def in_a_gradient(x):
    return irdl.value_and_grad(bent)(x)


@program((np.array([1.0, 2.0]),), (np.array([-1.0, -2.0]),), reference=lambda x: np.diag(2 * np.ones(2) if x.sum() > 0 else np.exp(x)))
def in_a_hessian(x):
    return irdl.hessian(bent)(x) if x[0] != 0 else irdl.hessian(bent)(-x)


def three_ways(v):
    if v > 0.5:
        return v * v
    elif v < -0.8:
        return v + 1
    return 2 * v


@program(
    (np.array([1.0, -1.0, 2.0]),),
    (np.array([-1.0, 0.2, -0.5]),),
    gradient=(0,),
    reference=lambda x: np.array([three_ways(v) for v in x]),
)
def in_a_vmap(x):
    return irdl.vmap(three_ways)(x)


def halvings(v):
    n = 0
    while v > 1:
        v = v / 2
        n += 1
    return n


@program((np.array([5.0, 0.1]),), (np.array([0.3, 40.0]),), reference=lambda x: np.array([halvings(v) for v in x]))
def loop_in_a_vmap(x):
    return irdl.vmap(halvings)(x)


def wrapped(i, v):
    if v > 5:
        return v - 5
    return v + i


def wrapped_ten_times(x):
    for i in range(10):
        x = wrapped(i, x)
    return x


@program((1.0,), (-1.0,), reference=wrapped_ten_times)
def in_a_fori_loop(x):
    return irdl.fori_loop(0, 10, wrapped, x)


def until_above(limit, x):
    while x < limit:
        x = x + 1 if x < 0 else x * 2 + 1
    return x


@program((10.0, 1.0), (3.0, -2.0), (-5.0, -2.0), reference=until_above)
def in_a_while_loop(limit, x):
    return irdl.while_loop(lambda v: v < limit, lambda v: v + 1 if v < 0 else v * 2 + 1, x)


def sides_of_sides(x, y):
    if x > 0:
        return y * 2 if y > 0 else -y
    return y


@program((1.0, 2.0), (1.0, -2.0), (-1.0, 3.0), reference=sides_of_sides)
def in_a_cond(x, y):
    return irdl.cond(x > 0, lambda y: y * 2 if y > 0 else -y, lambda y: y, y)


@program((np.array([0.6, -1.0]),), (np.array([-0.5, 4.0]),), gradient=(0,), reference=lambda x: sum(three_ways(v) ** 2 for v in x))
def checkpointed(x):
    f = irdl.checkpoint(three_ways)
    return sum(f(v) ** 2 for v in x)


@program(
    (np.array([1.0, -2.0, 0.1]), np.ones(3)),
    (np.array([-1.0, -2.0, 0.1]), np.zeros(3)),
    reference=lambda x, v: (
        np.array([three_ways(a) for a in x]),
        np.array([2 * a if a > 0.5 else 1 if a < -0.8 else 2 for a in x], v.dtype) * v,
    ),
)
def forward_mode(x, v):
    return irdl.jvp(lambda x: np.array([three_ways(a) for a in x]), (x,), (v,))


@program((np.array([[1.0, -2.0], [-0.3, 0.2]]),), (np.zeros((2, 2)),), reference=lambda x: np.array([sorted_pair(row) for row in x]))
def pairs_in_a_vmap(x):
    return irdl.vmap(sorted_pair)(x)


def sorted_pair(pair):
    """Stores into a copy, on one side only."""
    pair = pair.copy()
    if pair[0] > pair[1]:
        pair[0], pair[1] = pair[1], pair[0]
    return pair
