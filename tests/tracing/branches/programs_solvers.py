"""Solvers: until something has converged, steps that are tried again, methods that choose."""

from __future__ import annotations

import numpy as np

from tests.tracing.branches.corpus import program

_random = np.random.default_rng(2)


def positive(n):
    a = _random.standard_normal((n, n))
    return a @ a.T + n * np.eye(n)


@program((2.0, 1.0), (9.0, 20.0), (0.0, 3.0))
def newton_square_root(a, x):
    if a == 0:
        return 0.0, 0
    steps = 0
    while abs(x * x - a) > 1e-12 * a:
        x = 0.5 * (x + a / x)
        steps += 1
    return x, steps


@program((1.5,), (-0.5,), (0.0,))
def newton(x):
    """Of a cubic; gives up where the slope is none."""
    converged = False
    for _ in range(12):
        value = x**3 - 2 * x - 5
        slope = 3 * x**2 - 2
        if abs(slope) < 1.0:
            x = x + 1.0
            continue
        step = value / slope
        x = x - step
        if abs(step) < 1e-10:
            converged = True
            break
    return x, converged


@program((0.0, 2.0), (1.0, 1.5))
def bisection(lo, hi):
    f = lambda x: x**3 - x - 1
    while hi - lo > 1e-6:
        mid = (lo + hi) / 2
        if f(lo) * f(mid) <= 0:
            hi = mid
        else:
            lo = mid
    return (lo + hi) / 2


def cosine_equation(x):
    return np.cos(x) - x


@program((0.0, 1.0), (0.5, 0.5), (0.7390851332151607, 0.2))
def secant(x0, x1):
    f0, f1 = cosine_equation(x0), cosine_equation(x1)
    for iteration in range(10):
        if f1 == f0:
            break
        x2 = x1 - f1 * (x1 - x0) / (f1 - f0)
        x0, f0 = x1, f1
        x1, f1 = x2, cosine_equation(x2)
        if abs(f1) < 1e-13:
            return x1, iteration
    return x1, -1


@program((0.0, 3.0), (-1.0, 1.0))
def golden_section(a, b):
    ratio = (np.sqrt(5) - 1) / 2
    f = lambda t: (t - 1.2) ** 2
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    while abs(b - a) > 1e-3:
        if f(c) < f(d):
            b = d
        else:
            a = c
        c, d = b - ratio * (b - a), a + ratio * (b - a)
    return (a + b) / 2


def quadratic(A, b, x):
    return 0.5 * x @ A @ x - b @ x


@program((positive(3), np.ones(3), np.zeros(3)), (np.eye(3) * 0.5, np.ones(3), np.ones(3)))
def backtracking_descent(A, b, x):
    tried = 0
    for _ in range(5):
        g = A @ x - b
        t = 1.0
        while quadratic(A, b, x - t * g) > quadratic(A, b, x) - 0.5 * t * (g @ g) and t > 0.2:
            t *= 0.5
            tried += 1
        x = x - t * g
    return x, tried


def armijo(f, x, g, direction):
    """Half the step until there is enough descent; the length, and whether there was any."""
    alpha = 1.0
    for _ in range(12):
        if f(x + alpha * direction) <= f(x) + 1e-4 * alpha * (g @ direction):
            return alpha, True
        alpha /= 2
    return 0.0, False


@program((np.array([-1.2, 1.0]), 0), (np.array([1.0, 1.0]), 0), (np.array([-1.2, 1.0]), 1))
def rosenbrock_step(x, uphill):
    f = lambda p: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
    g = np.array([-2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)])
    direction = g if uphill else -g
    alpha, found = armijo(f, x, g, direction)
    if not found:
        return x, f(x)
    x = x + alpha * direction
    return x, f(x)


@program((positive(5), np.ones(5)), (np.eye(5), np.arange(5.0)), (positive(5), np.zeros(5)))
def conjugate_gradients(A, b):
    x = np.zeros_like(b)
    r = b - A @ x
    p = r.copy()
    rs = r @ r
    used = 0
    for k in range(8):
        if np.sqrt(rs) < 1e-4:
            break
        Ap = A @ p
        alpha = rs / (p @ Ap)
        x += alpha * p
        r -= alpha * Ap
        new = r @ r
        p = r + (new / rs) * p
        rs = new
        used = k + 1
    return x, used


@program((positive(4), 1e-3), (np.diag([5.0, 1.0, 0.5, 0.1]), 1e-9), (np.eye(4), 1e-9))
def power_iteration(A, tolerance):
    v = np.ones(len(A)) / np.sqrt(len(A))
    value = 0.0
    for i in range(30):
        w = A @ v
        v = w / np.linalg.norm(w)
        new = v @ A @ v
        if abs(new - value) < tolerance:
            value = new
            break
        value = new
    else:
        i = -1
    return value, v, i


@program((0.5, 1e-8, 30), (0.5, 1e-8, 3), (2.0, 1e-2, 30))
def fixed_point(x, tolerance, most):
    count = 0
    while True:
        new = np.cos(x)
        count += 1
        if abs(new - x) < tolerance or count >= most:
            x = new
            break
        x = new
    return x, count


@program((1.0, 0.5), (2.0, 0.01), (0.2, 0.9), (9.0, 5.0))
def adaptive_euler(y, h):
    """Two half steps against one whole step; what is too far off is not taken."""
    t, accepted, rejected = 0.0, 0, 0
    f = lambda t, y: -2 * y + np.sin(t)
    while t < 1.0 and accepted + rejected < 8:
        if t + h > 1.0:
            h = 1.0 - t
        whole = y + h * f(t, y)
        half = y + h / 2 * f(t, y)
        half = half + h / 2 * f(t + h / 2, half)
        error = abs(whole - half)
        if error <= 0.02:
            t += h
            y = 2 * half - whole
            accepted += 1
        else:
            rejected += 1
        h *= min(2.0, max(0.3, 0.9 * np.sqrt(0.02 / (error + 1e-12))))
    return y, accepted, rejected


@program((np.array([1.0, 0.0]), 0.5), (np.array([0.1, 2.0]), 1.5), (np.array([0.001, 0.0]), 0.1))
def rk23(y, h):
    """Bogacki and Shampine's pair on an oscillator, vectors and a step size that changes."""

    def f(y):
        return np.array([y[1], -y[0] - 0.1 * y[1] * abs(y[1])])

    t, k1 = 0.0, f(y)
    for _ in range(12):
        k2 = f(y + h / 2 * k1)
        k3 = f(y + 3 * h / 4 * k2)
        new = y + h * (2 * k1 + 3 * k2 + 4 * k3) / 9
        k4 = f(new)
        error = np.max(np.abs(h * (-5 * k1 / 72 + k2 / 12 + k3 / 9 - k4 / 8)))
        if error < 1e-3:
            t = t + h
            y, k1 = new, k4
        factor = 0.9 * (1e-3 / max(error, 1e-10)) ** (1 / 3)
        h = h * (2.0 if factor > 2 else 0.3 if factor < 0.3 else factor)
    return t, y, h


@program((np.array([3.0, -1.0]), 1.0), (np.array([0.1, 0.2]), 0.05), (np.array([-4.0, 6.0]), 50.0))
def trust_region(x, radius):
    A = np.array([[4.0, 1.0], [1.0, 3.0]])
    f = lambda x: 0.5 * x @ A @ x + np.sum(x**4) / 10
    for _ in range(8):
        g = A @ x + 0.4 * x**3
        step = -np.linalg.solve(A, g)
        length = np.linalg.norm(step)
        clipped = length > radius
        if clipped:
            step = step * (radius / length)
        predicted = -(g @ step + 0.5 * step @ A @ step)
        if predicted < 1e-6:
            break
        rho = (f(x) - f(x + step)) / predicted
        if rho < 0.5:
            radius *= 0.25
        elif rho > 0.75 and clipped:
            radius = min(2 * radius, 10.0)
        if rho > 0.3:
            x = x + step
    return x, radius


@program((np.array([2.0, 0.1]), 10.0), (np.array([0.1, 8.0]), 1e-6), (np.array([1.0, -800.0]), 1.0))
def levenberg_marquardt(p, damping):
    t = np.linspace(0, 1, 6)
    y = 1.5 * np.exp(-0.7 * t)
    residual = lambda p: p[0] * np.exp(-p[1] * t) - y
    cost = np.sum(residual(p) ** 2)
    for _ in range(8):
        e = np.exp(-p[1] * t)
        J = np.stack([e, -p[0] * t * e], axis=1)
        step = np.linalg.solve(J.T @ J + damping * np.eye(2), -J.T @ residual(p))
        trial = p + step
        new = np.sum(residual(trial) ** 2)
        if np.isfinite(new) and new < cost:
            p, cost = trial, new
            damping *= 0.1
        else:
            damping *= 10
        if cost < 1e-12:
            break
    return p, damping


@program((positive(4), np.ones(4)), (np.eye(4), np.arange(4.0)), (np.eye(4) + 0.7, np.arange(4.0)))
def gauss_seidel(A, b):
    x = np.zeros(4)
    sweeps = 0
    converged = False
    while not converged and sweeps < 6:
        before = x.copy()
        for i in range(4):
            x[i] = (b[i] - A[i] @ x + A[i, i] * x[i]) / A[i, i]
        converged = np.allclose(x, before, rtol=1e-6, atol=1e-9)
        sweeps += 1
    return x, sweeps


@program((_random.standard_normal((4, 3)),), (np.ones((4, 3)),))
def gram_schmidt(V):
    """Columns that depend on others become zero."""
    Q = np.zeros_like(V)
    rank = 0
    for j in range(V.shape[1]):
        v = V[:, j].copy()
        for i in range(j):
            v -= (Q[:, i] @ V[:, j]) * Q[:, i]
        norm = np.linalg.norm(v)
        if norm > 1e-10:
            Q[:, j] = v / norm
            rank += 1
    return Q, rank


@program((_random.standard_normal((4, 4)), np.ones(4)), (np.eye(4)[[1, 0, 2, 3]] * 2.0, np.arange(4.0)), (np.zeros((4, 4)), np.ones(4)))
def eliminate(A, b):
    """With pivots, rows exchanged in place; the number of exchanges, negative where the matrix is singular."""
    n = len(b)
    exchanges = 0
    singular = False
    for k in range(n):
        p = k + np.argmax(np.abs(A[k:, k]))
        if abs(A[p, k]) < 1e-12:
            singular = True
            break
        if p != k:
            A[[k, p]] = A[[p, k]]
            b[k], b[p] = b[p], b[k]
            exchanges += 1
        for i in range(k + 1, n):
            factor = A[i, k] / A[k, k]
            A[i, k:] -= factor * A[k, k:]
            b[i] -= factor * b[k]
    if singular:
        return b, -1
    x = np.zeros(n)
    for i in reversed(range(n)):
        x[i] = (b[i] - A[i, i + 1 :] @ x[i + 1 :]) / A[i, i]
    return x, exchanges


@program((0.3, 0.2), (3.0, 0.95), (6.0, 0.0))
def kepler(mean, eccentricity):
    E = np.pi if eccentricity > 0.8 else mean
    for _ in range(20):
        d = (E - eccentricity * np.sin(E) - mean) / (1 - eccentricity * np.cos(E))
        if abs(d) < 1e-12:
            return E
        E -= d
    return np.nan


@program((0.1,), (1e-5,))
def trapezoids(accuracy):
    """Of half the width, until two agree."""
    n, old = 1, np.inf
    total = 0.5 * (np.exp(0.0) + np.exp(-1.0))
    while True:
        total = 0.5 * total + 0.5 / n * sum(np.exp(-((k + 0.5) / n * 1.0)) if k < n else 0.0 for k in range(8))
        n *= 2
        if abs(total - old) < accuracy or n >= 16:
            break
        old = total
    return total, n


@program((np.array([1.0, 0.0, -2.0]), 0.3), (np.array([0.0, 0.05, 0.1]), 0.5))
def ista(b, weight):
    """Soft thresholds element by element, until nothing moves."""
    A = np.array([[1.0, 0.2, 0.0], [0.2, 1.0, 0.1], [0.0, 0.1, 1.0]])
    x = np.zeros(3)
    for k in range(15):
        z = x - 0.5 * (A @ x - b)
        new = np.zeros(3)
        for i in range(3):
            if z[i] > 0.5 * weight:
                new[i] = z[i] - 0.5 * weight
            elif z[i] < -0.5 * weight:
                new[i] = z[i] + 0.5 * weight
        moved = np.abs(new - x).max()
        x = new
        if moved < 1e-4:
            break
    return x, k


@program(
    (np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),),
    (np.array([[2.0, 1.0], [1.0, 0.9], [1.1, 1.1]]),),
    (np.array([[9.0, 8.0], [8.0, 8.9], [8.1, 9.1]]),),
)
def nelder_mead(simplex):
    f = lambda p: (p[0] - 1) ** 2 + 3 * (p[1] - 1) ** 2 + 3 * np.sin(4 * p[0])
    values = np.array([f(p) for p in simplex])
    for _ in range(10):
        order = np.argsort(values)
        simplex, values = simplex[order], values[order]
        center = simplex[:-1].mean(axis=0)
        reflected = center + (center - simplex[-1])
        fr = f(reflected)
        if fr < values[0]:
            expanded = center + 2 * (center - simplex[-1])
            fe = f(expanded)
            if fe < fr:
                simplex[-1], values[-1] = expanded, fe
            else:
                simplex[-1], values[-1] = reflected, fr
        elif fr < values[-2]:
            simplex[-1], values[-1] = reflected, fr
        else:
            contracted = center + 0.5 * (simplex[-1] - center)
            fc = f(contracted)
            if fc < values[-1]:
                simplex[-1], values[-1] = contracted, fc
    return simplex[0], values[0]


@program((0.0, 0.1), (5.0, 0.1), (1.9, 0.5))
def bracket(x, width):
    """Goes downhill with longer and longer steps until it rises again."""
    f = lambda t: (t - 2) ** 4
    direction = 1.0 if f(x + width) < f(x) else -1.0
    steps = 0
    while f(x + direction * width) < f(x):
        x += direction * width
        width *= 1.6
        steps += 1
    return x, width, steps


@program(
    (np.array([3.0, 1.0]), np.array([0.5, 0.2])),
    (np.array([0.1, -0.2]), np.array([0.5, 2.0])),
    (np.array([0.4, 0.9]), np.array([0.5, 2.0])),
    gradient=(0, 1),
)
def dogleg(g, scale):
    """Newton's step where it fits, else a mixture, else the steepest."""
    newton_step = -g * scale
    steepest = -0.4 * g
    n, s = np.sqrt(newton_step @ newton_step), np.sqrt(steepest @ steepest)
    if n <= 0.5:
        return newton_step
    if s >= 0.5:
        return steepest * 0.5 / s
    return steepest + (newton_step - steepest) * (0.5 - s) / n
