"""Long contractions in parts: what NumPy computes, whatever the forms, the extents and what follows."""

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.parts import cut_contractions
from irdl.loops.language import Barrier, Kernel, Store
from irdl.loops.walk import walk
from irdl.ops.contract import DOT
from irdl.ops.fusion import PACK
from irdl.testing import assert_close, check
from tests.covering import covering
from tests.teams import team_of, watch

RNG = np.random.default_rng(0)
FORMS = {
    "x @ y": ("mk,kn->mn", (9, 1203), (1203, 17)),
    "x.T @ y": ("km,kn->mn", (1601, 24), (1601, 40)),
    "x @ y.T": ("mk,nk->mn", (33, 1999), (65, 1999)),
    "transposed": ("mk,kn->nm", (33, 1300), (1300, 20)),
    "two axes": ("abm,abn->mn", (31, 47, 12), (31, 47, 30)),
    "the first is short": ("abm,abn->mn", (2, 901, 12), (2, 901, 30)),
    "batched": ("bmk,bkn->bmn", (3, 10, 1205), (3, 1205, 19)),
}


def dots(f, *arguments) -> int:
    graph = cut_contractions(irdl.trace(f)(*arguments))
    return sum(node.op is DOT for node in graph.all_nodes())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_same_as_numpy(form: str, dtype: str) -> None:
    spec, left, right = FORMS[form]
    x, y = RNG.standard_normal(left).astype(dtype), RNG.standard_normal(right).astype(dtype)
    f = lambda x, y: np.maximum(np.einsum(spec, x, y) + 1, 0)  # noqa: E731
    assert dots(f, x, y) > 1
    wide, magnitude = f(x.astype(np.longdouble), y.astype(np.longdouble)), f(np.abs(x), np.abs(y))
    for threads in (1, 2):
        with team_of(threads):
            assert_close(irdl.jit(f)(x, y), f(x, y), wide, magnitude=magnitude)


@pytest.mark.parametrize("extent", [1199, 1200, 1201, 1600, 1601, 2399, 5000, 30_000])
def test_extents(extent: int) -> None:
    x, y = RNG.standard_normal((extent, 9)), RNG.standard_normal((extent, 16))
    f = lambda x, y: x.T @ y  # noqa: E731
    assert 1 < dots(f, x, y) <= 25
    assert_close(irdl.jit(f)(x, y), f(x, y), magnitude=f(np.abs(x), np.abs(y)))


@pytest.mark.parametrize(
    ("sizes", "dtype"),
    covering([(64, 300, 65), (100, 30, 130), (401, 50, 257), (1300, 70, 66), (2048, 64, 128)], ["float32", "float64"]),
)
def test_rows_that_lie_across(sizes: tuple[int, int, int], dtype: str) -> None:
    """They are copied first; so is a slice of them, and steps and sequences are one axis."""
    steps, rows, columns = sizes
    x, y = RNG.standard_normal((steps, rows)).astype(dtype), RNG.standard_normal((steps, columns)).astype(dtype)
    both = lambda x, y: (x.T @ y, (y.T @ x).T, x[1:-1, 1:].T @ y[1:-1])  # noqa: E731
    wide, magnitude = both(x.astype(np.longdouble), y.astype(np.longdouble)), both(np.abs(x), np.abs(y))
    parts = cut_contractions(irdl.trace(lambda x, y: x.T @ y)(x, y))
    assert any(node.op is PACK for node in parts.all_nodes()) == (columns * x.itemsize > 256 and x.nbytes > 65536)
    for threads in (1, 2):
        with team_of(threads):
            assert_close(irdl.jit(both)(x, y), both(x, y), wide, magnitude=magnitude)
    if steps % 4 == 0:
        apart = lambda x, y: np.einsum("tbi,tbh->ih", x, y)  # noqa: E731
        x, y = x.reshape(4, -1, rows), y.reshape(4, -1, columns)
        assert_close(irdl.jit(apart)(x, y), apart(x, y), wide[0], magnitude=magnitude[0])


def test_what_is_left_whole() -> None:
    assert dots(lambda x, y: x @ y, np.ones((9, 1000)), np.ones((1000, 17))) == 1  # short
    assert dots(lambda x, y: x @ y, np.ones((2, 5000)), np.ones((5000, 17))) == 1  # few rows: nothing is read again
    assert dots(lambda x, y: x @ y, np.ones((9, 5000)), np.ones(5000)) == 1  # a vector
    assert dots(lambda x, y: x @ y, np.ones((9, 5000), int), np.ones((5000, 17), int)) == 1


def test_gradients_and_steps() -> None:
    x, w = RNG.standard_normal((1300, 9)), RNG.standard_normal((9, 16)) / 3
    check(lambda w: (np.tanh(x @ w) ** 2).mean(), w)

    def step(w, x):
        return w - 0.1 * irdl.grad(lambda w: (np.tanh(x @ w) ** 2).mean())(w)

    found = w.copy()
    assert_close(irdl.jit(step, donate_argnums=0)(found, x), step(w, x), ulps=200)


def test_integers_are_exact() -> None:
    x = RNG.integers(-9, 9, (5000, 20))
    np.testing.assert_array_equal(irdl.jit(lambda x: x.T @ x)(x), x.T @ x)


#: of a few numbers each, as all that is done with them is watched
FEW = {"x @ y": ((9, 1203), (1203, 17)), "x.T @ y": ((1203, 9), (1203, 17)), "two axes": ((31, 47, 9), (31, 47, 17))}


@pytest.mark.parametrize("form", FEW)
def test_parts_are_added_where_they_lie(form: str) -> None:
    """Threads that go on with their own rows do not meet between parts, and the sum is one buffer."""
    spec = FORMS[form][0]
    x, y = (RNG.standard_normal(shape).astype(np.float32) for shape in FEW[form])
    with team_of(2):
        program = irdl.compile(lambda x, y: np.einsum(spec, x, y) * 2)(x, y).program
    kernels = [statement for statement in program.body if isinstance(statement, Kernel)]
    sums = {s.buffer for kernel in kernels for s in walk(kernel.body) if isinstance(s, Store) and s.buffer.space == "arena"}
    assert len(kernels) > 1 and len([buffer for buffer in sums if buffer.size == np.einsum(spec, x, y).size]) == 1
    assert sum(isinstance(statement, Barrier) for statement in program.body) <= 1
    watch(program, [x, y])


def test_what_is_added_to_may_be_a_view() -> None:
    """And what it is of read later."""

    def f(x: np.ndarray, w: np.ndarray, h: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, ...]:
        both = np.tanh(x @ w)
        wide = both.reshape(2, 2, 8)
        first = wide[0] + h @ u
        return first, wide[1] * 2 + h @ u, both.reshape(4, 8) + np.concatenate([h, h]) @ u, both - 1

    arguments = [RNG.standard_normal(shape) for shape in ((4, 3), (3, 8), (2, 5), (5, 8))]
    check(f, *arguments)


def test_several_results_and_one_sum() -> None:
    def f(x: np.ndarray, w: np.ndarray, h: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, ...]:
        gates = (x @ w + h @ u, x @ w[:, ::-1] + h @ u[:, ::-1])
        a, b = np.tanh(gates[0]), 1 / (1 + np.exp(-gates[1]))
        return a * b, a + b, (a - b).sum(), (a * a + b) @ w.T

    check(f, *(RNG.standard_normal(shape) for shape in ((4, 3), (3, 8), (4, 5), (5, 8))))


@pytest.mark.parametrize("form", ["windows", "every second row"])
def test_parts_of_an_array_that_a_group_makes(form: str) -> None:
    """Two contractions of one group that take parts of one view, which is none outside the group."""

    def f(x: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.lib.stride_tricks.sliding_window_view(s[:, 0], 64) if form == "windows" else s[: 2 * len(x) : 2]
        return x.T @ y, x.T @ y[:, ::-1]

    x, s = RNG.standard_normal((700, 300)).astype("float32"), RNG.standard_normal((1400, 64)).astype("float32")
    s = s[: 700 + 63] if form == "windows" else s
    wide, magnitudes = f(x.astype(float), s.astype(float)), f(np.abs(x), np.abs(s))
    assert_close(irdl.jit(f)(x, s), f(x, s), wide, magnitude=magnitudes)
