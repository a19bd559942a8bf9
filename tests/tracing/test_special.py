"""Functions of `scipy.special` and Python numbers made of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import check

special = pytest.importorskip("scipy.special")
RNG = np.random.default_rng(0)
SHAPES = [(1,), (7,), (4, 5), (2, 3, 4)]


def numbers(shape: Any, dtype: Any = np.float64) -> np.ndarray:
    return (RNG.standard_normal(shape) * 3).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_and_its_kin(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    for axis in (None, 0, -1, tuple(range(len(shape)))):

        def f(x: Any, axis: Any = axis) -> Any:
            sums = special.logsumexp(x, axis), special.logsumexp(x, axis=axis, keepdims=True)
            return special.softmax(x, axis=axis), special.log_softmax(x, axis), *sums

        check(f, x, grad=dtype == "float64")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_softmax_and_its_kin_of_integers(dtype: str) -> None:
    x = np.abs(numbers((4, 5))).astype(dtype)
    for function in (special.softmax, special.log_softmax, special.logsumexp)[2 * (dtype == "uint8") :]:  # NumPy's exp of bytes is float16
        found, expected = irdl.jit(lambda x, function=function: function(x, 1))(x), function(x, 1)
        assert found.dtype == expected.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_logsumexp_with_weights() -> None:
    x, b = numbers((4, 5)), np.array([1.0, 0.0, 2.0, 0.5, 3.0])
    check(lambda x, b: special.logsumexp(x, 1, b=b), x, b, grad=False)
    check(lambda x: special.logsumexp(x, 1, b=b), x)
    check(lambda x: special.logsumexp(x, 0, b=-b, return_sign=True), x, grad=False)
    check(lambda x: special.logsumexp(x, -1, np.array([1.0, -1, 1, -1, 1]), keepdims=True, return_sign=True), x, grad=False)


def test_infinities() -> None:
    rows = np.array([[np.inf, 1, 2], [-np.inf, 1, 2], [-np.inf, -np.inf, -np.inf], [np.nan, 1, 2], [800, -800, 799]])
    with np.errstate(invalid="ignore", divide="ignore"):
        check(lambda x: (special.logsumexp(x, 1), special.log_softmax(x, 1)), rows, grad=False)
        check(lambda x: special.softmax(x, 1), rows[[1, 4]], grad=False)
    (gradient,) = irdl.jit(lambda x: irdl.grad(lambda x: special.logsumexp(x, 1).sum(), argnums=(0,))(x))(rows[[1, 4]])
    np.testing.assert_allclose(gradient, special.softmax(rows[[1, 4]], 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["xlogy", "xlog1py", "rel_entr", "kl_div", "huber"])
def test_ufuncs_of_two(name: str, dtype: str) -> None:
    function = getattr(special, name)
    edges = np.array([0, -0.0, 1, 2, 0.5, 1e-30, 1e30, -1, -2, np.inf, -np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):
        check(lambda x, y: function(x, y), edges[:, None], edges, grad=False)
        check(lambda x: function(x, 2), edges, grad=False)
    x, y = np.abs(numbers((5, 3), dtype)) + 0.1, np.abs(numbers((3,), dtype)) + 0.1
    check(lambda x, y: function(x, y), x, y, grad=dtype == "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_entropy(dtype: str) -> None:
    with np.errstate(all="ignore"):
        check(special.entr, np.array([0, -0.0, 1, 0.5, 1e-30, 1e30, -1, np.inf, -np.inf, np.nan], dtype), grad=False)
    check(special.entr, np.abs(numbers((4, 3), dtype)) + 0.1, grad=dtype == "float64")


def test_gradients_at_zero() -> None:
    """Of what is no number there for neither of the two."""
    of_xlogy = irdl.jit(irdl.grad(lambda x, y: special.xlogy(x, y).sum(), argnums=(0, 1)))
    (dx, dy) = of_xlogy(np.array([0.0, 0.0, 2.0]), np.array([3.0, 0.0, 4.0]))
    np.testing.assert_allclose(dx, [np.log(3), 0, np.log(4)])
    np.testing.assert_allclose(dy, [0, 0, 0.5])


def test_a_loss_as_it_is_written() -> None:
    """Cross entropy of a softmax classifier, with SciPy's names as globals of the user's module."""
    W, x, labels = numbers((6, 3)), numbers((10, 6)), RNG.integers(0, 3, 10)

    def loss(W: Any, x: Any, labels: Any) -> Any:
        scores = x @ W
        return np.mean(special.logsumexp(scores, axis=1) - scores[np.arange(len(scores)), labels])

    value, gradient = irdl.jit(irdl.value_and_grad(loss))(W, x, labels)
    np.testing.assert_allclose(value, loss(W, x, labels))
    expected = x.T @ (special.softmax(x @ W, 1) - np.eye(3)[labels]) / 10
    np.testing.assert_allclose(gradient, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "uint8", "bool"])
def test_items(dtype: str) -> None:
    """Python's numbers, whose dtype gives way to an array's."""
    x = numbers((3, 4), "float64").astype(dtype)

    def f(x: Any) -> Any:
        one = x[1:2, 2:3].item()
        lists = x.tolist()
        return one, x.item(7), x.item(1, -2), x.item((0, 3)), lists[2][1], lists, [x[0, 0].item()], x[:, 0].tolist()

    expected, found = f(x), irdl.jit(f)(x)
    assert found == expected
    for a, b in zip(irdl.tree.leaves(found), irdl.tree.leaves(expected), strict=True):
        assert type(a) is type(b)

    def scaled(x: Any) -> Any:
        return x.astype(np.float32) * x.item(0)

    assert irdl.jit(scaled)(x).dtype == scaled(x).dtype == np.float32


def test_items_have_gradients() -> None:
    def loss(x: Any) -> Any:
        return x.sum().item() * x[0].item() + sum(v * v for v in x.tolist())

    x = numbers(5)
    for gradient in (irdl.grad(loss), irdl.jit(irdl.grad(loss))):
        np.testing.assert_allclose(gradient(x), x[0] + np.eye(5)[0] * x.sum() + 2 * x)


def test_items_that_are_none() -> None:
    x = numbers((3, 4))
    for f in (lambda x: x.item(), lambda x: x.item(12), lambda x: x.item(3, 0), lambda x: x[:0].item()):
        with pytest.raises((ValueError, IndexError)) as eager:
            f(x)
        with pytest.raises(type(eager.value)):
            irdl.jit(f)(x)
    with pytest.raises(TraceError, match=r"\.item\(\)"):
        irdl.jit(lambda x: x[0].item())(np.ones(3, np.uint64))
