"""Checks for users and for irdl's own tests: compiled against eager NumPy, gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.ir.dtypes import finfo, is_complex, is_inexact
from irdl.runtime.jit import jit
from irdl.tracing import tree
from irdl.transforms.api import value_and_grad
from irdl.tree import unflatten

#: The compiled result may be this many times as far from a float64 run as eager NumPy is, plus `ULPS`.
FACTOR = 4.0
ULPS = 16.0


def assert_close(
    actual: Any, expected: Any, reference: Any = None, ulps: float = ULPS, factor: float = FACTOR, magnitude: Any = None
) -> None:
    """Trees of arrays are equal in structure, kind, dtype and shape, and close in value; how far complex numbers are apart is the size of
    their difference.

    An element of `actual` may be `factor` times as far from `reference` (a run in a wider float; without one: `expected`)
    as `expected` is anywhere in its array, plus `ulps` units in the last place of itself, or of its place in `magnitude`
    (how large the terms of a sum are) where that is given.

    Raises:
        AssertionError: naming the leaf, the worst element and both errors.
    """
    left, left_structure = tree.flatten(actual)
    right, right_structure = tree.flatten(expected)
    assert left_structure == right_structure, f"the structure is {left_structure}, not {right_structure}"
    exact = tree.flatten(reference)[0] if reference is not None else right
    sizes = tree.flatten(magnitude)[0] if magnitude is not None else [None] * len(right)
    for x, y, z, size, path in zip(left, right, exact, sizes, tree.paths(expected), strict=True):
        _assert_leaf(x, y, z, size, path or "the result", ulps, factor)


def _assert_leaf(x: Any, y: Any, z: Any, size: Any, name: str, ulps: float, factor: float) -> None:
    assert tree.leaf_kind(x) == tree.leaf_kind(y), f"{name} is a {type(x).__name__}, not a {type(y).__name__}"
    if isinstance(y, (bool, int, float, complex)):
        assert type(x) is type(y), f"{name} is a {type(x).__name__}, not a {type(y).__name__}"
    a, b, c = np.asarray(x), np.asarray(y), np.asarray(z)
    assert a.dtype == b.dtype, f"{name} has dtype {a.dtype}, not {b.dtype}"
    assert a.shape == b.shape, f"{name} has shape {a.shape}, not {b.shape}"
    if not is_inexact(a.dtype):
        assert np.array_equal(a, b), f"{name} differs: {_worst(a != b, a, b)}"
        return
    if not a.size:
        return
    with np.errstate(all="ignore"):
        special = ~np.isfinite(b)
        same = _same(a, b)
        assert same[special].all(), f"{name} differs where it is not finite: {_worst(special & ~same, a, b)}"
        wide_a, wide_b, wide_c = (np.where(special, 0.0, v.astype(_widest(v.dtype))) for v in (a, b, c))
        own = np.abs(wide_b - wide_c)
        own = np.where(np.isfinite(own), own, 0.0)
        scale = np.maximum(np.abs(wide_b), 1e-3 * np.abs(wide_b).max(initial=0.0))
        if size is not None:
            scale = np.maximum(scale, np.nan_to_num(np.abs(np.asarray(size)).astype(np.float64), posinf=0.0))
        allowed = factor * own.max(initial=0.0) + ulps * float(finfo(a.dtype).eps) * scale + np.longdouble(finfo(a.dtype).tiny)
        error = np.where(special | same, 0.0, np.abs(wide_a - wide_b))
        bad = ~(error <= allowed)
        assert not bad.any(), f"{name}: {_worst(bad, a, b)}, allowed {allowed[np.unravel_index(np.argmax(error), a.shape)]:.3g}"


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where the numbers are equal, all nans alike."""
    if is_complex(a.dtype):
        return _same(a.real, b.real) & _same(a.imag, b.imag)
    return (a == b) | (np.isnan(a) & np.isnan(b))


def _widest(dtype: np.dtype) -> type:
    return np.clongdouble if is_complex(dtype) else np.longdouble


def _worst(bad: np.ndarray, a: np.ndarray, b: np.ndarray) -> str:
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"at {place} {a[place]!r} instead of {b[place]!r} ({int(bad.sum())} of {bad.size} elements)"


_WIDER = {"float16": np.float64, "bfloat16": np.float64, "float32": np.float64, "complex64": np.complex128}


def widened(arguments: Any) -> Any:
    """The same arguments in the next wider float."""

    def widen(leaf: Any) -> Any:
        if isinstance(leaf, (np.ndarray, np.generic)) and is_inexact(leaf.dtype):
            return leaf.astype(_WIDER.get(leaf.dtype.name, _widest(leaf.dtype)))
        return leaf

    return tree.map_leaves(widen, arguments)


def _copied(arguments: Any) -> Any:
    return tree.map_leaves(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, arguments)


def check(f: Callable[..., Any], *arguments: Any, grad: bool = True, **options: Any) -> None:
    """Compiled `f` equals eager `f` on these arguments, in structure, kind, dtype, shape and value; so does its gradient.

    Args:
        f: NumPy code.
        arguments: its arguments; they are not changed.
        grad: also compare the compiled gradient of the sum of the float results (of complex ones: of their parts, with respect to the
            float and complex leaves of all arguments) with the eager one, and in float64 with central differences along a random
            direction.
        options: options of `jit`.

    Raises:
        AssertionError: they differ.
    """
    eager_arguments, compiled_arguments = _copied(arguments), _copied(arguments)
    with np.errstate(all="ignore"):
        eager = f(*eager_arguments)
        try:
            reference = f(*widened(_copied(arguments)))
            if tree.flatten(reference)[1] != tree.flatten(eager)[1]:
                reference = None
        except Exception:
            reference = None  # code that insists on float32
    compiled = jit(f, **options)(*compiled_arguments)
    assert_close(compiled, eager, reference)
    assert_close(compiled_arguments, eager_arguments)
    if grad:
        check_gradient(f, *arguments, **options)


def check_gradient(f: Callable[..., Any], *arguments: Any, step: float = 1e-6, tolerance: float = 1e-5, **options: Any) -> None:
    """The compiled gradient of the sum of `f`'s float results equals the eager one, and central differences in float64.

    Raises:
        AssertionError: they differ.
    """
    leaves, structure = tree.flatten(tuple(_copied(arguments)))
    chosen = [place for place, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray) and is_inexact(leaf.dtype)]
    if not chosen or not all(leaves[place].size for place in chosen):
        return

    def total(floats: Sequence[Any]) -> Any:
        whole = list(leaves)
        for place, leaf in zip(chosen, floats, strict=True):
            whole[place] = leaf.copy()
        result = 0.0
        for leaf in tree.flatten(f(*unflatten(structure, whole)))[0]:
            dtype = tree.leaf_type(leaf, "a result").dtype
            if is_inexact(dtype):
                # Weights make the sum notice elements that change places.
                number = np.arange(np.size(leaf)).reshape(np.shape(leaf))
                result = result + np.sum(np.real(leaf) * np.cos(number))
                result = result + np.sum(np.imag(leaf) * np.sin(number + 0.5)) if is_complex(dtype) else result
        return result + np.float64(0)

    start = [leaves[place].astype(np.complex128 if is_complex(leaves[place].dtype) else np.float64) for place in chosen]
    value, eager = value_and_grad(total)(start)
    compiled_value, compiled = jit(value_and_grad(total), **options)(start)
    assert_close(compiled_value, value, ulps=1e4)
    assert_close(compiled, eager, ulps=1e5)
    if not np.isfinite(value):
        return
    rng = np.random.default_rng(0)
    direction = [rng.standard_normal(x.shape) + (1j * rng.standard_normal(x.shape) if is_complex(x.dtype) else 0) for x in start]
    up = total([x + step * d for x, d in zip(start, direction, strict=True)])
    down = total([x - step * d for x, d in zip(start, direction, strict=True)])
    numeric = (up - down) / (2 * step)
    analytic = sum(float(np.real(np.sum(g * d))) for g, d in zip(eager, direction, strict=True))
    scale = max(1.0, abs(numeric), abs(analytic), abs(float(value)))
    assert abs(numeric - analytic) <= tolerance * scale, f"the gradient along a direction is {analytic}, differences give {numeric}"
