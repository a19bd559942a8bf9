"""Graphs: building, structure, text, verification, export; the interpreter's limits."""

from __future__ import annotations

import time

import networkx
import numpy as np
import pytest

import irdl
from irdl.errors import GraphError, ParseError
from irdl.ir.builder import Builder, make_node, rewrite
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.op import find_op
from irdl.ir.printer import print_graph, sidecar
from irdl.ir.types import TensorType
from irdl.ir.verify import verify
from irdl.ops.contract import DotAttributes
from irdl.passes.simplify import simplify
from irdl.transforms.reverse import vjp_graph
from tests.models import lstm_data, lstm_loss

F = TensorType(np.dtype("float32"), (3,))


def test_builder_shares_and_folds() -> None:
    builder = Builder()
    x = Value(F)
    assert builder.value("exp", [x]) is builder.value("exp", [x])
    total = builder.value("add", [builder.constant(2.0, np.float32), builder.constant(3.0, np.float32)])
    assert total.node is not None and total.node.attributes.value == 5.0


def test_rewriting_keeps_what_it_does_not_change() -> None:
    """The graph itself comes back unless an op, an operand, an attribute, a region or the sharing of nodes has become another."""

    def branch(x: np.ndarray) -> np.ndarray:
        return irdl.cond(x.sum() > 0, lambda v: np.sin(v), lambda v: np.cos(v), x)

    def swapped(builder: Builder, node: Node, operands: list[Value]) -> tuple[Value, ...] | None:
        return builder.node(node.op, operands[::-1]).outputs if node.op.name == "sub" else None

    def cosines(builder: Builder, node: Node, operands: list[Value]) -> tuple[Value, ...] | None:
        return builder.node("cos", operands).outputs if node.op.name == "sin" else None

    x = np.linspace(1, 2, 3)
    inputs = [Value(TensorType(np.dtype(np.float64), (3,)), name=name) for name in "xy"]
    difference = Graph(inputs, make_node(find_op("sub"), inputs).outputs)
    twice = [make_node(find_op("sin"), inputs[:1]).outputs[0] for _ in range(2)]
    assert rewrite(difference, lambda *_: None) is difference
    assert rewrite(difference, swapped) == Graph(inputs, make_node(find_op("sub"), inputs[::-1]).outputs)
    assert len(rewrite(Graph(inputs, twice), lambda *_: None).nodes) == 1
    assert rewrite(difference, lambda *_: None, name="other").name == "other"
    inside = irdl.trace(branch)(x)
    assert rewrite(inside, lambda *_: None) is inside
    changed = rewrite(inside, cosines)
    np.testing.assert_array_equal(evaluate(changed, [x])[0], np.cos(x))
    simple = simplify(changed)
    assert simplify(simple) is simple


def test_equality_ignores_names_and_order_of_creation() -> None:
    def graph(name: str, swapped: bool) -> Graph:
        x = Value(F, name=name)
        builder = Builder()
        parts = [builder.value(op, [x]) for op in (("tanh", "exp") if swapped else ("exp", "tanh"))]
        a, b = reversed(parts) if swapped else parts
        return Graph([x], [builder.value("add", [a, b])], name)

    assert graph("a", False) == graph("b", True) and hash(graph("a", False)) == hash(graph("b", True))
    assert graph("a", False) != Graph([x := Value(F)], [x])


def test_special_constants_survive_the_text() -> None:
    builder = Builder()
    numbers = [np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-45, 0.1, 3.4028235e38]
    value = builder.constant(np.array(numbers, np.float32))
    graph = Graph([], [value, builder.constant(np.arange(100)), builder.constant(np.zeros((2, 0)))])
    text = print_graph(graph)
    parsed = irdl.parse(text, sidecar(graph))
    assert parsed == graph
    assert evaluate(parsed, [])[0].tobytes() == np.array(numbers, np.float32).tobytes()
    with pytest.raises(ParseError, match="constants"):
        irdl.parse(text)


def test_a_whole_training_graph_round_trips() -> None:
    graph = irdl.trace(irdl.value_and_grad(lstm_loss))(*lstm_data(4, 3, 5, 6))
    verify(graph)
    assert irdl.parse(print_graph(graph), sidecar(graph)) == graph


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph f(x: f32[3]) -> (f32[3]) {\n  %0: f32[3] = nothing(x)\n  return %0\n}", "line 2: there is no op"),
        ("graph f(x: f32[3]) -> (f32[4]) {\n  return x\n}", "other types"),
        ("graph f(x: f32[3]) -> (f32[3]) {\n  %0: f32[4] = exp(x)\n  return %0\n}", "exp gives"),
        ("graph f(x: f32[3]) -> (f32[3]) {\n  return y\n}", "line 2: 'y' is not a value"),
        ("graph f(x: f32[3]) -> (f32[3]) {\n  %0: f32[3] = exp(x) axis=1\n  return %0\n}", "unknown attribute"),
        ("graph f(x: f32[3] -> (f32[3]) {\n  return x\n}", "expected"),
        ("graph f(x: f32[3]) -> (f32[3]) {\n  return x ? \n}", "cannot read"),
        ("graph f(x: f32[3]) -> (i8[]) {\n  %0: i8[] = constant 300\n  return %0\n}", "not a number of dtype int8"),
    ],
)
def test_parse_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        irdl.parse(text)


def test_verifier_rejects_what_is_wrong() -> None:
    x, stranger = Value(F), Value(F)
    exp, add = find_op("exp"), find_op("add")
    assert exp is not None and add is not None
    with pytest.raises(GraphError, match="neither takes nor computes"):
        verify(Graph([x], make_node(add, [x, stranger]).outputs))
    wrong = Node(exp, [x], exp.Attributes(), (), [TensorType(np.dtype("float32"), (4,))])
    with pytest.raises(GraphError, match="but the graph says"):
        verify(Graph([x], wrong.outputs))
    with pytest.raises(GraphError, match="neither an input"):
        verify(Graph([x], [stranger]))
    with pytest.raises(GraphError, match="one dtype"):
        make_node(add, [x, Value(TensorType(np.dtype("float64"), (3,)))])
    dot = find_op("dot")
    assert dot is not None
    with pytest.raises(GraphError, match="sum it first"):
        make_node(dot, [Value(F), Value(F)], DotAttributes("i,j->j"))


def test_networkx_export() -> None:
    graph = irdl.trace(lambda x, y: np.tanh(x @ y) + x)(np.ones((3, 3)), np.ones((3, 3)))
    exported = graph.to_networkx()
    assert networkx.is_directed_acyclic_graph(exported)
    assert [d["op"] for _, d in exported.nodes(data=True)] == ["input", "input", "dot", "tanh", "add", "output"]


def test_deep_graphs_are_linear() -> None:
    def deep(x: np.ndarray) -> np.ndarray:
        for _ in range(5000):
            x = np.sin(x) * 1.01
        return x.sum()

    x = np.linspace(0, 1, 4)
    forward = irdl.trace(deep, roll=False)(x)
    assert len(forward.nodes) > 10000
    start = time.process_time()
    assert len(vjp_graph(forward, [0]).nodes) > 20000
    assert time.process_time() - start < 10  # 0.7 s where nothing else runs
    start = time.process_time()
    graph = irdl.trace(irdl.grad(deep), roll=False)(x)
    assert hash(graph) == hash(irdl.trace(irdl.grad(deep), roll=False)(x))
    verify(graph)
    print_graph(graph)
    assert time.process_time() - start < 30


def test_uniform_constants_of_any_size_are_in_the_text() -> None:
    for fill in (np.float32(-0.0), np.float64(0.1), np.int8(-3), np.bool_(True), np.float32(np.inf)):
        table = np.full((40, 50), fill)
        builder = Builder(fold=False)
        graph = Graph([], [builder.constant(table)])
        assert irdl.parse(str(graph)) == graph and "full" in str(graph)
    mixed = np.zeros((40, 50))
    mixed[3, 4] = -0.0
    assert "@0" in str(Graph([], [Builder(fold=False).constant(mixed)]))


def test_what_things_say_they_are() -> None:
    def f(x, *, scale=2):
        return np.tanh(x) * scale

    jitted, compiled = irdl.jit(f), irdl.compile(f)(np.ones(3))
    jitted(np.ones(3))
    assert repr(jitted) == "<jit f(x, *, scale=2), compiled for 1 signatures>"
    assert repr(compiled) == "<compiled f(f64[3]) -> (f64[3]), an arena of 0 bytes>"
    assert repr(compiled.graph) == "<graph f(f64[3]) -> (f64[3]), 3 nodes>"
    assert repr(compiled.program) == "<program f, 1 inputs, 1 outputs, an arena of 0 bytes>"
    assert repr(irdl.jit(np.tanh)).startswith("<jit tanh(")
