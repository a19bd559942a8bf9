"""Arrays that a traced function reaches: read again at each call, or refused with their line; never kept as they were."""

from __future__ import annotations

import array
import collections
import functools
import multiprocessing
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from scipy import linalg
from scipy import special as scipy_special

import irdl
from irdl.errors import TraceError
from irdl.tracing.function import trace_function

X = np.array([1.0, 2.0, 3.0])


class Slotted:
    __slots__ = ("w",)


class Series:
    """As pandas has one: an object of a library's that turns into an array."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.numbers, dtype)

    def to_numpy(self) -> Any:
        return self.numbers


def with_defaultdict() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    d: Any = collections.defaultdict(list)
    d["w"] = np.ones(3)

    def change() -> None:
        d["w"] = d["w"] * 3

    return lambda x: x * d["w"], change


def with_deque() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    d = collections.deque([np.ones(3), np.zeros(3)], maxlen=2)
    return lambda x: x * d[0] + d[-1], lambda: d.append(np.full(3, 5.0))


def with_user_dict() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    d = collections.UserDict({"w": np.ones(3)})
    return lambda x: x * d["w"], lambda: d.update(w=np.full(3, 7.0))


def with_user_list() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    d = collections.UserList([np.ones(3)])
    return lambda x: x * d[0], lambda: d.__setitem__(0, np.full(3, 7.0))


def with_module() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    module: Any = types.ModuleType("settings")
    module.w = np.ones(3)
    return lambda x: x * module.w, lambda: setattr(module, "w", np.full(3, 4.0))


def with_namespace() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    n = types.SimpleNamespace(w=np.ones(3), scale=2.0)
    return lambda x: x * n.w * n.scale, lambda: setattr(n, "scale", 5.0)


def with_array_array() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    a = array.array("d", [1.0, 2.0, 3.0])
    return lambda x: x * a[1], lambda: a.__setitem__(1, 9.0)


def with_array_array_as_array() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    a = array.array("d", [1.0, 2.0, 3.0])
    return lambda x: x * np.asarray(a), lambda: a.__setitem__(1, 9.0)


def with_frombuffer() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    a = bytearray(np.ones(3).tobytes())
    return lambda x: x * np.frombuffer(a), lambda: a.__setitem__(slice(0, 8), np.full(1, 9.0).tobytes())


def with_shared_memory() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    shared = multiprocessing.Array("d", [1.0, 2.0, 3.0])
    return lambda x: x * np.frombuffer(shared.get_obj()), lambda: shared.__setitem__(0, 9.0)  # type: ignore[attr-defined]


def with_a_number_of_shared_memory() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    shared = multiprocessing.Array("d", [1.0, 2.0, 3.0])
    return lambda x: x * shared[0], lambda: shared.__setitem__(0, 9.0)


def with_slots() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    s = Slotted()
    s.w = np.ones(3)
    return lambda x: x * s.w, lambda: setattr(s, "w", np.full(3, 4.0))


def with_a_series() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    s = Series(np.ones(3))
    return lambda x: x * np.asarray(s), lambda: s.numbers.fill(4.0)


def with_a_method_of_a_series() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    s = Series(np.ones(3))
    return lambda x: x + s.to_numpy(), lambda: s.numbers.fill(4.0)


def with_an_index_from_a_series() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    s = Series(np.array([0, 1]))
    return lambda x: x[s.to_numpy()], lambda: s.numbers.fill(2)


def with_a_cache() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    weights = np.ones(3)

    @functools.lru_cache
    def table(n: int) -> Any:
        return weights * n

    return lambda x: x * table(2), lambda: (table(2).fill(11.0), table.cache_clear())[1]


def with_a_file(tmp: Path = Path()) -> tuple[Callable[[Any], Any], Callable[[], None]]:
    path = tmp / "irdl-test-w.npy"
    np.save(path, np.ones(3))
    return lambda x: x * np.load(path), lambda: np.save(path, np.full(3, 6.0))


def with_a_memmap(tmp: Path = Path()) -> tuple[Callable[[Any], Any], Callable[[], None]]:
    m = np.memmap(tmp / "irdl-test-m", np.float64, "w+", shape=(3,))
    m[:] = 1
    return lambda x: x * m, lambda: m.fill(5.0)


def with_an_unseeded_generator() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    return lambda x: x + np.random.default_rng().normal(size=3), lambda: None


def with_a_function_of_an_object() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    s = Series(np.ones(3))
    return lambda x: x + np.fromfunction(lambda i: s.to_numpy(), (3,)), lambda: s.numbers.fill(4.0)


def with_slots_returned() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    s = Slotted()
    s.w = np.ones(3)
    return lambda x: (x, s.w), lambda: setattr(s, "w", np.full(3, 4.0))


def with_slots_as_a_fill() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    s = Slotted()
    s.w = np.ones(3)
    return lambda x: x + np.full((2, 3), s.w), lambda: setattr(s, "w", np.full(3, 4.0))


def with_default_rng_by_name() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    return lambda x: x * default_rng().random(), lambda: None


def with_an_opaque_argument_of_a_gradient() -> tuple[Callable[[Any], Any], Callable[[], None]]:
    s = Series(np.ones(3))
    return lambda x: irdl.grad(lambda w: (w * x).sum() + (w * w).sum())(s.to_numpy()), lambda: s.numbers.fill(4.0)


SOURCES = [item for name, item in list(globals().items()) if name.startswith("with_")]
READ_AGAIN = {
    "with_defaultdict",
    "with_deque",
    "with_user_dict",
    "with_user_list",
    "with_module",
    "with_namespace",
    "with_array_array",
    "with_a_number_of_shared_memory",
    "with_a_cache",
    "with_a_memmap",
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_read_again_or_refused(source: Any, tmp_path: Path) -> None:
    f, change = source(tmp_path) if source.__defaults__ else source()
    compiled = irdl.jit(f)
    if source.__name__ not in READ_AGAIN:
        with pytest.raises(TraceError, match=r"read it again|without a seed"):
            compiled(X)
        return
    for _ in range(2):
        np.testing.assert_allclose(compiled(X), f(X))
        change()
        np.testing.assert_allclose(compiled(X), f(X))


SYMBOLS = linalg


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * np.diag([1.0, 2.0, 3.0]) + np.hanning(3),
        lambda x: x + np.random.default_rng(0).normal(size=3),
        lambda x: x + np.random.default_rng(seed=7).integers(0, 5, 3),
        lambda x: x[np.tril_indices(3)[0]] + np.r_[1.0, 2.0, 3:7],
        lambda x: x * np.random.RandomState(3).rand(3) + np.fromiter((k * k for k in range(3)), float),
        lambda x: x + np.interp([0.5, 1.0, 2.0], [0, 1, 2], [0, 1, 4]),
        lambda x: x * np.fft.fftfreq(3) + np.linalg.inv([[2.0, 0, 0], [0, 1, 0], [0, 0, 1]])[0],
        lambda x: x @ linalg.toeplitz([1.0, 2.0, 3.0]) + SYMBOLS.hilbert(3),
        lambda x: x + np.mgrid[0:3, 0:2][0].sum(1) + np.indices((3,))[0],
        lambda x: np.asarray([1.0, 2.0, 3.0]) * x + np.asarray(3) + np.array(x.shape),
        lambda x: x[[0, 2]] + np.take(x, [1, 1]) + x[np.array([True, False, True])],
        lambda x: np.where([True, False, True], x, 0) + np.repeat([1.0], 3) + np.repeat(x[:1], np.array([3])),
        lambda x: scipy_special.expit(x) + np.polyval([1, 2], 3.0) + np.kron([1.0, 2], [1, 1])[:3],
        lambda x: np.full((2, 3), [1.0, 2, 3]) * x + np.vander([1, 2, 3], 3)[1] + np.triu(np.ones((3, 3)))[1],
    ],
)
def test_what_numpy_makes_of_numbers_is_known(f: Any) -> None:
    np.testing.assert_allclose(irdl.jit(f)(X), f(X))


def test_stores_into_what_numpy_made() -> None:
    def f(x: Any) -> Any:
        m = np.diag([1.0, 2.0, 3.0])
        m[0] = x
        rows, columns = np.triu_indices(3, 1)
        m[rows, columns] *= 2
        return m

    np.testing.assert_allclose(irdl.jit(f)(X), f(X))


def test_large_uniform_arrays_are_never_made() -> None:
    tracemalloc.start()
    compiled = irdl.compile(lambda x: (np.ones(2**27) * x).sum() + np.zeros((2**14, 2**13), order="F")[0].sum() + np.full(2**27, 2.0)[5])(
        1.0
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6 and compiled.memory.constants < 1000
    assert compiled(0.5) == 2**26 + 2.0


def test_a_name_is_depended_on_once():
    """However often it is looked up: a builtin's absence among the globals, too."""

    def f(x):
        for _ in range(300):
            x = x + len(x) + min(SCALE, 3.0)
        return x

    traced = trace_function(f, (np.ones(3),), {})
    assert len(traced.guards) < 10


SCALE = 2.0
