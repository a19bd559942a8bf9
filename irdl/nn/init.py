"""Initial values of parameters, with PyTorch's names and formulas. Each function gives a new array.

Without a key, numbers come from a sequence of keys of its own, which `manual_seed` begins anew.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl import random

_state: dict[str, Any] = {"key": random.key(0), "count": itertools.count()}


def manual_seed(seed: int) -> None:
    """Begin the sequence of default keys anew: layers made after it have the same parameters each time."""
    _state.update(key=random.key(seed), count=itertools.count())


def default_key(key: Any = None) -> Any:
    """`key`, or the next of the sequence."""
    return random.fold_in(_state["key"], next(_state["count"])) if key is None else key


def _check_numbers(function: str, **numbers: Any) -> None:
    """A key in the place of a number would be taken for one.

    Raises:
        TypeError: one is an array.
    """
    for name, number in numbers.items():
        if np.ndim(number):
            raise TypeError(f"{function}: {name} is a number, not an array of shape {np.shape(number)}; a key is given as key=")


def zeros(shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """Zeros."""
    return np.zeros(shape, dtype)


def ones(shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """Ones."""
    return np.ones(shape, dtype)


def uniform(shape: Sequence[int], low: float = 0.0, high: float = 1.0, *, key: Any = None, dtype: Any = np.float32) -> np.ndarray:
    """Uniform in [low, high)."""
    _check_numbers("uniform", low=low, high=high)
    return np.asarray(random.uniform(default_key(key), shape, dtype, low, high), dtype)


def normal(shape: Sequence[int], mean: float = 0.0, std: float = 1.0, *, key: Any = None, dtype: Any = np.float32) -> np.ndarray:
    """Normal."""
    _check_numbers("normal", mean=mean, std=std)
    return np.asarray(mean + std * random.normal(default_key(key), shape, dtype), dtype)


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """How many inputs and outputs meet in a weight (outputs, inputs, ...).

    Raises:
        ValueError: the weight has fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"fans are those of a weight with two axes or more, not of {tuple(shape)}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def calculate_gain(nonlinearity: str, param: float = 0.01) -> float:
    """How much a nonlinearity shrinks its input's spread: the factor that makes up for it.

    Raises:
        ValueError: it is not one of linear, sigmoid, tanh, relu, leaky_relu, selu.
    """
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + param**2))
    if nonlinearity not in gains:
        raise ValueError(f"no gain is known for {nonlinearity!r}: it is one of {', '.join(gains)}, leaky_relu")
    return gains[nonlinearity]


def xavier_uniform(shape: Sequence[int], gain: float = 1.0, *, key: Any = None, dtype: Any = np.float32) -> np.ndarray:
    """Glorot and Bengio (2010): uniform with variance gain^2 * 2 / (inputs + outputs)."""
    _check_numbers("xavier_uniform", gain=gain)
    bound = gain * math.sqrt(6.0 / sum(fans(shape)))
    return uniform(shape, -bound, bound, key=key, dtype=dtype)


def xavier_normal(shape: Sequence[int], gain: float = 1.0, *, key: Any = None, dtype: Any = np.float32) -> np.ndarray:
    """Glorot and Bengio (2010): normal with variance gain^2 * 2 / (inputs + outputs)."""
    _check_numbers("xavier_normal", gain=gain)
    return normal(shape, 0.0, gain * math.sqrt(2.0 / sum(fans(shape))), key=key, dtype=dtype)


def _kaiming_std(shape: Sequence[int], a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode is 'fan_in' or 'fan_out', not {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans(shape)[mode == "fan_out"])


def kaiming_uniform(
    shape: Sequence[int],
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    key: Any = None,
    dtype: Any = np.float32,
) -> np.ndarray:
    """He et al. (2015): uniform with variance gain^2 / fan; `a` is the negative slope of a leaky relu."""
    bound = math.sqrt(3.0) * _kaiming_std(shape, a, mode, nonlinearity)
    return uniform(shape, -bound, bound, key=key, dtype=dtype)


def kaiming_normal(
    shape: Sequence[int],
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    key: Any = None,
    dtype: Any = np.float32,
) -> np.ndarray:
    """He et al. (2015): normal with variance gain^2 / fan; `a` is the negative slope of a leaky relu."""
    return normal(shape, 0.0, _kaiming_std(shape, a, mode, nonlinearity), key=key, dtype=dtype)


def orthogonal(shape: Sequence[int], gain: float = 1.0, *, key: Any = None, dtype: Any = np.float32) -> np.ndarray:
    """Saxe et al. (2014): rows (or columns, where they are fewer) of unit length at right angles, times the gain."""
    _check_numbers("orthogonal", gain=gain)
    rows, columns = shape[0], math.prod(shape[1:])
    flat = normal((max(rows, columns), min(rows, columns)), key=key, dtype=np.float64)
    q, r = np.linalg.qr(flat)
    q = q * np.sign(np.diag(r))
    return np.asarray(gain * (q.T if rows < columns else q).reshape(shape), dtype)
