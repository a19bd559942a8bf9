"""The loop over time that all recurrent layers run: several layers, both directions, padded sequences, and states that start anew on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import irdl
from irdl.nn.module import Module


@dataclass(frozen=True)
class Pass:
    """One direction of one layer.

    Attributes:
        step: from an input and a state to the state and what is given out.
        start: the state that it begins with, and begins anew with.
        reverse: whether it goes from the end.
    """

    step: Callable[[Any, Any], tuple[Any, Any]]
    start: Any
    reverse: bool = False


def run(
    layers: Sequence[Sequence[Pass]], x: Any, states: Sequence[Any] | None, drop: Callable[[Any], Any], lengths: Any, reset: Any
) -> tuple[Any, list[Any]]:
    """What layers of one or two directions make of x (T, B, input), and their last states, in order.

    Args:
        layers: each reads what the one before gives, both directions side by side.
        x: the inputs.
        states: that they begin with, where those are not their `start`.
        drop: what happens to all outputs but the last layer's.
        lengths: of the sequences, integers (B,): behind its end a sequence gives zeros and its state stays; the way back begins at
            its end.
        reset: bool (T, B): at these steps a state starts anew; on the way back behind the step before.
    """
    steps = x.shape[0]
    active = None if lengths is None else np.arange(steps)[:, None] < lengths
    last: list[Any] = []
    for number, passes in enumerate(layers):
        if number:
            x = drop(x)
        outputs = []
        for one in passes:
            fresh = reset
            if reset is not None and one.reverse:
                fresh = np.concatenate([reset[1:], np.zeros_like(reset[:1])])
            begin = one.start if states is None else states[len(last)]
            state, y = _loop(one, begin, x, active, fresh)
            last.append(state)
            outputs.append(y)
        x = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=-1)
    return x, last


def _loop(one: Pass, begin: Any, x: Any, active: Any, fresh: Any) -> tuple[Any, Any]:
    inputs = {"x": x}
    if active is not None:
        inputs["active"] = active
    if fresh is not None:
        inputs["fresh"] = fresh

    def body(state: Any, at: Any) -> Any:
        if "fresh" in at:
            state = _chosen(at["fresh"], one.start, state)
        new, y = one.step(at["x"], state)
        if "active" in at:
            new = _chosen(at["active"], new, state)
            y = np.where(at["active"].reshape(-1, *[1] * (y.ndim - 1)), y, np.zeros_like(y))
        return new, y

    return irdl.scan(body, begin, inputs, reverse=one.reverse)


def _chosen(flags: Any, first: Any, second: Any) -> Any:
    """Of two states, row by row."""
    return irdl.tree.map(lambda a, b: np.where(flags.reshape(-1, *[1] * (b.ndim - 1)), a, b), first, second)


class Layered(Module):
    """What all recurrent layers share: how inputs and outputs are laid out."""

    batch_first: bool
    input_size: int | None

    def _rows(self, x: Any, lengths: Any, reset: Any) -> tuple[Any, Any, Any]:
        """The input as (T, B, input), lengths and reset to match.

        Raises:
            ValueError: a shape does not fit.
        """
        if x.ndim not in (2, 3) or (self.input_size is not None and x.shape[-1] != self.input_size):
            raise ValueError(f"{type(self).__name__} of input size {self.input_size} cannot take an input of shape {x.shape}")
        if x.ndim == 2:
            x, reset = x[:, None], None if reset is None else reset[:, None]
            lengths = None if lengths is None else np.reshape(lengths, (1,))
        elif self.batch_first:
            x, reset = np.swapaxes(x, 0, 1), None if reset is None else np.swapaxes(reset, 0, 1)
        if lengths is not None and not isinstance(lengths, np.ndarray):
            lengths = np.asarray(lengths)
        if lengths is not None and lengths.shape != (x.shape[1],):
            raise ValueError(f"lengths are one integer for each of {x.shape[1]} sequences, not of shape {lengths.shape}")
        if reset is not None and reset.shape != x.shape[:2]:
            raise ValueError(f"reset is a bool for each step of each sequence, {x.shape[:2]}, not of shape {reset.shape}")
        return x, lengths, reset

    def _out(self, y: Any, rank: int) -> Any:
        """The output laid out as the input was."""
        if rank == 2:
            return y[:, 0]
        return np.swapaxes(y, 0, 1) if self.batch_first else y
