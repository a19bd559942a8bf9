"""Dataclasses as states and parameters: made anew in loops and branches, with texts among their fields, registered by hand."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError


@dataclass
class State:
    h: np.ndarray
    c: np.ndarray

    def both(self) -> np.ndarray:
        return self.h + self.c * np.ones(3)


class Kind(enum.Enum):
    FIRST = 1
    SECOND = 2


@dataclass(frozen=True)
class Layer:
    weight: np.ndarray
    act: str = "tanh"
    kind: Kind = Kind.FIRST
    dtype: np.dtype = np.dtype(np.float64)  # noqa: RUF009
    bias: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x @ self.weight + np.zeros(3, self.dtype)
        y = np.tanh(y) if self.act == "tanh" else np.maximum(y, 0)
        y = y if self.kind is Kind.FIRST else -y
        return y if self.bias is None else y + self.bias


@dataclass
class Named:
    x: np.ndarray
    names: list[str]


irdl.tree.register_class(Named, lambda item: ((item.x,), tuple(item.names)), lambda names, parts: Named(parts[0], list(names)))


def arrays(item: Any) -> list[Any]:
    return irdl.tree.leaves(item)


def compare(result: Any, expected: Any) -> None:
    assert irdl.tree.structure(result) == irdl.tree.structure(expected)
    for a, b in zip(arrays(result), arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda s: irdl.scan(lambda s, x: (State(s.c, s.h + x), s.both()), s, np.ones((4, 3))),
        lambda s: irdl.scan(lambda s, x: (replace(s, h=s.both()), s), s, np.ones((4, 3))),
        lambda s: irdl.fori_loop(0, 3, lambda i, s: State(s.c, s.both()), s),
        lambda s: irdl.while_loop(lambda s: s.h[0] < 9, lambda s: State(s.both() + 1, s.c), s),
        lambda s: irdl.cond(s.h[0] > 0, lambda s: State(s.c, s.h), lambda s: s, s),
        lambda s: irdl.grad(lambda s: (State(s.both(), s.h).both() ** 2).sum())(s),
        lambda s: [State(s.h, s.c), s, {"a": State(s.both(), s.h)}],
    ],
)
def test_made_anew(f: Callable[[Any], Any]) -> None:
    """An argument, and objects made in the traced code, are of one class."""
    state = State(np.arange(3.0), np.ones(3))
    compiled = irdl.jit(f)
    for _ in range(2):
        compare(compiled(state), f(state))


def test_fields_that_are_no_arrays() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((3, 3)), rng.standard_normal(3)
    call = irdl.jit(lambda layer, x: layer(x))
    layers = [Layer(weight), Layer(weight, "relu"), Layer(weight, kind=Kind.SECOND), Layer(weight, bias=x)]
    for _ in range(2):
        for layer in layers:
            np.testing.assert_allclose(call(layer, x), layer(x), rtol=1e-12)
    gradient = irdl.jit(irdl.grad(lambda layer, x: (layer(x) ** 2).sum()))
    for layer in layers:
        compare(gradient(layer, x), irdl.grad(lambda layer, x: (layer(x) ** 2).sum())(layer, x))
    compare(irdl.jit(lambda layer: replace(layer, act="relu", weight=layer.weight * 2))(layers[0]), Layer(weight * 2, "relu"))
    rows = rng.standard_normal((4, 3))
    np.testing.assert_allclose(irdl.jit(irdl.vmap(lambda x: layers[1](x)))(rows), layers[1](rows), rtol=1e-12)
    body = lambda layer, x: (replace(layer, weight=layer.weight + 1), layer(x))  # noqa: E731
    compare(irdl.jit(lambda layer: irdl.scan(body, layer, rows))(layers[1]), irdl.scan(body, layers[1], rows))


def test_fields_are_compared_by_the_native_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    x, layers = np.ones(3), [Layer(np.eye(3)), Layer(-np.eye(3), "relu")]
    call = irdl.jit(lambda layer, x: layer(x))
    expected = [call(layer, x) for layer in layers]

    def dispatch(*_: Any) -> None:
        raise AssertionError("the entries have missed")

    monkeypatch.setattr(type(call), "_dispatch", dispatch)
    for layer, wanted in zip(layers, expected, strict=True):
        np.testing.assert_array_equal(call(layer, x), wanted)
    with pytest.raises(AssertionError, match="missed"):
        call(Layer(np.eye(3), "sigmoid"), x)


def test_text_elsewhere_is_refused() -> None:
    with pytest.raises(TraceError, match=r"is a str.*static_argnums.*field of a dataclass"):
        irdl.jit(lambda x, options: x)(np.ones(3), {"act": "tanh"})
    with pytest.raises(TraceError, match=r"`act` is a ufunc.*static_argnums, or close over it"):
        irdl.jit(lambda x, act: act(x))(np.ones(3), np.tanh)


def test_registered_by_hand() -> None:
    f = lambda item, x: (Named(item.x + x, item.names), item)  # noqa: E731
    item, x = Named(np.ones(3), ["a", "b"]), np.arange(3.0)
    compare(irdl.jit(f)(item, x), f(item, x))
    assert irdl.jit(f)(item, x)[0].names == ["a", "b"]
