"""Every registered op over its samples: the machine, the loop-language interpreter and the op's own NumPy meaning agree;
gradients match finite differences; forward mode and batching match their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from irdl.codegen.lowering.layout import Layout, view_layout
from irdl.errors import DifferentiationError
from irdl.ir.builder import make_node
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph, Value
from irdl.ir.op import Op, Sample, registered_ops
from irdl.ir.parser import parse
from irdl.ir.printer import print_graph
from irdl.ir.types import TensorType
from irdl.ir.verify import verify
from irdl.loops.expressions import Buffer
from irdl.loops.interpret import interpret
from irdl.ops.elementwise import Elementwise
from irdl.ops.fusion import UNPACK
from irdl.ops.index import Gather, Scatter
from irdl.ops.linear import CHOLESKY, DET_SIGN, LOG_ABS_DET, QR, SOLVE
from irdl.runtime.build import real_view
from irdl.runtime.executable import Executable
from irdl.testing import assert_close
from irdl.tracing.numpy.ufunc_rules import RULES
from irdl.transforms.batch import batch_graph
from irdl.transforms.forward import jvp_graph
from irdl.transforms.reverse import vjp_graph
from tests.teams import team_of, watch

OPS = [op for op in registered_ops() if list(op.samples())]
MATRICES = (SOLVE, LOG_ABS_DET, DET_SIGN, CHOLESKY, QR)
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38]


def magnitude_of(op: Op, graph: Graph, operands: list[np.ndarray]) -> list[np.ndarray] | None:
    """For sums of products: what they would be without cancellation; of matrices: how large their elements are."""
    if op.name in ("dot", "sum", "cumsum", "scatter_add") and operands[0].dtype.kind in "fc":
        return evaluate(graph, [np.abs(x).astype(x.dtype) if x.dtype.kind in "fc" else x for x in operands])
    if op in MATRICES:
        return [np.full(x.shape, np.abs(x).max(initial=1.0)) for x in evaluate(graph, operands)]
    return None


def sizes_of_terms(graph: Graph, operands: list[np.ndarray]) -> list[np.ndarray]:
    """A bound for the terms that a gradient sums: its results' largest numbers times what is summed at most."""
    count = max((x.size for x in operands), default=1)
    return [np.full(v.shape, np.abs(r).max(initial=1.0) * count) for v, r in zip(graph.outputs, evaluate(graph, operands), strict=True)]


#: in what gradients are compared with differences
WIDEST = {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}


def drawn(type: TensorType, rng: np.random.Generator) -> np.ndarray:
    array = rng.standard_normal(type.shape)
    return (array + 1j * rng.standard_normal(type.shape) if type.dtype.kind == "c" else array).astype(type.dtype)


def half(op: Op) -> list[Sample]:
    """Every second sample where there are many: of each dtype others than of the dtype before it."""
    samples = list(op.samples())
    if len(samples) <= 16:
        return samples
    by_dtype: dict[np.dtype, list[Sample]] = {}
    for sample in samples:
        by_dtype.setdefault(graph_of(op, sample).outputs[0].dtype if not sample.types else sample.types[0].dtype, []).append(sample)
    return [sample for place, group in enumerate(by_dtype.values()) for sample in group[place % 2 :: 2]]


def graph_of(op: Op, sample: Sample) -> Graph:
    inputs = [Value(type, name=f"x{place}") for place, type in enumerate(sample.types)]
    return Graph(inputs, make_node(op, inputs, sample.attributes).outputs, op.name)


def operands_of(op: Op, sample: Sample, rng: np.random.Generator, special: bool = False) -> list[np.ndarray]:
    arrays = []
    for place, type in enumerate(sample.types):
        if isinstance(op, (Gather, Scatter)) and place == 1:
            extents = [sample.types[0].shape[axis] for axis in sample.attributes.axes]
            columns = [rng.integers(-n, n, type.shape[:-1]) for n in extents]
            arrays.append(np.stack(columns, -1).astype(np.int64).reshape(type.shape))
        elif op in MATRICES and place == 0:
            # The diagonal is larger than its row: what is left after elimination is not small, and all pivots are positive.
            array = rng.uniform(sample.low, sample.high, type.shape) + (2 * type.shape[-1] + 3) * np.eye(*type.shape[-2:])
            arrays.append(array.astype(type.dtype))
        elif type.dtype.kind == "b":
            arrays.append(rng.random(type.shape) < 0.5)
        elif type.dtype.kind == "f":
            array = rng.uniform(sample.low, sample.high, type.shape)
            if special and array.size:
                with np.errstate(over="ignore"):
                    array.flat[:: max(1, array.size // 7)] = rng.choice(SPECIAL, array.flat[:: max(1, array.size // 7)].size)
            with np.errstate(over="ignore"):
                arrays.append(array.astype(type.dtype))
        elif type.dtype.kind == "c":
            re, im = rng.uniform(sample.low, sample.high, (2, *type.shape))
            arrays.append((re + 1j * im).astype(type.dtype))
        else:
            low = 0 if type.dtype.kind == "u" else -5
            array = rng.integers(low, 6 if sample.high <= 2 else int(sample.high), type.shape)
            arrays.append(array.astype(type.dtype))
    return arrays


def takes_special(op: Op, sample: Sample) -> bool:
    """Whether nans and infinities among the operands have one result only."""
    if op in MATRICES or op.name in ("dot", "prod", "cumprod", "sum", "cumsum", "cast"):
        return False
    return any(t.dtype.kind == "f" for t in sample.types)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_machine_interpreter_and_numpy_agree(op: Op, request: pytest.FixtureRequest) -> None:
    """Divided among threads, and some or with --slow all whole, too."""
    rng = np.random.default_rng(0)
    both = list(op.samples()) if request.config.getoption("--slow") else half(op)
    for sample in op.samples():
        graph = graph_of(op, sample)
        verify(graph)
        assert parse(print_graph(graph)) == graph
        with team_of(3):
            divided = Executable(graph)
        whole = Executable(graph) if sample in both else divided
        for special in (False, True):
            operands = operands_of(op, sample, rng, special)
            if special and not takes_special(op, sample):
                continue
            expected = evaluate(graph, operands)
            magnitude = magnitude_of(op, graph, operands)
            assert_close(whole(operands), expected, magnitude=magnitude)
            assert_close(divided(operands), expected, magnitude=magnitude)
            if sum(type.size for type in sample.types) <= 80:
                watch(divided.program, [real_view(x) for x in operands])
                results = [
                    r.view(v.dtype)
                    for r, v in zip(interpret(divided.program, [real_view(x) for x in operands]), graph.outputs, strict=True)
                ]
                assert_close([r.reshape(e.shape) for r, e in zip(results, expected, strict=True)], expected, magnitude=magnitude)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_non_contiguous_operands(op: Op) -> None:
    rng = np.random.default_rng(1)
    for sample in list(op.samples())[:3]:
        graph = graph_of(op, sample)
        operands = operands_of(op, sample, rng)
        strided = [np.repeat(np.asarray(x)[..., None], 2, -1)[..., 0] for x in operands]
        assert_close(Executable(graph)(strided), evaluate(graph, operands), magnitude=magnitude_of(op, graph, operands))


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_gradient_matches_differences(op: Op) -> None:
    rng = np.random.default_rng(2)
    step = 1e-6
    seen = set()
    for sample in op.samples():
        types = tuple(TensorType(WIDEST.get(t.dtype.kind, t.dtype), t.shape) for t in sample.types)
        sample = Sample(types, sample.attributes, sample.low, sample.high, sample.smooth)
        if (types, sample.attributes) in seen or not sample.smooth:
            continue
        seen.add((types, sample.attributes))
        graph = graph_of(op, sample)
        floats = [place for place, type in enumerate(types) if type.dtype.kind in "fc"]
        if not floats or graph.outputs[0].dtype not in WIDEST.values():
            continue
        try:
            backward = vjp_graph(graph, floats)
        except DifferentiationError:
            pytest.fail(f"{op.name} has no derivative")
        verify(backward)
        operands = operands_of(op, sample, rng)
        ct = drawn(graph.outputs[0].type, rng)
        results = evaluate(backward, [*operands, ct])
        assert_close(Executable(backward)([*operands, ct]), results, magnitude=sizes_of_terms(backward, [*operands, ct]))
        direction = {place: drawn(types[place], rng) for place in floats}

        def moved(sign: float, operands=operands, direction=direction, graph=graph) -> np.ndarray:
            there = [x + sign * step * direction[i] if i in direction else x for i, x in enumerate(operands)]
            return evaluate(graph, there)[0]

        numeric = (moved(1) - moved(-1)) / (2 * step)
        analytic = sum(np.sum(g * direction[i]) for g, i in zip(results[1:], floats, strict=True))
        np.testing.assert_allclose(np.real(analytic), np.real(np.sum(numeric * ct)), rtol=2e-5, atol=1e-6)
        forward = jvp_graph(graph, floats)
        tangent = evaluate(forward, [*operands, *direction.values()])[-1]
        np.testing.assert_allclose(tangent, numeric, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_batching_is_a_loop(op: Op) -> None:
    rng = np.random.default_rng(3)
    size = 3
    for sample in op.samples():
        if not sample.types:
            continue
        graph = graph_of(op, sample)
        many = [operands_of(op, sample, rng) for _ in range(size)]
        count = len(sample.types)
        for mask in {(1 << count) - 1, 1, 1 << (count - 1)}:
            batched = [bool(mask >> place & 1) for place in range(count)]
            new, marks = batch_graph(graph, batched, size)
            verify(new)
            assert all(marks)
            operands = [np.stack([m[i] for m in many]) if b else many[0][i] for i, b in enumerate(batched)]
            expected = [
                np.stack(parts)
                for parts in zip(*(evaluate(graph, [m[i] if b else many[0][i] for i, b in enumerate(batched)]) for m in many), strict=True)
            ]
            magnitude = [np.abs(e) + 10.0 * size for e in expected] if op.name == "dot" else None
            assert_close(evaluate(new, operands), expected, magnitude=magnitude)


def test_every_table_has_every_op() -> None:
    """What an op is asked for in other rooms; machine code of both kinds is asked for by the samples."""
    for op in registered_ops():
        if isinstance(op, Elementwise) and isinstance(op._function, np.ufunc):
            assert op._function.__name__ in RULES, f"np.{op._function.__name__} does not trace"
        if op.is_view and op is not UNPACK:  # which is read in place alone
            (sample, *_) = op.samples()
            node = graph_of(op, sample).outputs[0].node
            assert node is not None
            base = Layout.contiguous(Buffer("x", node.operands[0].dtype, node.operands[0].type.size, "input"), node.operands[0].shape)
            assert view_layout(node, base) is not None, f"{op.name} is a view: give codegen/layout.py its strides"
