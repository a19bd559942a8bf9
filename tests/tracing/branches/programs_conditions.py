"""What conditions are made of: arrays, masks, numbers of every kind, and what a condition is kept for."""

from __future__ import annotations

import numpy as np

from tests.tracing.branches.corpus import program


@program((np.array([1.0, np.nan]),), (np.array([1.0, 2.0]),))
def any_nan(x):
    if np.isnan(x).any():
        return np.nan_to_num(x), True
    return x * 2, False


@program(
    (np.array([1.0, 2.0]), np.array([1.0, 2.0])),
    (np.array([1.0, 2.0]), np.array([1.0, 2.1])),
    (np.array([1.0, 3.0]), np.array([1.0, 2.1])),
    (np.ones(2), np.ones(2) + 1e-9),
)
def close(x, y):
    if np.allclose(x, y):
        return 0.0 if np.array_equal(x, y) else 0.5
    if np.all(x <= y):
        return np.abs(x - y).max()
    return -1.0


@program((np.array([1.0, 2.0]),), (np.array([1.0, 5.0]),), (np.array([-9.0, 5.0]),))
def extremes(x):
    if x.max() > 3 and x.min() < 0:
        return x * 0
    if x.max() > 3:
        x = x / x.max()
    return x


@program((np.arange(4.0), np.array([True, False, True, False])), (np.arange(4.0), np.zeros(4, dtype=bool)))
def by_mask(x, mask):
    total = 0.0
    for i in range(len(x)):
        if mask[i]:
            total += x[i]
        else:
            x[i] = -1
    return total


@program((np.arange(3.0), True), (np.arange(3.0), False))
def a_bool(x, training):
    if training:
        x = x + 1
    return x if not training else x * 2


@program((np.arange(3.0), 1, np.float32(2.0), np.int8(3)), (np.arange(3.0), 0, np.float32(-2.0), np.int8(-3)))
def kinds_of_numbers(x, flag, single, byte):
    if flag:
        single = single * 2
    if single > 0:
        byte = byte + np.int8(1)
    else:
        byte = -byte
    return x * single, single, byte


@program((np.array([1, 2, 3], dtype=np.uint8),), (np.array([200, 100, 0], dtype=np.uint8),))
def bytes_that_wrap(x):
    if x[0] > 100:
        x = x + np.uint8(100)
    return x


@program((np.float32([1.0, -2.0]),), (np.float32([-1.0, 2.0]),))
def singles_stay_singles(x):
    y = np.zeros(2, np.float32)
    for i in range(2):
        y[i] = x[i] * 2 if x[i] > 0 else 0.0
    scale = x.dtype.type(0.5) if x[0] > 0 else x.dtype.type(2)
    return y, y * scale


@program((1 + 2j,), (-1 + 2j,), (-1 - 2j,))
def complex_numbers(z):
    if z.real > 0:
        return z * 1j
    if z.imag > 0:
        return z.conjugate()
    return -z


@program((np.array([1.0, -1.0]),), (np.array([-1.0, -2.0]),), (np.array([-1.0, 2.0]),))
def truth_of_an_array_of_one(x):
    if x[:1] > 0:
        return x + 1
    if not (x[1:] > 0):
        return x - 1
    return x


@program((5,), (0,), (-3,))
def truth_of_a_number(n):
    if n and n > 0:
        return n
    if not n:
        return 100
    return -n


@program((2.0, np.ones(2)), (-2.0, np.ones(2)))
def comparison_kept(x, w):
    """The condition is computed before, and used twice."""
    positive = x > 0
    if positive:
        w = w * 2
    y = w + 1
    if positive:
        y = y * 3
    return y, positive


@program((np.arange(6.0).reshape(2, 3),), (-np.arange(6.0).reshape(2, 3),))
def elements_of_a_matrix(x):
    out = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if x[i, j] < 0:
                out[i, j] = 0
            elif i == j:
                out[i, j] *= 2
    return out
