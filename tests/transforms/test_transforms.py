"""grad, vjp, jvp, vmap, custom_vjp, scan, cond and while_loop: eager, traced, nested in one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import DifferentiationError, TraceError
from irdl.testing import assert_close, check, widened
from tests.models import lstm, lstm_cell, lstm_data, lstm_loss

X = np.linspace(-1.0, 1.2, 12).reshape(3, 4)


def running(x: Any) -> Any:
    def body(carry: Any, row: Any) -> Any:
        h, n = carry
        return (np.tanh(h * 0.5 + row), n + 1), (h * row, n)

    (h, n), (ys, ns) = irdl.scan(body, (x[0] * 0, 0), x)
    return h, ys, n, ns


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 5])
def test_scan(length: int, reverse: bool) -> None:
    xs = np.linspace(-1, 1, length * 3).reshape(length, 3)

    def f(h: Any, xs: Any) -> Any:
        k = np.cos(h)
        return irdl.scan(lambda c, x: (np.sin(c + x) * k, c[::-1] * x), h, xs, reverse=reverse)

    check(f, np.array([0.1, 0.2, 0.3]), xs)


def test_scan_trees_nesting_and_dtypes() -> None:
    check(running, X)

    check(lambda x: irdl.scan(lambda c, r: (c + irdl.scan(lambda d, v: (d * v, d), c, r)[0], c), 1.5, x), X)
    check(lambda x: irdl.scan(lambda c, u: (c + u, None), 0.0, x), np.ones(4, np.float32))
    check(lambda x: irdl.scan(lambda c, u: (c + u, c), 0, x), np.arange(5))
    check(lambda h, x: irdl.scan(lambda c, u: (c + u, u), h, x), np.zeros(4, np.float32), X)
    check(lambda h, x: irdl.scan(lambda c, u: (c + u, u), h, x), np.zeros(4, np.int32), X)
    check(lambda x: irdl.scan(lambda c, _: (c * 2, None), x, None, length=3)[0], X)


def test_scan_errors_name_the_leaf() -> None:
    with pytest.raises(TraceError, match=r"carry\['h'\].*f64\[4\].*f64\[2\]"):
        irdl.jit(lambda x: irdl.scan(lambda c, r: ({"h": r[:2]}, None), {"h": x[0]}, x))(X)
    with pytest.raises(TraceError, match="another structure"):
        irdl.jit(lambda x: irdl.scan(lambda c, r: ((c, c), None), x[0], x))(X)
    with pytest.raises(ValueError, match="leading extents"):
        irdl.scan(lambda c, r: (c, None), 0.0, (X, X[:2]))
    with pytest.raises(ValueError, match="length"):
        irdl.scan(lambda c, r: (c, None), 0.0, None)


def test_a_loop_may_not_change_what_is_outside() -> None:
    def f(x: Any) -> Any:
        total = np.zeros_like(x[0])

        def body(c: Any, row: Any) -> Any:
            total[:] = total + row
            return c, None

        irdl.scan(body, 0.0, x)
        return total

    with pytest.raises(TraceError, match="carry"):
        irdl.jit(f)(X)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_branch_that_is_not_known_in_every_mode(sign: float) -> None:
    """Forward mode, of the reverse mode too, and batches that share the branch; one output depends on x in one branch alone."""

    def f(x: Any, p: Any) -> Any:
        return irdl.cond(p > 0, lambda x: (np.sin(x) * x, x.sum()), lambda x: (x * x * 2, np.zeros(())), x)

    x, t, p = X[0], np.cos(X[1]), np.float64(sign)
    slope = np.sin(x) + x * np.cos(x) if sign > 0 else 4 * x
    curve = 2 * np.cos(x) - x * np.sin(x) if sign > 0 else np.full_like(x, 4)
    values, tangents = irdl.jit(lambda x, t, p: irdl.jvp(lambda x: f(x, p), (x,), (t,)))(x, t, p)
    for found, expected in zip((*values, *tangents), (*f(x, p), slope * t, t.sum() * (sign > 0)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    jacobian, of_sum = irdl.jit(lambda x, p: irdl.jacfwd(lambda x: f(x, p))(x))(x, p)
    np.testing.assert_allclose(jacobian, np.diag(slope), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(of_sum, np.full_like(x, sign > 0))
    hessian = irdl.jit(lambda x, p: irdl.hessian(lambda x: f(x, p)[0].sum())(x))(x, p)
    np.testing.assert_allclose(hessian, np.diag(curve), rtol=1e-12, atol=1e-12)
    rows, sums = irdl.jit(lambda x, p: irdl.vmap(lambda row: f(row, p))(x))(X, p)
    np.testing.assert_allclose(rows, f(X, p)[0], rtol=1e-12)
    np.testing.assert_allclose(sums, X.sum(1) * (sign > 0), rtol=1e-12)


def test_cond_and_while() -> None:
    def chain(x: Any) -> Any:
        s = x.sum()
        return irdl.cond(s > 2, lambda v: v * 2, lambda v: irdl.cond(s > 0, lambda u: np.sin(u) * s, lambda u: u / 3, v), x)

    for shift in (-1.0, 0.1, 1.0):
        check(chain, X + shift)
    check(lambda x: irdl.cond(x[0, 0] > 0, lambda a: a, lambda a: 0.0, x.astype(np.float32)[0, 0]), X + 2, grad=False)

    def newton(a: Any) -> Any:
        x, n = irdl.while_loop(lambda c: np.abs(c[0] * c[0] - a) > 1e-10, lambda c: ((c[0] + a / c[0]) / 2, c[1] + 1), (a, 0))
        return x, n

    check(newton, np.float64(2.0), grad=False)
    value, tangent = irdl.jit(lambda a: irdl.jvp(lambda a: newton(a)[0], (a,), (np.float64(1.0),)))(2.0)
    np.testing.assert_allclose([value, tangent], [np.sqrt(2), 0.5 / np.sqrt(2)], rtol=1e-6)
    with pytest.raises(DifferentiationError, match=r"while_loop.*test_transforms"):
        irdl.jit(irdl.grad(lambda a: newton(a)[0]))(2.0)
    many = np.array([2.0, 9.0, 100.0])
    np.testing.assert_allclose(irdl.jit(irdl.vmap(lambda a: newton(a)[0]))(many), np.sqrt(many))
    np.testing.assert_allclose(
        irdl.vmap(lambda a, p: irdl.cond(p, np.sin, np.cos, a))(many, many > 5), np.where(many > 5, np.sin(many), np.cos(many))
    )


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 5, 7), (4, 3, 5, 16), (2, 7, 3, 33), (1, 2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lstm(shape: tuple, dtype: Any) -> None:
    params, x, gy = lstm_data(*shape, dtype)
    check(lstm, params, x)
    eager, compiled = (wrap(irdl.value_and_grad(lstm_loss))(params, x, gy) for wrap in (lambda f: f, irdl.jit))
    exact = None if dtype == np.float64 else irdl.value_and_grad(lstm_loss)(*widened((params, x, gy)))
    assert_close(compiled, eager, exact, ulps=16 if exact is not None else 1e4)


def test_lstm_gradient_matches_differences_and_forward_mode() -> None:
    params, x, gy = lstm_data(4, 3, 5, 6, np.float64)
    direction = np.random.default_rng(1).standard_normal(params["U"].shape)

    def along(u: Any) -> Any:
        return lstm_loss({**params, "U": u}, x, gy)

    step = 1e-6
    numeric = (along(params["U"] + step * direction) - along(params["U"] - step * direction)) / (2 * step)
    gradient = irdl.jit(irdl.grad(along))(params["U"])
    np.testing.assert_allclose((gradient * direction).sum(), numeric, rtol=1e-6)
    for wrap in (lambda f: f, irdl.jit):
        _, tangent = wrap(lambda u, d: irdl.jvp(along, (u,), (d,)))(params["U"], direction)
        np.testing.assert_allclose(tangent, numeric, rtol=1e-6)
    # Second derivatives: reverse over reverse, forward over reverse, differences.
    directional = lambda u: (irdl.grad(along)(u) * direction).sum()  # noqa: E731
    second = irdl.jit(irdl.grad(directional))(params["U"])
    numeric = (directional(params["U"] + step * direction) - directional(params["U"] - step * direction)) / (2 * step)
    np.testing.assert_allclose((second * direction).sum(), numeric, rtol=1e-5)
    np.testing.assert_allclose(irdl.grad(directional)(params["U"]), second, rtol=1e-8, atol=1e-12)
    _, forward = irdl.jit(lambda u: irdl.jvp(irdl.grad(along), (u,), (direction,)))(params["U"])
    np.testing.assert_allclose(forward, second, rtol=1e-8, atol=1e-10)


def test_vmap_of_a_gradient_is_per_example() -> None:
    params, x, gy = lstm_data(3, 4, 5, 6, np.float64)

    def one(params: Any, x: Any, gy: Any) -> Any:
        return lstm_loss(params, x[:, None], gy[:, None])

    each = irdl.jit(irdl.vmap(irdl.grad(one), in_axes=(None, 1, 1)))(params, x, gy)
    for b in range(4):
        assert_close({k: v[b] for k, v in each.items()}, irdl.grad(one)(params, x[:, b], gy[:, b]), ulps=1e5)


def test_arguments_of_grad() -> None:
    f = lambda a, b, n=2: ((a * b).sum() ** n, {"aux": a + b})  # noqa: E731
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for wrap in (lambda f: f, irdl.jit):
        (value, aux), (da, db) = wrap(irdl.value_and_grad(f, argnums=(0, -1), has_aux=True))(a, b)
        assert value == 121 and np.array_equal(aux["aux"], a + b)
        np.testing.assert_allclose([da, db], [22 * b, 22 * a])
        gradient, _ = wrap(irdl.grad(f, argnums=np.int64(1), has_aux=True))(a, b, n=3)
        np.testing.assert_allclose(gradient, 3 * 121 * a)
    value, pull = irdl.vjp(lambda x, n: (x * n, n), a, 3)
    assert pull((np.ones(2), 0))[1] is None
    np.testing.assert_allclose(pull((np.ones(2), 0))[0], [3, 3])

    # Eagerly the values are known: Python may branch on them, and buffers are traced.
    def branches(x: Any) -> Any:
        out = np.zeros(2)
        out[0] = x[0] if x[0] > 0 else -x[0]
        return out.sum() + (x[1] if x.sum() > 0 else 0)

    np.testing.assert_allclose(irdl.grad(branches)(a), [1, 1])
    np.testing.assert_allclose(irdl.grad(branches)(-a), [-1, 0])
    with pytest.raises(DifferentiationError, match="int64"):
        irdl.grad(lambda n: n * 1.0)(np.arange(3))
    with pytest.raises(DifferentiationError, match="one float"):
        irdl.grad(lambda x: x)(a)
    np.testing.assert_allclose(irdl.grad(lambda x: float(x[0]) * x[1])(a), a[::-1])
    with pytest.raises(TraceError, match="cut"):
        irdl.grad(lambda x: x[0].__float__() * x[1])(a)


def test_stop_gradient_and_custom_vjp() -> None:
    x = np.array([0.3, -0.7])
    for wrap in (lambda f: f, irdl.jit):
        np.testing.assert_allclose(wrap(irdl.grad(lambda x: (irdl.stop_gradient(x) * x).sum()))(x), x)

    @irdl.custom_vjp
    def straight(x: Any, n: Any) -> Any:
        return np.round(x) * n

    straight.defvjp(lambda x, n: (np.round(x) * n, n), lambda n, ct: (ct * n, None))
    f = lambda x: straight(x, 3).sum()  # noqa: E731
    for wrap in (lambda f: f, irdl.jit):
        np.testing.assert_allclose(wrap(irdl.grad(f))(x), [3, 3])
        np.testing.assert_allclose(wrap(irdl.grad(lambda x: irdl.vmap(lambda v: straight(v, 3))(x).sum()))(x), [3, 3])
        np.testing.assert_allclose(wrap(f)(x), f(x))
    with pytest.raises(DifferentiationError, match="custom_vjp"):
        irdl.jvp(f, (x,), (x,))

    @irdl.custom_vjp
    def wrong(x: Any) -> Any:
        return x.sum()

    wrong.defvjp(lambda x: (x.sum(), None), lambda r, ct: (ct,))
    with pytest.raises(DifferentiationError, match=r"f64\[\], the argument f64\[2\]"):
        irdl.grad(wrong)(x)

    def outside(x: Any, s: Any) -> Any:
        g = irdl.custom_vjp(lambda y: y * s)
        g.defvjp(lambda y: (y * s, None), lambda r, ct: (ct,))
        return g(x).sum()

    with pytest.raises(DifferentiationError, match="pass it as an argument"):
        irdl.grad(outside, (0, 1))(x, 3.0)


def test_grad_inside_jit_inside_grad() -> None:
    inner = irdl.jit(lambda x: (x**3).sum())
    f = lambda x: (irdl.jit(irdl.grad(inner))(x) * x).sum()  # noqa: E731
    x = np.array([1.0, 2.0])
    for wrap in (lambda f: f, irdl.jit):
        np.testing.assert_allclose(wrap(irdl.grad(f))(x), 9 * x**2)


def test_elements_that_are_not_chosen_do_not_raise() -> None:
    a = np.arange(5.0)

    def guarded(a: Any, i: Any) -> Any:
        return irdl.cond(i < 5, lambda i: a[i] + irdl.scan(lambda c, k: (c + a[k], None), 0.0, np.stack([i, i]))[0], lambda i: -1.0, i)

    def walk(a: Any, i: Any) -> Any:
        return irdl.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] + a[c[0]]), (i, 0.0))[1]

    for wrap in (lambda f: f, irdl.jit):
        np.testing.assert_allclose(wrap(irdl.vmap(guarded, in_axes=(None, 0)))(a, np.array([1, 7])), [3.0, -1.0])
        np.testing.assert_allclose(wrap(irdl.vmap(walk, in_axes=(None, 0)))(a, np.array([0, 4])), [10.0, 4.0])
    with pytest.raises(IndexError, match="index 9"):
        irdl.jit(irdl.vmap(lambda a, i: irdl.cond(i > 5, lambda i: a[i], lambda i: 0.0, i), in_axes=(None, 0)))(a, np.array([1, 9]))


def test_vmap_axes() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(4.0)
    f = lambda x, y: (x * 2, np.outer(x, y))  # noqa: E731
    doubled, outer = irdl.vmap(f, in_axes=(1, None), out_axes=(0, 2))(a, b)
    np.testing.assert_allclose(doubled, a.T * 2)
    np.testing.assert_allclose(outer, np.stack([np.outer(a[:, i], b) for i in range(3)], 2))
    with pytest.raises(ValueError, match="extents"):
        irdl.vmap(f)(a, b)
    with pytest.raises(ValueError, match="no axis"):
        irdl.vmap(f, in_axes=(5, None))(a, b)


def test_one_cell_step_checks_out() -> None:
    params, x, _ = lstm_data(1, 4, 3, 8)
    zero = np.zeros((4, 8), np.float32)
    check(lambda p, h, c, x: lstm_cell(p, (h, c), x), params, zero, zero, x[0])


def test_buffers_made_of_other_arguments() -> None:
    """Outside of jit the arguments without a gradient are real arrays; what is made of them takes traced numbers."""

    def f(w: Any, x: Any) -> Any:
        y, z, k, q, n = np.zeros_like(x), np.array(x), np.full_like(x, w), np.copy(x), np.empty_like(x)
        y[0], z[1], q[2] = 2 * w, z[1] + w, w**2
        n[:] = w * x
        for t in range(1, len(x)):
            y[t] = y[t - 1] * w + x[t]
        return (y + z * k + q + n).sum()

    w, x = 1.5, np.arange(4.0)
    step = 1e-6
    expected = (f(w + step, x) - f(w - step, x)) / (2 * step)
    for g in (irdl.grad(f), irdl.jit(irdl.grad(f))):
        np.testing.assert_allclose(g(w, x), expected, rtol=1e-6)
    np.testing.assert_array_equal(x, np.arange(4.0))


def test_a_store_into_a_copy_of_another_argument_says_what_to_write() -> None:
    def f(w: Any, x: Any) -> Any:
        y = x.copy()
        y[0] = w
        return y.sum()

    with pytest.raises(TraceError, match=r"np\.array\(a\) in the place of a\.copy\(\).*test_transforms\.py"):
        irdl.grad(f)(1.5, np.ones(3))
