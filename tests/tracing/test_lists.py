"""Lists of traced arrays as arguments of NumPy's functions and ufuncs, ufuncs as traced code sees them, and what they fold."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import assert_close, check

_random = np.random.default_rng(0)
X, Y = _random.standard_normal((3, 5)), _random.standard_normal((3, 5))
tanh = np.tanh


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: [g([x[0, 0], y[0, 0], x[1, 1]]) for g in (np.min, np.max, np.sum, np.mean, np.median, np.prod, np.std, np.argmin)],
        lambda x, y: [g([x, y]) for g in (np.linalg.norm, np.cumsum, np.transpose, np.ravel, np.flip, np.diff, np.shape, np.ndim)],
        lambda x, y: (np.max([x, y], axis=0), np.mean([x[0], y[0]], axis=0), np.sort([x[0, 0], y[0, 0], 0.5]), np.sum(a=[x, y], axis=-1)),
        lambda x, y: (np.dot([x[0, 0], x[0, 1]], [y[0, 0], 2]), np.linalg.det([[x[0, 0], 1], [2, y[0, 0]]]), np.outer([x[0, 0]], y[0])),
        lambda x, y: (np.array_equal([x[0], x[1]], [x[0], x[1]]), np.array_equiv([x[0]], [y[0]]), np.allclose([x[0]], x[:1])),
        lambda x, y: (np.maximum.reduce([x, y, x * 2]), np.logical_or.reduce((x > 0, y > 0)), np.add.reduce([x[0], y[0]], axis=1)),
        lambda x, y: (np.exp([x[0, 0], 1.0]), np.maximum([x[0, 0], 1], y[0, :2]), np.maximum(y[0, :2], [x[0, 0], 1]), np.hypot([x[0]], 2)),
        lambda x, y: (x[0, :2] @ [y[0, 0], y[1, 0]], [y[0, 0], y[1, 0]] @ x[:2], np.multiply.outer([x[0, 0], 1], y[0])),
        lambda x, y: (np.sqrt([1, 2, 3.0]) * x[0, 0], np.maximum.accumulate([1, 3, 2]) + x[0, :3], np.exp2((1, 2)) @ x[:2]),
        lambda x, y: (
            np.concatenate([x, y]),
            np.stack([x, y], 1),
            np.choose(np.array([0, 1]), [x[0, :2], y[0, :2]]),
            np.select([x > 0], [y]),
        ),
        lambda x, y: (np.r_[x[0], 0, y[1], 1:3], np.c_[x[0], np.ones(5), y[0]], np.c_[x, y], np.r_[x, y], np.r_[[1, 2], x[0, 0]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lists_of_traced_arrays(f: Callable[..., Any], dtype: str) -> None:
    check(f, X.astype(dtype), Y.astype(dtype))


def test_gradient_through_a_list() -> None:
    check(lambda x: np.min([x[0], x[1] * x[2], x[2]]) + np.logaddexp.reduce([x[0], x[1]]) + np.linalg.norm([x[1], 2 * x[2]]), X[0])


def test_ufuncs_are_what_they_are() -> None:
    def f(x: Any, act: Any = np.tanh) -> Any:
        assert act is np.tanh is tanh and isinstance(act, np.ufunc) and act == tanh and {tanh: 1}[np.tanh] == 1
        assert np.add.nin == 2 and np.tanh.__name__ == "tanh" and repr(np.add) == "<ufunc 'add'>"
        return functools.reduce(np.maximum, [act(x), tanh(-x)]), list(map(np.exp, [x, x]))

    check(f, X)
    irdl.grad(lambda x: np.sum(f(x)[0]))(X)


@dataclasses.dataclass(frozen=True)
class Options:
    act: Any = np.tanh
    size: int = 2


def test_a_ufunc_is_copied_and_pickled_as_numpy_does() -> None:
    def f(x: Any) -> Any:
        assert np.tanh is copy.copy(np.tanh) is copy.deepcopy([np.tanh])[0]
        options = dataclasses.asdict(dataclasses.replace(Options(np.tanh), size=5))
        return options["act"](x) * options["size"], pickle.loads(pickle.dumps(np.tanh))(x)

    check(f, X)


class Layer:
    squashed = np.tanh

    def __init__(self) -> None:
        self.act = np.tanh


def test_a_ufunc_is_kept_as_itself() -> None:
    layer = Layer()
    layer.act = np.exp

    def f(x: Any) -> Any:
        assert layer.squashed is Layer.squashed is np.tanh
        layer.act = np.tanh
        return layer.act(x)

    irdl.jit(f)(X)
    assert layer.act is np.tanh


def test_places_known_while_tracing() -> None:
    def f(x: Any) -> Any:
        mask = np.arange(5) % 2 == 0
        return x[:, np.where(mask)[0]], x[0][mask.nonzero()], x[0][np.nonzero(mask)[0]], np.where(np.eye(3))[1]

    check(f, X)
    for g in (lambda x: np.where(x > 0), lambda x: (x > 0).nonzero(), np.nonzero):
        with pytest.raises(TraceError, match=r"np\.where"):
            irdl.jit(g)(X)


ROWS = np.array([[0.5, -np.inf, np.inf, np.nan, -np.inf], [1.0, -np.inf, 2.0, 1.0, 0.0], [-2.0, -np.inf, -np.inf, 3.0, 700.0]])


@pytest.mark.parametrize("axis", [0, -1, None, (0, 1)])
@pytest.mark.parametrize("name", ["logaddexp", "hypot", "fmax", "fmin", "subtract", "divide", "logical_xor"])
def test_folds_of_floats(name: str, axis: Any) -> None:
    ufunc = getattr(np, name)
    for x in (X, ROWS, X.astype(np.float32), np.zeros((0, 3)), np.ones((1, 1))):
        for options in ({}, {"keepdims": True}, {"initial": 0.5}):
            with np.errstate(all="ignore"):
                try:
                    expected = ufunc.reduce(x, axis=axis, **options)
                except ValueError:
                    with pytest.raises(ValueError, match=r"identity|reorderable"):
                        irdl.jit(lambda x, o=options: ufunc.reduce(x, axis=axis, **o))(x)
                    continue
            assert_close(irdl.jit(lambda x, o=options: ufunc.reduce(x, axis=axis, **o))(x), expected)


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor", "logical_xor"])
def test_folds_of_integers(name: str) -> None:
    ufunc = getattr(np, name)
    for x in ((X * 9).astype(np.int64), np.abs(X * 9).astype(np.uint8), X > 0, np.zeros((0, 3), np.int32)):
        check(lambda x: (ufunc.reduce(x), ufunc.reduce(x, axis=1), ufunc.accumulate(x), ufunc.accumulate(x, axis=1)), x)


def test_folds_with_dtypes_and_places() -> None:
    check(lambda x: (np.logaddexp.accumulate(x), np.hypot.accumulate(x, axis=1), np.logaddexp.reduce((x * 9).astype(int))), X)
    check(lambda x: np.logaddexp.reduce(x, out=np.zeros_like(x[0])), X)
    narrow = irdl.jit(lambda x: np.logaddexp.reduce(x, dtype=np.float32))(X)
    assert_close(narrow, np.logaddexp.reduce(X, dtype=np.float32))
    with pytest.raises(TraceError, match="where="):
        irdl.jit(lambda x: np.logaddexp.reduce(x, where=x > 0))(X)


def test_forward_algorithm_with_folds() -> None:
    def forward(observed: Any, transition: Any, emission: Any) -> Any:
        states = np.full((len(observed), len(transition)), -np.inf)
        states[0, 0] = emission[0, observed[0]]
        for t in range(1, len(observed)):
            for j in range(len(transition)):
                states[t, j] = np.logaddexp.reduce(states[t - 1] + transition[:, j]) + emission[j, observed[t]]
        return np.logaddexp.reduce(states[-1])

    observed = _random.integers(0, 4, 40)
    check(lambda a, e: forward(observed[:20], a, e), X[:3, :3], X[:3, :4])
    short, long = (irdl.trace(forward)(observed[:n], X[:3, :3], X[:3, :4]) for n in (20, 40))
    assert len(short.nodes) == len(long.nodes)
