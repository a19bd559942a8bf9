"""Products on boxes: matmul, dot, einsum, tensordot and their kin, all as contractions of two named operands."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import family, is_complex
from irdl.ir.graph import Value
from irdl.ops.contract import DOT, LETTERS, DotAttributes
from irdl.ops.elementwise import CONJ
from irdl.ops.reduce import SUM, ReduceAttributes
from irdl.ops.shape import RESHAPE, TRANSPOSE, ReshapeAttributes, TransposeAttributes
from irdl.tracing.box import PYTHON_NUMBERS, PYTHON_TYPES, is_box, to_value, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.shaping import diagonal_view
from irdl.tracing.numpy.ufuncs import loop_dtypes
from irdl.tracing.operations import apply, cast

_IN_ORDER = "".join(sorted(LETTERS))


def common_dtype(*items: Any) -> np.dtype:
    """NumPy's result dtype of arrays, boxes, dtypes and Python scalars."""
    kinds = []
    for item in items:
        if is_box(item):
            weak = PYTHON_TYPES[family(item.dtype)]() if item.kind == "python" else None
            kinds.append(np.empty(0, item.dtype) if weak is None else weak)
        elif isinstance(item, (list, tuple)):
            kinds.append(np.empty(0, to_value(item).dtype))
        elif isinstance(item, (np.dtype, type)):
            kinds.append(np.dtype(item))
        else:
            kinds.append(item if isinstance(item, PYTHON_NUMBERS) else np.empty(0, np.asarray(item).dtype))
    return np.result_type(*kinds)  # of bfloat16, arrays and their dtypes may give two answers


def array_dtype(*items: Any) -> np.dtype:
    """As `common_dtype`, of functions that make arrays of their arguments first: Python's numbers are no weaker than others."""
    return np.result_type(*(item.dtype if is_box(item) else to_value(item).dtype for item in items))


def contract(spec: str, x: Value, y: Value) -> Value:
    """An einsum of two values of one dtype; letters of one operand alone that the output lacks are summed first. Of truth values it
    holds where any of the products do."""
    if x.dtype == np.bool_:
        found = contract(spec, *(cast(value, np.dtype(np.int32)) for value in (x, y)))
        return cast(found, np.dtype(np.bool_))
    operands, _, output = spec.partition("->")
    left, _, right = operands.partition(",")
    left, x = _sum_alone(left, x, set(right) | set(output))
    right, y = _sum_alone(right, y, set(left) | set(output))
    return apply(DOT, [x, y], DotAttributes(f"{left},{right}->{output}"))


def _sum_alone(labels: str, value: Value, wanted: set[str]) -> tuple[str, Value]:
    axes = tuple(axis for axis, label in enumerate(labels) if label not in wanted)
    if not axes:
        return labels, value
    op = "any" if value.dtype == np.bool_ else SUM
    return "".join(label for label in labels if label in wanted), apply(op, [value], ReduceAttributes(axes))


def matmul(x: Any, y: Any, dtype: Any = None) -> Value:
    """`x @ y`.

    Raises:
        ValueError: the core dimensions differ, or one operand is a scalar (NumPy's message).
    """
    dtype = loop_dtypes(np.matmul, (x, y), dtype)[-1]
    a, b = to_value(x, dtype), to_value(y, dtype)
    if not a.shape or not b.shape:
        raise ValueError(f"matmul: Input operand 0 does not have enough dimensions{user_line()}")
    if a.shape[-1] != b.shape[-2 if len(b.shape) > 1 else 0]:
        raise ValueError(
            f"matmul: mismatch in the core dimension: {a.type} @ {b.type} would sum over axes of "
            f"{a.shape[-1]} and {b.shape[-2 if len(b.shape) > 1 else 0]}{user_line()}"
        )
    core_a = "ij" if len(a.shape) > 1 else "j"
    core_b = "jk" if len(b.shape) > 1 else "j"
    lead_a, lead_b = a.shape[: -len(core_a)], b.shape[: -len(core_b)]
    lead = np.broadcast_shapes(lead_a, lead_b)
    names = LETTERS[-len(lead) :] if lead else ""
    a, labels_a = _lead(a, lead_a, lead, names, core_a)
    b, labels_b = _lead(b, lead_b, lead, names, core_b)
    present = [n for n, extent in zip(names, lead, strict=True) if n in labels_a + labels_b]
    output = "".join(present) + core_a.replace("j", "") + core_b.replace("j", "")
    result = contract(f"{labels_a},{labels_b}->{output}", a, b)
    shape = (*lead, *(a.shape[-2:-1] if core_a == "ij" else ()), *(b.shape[-1:] if core_b == "jk" else ()))
    return result if result.shape == shape else apply(RESHAPE, [result], ReshapeAttributes(shape))


def _lead(value: Value, own: tuple[int, ...], lead: tuple[int, ...], names: str, core: str) -> tuple[Value, str]:
    """Name the batch axes; axes of 1 that broadcast are dropped."""
    labels, shape = "", []
    for extent, whole, name in zip(own, lead[len(lead) - len(own) :], names[len(lead) - len(own) :], strict=True):
        if extent == whole and whole != 1:
            labels += name
            shape.append(extent)
    shape = [*shape, *value.shape[len(own) :]]
    if tuple(shape) != value.shape:
        value = apply(RESHAPE, [value], ReshapeAttributes(tuple(shape)))
    return value, labels + core


def dot(x: Any, y: Any) -> Value:
    """`np.dot`: products of scalars, inner products over the last axis of x and the second to last of y."""
    dtype = array_dtype(x, y)
    a, b = to_value(x, dtype), to_value(y, dtype)
    if not a.shape or not b.shape:
        return apply("mul" if dtype != np.bool_ else "bitwise_and", [a, b])
    left = LETTERS[: len(a.shape)]
    right = LETTERS[len(left) : len(left) + len(b.shape)]
    place = len(b.shape) - 2 if len(b.shape) > 1 else 0
    if a.shape[-1] != b.shape[place]:
        raise ValueError(f"shapes {a.shape} and {b.shape} not aligned: {a.shape[-1]} != {b.shape[place]}{user_line()}")
    right = right[:place] + left[-1] + right[place + 1 :]
    return contract(f"{left},{right}->{left[:-1]}{right.replace(left[-1], '')}", a, b)


def inner(x: Any, y: Any) -> Value:
    dtype = array_dtype(x, y)
    a, b = to_value(x, dtype), to_value(y, dtype)
    if not a.shape or not b.shape:
        return apply("mul" if dtype != np.bool_ else "bitwise_and", [a, b])
    left = LETTERS[: len(a.shape)]
    right = LETTERS[len(left) : len(left) + len(b.shape) - 1] + left[-1]
    return contract(f"{left},{right}->{left[:-1]}{right[:-1]}", a, b)


def outer(x: Any, y: Any) -> Value:
    dtype = array_dtype(x, y)
    a, b = (apply(RESHAPE, [v], ReshapeAttributes((v.type.size,))) for v in (to_value(x, dtype), to_value(y, dtype)))
    return contract("i,j->ij", a, b)


def tensordot(x: Any, y: Any, axes: Any = 2) -> Value:
    dtype = array_dtype(x, y)
    a, b = to_value(x, dtype), to_value(y, dtype)
    if isinstance(axes, int):
        first = list(range(len(a.shape) - axes, len(a.shape)))
        second = list(range(axes))
    else:
        first, second = ([axis] if isinstance(axis, int) else list(axis) for axis in axes)
    for axes_of, rank in ((first, len(a.shape)), (second, len(b.shape))):
        if any(not -rank <= axis < rank for axis in axes_of):
            raise IndexError(f"tensordot: an axis of {axes_of} is out of range for an array with {rank} axes{user_line()}")
    first, second = [axis % len(a.shape) for axis in first], [axis % len(b.shape) for axis in second]
    left = LETTERS[: len(a.shape)]
    right = list(LETTERS[len(left) : len(left) + len(b.shape)])
    for i, j in zip(first, second, strict=True):
        if a.shape[i] != b.shape[j]:
            raise ValueError(f"shape-mismatch for sum: axes of {a.shape[i]} and {b.shape[j]}{user_line()}")
        right[j] = left[i]
    output = [c for c in left if c not in right] + [c for c in right if c not in left]
    return contract(f"{left},{''.join(right)}->{''.join(output)}", a, b)


def einsum(*operands: Any, optimize: Any = False, **options: Any) -> Any:
    """`np.einsum`: pairs are contracted from left to right."""
    options = {name: value for name, value in options.items() if value is not None}
    if options:
        raise TraceError(f"np.einsum is traced without {', '.join(options)}{user_line()}")
    if not isinstance(operands[0], str):
        operands = _with_letters(operands)
    text, *arrays = operands
    text = text.replace(" ", "")
    dtype = array_dtype(*arrays)
    values = [to_value(array, dtype) for array in arrays]
    inputs, output, extents = _einsum_labels(text, values)
    if len(values) == 1 and set(inputs[0]) == set(output) and len(set(output)) == len(output):
        return _einsum_view(inputs[0], output, arrays[0])
    terms = [_diagonal(*_without_ones(labels, value, extents)) for labels, value in zip(inputs, values, strict=True)]
    labels, value = terms[0]
    for position, (next_labels, next_value) in enumerate(terms[1:], 1):
        wanted = set(output).union(*(set(rest) for rest, _ in terms[position + 1 :]))
        kept = "".join(dict.fromkeys(c for c in labels + next_labels if c in wanted))
        kept = output if position == len(terms) - 1 else kept
        value = contract(f"{labels},{next_labels}->{kept}", value, next_value)
        labels = kept
    labels, value = _sum_alone(labels, value, set(output))
    if labels != output:
        value = apply(TRANSPOSE, [value], TransposeAttributes(tuple(labels.index(c) for c in output)))
    return wrap_result(cast(value, dtype))


def _einsum_view(labels: str, output: str, array: Any) -> Any:
    """Nothing is added up: NumPy gives a view."""
    box: Any = array if is_box(array) else wrap_result(to_value(array))
    while len(set(labels)) != len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        first, second = [axis for axis, c in enumerate(labels) if c == label][:2]
        box = diagonal_view(box, 0, first, second)
        labels = "".join(c for axis, c in enumerate(labels) if axis not in (first, second)) + label
    return np.transpose(box, tuple(labels.index(c) for c in output)) if output else wrap_result(box.value)


def _with_letters(operands: Sequence[Any]) -> tuple[Any, ...]:
    """The string form of `x, [0, 1], y, [1, 2], [0, 2]`: letters have the order of the numbers."""
    arrays, lists = operands[0 : len(operands) // 2 * 2 : 2], [*operands[1::2], *operands[len(operands) // 2 * 2 :]]
    terms = []
    for items in lists:
        term = ""
        for item in items:
            if item is not Ellipsis and not 0 <= operator.index(item) < len(LETTERS):
                raise ValueError(f"subscript is not within the valid range [0, {len(LETTERS)}){user_line()}")
            term += "..." if item is Ellipsis else _IN_ORDER[operator.index(item)]
        terms.append(term)
    output = f"->{terms.pop()}" if len(operands) % 2 else ""
    return (",".join(terms) + output, *arrays)


def _einsum_labels(text: str, values: Sequence[Value]) -> tuple[list[str], str, dict[str, int]]:
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(values):
        raise ValueError(f"einsum: {len(inputs)} terms for {len(values)} operands{user_line()}")
    free = [c for c in LETTERS if c not in text]
    rank = max((len(v.shape) - len(part.replace("...", "")) for part, v in zip(inputs, values, strict=True) if "..." in part), default=0)
    ellipsis = "".join(free[:rank])
    if not arrow:
        letters = left.replace(",", "").replace("...", "")
        output = ("..." if "..." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    resolved = []
    for part, value in zip(inputs, values, strict=True):
        own = len(value.shape) - len(part.replace("...", ""))
        part = part.replace("...", ellipsis[rank - own :] if own else "")
        if len(part) != len(value.shape):
            raise ValueError(f'einsum: term "{part}" does not fit an array of shape {value.shape}{user_line()}')
        resolved.append(part)
    extents: dict[str, int] = {}
    for part, value in zip(resolved, values, strict=True):
        for label, extent in zip(part, value.shape, strict=True):
            known = extents.get(label, 1)
            if known != extent and 1 not in (known, extent):
                raise ValueError(f"einsum: axis {label} is both {known} and {extent}{user_line()}")
            extents[label] = extent if known == 1 else known
    return resolved, output.replace("...", ellipsis), extents


def _without_ones(labels: str, value: Value, extents: dict[str, int]) -> tuple[str, Value]:
    """Axes of 1 that stand for any number of the same go."""
    kept = [axis for axis, label in enumerate(labels) if value.shape[axis] == extents[label]]
    if len(kept) == len(labels):
        return labels, value
    labels = "".join(labels[axis] for axis in kept)
    return labels, apply(RESHAPE, [value], ReshapeAttributes(tuple(value.shape[axis] for axis in kept)))


def _diagonal(labels: str, value: Value) -> tuple[str, Value]:
    """Take the diagonal where a letter repeats in one term."""
    while len(set(labels)) != len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        first, second = [axis for axis, c in enumerate(labels) if c == label][:2]
        box = np.diagonal(wrap_result(value), axis1=first, axis2=second)
        value = to_value(box)
        labels = "".join(c for axis, c in enumerate(labels) if axis not in (first, second)) + label
    return labels, value


def conjugate(x: Any) -> Any:
    """The conjugate of complex numbers; others as they are."""
    value = to_value(x)
    return wrap_result(apply(CONJ, [value])) if is_complex(value.dtype) else x


def gufunc(ufunc: np.ufunc, inputs: Sequence[Any], dtype: Any) -> Value:
    """The generalised ufuncs that are products."""
    if ufunc is np.matmul:
        x, y = inputs
        return matmul(x, y, dtype)
    inputs = [wrap_result(to_value(x, own)) for x, own in zip(inputs, loop_dtypes(ufunc, inputs, dtype), strict=False)]
    if ufunc is getattr(np, "vecdot", None):
        return to_value(einsum("...i,...i->...", conjugate(inputs[0]), inputs[1]))
    if ufunc is getattr(np, "matvec", None):
        return to_value(einsum("...ij,...j->...i", *inputs))
    if ufunc is getattr(np, "vecmat", None):
        return to_value(einsum("...i,...ij->...j", conjugate(inputs[0]), inputs[1]))
    raise TraceError(f"np.{ufunc.__name__} has no rule in irdl{user_line()}")
