"""NumPy's scalar types in traced code, lists of arrays beside arrays, and what is refused by its name."""

from __future__ import annotations

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
