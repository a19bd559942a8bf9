"""Eigenvalues of symmetric matrices, singular values, and what is made of them: compiled against NumPy's own. Signs of vectors are free,
and bases of those of equal values: of them is asked that they are orthonormal and make the matrix again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import DifferentiationError
from irdl.testing import assert_close, check_gradient
from irdl.tracing import tree
from tests.covering import covering

SHAPES_OF_SYMMETRIC = [(0, 0), (1, 1), (2, 2), (3, 6, 6), (2, 0, 3, 3), (17, 17), (64, 64)]


def transposed(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def close(actual: Any, expected: Any, ulps: float = 64.0) -> None:
    """Measured by the largest element."""
    sizes = tree.map_leaves(lambda x: np.full(np.shape(x), np.abs(x).max(initial=1e-300)), expected)
    assert_close(actual, expected, ulps=ulps, magnitude=sizes)


def orthonormal(x: np.ndarray) -> None:
    close(transposed(x) @ x, np.zeros_like(transposed(x) @ x) + np.eye(x.shape[-1], dtype=x.dtype))


def special(n: int) -> dict[str, np.ndarray]:
    """What iterations find hard: equal values, none, those of all sizes, and rows that have nothing to do with each other."""
    rng = np.random.default_rng(n)
    g = rng.normal(size=(n, n))
    q = np.linalg.qr(g)[0]
    return {
        "none": np.zeros((n, n)),
        "ones": np.eye(n),
        "rank one": np.ones((n, n)),
        "half the rank": g[:, : n // 2] @ g[:, : n // 2].T,
        "equal": q @ np.diag(np.repeat([1.0, 2.0], [n // 2, n - n // 2])) @ q.T,
        "of both signs": q @ np.diag((-1.0) ** np.arange(n)) @ q.T,
        "graded": q @ np.diag(10.0 ** -np.arange(n)) @ q.T,
        "scaled": np.exp(-np.arange(n)) * (g + g.T) * np.exp(-np.arange(n))[:, None],
        "a ring": np.roll(np.eye(n), 1, 0) + np.roll(np.eye(n), -1, 0),
        "hilbert": 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0),
        "large": 1e200 * (g + g.T),
        "small": 1e-300 * (g + g.T),
    }


@pytest.mark.parametrize(("shape", "dtype"), covering(SHAPES_OF_SYMMETRIC, ["float32", "float64", "int32"], every=3))
def test_eigenvalues_of_symmetric_matrices(shape: tuple[int, ...], dtype: str) -> None:
    a = (9 * np.random.default_rng(0).normal(size=shape)).astype(dtype)  # of which one triangle is read
    values, vectors, upper, alone = irdl.jit(lambda a: (*np.linalg.eigh(a), np.linalg.eigh(a, "U")[0], np.linalg.eigvalsh(a)))(a)
    close((values, upper, alone), (np.linalg.eigh(a)[0], np.linalg.eigh(a, "U")[0], np.linalg.eigvalsh(a)))
    assert values.dtype == vectors.dtype == np.linalg.eigh(a)[1].dtype
    assert vectors.shape == a.shape
    orthonormal(vectors)
    close(vectors * values[..., None, :] @ transposed(vectors), (np.tril(a) + transposed(np.tril(a, -1))).astype(values.dtype))


@pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.slow), 5, 40])
def test_hard_matrices(n: int) -> None:
    compiled = irdl.jit(lambda a: (*np.linalg.eigh(a), *np.linalg.svd(a), np.linalg.eigvalsh(a), np.linalg.svdvals(a)))
    for name, a in special(n).items():
        w, v, left, s, right, w_alone, s_alone = compiled(a)
        size = np.abs(np.linalg.eigvalsh(a)).max()
        for found, expected in ((w, np.linalg.eigvalsh(a)), (w_alone, w), (s, np.linalg.svdvals(a)), (s_alone, s)):
            np.testing.assert_allclose(found, expected, rtol=0, atol=64 * np.finfo(float).eps * size, err_msg=name)
        assert (np.diff(w) >= 0).all() and (np.diff(s) <= 0).all() and (s >= 0).all(), name
        for columns in (v, left, right):
            np.testing.assert_allclose(columns.T @ columns, np.eye(n), atol=1e-14, err_msg=name)
        for product in (v * w @ v.T, left * s @ right):
            np.testing.assert_allclose(product, a, rtol=0, atol=64 * np.finfo(float).eps * size, err_msg=name)
    # Of a positive matrix the smallest values too have all their digits.
    scale, g = 10.0 ** (-np.arange(n) * 14 / n), np.random.default_rng(0).normal(size=(n, n)) / n
    good = np.eye(n) + g @ g.T
    found = np.sum(np.log(compiled(scale * good * scale[:, None])[0]))
    np.testing.assert_allclose(found, np.linalg.slogdet(good)[1] + 2 * np.sum(np.log(scale)), rtol=1e-12)


SHAPES = [(1, 1), (4, 3), (3, 4), (0, 3), (40, 40), (2, 3, 5), (2, 0, 4, 4)]


@pytest.mark.parametrize(("shape", "dtype"), covering(SHAPES, ["float32", "float64", "int32"], every=3))
def test_singular_values(shape: tuple[int, ...], dtype: str) -> None:
    a = (9 * np.random.default_rng(0).normal(size=shape)).astype(dtype)
    compiled = irdl.jit(lambda a: (*np.linalg.svd(a), *np.linalg.svd(a, full_matrices=False), np.linalg.svd(a, compute_uv=False)))
    found, expected = compiled(a), (*np.linalg.svd(a), *np.linalg.svd(a, full_matrices=False), np.linalg.svd(a, compute_uv=False))
    assert [(x.shape, x.dtype) for x in found] == [(x.shape, x.dtype) for x in expected]
    for place in (1, 4, 6):
        close(found[place], expected[place])
    few = min(shape[-2:])
    for left, values, right in (found[:3], found[3:6]):
        orthonormal(left)
        orthonormal(transposed(right))
        close(left[..., :few] * values[..., None, :] @ right[..., :few, :], a.astype(values.dtype))


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 4)], ids=str)
def test_gradients(shape: tuple[int, ...]) -> None:
    """Of what no sign changes."""
    a = np.random.default_rng(1).normal(size=shape)

    def of_singular(a: Any) -> Any:
        left, values, right = np.linalg.svd(a, full_matrices=False)
        return left**2, values, right**3 * np.sign(right), left * np.cos(values)[..., None, :] @ right

    check_gradient(of_singular, a)
    check_gradient(
        lambda a: (np.linalg.svd(a)[1], np.linalg.norm(a, 2, (-2, -1)), np.linalg.norm(a, "nuc", (-2, -1)), np.linalg.cond(a)), a
    )
    check_gradient(lambda a: np.linalg.pinv(a), a)
    if shape[-1] == shape[-2]:

        def of_symmetric(a: Any) -> Any:
            values, vectors = np.linalg.eigh(a)
            return values, vectors**2, vectors * np.cos(values)[..., None, :] @ transposed(vectors), np.linalg.eigvalsh(a, "U")

        check_gradient(of_symmetric, a)
        check_gradient(lambda a: np.linalg.pinv(a, hermitian=True), a)


def test_gradients_of_least_squares() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    check_gradient(lambda a, b: np.linalg.lstsq(a, b)[:2], a, b)
    check_gradient(lambda a, b: np.linalg.lstsq(a, b)[0], a.T, b[:3])
    u, v = rng.normal(size=(6, 2)), rng.normal(size=(2, 4))
    check_gradient(lambda u, v: np.linalg.lstsq(u @ v, b)[0], u, v)  # of constant rank
    check_gradient(lambda u, v: np.linalg.pinv(u @ v, rcond=1e-9), u, v)


def test_equal_values() -> None:
    """They have derivatives, and their vectors have none: that is nan or inf, never a number."""
    weights = np.arange(9.0).reshape(3, 3)

    def of_values(a: Any) -> Any:
        return np.sum(np.linalg.eigvalsh(a)) + np.linalg.norm(a, "nuc")

    def of_vectors(a: Any) -> Any:
        values, vectors = np.linalg.eigh(a)
        return np.sum(weights * (vectors * np.exp(values) @ vectors.T))

    def of_pairs(a: Any) -> Any:
        left, values, right = np.linalg.svd(a)
        return np.sum(weights * (left * np.exp(values) @ right))

    np.testing.assert_allclose(irdl.jit(irdl.grad(of_values))(np.eye(3)), 2 * np.eye(3), atol=1e-12)
    for f in (of_vectors, of_pairs):
        assert not np.isfinite(irdl.jit(irdl.grad(f))(np.eye(3))).all()
        assert not np.isfinite(irdl.jit(lambda a, f=f: irdl.jvp(f, (a,), (weights,))[1])(np.eye(3)))


def test_further_derivatives() -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 3, 3))

    def f(t: Any) -> Any:
        values, vectors = np.linalg.eigh(a + a.T + np.sin(t) * (b + b.T))
        left, s, right = np.linalg.svd(a * t + b)
        projected = vectors[:, :2] @ vectors[:, :2].T
        return np.sum(np.cos(values) + s**1.5) + np.sum(projected * b) + np.sum((left @ right) * b) + np.sum(np.linalg.pinv(a + t * b) * a)

    t, step = np.float64(0.3), 1e-5
    first = irdl.jit(irdl.grad(f))
    np.testing.assert_allclose(first(t), (f(t + step) - f(t - step)) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(irdl.jit(irdl.grad(irdl.grad(f)))(t), (first(t + step) - first(t - step)) / (2 * step), rtol=1e-5)
    np.testing.assert_allclose(irdl.jit(lambda t: irdl.jvp(f, (t,), (1.0,))[1])(t), first(t), rtol=1e-9)


def test_batched() -> None:
    many = np.random.default_rng(4).normal(size=(4, 3, 3))

    def f(a: Any, rcond: Any = 1e-9) -> Any:
        return np.linalg.eigvalsh(a), np.abs(np.linalg.svd(a)[2]), np.linalg.pinv(a, rcond)

    close(irdl.jit(irdl.vmap(f))(many), f(many), 1e4)
    limits = np.array([1e-9, 0.5])
    close(irdl.jit(irdl.vmap(np.linalg.pinv, (None, 0)))(many[0], limits), np.stack([np.linalg.pinv(many[0], r) for r in limits]), 1e4)
    one = irdl.grad(lambda a: np.linalg.svdvals(a)[0] + np.linalg.eigh(a)[1][0, 0] ** 2)
    close(irdl.jit(irdl.vmap(one))(many), np.stack([one(m) for m in many]), 1e4)


def rectangles() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    full, low = rng.normal(size=(7, 4)), rng.normal(size=(7, 2)) @ rng.normal(size=(2, 4))
    return [full, low.T, rng.integers(-3, 4, (5, 3)), np.ones((4, 3), np.float32)]


@pytest.mark.parametrize("a", rectangles(), ids=lambda a: f"{a.shape}{a.dtype}")
def test_what_singular_values_decide(a: np.ndarray) -> None:
    b = np.random.default_rng(4).normal(size=(a.shape[0], 2)).astype(a.dtype)
    rtol = None if a.dtype.kind == "f" else 1e-9

    def everything(a: Any, b: Any) -> Any:
        stack = np.stack([a, 2 * a])
        ranks = np.linalg.matrix_rank(a), np.linalg.matrix_rank(stack, rtol=np.array([1e-4, 0.9])), np.linalg.matrix_rank(a, tol=0.1)
        inverses = np.linalg.pinv(a), np.linalg.pinv(stack, np.array([1e-9, 0.5])), np.linalg.pinv(a, rtol=rtol)
        norms = [np.linalg.norm(stack, ord, (1, 2), keepdims=k) for ord in (2, -2, "nuc") for k in (False, True)]
        solved = np.linalg.lstsq(a, b), np.linalg.lstsq(a, b[:, 0], rcond=-1)
        return ranks, inverses, norms, np.linalg.matrix_rank(a[0]), [(x, rank, s) for x, _, rank, s in solved]

    found, expected = irdl.jit(everything)(a, b), everything(a, b)
    is_short = a.dtype == np.float32
    for place, (x, y) in enumerate(zip(tree.flatten(found)[0], tree.flatten(expected)[0], strict=True)):
        assert np.asarray(x).dtype == np.asarray(y).dtype, place
        np.testing.assert_allclose(x, y, rtol=1e-4 if is_short else 1e-9, atol=1e-5 if is_short else 1e-11, err_msg=str(place))
    compiled = irdl.jit(lambda a, b: np.linalg.lstsq(a, b)[1])
    if a.shape[0] > a.shape[1] > np.linalg.matrix_rank(a):
        with pytest.raises(np.linalg.LinAlgError, match=r"no residuals \(at test_spectral"):
            compiled(a, b)
    else:
        residuals = np.linalg.lstsq(a, b)[1]
        assert compiled(a, b).shape == residuals.shape
        np.testing.assert_allclose(compiled(a, b), residuals, rtol=1e-4 if is_short else 1e-9)


def test_symmetric_ones() -> None:
    """`hermitian=True` reads the lower triangle alone."""
    a = np.random.default_rng(5).normal(size=(3, 5, 5))

    def f(a: Any) -> Any:
        given = {"hermitian": True}
        return np.linalg.svd(a, **given)[1], np.linalg.matrix_rank(a, **given), np.linalg.pinv(a, **given)

    close(irdl.jit(f)(a), f(a), 1e4)


def test_conditions() -> None:
    rng = np.random.default_rng(6)
    a, singular = rng.normal(size=(2, 4, 4)), np.zeros((3, 3))
    kinds = (None, 2, -2, 1, -1, "fro", np.inf, "nuc")
    found = irdl.jit(lambda a: [np.linalg.cond(a, p) for p in kinds])(a)
    np.testing.assert_allclose(found, [np.linalg.cond(a, p) for p in kinds], rtol=1e-10)
    assert irdl.jit(np.linalg.cond)(singular) == np.linalg.cond(singular) == np.inf
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        irdl.jit(lambda a: np.linalg.cond(a, 1))(singular)


def test_tensors() -> None:
    a = np.random.default_rng(7).normal(size=(4, 6, 8, 3))
    b = a[0, :, :, 0] @ np.ones(8)
    for f in (
        lambda a, b: np.linalg.tensorinv(a),
        lambda a, b: np.linalg.tensorinv(a.reshape(24, 8, 3), ind=1),
        lambda a, b: np.linalg.tensorsolve(a, b[:4, None] + b),
        lambda a, b: np.linalg.tensorsolve(a.transpose(2, 0, 1, 3), b[:4, None] + b, axes=(0,)),
    ):
        close(irdl.jit(f)(a, b), f(a, b), 1e4)


def test_errors_of_numbers() -> None:
    for bad, f, message in (
        (np.nan, lambda a: np.linalg.eigh(a), "Eigenvalues did not converge"),
        (np.inf, lambda a: np.linalg.eigvalsh(a), "Eigenvalues did not converge"),
        (np.nan, lambda a: np.linalg.pinv(a[:, :3]), "SVD did not converge"),
        (np.inf, lambda a: np.linalg.norm(a, 2), "SVD did not converge"),
    ):
        a = np.eye(4)
        a[3, 2] = bad
        compiled = irdl.jit(f)
        with pytest.raises(np.linalg.LinAlgError, match=rf"{message} \(at test_spectral"):
            compiled(a)
        compiled(np.eye(4))
    # What was not chosen does not raise.
    chosen = irdl.jit(
        irdl.vmap(lambda a, p: irdl.cond(p, lambda a: np.linalg.pinv(a[:, :2])[:1] + np.linalg.eigvalsh(a), lambda a: a[:1], a))
    )
    assert np.isfinite(chosen(np.stack([a, np.eye(4)]), np.array([False, True]))).all()


def test_errors_of_shapes() -> None:
    a = np.arange(12.0).reshape(3, 4)
    for f in (
        lambda a: np.linalg.eigh(a),
        lambda a: np.linalg.eigvalsh(a[0]),
        lambda a: np.linalg.eigh(a[:, :3], "X"),
        lambda a: np.linalg.svd(a[0]),
        lambda a: np.linalg.pinv(a[0]),
        lambda a: np.linalg.pinv(a, rcond=1e-9, rtol=1e-9),
        lambda a: np.linalg.matrix_rank(a, tol=1e-9, rtol=1e-9),
        lambda a: np.linalg.cond(a[:0]),
        lambda a: np.linalg.lstsq(a[None], a),
        lambda a: np.linalg.lstsq(a, a[:2]),
        lambda a: np.linalg.tensorinv(a, 0),
        lambda a: np.linalg.tensorsolve(a, a[0]),
    ):
        with pytest.raises(Exception) as expected:
            f(a)
        with pytest.raises(expected.type, match="test_spectral"):
            irdl.jit(f)(a)


def test_bases_have_no_derivative() -> None:
    """What fills up a basis is anything; the vectors beside it have their derivatives."""
    a = np.random.default_rng(8).normal(size=(5, 3))
    for f in (lambda a: np.sum(np.linalg.svd(a)[0]), lambda a: np.sum(np.linalg.qr(a, mode="complete")[0])):
        with pytest.raises(DifferentiationError, match=r"full_matrices=False"):
            irdl.jit(irdl.grad(f))(a)
    check_gradient(lambda a: np.linalg.svd(a)[1:][0], a)


def test_values_alone_turn_no_vectors() -> None:
    """The loop for eigenvalues carries the matrix, and not the vectors."""

    def carries(f: Any) -> int:
        graph = dict(irdl.compile(f)(np.eye(8)).stages)["forget-order"]
        return max(len(node.outputs) for node in graph.all_nodes() if node.op.name == "while")

    assert carries(np.linalg.eigvalsh) < carries(np.linalg.eigh)
    assert carries(np.linalg.svdvals) < carries(np.linalg.svd)
