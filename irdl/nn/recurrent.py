"""Recurrent layers: any cell over time, and PyTorch's RNN, GRU and LSTM."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import irdl
from irdl.nn import init
from irdl.nn.cells import gru_step, lstm_step, rnn_step
from irdl.nn.layers import Dropout
from irdl.nn.module import Module
from irdl.nn.over_time import Layered, Pass, run


class Recurrent(Layered):
    """Any cell over time, with the options of PyTorch's recurrent layers.

    Args:
        cell: `(x, state) -> state`, a module or a function, used as it is; or, with sizes given, what makes a cell of an input size and
            a hidden size (a class, say), called for each layer and direction. What a step gives out is the state, or the first array of
            one that is a tuple. `initial_state(batch_size)` of a cell is what it begins with, zeros (B, hidden_size) otherwise.
        input_size, hidden_size: of the cells that are to be made.
        num_layers, bidirectional: how many cells are made.
        batch_first: whether inputs and outputs are (B, T, ...) and not (T, B, ...).
        dropout: probability, on the outputs of all layers but the last.

    Raises:
        ValueError: several layers or directions of a cell that is used as it is.
    """

    def __init__(
        self,
        cell: Callable[..., Any],
        input_size: int | None = None,
        hidden_size: int | None = None,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        directions = 1 + bidirectional
        if input_size is None or hidden_size is None:
            if num_layers * directions > 1:
                raise ValueError("several layers or directions need cells of their own: give what makes a cell, and the sizes")
            self.cells: list[Any] = [cell]
        else:
            widths = [input_size, *[hidden_size * directions] * (num_layers - 1)]
            self.cells = [cell(width, hidden_size) for width in widths for _ in range(directions)]
        self.input_size, self.hidden_size, self.batch_first, self.directions = input_size, hidden_size, batch_first, directions
        self.drop = Dropout(dropout)

    def forward(self, x: Any, state: Any = None, lengths: Any = None, reset: Any = None) -> tuple[Any, Any]:
        """
        Args:
            x: (T, B, input), (B, T, input) with batch_first, or (T, input).
            state: of the cell; of several cells a list, layer by layer.
            lengths, reset: see `nn.LSTM`.

        Returns:
            The outputs, laid out as x, and the last state, or a list of them.
        """
        rank = x.ndim
        x, lengths, reset = self._rows(x, lengths, reset)
        layers = [
            [self._pass(cell, x.shape[1], bool(place)) for place, cell in enumerate(self.cells[first : first + self.directions])]
            for first in range(0, len(self.cells), self.directions)
        ]
        states = None if state is None else [state] if len(self.cells) == 1 else state
        if states is not None and rank == 2:
            states = irdl.tree.map(lambda part: part[None], states)
        y, last = run(layers, x, states, self.drop, lengths, reset)
        if rank == 2:
            last = irdl.tree.map(lambda part: part[0], last)
        return self._out(y, rank), last[0] if len(last) == 1 else last

    def _pass(self, cell: Any, batch: int, reverse: bool) -> Pass:
        def step(x: Any, state: Any) -> tuple[Any, Any]:
            state = cell(x, state)
            return state, state if isinstance(state, np.ndarray) else state[0]

        if hasattr(cell, "initial_state"):
            start = cell.initial_state(batch)
        else:
            weights = irdl.tree.leaves(cell) if isinstance(cell, Module) else []
            width = cell.hidden_size if self.hidden_size is None else self.hidden_size
            start = np.zeros((batch, width), weights[0].dtype if weights else np.float32)
        return Pass(step, start, reverse)


class _RNNBase(Layered):
    """What RNN, LSTM and GRU share.

    Args:
        input_size, hidden_size: of the inputs and the state.
        num_layers: each reads what the one before gives.
        bias: whether there are biases.
        batch_first: whether inputs and outputs are (B, T, ...) and not (T, B, ...).
        dropout: probability, on the outputs of all layers but the last.
        bidirectional: a second pass from the end, side by side with the first.

    Parameters are those of PyTorch, `weight_ih_l0`, `weight_hh_l0_reverse` and so on, uniform within 1 / sqrt(hidden_size).
    """

    gates = 1
    weight_hh_l0: Any

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        key: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional, self.proj_size = bias, batch_first, bidirectional, proj_size
        self.suffixes = ("", "_reverse") if bidirectional else ("",)
        bound = 1 / math.sqrt(hidden_size) if hidden_size else 0.0
        out, rows = proj_size or hidden_size, self.gates * hidden_size
        keys = iter(irdl.random.split(init.default_key(key), 5 * num_layers * len(self.suffixes)))
        for layer in range(num_layers):
            width = out * len(self.suffixes) if layer else input_size
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, out)}
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in self.suffixes:
                for name, shape in shapes.items():
                    setattr(self, f"{name}_l{layer}{suffix}", init.uniform(shape, -bound, bound, key=next(keys), dtype=dtype))
        self.drop = Dropout(dropout)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"

    def _weights(self, layer: int, suffix: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
        """What an input and a state are made of before the gates: times a weight, with a bias."""
        names = [(getattr(self, f"weight_{part}_l{layer}{suffix}"), part) for part in ("ih", "hh")]

        def share(weight: Any, part: str) -> Callable[[Any], Any]:
            if not self.bias:
                return lambda x: x @ weight.T
            bias = getattr(self, f"bias_{part}_l{layer}{suffix}")
            return lambda x: x @ weight.T + bias

        first, second = (share(*item) for item in names)
        return first, second

    def forward(self, x: Any, h0: Any = None, lengths: Any = None, reset: Any = None) -> tuple[Any, Any]:
        y, last = self._run(x, None if h0 is None else self._split(h0, x.ndim), lengths, reset)
        return y, self._joined(last, x.ndim)

    def _step(self, layer: int, suffix: str) -> Callable[[Any, Any], tuple[Any, Any]]:
        """One layer's step in one direction: (x, state) -> (state, y)."""
        raise NotImplementedError

    def _zeros(self, batch: int) -> Any:
        return np.zeros((batch, self.proj_size or self.hidden_size), self.weight_hh_l0.dtype)

    def _run(self, x: Any, states: list[Any] | None, lengths: Any, reset: Any) -> tuple[Any, list[Any]]:
        rank = x.ndim
        x, lengths, reset = self._rows(x, lengths, reset)
        start = self._zeros(x.shape[1])
        layers = [[Pass(self._step(layer, suffix), start, bool(suffix)) for suffix in self.suffixes] for layer in range(self.num_layers)]
        y, last = run(layers, x, states, self.drop, lengths, reset)
        return self._out(y, rank), last

    def _split(self, state: Any, rank: int) -> list[Any]:
        """The states (layers * directions, B, H) of each pass.

        Raises:
            ValueError: there are not as many.
        """
        count = self.num_layers * len(self.suffixes)
        if state.shape[0] != count or state.ndim != rank:
            raise ValueError(f"{type(self).__name__} takes {count} initial states and {rank} axes, not the shape {state.shape}")
        return [state[place][None] if rank == 2 else state[place] for place in range(count)]

    def _joined(self, parts: list[Any], rank: int) -> Any:
        state = np.stack(parts)
        return state[:, 0] if rank == 2 else state


_OPTIONS = """

    Called with x (T, B, input_size), (B, T, input_size) with batch_first, or (T, input_size); the initial state as in PyTorch; and

    - lengths: of the sequences, integers (B,) in any order, 0 among them: behind its end a sequence gives zeros, its last state is
      that of the sequence run alone, and the way back begins at its end.
    - reset: bool (T, B), or (B, T) with batch_first: at these steps a state starts anew from zeros before the step, as episodes need it;
      on the way back it starts anew behind the step before.

    Gives the outputs, laid out as x, and the last states.
"""


class RNN(_RNNBase):
    __doc__ = f"Elman's recurrent layer: h' = tanh(..), or relu. {_RNNBase.__doc__}{_OPTIONS}"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        key: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, key=key, dtype=dtype)
        self.nonlinearity = nonlinearity

    def _step(self, layer: int, suffix: str) -> Callable[[Any, Any], tuple[Any, Any]]:
        of_input, of_state = self._weights(layer, suffix)

        def step(x: Any, h: Any) -> tuple[Any, Any]:
            h = rnn_step(of_input(x), of_state(h), self.nonlinearity)
            return h, h

        return step


class GRU(_RNNBase):
    __doc__ = f"Gated recurrent units (Cho et al., 2014), gates r, z, n. {_RNNBase.__doc__}{_OPTIONS}"
    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        key: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, key=key, dtype=dtype)

    def _step(self, layer: int, suffix: str) -> Callable[[Any, Any], tuple[Any, Any]]:
        of_input, of_state = self._weights(layer, suffix)

        def step(x: Any, h: Any) -> tuple[Any, Any]:
            h = gru_step(of_input(x), of_state(h), h)
            return h, h

        return step


class LSTM(_RNNBase):
    __doc__ = (
        "Long short-term memory (Hochreiter and Schmidhuber, 1997), gates i, f, g, o; with proj_size the output is projected "
        f"(Sak et al., 2014). {_RNNBase.__doc__}{_OPTIONS}"
    )
    gates = 4

    def _step(self, layer: int, suffix: str) -> Callable[[Any, Any], tuple[Any, Any]]:
        of_input, of_state = self._weights(layer, suffix)
        projection = getattr(self, f"weight_hr_l{layer}{suffix}") if self.proj_size else None

        def step(x: Any, state: Any) -> tuple[Any, Any]:
            h, c = state
            h, c = lstm_step(of_input(x) + of_state(h), c)
            if projection is not None:
                h = h @ projection.T
            return (h, c), h

        return step

    def _zeros(self, batch: int) -> Any:
        return super()._zeros(batch), np.zeros((batch, self.hidden_size), self.weight_hh_l0.dtype)

    def forward(self, x: Any, state: Any = None, lengths: Any = None, reset: Any = None) -> tuple[Any, tuple[Any, Any]]:
        states = None
        if state is not None:
            states = list(zip(*(self._split(part, x.ndim) for part in state), strict=True))
        y, last = self._run(x, states, lengths, reset)
        h, c = (self._joined([pair[place] for pair in last], x.ndim) for place in (0, 1))
        return y, (h, c)
