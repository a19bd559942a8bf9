"""Functions of `scipy.linalg` and `scipy.signal`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError

linalg = pytest.importorskip("scipy.linalg")
signal = pytest.importorskip("scipy.signal")

_random = np.random.default_rng(0)
A, B = _random.standard_normal((5, 5)), _random.standard_normal((5, 3))
S = A @ A.T + np.eye(5)


def close(f: Any, *arguments: Any) -> None:
    expected, found = irdl.tree.leaves(f(*arguments)), irdl.tree.leaves(irdl.jit(f)(*arguments))
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype and one.shape == other.shape
        tolerance = 1e-3 if np.asarray(other).dtype == np.float32 else 1e-9
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lower", [False, True])
def test_cholesky(lower: bool, dtype: str) -> None:
    """The triangle that is named is read, and no other."""
    s, b = S.astype(dtype), B.astype(dtype)
    s = np.tril(s) + np.triu(7 * s, 1) if lower else np.triu(s) + np.tril(7 * s, -1)
    close(lambda s, b: (linalg.cholesky(s, lower=lower), linalg.cho_factor(s, lower), linalg.cho_factor(s, lower=lower)[0].sum()), s, b)
    close(lambda s, b: (linalg.cho_solve(linalg.cho_factor(s, lower), b), linalg.cho_solve((s, lower), b[:, 0])), s, b)

    def stores(s: Any) -> Any:
        factor = linalg.cholesky(s, lower)
        factor.reshape(-1)[0] = 9  # of a copy, as it lies in Fortran's order
        return factor

    close(stores, s)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, 1, "N", "T"])
@pytest.mark.parametrize("unit_diagonal", [False, True])
def test_triangular_systems(lower: bool, trans: Any, unit_diagonal: bool) -> None:
    a = A + 5 * np.eye(5)
    options = {"trans": trans, "lower": lower, "unit_diagonal": unit_diagonal}
    close(lambda a, b: (linalg.solve_triangular(a, b, **options), linalg.solve_triangular(a, b[:, 0], **options)), a, B)


def test_systems() -> None:
    close(lambda a, b: (linalg.solve(a, b), linalg.solve(a, b[:, 0], transposed=True)), A, B)
    close(lambda a, b: (linalg.solve_triangular(a, b, lower=True), linalg.cho_solve((a, True), b)), np.array([[2, 1], [1, 2]]), np.ones(2))
    with pytest.raises(np.linalg.LinAlgError):
        irdl.jit(lambda a: linalg.solve_triangular(a, np.ones(2)))(np.zeros((2, 2)))
    with pytest.raises(TraceError, match="cho_factor"):
        irdl.jit(lambda a: linalg.solve(a, a, assume_a="pos"))(S)
    with pytest.raises(TraceError, match="has no rule in irdl"):
        irdl.jit(lambda a: linalg.expm(a))(S)


def process(x: Any, y: Any, z: Any) -> Any:
    """The likelihood of a Gaussian process, and its mean elsewhere."""
    kernel = np.exp(-((x[:, None] - x[None]) ** 2)) + 0.1 * np.eye(len(x))
    factor = linalg.cholesky(kernel, lower=True)
    weights = linalg.cho_solve((factor, True), y)
    across = np.exp(-((x[:, None] - z[None]) ** 2))
    spread = 1 - (linalg.solve_triangular(factor, across, lower=True) ** 2).sum(0)
    return across.T @ weights, spread, -0.5 * y @ weights - np.log(np.diag(factor)).sum()


def test_a_gaussian_process() -> None:
    irdl.testing.check_gradient(process, B[:, 0], B[:, 1], A[0])
    close(process, B[:, 0], B[:, 1], A[0])


FILTERS = [([0.2, 0.3, 0.1], [1.0, -0.5]), ([0.5], [2.0, 0.3, -0.1, 0.05]), ([1.0, 2.0, 1.0], [1.0]), ([3.0], [2.0]), (0.5, 1.0)]


@pytest.mark.parametrize(("b", "a"), FILTERS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_filters(b: Any, a: Any, dtype: str) -> None:
    x = (10 * _random.standard_normal((4, 30))).astype(dtype)
    order = max(np.size(b), np.size(a)) - 1
    for axis in (-1, 0):
        close(lambda x, axis=axis: signal.lfilter(b, a, x, axis=axis), x)
        if order and dtype == "float64":
            state = np.ones((4, order)) if axis else np.ones((order, 30))
            close(lambda x, state, axis=axis: signal.lfilter(b, a, x, axis, state), x, state)
    close(lambda x: signal.lfilter(b, a, x[0]), x)


def test_filters_with_traced_coefficients() -> None:
    def f(b: Any, a: Any, x: Any) -> Any:
        return signal.lfilter(b, a, x)

    b, a, x = np.array([0.2, 0.3]), np.array([1.5, -0.5, 0.1]), _random.standard_normal(40)
    close(f, b, a, x)
    irdl.testing.check_gradient(f, b, a, x)
    with pytest.raises(ValueError, match=r"a\[0\] of a filter is 0"):
        irdl.jit(lambda x: signal.lfilter([1.0], [0.0, 1.0], x))(x)
    with pytest.raises(ValueError, match="coefficients of a filter are vectors"):
        irdl.jit(lambda x: signal.lfilter([[1.0]], [1.0], x))(x)


class Equaliser:
    """Blocks of samples through one filter, whose state goes on."""

    def __init__(self) -> None:
        self.state = np.zeros(2)

    def process(self, x: Any) -> Any:
        y, self.state = signal.lfilter([0.2, 0.4, 0.2], [1.0, -0.3, 0.1], x, zi=self.state)
        return y


def test_blocks_of_samples() -> None:
    eager, compiled = Equaliser(), Equaliser()
    f = irdl.jit(compiled.process)
    for _ in range(3):
        x = _random.standard_normal(32)
        np.testing.assert_allclose(f(x), eager.process(x), atol=1e-12)
        np.testing.assert_allclose(compiled.state, eager.state, atol=1e-12)
