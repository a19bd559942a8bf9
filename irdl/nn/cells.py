"""Recurrent cells: one step, from an input (B, input_size) and a state to the next state, with PyTorch's parameters and gate order.

A cell is any callable `(x, state) -> state`; what a step gives out is the state, or the first array of one that is a tuple. A module that
is a cell may have `initial_state(batch_size)`, zeros (B, hidden_size) otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import irdl
from irdl.nn import init
from irdl.nn.functional import sigmoid
from irdl.nn.module import Module
from irdl.nn.normalization import LayerNorm


def rnn_step(x: Any, h: Any, nonlinearity: str) -> Any:
    """tanh(x + h), or relu; both are there already times their weights."""
    return np.tanh(x + h) if nonlinearity == "tanh" else np.maximum(x + h, 0)


def lstm_step(gates: Any, c: Any) -> tuple[Any, Any]:
    """(h, c) of the gates i, f, g, o before their functions, and the cell's state (Hochreiter and Schmidhuber, 1997)."""
    i, f, g, o = np.split(gates, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x: Any, u: Any, h: Any) -> Any:
    """h of the gates r, z, n, from the input's share and the state's (Cho et al., 2014; the bias of n inside r, as in PyTorch)."""
    xr, xz, xn = np.split(x, 3, axis=-1)
    ur, uz, un = np.split(u, 3, axis=-1)
    r, z = sigmoid(xr + ur), sigmoid(xz + uz)
    n = np.tanh(xn + r * un)
    return (1 - z) * n + z * h


class Cell(Module):
    """What the cells below share: `weight_ih`, `weight_hh` and biases of `gates` times `hidden_size` rows, uniform within
    1 / sqrt(hidden_size)."""

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, key: Any = None, dtype: Any = np.float32) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        keys = irdl.random.split(init.default_key(key), 4)
        rows, bound = self.gates * hidden_size, 1 / math.sqrt(hidden_size) if hidden_size else 0.0
        self.weight_ih = init.uniform((rows, input_size), -bound, bound, key=keys[0], dtype=dtype)
        self.weight_hh = init.uniform((rows, hidden_size), -bound, bound, key=keys[1], dtype=dtype)
        self.bias_ih = init.uniform((rows,), -bound, bound, key=keys[2], dtype=dtype) if bias else None
        self.bias_hh = init.uniform((rows,), -bound, bound, key=keys[3], dtype=dtype) if bias else None

    def initial_state(self, batch_size: int) -> Any:
        """Zeros."""
        return np.zeros((batch_size, self.hidden_size), self.weight_hh.dtype)

    def shares(self, x: Any, h: Any) -> tuple[Any, Any]:
        """The input and the state, each times its weight and with its bias."""
        first, second = x @ self.weight_ih.T, h @ self.weight_hh.T
        return (first, second) if self.bias_ih is None else (first + self.bias_ih, second + self.bias_hh)

    def __call__(self, x: Any, state: Any = None) -> Any:
        """The next state; x may be (input_size,), the state then too, and without a state it starts from zeros."""
        if x.ndim == 1:
            state = None if state is None else irdl.tree.map(lambda part: part[None], state)
            return irdl.tree.map(lambda part: part[0], self(x[None], state))
        return self.forward(x, self.initial_state(x.shape[0]) if state is None else state)


class RNNCell(Cell):
    """h' = tanh(x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh), or relu (Elman, 1990)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        key: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, key=key, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x: Any, h: Any) -> Any:
        return rnn_step(*self.shares(x, h), self.nonlinearity)


class LSTMCell(Cell):
    """(h, c) to (h', c'), gates i, f, g, o (Hochreiter and Schmidhuber, 1997)."""

    gates = 4

    def initial_state(self, batch_size: int) -> Any:
        zeros = super().initial_state(batch_size)
        return zeros, zeros

    def forward(self, x: Any, state: Any) -> Any:
        h, c = state
        first, second = self.shares(x, h)
        return lstm_step(first + second, c)


class GRUCell(Cell):
    """h to h', gates r, z, n (Cho et al., 2014)."""

    gates = 3

    def forward(self, x: Any, h: Any) -> Any:
        return gru_step(*self.shares(x, h), h)


class PeepholeLSTMCell(LSTMCell):
    """An LSTM whose gates see the cell's state through `weight_ci`, `weight_cf`, `weight_co` (Gers and Schmidhuber, 2000)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, key: Any = None, dtype: Any = np.float32) -> None:
        first, second = irdl.random.split(init.default_key(key))
        super().__init__(input_size, hidden_size, bias, key=first, dtype=dtype)
        bound = 1 / math.sqrt(hidden_size)
        peepholes = init.uniform((3, hidden_size), -bound, bound, key=second, dtype=dtype)
        self.weight_ci, self.weight_cf, self.weight_co = (row.copy() for row in peepholes)

    def forward(self, x: Any, state: Any) -> Any:
        h, c = state
        first, second = self.shares(x, h)
        i, f, g, o = np.split(first + second, 4, axis=-1)
        c = sigmoid(f + self.weight_cf * c) * c + sigmoid(i + self.weight_ci * c) * np.tanh(g)
        return sigmoid(o + self.weight_co * c) * np.tanh(c), c


class CoupledLSTMCell(LSTMCell):
    """An LSTM that forgets as much as it takes in: gates f, g, o, and i = 1 - f (Greff et al., 2017)."""

    gates = 3

    def forward(self, x: Any, state: Any) -> Any:
        h, c = state
        first, second = self.shares(x, h)
        f, g, o = np.split(first + second, 3, axis=-1)
        f = sigmoid(f)
        c = f * c + (1 - f) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c


class LayerNormLSTMCell(LSTMCell):
    """An LSTM whose shares of the gates and whose cell state are normalised (Ba et al., 2016)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, key: Any = None, dtype: Any = np.float32) -> None:
        super().__init__(input_size, hidden_size, bias, key=key, dtype=dtype)
        self.norm_ih, self.norm_hh = (LayerNorm(4 * hidden_size, dtype=dtype) for _ in range(2))
        self.norm_c = LayerNorm(hidden_size, dtype=dtype)

    def forward(self, x: Any, state: Any) -> Any:
        h, c = state
        gates = self.norm_ih(x @ self.weight_ih.T) + self.norm_hh(h @ self.weight_hh.T)
        if self.bias_ih is not None:
            gates = gates + (self.bias_ih + self.bias_hh)
        i, f, g, o = np.split(gates, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(self.norm_c(c)), c


class MinGRUCell(Module):
    """h' = (1 - z) * h + z * g, with z and g of the input alone: z = sigmoid(x @ Wz), g = x @ Wg (Feng et al., 2024)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, key: Any = None, dtype: Any = np.float32) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        first, second = irdl.random.split(init.default_key(key))
        bound = 1 / math.sqrt(input_size)
        self.weight_ih = init.uniform((2 * hidden_size, input_size), -bound, bound, key=first, dtype=dtype)
        self.bias_ih = init.uniform((2 * hidden_size,), -bound, bound, key=second, dtype=dtype) if bias else None

    def forward(self, x: Any, h: Any) -> Any:
        share = x @ self.weight_ih.T
        z, g = np.split(share if self.bias_ih is None else share + self.bias_ih, 2, axis=-1)
        z = sigmoid(z)
        return (1 - z) * h + z * g
