"""Layers without a memory: linear maps, embeddings, activations, containers, dropout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import irdl
from irdl.nn import functional as F
from irdl.nn import init
from irdl.nn.module import Module


class Linear(Module):
    """y = x @ weight.T + bias, of (..., in_features) to (..., out_features).

    Parameters are uniform within 1 / sqrt(in_features), as PyTorch's.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, key: Any = None, dtype: Any = np.float32) -> None:
        self.in_features, self.out_features = in_features, out_features
        first, second = irdl.random.split(init.default_key(key))
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = init.uniform((out_features, in_features), -bound, bound, key=first, dtype=dtype)
        self.bias = init.uniform((out_features,), -bound, bound, key=second, dtype=dtype) if bias else None

    def forward(self, x: Any) -> Any:
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias


class Embedding(Module):
    """Rows of a table: integers (...) to (..., embedding_dim).

    Args:
        num_embeddings, embedding_dim: of the table, whose numbers are standard normal.
        padding_idx: this row is zero at first, and stays as it is: it has no gradient.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *, key: Any = None, dtype: Any = np.float32
    ) -> None:
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.weight = init.normal((num_embeddings, embedding_dim), key=key, dtype=dtype)
        if padding_idx is not None:
            self.weight[padding_idx] = 0

    def forward(self, indices: Any) -> Any:
        found = self.weight[indices]
        if self.padding_idx is None:
            return found
        padding = self.padding_idx % self.num_embeddings
        return np.where((indices == padding)[..., None], irdl.stop_gradient(found), found)


class Identity(Module):
    """x"""

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """Axes `start_dim` to `end_dim` as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        first, last = self.start_dim % x.ndim, self.end_dim % x.ndim
        return x.reshape(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, x: Any) -> Any:
        return F.relu(x)


class Tanh(Module):
    """tanh(x)"""

    def forward(self, x: Any) -> Any:
        return np.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))"""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class SiLU(Module):
    """x * sigmoid(x)"""

    def forward(self, x: Any) -> Any:
        return F.silu(x)


class GELU(Module):
    """x times the normal distribution function, or by `approximate="tanh"` nearly that."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return F.gelu(x, self.approximate)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.softmax(x, self.dim)


class Dropout(Module):
    """In training, zeros with probability p, and what stays divided by 1 - p.

    Which, follows from a key and from how often the layer was called, both of them buffers: a compiled step draws anew at each call.

    Raises:
        ValueError: p is no probability below 1.
    """

    def __init__(self, p: float = 0.5, *, key: Any = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"dropout with probability {p}: it is at least 0 and below 1")
        self.p = p
        self.key: Any
        self.calls: Any
        self.register_buffer("key", init.default_key(key), persistent=False)
        self.register_buffer("calls", np.zeros((), np.uint32), persistent=False)

    def forward(self, x: Any) -> Any:
        if not self.training or not self.p:
            return x
        key = irdl.random.fold_in(self.key, self.calls)
        self.calls = np.reshape(self.calls + np.uint32(1), ())
        return F.dropout(x, key, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Sequential(Module):
    """One layer after the other, named by their places."""

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for place, layer in enumerate(layers):
            setattr(self, str(place), layer)
        self.count = len(layers)

    def __getitem__(self, place: int) -> Any:
        return getattr(self, str(range(self.count)[place]))

    def __len__(self) -> int:
        return self.count

    def forward(self, x: Any) -> Any:
        for place in range(self.count):
            x = getattr(self, str(place))(x)
        return x


class Residual(Module):
    """x + fn(x)"""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self.fn = fn

    def forward(self, x: Any) -> Any:
        return x + self.fn(x)
