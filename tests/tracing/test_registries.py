"""Classes that announce their subclasses: the traced classes that stand for them are not announced."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import irdl


class Layer(abc.ABC):
    registry: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, kind: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        Layer.registry[kind or cls.__name__] = cls

    @abc.abstractmethod
    def __call__(self, x: np.ndarray) -> np.ndarray: ...


class Scale(Layer, kind="scale"):
    def __init__(self, n: int = 3) -> None:
        self.weight = np.arange(float(n))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.last = x * self.weight
        return self.last


class Announced(type):
    made: ClassVar[list[str]] = []

    def __new__(meta, name: str, bases: Any, members: Any) -> Any:
        made = super().__new__(meta, name, bases, members)
        Announced.made.append(f"new {name}")
        return made

    def __init__(cls, name: str, bases: Any, members: Any) -> None:
        super().__init__(name, bases, members)
        Announced.made.append(name)


class Shift(metaclass=Announced):
    def __init__(self) -> None:
        self.by = np.ones(3)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x + self.by


class Twice(Shift):
    def __call__(self, x: np.ndarray) -> np.ndarray:
        return super().__call__(super().__call__(x)) + np.zeros(3)


class Listed:
    """The list of subclasses is met before the first of them has been made."""

    subclasses: ClassVar[list[Any]] = []

    def __init_subclass__(cls) -> None:
        cls.subclasses.append(cls)


class First(Listed):
    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x - np.arange(3.0)


class Second(First):
    def __call__(self, x: np.ndarray) -> np.ndarray:
        return super().__call__(x) * 2


scale, twice, second = Scale(), Twice(), Second()


def captured(x: np.ndarray) -> np.ndarray:
    return scale(x) + twice(x) + second(x)


def made_inside(x: np.ndarray) -> np.ndarray:
    return Layer.registry["scale"](3)(x) + Twice()(x) + Second()(x) * len(Listed.subclasses)


def test_registries_stay_as_they_are() -> None:
    before = dict(Layer.registry), list(Announced.made), list(Listed.subclasses)
    x = np.array([3.0, -1.0, 2.0])
    for f in (captured, made_inside):
        compiled = irdl.jit(f)
        for _ in range(2):
            np.testing.assert_array_equal(compiled(x), f(x))
    assert (Layer.registry, Announced.made, Listed.subclasses) == before
    np.testing.assert_array_equal(scale.last, x * scale.weight)


@dataclass
class Bias(Layer):
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x + self.bias + np.ones(3)


def test_objects_among_the_arguments() -> None:
    before = dict(Layer.registry)
    item, x = Bias(np.arange(3.0)), np.array([3.0, -1.0, 2.0])
    np.testing.assert_array_equal(irdl.jit(lambda item, x: item(x))(item, x), item(x))
    np.testing.assert_array_equal(irdl.jit(irdl.grad(lambda item, x: (item(x) * x).sum()))(item, x).bias, x)
    assert Layer.registry == before
