"""One small before -> after for every rule of `irdl.ops.rules`, and for the passes that work on slices and loops."""

from __future__ import annotations

import numpy as np
import pytest

import irdl
from irdl.ir.evaluate import evaluate
from irdl.ops.prune import prune
from irdl.ops.rules import apply_rules
from irdl.passes.simplify import simplify
from tests.programs import draw_inputs


def graph(body: str, inputs: str = "x: i32[3]", outputs: str = "i32[3]") -> irdl.Graph:
    return irdl.parse(f"graph g({inputs}) -> ({outputs}) {{\n{body}\n}}")


F = ("x: f32[3]", "f32[3]")
M = ("x: f32[2,3]", "f32[3,2]")
C = ("p: bool[], x: f32[3], y: f32[3]", "f32[3]")

RULES = {
    "x * 1": ("%0: i32[] = constant 1 %1: i32[3] = mul(x, %0) return %1", "return x", ()),
    "1 * x": ("%0: i32[3] = constant full 1 %1: i32[3] = mul(%0, x) return %1", "return x", ()),
    "x + 0": ("%0: i32[] = constant 0 %1: i32[3] = add(x, %0) return %1", "return x", ()),
    "x + 1 stays": (
        "%0: i32[] = constant 1 %1: i32[3] = add(x, %0) return %1",
        "%0: i32[] = constant 1 %1: i32[3] = add(x, %0) return %1",
        (),
    ),
    "float x + 0 stays, for -0.0": (
        "%0: f32[] = constant 0.0 %1: f32[3] = add(x, %0) return %1",
        "%0: f32[] = constant 0.0 %1: f32[3] = add(x, %0) return %1",
        F,
    ),
    "x - 0": ("%0: f32[] = constant 0.0 %1: f32[3] = sub(x, %0) return %1", "return x", F),
    "x - zeros of both signs stays": (
        "%0: f32[3] = constant [0.0, -0.0, 0.0] %1: f32[3] = sub(x, %0) return %1",
        "%0: f32[3] = constant [0.0, -0.0, 0.0] %1: f32[3] = sub(x, %0) return %1",
        F,
    ),
    "x / 1": ("%0: f32[] = constant 1.0 %1: f32[3] = div(x, %0) return %1", "return x", F),
    "-(-x)": ("%0: i32[3] = neg(x) %1: i32[3] = neg(%0) return %1", "return x", ()),
    "1 / (1 + exp(-x))": (
        "%0: f32[3] = neg(x) %1: f32[3] = exp(%0) %2: f32[] = constant 1.0 %3: f32[3] = add(%2, %1) %4: f32[3] = div(%2, %3) return %4",
        "%0: f32[3] = sigmoid(x) return %0",
        F,
    ),
    "select of equals": (
        "%0: bool[3] = equal(x, x) %1: i32[3] = select(%0, x, x) return %1",
        "return x",
        (),
    ),
    "cond of a known predicate": (
        "%0: bool[] = constant False %1: f32[3] = cond(%0, x, y) { (a: f32[3], b: f32[3]) { %2: f32[3] = sin(a) return %2 } "
        "(a: f32[3], b: f32[3]) { %3: f32[3] = cos(b) return %3 } } return %1",
        "%0: f32[3] = cos(y) return %0",
        C,
    ),
    "cond of a negation": (
        "%0: bool[] = invert(p) %1: f32[3] = cond(%0, x, y) { (a: f32[3], b: f32[3]) { %2: f32[3] = sin(a) return %2 } "
        "(a: f32[3], b: f32[3]) { %3: f32[3] = cos(b) return %3 } } return %1",
        "%1: f32[3] = cond(p, x, y) { (a: f32[3], b: f32[3]) { %2: f32[3] = cos(b) return %2 } "
        "(a: f32[3], b: f32[3]) { %3: f32[3] = sin(a) return %3 } } return %1",
        C,
    ),
    "cond of what is known, and known twice": (
        "%0: f32[] = constant 2.0 %1: f32[3] = cond(p, x, %0, x) { (a: f32[3], b: f32[], c: f32[3]) { %2: f32[3] = mul(c, b) "
        "return %2 } (a: f32[3], b: f32[], c: f32[3]) { %3: f32[3] = cos(a) return %3 } } return %1",
        "%0: f32[3] = cond(p, x) { (a: f32[3]) { %1: f32[] = constant 2.0 %2: f32[3] = mul(a, %1) return %2 } "
        "(a: f32[3]) { %3: f32[3] = cos(a) return %3 } } return %0",
        C,
    ),
    "cond on a predicate asked again inside": (
        "%0: f32[3] = cond(p, x, p) { (a: f32[3], q: bool[]) { %1: f32[3] = cond(q, a) { (b: f32[3]) { %2: f32[3] = sin(b) return %2 } "
        "(b: f32[3]) { %3: f32[3] = exp(b) return %3 } } return %1 } (a: f32[3], q: bool[]) { %4: f32[3] = cond(q, a) { (b: f32[3]) { %5: f32[3] = exp(b) return %5 } "
        "(b: f32[3]) { %6: f32[3] = cos(b) return %6 } } return %4 } } return %0",
        "%0: f32[3] = cond(p, x) { (a: f32[3]) { %1: f32[3] = sin(a) return %1 } (a: f32[3]) { %2: f32[3] = cos(a) return %2 } } return %0",
        C,
    ),
    "cond that stores on one side": (
        "%0: f32[3] = cond(p, x, y) { (a: f32[3], b: f32[3]) { %1: f32[1] = slice(b) start=(0,) limit=(1,) stride=(1,) "
        "%2: f32[1] = sin(%1) %3: f32[3] = update_slice(a, %2) start=(2,) stride=(1,) return %3 } "
        "(a: f32[3], b: f32[3]) { return a } } return %0",
        "%0: f32[1] = cond(p, x, y) { (a: f32[3], b: f32[3]) { %1: f32[1] = slice(b) start=(0,) limit=(1,) stride=(1,) "
        "%2: f32[1] = sin(%1) return %2 } (a: f32[3], b: f32[3]) { %3: f32[1] = slice(a) start=(2,) limit=(3,) stride=(1,) return %3 } } "
        "%4: f32[3] = update_slice(x, %0) start=(2,) stride=(1,) return %4",
        C,
    ),
    "cond that stores on one side, at a place known at run time": (
        "%0: f32[3] = cond(p, x, i, y) { (a: f32[3], i: i64[1], b: f32[1]) { %1: f32[] = reshape(b) shape=() "
        "%2: f32[3] = scatter_set(a, i, %1) axes=(0,) return %2 } (a: f32[3], i: i64[1], b: f32[1]) { return a } } return %0",
        "%0: i64[1], %1: f32[] = cond(p, x, i, y) { (a: f32[3], i: i64[1], b: f32[1]) { %2: f32[] = reshape(b) shape=() return i, %2 } "
        "(a: f32[3], i: i64[1], b: f32[1]) { %3: i64[1] = constant [0] %4: f32[1] = slice(a) start=(0,) limit=(1,) stride=(1,) "
        "%5: f32[] = reshape(%4) shape=() return %3, %5 } } %6: f32[3] = scatter_set(x, %0, %1) axes=(0,) return %6",
        ("p: bool[], x: f32[3], i: i64[1], y: f32[1]", "f32[3]"),
    ),
    "cond that hands on": (
        "%0: f32[3], %1: f32[3] = cond(p, x, y) { (a: f32[3], b: f32[3]) { %2: f32[3] = sin(a) return %2, b } "
        "(a: f32[3], b: f32[3]) { %3: f32[3] = cos(a) return %3, b } } %4: f32[3] = add(%0, %1) return %4",
        "%0: f32[3] = cond(p, x, y) { (a: f32[3], b: f32[3]) { %2: f32[3] = sin(a) return %2 } "
        "(a: f32[3], b: f32[3]) { %3: f32[3] = cos(a) return %3 } } %4: f32[3] = add(%0, y) return %4",
        C,
    ),
    "cond of equal results": (
        "%0: f32[3], %1: f32[3] = cond(p, x, y) { (a: f32[3], b: f32[3]) { %2: f32[3] = sin(a) %3: f32[3] = exp(b) return %2, %3 } "
        "(a: f32[3], b: f32[3]) { %4: f32[3] = cos(a) %5: f32[3] = exp(b) return %4, %5 } } %6: f32[3] = add(%0, %1) return %6",
        "%0: f32[3] = cond(p, x, y) { (a: f32[3], b: f32[3]) { %2: f32[3] = sin(a) return %2 } "
        "(a: f32[3], b: f32[3]) { %4: f32[3] = cos(a) return %4 } } %1: f32[3] = exp(y) %6: f32[3] = add(%0, %1) return %6",
        C,
    ),
    "cast to itself": ("%0: f32[3] = cast(x) dtype=f32 return %0", "return x", F),
    "reshape twice": (
        "%0: f32[6] = reshape(x) shape=(6,) %1: f32[3,2] = reshape(%0) shape=(3, 2) return %1",
        "%0: f32[3,2] = reshape(x) shape=(3, 2) return %0",
        M,
    ),
    "transpose twice": (
        "%0: f32[3,2] = transpose(x) permutation=(1, 0) %1: f32[2,3] = transpose(%0) permutation=(1, 0) "
        "%2: f32[3,2] = transpose(%1) permutation=(1, 0) return %2",
        "%0: f32[3,2] = transpose(x) permutation=(1, 0) return %0",
        M,
    ),
    "slice of slice": (
        "%0: i32[2] = slice(x) start=(1,) limit=(3,) stride=(1,) %1: i32[1] = slice(%0) start=(1,) limit=(2,) stride=(1,) return %1",
        "%0: i32[1] = slice(x) start=(2,) limit=(3,) stride=(1,) return %0",
        ("x: i32[3]", "i32[1]"),
    ),
    "slice of what was stored": (
        "%0: i32[2] = slice(x) start=(0,) limit=(2,) stride=(1,) %1: i32[3] = update_slice(x, %0) start=(1,) stride=(1,) "
        "%2: i32[1] = slice(%1) start=(2,) limit=(3,) stride=(1,) return %2",
        "%0: i32[1] = slice(x) start=(1,) limit=(2,) stride=(1,) return %0",
        ("x: i32[3]", "i32[1]"),
    ),
    "slice of more than was stored stays": (
        "%0: i32[1] = slice(x) start=(0,) limit=(1,) stride=(1,) %1: i32[3] = update_slice(x, %0) start=(1,) stride=(1,) "
        "%2: i32[2] = slice(%1) start=(1,) limit=(3,) stride=(1,) return %2",
        "%0: i32[1] = slice(x) start=(0,) limit=(1,) stride=(1,) %1: i32[3] = update_slice(x, %0) start=(1,) stride=(1,) "
        "%2: i32[2] = slice(%1) start=(1,) limit=(3,) stride=(1,) return %2",
        ("x: i32[3]", "i32[2]"),
    ),
    "empty slice of slice": (
        "%0: i32[2] = slice(x) start=(0,) limit=(3,) stride=(2,) %1: i32[0] = slice(%0) start=(2,) limit=(2,) stride=(1,) return %1",
        "%0: i32[0] = slice(x) start=(0,) limit=(0,) stride=(2,) return %0",
        ("x: i32[3]", "i32[0]"),
    ),
    "slice of concat": (
        "%0: i32[6] = concat(x, x) axis=0 %1: i32[3] = slice(%0) start=(3,) limit=(6,) stride=(1,) return %1",
        "return x",
        (),
    ),
    "reverse twice": ("%0: i32[3] = reverse(x) axes=(0,) %1: i32[3] = reverse(%0) axes=(0,) return %1", "return x", ()),
    "sum of sum": (
        "%0: f32[2] = sum(x) axes=(1,) %1: f32[] = sum(%0) axes=(0,) return %1",
        "%0: f32[] = sum(x) axes=(0, 1) return %0",
        ("x: f32[2,3]", "f32[]"),
    ),
    "sum of dot": (
        '%0: f32[2,3,3] = dot(x, x) spec="ai,aj->aij" %1: f32[3,3] = sum(%0) axes=(0,) return %1',
        '%0: f32[3,3] = dot(x, x) spec="ai,aj->ij" return %0',
        ("x: f32[2,3]", "f32[3,3]"),
    ),
    "dot of an axis of one that is summed": (
        '%0: f32[2,3,1] = reshape(x) shape=(2, 3, 1) %1: f32[2,2] = dot(%0, %0) spec="iko,jko->ij" return %1',
        '%0: f32[2,2] = dot(x, x) spec="ik,jk->ij" return %0',
        ("x: f32[2,3]", "f32[2,2]"),
    ),
    "dot of an axis of one of the result": (
        '%0: f32[2,1,3] = reshape(x) shape=(2, 1, 3) %1: f32[1,3,3] = dot(%0, x) spec="ioj,ik->ojk" return %1',
        '%0: f32[3,3] = dot(x, x) spec="ij,ik->jk" %1: f32[1,3,3] = reshape(%0) shape=(1, 3, 3) return %1',
        ("x: f32[2,3]", "f32[1,3,3]"),
    ),
    "dot of a row stays": (
        '%0: f32[1,3] = reshape(x) shape=(1, 3) %1: f32[1,1] = dot(%0, %0) spec="ik,jk->ij" return %1',
        '%0: f32[1,3] = reshape(x) shape=(1, 3) %1: f32[1,1] = dot(%0, %0) spec="ik,jk->ij" return %1',
        ("x: f32[3]", "f32[1,1]"),
    ),
    "windows of one element": (
        "%0: f32[2,2,1] = windows(x) axes=(1,) sizes=(1,) steps=(2,) dilations=(1,) return %0",
        "%0: f32[2,2] = slice(x) start=(0, 0) limit=(2, 3) stride=(1, 2) %1: f32[2,2,1] = reshape(%0) shape=(2, 2, 1) return %1",
        ("x: f32[2,3]", "f32[2,2,1]"),
    ),
    "unwindow of one element": (
        "%0: f32[2,3,1] = reshape(x) shape=(2, 3, 1) %1: f32[2,3] = unwindow(%0) axes=(1,) extents=(3,) steps=(1,) dilations=(1,) return %1",
        "return x",
        ("x: f32[2,3]", "f32[2,3]"),
    ),
    "unwindow of one element with gaps stays": (
        "%0: f32[3,1] = reshape(x) shape=(3, 1) %1: f32[5] = unwindow(%0) axes=(0,) extents=(5,) steps=(2,) dilations=(1,) return %1",
        "%0: f32[3,1] = reshape(x) shape=(3, 1) %1: f32[5] = unwindow(%0) axes=(0,) extents=(5,) steps=(2,) dilations=(1,) return %1",
        ("x: f32[3]", "f32[5]"),
    ),
    "dot of transpose": (
        '%0: f32[3,2] = transpose(x) permutation=(1, 0) %1: f32[3,3] = dot(%0, x) spec="ij,jk->ik" return %1',
        '%0: f32[3,3] = dot(x, x) spec="ji,jk->ik" return %0',
        ("x: f32[2,3]", "f32[3,3]"),
    ),
    "broadcast into elementwise": (
        "%0: f32[3] = exp(x) %1: f32[1] = slice(x) start=(0,) limit=(1,) stride=(1,) "
        "%2: f32[3] = broadcast(%1) shape=(3,) %3: f32[3] = mul(%0, %2) return %3",
        "%0: f32[3] = exp(x) %1: f32[1] = slice(x) start=(0,) limit=(1,) stride=(1,) %2: f32[3] = mul(%0, %1) return %2",
        F,
    ),
    "sum of pieces": (
        "%0: f32[] = constant 0.0 %1: f32[6] = broadcast(%0) shape=(6,) %2: f32[6] = update_slice(%1, x) start=(0,) stride=(1,) "
        "%3: f32[3] = exp(x) %4: f32[6] = update_slice(%1, %3) start=(3,) stride=(1,) %5: f32[6] = add(%2, %4) return %5",
        "%0: f32[3] = exp(x) %1: f32[6] = concat(x, %0) axis=0 return %1",
        ("x: f32[3]", "f32[6]"),
    ),
    "stores that fill a buffer": (
        "%0: f32[] = constant 0.0 %1: f32[6] = broadcast(%0) shape=(6,) %2: f32[6] = update_slice(%1, x) start=(3,) stride=(1,) "
        "%3: f32[6] = update_slice(%2, x) start=(0,) stride=(1,) return %3",
        "%0: f32[6] = concat(x, x) axis=0 return %0",
        ("x: f32[3]", "f32[6]"),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rule(name: str) -> None:
    before, after, types = RULES[name]
    old, new = graph(before, *types), graph(after, *types)
    assert apply_rules(apply_rules(apply_rules(old))) == new, str(apply_rules(old))
    arguments = draw_inputs(old, np.random.default_rng(0))
    for x, y in zip(evaluate(old, arguments), evaluate(new, arguments), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


def test_slices_sink_into_contractions() -> None:
    f = lambda x, w: [np.tanh(p) for p in np.split(x @ w + 1.0, 2, axis=1)]  # noqa: E731
    simplified = simplify(irdl.trace(f)(np.ones((3, 4)), np.ones((4, 6))))
    dots = [node for node in simplified.nodes if node.op.name == "dot"]
    assert [node.output.shape for node in dots] == [(3, 3), (3, 3)]
    # Overlapping slices would compute some of it twice.
    g = lambda x, w: ((x @ w)[:, :4], (x @ w)[:, 2:])  # noqa: E731
    kept = simplify(irdl.trace(g)(np.ones((3, 4)), np.ones((4, 6))))
    assert sum(node.op.name == "dot" for node in kept.nodes) == 1


def test_prune_drops_dead_loop_parts() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        body = lambda c, r: ((c[0] + r, c[1] * 2, c[2]), (r * c[2], np.exp(c[0])))  # noqa: E731
        (a, _, _), (ys, _) = irdl.scan(body, (x[0], x[0], x[1]), x)
        return a, ys

    raw = irdl.trace(f)(np.ones((4, 3)))
    scan = next(node for node in prune(raw).nodes if node.op.name == "scan")
    # One carry (the second is dead, the third never changes), one y.
    assert scan.attributes.carry == 1 and scan.attributes.consts == 1 and len(scan.outputs) == 2
