"""Steps of solvers: motion, diffusion, iterations of linear algebra, recurrences."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import program


def lorenz(s):
    x, y, z = s
    return np.array([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z])


@program(lambda a: (a.normal(3), a.n), static=(1,), tolerance=1e-5, sizes=(3, 40, 200))
def lorenz_by_euler(s, steps):
    trajectory = np.zeros((steps + 1, 3))
    trajectory[0] = s
    for i in range(steps):
        trajectory[i + 1] = trajectory[i] + 0.01 * lorenz(trajectory[i])
    return trajectory


@program(lambda a: (a.normal(3), a.n), static=(1,), tolerance=1e-5, sizes=(3, 40, 200))
def lorenz_by_runge_kutta(s, steps):
    dt = 0.01
    path = [s]
    for _ in range(steps):
        k1 = lorenz(s)
        k2 = lorenz(s + dt / 2 * k1)
        k3 = lorenz(s + dt / 2 * k2)
        k4 = lorenz(s + dt * k3)
        s = s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(s)
    return np.array(path)


@program(lambda a: (1.0, a.n), static=(1,), gradient=(0,))
def euler_with_pairs_of_time_and_state(y, steps):
    t, dt = 0.0, 0.05
    history = [(t, y)]
    for k in range(steps):
        y = y + dt * (np.cos(t) - y)
        t += dt
        history.append((t, y))
    ts, ys = zip(*history)
    return np.array(ts), np.array(ys)


@program(lambda a: (0.3, a.n), static=(1,), gradient=(0,))
def verlet_reads_two_back(x, steps):
    xs = [x, x + 0.01]
    for n in range(steps):
        xs.append(2 * xs[-1] - xs[-2] - 0.01 * np.sin(xs[-1]))
    return np.array(xs)


@program(lambda a: (a.normal(4, 2), a.normal(4, 2), a.n), static=(2,), gradient=(0, 1), tolerance=1e-6)
def leapfrog_of_bodies(x, v, steps):
    def acceleration(x):
        d = x[None] - x[:, None]
        return (d / ((d**2).sum(-1, keepdims=True) + 0.5) ** 1.5).sum(1)

    energies = np.zeros(steps)
    a = acceleration(x)
    for i in range(steps):
        v = v + 0.005 * a
        x = x + 0.01 * v
        a = acceleration(x)
        v = v + 0.005 * a
        energies[i] = 0.5 * (v**2).sum()
    return x, v, energies


@program(lambda a: (a.normal(12), a.n), static=(1,), gradient=(0,), single=True)
def heat_equation(u, steps):
    u = u.copy()
    for _ in range(steps):
        u[1:-1] = u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


@program(lambda a: (a.normal(12), a.n), static=(1,), gradient=(0,))
def heat_with_two_buffers(u0, steps):
    u, v = u0.copy(), np.empty_like(u0)
    v[:] = 0
    for _ in range(steps):
        v[0], v[-1] = u[0], u[-1]
        v[1:-1] = u[1:-1] + 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
        u, v = v, u
    return u, v


@program(lambda a: (a.normal(10), a.n), static=(1,), gradient=(0,))
def heat_that_keeps_all_times(u, steps):
    grid = np.zeros((steps, len(u)))
    grid[0] = u
    for t in range(0, steps - 1):
        for i in range(1, len(u) - 1):
            grid[t + 1, i] = grid[t, i] + 0.1 * (grid[t, i + 1] - 2 * grid[t, i] + grid[t, i - 1])
    return grid


@program(lambda a: (a.normal(10), a.n), static=(1,), gradient=(0,))
def wave_equation(u0, steps):
    previous, current = u0, u0
    for n in range(steps):
        following = np.zeros_like(u0)
        following[1:-1] = 2 * current[1:-1] - previous[1:-1] + 0.25 * (current[2:] - 2 * current[1:-1] + current[:-2])
        previous, current = current, following
    return current


@program(lambda a: (a.normal(8), a.n), static=(1,), gradient=(0,))
def crank_nicolson(u, steps):
    L = np.diag(-2 * np.ones(8)) + np.diag(np.ones(7), 1) + np.diag(np.ones(7), -1)
    A, B = np.eye(8) - 0.1 * L, np.eye(8) + 0.1 * L
    for _ in range(steps):
        u = np.linalg.solve(A, B @ u)
    return u


@program(lambda a: (1 + a.uniform(a.n), a.uniform(a.n) * 0.3, a.uniform(a.n) * 0.3, a.normal(a.n)), gradient=(0, 1, 2, 3), single=True)
def thomas(b, a, c, d):
    n = len(d)
    cp, dp = np.zeros(n, d.dtype), np.zeros(n, d.dtype)
    cp[0] = c[0] / b[0]
    dp[0] = d[0] / b[0]
    for i in range(1, n):
        m = b[i] - a[i] * cp[i - 1]
        cp[i] = c[i] / m
        dp[i] = (d[i] - a[i] * dp[i - 1]) / m
    x = np.zeros(n, d.dtype)
    x[-1] = dp[-1]
    for i in range(n - 2, -1, -1):
        x[i] = dp[i] - cp[i] * x[i + 1]
    return x


@program(lambda a: (a.normal(a.n), 0.97), gradient=(0, 1))
def horner(coefficients, x):
    result = 0.0
    for c in reversed(coefficients):
        result = result * x + c
    return result


@program(lambda a: (a.normal(a.n), 0.3), gradient=(0, 1))
def clenshaw(coefficients, x):
    b1 = b2 = 0.0
    for k in range(len(coefficients) - 1, 0, -1):
        b1, b2 = coefficients[k] + 2 * x * b1 - b2, b1
    return coefficients[0] + x * b1 - b2


@program(lambda a: (np.eye(4) + 0.3 * a.uniform(4, 4), a.n), static=(1,), tolerance=1e-7)
def power_iteration(A, steps):
    v = np.ones(4)
    for k in range(steps):
        w = A @ v
        v = w / np.linalg.norm(w)
    return v, v @ A @ v


@program(lambda a: (4 * np.eye(5) + a.uniform(5, 5), a.normal(5), a.n), static=(2,), gradient=(0, 1))
def jacobi(A, b, steps):
    D = np.diag(A)
    R = A - np.diagflat(D)
    x = np.zeros_like(b)
    residuals = []
    for i in range(steps):
        x = (b - np.dot(R, x)) / D
        residuals.append(np.linalg.norm(A @ x - b) ** 2)
    return x, np.array(residuals)


@program(lambda a: (4 * np.eye(5) + a.uniform(5, 5), a.normal(5), a.n), static=(2,), gradient=(0, 1))
def gauss_seidel(A, b, sweeps):
    x = np.zeros(5)
    for _ in range(sweeps):
        for i in range(5):
            x[i] = (b[i] - A[i, :i] @ x[:i] - A[i, i + 1 :] @ x[i + 1 :]) / A[i, i]
    return x


@program(lambda a: (a.normal(4 * a.n).reshape(a.n, 4), a.normal(4)), tolerance=1e-7)
def kaczmarz(A, x):
    """A row of the equations in each step."""
    for row in A:
        x = x - (row @ x - 1.0) / (row @ row) * row
    return x


@program(lambda a: (2.0, a.n), static=(1,), gradient=(0,))
def newton_for_so_many_steps(a, steps):
    x = a
    for _ in range(steps):
        x = 0.5 * (x + a / x)
    return x


@program(lambda a: (a.uniform(a.n, low=0.5, high=1.5),), gradient=(0,))
def continued_fraction(terms):
    value = terms[-1]
    for k in range(len(terms) - 2, -1, -1):
        value = terms[k] + 1 / value
    return value


@program(lambda a: (0.4, 3.7, a.n), static=(2,), sizes=(3, 20, 60), tolerance=1e-2)
def logistic_map(x, r, steps):
    orbit = []
    for i in range(steps):
        x = r * x * (1 - x) if i < 30 else 0.5 * x
        orbit.append(x)
    return np.array(orbit)


@program(lambda a: (-0.1 + 0.2j, a.n), static=(1,))
def mandelbrot_orbit(c, steps):
    z = 0j
    count = 0
    for _ in range(steps):
        z = z * z + c
        if abs(z) <= 2:
            count += 1
    return z, count


@program(lambda a: (a.uniform(a.n) * 3.0, np.zeros(3)))
def leaky_neurons_with_resets(current, v):
    v = v.copy()
    weights = np.array([1.0, 0.8, 0.5])
    spikes = np.zeros((len(current), 3), dtype=bool)
    for t in range(len(current)):
        v += 0.1 * (weights * current[t] - v)
        fired = v > 1.0
        spikes[t] = fired
        v[fired] = 0.0
    return spikes, v


@program(lambda a: (a.uniform(a.n) * 20,))
def izhikevich(current):
    v, u = -65.0, -13.0
    vs = np.zeros(len(current))
    for t in range(len(current)):
        if v >= 30:
            v, u = -65.0, u + 8
        v = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + current[t])
        u = u + 0.02 * (0.2 * v - u)
        v = min(v, 40.0)
        vs[t] = v
    return vs


@program(lambda a: (a.uniform(9, 9) > 0.6, a.n), static=(1,))
def game_of_life(cells, steps):
    cells = cells.astype(int)
    for _ in range(steps):
        neighbours = sum(np.roll(np.roll(cells, i, 0), j, 1) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
        cells = ((neighbours == 3) | ((cells == 1) & (neighbours == 2))).astype(int)
    return cells


@program(lambda a: (a.n,), static=(0,))
def rule_110(steps):
    """All generations, the rule as a table."""
    rule = np.array([(110 >> k) & 1 for k in range(8)])
    grid = np.zeros((steps, 31), dtype=np.int64)
    grid[0, -1] = 1
    for t in range(1, steps):
        row = grid[t - 1]
        grid[t] = rule[4 * np.roll(row, 1) + 2 * row + np.roll(row, -1)]
    return grid
