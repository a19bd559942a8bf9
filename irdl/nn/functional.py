"""The functions behind the layers: NumPy alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import irdl
from irdl.ir.op import NO_ATTRIBUTES
from irdl.ops.elementwise import ERF


def relu(x: Any) -> Any:
    """max(x, 0)"""
    return np.maximum(x, 0)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))"""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def silu(x: Any) -> Any:
    """x * sigmoid(x)"""
    return x * sigmoid(x)


def gelu(x: Any, approximate: str = "none") -> Any:
    """x times the normal distribution function (Hendrycks and Gimpel, 2016); `approximate="tanh"`: by their formula with tanh.

    Raises:
        ValueError: another approximation is asked for.
    """
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    if approximate != "none":
        raise ValueError(f"approximate is 'none' or 'tanh', not {approximate!r}")
    return 0.5 * x * (1 + erf(x * (1 / math.sqrt(2))))


def erf(x: Any) -> Any:
    """The error function."""
    return ERF.apply([x], NO_ATTRIBUTES)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) along one axis or several, without overflow."""
    top = irdl.stop_gradient(np.max(x, axis=axis, keepdims=True))
    top = np.where(np.isfinite(top), top, 0)
    total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - logsumexp(x)"""
    return x - logsumexp(x, axis, keepdims=True)


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x))"""
    e = np.exp(x - irdl.stop_gradient(np.max(x, axis=axis, keepdims=True)))
    return e / np.sum(e, axis=axis, keepdims=True)


def one_hot(indices: Any, num_classes: int, dtype: Any = np.float32) -> Any:
    """1 at each index along a new last axis, 0 elsewhere."""
    return (indices[..., None] == np.arange(num_classes)).astype(dtype)


def dropout(x: Any, key: Any, p: float) -> Any:
    """Zeros with probability p; what stays is divided by 1 - p (Srivastava et al., 2014)."""
    keep = irdl.random.uniform(key, x.shape) >= p
    return np.where(keep, x * (1 / (1 - p)), 0).astype(x.dtype)
