"""float16 and bfloat16: every op of them, casts of every number, NumPy's functions with NumPy's dtypes, loops and gradients."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.ir.dtypes import BFLOAT16, DTYPES, is_float
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph
from irdl.ir.op import Op, Sample
from irdl.ir.parser import parse
from irdl.ir.printer import print_graph
from irdl.loops.interpret import interpret
from irdl.runtime.executable import Executable
from irdl.testing import assert_close, check, widened
from tests.ops.test_ops import MATRICES, OPS, graph_of, magnitude_of, operands_of

FLOAT16 = np.dtype(np.float16)
HALVES = (FLOAT16, BFLOAT16)


def halved(op: Op) -> Iterator[tuple[Graph, list[np.ndarray], list[np.ndarray]]]:
    """Graphs of the op of floats of 16 bits, with operands, and what they are in float64."""
    rng = np.random.default_rng(0)
    found = [sample for sample in op.samples() if any(type.dtype == np.float64 for type in sample.types)]
    for dtype in HALVES:
        for sample in found[:2]:
            operands = operands_of(op, sample, rng)
            operands = [x.astype(dtype) if x.dtype == np.float64 else x for x in operands]
            types = tuple(replace(t, dtype=dtype) if t.dtype == np.float64 else t for t in sample.types)
            wide = [x.astype(np.float64) if is_float(x.dtype) else x for x in operands]
            reference = evaluate(graph_of(op, sample), wide)
            yield graph_of(op, Sample(types, sample.attributes)), operands, reference


FLOATING = [
    op for op in OPS if op not in MATRICES and op.name not in ("cast", "float_to_bits", "complex") and any(True for _ in halved(op))
]


@pytest.mark.parametrize("op", FLOATING, ids=lambda op: op.name)
def test_ops_of_halves(op: Op) -> None:
    """The machine and the interpreter agree with NumPy, and are no further from float64 than it is."""
    for graph, operands, reference in halved(op):
        assert parse(print_graph(graph)) == graph
        with np.errstate(all="ignore"):
            expected = evaluate(graph, operands)
        magnitude = magnitude_of(op, graph, operands)
        executable = Executable(graph)
        assert_close(executable(operands), expected, reference, ulps=1, magnitude=magnitude)
        results = interpret(executable.program, operands)
        assert_close([r.reshape(e.shape) for r, e in zip(results, expected, strict=True)], expected, reference, ulps=1, magnitude=magnitude)


def _bits(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), 0, x.view(f"u{x.itemsize}").astype(np.int64))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("target", ["native", "x86-64-v2"])
def test_casts_round_as_numpy(dtype: np.dtype, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 65,536 numbers, those next to the middle between two, and random bits; with the processor's conversions and without."""
    if target != "native" and platform.machine() != "x86_64":
        pytest.skip("another kind of processor")
    monkeypatch.setenv("IRDL_TARGET", target)
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(dtype)
    finite = np.sort(every.astype(np.float32)[np.isfinite(every.astype(np.float32))])
    middle = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        narrow = irdl.jit(lambda x: x.astype(dtype))
        for source in (np.float32, np.float64):
            edges = middle.astype(source)
            bits = rng.integers(0, 2**63, 20000).astype(np.uint64).view(np.float64).astype(source)
            x = np.concatenate([edges, np.nextafter(edges, source(np.inf)), np.nextafter(edges, source(-np.inf)), bits, -bits])
            np.testing.assert_array_equal(_bits(narrow(x)), _bits(x.astype(dtype)))
        for other in (np.int8, np.uint8, np.int32, np.int64, np.uint64, np.bool_):
            x = np.arange(-70000, 70000).astype(other)
            np.testing.assert_array_equal(_bits(narrow(x)), _bits(x.astype(dtype)))
        for other in (np.int32, np.uint32, np.int64, np.uint64):
            whole = middle[(middle > np.iinfo(other).min) & (middle < np.iinfo(other).max)].astype(other)
            x = np.concatenate([whole, whole + 1, whole - 1, rng.integers(np.iinfo(other).min, np.iinfo(other).max, 20000, other)])
            np.testing.assert_array_equal(_bits(narrow(x)), _bits(x.astype(dtype)))
        for other in (np.float32, np.float64, *HALVES):
            found = irdl.jit(lambda x, other=other: x.astype(other))(every)
            np.testing.assert_array_equal(_bits(found), _bits(every.astype(other)))
        small = every[np.abs(np.nan_to_num(every.astype(np.float64), nan=1e9)) < 2e4]
        for other in (np.int32, np.int64, np.bool_):
            np.testing.assert_array_equal(irdl.jit(lambda x, other=other: x.astype(other))(small), small.astype(other))


FUNCTIONS = {
    "operators": lambda x, v: (x + v, x * 2, x * 2.5, -x, x / v, x // v, x % v, x**2, abs(x) ** 0.5, x**-1, abs(x) ** v),
    "mixed": lambda x, v: (
        x + v.astype(np.float32),
        x * v.astype(np.float64),
        x + np.arange(7),
        x * np.int8(3),
        x * np.float32(2),
        x < 0.5,
    ),
    "ufuncs": lambda x, v: (np.exp(x), np.tanh(x), np.log1p(abs(x)), np.sin(x), np.arctan2(x, v), np.hypot(x, v), np.logaddexp(x, v)),
    "picks": lambda x, v: (np.maximum(x, 0), np.where(x > 0, x, 0), np.clip(x, -1, 1), np.clip(x, -0.5, None), np.sign(x), np.fmax(x, v)),
    "products": lambda x, v: (x @ v, np.dot(x, v), np.inner(x, x), np.vecdot(x, x), np.outer(v, v), np.tensordot(x, x, 2), x.T @ x),
    "sums": lambda x, v: (x.sum(), x.sum(1), x.mean(), x.mean(1), x.var(1), x.std(0), x.prod(1), x.sum(dtype=np.float64), np.average(x)),
    "running": lambda x, v: (np.cumsum(x, 1), np.cumprod(x, 1), np.maximum.accumulate(x, 1), np.diff(x)),
    "order": lambda x, v: (np.sort(x), np.argsort(x), x.argmax(1), x.max(0), np.median(x, 1), np.ptp(x), np.searchsorted(np.sort(v), x)),
    "shapes": lambda x, v: (x[:, ::-1], x.T, np.concatenate([x, x]), np.pad(x, 1), np.roll(x, 2, 1), np.tril(x), np.diag(v), x[[2, 0]]),
    "rounding": lambda x, v: (np.round(x), np.round(x, 1), np.trunc(x), np.floor(x), np.nan_to_num(x), np.isnan(x)),
    "signals": lambda x, v: (np.convolve(v, v[:3]), np.gradient(x, axis=1), np.interp(x, np.sort(v), v), np.sinc(x)),
    "norm": lambda x, v: (np.linalg.norm(x), np.linalg.norm(x, axis=1), np.trace(x), np.full_like(x, 1.7), np.zeros_like(x) + 1),
    "softmax": lambda x, v: np.exp(x - x.max(-1, keepdims=True)) / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True),
}


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_numpys_dtypes(name: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((5, 7)).astype(dtype), rng.standard_normal(7).astype(dtype)
    with np.errstate(all="ignore"):
        expected, reference = FUNCTIONS[name](x, v), FUNCTIONS[name](*widened((x, v)))
    assert_close(irdl.jit(FUNCTIONS[name])(x, v), expected, reference, ulps=4)


PAIRS = {
    "add": np.add,
    "power": np.power,
    "less": np.less,
    "maximum": np.maximum,
    "arctan2": np.arctan2,
    "divide": lambda x, y: (x / y, x // y, x % y),
    "where": lambda x, y: np.where(np.array([True, False, True]), x, y),
    "clip": lambda x, y: (np.clip(x, y, None), np.clip(x, None, y)),
    "clip between": lambda x, y: np.clip(x, y, y),
    "concatenate": lambda x, y: np.concatenate([np.atleast_1d(x), np.atleast_1d(y)]),
    "linspace": lambda x, y: np.linspace(x, y, 5),
    "result_type": lambda x, y: np.zeros(2, np.result_type(x, y)),
    "choose": lambda x, y: np.choose(np.array([0, 1, 0]), [x, y]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_promotion_is_that_of_the_dtypes_installed(name: str) -> None:
    """Of each dtype and of Python's numbers, on either side; what NumPy cannot promote is an error too."""
    x = np.ones(3, BFLOAT16)
    for other in (*(of(dtype) for dtype in DTYPES for of in (partial(np.ones, 3), lambda d: d.type(1))), True, 2, 1.5, 1j):
        for flipped in (False, True):
            given = [y for y in (x, other) if not isinstance(y, int | float | complex) or isinstance(y, np.generic)]

            def pair(*traced: Any, other: Any = other, flipped: bool = flipped) -> Any:
                pair = (*traced, other)[:2]
                return PAIRS[name](*(pair[::-1] if flipped else pair))

            try:
                expected = [y.dtype for y in irdl.tree.leaves(pair(*given))]
            except TypeError:
                with pytest.raises((TypeError, TraceError)):
                    irdl.eval_shape(pair, *given)
                continue
            assert [y.dtype for y in irdl.tree.leaves(irdl.eval_shape(pair, *given))] == expected, (other, flipped)


def test_numbers_of_python_are_rounded_as_numpy_rounds_them() -> None:
    """Where that is by way of float32, and where it is not, of one next to the middle between two."""
    number = 1 + 2.0**-8 + 2.0**-40

    def stored(x: Any) -> Any:
        x = x.copy()
        x[0] = number
        np.copyto(x[1:2], number)
        return x

    for function in (
        stored,
        lambda x: (x * number, np.maximum(x, number), np.clip(x, number, None), x + (2**30 + 2**22 + 1)),
        lambda x: (np.where(x > 0, number, x), np.where(x > 0, x, number), np.full_like(x, number), np.full(3, number, x.dtype) * x),
        lambda x: (x * np.array([number] * 3, x.dtype), x * x.dtype.type(number), np.pad(x, 1, constant_values=number)),
    ):
        x = np.ones(3, BFLOAT16)
        for found, expected in zip(irdl.tree.leaves(irdl.jit(function)(x)), irdl.tree.leaves(function(x)), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_a_mean_does_not_overflow() -> None:
    """NumPy's adds up in float32."""
    x = np.full(5000, 100, np.float16)
    assert irdl.jit(np.mean)(x) == np.mean(x) == 100
    assert irdl.jit(np.var)(x) == 0


def test_ints_of_few_bits_give_float16() -> None:
    for x in (np.arange(5, dtype=np.int8), np.array([True, False])):
        check(lambda x: (np.exp(x), np.sqrt(x), np.cos(x), np.round(x)), x, grad=False)


def test_what_numpy_refuses_is_refused() -> None:
    x = np.eye(3, dtype=np.float16)
    with pytest.raises(TypeError, match="float16 is unsupported in linalg"):
        irdl.jit(np.linalg.inv)(x)
    with pytest.raises(TypeError, match="invalid data type for einsum"):
        irdl.jit(lambda x: np.einsum("ij,jk->ik", x, x))(x.astype(BFLOAT16))
    with pytest.raises(TraceError, match=r"np.quantile of bfloat16 is not supported: take it of x.astype\(np.float32\)"):
        irdl.jit(lambda x: np.quantile(x, 0.5))(x.astype(BFLOAT16))


def lstm(x, wx, wh, b):
    """Weights, inputs and h of 16 bits, c of 32."""
    half = x.dtype
    h, c, hs = np.zeros((x.shape[1], wh.shape[0]), half), np.zeros((x.shape[1], wh.shape[0]), np.float32), []
    for x_t in x:
        i, f, g, o = np.split(np.dot(x_t, wx) + np.dot(h, wh) + b, 4, axis=-1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = (np.tanh(c) / (1 + np.exp(-o))).astype(half)
        hs.append(h)
    return np.stack(hs)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (9, 3, 5, 17), (12, 4, 6, 64)])
def test_a_loop(dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """It stays a loop, and is as near to float64 as NumPy is; so is its gradient, whose dtypes are the arguments'."""
    t, n, inputs, units = shape
    rng = np.random.default_rng(1)
    x, wx, wh, b = (
        (rng.standard_normal(s) * 0.3).astype(dtype) for s in ((t, n, inputs), (inputs, 4 * units), (units, 4 * units), (4 * units,))
    )
    assert_close(irdl.jit(lstm)(x, wx, wh, b), lstm(x, wx, wh, b), lstm(*widened((x, wx, wh, b))), ulps=8)
    assert t == 1 or any(node.op.name == "scan" for node in irdl.trace(lstm)(x, wx, wh, b).all_nodes())

    def loss(wx, wh, b, x):
        return (lstm(x, wx, wh, b).astype(np.float32) ** 2).sum()

    gradient = irdl.grad(loss, argnums=(0, 1, 2))
    found, exact = irdl.jit(gradient)(wx, wh, b, x), gradient(*widened((wx, wh, b, x)))
    for mine, true in zip(found, exact, strict=True):
        assert mine.dtype == dtype
        limit = 0.05 * np.abs(true).max() if dtype == BFLOAT16 else 0.008 * np.abs(true).max()
        assert np.abs(mine.astype(np.float64) - true).max() <= limit


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_vmap_jvp_stores_and_branches(dtype: np.dtype) -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.standard_normal((4, 6)).astype(dtype) for _ in range(2))

    def stores(x, y):
        x = x.copy()
        x[1], x[:, 2] = 0, y[:, 0]
        x[[0, 3]] += y[0]
        return irdl.cond(x[0, 0] > 0, lambda a: a + y, lambda a: a - y, x)

    assert_close(irdl.jit(stores)(x, y), stores(x, y), ulps=1)
    assert_close(irdl.jit(irdl.vmap(lambda a, b: np.tanh(a) * b))(x, y), np.tanh(x) * y, ulps=1)
    value, tangent = irdl.jit(lambda x, y: irdl.jvp(np.tanh, (x,), (y,)))(x, y)
    wide = x.astype(np.float64)
    assert value.dtype == tangent.dtype == dtype
    assert_close(tangent, (y.astype(np.float64) / np.cosh(wide) ** 2).astype(dtype), ulps=4, magnitude=np.abs(y))  # 1 - tanh(x)**2


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_sums_over_steps(dtype: np.dtype) -> None:
    """A carry that only adds up products is rounded once, at its end; one that steps read besides is rounded in each of them, as NumPy's."""
    x, y = np.ones((3000, 2, 1), dtype), np.ones((3000, 1, 2), dtype)

    def total(x, y):
        return irdl.scan(lambda total, item: (total + np.dot(*item), None), np.zeros((2, 2), dtype), (2 * x, y))[0]

    def totals(x, y):
        def step(total, item):
            return total + np.dot(*item), total * dtype.type(2)

        return irdl.scan(step, np.zeros((2, 2), dtype), (2 * x, y))

    np.testing.assert_array_equal(irdl.jit(total)(x, y), np.full((2, 2), 6000).astype(dtype))
    for result, expected in zip(irdl.jit(totals)(x, y), totals(x, y), strict=True):
        np.testing.assert_array_equal(result, expected)
