"""What is exported in tests: functions, with arguments and options."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

import irdl
from tests.models import lstm_data, lstm_loss

_numbers = np.random.default_rng(0)


class Case(NamedTuple):
    function: Any
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = MappingProxyType({})


def _single(*shape: int) -> np.ndarray:
    return _numbers.standard_normal(shape).astype(np.float32)


def _double(*shape: int) -> np.ndarray:
    return _numbers.standard_normal(shape)


def product(x: Any, w: Any) -> Any:
    return x @ w


def dense(params: Any, x: Any) -> Any:
    return {"y": np.tanh(x @ params["W"] + params["b"]), "sums": (x.sum(), x.max(axis=0))}


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def functions(x: Any) -> Any:
    size = np.abs(x)
    return np.sin(x * 100), np.tan(x), np.log1p(size), size**1.3, np.arctan2(x, 1 + x), np.expm1(x), np.rint(x * 3), np.sqrt(size)


def parts(z: Any) -> Any:
    return z * z + 1j, np.abs(z), np.fft.fft(z), z.sum()


def halves(a: Any, b: Any) -> Any:
    return a * a + 1, b + b


def whole_numbers(x: Any, k: Any, flag: Any, u: Any) -> Any:
    return x // k, x % k, np.where(flag, x, -x), u + np.uint8(250), x > 3, (x * 2.5).astype(np.int64)


def descent(params: Any, x: Any, gy: Any) -> Any:
    value, gradients = irdl.value_and_grad(lstm_loss)(params, x, gy)
    return {name: params[name] - 0.1 * gradients[name] for name in params}, value


def filtered(x: Any, k: Any) -> Any:
    y, s = np.zeros_like(x), np.float32(0)
    for n in range(x.shape[1]):
        s = np.float32(0.9) * s + x[:, n] * k[n]
        y[:, n] = s
    return y


def stored(x: Any, out: Any) -> Any:
    out[...] = x * 2
    out[3] = 7
    return x.sum()


def scalars(a: Any, b: Any, c: Any, d: Any) -> Any:
    return a * b + c, b, d


def halved(x: Any) -> Any:
    return irdl.while_loop(lambda c: c[0] > 1, lambda c: (c[0] / 2, c[1] + 1), (x, 0))


CASES = {
    "product": Case(product, (_single(5, 7), _single(7, 9))),
    "product_double": Case(product, (_double(33, 17), _double(17, 65))),
    "dense": Case(dense, ({"W": _single(8, 12), "b": _single(12)}, _single(4, 8))),
    "softmax": Case(softmax, (_single(6, 50),)),
    "functions": Case(functions, (_double(61),)),
    "functions_single": Case(functions, (_single(61),)),
    "complex": Case(parts, ((_single(6) + 1j * _single(6)).astype(np.complex64),)),
    "halves": Case(halves, (_single(9).astype(np.float16), _single(9).astype(ml_dtypes.bfloat16))),
    "whole_numbers": Case(whole_numbers, (np.arange(-20, 20, dtype=np.int32), np.int32(7), True, np.arange(40, dtype=np.uint8))),
    "descent": Case(descent, lstm_data(5, 3, 7, 13), {"donate_argnums": 0}),
    "filtered": Case(filtered, (_single(4, 100), _single(100))),
    "sorted": Case(lambda x: (np.sort(x), np.argsort(x)), (_single(64),), {"name": "in_order"}),
    "stored": Case(stored, (_single(40), np.zeros(40, np.float32))),
    "scalars": Case(scalars, (np.float32(3), 5, 2.5, np.uint8(200))),
    "halved": Case(halved, (np.float64(30),)),
    "empty": Case(lambda x: (x * 2, x.sum()), (_single(0, 4),), {"name": "nothing"}),
    "solve": Case(lambda a: (np.linalg.solve(a + 5 * np.eye(5), a), np.linalg.det(a)), (_double(5, 5),), {"name": "solve"}),
    "gather": Case(lambda x, i: x[i], (_single(3, 40), np.arange(3)), {"name": "gather"}),
    "transposed": Case(lambda x: (x.T, x * 2), (np.asfortranarray(_single(5, 6)),), {"name": "transposed"}),
    "twice": Case(lambda x, y: (lambda z: (z, {"again": z}, x))(x + y), (_single(7), _single(7)), {"name": "twice"}),
    "swapped": Case(lambda a, b: (b, a), (_single(4), _single(4)), {"name": "swapped", "donate_argnums": (0, 1)}),
    "moved": Case(lambda a: (a[::-1] + a, a.sum()), (_single(9),), {"name": "moved", "donate_argnums": 0}),
}
