"""The pipeline: every stage means the same, each optional pass can be left out, and cells nobody has seen get one fused
contraction in the loop with their weight gradients outside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import optree
import pytest

import irdl
from irdl.codegen.cpu.pipeline import CPU_GRAPH_PASSES, CPU_PROGRAM_PASSES
from irdl.errors import GraphError
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph
from irdl.ir.printer import sidecar
from irdl.ir.verify import verify
from irdl.loops.interpret import interpret
from irdl.loops.language import For, Store
from irdl.loops.text import large_constants
from irdl.loops.verify import verify_program
from irdl.loops.walk import walk
from irdl.ops.contract import DOT
from irdl.ops.control import SCAN
from irdl.ops.fusion import FUSED, PACK
from irdl.testing import assert_close, widened
from irdl.tracing import tree
from tests.models import lstm, lstm_data, lstm_loss, random_cell_loss
from tests.teams import team_of, wide_vectors

GRAPH_OPTIONAL = list(dict.fromkeys(item.name for item in CPU_GRAPH_PASSES if not item.required))
OPTIONAL = [*GRAPH_OPTIONAL, *(item.name for item in CPU_PROGRAM_PASSES if not item.required)]


def final_graph(compiled: irdl.Compiled) -> Graph:
    return [stage for _, stage in compiled.stages if isinstance(stage, Graph)][-1]


def flat(arguments: tuple) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in tree.flatten(arguments)[0]]


def test_every_stage_means_the_same() -> None:
    arguments = lstm_data(4, 3, 5, 18, np.float64)
    compiled = irdl.compile(irdl.value_and_grad(lstm_loss))(*arguments)
    expected = evaluate(compiled.graph, flat(arguments))
    for name, stage in compiled.stages:
        if isinstance(stage, Graph):
            verify(stage)
            for x, y in zip(evaluate(stage, flat(arguments)), expected, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12, err_msg=name)
        else:
            verify_program(stage)


def test_every_stage_reads_back() -> None:
    params, x, gy = lstm_data(4, 3, 5, 18)
    for threads in (1, 2):
        with team_of(threads):
            for f, arguments in ((lstm, (params, x)), (irdl.value_and_grad(lstm_loss), (params, x, gy))):
                for name, stage in irdl.compile(f)(*arguments).stages:
                    constants = sidecar(stage) if isinstance(stage, Graph) else large_constants(stage)
                    again = irdl.parse(str(stage), constants)
                    assert again == stage, name


@pytest.mark.parametrize("disabled", [*((name,) for name in OPTIONAL), *itertools.combinations(GRAPH_OPTIONAL, 2), OPTIONAL], ids="+".join)
def test_passes_can_be_left_out(disabled: Sequence[str]) -> None:
    arguments = lstm_data(3, 2, 4, 5, np.float64)
    f = irdl.value_and_grad(lstm_loss)
    compiled = irdl.compile(f, disable_passes=disabled)(*arguments)
    assert not {name for name, _ in compiled.stages} & set(disabled)
    assert_close(compiled(*arguments), f(*arguments), ulps=1e5)  # float64: 2e-11


def test_required_and_unknown_passes_cannot_be_left_out() -> None:
    for name in ("fuse", "memory", "nothing"):
        with pytest.raises(GraphError, match=name):
            irdl.jit(lambda x: x, disable_passes=[name])(1.0)


def dots_in(graph: Graph) -> list[int]:
    """How many contractions each kernel of a fused graph holds, for those that hold any (loops not entered)."""
    return [n for n in (sum(inner.op is DOT for inner in node.regions[0].nodes) for node in graph.nodes if node.op is FUSED) if n]


@pytest.mark.parametrize("seed", range(12))
def test_random_cells_fuse(seed: int) -> None:
    loss, data, gates = random_cell_loss(seed)
    params, x = data(5, 16, 6, 32)
    f = irdl.value_and_grad(loss)
    compiled = irdl.compile(f)(params, x)
    assert_close(compiled(params, x), f(params, x), f(*widened((params, x))))
    final = final_graph(compiled)
    loops = [node for node in final.nodes if node.op is SCAN]
    assert len(loops) == 2, "one loop forward, one backward"
    forward, backward = (dots_in(node.regions[0]) for node in loops)
    assert len(forward) == 1 and forward[0] == gates, f"forward: {forward} contractions per kernel, {gates} gates"
    assert len(backward) == 1, f"backward: {backward}"
    # What the loops do not need is outside: x @ W, and the gradients of W and U.
    assert sum(dots_in(final)) == gates + 2


def test_compile_time_does_not_depend_on_the_steps() -> None:
    """But for long contractions, of a weight's gradient, which are done in up to 24 parts."""
    size = lambda steps: len(irdl.compile(irdl.grad(lstm_loss))(*lstm_data(steps, 2, 3, 16)).llvm_ir)  # noqa: E731
    assert size(12000) < 3 * size(600)
    with wide_vectors():
        assert abs(size(3000) - size(600)) < 0.1 * size(600)


def test_reductions_of_different_lengths_do_not_share_a_loop() -> None:
    f = lambda x, z: (x.sum(0), z.sum(0), x.max(0), (z * z).sum(0))  # noqa: E731
    for n, m in ((3, 5), (1, 40), (0, 2)):
        x, z = np.arange(n * 4.0).reshape(n, 4) if n else np.zeros((1, 4)), np.arange(m * 4.0).reshape(m, 4)
        assert_close(irdl.jit(f)(x, z), f(x, z))


@pytest.mark.parametrize("shape", [(16, 16), (33, 33), (64, 64), (130, 130)])
def test_an_array_read_packed_and_plain(shape: tuple[int, int]) -> None:
    a = np.random.default_rng(0).standard_normal(shape)
    for f in (lambda a: a @ a, lambda a: a @ a + a, lambda a: (a @ a.T) * a, lambda a: a.T @ a - a.T):
        assert_close(irdl.jit(f)(a), f(a), magnitude=np.abs(a) @ np.abs(a) + 100)


@pytest.mark.parametrize("rows", [7, 8, 13, 16, 21, 43])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_lines_that_go_to_the_same_place_are_written_together(rows: int, dtype: type) -> None:
    line = 64 // np.dtype(dtype).itemsize
    x = (np.arange(rows * 5 * line) % 100).astype(dtype).reshape(rows, 5, line)
    with wide_vectors():
        compiled = irdl.compile(lambda x: x.transpose(1, 0, 2))(x)
    np.testing.assert_array_equal(compiled(x), x.transpose(1, 0, 2))
    np.testing.assert_array_equal(interpret(compiled.program, [x])[0].reshape(5, rows, line), x.transpose(1, 0, 2))
    ((kernel, *_),) = [compiled.program.body]
    for nest in kernel.body:
        loops = [s for s in walk([nest]) if isinstance(s, For) and s.kind == "serial" and s.stop > 1]
        (store,) = [s for s in walk([nest]) if isinstance(s, Store)]
        innermost = store.index.coefficient(loops[-1].variable)
        assert innermost == (line if rows >= 8 else rows * line)


def test_distant_operands_are_packed_for_few_rows() -> None:
    """`x @ W` outside the time loop, whose four gates share a loop and read one line of each row; fewer rows read it in panels."""
    for hidden, steps, batch, packs in ((200, 2, 8, 4), (530, 2, 4, 4), (530, 2, 8, 4), (530, 32, 8, 8)):
        params, x, _ = lstm_data(steps, batch, hidden, hidden)
        final = final_graph(irdl.compile(lstm)(params, x))
        assert sum(node.op is PACK for node in final.nodes) == packs, (hidden, steps, batch)


@pytest.mark.parametrize("seed", range(20))
def test_contractions_of_many_shapes(seed: int) -> None:
    """Sizes around the tiles' edges, every layout of the operands, with an epilogue and stacked in a loop."""
    rng = np.random.default_rng(seed)
    m, n, k = (int(rng.choice([1, 2, 7, 8, 15, 16, 17, 31, 33, 48, 65, 127])) for _ in range(3))
    dtype = rng.choice([np.float32, np.float64])
    a, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n)))
    bias = rng.standard_normal(n).astype(dtype)
    size = np.abs(a) @ np.abs(b) + 10
    for x, y, f in (
        (a, b, lambda x, y: np.tanh(x @ y + bias)),
        (a, b.T.copy(), lambda x, y: x @ y.T),
        (a.T.copy(), b, lambda x, y: x.T @ y),
        (a.T.copy(), b.T.copy(), lambda x, y: (y @ x).T),
    ):
        assert_close(irdl.jit(f)(x, y), f(x, y), magnitude=size, ulps=64)
    loop = lambda h, w: irdl.scan(lambda h, _: (np.tanh(h @ w), h), h, None, length=3)  # noqa: E731
    h, w = rng.standard_normal((m, k)).astype(dtype) * 0.1, rng.standard_normal((k, k)).astype(dtype) * 0.1
    assert_close(irdl.jit(loop)(h, w), loop(h, w), loop(*widened((h, w))), ulps=64)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32", "bool"])
@pytest.mark.parametrize("n", [1, 9, 17, 33])
def test_narrow_stores_keep_to_their_row(dtype: str, n: int) -> None:
    x = np.random.default_rng(0).integers(-5, 6, (17, n))
    f = lambda x: (x.T @ x, x.astype(dtype), (x * 2).astype(dtype)[:, ::-1])  # noqa: E731
    assert_close(irdl.jit(f)(x), f(x))


def test_weights_are_walked_there_and_back_at_batch_one():
    """Every other step starts where the cache still holds what the last one read; results do not depend on it."""
    arguments = lstm_data(7, 1, 6, 72)
    with wide_vectors():
        compiled = irdl.compile(lstm)(*arguments[:2])
    assert " turning with " in str(compiled.program)
    np.testing.assert_allclose(compiled(*arguments[:2]), lstm(*arguments[:2]), rtol=1e-5, atol=1e-6)
    results = interpret(compiled.program, [*optree.tree_leaves(arguments[0]), arguments[1]])
    np.testing.assert_allclose(results[0].reshape(7, 1, 72), lstm(*arguments[:2]), rtol=1e-5, atol=1e-6)
    wide = lstm_data(7, 32, 6, 72)
    assert " turning with " not in str(irdl.compile(lstm)(*wide[:2]).program)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_stacked_carries(length, reverse):
    """Carries stacked before and after each step, and the last of them, share one stack."""

    def f(x, w, h):
        def step(carry, row):
            h, c = carry
            new, cell = np.tanh(h @ w + row), c * 0.5 + h
            return (new, cell), (h, new, c, new.sum())

        final, stacked = irdl.scan(step, (h, h + 1), x, reverse=reverse)
        return [np.exp(value) for value in (*final, *stacked)]

    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal(shape) for shape in ((length, 3, 8), (8, 8), (3, 8))]
    compiled = irdl.compile(f)(*arguments)
    assert length == 0 or "stack" in str(compiled.program)
    for a, b in zip(optree.tree_leaves(compiled(*arguments)), optree.tree_leaves(f(*arguments)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_bias_is_added_before_the_loop():
    """`x @ W + h @ U + b`: the loop reads the sum of the first and the last."""

    def f(x, W, U, b):
        return irdl.scan(lambda h, x: ((h := np.tanh(x @ W + h @ U + b)), h), np.zeros((2, 5)), x)[1]

    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal(shape) for shape in ((4, 2, 3), (3, 5), (5, 5), (5,))]
    compiled = irdl.compile(f)(*arguments)
    (loop,) = [node for node in dict(compiled.stages)["distribute"].nodes if node.op is SCAN]
    assert loop.attributes.consts == 1
    np.testing.assert_allclose(compiled(*arguments), f(*arguments), rtol=1e-12)


def test_a_search_along_a_long_axis_is_two_reductions() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64, np.int8, np.uint64, bool):
        for shape, axis in (((40,), 0), ((3, 100), 1), ((50, 7), 0), ((2, 16, 3), 1), ((17, 1), 0)):

            def f(x: np.ndarray, axis: int = axis) -> tuple:
                return np.argmax(x, axis), np.argmin(x, axis), np.argmax(x), x.max(axis), x.min()

            compiled = irdl.jit(f)
            x = rng.integers(0, 3, shape).astype(dtype)
            pieces = [x, np.zeros_like(x), np.ones_like(x)]
            if np.dtype(dtype).kind == "f":
                pieces += [np.where(x == 1, np.nan, x), np.full_like(x, -np.inf), np.where(x == 2, np.inf, -x), x * 0 * -1]
            for item in pieces:
                assert_close(compiled(item), f(item))
            assert compiled.cache_size() == 1
    graph = dict(irdl.compile(lambda x: np.argmax(x, 1))(np.ones((3, 64))).stages)["fuse"]
    assert not any(node.op.name == "argmax" for node in graph.all_nodes())


def test_what_a_reduction_reads_by_several_ways_is_inlined() -> None:
    graph = dict(irdl.compile(lambda p: ((p[:, None] - p[None]) ** 2).sum(-1))(np.ones((20, 5))).stages)["fuse"]
    assert max(value.type.size for node in graph.nodes for value in node.outputs) == 400


def test_what_begins_elsewhere_joins_the_contraction():
    """`m * 0.5` has to do with neither the product nor what reads it, and yet all of the cell is one loop nest."""
    U, x, start = np.ones((8, 8)) / 8, np.ones((5, 4, 8)), np.zeros((4, 8))

    def cell(carry, row):
        h, s, m = carry
        g = np.tanh(row + h @ U)
        m2 = m * 0.5
        s = s * 0.9 + g
        h = np.tanh(s) + m2
        return (h, s, m2 + g), h

    compiled = irdl.compile(lambda x: irdl.scan(cell, (start, start, start), x)[1])(x)
    (scan,) = [node for node in final_graph(compiled).nodes if node.op.name == "scan"]
    assert [node.op.name for node in scan.regions[0].nodes] == ["fused"]
    np.testing.assert_allclose(compiled(x), irdl.scan(cell, (start, start, start), x)[1], rtol=1e-12)
