"""What a program with long loops is, and how files of programs add theirs."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Made = TypeVar("Made", bound=Callable[..., Any])

#: how many steps loops have: few, some, many
SIZES = (3, 40, 300)


class Draw:
    """Where a program's arguments come from: the size `n` that is asked for, and random numbers."""

    def __init__(self, name: str, n: int, call: int = 0) -> None:
        self.n = n
        self._random = np.random.default_rng([zlib.crc32(name.encode()), call])

    def normal(self, *shape: int) -> np.ndarray:
        return self._random.standard_normal(shape)

    def weights(self, *shape: int) -> np.ndarray:
        """Of a matrix whose products neither grow nor vanish."""
        return self._random.standard_normal(shape) * 0.8 / np.sqrt(shape[0])

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        return self._random.uniform(low, high, shape)

    def integers(self, high: int, *shape: int, low: int = 0, dtype: Any = np.int64) -> np.ndarray:
        return self._random.integers(low, high, shape).astype(dtype)

    def complex(self, *shape: int) -> np.ndarray:
        return self.normal(*shape) + 1j * self.normal(*shape)


Arguments = Callable[[Draw], tuple[Any, ...]]


@dataclass(frozen=True)
class Program:
    """A function with loops of as many steps as its arguments say.

    Attributes:
        make: gives it; where it is a method, that of an object of its own.
        arguments: makes them.
        gradient: by which of them results may be differentiated.
        static: which of them are known when the function is traced.
        single: whether it is run in float32 too.
        tolerance: relative and absolute, in float64.
    """

    name: str
    make: Callable[[], Callable[..., Any]]
    arguments: Arguments
    gradient: tuple[int, ...] = ()
    static: tuple[int, ...] = ()
    sizes: tuple[int, ...] = SIZES
    single: bool = False
    tolerance: float = 1e-9

    def call(self, n: int, call: int = 0) -> tuple[Any, ...]:
        """The arguments of the first call, or of a later one, of the same types and shapes."""
        return self.arguments(Draw(self.name, n, call))


PROGRAMS: dict[str, Program] = {}
#: may be refused as well, where they are not as in NumPy
EITHER: dict[str, Program] = {}
#: raise errors
RAISING: dict[str, Program] = {}


def _adds_to(programs: dict[str, Program], arguments: Arguments, options: dict[str, Any]) -> Callable[[Made], Made]:
    def add(function: Made) -> Made:
        name = function.__name__
        assert name not in {**PROGRAMS, **EITHER, **RAISING}, f"two programs are called {name}"
        programs[name] = Program(name, lambda: function, arguments, **options)
        return function

    return add


def program(arguments: Arguments, **options: Any) -> Callable[[Made], Made]:
    """A function, and what makes its arguments."""
    return _adds_to(PROGRAMS, arguments, options)


def method(name: str, arguments: Arguments, **options: Any) -> Callable[[Made], Made]:
    """A class, of whose object a method is called again and again."""

    def add(kind: Made) -> Made:
        whole = f"{kind.__name__}.{name}"
        PROGRAMS[whole] = Program(whole, lambda: getattr(kind(), name), arguments, **options)
        return kind

    return add


def either(arguments: Arguments, **options: Any) -> Callable[[Made], Made]:
    """A function that is as in NumPy, or an error."""
    return _adds_to(EITHER, arguments, options)


def raising(arguments: Arguments, **options: Any) -> Callable[[Made], Made]:
    """A function that raises the error that NumPy raises."""
    return _adds_to(RAISING, arguments, options)
