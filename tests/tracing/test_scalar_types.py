"""NumPy's scalar types in traced code, lists of arrays beside arrays, and what is refused by its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy import float32

import irdl
from irdl.errors import TraceError

X = np.arange(6.0).reshape(2, 3) - 2.5


def check(f: Callable[..., Any], *arguments: Any) -> None:
    expected, got = irdl.tree.leaves(f(*arguments)), irdl.tree.leaves(irdl.jit(f)(*arguments))
    assert len(expected) == len(got)
    for a, b in zip(expected, got, strict=True):
        assert type(a) is type(b) and np.asarray(a).dtype == np.asarray(b).dtype, (a, b)
        np.testing.assert_allclose(b, a, rtol=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.float32(x.sum()),
        lambda x: np.float32(x) * np.float32(2.5),
        lambda x: np.int64(x[0, 1]),
        lambda x: np.bool_(x),
        lambda x: np.uint8(np.abs(x)),
        lambda x: np.float64(x[0, 0]) + 1,
        lambda x: np.float64(x[:, 0].mean()) * np.ones(2, np.float32),
        lambda x: np.float32([1, 2, 3]) * x,
        lambda x: np.float32([x[0, 0], 1.0]),
        lambda x: float32(x),
        lambda x: x.astype(np.float32) + x.astype(float32),
        lambda x: np.zeros(3, dtype=np.int32) + np.empty_like(x[0], np.float32) * 0,
        lambda x: x * np.finfo(np.float32).eps * np.iinfo(np.int8).max,
        lambda x: (x[0], x[1]) + x,
        lambda x: [x[0], x[1] * 2] * x,
        lambda x: x - ([1.0, 2.0, 3.0], x[0]),
        lambda x: np.rollaxis(x[None], 2),
        lambda x: np.rollaxis(x[None], 0, 3) + np.rollaxis(x[None], 1, -1).sum(),
        lambda x: x[range(1)],
    ],
)
def test_same_as_numpy(f: Callable[..., Any]) -> None:
    check(f, X)


def test_types_are_asked_about() -> None:
    answers: list[bool] = []

    def f(x: np.ndarray) -> np.ndarray:
        answers.clear()
        answers.extend(
            [
                x.dtype == np.float64,
                x.dtype != np.float32,
                np.float64 == x.dtype.type,
                x.dtype.type == np.float64,
                isinstance(np.float32(1), np.float32),
                isinstance(x.dtype.type(2), np.float64),
                np.issubdtype(x.dtype, np.float64),
                np.issubdtype(x.dtype, np.floating),
                not np.issubdtype(x.dtype, np.int64),
                issubclass(np.float64, np.floating),
                np.dtype(np.float32) == np.dtype("f4"),
                {np.float32: 1}[np.float32] == 1,
                np.result_type(np.int8, np.float32) == np.float32,
                np.can_cast(np.float32, np.float64),
                x.sum().dtype in (np.float32, np.float64),
                repr(np.int8) == "<class 'numpy.int8'>",
            ]
        )
        return x

    irdl.jit(f)(X)
    assert all(answers), [place for place, answer in enumerate(answers) if not answer]


def test_a_type_kept_on_an_object_is_numpys() -> None:
    class Keeps:
        def run(self, x: np.ndarray) -> None:
            self.dtype, self.types = np.float32, {"a": float32}

    made = Keeps()
    irdl.jit(made.run)(X)
    assert made.dtype is np.float32 and made.types["a"] is np.float32


@pytest.mark.parametrize("f", [lambda x: np.matrix(x) * 2, lambda x: np.asmatrix(x)])
def test_matrices_are_refused_by_their_name(f: Callable[..., Any]) -> None:
    with pytest.raises(TraceError, match=r"np\.matrix has an arithmetic of its own.*test_scalar_types\.py"):
        irdl.jit(f)(X)


def test_ranges_that_numpy_would_check() -> None:
    with pytest.raises(TraceError, match="whose range NumPy would check"):
        irdl.jit(lambda i: np.int8(i))(3)


def test_type_tells_what_numpy_has() -> None:
    """A function that asks for the type of its argument takes the same way as in NumPy."""

    class Plain:
        pass

    def f(x: Any, n: float) -> Any:
        kinds = [type(x) is np.ndarray, type(x[0]) is np.float32, type(x[0]) in (float, np.float32)]
        kinds += [type(n) is float, type(x.sum().item()) is float, type(np.tanh) is np.ufunc, type(x) in (list, tuple)]
        kinds += [type(range(3)) is range, type([x]) is list, type(Plain()) is Plain, type(x).__name__ == "ndarray"]
        kinds += [
            isinstance(Plain, type),
            isinstance(type(x), type),
            type(Plain) is type(int),
            int is int,
            type("A", (), {}).__name__ == "A",
        ]
        return x * 2 if type(x) is np.ndarray else x * 3, kinds

    class Meta(type):
        def __new__(cls, name: str, bases: Any, members: Any) -> Any:
            return super().__new__(cls, name, bases, {**members, "tag": 7})

    def made_inside(x: Any) -> Any:
        class Inner(type):
            def __new__(cls, name: str, bases: Any, members: Any) -> Any:
                return super().__new__(cls, name, bases, {**members, "tag": 5})

        class Tagged(metaclass=Inner):
            pass

        class Other(metaclass=Meta):
            pass

        return x * Tagged.tag * Other.tag, type(Tagged) is Inner, isinstance(Tagged, Inner), isinstance(int, Inner)  # type: ignore[attr-defined]

    x = np.arange(3, dtype=np.float32)
    for g, arguments in ((f, (x, 2.0)), (made_inside, (x,))):
        expected, found = g(*arguments), irdl.jit(g)(*arguments)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1:] == expected[1:]
    assert irdl.grad(lambda x: x.sum() * (2.0 if type(x) is np.ndarray else 3.0))(np.ones(2))[0] == 2


def numbers_of_python(x: Any) -> Any:
    total, whole, flag, wide = float(x.sum()), int(x[0, 0]), bool(x[0, 1] > 0), complex(x[1, 1])
    kinds = [
        type(total) is float,
        type(whole) is int,
        type(flag) is bool,
        type(X.shape[0] / 2) is float,
        type(float) is type,
        type(x[0, 0]) is float,
    ]
    kinds += [isinstance(total, (int, float)), isinstance(True, int), isinstance(x[0, 0], float), issubclass(bool, int)]
    kinds += [
        float("inf") > 1,
        int("ff", 16) == 255,
        float.fromhex("0x1p3") == 8,
        {int: 3}[int] == 3,
        bool([]),
        repr(int) == "<class 'int'>",
    ]
    kinds += [list(map(float, ["1", "2"])) == [1, 2], sorted(["2", "1"], key=int) == ["1", "2"], int(3.9) == 3]
    arrays = [np.zeros(3, float), np.ones(3, dtype=int), np.array([1, 0, 2], dtype=bool), x.astype(int), np.empty_like(x, dtype=float) * 0]
    kinds += [np.issubdtype(x.dtype, float), x.dtype == float, np.dtype(float) == x.dtype, np.iinfo(int).max > 0, np.can_cast(int, float)]

    class Doubled(float):
        def twice(self) -> float:
            return self * 2

    kinds += [Doubled(3.0).twice() == 6, isinstance(Doubled(3.0), float), type(Doubled(3.0)) is Doubled, isinstance(3.0, Doubled)]
    return total, whole, flag, wide, total * np.ones(2, np.float32), kinds, arrays


def test_numbers_of_python() -> None:
    """`float`, `int`, `bool` and `complex` of what is traced are casts, and the same types in all else."""
    expected, found = numbers_of_python(X), irdl.jit(numbers_of_python)(X)
    assert found[-2] == expected[-2]
    check(lambda x: (*numbers_of_python(x)[:5], *numbers_of_python(x)[-1]), X)


@pytest.mark.parametrize("number", [2.7, -2.7, 0.0, -0.5, 1e15, True, 3, np.float32(1.5), np.int8(-3), np.uint8(200), np.float16(2.5)])
@pytest.mark.parametrize("kind", [float, int, bool, complex])
def test_numbers_of_python_of_every_dtype(number: Any, kind: type) -> None:
    x = np.asarray(number)[None]
    for f in (lambda x: kind(x[0]), lambda x: kind(x.item())):
        expected, found = f(x), irdl.jit(f)(x)
        assert type(found) is type(expected) and found == expected


def test_gradients_pass_through_float() -> None:
    def f(x: Any) -> Any:
        history = []
        for t in range(len(x)):
            x = x - 0.1 * float((x[t] ** 2).sum()) * x
            history.append(float(x.mean()))
        return sum(history) + float(x[0, 0]) * x.sum()

    irdl.testing.check(f, X)


def test_numbers_of_python_that_numpy_refuses() -> None:
    for f in (lambda x: float(x), lambda x: int(x + 1j), lambda x: int(x[0])):
        with pytest.raises(TypeError):
            f(X)
        with pytest.raises(TypeError):
            irdl.jit(f)(X)
    for g in (
        lambda x: range(int(x[0, 0])),
        lambda x: {int(x[0, 0]): 1},
        lambda x: x[: int(x[0, 0])],
        lambda x: sorted([bool(x[0, 0]), True]),
    ):
        with pytest.raises(TraceError, match="test_scalar_types"):
            irdl.jit(g)(X)


def test_types_of_numbers_that_are_kept() -> None:
    class Keeps:
        def __init__(self) -> None:
            self.counts: Any = defaultdict(lambda: np.zeros(2))

        def run(self, x: Any) -> None:
            self.kind, self.kinds, self.made = float, {"a": int, bool: 3}, defaultdict(int, {"b": int(x[0, 1])})
            self.level, self.below = float(x[0, 0]), bool(x[0, 0] < 0)
            self.counts["n"] = self.counts["n"] + x[0, :2]

        def keeps_a_function(self) -> None:
            self.made = defaultdict(lambda: 3)

    eager, compiled = Keeps(), Keeps()
    for x in (X, 2 * X):
        eager.run(x)
        irdl.jit(compiled.run)(x)
    for name in ("kind", "kinds", "made", "level", "below"):
        assert repr(getattr(eager, name)) == repr(getattr(compiled, name))
    assert compiled.kind is float and compiled.made.default_factory is int
    np.testing.assert_array_equal(compiled.counts["n"], eager.counts["n"])
    with pytest.raises(TraceError, match="default_factory is <function"):
        irdl.jit(compiled.keeps_a_function)()
