"""Complex numbers: compiled code equals NumPy's, gradients are those of JAX's conventions and equal differences."""

from __future__ import annotations

import copy
import random
import warnings
from typing import Any

import numpy as np
import pytest

import irdl
from irdl import nn, optim
from irdl.errors import DifferentiationError, TraceError
from irdl.ir.evaluate import evaluate
from irdl.ir.parser import parse
from irdl.ir.printer import print_graph
from irdl.passes.complex_parts import split_complex
from irdl.runtime.executable import Executable
from irdl.testing import assert_close, check, check_gradient
from tests.covering import covering

SINGLE, DOUBLE = np.complex64, np.complex128
SHAPES = [(), (1,), (0, 3), (5,), (3, 37)]


def drawn(*shape: int, dtype: Any = DOUBLE, seed: int = 0) -> Any:
    re, im = np.random.default_rng(seed).standard_normal((2, *shape))
    return (re + 1j * im).astype(dtype)


def arithmetic(a, b):
    parts = a.real, a.imag, np.real(b), np.imag(b), a.conj(), np.conjugate(b), abs(a), np.angle(a), np.angle(b, deg=True)
    mixed = 2 * a, a * 1.5j, a + 1, a.real + 1j * b.imag, a.real * b, a / b.real, 1j * a.real, 1 / a
    asked = (
        a == b,
        a != b,
        np.isnan(a),
        np.isinf(a),
        np.isfinite(a),
        np.iscomplexobj(a),
        np.isrealobj(a.real),
        np.isreal(a),
        np.iscomplex(a),
    )
    return a + b, a - b, a * b, a / b, -a, +a, parts, mixed, asked, np.sign(a), np.round(a, 1), np.where(a.real > 0, a, b)


def functions(a, b):
    plain = np.exp(a), np.log(a), np.sqrt(a), np.square(a), np.reciprocal(a), np.exp2(a), np.log2(a), np.log10(a), np.log1p(a), np.expm1(a)
    circular = np.sin(a), np.cos(a), np.tan(a), np.sinh(a), np.cosh(a), np.tanh(a)
    return plain, circular, a**b, a**2, a**-1, a**-3, a**0.5, a**0, a**2.5, a**1j, np.float64(2) ** a


@pytest.mark.parametrize(("shape", "dtype"), covering(SHAPES, [SINGLE, DOUBLE]))
def test_elementwise(shape, dtype):
    a, b = np.asarray(drawn(*shape, dtype=dtype)), np.asarray(drawn(*shape, dtype=dtype, seed=1))
    check(arithmetic, a, b, grad=False)
    if len(shape) == 2:
        check(functions, a, b, grad=False)


def test_of_numbers():
    """Scalars are NumPy's or Python's where they are in NumPy."""
    check(arithmetic, DOUBLE(1 + 2j), DOUBLE(-0.5j), grad=False)

    def f(x, y):
        return x, x.real, x.imag, x.conjugate(), abs(x), x * x, x**2, x + y, np.exp(x), x * np.float32(2), 1j * np.float64(3)

    check(f, 1 + 2j, 0.5, grad=False)
    check(lambda x, y: (1j * x, x * 1j, x * y, y.item(), DOUBLE(y), SINGLE(x)), np.float64(2), SINGLE(1j), grad=False)


SPECIAL = [0.0, -0.0, 1.0, -2.5, 30.0, -30.0, 800.0, -800.0, np.inf, -np.inf, np.nan, 1.5e308, -1.5e308, 3e-310]


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_special_numbers(dtype):
    """Infinities, nans, signs of zeros, and numbers at the ends of the range."""
    with np.errstate(over="ignore"):
        line = np.array(SPECIAL).astype(dtype().real.dtype)
    z = np.empty((line.size, line.size), dtype)
    z.real, z.imag = line[:, None], line

    def f(z):
        found = [np.exp(z), np.log(z), np.sqrt(z), np.cos(z), np.cosh(z), np.tanh(z), np.tan(z), np.abs(z), np.log10(z), z**0.5]
        return [*found, z + z.T, z - 1, -z, z.conj(), np.isnan(z), np.isinf(z), np.isfinite(z), z == z.T, z != z, z.astype(bool)]

    with np.errstate(all="ignore"):
        for place, (x, y) in enumerate(zip(irdl.jit(f)(z), f(z), strict=True)):
            whole = np.where(np.isfinite(y), np.abs(y), 0)
            for p, q in ((x.real, y.real), (x.imag, y.imag)) if np.iscomplexobj(y) else ((x, y),):
                same = (p == q) | ((p != p) & (q != q))
                if q.dtype != bool:
                    same |= np.abs(p - q) <= 32 * np.finfo(dtype).eps * np.maximum(whole, np.abs(q))
                    same &= (np.signbit(p) == np.signbit(q)) | (q != 0) | ~np.isfinite(z)  # the sign of exp(-inf) * cos(inf) is anything
                assert same.all(), (place, z[~same][:3], x[~same][:3], y[~same][:3])


def test_quotients_do_not_overflow_on_the_way():
    a, b = np.array([1e300 + 1e300j, 1e-300, 3 + 4j, 1j, 0]), np.array([1e300 - 2e300j, 1e-300 + 1e-300j, 1e-308 + 0j, 0, 0])
    with np.errstate(all="ignore"):
        assert_close(irdl.jit(lambda a, b: (a / b, np.abs(a * 1e-10) ** 2))(a, b), (a / b, np.abs(a * 1e-10) ** 2))


def reductions(a, b):
    sums = a.sum(), a.sum(0), a.mean(1, keepdims=True), np.mean(a, axis=(0, 1)), a.prod(0), np.prod(a), a.var(), a.std(1), np.nansum(a, 0)
    running = np.cumsum(a, 0), np.cumsum(a), np.cumprod(a, 1), np.diff(a, axis=0), np.average(a, axis=0)
    norms = np.linalg.norm(a), np.linalg.norm(a, axis=0), np.linalg.norm(a, 1, axis=1), np.trace(a[:, :4]), np.cov(a)
    return sums, running, norms, np.any(a), np.all(a, 0), np.count_nonzero(a)


def products(a, b):
    two = a @ b, b.T @ a.T, np.dot(a, b), np.einsum("ij,jk->ki", a, b), a.real @ b, a @ b.imag
    vectors = np.vdot(a[0], b[:, 0]), np.vecdot(a, a), np.inner(a, a), np.outer(a[0], b[0]), np.kron(a[0], b[0]), np.tensordot(a, b, 1)
    signals = np.correlate(a[0], b[:, 0], "full"), np.correlate(b[:2, 0], a[0]), np.convolve(a[0], b[0], "same")
    return two, vectors, signals, a.conj().T @ a


def moved(a, b):
    taken = a[1], a[:, ::2], a[::-1], a.T, a[[2, 0, 2]], a[np.arange(3), np.arange(3)], a.reshape(-1), a[..., None], np.roll(a, 1, 0)
    joined = np.concatenate([a, a.conj()]), np.stack([a[0], a[1]]), np.pad(a, 1), np.tile(a, 2), np.array([a[0, 0], 1j]), np.triu(a)
    made = np.zeros(3, complex) + a[0, :3], np.full(2, 1j), np.zeros_like(a), np.ones_like(a), np.eye(3) * 1j, np.linspace(0, 1j, 5)
    return taken, joined, made, np.nan_to_num(a), a.astype(DOUBLE), a.real.astype(DOUBLE), np.isclose(a, a)


def stores(a, b):
    x = a.copy()
    x[1] = 2.0
    x.real[0] = b[0, 0].real
    x.imag[:, 1] = x.real[:, 0]
    x.real = x.real + 1
    x[:, 2] *= 2j
    x.imag += 1
    x[np.array([0, 2]), np.array([1, 1])] += 3j
    np.add.at(x, (np.array([0, 0]), np.array([1, 1])), 2j)
    view = x.T
    view[0] = 1j
    return x, x.flags.c_contiguous, x.real.flags.c_contiguous


@pytest.mark.parametrize("f", [reductions, products, moved, stores], ids=lambda f: f.__name__)
def test_arrays(f):
    a, b = drawn(4, 5), drawn(5, 3, seed=1)
    check(f, a, b, grad=False)
    check_gradient(lambda a, b: f(a, b)[:2], a, b)


@pytest.mark.parametrize("f", [moved, stores, *(pytest.param(f, marks=pytest.mark.slow) for f in (reductions, products))])
def test_single_precision(f):
    check(f, drawn(4, 5, dtype=SINGLE), drawn(5, 3, dtype=SINGLE, seed=1), grad=False)


@pytest.mark.parametrize("shape", [(1, 1), (0, 3), (3, 0), (17, 33)])
def test_other_shapes(shape):
    check(lambda a: (a.sum(0), a.prod(1), np.cumprod(a, 0), a @ a.T, a.conj().T @ a, a.T.copy(), np.exp(a)), drawn(*shape), grad=False)


LENGTHS = [1, 2, 5, 12, 37, 45, 64, 360, 1024]


@pytest.mark.parametrize(("n", "dtype"), covering(LENGTHS, [SINGLE, DOUBLE], every=3))
def test_fourier(n, dtype):
    def f(a):
        whole = np.fft.fft(a), np.fft.ifft(a, norm="ortho"), np.fft.fft(a.T, axis=0), np.fft.fft(a.real)
        return whole, np.fft.rfft(a.real, norm="forward"), np.fft.irfft(a, n), np.fft.hfft(a, n), np.fft.ihfft(a.real)

    a = drawn(2, n, dtype=dtype)
    for x, y in zip(irdl.tree.leaves(irdl.jit(f)(a)), irdl.tree.leaves(f(a)), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert np.abs(x - y).max() <= 30 * np.finfo(dtype).eps * np.abs(y).max()


def transform_by_products(a, p, inverse):
    """A Fourier transform as products with two matrices, of p rows and of as many as are left."""
    n, sign = a.shape[-1], 2j if inverse else -2j

    def roots(rows, columns, n):
        return np.exp(sign * np.pi * (np.outer(np.arange(rows), np.arange(columns)) % n) / n)

    columns = np.einsum("...jq,jk->...kq", a.reshape(len(a), p, n // p), roots(p, p, p)) * roots(p, n // p, n)
    return np.swapaxes(columns @ roots(n // p, n // p, n // p), -1, -2).reshape(a.shape)


@pytest.mark.parametrize(("n", "p"), [(320, 32), (360, 30)])
def test_one_array_in_two_products(n, p):
    """It is packed for one along an axis of the result that vectors of the other would go along."""
    a = drawn(3, n)
    f = irdl.jit(lambda a: (transform_by_products(a, p, False), transform_by_products(a, p, True)))
    for x, y in zip(f(a), (np.fft.fft(a), np.fft.ifft(a) * n), strict=True):
        assert np.abs(x - y).max() <= 1e-13 * n


def fourier_of_axes(a):
    two = np.fft.fft2(a), np.fft.ifft2(a), np.fft.rfft2(a.real), np.fft.irfft2(a)
    more = np.fft.fftn(a), np.fft.ifftn(a, axes=(0, 2)), np.fft.rfftn(a.real), np.fft.irfftn(a, s=(3, 7), axes=(0, 1))
    fitted = np.fft.fft(a, n=9), np.fft.fft(a, n=2, axis=1), np.fft.irfft(a), np.fft.irfft(a, n=5, norm="forward"), np.fft.irfft(a, n=14)
    return two, more, fitted


def test_fourier_of_axes():
    check(fourier_of_axes, drawn(2, 3, 4), grad=False)
    check_gradient(lambda a: (np.fft.fft(a), np.fft.irfft(a, axis=0), np.fft.rfft(a.real, n=5)), drawn(3, 4))
    for f, error, text in (
        (lambda a: np.fft.fft(a, n=0), ValueError, "Invalid number of FFT data points"),
        (lambda a: np.fft.fft(a, norm="x"), ValueError, "Invalid norm value"),
        (lambda a: np.fft.rfft(a), TypeError, "rfft"),
        (lambda a: np.fft.fft(a, n=2053), TraceError, "prime factor 2053"),
    ):
        with pytest.raises(error, match=text):
            irdl.jit(f)(drawn(4))


def rolled(a, x):
    h, outputs = np.zeros(a.shape, a.dtype), []
    for t in range(x.shape[0]):
        h = a * h + x[t]
        outputs.append(h)
    return np.stack(outputs), h


def controlled(a, x):
    last, (ys, sizes) = irdl.scan(lambda h, u: (a * h + u, (h * u, np.abs(h))), np.zeros_like(a), x, reverse=True)
    branch = irdl.cond(x.real.sum() > 0, lambda z: z * 2j, lambda z: z - a, x)
    each = irdl.vmap(lambda row, s: np.exp(row * s) @ a)(x, x.real[:, 0])
    return last, ys, sizes, branch, each


def test_control():
    a, x = 0.9 * np.exp(1j * np.linspace(0, 2, 3)), drawn(12, 3)
    check(rolled, a, x)
    check(controlled, a, x)
    assert "scan" in [node.op.name for node in irdl.trace(rolled)(a, x).nodes]

    def grown(a):
        return irdl.while_loop(lambda c: np.abs(c[0]).sum() < 100, lambda c: (c[0] * (1 + 1j), c[1] + 1), (a, 0))

    check(grown, a, grad=False)
    check(irdl.vmap(lambda z: irdl.while_loop(lambda c: np.abs(c) < 9, lambda c: c * (1 + 1j), z)), a, grad=False)


def test_elementwise_gradients():
    a, b = drawn(2, 3) + 0.1, drawn(2, 3, seed=1)

    def f(a, b):
        plain = np.exp(a), np.log(a), np.sqrt(a), a / b, a * b, a**b, a**3, a**-2, np.reciprocal(a), np.log1p(a), np.expm1(a)
        return plain, np.sin(a), np.cos(a), np.tan(a), np.sinh(a), np.cosh(a), np.tanh(a), np.abs(a), np.angle(b), a.conj(), a.real

    check_gradient(f, a, b)
    _, tangent = irdl.jvp(f, (a, b), (b, a))
    step = 1e-6
    up, down = irdl.tree.leaves(f(a + step * b, b + step * a)), irdl.tree.leaves(f(a - step * b, b - step * a))
    for t, p, q in zip(irdl.tree.leaves(tangent), up, down, strict=True):
        np.testing.assert_allclose(t, (p - q) / (2 * step), rtol=1e-5, atol=1e-5)


def test_conventions():
    """The gradient of a real loss is df/dx - i df/dy; what is real has a real one."""
    z, x = drawn(3), np.linspace(0.1, 2, 3)
    np.testing.assert_allclose(irdl.grad(lambda z: (np.abs(z) ** 2).sum())(z), 2 * z.conj())
    np.testing.assert_allclose(irdl.grad(lambda z: (z**2).real.sum())(z), 2 * z)
    np.testing.assert_allclose(irdl.grad(lambda z: z.imag.sum())(z), np.full(3, -1j))
    np.testing.assert_array_equal(irdl.grad(lambda z: np.abs(z).sum())(np.zeros(2, complex)), [0, 0])
    gradient = irdl.jit(irdl.grad(lambda x: np.abs((np.exp(1j * x) * z).sum())))(x)
    assert gradient.dtype == np.float64
    _, pull = irdl.vjp(np.exp, z)
    np.testing.assert_allclose(pull(np.ones(3, complex))[0], np.exp(z))
    _, tangent = irdl.jvp(lambda x: np.exp(1j * x), (x,), (np.ones(3),))
    np.testing.assert_allclose(tangent, 1j * np.exp(1j * x))
    hessian = irdl.hessian(lambda x: np.abs((np.exp(1j * x) * z).sum()) ** 2)(x)
    assert hessian.dtype == np.float64 and np.allclose(hessian, hessian.T)
    with pytest.raises(DifferentiationError, match=r"not c128\[\]: take np.abs, .real or .imag"):
        irdl.grad(lambda z: z.sum())(z)
    with pytest.raises(DifferentiationError, match="complex128"):
        irdl.jacrev(lambda z: z * 2)(z)


def test_custom_derivatives():
    @irdl.custom_vjp
    def f(z):
        return np.exp(z)

    f.defvjp(lambda z: (np.exp(z), np.exp(z)), lambda kept, ct: (2 * ct * kept,))
    z = drawn(3)
    np.testing.assert_allclose(irdl.jit(irdl.grad(lambda z: f(z).real.sum()))(z), 2 * np.exp(z))
    stopped = irdl.jit(irdl.grad(lambda z: (irdl.stop_gradient(z) * z).real.sum()))(z)
    np.testing.assert_allclose(stopped, z)
    budget = irdl.jit(irdl.grad(lambda a, x: np.abs(rolled(a, x)[1]).sum(), max_bytes=900))(z, drawn(20, 3))
    np.testing.assert_allclose(budget, irdl.grad(lambda a, x: np.abs(rolled(a, x)[1]).sum())(z, drawn(20, 3)))


class LRU(nn.Module):
    """A linear recurrent unit (Orvieto et al., "Resurrecting recurrent neural networks for long sequences", 2023)."""

    def __init__(self, units: int, inputs: int, rng: np.random.Generator) -> None:
        u, v = rng.uniform(size=(2, units))
        self.nu = np.log(-0.5 * np.log(u * (0.99**2 - 0.5**2) + 0.5**2))
        self.theta = np.log(2 * np.pi * v)
        b, c = rng.standard_normal((2, units, inputs)), rng.standard_normal((2, inputs, units))
        self.b = (b[0] + 1j * b[1]) / np.sqrt(2 * inputs)
        self.c = (c[0] + 1j * c[1]) / np.sqrt(units)
        self.gamma = np.log(np.sqrt(1 - np.exp(-2 * np.exp(self.nu))))

    def __call__(self, x):
        poles = np.exp(-np.exp(self.nu) + 1j * np.exp(self.theta))
        b = self.b * np.exp(self.gamma)[:, None]
        h, outputs = np.zeros((x.shape[1], poles.size), poles.dtype), []
        for t in range(x.shape[0]):
            h = poles * h + x[t] @ b.T
            outputs.append((h @ self.c.T).real)
        return np.stack(outputs)


def lru_loss(layer, x):
    return (np.tanh(layer(x)) ** 2).sum()


def test_lru():
    rng = np.random.default_rng(0)
    layer, x = LRU(6, 4, rng), rng.standard_normal((12, 2, 4))
    assert "scan" in [node.op.name for node in irdl.trace(lambda layer, x: layer(x))(layer, x).nodes]
    assert_close(irdl.jit(lambda layer, x: layer(x))(layer, x), layer(x), ulps=1e4)
    value, gradient = irdl.jit(irdl.value_and_grad(lru_loss))(layer, x)
    assert_close((value, gradient), irdl.value_and_grad(lru_loss)(layer, x), ulps=1e6)
    for name in ("nu", "theta", "gamma", "b", "c"):
        own, found = getattr(layer, name), getattr(gradient, name)
        assert found.dtype == own.dtype
        direction = drawn(*own.shape).astype(own.dtype) if np.iscomplexobj(own) else rng.standard_normal(own.shape)
        ends = []
        for step in (1e-6, -1e-6):
            moved = copy.deepcopy(layer)
            setattr(moved, name, own + step * direction)
            ends.append(lru_loss(moved, x))
        np.testing.assert_allclose((found * direction).sum().real, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def test_optimisers_step_the_parts_against_the_conjugate():
    z, target = drawn(3), drawn(3, seed=1)

    def loss(p):
        return (np.abs(p["z"] - target) ** 2).sum()

    def loss_of_parts(p):
        return ((p["x"] - target.real) ** 2 + (p["y"] - target.imag) ** 2).sum()

    for optimizer in (optim.SGD(0.1, momentum=0.9, weight_decay=0.1), optim.Adam(0.1), optim.Adagrad(0.1)):
        change = optim.chain(optim.clip_by_global_norm(1.0), optimizer)
        found = []
        for function, params in ((loss, {"z": z}), (loss_of_parts, {"x": z.real, "y": z.imag})):

            def step(params, state, function=function, change=change):
                gradient = irdl.grad(function)(params)
                updates, state = change.update(gradient, state, params)
                return optim.apply_updates(params, updates), state

            state = change.init(params)
            for _ in range(3):
                params, state = step(params, state)
            found.append(params)
        np.testing.assert_allclose(found[0]["z"], found[1]["x"] + 1j * found[1]["y"], rtol=1e-6)
    with pytest.raises(TypeError, match="clip_by_value is of real gradients"):
        irdl.jit(lambda g: optim.clip_by_value(1.0).update(g, ())[0])({"z": z})


def test_saving(tmp_path):
    pytest.importorskip("safetensors")
    weight = drawn(3, dtype=SINGLE)
    nn.save({"w": weight}, tmp_path / "w")
    assert_close(nn.load(tmp_path / "w")["w"], weight)
    with pytest.raises(ValueError, match="w is complex128"):
        nn.save({"w": weight.astype(DOUBLE)}, tmp_path / "w")


WEIGHT = drawn(3, 3)


def test_what_calls_bring_and_leave():
    """Captured, donated, static and stored arrays; those whose axes are in another order; what is printed."""
    f = irdl.jit(lambda x: x @ WEIGHT)
    x = drawn(2, 3)
    assert_close(f(x), x @ WEIGHT)
    WEIGHT[0] *= 2j
    assert_close(f(x), x @ WEIGHT)
    assert_close(f(np.asfortranarray(x)), x @ WEIGHT)

    def store(x, y):
        x[1] = y
        x.imag[0] = 7
        return x.sum(), x[0]

    ours, exact, y = x.copy(), x.copy(), drawn(3, seed=2)
    assert_close((irdl.jit(store)(ours, y), ours), (store(exact, y), exact))
    given = x.copy()
    result = irdl.jit(lambda x: x * 2j, donate_argnums=0)(given)
    assert_close(result, x * 2j)
    known = x.copy()
    known.flags.writeable = False
    assert_close(irdl.jit(lambda w, x: np.exp(w) * x, static_argnums=0)(known, x), np.exp(x) * x)
    assert_close(irdl.jit(lambda x: (np.exp(x) @ WEIGHT, x.T), backend="interpret")(x), (np.exp(x) @ WEIGHT, x.T), ulps=100)
    assert_close(irdl.jit(lambda x: (x, x.T, x.real, x[::2]))(x), (x, x.T, x.real, x[::2]))
    assert irdl.eval_shape(np.abs, irdl.ShapeDtype((2,), SINGLE)).dtype == np.float32


def test_printing(capsys):
    def f(x):
        print(f"{x[0]:.2f}", x)
        return x * 2

    x = drawn(2)
    f(x)
    irdl.jit(f)(x)
    first, second, _ = capsys.readouterr().out.split("\n")
    assert first == second == f"{x[0]:.2f} {x}"


REFUSED = [
    (lambda z: z.max(), TraceError, "max is not defined"),
    (lambda z: np.sort(z), TraceError, "no order"),
    (lambda z: np.argmin(z), TraceError, "no order"),
    (lambda z: np.arcsin(z), TraceError, "arcsin is not defined"),
    (lambda z: z.astype(np.float32), TraceError, "would lose the imaginary part: take .real"),
    (lambda z: np.linalg.inv(z.reshape(2, 2)), TraceError, "imaginary part"),
    (lambda z: np.zeros(4).__setitem__(0, z[0]), TraceError, "imaginary part"),
    (lambda z: np.add(z, z, out=z.real), TypeError, "Cannot cast ufunc"),
    (lambda z: np.floor(z), TypeError, "not supported for the input types"),
    (lambda z: z % 2, TypeError, "not supported for the input types"),
    (lambda z: np.arctan2(z, z), TypeError, "not supported for the input types"),
    (lambda z: float(z[0]), TypeError, "not 'complex'"),
    (lambda z: np.isposinf(z), TypeError, "ambiguous"),
    (lambda z: z.real.imag.__setitem__(0, 1), ValueError, "read-only"),
]


@pytest.mark.parametrize("f", [np.less, np.less_equal, np.greater, np.greater_equal, np.maximum, np.minimum])
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_order(f, dtype):
    """By the real parts, then by the imaginary ones; nan as NumPy has it, number by number."""
    parts = [-1.0, -0.0, 2.0, np.inf, np.nan]
    z = np.array([complex(a, b) for a in parts for b in parts], dtype)
    pairs = z[:, None], z[None]
    with np.errstate(all="ignore"):
        assert_close(irdl.jit(f)(*pairs), f(*pairs))
        assert_close(irdl.jit(lambda z: f(z, 1))(z), f(z, 1))
        assert_close(irdl.jit(lambda z: np.clip(z, -1, 1 + 1j))(z), np.clip(z, -1, 1 + 1j))


@pytest.mark.parametrize("d", [0.1, 0.7, np.float32(0.3), 2])
@pytest.mark.parametrize("f", [np.fft.fftfreq, np.fft.rfftfreq])
def test_frequencies_of_a_traced_spacing(f, d):
    for n in (1, 8, 9, 49):
        assert_close(irdl.jit(lambda d, n=n: f(n, d))(d), f(n, d))
        assert_close(irdl.jit(lambda x, n=n: f(n, d=d) + x)(0.0), f(n, d))


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_refused(number):
    f, error, text = REFUSED[number]
    with pytest.raises(error, match=text):
        irdl.jit(f)(drawn(4))


def test_text():
    """Graphs are written and read with all that a number holds."""
    z = np.array([complex(-0.0, np.nan), complex(np.inf, -0.0), 1 - 2.5j])
    for dtype in (SINGLE, DOUBLE):
        graph = irdl.trace(lambda x: x + np.array([1j, complex(-0.0, np.nan), complex(np.inf, -0.0)]).astype(x.dtype))(z.astype(dtype))
        again = parse(print_graph(graph))
        assert again == graph and print_graph(again, locations=False) == print_graph(graph, locations=False)


def test_without_complex_numbers_the_pass_gives_the_graph_back():
    graph = irdl.trace(lambda x: np.exp(x).sum())(np.ones(3))
    assert split_complex(graph) is graph
    graph = irdl.trace(lambda x: np.exp(1j * x).sum())(np.ones(3))
    real = split_complex(graph)
    assert not any(value.dtype.kind == "c" for node in real.all_nodes() for value in node.outputs)


def random_function(rnd: random.Random) -> Any:
    """A function of two complex arrays (3, 4), of a dozen steps."""
    one = [np.conj, np.negative, lambda z: np.exp(0.1 * z), lambda z: z[::-1], lambda z: z * 1j, lambda z: z / (2 + np.abs(z)), np.sin]
    one += [lambda z: z.reshape(4, 3).T, lambda z: z - z.mean(0), lambda z: z.real + 1j * z.imag, lambda z: np.cumsum(z, 1), np.tanh]
    one += [lambda z: irdl.scan(lambda h, u: (0.5j * h + u, h), np.zeros(4, z.dtype), z)[1], lambda z: z @ np.full((4, 4), 0.2 - 0.1j)]
    two = [np.add, np.subtract, np.multiply, lambda x, y: np.where(x.real > y.imag, x, y), lambda x, y: x / (1 + np.abs(y)), store_into]
    plan = [(rnd.choice(one), rnd.random()) if rnd.random() < 0.6 else (rnd.choice(two), rnd.random(), rnd.random()) for _ in range(12)]

    def f(a, b):
        values = [a, b]
        for step, *places in plan:
            values.append(bounded(step(*(values[int(place * len(values))] for place in places))))
        return values[-1], values[-2].real, values[-3].sum()

    return f


def store_into(x, y):
    x = x.copy()
    x[1:] += y[:-1]
    x.imag[:, 0] = y.real[:, 1]
    return x


def bounded(z):
    """Of a size below one: rounding errors do not grow."""
    return z / (1 + np.abs(z))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 40))])
def test_random_functions(seed):
    f = random_function(random.Random(seed))
    a, b = drawn(3, 4, seed=seed), drawn(3, 4, seed=seed + 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = irdl.trace(f)(a, b)
    assert parse(print_graph(graph)) == graph
    assert_close(Executable(graph)([a, b]), evaluate(graph, [a, b]), ulps=1e5)
    check_gradient(f, a, b)
