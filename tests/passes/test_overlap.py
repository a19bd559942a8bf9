"""Overlap-add put together from other ops, and slices of it: evaluated by NumPy before and after."""

import numpy as np
import pytest

from irdl.ir.builder import Builder
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph, Value
from irdl.ir.types import TensorType
from irdl.ir.verify import verify
from irdl.ops.contract import DOT, DotAttributes
from irdl.ops.shape import SLICE, SliceAttributes
from irdl.ops.windows import UNWINDOW, WINDOWS, UnwindowAttributes, WindowsAttributes
from irdl.passes.expand import expand


def drawn(rng: np.random.Generator, from_contraction: bool) -> tuple[Graph, list[np.ndarray]]:
    """A slice of an unwindow along one or two of three axes, of an array or of a contraction that has the taps from one operand."""
    count = int(rng.integers(1, 3))
    axes = tuple(int(axis) for axis in rng.permutation(3)[:count])
    shape = [int(n) for n in rng.integers(1, 10, 3)]
    sizes, steps, dilations = (tuple(int(n) for n in rng.integers(1, most, count)) for most in (5, 4, 3))
    for axis, size, dilation in zip(axes, sizes, dilations, strict=True):
        shape[axis] += (size - 1) * dilation
    (windows,) = WINDOWS.infer([TensorType(np.dtype("float64"), tuple(shape))], WindowsAttributes(axes, sizes, steps, dilations), ())
    builder = Builder()
    if from_contraction:
        kept, taps = "abc", "de"[:count]
        inputs = [Value(TensorType(windows.dtype, (*windows.shape[:3], 2))), Value(TensorType(windows.dtype, (*sizes, 2)))]
        y = builder.value(DOT, inputs, DotAttributes(f"{kept}k,{taps}k->{kept}{taps}"))
    else:
        inputs = [Value(windows)]
        y = inputs[0]
    whole = builder.value(UNWINDOW, [y], UnwindowAttributes(axes, tuple(shape[axis] for axis in axes), steps, dilations))
    start = tuple(int(rng.integers(0, n + 1)) if rng.random() < 0.6 else 0 for n in shape)
    limit = tuple(int(rng.integers(first, n + 1)) if rng.random() < 0.6 else n for first, n in zip(start, shape, strict=True))
    stride = (1, 1, int(rng.integers(1, 3)) if rng.random() < 0.2 else 1)
    result = builder.value(SLICE, [whole], SliceAttributes(start, limit, stride))
    outputs = [result, whole] if rng.random() < 0.2 else [result]
    return Graph(inputs, outputs, "main"), [rng.standard_normal(value.shape) for value in inputs]


@pytest.mark.parametrize("from_contraction", [False, True])
def test_slices_of_overlap_add(from_contraction: bool) -> None:
    for seed in range(400):
        graph, arguments = drawn(np.random.default_rng(seed), from_contraction)
        expanded = expand(graph)
        verify(expanded)
        for found, expected in zip(evaluate(expanded, arguments), evaluate(graph, arguments), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=f"seed {seed}")


def test_no_more_is_computed_than_a_slice_keeps() -> None:
    """Of the gradient of a convolution with padding, the padding's is not made."""
    builder = Builder()
    gradient, weight = (Value(TensorType(np.dtype("float32"), shape)) for shape in ((4, 4, 8), (3, 3, 8, 8)))
    y = builder.value(DOT, [gradient, weight], DotAttributes("abo,deio->abide"))
    whole = builder.value(UNWINDOW, [y], UnwindowAttributes((0, 1), (6, 6), (1, 1), (1, 1)))
    kept = builder.value(SLICE, [whole], SliceAttributes((1, 1, 0), (5, 5, 8), (1, 1, 1)))
    expanded = expand(Graph([gradient, weight], [kept], "main"))
    assert [node.op.name for node in expanded.nodes if node.op.name not in ("constant", "reverse")] == ["pad", "windows", "dot"]
    assert [node.output.shape for node in expanded.nodes if node.op is DOT] == [(4, 4, 8)]
