"""Weighted averages, covariances, correlations, norms and the products that NumPy's functions are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.testing import check
from tests.covering import covering

DTYPES = ["float32", "float64", pytest.param("int16", marks=pytest.mark.slow), "uint8", "bool"]


def numbers(shape: Any, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-3, 3, shape)
    return x > 0 if dtype == "bool" else np.abs(x).astype(dtype) if dtype == "uint8" else x.astype(dtype)


@pytest.mark.parametrize(("shape", "dtype"), covering([(1,), (7,), (4, 5), (2, 3, 6)], DTYPES))
def test_averages(shape: tuple[int, ...], dtype: str) -> None:
    x, w = numbers(shape, dtype), np.abs(numbers(shape, "float64", 1)) + 0.1
    check(lambda x, w: (np.average(x), np.average(x, -1, keepdims=True), np.average(x, 0, w), np.average(x, weights=w)), x, w)
    check(lambda x, w: (*np.average(x, -1, w, returned=True), *np.average(x, 0, returned=True, keepdims=True)), x, w)
    check(lambda x, w: (*np.average(x, -1, w, True), *np.average(x, returned=True)), x, (w * 5).astype(np.int32) + 1)
    if len(shape) > 1:
        check(lambda x, w: (*np.average(x, -1, w[0, ..., :].reshape(-1)[: x.shape[-1]], True, keepdims=True),), x, w)
        both = np.abs(numbers(shape[1::-1], "float64", 2)) + 0.1
        check(lambda x, w: (*np.average(x, (1, 0), w, returned=True),), x, both)
        check(lambda x: np.average(x, tuple(range(x.ndim))), x)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("shape", "dtype"), covering([(), (1,), (7,), (3, 5), (1, 6), (5, 1), (0, 4), (3, 40)], DTYPES))
def test_covariances(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    smooth = dtype == "float64" and x.size > 6
    check(
        lambda x: (np.cov(x), np.cov(x, rowvar=False), np.cov(x, bias=True), np.cov(x, ddof=2), np.cov(x, dtype=np.float32)), x, grad=False
    )
    check(lambda x: np.cov(x, bias=True), x, grad=smooth)
    check(lambda x: np.corrcoef(x), x, grad=smooth and shape != (1, 6))
    if x.ndim and x.shape[0]:
        y = numbers(shape, "float64", 3)
        n = x.shape[-1]
        f, a = np.arange(n) + 1, np.linspace(0.5, 2.0, n)
        check(lambda x, y: (np.cov(x, y), np.corrcoef(x, y, dtype=np.float64)), x, y, grad=False)
        if x.ndim > 1 and x.shape[0] > 1:
            check(lambda x, y: (np.cov(x, y, False), np.corrcoef(x, y, False)), x, y, grad=False)
        check(lambda x, f, a: (np.cov(x, fweights=f), np.cov(x, aweights=a), np.cov(x, None, True, True, None, f, a)), x, f, a, grad=False)
        check(lambda x, f, a: np.cov(x, fweights=f, aweights=a, ddof=2), x, f, a, grad=False)


@pytest.mark.parametrize(("shape", "dtype"), covering([(1,), (7,), (4, 5), (2, 3, 6), (0, 3)], ["float32", "float64", "int16", "bool"]))
def test_norms(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    vectors = [None, 1, 2, 0, np.inf, 3, 2.5] + [-np.inf, -1.5] * (dtype == "float64" and x.size > 0)
    for axis in {0, -1} if x.size else {0}:
        check(lambda x: [np.linalg.norm(x, ord, axis) for ord in vectors if ord != -np.inf or x.shape[axis]], x, grad=dtype == "float64")
    check(lambda x: [np.linalg.norm(x, 3, -1, keepdims=True), np.linalg.norm(x), np.linalg.norm(x, keepdims=True)], x, grad=x.size > 0)
    check(lambda x: [np.linalg.vector_norm(x), np.linalg.vector_norm(x, ord=1, keepdims=True), np.linalg.vector_norm(x, axis=-1, ord=4)], x)
    if x.ndim > 1:
        matrices = [None, "fro", "f", 1, np.inf] + [-1, -np.inf] * (x.size > 0)
        check(lambda x: [np.linalg.norm(x, ord, (0, -1)) for ord in matrices], x)
        check(lambda x: [np.linalg.norm(x, ord, (-1, 0), True) for ord in matrices], x)
        check(
            lambda x: (np.linalg.matrix_norm(x), np.linalg.matrix_norm(x, ord=1, keepdims=True), np.linalg.vector_norm(x, axis=(0, 1))), x
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
def test_cross_products(dtype: str) -> None:
    x, y = numbers((4, 3), dtype), numbers((4, 3), dtype, 1)
    check(lambda x, y: (np.cross(x, y), np.cross(x[0], y), np.cross(x.T, y, axisa=0, axisc=0), np.cross(x.T, y.T, axis=0)), x, y)
    check(lambda x, y: (np.cross(x[:, :2], y), np.cross(x, y[:, 1:]), np.cross(x[:, :2], y[:, :2]), np.linalg.cross(x, y)), x, y)
    check(lambda x, y: (np.cross(x[0, :2], y[0, :2]), np.cross(x[:0], y[:0]), np.cross(x[:, None], y[None], axisc=1)), x, y)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "bool"])
def test_kron(dtype: str) -> None:
    for first, second in [((2, 3), (4, 5)), ((3,), (2, 2)), ((2, 1, 3), (4,)), ((), (3,)), ((0, 2), (3, 1)), ((), ())]:
        check(lambda x, y: (np.kron(x, y), np.kron(y, x)), numbers(first, dtype), numbers(second, dtype, 1))
    check(lambda x: np.kron(np.eye(2), x), numbers((3, 2), dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_linalg(dtype: str) -> None:
    x, y, z = numbers((3, 4), dtype), numbers((4, 5), dtype, 1), numbers((5, 2), dtype, 2)
    check(
        lambda x, y, z: (np.linalg.multi_dot([x, y, z]), np.linalg.multi_dot([x[0], y, z]), np.linalg.multi_dot((x, y, z[:, 0]))), x, y, z
    )
    check(lambda x, y, z: (np.linalg.multi_dot([x, y]), np.linalg.multi_dot([x, y, z, z.T, z], out=np.zeros((3, 2), x.dtype))), x, y, z)
    check(lambda x: [np.linalg.matrix_power(x[..., :3], n) for n in (0, 1, 2, 3, 6)], x)
    check(lambda x: [np.linalg.matrix_power(np.stack([x, -x])[..., :3], n) for n in (0, 3)], x)
    check(lambda x: (np.linalg.trace(x, offset=1), np.linalg.diagonal(x), np.linalg.matrix_transpose(x), np.linalg.outer(x[0], x[1])), x)
    check(lambda x: (np.linalg.vecdot(x, x), np.linalg.vecdot(x, x[:, :1], axis=0), np.linalg.tensordot(x, x.T, axes=1)), x)


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: np.average(x, weights=x[0]), TypeError),
        (lambda x: np.average(x, 0, weights=x[0]), ValueError),
        (lambda x: np.average(x, weights=np.zeros((2, 3))), ZeroDivisionError),
        (lambda x: np.average(x, 2), np.exceptions.AxisError),
        (lambda x: np.cov(x[None]), ValueError),
        (lambda x: np.cov(x, ddof=0.5), ValueError),
        (lambda x: np.cov(x, aweights=x), RuntimeError),
        (lambda x: np.cov(x, aweights=x[0, :2]), RuntimeError),
        (lambda x: np.cov(x, fweights=np.array([0.5, 1, 2])), TypeError),
        (lambda x: np.cov(x, fweights=np.array([-1, 1, 2])), ValueError),
        (lambda x: np.linalg.norm(x, "fro", 0), ValueError),
        (lambda x: np.linalg.norm(x, 5), ValueError),
        (lambda x: np.linalg.norm(x[None], 1), ValueError),
        (lambda x: np.linalg.norm(x, 1, (0, 0)), ValueError),
        (lambda x: np.linalg.norm(x, 1, 3), np.exceptions.AxisError),
        (lambda x: np.cross(x[0, 0], x), ValueError),
        (lambda x: np.cross(x[:, :1], x), ValueError),
        (lambda x: np.cross(x, x, axis=4), np.exceptions.AxisError),
        (lambda x: np.linalg.cross(x[:, :2], x), ValueError),
        (lambda x: np.linalg.matrix_power(x, 2), np.linalg.LinAlgError),
        (lambda x: np.linalg.matrix_power(x[:, :2], 2.5), TypeError),
        (lambda x: np.linalg.multi_dot([x]), ValueError),
        (lambda x: np.linalg.multi_dot([x, x[0], x]), np.linalg.LinAlgError),
        (lambda x: np.linalg.outer(x, x), ValueError),
    ],
)
def test_refused_as_numpy_refuses(f: Any, error: type) -> None:
    for run in (f, irdl.jit(f)):
        with pytest.raises(error):
            run(np.arange(6.0).reshape(2, 3))
