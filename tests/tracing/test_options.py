"""NumPy's functions with options and arguments that are seldom given, compiled and by NumPy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from tests.same import same

_random = np.random.default_rng(0)
X, Y, V = _random.standard_normal((3, 4)), _random.standard_normal((3, 4)), _random.standard_normal(4)
PLACES = np.array([0, 2, 5, -7])
PARTIAL = functools.partial(lambda a, b, k=1.0: a * b + k, V, k=2.0)


def _in_place(change: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def f(x: Any, y: Any) -> Any:
        x = x.copy()
        change(x, y)
        return x

    return f


def _product_in_place(x: Any, y: Any) -> None:
    x @= y[:, :3].repeat(2, 1)[:, :4].T @ y


def _variable_without_a_value() -> Callable[[Any], Any]:
    if not PLACES.size:
        shift = 1.0

    def f(x: Any) -> Any:
        try:
            return x + shift
        except NameError:
            return x + 2

    return f


def _variable_bound_later() -> Callable[[], Any]:
    def f() -> Any:
        return scale

    scale = V
    return f


WITHOUT, LATER = _variable_without_a_value(), _variable_bound_later()
CASES: dict[str, Callable[[Any, Any], Any]] = {
    "take, clipped": lambda x, y: np.take(x, PLACES, 1, mode="clip"),
    "take, around": lambda x, y: np.take(x, PLACES, 1, mode="wrap"),
    "take of all": lambda x, y: (np.take(x, np.array([0, 5, -1])), np.take(x, 2, 1)),
    "round": lambda x, y: (round(x[0, 0], 2), round(x[0, 0])),
    "matmul in place": _in_place(_product_in_place),
    "nan_to_num in place": _in_place(lambda x, y: np.nan_to_num(np.sqrt(x, out=x), copy=False, nan=3.0)),
    "put": _in_place(lambda x, y: (np.put(x, [0, -1], [1, 2]), np.put(x, [], []))),
    "copyto": _in_place(lambda x, y: np.copyto(x, 1.0, where=y > 0)),
    "add.at of a slice": _in_place(lambda x, y: np.add.at(x, (slice(0, 2), 1), 3.0)),
    "subtract.at": _in_place(lambda x, y: np.subtract.at(x, np.array([0, 0, 1]), y)),
    "transpose": lambda x, y: (x.transpose((1, 0)), np.rollaxis(x, 1), np.einsum("ij->ji", x)),
    "partial": lambda x, y: PARTIAL(x),
    "closures": lambda x, y: (WITHOUT(x), LATER() * x),
    "dot with numbers": lambda x, y: (np.dot(x, 2.0), np.dot(x[0, 0], y), np.inner(x, 3.0), np.dot(x > 0, True)),
    "einsum": lambda x, y: (np.einsum("ij,jk->ki", x, y.T), np.einsum("ii->i", x[:, :3])),
    "array_equal": lambda x, y: (np.array_equal(x, x, equal_nan=True), np.array_equal(x, y[:2])),
    "layout": lambda x, y: (x.T.flags.fnc, x.flags.forc, x.T.copy(order="A").T.reshape(-1)),
    "creation": lambda x, y: (
        np.array(x[0], ndmin=3),
        np.zeros_like(x, shape=(2, 2), dtype=np.float32),
        np.ones((2, 3), "f", "F") * x[0, 0],
    ),
    "outer": lambda x, y: np.multiply.outer(x[0], y[0]),
    "angle": lambda x, y: (np.angle(x, deg=True), x.conj(), np.iscomplexobj(x)),
    "quantiles at no place": lambda x, y: np.quantile(x, np.array([]), axis=0),
    "partition": lambda x, y: np.sort(np.partition(x, np.array(2), 1)[:, :2], 1),
    "folds": lambda x, y: (np.subtract.reduce(x, 1, initial=x[0, 0]), np.fmax.accumulate(x, 1)),
    "reductions": lambda x, y: (np.cumsum(x[0, 0]), np.var(x, 1, where=x > -1), np.max(x, axis=()), np.argmax(x, keepdims=True)),
    "choosing": lambda x, y: (np.clip(x, None, y), np.compress([True, False, True], x, 0), np.choose((x > 0).astype(int), [x, y])),
    "places": lambda x, y: (np.unravel_index(np.argmax(x), x.shape), np.ravel_multi_index((np.array([1, 2]), np.array([0, 3])), x.shape)),
    "as_strided": lambda x, y: np.lib.stride_tricks.as_strided(x, (2, 2), (32, 8)),
}
if hasattr(np, "matvec"):
    CASES["matvec"] = lambda x, y: (np.matvec(x, V), np.vecmat(x[:, 0], x))


@pytest.mark.parametrize("case", CASES)
def test_as_numpy_does(case: str) -> None:
    with np.errstate(invalid="ignore"):
        expected, found = CASES[case](X.copy(), Y), irdl.jit(CASES[case])(X.copy(), Y)
    assert same(found, expected, rtol=1e-12), (found, expected)
