"""Linear systems, inverses, determinants, Cholesky and QR factors: compiled against NumPy's own, their gradients, and their errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.passes.factorize import factorize
from irdl.testing import assert_close, check_gradient
from irdl.tracing import tree
from tests.covering import covering

SIZES = [0, 1, 2, 3, 5, 17, 40, 70]
LEADS = [(), (3,), (2, 0), pytest.param((2, 3), marks=pytest.mark.slow)]


def matrices(n: int, lead: tuple[int, ...] = (), dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    """Well conditioned, zeros on the diagonal, their largest elements beside it: no column can do without an exchange of rows."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(*lead, n, n)) / max(n, 1) ** 0.5 + 2 * np.roll(np.eye(n), 1, 0)
    return (a * (1 - np.eye(n)) if n > 1 else a).astype(dtype)


def positive(n: int, lead: tuple[int, ...] = (), dtype: Any = np.float64) -> np.ndarray:
    a = matrices(n, lead)
    return (a @ np.swapaxes(a, -1, -2) + np.eye(n)).astype(dtype)


def close(actual: Any, expected: Any, n: int = 1) -> None:
    """As close as two orders of elimination are: measured by the largest element."""
    sizes = tree.map_leaves(lambda x: np.full(np.shape(x), np.abs(x).max(initial=1.0)), expected)
    assert_close(actual, expected, ulps=64.0 * max(n, 4), magnitude=sizes)


@pytest.mark.parametrize(("n", "lead", "dtype"), covering(SIZES, LEADS, ["float32", "float64", "int32"], every=3))
def test_as_numpy(n: int, lead: tuple[int, ...], dtype: str) -> None:
    a, s = matrices(n, lead), positive(n, lead)
    if dtype == "int32":
        a, s = np.round(9 * a), np.round(s) + n * np.eye(n)
    a, s = a.astype(dtype), s.astype(dtype)
    vector, columns = matrices(n, (), dtype, 1)[:, 0] if n else np.zeros(0, dtype), matrices(n, lead, dtype, 2)[..., : max(n // 2, 1)]

    def everything(a: Any, s: Any, vector: Any, columns: Any) -> Any:
        solved = np.linalg.solve(a, vector), np.linalg.solve(a, columns), np.linalg.inv(a)
        return *solved, np.linalg.det(a), *np.linalg.slogdet(a), np.linalg.cholesky(s), np.linalg.cholesky(s, upper=True)

    close(irdl.jit(everything)(a, s, vector, columns), everything(a, s, vector, columns), n)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 9, 50])
def test_signs_of_determinants(n: int) -> None:
    rng = np.random.default_rng(n)
    f = irdl.jit(lambda a: tuple(np.linalg.slogdet(a)))
    for _ in range(8):
        a = np.eye(n)[rng.permutation(n)] * rng.choice([-1.0, 1.0], n) + 0.01 * rng.normal(size=(n, n))
        close(f(a), tuple(np.linalg.slogdet(a)), n)
    singular = np.ones((n, n))
    assert f(singular) == (0.0, -np.inf)
    assert irdl.jit(np.linalg.det)(singular) == 0


@pytest.mark.parametrize("n", [2, 4, 6, 50])
def test_the_largest_element_is_the_pivot(n: int) -> None:
    """Of either sign; beside it these are nothing, and to divide by them leaves nothing."""
    a = 1e-20 * np.abs(matrices(n)) - np.roll(np.eye(n), 1, 0)
    close(irdl.jit(np.linalg.inv)(a), np.linalg.inv(a))
    close(irdl.jit(np.linalg.inv)(-a), np.linalg.inv(-a))


def test_dtypes_and_right_sides() -> None:
    a, b = matrices(3), matrices(3, (2,), seed=1)
    many = matrices(3, (4, 2), seed=2)
    for left, right in [
        (a, b.astype(np.float32)),
        (a.astype(np.float32), b.astype(np.int64)),
        (a, many),  # one matrix
        (b, many),
        (b, a),  # one right side for each
        (many, a[:, 0]),
        (b[:1], many),
        (a, many[..., :0]),
        (np.array([[2, 1], [0, 1]]) > 0, np.array([True, False])),
    ]:
        close(irdl.jit(np.linalg.solve)(left, right), np.linalg.solve(left, right))
    constant = np.diag([2.0, 4.0])
    close(
        irdl.jit(lambda x: x @ np.linalg.inv(np.diag([2.0, 4.0])) + np.linalg.solve(constant, x))(np.ones(2)),
        np.ones(2) @ constant / [4, 16] * 2,
    )
    close(irdl.jit(lambda x: np.linalg.matrix_power(x, -3))(a), np.linalg.matrix_power(a, -3))


@pytest.mark.parametrize(("n", "lead"), covering([1, 2, 3, 6, 41], [(), (2,)]))
def test_gradients(n: int, lead: tuple[int, ...]) -> None:
    a, b = matrices(n, lead), matrices(n, lead, seed=1)
    check_gradient(lambda a, b: (np.linalg.solve(a, b), np.linalg.solve(a, b[..., :1, 0].repeat(n, -1)[..., None])), a, b)
    check_gradient(lambda a: (np.linalg.inv(a), np.linalg.slogdet(a)[1]), a)
    check_gradient(lambda a: np.linalg.det(a / 2), a)
    # of what NumPy reads, the lower triangle or the upper one
    check_gradient(lambda a: (np.linalg.cholesky(a), np.linalg.cholesky(a, upper=True)), positive(n, lead))
    check_gradient(lambda a: np.linalg.cholesky(a @ np.swapaxes(a, -1, -2)), a)


@pytest.mark.parametrize("n", [2, 5, pytest.param(41, marks=pytest.mark.slow)])
def test_further_derivatives(n: int) -> None:
    a, b = matrices(n), matrices(n, seed=1)[0]

    def f(t: Any) -> Any:
        m = a * np.sin(t) + 3 * np.eye(n)
        total = np.sum(np.linalg.solve(m, b * t) ** 2) + np.linalg.slogdet(m)[1]
        return total + np.sum(np.cos(np.linalg.cholesky(m @ m.T))) + np.sum(np.linalg.inv(m) * a)

    t, step = np.float64(0.7), 1e-5
    derivatives = [irdl.jit(g) for g in (f, irdl.grad(f), irdl.grad(irdl.grad(f)), irdl.grad(irdl.grad(irdl.grad(f))))]
    for lower, higher in itertools.pairwise(derivatives[: 4 if n < 9 else 3]):
        np.testing.assert_allclose(higher(t), (lower(t + step) - lower(t - step)) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(irdl.jit(lambda t: irdl.jvp(f, (t,), (1.0,))[1])(t), derivatives[1](t), rtol=1e-9)
    np.testing.assert_allclose(irdl.jit(irdl.hessian(f))(t), derivatives[2](t), rtol=1e-9)
    of_matrix = irdl.jit(irdl.hessian(lambda m: np.linalg.slogdet(m)[1]))(a)
    inverse = np.linalg.inv(a)
    np.testing.assert_allclose(of_matrix, -np.einsum("jk,li->ijkl", inverse, inverse), atol=1e-12)


@pytest.mark.parametrize("n", [2, 6, 41])
def test_batched(n: int) -> None:
    a, b, many = matrices(n), matrices(n, seed=1)[0], matrices(n, (3,), seed=2)
    close(irdl.jit(irdl.vmap(lambda a: np.linalg.solve(a, b)))(many), np.linalg.solve(many, b), n)
    close(irdl.jit(irdl.vmap(lambda b: np.linalg.solve(a, b)))(many[0]), np.linalg.solve(a, many[0].T).T.copy(), n)
    close(
        irdl.jit(irdl.vmap(irdl.vmap(np.linalg.solve, (None, 0)), (0, None)))(many, a),
        np.linalg.solve(many[:, None], a[..., None])[..., 0],
        n,
    )
    gradients = irdl.jit(irdl.vmap(irdl.grad(lambda a, b: np.sum(np.linalg.solve(a, b) ** 2)), (0, None)))(many, b)
    for one, found in zip(many, gradients, strict=True):
        close(found, irdl.jit(irdl.grad(lambda a: np.sum(np.linalg.solve(a, b) ** 2)))(one), n)


SHAPES = [(1, 1), (4, 2), (2, 4), (6, 6), (0, 3), (3, 0), (45, 41), (41, 45), (90, 70), (2, 5, 3), (2, 3, 5), (2, 0, 4, 4)]


@pytest.mark.parametrize(("shape", "dtype"), covering(SHAPES, ["float32", "float64", "int32"]))
def test_orthonormal_columns(shape: tuple[int, ...], dtype: str) -> None:
    a = (9 * np.random.default_rng(0).normal(size=shape)).astype(dtype)

    def factors(a: Any) -> Any:
        return *np.linalg.qr(a), np.linalg.qr(a, mode="r"), *np.linalg.qr(a, mode="complete")

    compiled = irdl.jit(factors)
    close(compiled(a), factors(a), max(shape))
    for degenerate in (np.zeros_like(a), np.triu(a), a * (np.arange(shape[-1]) != 1).astype(dtype)):
        q, r, *_ = compiled(degenerate)
        close(q @ r, np.linalg.qr(degenerate)[0] @ np.linalg.qr(degenerate)[1], max(shape))
        close(np.swapaxes(q, -1, -2) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], q.shape[-1], q.shape[-1])).astype(q.dtype), 64)


@pytest.mark.parametrize("shape", [(1, 1), (4, 2), (2, 4), (6, 6), (2, 5, 3), (44, 41)], ids=str)
def test_gradients_of_orthonormal_columns(shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(0).normal(size=shape) + 3 * np.eye(*shape[-2:])
    check_gradient(lambda a: (*np.linalg.qr(a), np.linalg.qr(a, mode="r")), a)
    if a.size < 20:

        def f(t: Any) -> Any:
            q = np.linalg.qr(a * np.sin(t) + np.cos(a))[0]
            return np.sum(np.cos(q * np.arange(1.0, 1 + q.shape[-1])))

        first, second, t, step = irdl.jit(irdl.grad(f)), irdl.jit(irdl.hessian(f)), np.float64(0.3), 1e-5
        np.testing.assert_allclose(second(t), (first(t + step) - first(t - step)) / (2 * step), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (np.linalg.eig, "np.linalg.eigh"),
        (np.linalg.eigvals, "np.linalg.eigvalsh"),
        (lambda a: np.linalg.qr(a[:, :2], mode="raw"), "mode='reduced'"),
    ],
)
def test_what_cannot_be_traced(f: Any, message: str) -> None:
    with pytest.raises(TraceError, match=rf"{message}.*test_factorizations"):
        irdl.jit(lambda a: f(a))(np.eye(3))
    known = irdl.jit(lambda x: x + np.linalg.eigvals(np.eye(3) * 2))
    np.testing.assert_allclose(known(np.ones(3)), [3.0, 3.0, 3.0])


def test_errors_of_shapes() -> None:
    a = np.arange(12.0).reshape(3, 4)
    for f in (
        lambda a: np.linalg.inv(a),
        lambda a: np.linalg.inv(a[0]),
        lambda a: np.linalg.det(a),
        lambda a: np.linalg.slogdet(a[0]),
        lambda a: np.linalg.cholesky(a),
        lambda a: np.linalg.qr(a[0]),
        lambda a: np.linalg.qr(a, mode="none"),
        lambda a: np.linalg.solve(a, a),
        lambda a: np.linalg.solve(a[0], a),
        lambda a: np.linalg.solve(a[:, :3], a[0]),
        lambda a: np.linalg.solve(a[:2, :2], a),
        lambda a: np.linalg.solve(a[:2, :2], a[0, 0]),
        lambda a: np.linalg.solve(np.stack([a[:2, :2]] * 3), np.stack([a[:2, :2]] * 2)),
    ):
        with pytest.raises(Exception) as expected:
            f(a)
        with pytest.raises(expected.type, match="test_factorizations"):
            irdl.jit(f)(a)


@pytest.mark.parametrize("n", [1, 2, 5, 41])
def test_errors_of_numbers(n: int) -> None:
    singular, fine = np.zeros((n, n)), np.eye(n)
    for f in (
        lambda a: np.linalg.inv(a),
        lambda a: np.linalg.solve(a, np.ones(n)),
        lambda a: irdl.vmap(np.linalg.inv)(np.stack([np.eye(n), a])),
    ):
        compiled = irdl.jit(f)
        with pytest.raises(np.linalg.LinAlgError, match=r"Singular matrix \(at test_factorizations"):
            compiled(singular)
        compiled(fine)
    compiled = irdl.jit(lambda a: np.linalg.cholesky(a))
    for wrong in (singular, -fine, np.diag([*([1.0] * (n - 1)), -1.0])):
        with pytest.raises(np.linalg.LinAlgError, match=r"Matrix is not positive definite \(at test_factorizations"):
            compiled(wrong)
    assert np.isnan(irdl.jit(lambda a: np.linalg.inv(a))(singular * np.nan)).all()
    # What was not chosen does not raise.
    chosen = irdl.jit(irdl.vmap(lambda a, p: irdl.cond(p, lambda a: np.linalg.inv(np.linalg.cholesky(a)), lambda a: a, a)))
    close(chosen(np.stack([singular, 4 * fine]), np.array([False, True])), np.stack([singular, fine / 2]))


def test_checks_survive_the_text_and_the_cache() -> None:
    """Programs that are written and read back say the same."""
    from irdl.errors import out_of_bounds
    from irdl.loops.language import Check, Program
    from irdl.loops.parse import parse_program

    program = Program("p", [], [], [], [], [Check(0, 1, "a.py:1", "LinAlgError: Singular matrix"), Check(1, 5, "a.py:2")])
    again = parse_program(str(program))
    assert again.checks == program.checks
    assert isinstance(out_of_bounds(1, *again.checks[0]), np.linalg.LinAlgError)
    assert isinstance(out_of_bounds(9, *again.checks[1]), IndexError)


def kalman(observed: Any, f: Any, h: Any, q: Any, r: Any) -> Any:
    """A filter written as it is in textbooks."""
    x, p, one = np.zeros(2), np.eye(2), np.eye(2)
    found, total = [], 0.0
    for z in observed:
        x, p = f @ x, f @ p @ f.T + q
        s = h @ p @ h.T + r
        k = p @ h.T @ np.linalg.inv(s)
        y = z - h @ x
        total = total - 0.5 * (y @ np.linalg.solve(s, y) + np.log(np.linalg.det(s)))
        x, p = x + k @ y, (one - k @ h) @ p
        found.append(x)
    return np.stack(found), total


def test_kalman_filter() -> None:
    rng = np.random.default_rng(0)
    arguments = rng.normal(size=(300, 2)), np.array([[1, 0.1], [0, 0.9]]), np.eye(2), 0.01 * np.eye(2), 0.1 * np.eye(2)
    close(irdl.jit(kalman)(*arguments), kalman(*arguments), 10)
    graph = irdl.trace(kalman)(*arguments)
    assert [node.op.name for node in graph.nodes].count("scan") == 1
    assert len(graph.nodes) < 20
    check_gradient(lambda f, q: kalman(arguments[0][:30], f, np.eye(2), q, 0.1 * np.eye(2))[1], arguments[1], arguments[3])


@pytest.mark.parametrize("n", [3, 6, 41])
@pytest.mark.parametrize("lead", [(), (2,)], ids=str)
def test_systems_of_factors(n: int, lead: tuple[int, ...]) -> None:
    """No rows are exchanged for a triangle, whichever way it is turned."""
    s, b = positive(n, lead), matrices(n, lead, seed=1)

    def f(s: Any, b: Any) -> Any:
        factor = np.linalg.cholesky(s)
        half = np.linalg.solve(factor, b)
        return half, np.linalg.solve(np.swapaxes(factor, -1, -2), half)

    close(irdl.jit(f)(s, b), f(s, b), n)
    check_gradient(f, s, b)
    assert not any(node.op.name == "argmax" for node in factorize(irdl.trace(f)(s, b)).all_nodes())
    assert n == 3 or any(node.op.name == "argmax" for node in factorize(irdl.trace(np.linalg.solve)(s, b)).all_nodes())


@pytest.mark.parametrize("count", [4, 30, 60])
def test_gaussian_process(count: int) -> None:
    rng = np.random.default_rng(1)
    x, y = np.sort(rng.uniform(-3, 3, count)), rng.normal(size=count)

    def log_likelihood(scale: Any, noise: Any) -> Any:
        k = np.exp(-0.5 * ((x[:, None] - x) / scale) ** 2) + noise**2 * np.eye(count)
        factor = np.linalg.cholesky(k)
        by_factor = -0.5 * np.sum(np.linalg.solve(factor, y) ** 2) - np.sum(np.log(np.diagonal(factor)))
        by_system = -0.5 * (y @ np.linalg.solve(k, y) + np.linalg.slogdet(k)[1])
        return by_factor, by_system

    scale, noise = np.float64(0.8), np.float64(0.5)
    np.testing.assert_allclose(irdl.jit(log_likelihood)(scale, noise), log_likelihood(scale, noise), rtol=1e-10)
    first, second = (irdl.jit(irdl.grad(lambda *a, i=i: log_likelihood(*a)[i], (0, 1)))(scale, noise) for i in range(2))
    np.testing.assert_allclose(first, second, rtol=1e-9)
    check_gradient(lambda a: log_likelihood(a[0], a[1])[0], np.array([0.8, 0.5]))
