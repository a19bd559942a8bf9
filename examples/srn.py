"""The simple recurrent network, step by step: two inputs, two hidden units that remember, two outputs; all weights 1, the first state 0.

    python examples/srn.py

The same network four times: in NumPy without an activation, with tanh, as `nn.RNNCell`, and as `nn.RNN`. Each runs eagerly and compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import irdl
from irdl import nn

INPUTS = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
ONES = np.ones((2, 2))


def plain(xs: Any) -> Any:
    """h = x @ W + h @ U, y = h @ V"""
    h, outputs = np.zeros(2), []
    for x in xs:
        h = x @ ONES + h @ ONES
        outputs.append(h @ ONES)
    return np.stack(outputs)


def with_tanh(xs: Any) -> Any:
    """h = tanh(x @ W + h @ U), y = h @ V"""
    h, outputs = np.zeros(2), []
    for x in xs:
        h = np.tanh(x @ ONES + h @ ONES)
        outputs.append(h @ ONES)
    return np.stack(outputs)


def all_ones(layer: nn.Module) -> nn.Module:
    layer.load_state_dict({name: np.ones(array.shape) for name, array in layer.state_dict().items()})
    return layer


CELL = all_ones(nn.RNNCell(2, 2, bias=False, dtype=np.float64))
LAYER = all_ones(nn.RNN(2, 2, bias=False, dtype=np.float64))


def as_cell(xs: Any) -> Any:
    h, outputs = np.zeros((1, 2)), []
    for x in xs:
        h = CELL(x[None], h)
        outputs.append(h[0] @ ONES)
    return np.stack(outputs)


def as_layer(xs: Any) -> Any:
    hs, _ = LAYER(xs)
    return hs @ ONES


FORMS = {"without activation": plain, "with tanh": with_tanh, "as RNNCell": as_cell, "as RNN": as_layer}


def main(arguments: list[str] | None = None) -> dict[str, np.ndarray]:
    found = {}
    for name, form in FORMS.items():
        found[name] = irdl.jit(form)(INPUTS)
        np.testing.assert_allclose(found[name], form(INPUTS), rtol=1e-12)
        print(f"{name}:")
        for x, y in zip(INPUTS, found[name], strict=True):
            print(f"  input {x}  output {np.round(y, 4)}")
    np.testing.assert_allclose(found["as RNNCell"], found["with tanh"], rtol=1e-12)
    np.testing.assert_allclose(found["as RNN"], found["with tanh"], rtol=1e-12)
    return found


if __name__ == "__main__":
    main()
