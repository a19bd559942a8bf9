"""Modules as trees: parameters, buffers, children; what a call binds anew; state dicts and `repr`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl import nn, optim
from irdl.errors import TraceError


class Counting(nn.Module):
    """Counts its calls in a buffer, stores into a buffer of its own, and keeps what it saw."""

    def __init__(self) -> None:
        self.weight = np.array([1.0, 2.0, 3.0])
        self.name = "counting"
        self.register_buffer("calls", np.zeros((), np.int64))
        self.register_buffer("seen", np.zeros(3), persistent=False)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.calls = np.asarray(self.calls + 1)
        self.seen = 0.5 * self.seen + irdl.stop_gradient(x)
        buffer = np.zeros(3)
        buffer[:2] = (x * self.weight)[1:]
        return buffer + x


class Nested(nn.Module):
    def __init__(self) -> None:
        self.layers = [Counting(), nn.Sequential(nn.Linear(3, 2, dtype=np.float64), nn.Tanh())]
        self.by_name = {"b": Counting(), "a": nn.Identity()}
        self.sizes = [3, 2]

    def forward(self, x: np.ndarray) -> np.ndarray:
        for layer in self.layers:
            x = layer(x)
        return self.by_name["a"](x)


def loss(model: nn.Module, x: np.ndarray) -> Any:
    return (model(x) ** 2).sum()


def state(model: Nested) -> tuple[Any, ...]:
    return int(model.layers[0].calls), model.layers[0].seen.tolist(), int(model.by_name["b"].calls)


WAYS: dict[str, Callable[[Nested, np.ndarray], Any]] = {
    "eager": lambda model, x: irdl.value_and_grad(loss)(model, x),
    "an argument of a compiled function": lambda model, x: irdl.jit(irdl.value_and_grad(loss))(model, x),
    "captured by a compiled function": lambda model, x: irdl.jit(lambda x: irdl.value_and_grad(loss)(model, x))(x),
    "captured by the loss": lambda model, x: irdl.jit(irdl.value_and_grad(lambda m, x: loss(m, x)))(model, x),
}


@pytest.mark.parametrize("way", WAYS)
def test_buffers_are_bound_anew(way: str) -> None:
    nn.manual_seed(0)
    model, x = Nested(), np.array([0.5, -1.0, 2.0])
    weight = model.layers[1][0].weight.copy()
    value, gradient = WAYS[way](model, x)
    assert state(model) == (1, [0.5, -1.0, 2.0], 0)
    assert value == pytest.approx(loss(model, x))
    assert state(model) == (2, [0.75, -1.5, 3.0], 0)
    WAYS[way](model, -x)
    assert state(model) == (3, [-0.125, 0.25, -0.5], 0)
    assert type(gradient) is Nested
    assert type(gradient.layers[1]) is nn.Sequential
    assert gradient.layers[0].calls is None
    assert gradient.layers[0].seen is None
    assert gradient.sizes == [3, 2]
    np.testing.assert_array_equal(model.layers[1][0].weight, weight)
    difference = Nested()
    difference.load_state_dict(model.state_dict())
    step = 1e-6
    difference.layers[0].weight = model.layers[0].weight + np.array([0, step, 0])
    assert gradient.layers[0].weight[1] == pytest.approx((loss(difference, x) - loss(model, x)) / step, rel=1e-4)


def test_buffers_of_layers_in_a_sequence() -> None:
    """Whose names are no identifiers of Python."""
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.BatchNorm1d(3, dtype=np.float64)))
    x = np.arange(12.0).reshape(4, 3)
    for function in (irdl.jit(lambda model, x: model(x)), irdl.jit(irdl.grad(lambda model, x: (model(x) ** 2).sum()))):
        before = model[1][0].running_mean
        function(model, x)
        np.testing.assert_allclose(model[1][0].running_mean, 0.9 * before + 0.1 * x.mean(0))


def test_a_compiled_step_of_a_module_compiles_once() -> None:
    nn.manual_seed(5)
    model, x = Nested(), np.ones(3)
    optimizer = optim.SGD(0.1, momentum=0.9)
    memory = optimizer.init(model)

    @irdl.jit
    def step(model: Nested, memory: Any, x: np.ndarray) -> Any:
        value, gradient = irdl.value_and_grad(loss)(model, x)
        updates, memory = optimizer.update(gradient, memory, model)
        return optim.apply_updates(model, updates), memory, value

    values = []
    for count in range(1, 6):
        model, memory, value = step(model, memory, x)
        values.append(value)
        assert type(model) is Nested
        assert int(model.layers[0].calls) == count
    assert values == sorted(values, reverse=True)
    assert step.cache_size() == 1


def test_state_dicts() -> None:
    model = Nested()
    names = ["layers.0.weight", "layers.0.calls", "layers.1.0.weight", "layers.1.0.bias", "by_name.b.weight", "by_name.b.calls"]
    assert list(model.state_dict()) == names
    assert [name for name, _ in model.named_parameters()] == [name for name in names if not name.endswith("calls")]
    assert len(list(model.named_buffers())) == 4
    other = Nested()
    other.load_state_dict(model.state_dict())
    for a, b in zip(other.state_dict().values(), model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    wrong = model.state_dict()
    wrong["layers.1.0.bais"] = wrong.pop("layers.1.0.bias")
    with pytest.raises(KeyError, match=r"missing: layers\.1\.0\.bias; left over: layers\.1\.0\.bais"):
        other.load_state_dict(wrong)
    other.load_state_dict(wrong, strict=False)
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"layers\.1\.0\.weight has shape \(2,\), not \(2, 3\)"):
        other.load_state_dict({**model.state_dict(), "layers.0.weight": np.zeros(3), "layers.1.0.weight": np.zeros(2)})
    np.testing.assert_array_equal(other.layers[0].weight, before["layers.0.weight"])


def test_repr_and_modes() -> None:
    model = Nested()
    assert repr(model).splitlines() == [
        "Nested()",
        "  layers.0: Counting(weight[3])",
        "  layers.1: Sequential()",
        "    0: Linear(weight[2, 3], bias[2])",
        "    1: Tanh()",
        "  by_name.b: Counting(weight[3])",
        "  by_name.a: Identity()",
        "14 parameters",
    ]
    assert model.eval() is model
    assert not any(module.training for _, module in model.named_modules())
    assert model.train().layers[1][1].training


def test_modules_are_trees() -> None:
    model = Nested()
    doubled = irdl.tree.map(lambda leaf: leaf * 2, model)
    assert type(doubled) is Nested
    np.testing.assert_array_equal(doubled.layers[0].weight, [2.0, 4.0, 6.0])
    assert irdl.tree.structure(doubled) == irdl.tree.structure(model)
    doubled.layers[0].name = "another"
    assert irdl.tree.structure(doubled) != irdl.tree.structure(model)


def test_a_static_attribute_is_compiled_for() -> None:
    model = nn.Dropout(0.5)
    call = irdl.jit(lambda model, x: model(x))
    x = np.ones(1000, np.float32)
    first, second = call(model, x), call(model, x)
    assert 350 < (first == 0).sum() < 650
    assert (first != second).any()
    assert set(np.unique(first)) == {0, 2}
    np.testing.assert_array_equal(call(model.eval(), x), x)


def test_layers_have_lines_of_their_own_beside_the_users() -> None:
    model = nn.LSTM(3, 4)
    text = str(irdl.trace(lambda x: model(x))(np.ones((2, 1, 3), np.float32)))
    assert "test_module.py" in text
    assert "in irdl/nn/recurrent.py" in text
    with pytest.raises(ValueError, match=r"LSTM of input size 3 cannot take an input of shape \(2, 1, 5\)"):
        model(np.ones((2, 1, 5)))
    with pytest.raises(TraceError, match=r"test_module.py:\d+: .*in irdl/nn/layers.py"):
        irdl.jit(lambda x: nn.Flatten(0)(x[x > 0]))(np.ones(3))


class Settings:
    def __init__(self) -> None:
        self.factor = 2.0


class Static(nn.Module):
    """What is static, of every kind, and arrays in containers."""

    def __init__(self, settings: bool) -> None:
        self.weight = np.ones(3)
        self.sizes = [1, 2]
        self.options = {"rate": 1.0}
        self.flag, self.scale, self.nothing = True, 1.5, None
        self.function = np.tanh
        self.inner = nn.Linear(3, 2, dtype=np.float64)
        self.weights = [np.ones(2), np.full(2, 2.0)]
        self.places = np.array([1, 0])
        if settings:
            self.settings = Settings()

    def forward(self, x: np.ndarray) -> np.ndarray:
        scale = sum(self.sizes) * self.options["rate"] * (2 if self.flag else 1) * self.scale
        if hasattr(self, "settings"):
            scale *= self.settings.factor
        return self.inner(self.function(x * self.weight * scale))[self.places] + self.weights[0] * self.weights[1]


def _change_settings(model: Any) -> None:
    if hasattr(model, "settings"):
        model.settings.factor = 5.0


CHANGES: list[Callable[[Any], Any]] = [
    lambda model: model.sizes.append(3),
    lambda model: model.options.update(rate=0.5),
    lambda model: setattr(model, "flag", False),
    lambda model: setattr(model, "scale", 2),
    lambda model: setattr(model, "scale", 2.0),
    lambda model: setattr(model, "weight", model.weight * 0.5),
    lambda model: setattr(model, "function", np.sin),
    lambda model: model.weights.__setitem__(0, np.full(2, 3.0)),
    lambda model: model.inner.weight.__imul__(2),
    lambda model: setattr(model.inner, "bias", None),
    lambda model: setattr(model, "places", np.array([0, 0])),
    lambda model: model.eval(),
    _change_settings,
]


@pytest.mark.parametrize("settings", [False, True])
def test_what_changes_in_a_module_is_seen(settings: bool) -> None:
    """Also where it is changed in place, and by the native entry, which takes modules without plain objects among what is static."""
    model, x = Static(settings), np.array([0.1, 0.2, -0.3])
    compiled = irdl.jit(lambda model, x: model(x))
    for change in [lambda model: None, *CHANGES]:
        change(model)
        for _ in range(3):
            np.testing.assert_allclose(compiled(model, x), model(x), rtol=1e-12)
    assert bool(irdl.compile(lambda model, x: model(x))(model, x).entries) is not settings
    gradient = irdl.grad(lambda model: model(x).sum())(model)
    assert gradient.places is None
    assert [part.shape for part in gradient.weights] == [(2,), (2,)]
    assert {"weights.0", "weights.1", "inner.weight"} <= set(model.state_dict())


def test_an_array_beside_other_things_is_an_error() -> None:
    model = Static(False)
    model.mixed = [np.ones(2), 3]
    with pytest.raises(TypeError, match="neither a parameter nor static: make it an attribute of its own"):
        irdl.jit(lambda model, x: model(x))(model, np.ones(3))
