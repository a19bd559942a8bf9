"""What the tests of rolling share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optree
import pytest

import irdl
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.verify import verify
from irdl.ops.branches import opened_within
from irdl.ops.control import WHILE
from irdl.tracing.function import trace_function
from irdl.tracing.rolling import cost, family
from irdl.tracing.rolling.record import Mark
from irdl.tracing.rolling.roll import roll
from tests.programs import draw_inputs

from . import prove


def scans(graph: Graph) -> int:
    """How many scans rolling made."""
    return sum(node.op.name == "scan" and node.regions[0].name == "rolled" for node in graph.all_nodes())


@contextmanager
def limits(nodes: int = 1, elementwise_nodes: int = 1, distance: int = family.MAX_DISTANCE) -> Iterator[None]:
    """Roll whatever can be rolled, whether or not it pays; carries from at most `distance` steps before."""
    before = cost.LIMITS.nodes, cost.LIMITS.elementwise_nodes, family.MAX_DISTANCE
    cost.LIMITS.nodes, cost.LIMITS.elementwise_nodes, family.MAX_DISTANCE = nodes, elementwise_nodes, distance
    try:
        yield
    finally:
        cost.LIMITS.nodes, cost.LIMITS.elementwise_nodes, family.MAX_DISTANCE = before


def proved_roll(nodes: Sequence[Node], marks: Sequence[Mark], outputs: Sequence[Value], marked: bool) -> tuple[list[Value], list[str]]:
    """`roll`, with marks and without, each proved to leave the computation what it is, once all conds in it are opened."""
    inputs = list(dict.fromkeys(v for node in nodes for v in node.operands if v.node is None))
    inputs += [value for value in dict.fromkeys(outputs) if value.node is None and value not in inputs]
    plain = opened_within(Graph(inputs, outputs))
    if any(node.op.name == "cond" for node in plain.nodes):
        agree(plain, Graph(inputs, outputs))
    found = {}
    for given in (marks, ()):
        found[bool(given)] = roll(nodes, given, outputs)
        rolled = Graph(inputs, found[bool(given)][0])
        verify(rolled)
        assert prove.is_same(plain, opened_within(rolled)), f"{plain}\n{rolled}"
    return found[marked and bool(marks)]


def agree(first: Graph, second: Graph) -> None:
    """Two graphs give the same of random arguments."""
    if first.has((WHILE,)):  # it may not end with any
        return
    arguments = draw_inputs(first, np.random.default_rng(0))
    arguments = [np.abs(x) % 4 if x.dtype.kind == "i" else x for x in arguments]
    with np.errstate(all="ignore"):
        for a, b in zip(evaluate(first, arguments), evaluate(second, arguments), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def rolled(f: Callable[..., Any], *arguments: Any, marked: bool = True) -> Graph:
    """The rolled graph of a call, proved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IRDL_VERIFY", "1")  # an error in rolling is raised
        patch.setattr("irdl.tracing.recorder.roll", lambda nodes, marks, outputs: proved_roll(nodes, marks, outputs, marked))
        return trace_function(f, copy.deepcopy(arguments), {}).graph


def runs(f: Callable[..., Any], *arguments: Any) -> None:
    """Compiled, it gives what NumPy gives, and leaves its arguments as NumPy does."""
    given, others = copy.deepcopy(arguments), copy.deepcopy(arguments)
    with np.errstate(all="ignore"):
        expected = optree.tree_leaves((f(*given), given))
    got = optree.tree_leaves((irdl.jit(f)(*others), others))
    assert len(expected) == len(got)
    for a, b in zip(expected, got, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9)
