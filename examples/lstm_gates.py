"""An LSTM with gates set by hand: it adds up what it is told to, forgets when it is told to, and answers when it is asked.

    python examples/lstm_gates.py

An input is (number, command, question, 1). The command 1 adds the number to the memory, -1 empties it; the question 1 lets the memory out.
Once in NumPy, once as `nn.LSTMCell`, once as `nn.LSTM`; and its gradient derived by hand against irdl's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import irdl
from irdl import nn

#: the rows of the gates i, f, g, o, over (number, command, question, 1)
WEIGHTS = np.array([[0.0, 100, 0, -10], [0, 100, 0, 10], [1, 0, 0, 0], [0, 0, 100, -10]])
SEQUENCE = np.array(
    [[1.0, 0, 0, 1], [3, 1, 0, 1], [2, 0, 0, 1], [4, 1, 0, 1], [2, 0, 0, 1], [1, 0, 1, 1], [3, -1, 0, 1], [6, 1, 0, 1], [1, 0, 1, 1]]
)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def run(weights: Any, xs: Any) -> Any:
    """The outputs h of each step; weight_hh is zero, and there is no bias."""
    c, outputs = 0.0, []
    for x in xs:
        i, f, g, o = weights @ x
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        outputs.append(sigmoid(o) * np.tanh(c))
    return np.stack(outputs)


def gradient_by_hand(weights: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Of the sum of all outputs with respect to the weights: backwards through time, with the chain rule written out."""
    c, kept = 0.0, []
    for x in xs:
        i, f, g, o = weights @ x
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        kept.append((x, i, f, g, o, c))
        c = f * c + i * g
    gradient, dc = np.zeros_like(weights), 0.0
    for x, i, f, g, o, before in reversed(kept):
        t = np.tanh(f * before + i * g)
        dc = dc + o * (1 - t**2)
        gates = np.array([dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g**2), t * o * (1 - o)])
        gradient += np.outer(gates, x)
        dc = dc * f
    return gradient


def with_weights(layer: nn.Module, suffix: str = "") -> nn.Module:
    layer.load_state_dict({f"weight_ih{suffix}": WEIGHTS, f"weight_hh{suffix}": np.zeros((4, 1))})
    return layer


CELL = with_weights(nn.LSTMCell(4, 1, bias=False, dtype=np.float64))
LAYER = with_weights(nn.LSTM(4, 1, bias=False, batch_first=True, dtype=np.float64), "_l0")


def as_cell(xs: Any) -> Any:
    state, outputs = (np.zeros((1, 1)), np.zeros((1, 1))), []
    for x in xs:
        state = CELL(x[None], state)
        outputs.append(state[0][0, 0])
    return np.stack(outputs)


def as_layer(xs: Any) -> Any:
    hs, _ = LAYER(xs[None])
    return hs[0, :, 0]


def main(arguments: list[str] | None = None) -> np.ndarray:
    outputs = irdl.jit(run)(WEIGHTS, SEQUENCE)
    for x, h in zip(SEQUENCE, outputs, strict=True):
        print(f"input {x.astype(int)}  output {h:7.4f}")
    for name, form in (("LSTMCell", as_cell), ("LSTM", as_layer)):
        np.testing.assert_allclose(irdl.jit(form)(SEQUENCE), outputs, rtol=1e-12, atol=1e-12)
        print(f"nn.{name} gives the same")
    near = WEIGHTS / 20  # at the weights above the gates are shut so tightly that nearly all gradients are 0
    found = irdl.jit(irdl.grad(lambda weights: run(weights, SEQUENCE).sum()))(near)
    by_hand = gradient_by_hand(near, SEQUENCE)
    np.testing.assert_allclose(found, by_hand, rtol=1e-10, atol=1e-14)
    print(f"the gradient by hand and irdl's differ by {np.abs(found - by_hand).max():.1e} at most")
    return outputs


if __name__ == "__main__":
    main()
