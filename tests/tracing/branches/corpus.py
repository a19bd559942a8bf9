"""What a program of the corpus is, and how files of programs add theirs: functions, methods of objects, functions made by others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class Program:
    """A function that branches, and calls of it that take every side of each branch, one after the other."""

    name: str
    #: gives the function, with objects of its own
    make: Callable[[], Callable[..., Any]]
    calls: tuple[tuple[Any, ...], ...]
    #: arguments by which results may be differentiated at all calls
    gradient: tuple[int, ...] = ()
    #: gives what NumPy runs in its place, where it calls a transform of irdl's that traces
    reference: Callable[[], Callable[..., Any]] | None = None

    def eager(self) -> Callable[..., Any]:
        return (self.reference or self.make)()


@dataclass(frozen=True)
class Refused:
    """A function that NumPy runs and irdl must not: what the error says, and the file of the line that it names."""

    name: str
    make: Callable[[], Callable[..., Any]]
    calls: tuple[tuple[Any, ...], ...]
    reason: str
    file: str


PROGRAMS: dict[str, Program] = {}
#: may be refused as well, where they are not as in NumPy
EITHER: dict[str, Program] = {}
REFUSED: dict[str, Refused] = {}
#: raise errors at some calls
RAISING: dict[str, Program] = {}


def _add(item: Program) -> None:
    assert item.name not in PROGRAMS, f"two programs are called {item.name}"
    PROGRAMS[item.name] = item


def program(*calls: tuple[Any, ...], gradient: tuple[int, ...] = (), reference: Callable[..., Any] | None = None) -> Callable[[Made], Made]:
    """A function, and the arguments of its calls."""

    def add(function: Made) -> Made:
        _add(Program(function.__name__, lambda: function, calls, gradient, (lambda: reference) if reference else None))
        return function

    return add


def method(name: str, *calls: tuple[Any, ...], made: tuple[Any, ...] = (), gradient: tuple[int, ...] = ()) -> Callable[[Made], Made]:
    """A class, of whose object, made of `made`, one method is called again and again."""

    def add(kind: Made) -> Made:
        _add(Program(f"{kind.__name__}.{name}", lambda: getattr(kind(*made), name), calls, gradient))
        return kind

    return add


def maker(*calls: tuple[Any, ...], gradient: tuple[int, ...] = ()) -> Callable[[Made], Made]:
    """A function that makes the function: a closure."""

    def add(function: Made) -> Made:
        _add(Program(function.__name__, function, calls, gradient))
        return function

    return add


def either(*calls: tuple[Any, ...]) -> Callable[[Made], Made]:
    """A function that is as in NumPy, or an error."""

    def add(function: Made) -> Made:
        assert function.__name__ not in EITHER, f"two programs are called {function.__name__}"
        EITHER[function.__name__] = Program(function.__name__, lambda: function, calls)
        return function

    return add


def either_method(name: str, *calls: tuple[Any, ...], made: tuple[Any, ...] = ()) -> Callable[[Made], Made]:
    """A class of whose object a method is as in NumPy at each call, or an error."""

    def add(kind: Made) -> Made:
        EITHER[f"{kind.__name__}.{name}"] = Program(f"{kind.__name__}.{name}", lambda: getattr(kind(*made), name), calls)
        return kind

    return add


def raising(*calls: tuple[Any, ...]) -> Callable[[Made], Made]:
    """A function that raises an error at some of the calls."""

    def add(function: Made) -> Made:
        assert function.__name__ not in RAISING, f"two programs are called {function.__name__}"
        RAISING[function.__name__] = Program(function.__name__, lambda: function, calls)
        return function

    return add


def refused(reason: str, *calls: tuple[Any, ...]) -> Callable[[Made], Made]:
    """A function that cannot be compiled, a piece of the reason, and calls that NumPy answers."""

    def add(function: Made) -> Made:
        assert function.__name__ not in REFUSED, f"two programs are called {function.__name__}"
        file = os.path.basename(function.__code__.co_filename)
        REFUSED[function.__name__] = Refused(function.__name__, lambda: function, calls, reason, file)
        return function

    return add


def refused_method(name: str, reason: str, *calls: tuple[Any, ...], made: tuple[Any, ...] = ()) -> Callable[[Made], Made]:
    """A class with a method that cannot be compiled."""

    def add(kind: Made) -> Made:
        file = os.path.basename(getattr(kind, name).__code__.co_filename)
        REFUSED[f"{kind.__name__}.{name}"] = Refused(f"{kind.__name__}.{name}", lambda: getattr(kind(*made), name), calls, reason, file)
        return kind

    return add
