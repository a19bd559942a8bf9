"""Sorting by digits, by ranks and by a network: the same numbers in the same order, and lines shared by threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from irdl.codegen.cpu import ranks
from irdl.codegen.cpu import sorting as networks
from irdl.codegen.lowering import sorting
from irdl.ir.builder import make_node
from irdl.ir.graph import Graph, Value
from irdl.ir.types import TensorType
from irdl.loops.dependence import interval
from irdl.loops.expressions import Buffer, IndexValue, Literal, Load, Operation
from irdl.loops.index import Index
from irdl.loops.interpret import interpret
from irdl.loops.rewrite import Names
from irdl.loops.walk import is_parallel, kernels
from irdl.ops.sort import ARGSORT, SORT, SortAttributes
from irdl.runtime.executable import Executable
from tests.teams import team_of, watch

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
RNG = np.random.default_rng(0)


@pytest.fixture(params=["digits", "ranks", "network"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    by_ranks = request.param == "ranks"
    monkeypatch.setattr(ranks, "LONGEST", 10_000 if by_ranks else 1)
    monkeypatch.setattr(ranks, "MOST_LINES", 10_000)
    if request.param == "digits":
        monkeypatch.setattr(networks, "_MOST_BYTES", 0)
    yield request.param


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """With ties, the least and the greatest there are, and of floats nan with either sign, infinities and both zeros."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return RNG.random(shape) < 0.5
    if kind.kind == "f":
        x = RNG.standard_normal(shape).astype(dtype)
        special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e-42, np.finfo(kind).max, np.finfo(kind).min], dtype)
        return np.where(RNG.random(shape) < 0.5, RNG.choice(special, shape), x).astype(dtype)
    info = np.iinfo(kind)
    few = np.array([info.min, info.max, info.min + 1, 0, 1, 2, info.max // 2], dtype)
    return np.where(RNG.random(shape) < 0.5, RNG.choice(few, shape), RNG.integers(info.min, info.max, shape, dtype)).astype(dtype)


def both(shape: tuple[int, ...], dtype: str, axis: int) -> Graph:
    x = Value(TensorType(np.dtype(dtype), shape), name="x")
    outputs = [make_node(op, [x], SortAttributes(axis)).outputs[0] for op in (SORT, ARGSORT)]
    return Graph([x], outputs, "both")


def check_sorted(results: list[np.ndarray], x: np.ndarray, axis: int, zeros_in_order: bool = True) -> None:
    """As NumPy's stable sort, to the sign of zeros, or to how many zeros have which; of nan there is one."""
    ordered, places = (np.asarray(r).reshape(x.shape) for r in results)
    expected = np.sort(x, axis=axis, kind="stable")
    np.testing.assert_array_equal(places, np.argsort(x, axis=axis, kind="stable"))
    np.testing.assert_array_equal(ordered, expected)
    if x.dtype.kind == "f":
        there = ~np.isnan(expected)
        ours, exact = (np.signbit(numbers) & there for numbers in (ordered, expected))
        if not zeros_in_order:
            ours, exact = ours.sum(axis), exact.sum(axis)
        np.testing.assert_array_equal(ours, exact)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_as_numpy(dtype: str, way: str) -> None:
    for shape, axis in (
        ((1,), 0),
        ((2,), 0),
        ((97,), 0),
        ((3, 40), 1),
        ((40, 3), 0),
        ((2, 17, 5), 1),
        ((5, 1), 1),
        ((0, 4), 1),
        ((4, 0), 1),
    ):
        x = numbers(shape, dtype)
        check_sorted(Executable(both(shape, dtype, axis))([x]), x, axis, way == "ranks")


@pytest.mark.parametrize("dtype", DTYPES)
def test_interpreted_and_without_races(dtype: str, way: str) -> None:
    for shape, axis in (((9,), 0), ((4, 6), 1), ((5, 3), 0), *([((200, 3), 1)] if way == "network" else [])):
        with team_of(3):
            program = Executable(both(shape, dtype, axis)).program
        x = numbers(shape, dtype)
        watch(program, [x])
        check_sorted(interpret(program, [x]), x, axis, way == "ranks")
        if (way == "digits" and len(shape) > 1) or shape[0] == 200:
            assert any(is_parallel(kernel) for kernel, _, _ in kernels(program.body)), "lines are divided among threads"


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_more_lines_than_slots(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole slots, a rest of them, and axes of which none, one or all fit."""
    monkeypatch.setattr(networks, "_MOST_BYTES", 0)
    for shape, axis in (((130, 9), 1), ((9, 131), 0), ((3, 7, 70), 1), ((2, 100, 3, 5), 1), ((200, 2), 1)):
        x = numbers(shape, dtype)
        with team_of(3):
            divided = Executable(both(shape, dtype, axis))
        check_sorted(Executable(both(shape, dtype, axis))([x]), x, axis, zeros_in_order=False)
        check_sorted(divided([x]), x, axis, zeros_in_order=False)
    with team_of(3):
        program = Executable(both((70, 4), "uint8", 1)).program
    x = numbers((70, 4), "uint8")
    watch(program, [x])
    check_sorted(interpret(program, [x]), x, 1)


@pytest.mark.parametrize("extent", [200, 3000])
def test_memory_is_for_as_many_lines_as_there_are_slots(extent: int) -> None:
    """Whether they are sorted by a network or by digits."""
    few, many = (Executable(both((lines, extent), "float32", 1)).program.arena_bytes for lines in (640, 64_000))
    assert many == few


@pytest.mark.parametrize("extent", range(2, 13))
def test_the_network_sorts(extent: int) -> None:
    """All zeros and ones, and so anything; pairs of a stage have no place in common."""
    bits = np.arange(1 << extent)[:, None] >> np.arange(extent) & 1
    for period, first, apart in networks.stages(extent):
        pairs = [(i, i + apart) for i in range(extent - apart) if i & period == first]
        assert len({place for pair in pairs for place in pair}) == 2 * len(pairs)
        for i, j in pairs:
            bits[:, i], bits[:, j] = np.minimum(bits[:, i], bits[:, j]), np.maximum(bits[:, i], bits[:, j])
    assert (np.diff(bits) >= 0).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_lines_side_by_side(threads: int) -> None:
    """More and fewer than vectors have lanes, and than threads; lines that do not lie side by side; longer than a power of two."""
    for shape, axis in (((130, 9), 1), ((9, 131), 0), ((3, 7, 70), 1), ((2, 100, 3, 5), 1), ((7, 1, 33), 2), ((33, 65), 1), ((1, 4, 2), 1)):
        for dtype in ("float32", "uint64") if threads > 1 else ("float32", "int64", "uint64", "int8"):
            x = numbers(shape, dtype)
            with team_of(threads):
                run = Executable(both(shape, dtype, axis))
            check_sorted(run([x]), x, axis, zeros_in_order=False)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("extents", [(1,), (4,), (7,), (3, 2), (2, 5, 3), (1, 1)])
def test_each_line_is_of_one_thread(extents: tuple[int, ...], threads: int) -> None:
    seen = []
    for loops, slots, slot, row in networks._dealt(extents, threads, Names()):
        assert loops[0].variable == slot and loops[0].extent == slots <= threads
        for step in np.ndindex(*(loop.extent for loop in loops)):
            at = dict(zip((loop.variable for loop in loops), step, strict=True))
            seen.append(tuple(part.substitute(at).constant for part in row))
    assert sorted(seen) == list(np.ndindex(*extents))


@pytest.mark.parametrize("extents", [(7,), (64,), (65,), (1000,), (1009,), (3, 50), (100, 3), (5, 5, 5), ()])
def test_each_line_has_its_turn_once(extents: tuple[int, ...]) -> None:
    seen = []
    for outer, inner, row in sorting._dealt(extents, 64, Names()):
        assert np.prod([loop.extent for loop in inner], initial=1) <= 64
        loops = [*outer, *inner]
        for step in np.ndindex(*(loop.extent for loop in loops)):
            at = dict(zip((loop.variable for loop in loops), step, strict=True))
            seen.append(tuple(part.substitute(at).constant for part in row))
    assert sorted(seen) == list(np.ndindex(*extents))


def test_how_large_an_expression_can_be() -> None:
    i64, u32 = np.dtype(np.int64), np.dtype(np.uint32)
    count, anything = Load(Buffer("c", u32, 4, "arena"), Index()), Load(Buffer("x", i64, 4, "arena"), Index())
    wide = Operation("cast", (count,), i64)
    assert interval(Literal(np.int64(-3))) == (-3, -3)
    assert interval(wide) == (0, 2**32 - 1)
    assert interval(Operation("minimum", (wide, Literal(np.int64(9))), i64)) == (0, 9)
    assert interval(Operation("minimum", (anything, Literal(np.int64(9))), i64)) == (-(2**63), 9)
    assert interval(Operation("maximum", (anything, Literal(np.int64(2))), i64)) == (2, 2**63 - 1)
    assert interval(Operation("bitwise_and", (anything, Literal(np.int64(255))), i64)) == (0, 255)
    assert interval(Operation("bitwise_and", (Literal(np.int64(255)), wide), i64)) == (0, 255)
    assert interval(Operation("bitwise_and", (anything, Literal(np.int64(-2))), i64)) == (-(2**63), 2**63 - 1)
    assert interval(Operation("cast", (anything,), np.dtype(np.uint8))) == (0, 255)
    assert interval(Operation("cast", (Operation("less", (count, count), np.dtype(bool)),), i64)) == (0, 1)
    assert interval(Operation("add", (wide, wide), i64)) == (-(2**63), 2**63 - 1)
    assert interval(IndexValue(Index.variable("i"))) == (-(2**63), 2**63 - 1)
    assert interval(Load(Buffer("f", np.dtype(np.float32), 4, "arena"), Index())) == (-np.inf, np.inf)
