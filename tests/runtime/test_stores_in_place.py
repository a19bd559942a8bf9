"""What a function stores into is computed where it lies, unless something reads the old contents later, or may fail after a store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.loops.interpret import interpret
from irdl.loops.language import Leave
from tests.teams import team_of

_random = np.random.default_rng(0)


def _arguments(rows: int = 6, columns: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _random.standard_normal((rows, columns)), _random.standard_normal((rows, columns)), np.array([rows - 1, 0, 2])


def _row(a, b, i):
    a[i[0]] = b[1] * 2


def _two_rows(a, b, i):
    a[i[0]] = 1.0
    b[i[1]] = a[i[2]] * 3


def _rows(a, b, i):
    a[i] += 2


def _add_at(a, b, i):
    np.add.at(a, i, b[:3])


def _element(a, b, i):
    a[i[0], 2] = b[3, i[2]]


def _whole(a, b, i):
    a[...] = np.tanh(b) + a


def _both(a, b, i):
    a += b
    b -= a


def _slices(a, b, i):
    a[1:3] = b[2:4]
    a[:, 1] = 7.0
    return a.sum(axis=0)


def _loop(a, b, i):
    for t in range(1, len(a)):
        a[t] = a[t - 1] * 0.5 + b[t]


def _delay_line(a, b, i):
    n = i[2]
    a[n % len(a)] = b[0]
    out = a[(n - 1) % len(a)] + a[(n - i[0]) % len(a)] * 0.5
    a[(n + 1) % len(a)] += out
    return out


def _joined(a, b, i):
    total = a.sum()
    a[...] = np.concatenate([b[1:] * 2, b[:1]])
    return total


def _turned_around(a, b, i):
    a[...] = np.tanh(b.T).T[::-1]


def _shifted(a, b, i):
    a[1:] = a[:-1]
    b[0], b[1] = b[1].copy(), b[0].copy()


def _decays(a, b, i):
    a *= 0.9
    a[i[0]] += 1.0
    b[1] += a[1]
    b *= 0.5


def _mask(a, b, i):
    a[a > 0] = 0.0


def _through_a_view(a, b, i):
    top = a[:2]
    top *= b[0]
    return top.sum()


IN_PLACE = [
    _row,
    _rows,
    _add_at,
    _element,
    _whole,
    _both,
    _slices,
    _loop,
    _delay_line,
    _two_rows,
    _joined,
    _turned_around,
    _shifted,
    _decays,
    _mask,
    _through_a_view,
]


def _old_is_a_result(a, b, i):
    old = a.copy()
    a[i[0]] = 0.0
    return old


def _place_depends_on_a_store(a, b, i):
    a[0] = 1.0
    return a[a[i[1], 0].astype(int)]


def _fails_in_a_loop(a, b, i):
    a[0] = 5.0
    x = a[0]
    for place in np.concatenate([i] * 8):
        x = np.tanh(x + a[place])
    return x


def _reads_across(a, b, i):
    a[:] = a[::-1] + a.sum()


def _swapped(a, b, i):
    a[i[0]], a[1] = a[1].copy(), a[i[0]].copy()
    x = b[0]
    for t in range(len(a)):
        x = np.tanh(x + a[t])
    return x, x * b[0], np.tanh(b.T @ b)


def _exchanged(a, b, i):
    old = a.copy()
    a[...] = b
    b[...] = old
    b.reshape(-1)[1::3] = 1.5
    a.reshape(-1)[1::3] -= b.sum()


def _parts_are_made_early(a, b, i):
    x = b.mean(axis=0)
    total = (a * x).sum()
    a[...] = np.concatenate([(b * 0.5)[2:] * total, np.tanh(a)[:2]])
    return b[i[0]] + a[i[1]]


def _reshaped_by_copying(a, b, i):
    turned = b.T.reshape(b.shape)
    b[i[0]] = 1.0
    a[...] = turned
    return b[i[1]] * 2


def _loop_reads_old_row(a, b, i):
    row = a[1].copy()
    for t in range(24):
        a[t % 2] = a[1] * 0.5 + row * b[t % 3]


def _scan_reads_old_row(a, b, i):
    row = a[1]

    def step(rows, x):
        rows = rows.copy()
        rows[1] = np.tanh(rows[0] + row)
        rows[0] = x * 2
        return rows, None

    a[...] = irdl.scan(step, a, b)[0]


def _while_reads_old_row(a, b, i):
    row = a[1]

    def step(carry):
        t, rows = carry
        rows = rows.copy()
        rows[1] = np.tanh(rows[0] + row)
        rows[0] += row * b[0]
        return t + 1, rows

    a[...] = irdl.while_loop(lambda carry: carry[0] < 5, step, (np.int64(0), a))[1]


def _of_itself(a, b, i):
    a[...] = a[::-1, ::-1]


def _rolled(a, b, i):
    a[...] = np.concatenate([a[1:], a[:1]])


OLD_ROWS = [_loop_reads_old_row, _scan_reads_old_row, _while_reads_old_row]
COPIED = [_of_itself, _rolled, _old_is_a_result, _place_depends_on_a_store, _fails_in_a_loop, _reads_across]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("f", [*IN_PLACE, *COPIED, *OLD_ROWS, _parts_are_made_early, _reshaped_by_copying, _swapped, _exchanged])
def test_as_numpy_does(f: Callable[..., Any], threads: int) -> None:
    for rows, columns in ((6, 5), (64, 33), (4, 3)):
        given = _arguments(rows, columns)
        theirs, ours = ([array.copy() for array in given] for _ in range(2))
        with team_of(threads):
            jitted = irdl.jit(f)
            for _ in range(3):  # the first call goes through Python
                expected, found = f(*theirs), jitted(*ours)
                results = [result if isinstance(result, tuple) else (result,) for result in (expected, found)]
                for a, b in zip((*theirs, *results[0]), (*ours, *results[1]), strict=True):
                    if a is not None:
                        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("f", [*IN_PLACE, *COPIED])
def test_where_they_are_made(f: Callable[..., Any]) -> None:
    program = irdl.compile(f)(*_arguments()).program
    assert bool(program.aliased) == (f in IN_PLACE)


@pytest.mark.parametrize("f", IN_PLACE)
def test_the_interpreter_agrees(f: Callable[..., Any]) -> None:
    given = _arguments()
    theirs = [array.copy() for array in given]
    f(*theirs)
    program = irdl.compile(f)(*given).program
    found = interpret(program, given)
    for first, second in program.aliased:
        place = [buffer.name for buffer in program.inputs].index(first.name)
        np.testing.assert_allclose(found[program.outputs.index(second)].reshape(given[place].shape), theirs[place], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_index_out_of_range_stores_nothing(threads: int) -> None:
    def step(keys, values, table, place, token, rows):
        x = table[token]
        keys[place] = x
        values[place] = x * 2
        keys[rows] += 1.0
        angle = table[token + 1]
        return (keys @ x).sum() + angle.sum()

    arrays = [_random.standard_normal((16, 8)) for _ in range(3)]
    with team_of(threads):
        jitted = irdl.jit(step)
        rows = np.array([1, 2, 3])
        compiled = irdl.compile(step)(*arrays, 3, 4, rows)
        assert len(compiled.program.aliased) == 2
        assert sum(isinstance(statement, Leave) for statement in compiled.program.body) == 1
        for place, token, some in ((3, 4, rows), (99, 4, rows), (3, 99, rows), (3, 15, rows), (3, 4, np.array([1, 77, 2])), (-17, 4, rows)):
            theirs, ours = ([array.copy() for array in arrays] for _ in range(2))
            try:
                expected = step(*theirs, place, token, some)
            except IndexError:
                for _ in range(2):
                    with pytest.raises(IndexError, match="out of bounds"):
                        jitted(*ours, place, token, some)
                for a, b in zip(arrays, ours, strict=True):
                    np.testing.assert_array_equal(a, b)
            else:
                np.testing.assert_allclose(jitted(*ours, place, token, some), expected)
                for a, b in zip(theirs, ours, strict=True):
                    np.testing.assert_allclose(a, b)


@pytest.mark.parametrize(
    "store",
    [
        lambda a, b: b.T.reshape(b.shape),
        lambda a, b: np.concatenate([b[1:] * 2, b[:1] + 1]),
        lambda a, b: b,
        lambda a, b: b[::-1],
        lambda a, b: a * 2,
    ],
)
def test_nothing_is_made_early(store: Callable[..., Any]) -> None:
    """Copies and parts neither."""

    def f(a, b, place):
        a[...] = store(a, b)
        return np.tanh(b[place])

    a, b = _random.standard_normal((6, 5)), _random.standard_normal((6, 5))
    jitted = irdl.jit(f)
    for place in (2, 77, -1, 6):
        expected, found = a.copy(), a.copy()
        if -6 <= place < 6:
            np.testing.assert_allclose(jitted(found, b, place), f(expected, b, place))
        else:
            with pytest.raises(IndexError):
                jitted(found, b, place)
        np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_written_in_place() -> None:
    def f(a, b):
        a[1] = b
        a += 1

    jitted = irdl.jit(f)
    strided = np.zeros((4, 6))[:, ::2]
    swapped = np.zeros((4, 3), ">f8")
    for array in (strided, np.asfortranarray(strided), swapped.astype("=f8"), np.zeros((4, 3))):
        expected = array.copy()
        f(expected, 2.0)
        jitted(array, 2.0)
        np.testing.assert_array_equal(array, expected)
    fixed = np.zeros((4, 3))
    fixed.flags.writeable = False
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            jitted(fixed, 2.0)
    np.testing.assert_array_equal(fixed, 0)


@pytest.mark.parametrize("count", [3, 30])
def test_captured_arrays_and_many_of_them(count: int) -> None:
    """Long signatures are checked and made by tables."""

    class Model:
        def __init__(self) -> None:
            self.states = [np.zeros((3 + place, 2)) for place in range(count)]
            self.steps = np.zeros((), np.int64)

        def step(self, xs, buffer):
            for state, x in zip(self.states, xs, strict=True):
                state[1] = x
                state += 1
            buffer[0] += self.states[0].sum()
            self.steps += 1
            return self.states[-1] * 2

    theirs, ours = Model(), Model()
    step = irdl.jit(ours.step)
    buffers = np.zeros((2, 2)), np.zeros((2, 2))
    for _ in range(4):
        xs = [_random.standard_normal(2) for _ in range(count)]
        np.testing.assert_array_equal(step(xs, buffers[1]), theirs.step(xs, buffers[0]))
        for a, b in zip(theirs.states, ours.states, strict=True):
            np.testing.assert_allclose(a, b)
        np.testing.assert_allclose(*buffers)
        assert theirs.steps == ours.steps
    compiled = irdl.compile(ours.step)(xs, buffers[1])
    assert len(compiled.program.aliased) == count + 2


def test_donation_beside_stores() -> None:
    """The new contents of what is stored into take no donated argument's place, and results do."""

    def fails_in_a_loop(w, g, i):
        w[...] = g * 2
        x = w[0]
        for place in i:
            x = np.tanh(x + w[place])
        return x

    def spare(w, g, i):
        w -= 0.1 * g
        return g.sum()

    def rolled(w, g, i):
        w[...] = g * 2
        return np.roll(w, 1, 0) * 1.5

    for f in (fails_in_a_loop, spare, rolled):
        given = (_random.standard_normal((8, 8)), _random.standard_normal((8, 8)), np.array([1, 2, 0, 3] * 8))
        jitted = irdl.jit(f, donate_argnums=1)
        for _ in range(3):
            theirs, ours = ([array.copy() for array in given] for _ in range(2))
            expected, found = f(*theirs), jitted(*ours)
            np.testing.assert_allclose(found, expected)
            np.testing.assert_allclose(ours[0], theirs[0])
        if f is rolled:
            assert found is ours[1]


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b, c, d: (a.T, b * 2 + c, a, d[::-1], d),
        lambda a, b, c, d: [a, b * 2 + c, b, c, d],
        lambda a, b, c, d: a.T,
        lambda a, b, c, d: (a.T.reshape(4, 16), a[::-1]),
        lambda a, b, c, d: {"text": "x", "view": a[1:], "other": b + 1},
    ],
)
def test_donated_arguments_that_are_results(f: Callable[..., Any]) -> None:
    jitted = irdl.jit(f, donate_argnums=0)
    for _ in range(3):
        given = [_random.standard_normal((8, 8)) for _ in range(4)]
        expected, found = f(*(array.copy() for array in given)), jitted(*given)
        parts = [item.values() if isinstance(item, dict) else item for item in (expected, found)]
        pairs = [parts] if isinstance(expected, np.ndarray) else zip(*parts, strict=True)
        for a, b in pairs:
            np.testing.assert_array_equal(b, a)


def test_what_overlaps_is_refused_where_it_is_copied_too() -> None:
    def f(a, b):
        a[0] = 5
        return b.sum()

    memory = np.zeros((6, 8))
    jitted = irdl.jit(f)
    for _ in range(2):
        with pytest.raises(TraceError, match="shares its memory"):
            jitted(memory, memory[:, ::2])
    apart = np.zeros((6, 8))[:, ::2]
    assert jitted(memory, apart) == 0 and memory[0, 0] == 5


def test_a_large_array_is_not_copied() -> None:
    """One row of many: no memory as large as the array is taken, and nothing of it read."""

    def put(buffer, x, i):
        buffer[i] = x

    buffer = np.zeros((1000, 64), np.float32)
    compiled = irdl.compile(put)(buffer, np.ones(64, np.float32), 3)
    assert compiled.memory.arena == 0
    text = str(compiled.program)
    assert "0:1000" not in text and "0:4000" not in text and "alias buffer out0" in text


def _random_function(rng: np.random.Generator) -> str:
    """Lines that read and store into `a`, `b` and `c`, at fixed and computed places."""
    names = ["a", "b", "c"]
    lines, values = [], []
    for number in range(rng.integers(2, 8)):
        to, source = rng.choice(names), rng.choice([*names, *values])
        place = rng.choice(["i", "0", "1:3", "j[0]", "j", "k", "...", "::2", "(i, 1)"])
        kind = rng.integers(6)
        if kind == 0:
            values.append(f"v{number}")
            lines.append(f"v{number} = {source} * 2 + {rng.choice(names)}")
        elif kind == 1:
            values.append(f"v{number}")
            lines.append(f"v{number} = {source}.copy()")
        elif kind == 2:
            values.append(f"v{number}")
            lines.append(f"v{number} = np.tanh({source}[j].sum(axis=0)) + {rng.choice(names)}")
        elif kind == 3:
            lines.append(f"{to}[{place}] = {source}[{place}] - 1")
        elif kind == 4:
            lines.append(f"{to}[{place}] {rng.choice(['+=', '*='])} 1.5")
        else:
            lines.append(f"{to}[...] = {source} + {rng.choice(names)}")
    results = ", ".join([*values, "a.sum()"])  # what nothing reads is not computed, and does not fail
    return "\n    ".join(["def f(a, b, c, i, j, k):", *lines, f"return {results}"])


@pytest.mark.parametrize("seed", [*range(40), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(40, 1000))])
def test_random_stores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = _random_function(rng)
    scope: dict[str, Any] = {"np": np}
    exec(text, scope)
    f = scope["f"]
    shape = (5, int(rng.integers(2, 40)))
    arrays = [rng.integers(-3, 4, shape).astype(np.float64) for _ in range(3)]
    jitted = irdl.jit(f)
    for i, j, k in (
        (2, [0, 3], [4, 1, 2]),
        (-1, [3, 1], [0, 0, 4]),
        (7, [0, 1], [1, 2, 3]),
        (1, [0, 9], [2, 3, 4]),
        (1, [0, 1], [-8, 3, 4]),
    ):
        places = i, np.array(j), np.array(k)
        theirs, ours = ([array.copy() for array in arrays] for _ in range(2))
        try:
            with np.errstate(all="ignore"):
                expected = f(*theirs, *places)
        except IndexError:
            # What is overwritten later is not computed, and does not fail.
            with contextlib.suppress(IndexError):
                jitted(*ours, *places)
                continue
            theirs = arrays
        else:
            found = jitted(*ours, *places)
            for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (expected, found)), strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12, err_msg=text)
        for a, b in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12, err_msg=text)
