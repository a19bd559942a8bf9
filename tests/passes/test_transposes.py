"""Transposes move past what lies between them and what takes them up, and stay where nothing does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.ir.evaluate import evaluate
from irdl.ops.shape import TRANSPOSE
from irdl.passes.simplify import simplify

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
W = np.linspace(-1, 1, 9).reshape(3, 3)


def there(x: Any) -> Any:
    return x.transpose(3, 2, 0, 1)


def back(x: Any) -> Any:
    return x.transpose(2, 3, 1, 0)


#: name -> (function, how many transposes are left)
PROGRAMS: dict[str, tuple[Callable[..., Any], int]] = {
    "elementwise": (lambda x, w: back(np.exp(there(x)) + there(x)), 0),
    "where": (lambda x, w: back(np.where(there(x) > 0, there(x), 0.5)), 0),
    "a row": (lambda x, w: back(there(x) * w[0] + 1), 0),
    "a square": (lambda x, w: back(there(x) * w[:2]), 2),
    "pad": (lambda x, w: back(np.pad(there(x), ((0, 1), (2, 0), (0, 0), (1, 3)), constant_values=2.0)), 0),
    "slice": (lambda x, w: back(there(x)[1:, ::2, :1, 1:]), 0),
    "reverse": (lambda x, w: back(there(x)[::-1, :, ::-1]), 0),
    "sum": (lambda x, w: there(x).sum((0, 1, 2)), 0),
    "sum that leaves three axes": (lambda x, w: there(x).max(1), 1),
    "sum that leaves axes to a contraction": (lambda x, w: there(x).sum((0, 1)) @ w, 0),
    "contraction": (lambda x, w: np.tanh(there(x)) @ w, 0),
    "what is read twice": (lambda x, w: (np.exp(there(x)) @ w, np.exp(there(x))), 1),
    "result": (lambda x, w: np.exp(there(x)), 1),
    "two orders": (lambda x, w: back(there(x)[:3, :3] + x.transpose(2, 3, 0, 1)[:3, :3]), 3),
    "scan": (lambda x, w: irdl.scan(lambda c, row: (c + back(np.exp(there(row))).sum(), c), 0.0, np.stack([x, x]))[1], 0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    f, left = PROGRAMS[name]
    before = irdl.trace(f)(X, W)
    after = simplify(before)
    assert _count(after) == left, str(after)
    for found, expected in zip(evaluate(after, [X, W]), evaluate(before, [X, W]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def _count(graph: irdl.Graph) -> int:
    return sum((node.op is TRANSPOSE) + sum(map(_count, node.regions)) for node in graph.nodes)
