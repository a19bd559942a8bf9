"""Running sums, products and extrema of long lines on a GPU: in pieces, which many threads have at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.ir.evaluate import evaluate
from irdl.loops.target import Gpu
from irdl.passes.running import run_in_pieces
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program


def backwards(x: Any) -> Any:
    return irdl.grad(lambda x: (np.cumsum(x, axis=-1) ** 2).sum())(x)


FUNCTIONS = {
    "cumsum": lambda x: np.cumsum(x, axis=-1),
    "cumprod": lambda x: np.cumprod(1 + x / 100, axis=-1),
    "cummax": lambda x: np.maximum.accumulate(x, axis=-1),
    "cummin": lambda x: np.minimum.accumulate(x, axis=0),
    "backwards": backwards,
}


def data(*shape: int, dtype: type = np.float64) -> np.ndarray:
    return (4 * np.random.default_rng(sum(shape)).standard_normal(shape)).astype(dtype)


CASES = [
    *((name, data(*shape)) for name in FUNCTIONS for shape in ((300,), (256, 3), (2, 5000))),
    ("cumsum", data(3, 1000, dtype=np.int64)),
    ("cummax", data(700, dtype=np.int32)),
    ("cummax", np.where(np.arange(600) == 411, np.nan, data(600))),
    ("cumsum", data(20_000, dtype=np.float32)),
]


@pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
def test_results(tmp_path: Path) -> None:
    """Exact in integers, and what runs of extrema."""
    graphs = [irdl.trace(FUNCTIONS[name])(x) for name, x in CASES]
    kernels = OnCpu([gpu_program(graph) for graph in graphs], tmp_path)
    for number, ((name, x), graph) in enumerate(zip(CASES, graphs, strict=True)):
        expected = evaluate(graph, [x])
        for order in (0, 7):
            for result, right in zip(kernels(number, [x], order=order), expected, strict=True):
                if x.dtype.kind == "i" or name.startswith("cumm"):
                    np.testing.assert_array_equal(result.reshape(right.shape), right, err_msg=f"{name} {x.shape}")
                else:
                    tolerance = 1e-11 if x.dtype == np.float64 else 1e-5
                    np.testing.assert_allclose(result.reshape(right.shape), right, rtol=tolerance, atol=tolerance * np.abs(right).max())


def longest(shape: tuple[int, ...], axis: int, gpu: Gpu | None) -> int:
    """Elements that one thread goes through."""
    graph = run_in_pieces(irdl.trace(lambda x: np.cumsum(x, axis=axis))(np.zeros(shape, np.float32)), gpu)
    nodes = [node for node in graph.nodes if node.op.name == "cumsum"]
    return max(node.output.shape[node.attributes.axis] for node in nodes)


def test_lines_are_cut_where_threads_would_lack_work() -> None:
    assert longest((1_000_000,), 0, Gpu()) <= 255
    assert longest((1024, 1024), 1, Gpu()) == longest((1024, 1024), 0, Gpu()) == 32
    assert longest((10, 255), 1, Gpu()) == 255
    assert longest((10_000, 1000), 1, Gpu()) == 1000
    assert longest((1_000_000,), 0, None) == 1_000_000


@pytest.mark.parametrize("name", ["cumsum", "cummax"])
@pytest.mark.parametrize("extent", [256, 700, 9000])
def test_from_the_end(name: str, extent: int) -> None:
    graph = irdl.parse(
        f"graph r(x: i64[2,{extent}]) -> (i64[2,{extent}]) {{\n  %0: i64[2,{extent}] = {name}(x) axis=1 reverse=True\n  return %0\n}}\n"
    )
    x = data(2, extent, dtype=np.int64)
    found = run_in_pieces(graph, Gpu())
    assert len(found.nodes) > 1
    np.testing.assert_array_equal(evaluate(found, [x])[0], evaluate(graph, [x])[0])
