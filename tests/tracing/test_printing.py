"""What traced code prints, and the texts that it makes of traced numbers: the same as eager NumPy's, at every call."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import LeakedTracerError, TraceError


def plain(x: np.ndarray) -> np.ndarray:
    print("start")
    print("x =", x, "sum", x.sum(), x.shape, end=".\n")
    print(x[0], [x[1], x], {"a": x[:1]}, sep=" | ")
    print(f"{x.mean():.3f} {x[0]:>8.2e} {x!r} {x.max()!s}", f"{x[1]:+.1f}")
    print()
    return x * 2


def in_loops(x: np.ndarray) -> np.ndarray:
    total = np.zeros_like(x[0])
    for t in range(len(x)):
        total = total + x[t] ** 2
        print(f"step {t}: {total:.4f}")
        if t % 2 == 0:
            print("  even", x[t])
    return total


def in_a_gradient(x: np.ndarray) -> Any:
    def loss(y: np.ndarray) -> Any:
        z = np.tanh(y)
        print("z", z)
        return (z**2).sum()

    value, gradient = irdl.value_and_grad(loss)(x)
    print("gradient", gradient)
    return value, gradient


def in_derivatives(x: np.ndarray) -> Any:
    def f(y: np.ndarray) -> Any:
        print("y", y[0])
        return np.sin(y)

    _, tangent = irdl.jvp(f, (x,), (np.ones_like(x),))
    y, pull = irdl.vjp(f, x)
    print(y, tangent)
    return pull(y)[0], irdl.checkpoint(f)(x)


def in_a_scan(x: np.ndarray) -> Any:
    def body(carry: Any, v: Any) -> Any:
        print("carry", carry)
        print("then")
        return carry + v, np.exp(carry) * v

    print("before")
    last, ys = irdl.scan(body, np.float64(0.5), x, reverse=True)
    print("after", last)
    return ys


def in_nested_scans(x: np.ndarray) -> Any:
    def outer(c: Any, v: Any) -> Any:
        def inner(d: Any, w: Any) -> Any:
            print("inner", d, w)
            return d + w * v, None

        c, _ = irdl.scan(inner, c, x)
        print("outer", c)
        return c, c

    return irdl.scan(outer, np.float64(0.0), x)[1]


def in_branches(x: np.ndarray) -> Any:
    def yes(v: Any) -> Any:
        print("yes", v[0])
        print("really", v[1], v)
        return v * 2

    def no(v: Any) -> Any:
        print("no")
        return v

    first = irdl.cond(x[0] > 0, yes, no, x)
    return irdl.cond(x[0] < 0, lambda v: v, yes, first)


def by_debug(x: np.ndarray) -> Any:
    irdl.debug.print("{} and {y:.2f}", x, y=x.sum())
    irdl.debug.print("nothing traced")
    return x


def under_grad_of_a_scan(x: np.ndarray) -> Any:
    def loss(y: np.ndarray) -> Any:
        def body(c: Any, v: Any) -> Any:
            c = np.tanh(c + v)
            print("c", c)
            return c, None

        return irdl.scan(body, np.float64(0.0), y)[0]

    return irdl.grad(loss)(x)


PROGRAMS = [plain, in_loops, in_a_gradient, in_derivatives, in_a_scan, in_nested_scans, in_branches, by_debug, under_grad_of_a_scan]


def output(capsys: pytest.CaptureFixture[str], f: Callable[..., Any], *arguments: Any) -> tuple[str, str]:
    f(*arguments)
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_prints_as_eager_code_does(program: Callable[..., Any], dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    compiled = irdl.jit(program)
    with np.printoptions(precision=4):
        for x in (np.arange(1, 5) / 4, -np.arange(1, 5) / 4, np.ones(4)):
            x = x.astype(dtype)
            # Rounded, as what compiled code computes may differ in the last place.
            expected, got = (_rounded(output(capsys, f, x.copy())[0]) for f in (program, compiled))
            assert expected
            assert got == expected


def _rounded(text: str) -> str:
    import re

    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]) + 0.0:.3f}", text)


def test_each_element_of_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: np.ndarray) -> Any:
        print("element", x)
        return x.sum()

    x = np.arange(6.0).reshape(3, 2)
    expected = "".join(f"element {row}\n" for row in x)
    assert output(capsys, irdl.vmap(f), x)[0] == expected
    assert output(capsys, irdl.jit(irdl.vmap(f)), x)[0] == expected
    gradient = irdl.jit(irdl.vmap(irdl.grad(lambda x: f(x) ** 2)))
    assert output(capsys, gradient, x)[0] == expected


def test_a_loop_that_prints_stays_a_loop() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        h = np.zeros(8)
        for t in range(50):
            h = np.tanh(h @ w + x[t])
            print(f"step {t}", h[0])
        return h

    graph = irdl.trace(f)(np.ones((50, 8)), np.ones((8, 8)))
    assert [node.op.name for node in graph.nodes].count("scan") == 1
    assert [node.op.name for node in graph.nodes].count("tanh") == 0


def test_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: np.ndarray) -> Any:
        print("out", x[0], file=sys.stdout, flush=True)
        print("err", x[0], file=sys.stderr)
        return x

    compiled = irdl.jit(f)
    for number in (1.0, 2.0):
        assert output(capsys, compiled, np.full(2, number)) == (f"out {number}\n", f"err {number}\n")


class Model:
    def __init__(self) -> None:
        self.name = ""
        self.log: list[str] = []

    def step(self, x: np.ndarray) -> Any:
        self.name = f"mean {x.mean():.2f}"
        self.log.append(str(x.sum()))
        return {"text": self.name, "both": (f"{x[0]:.1f}", x)}


def test_texts_that_are_kept() -> None:
    model, compiled = Model(), Model()
    step = irdl.jit(compiled.step)
    for number in (1.0, 2.0, 3.0):
        x = np.full(3, number)
        expected, got = model.step(x), step(x)
        assert got["text"] == expected["text"] == compiled.name
        assert got["both"][0] == expected["both"][0]
    assert compiled.log == model.log == ["3.0", "6.0", "9.0"]


def test_known_numbers_are_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    def loss(x: np.ndarray) -> Any:
        print("now", x, x.sum())
        return x.sum()

    assert output(capsys, irdl.grad(loss), np.ones(2))[0] == "now [1. 1.] 2.0\n"


def test_of_a_trace_that_fails_what_was_printed_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: np.ndarray) -> Any:
        print("here", x)

        def body(c: Any, v: Any) -> Any:
            print("in the body")
            return c + math.fsum([v]), None

        return irdl.scan(body, 0.0, x)

    with pytest.raises(TraceError, match=r"in a text f'\{x:.3f\}'"):
        irdl.jit(f)(np.ones(2))
    out = capsys.readouterr().out
    assert out.startswith("here <traced array f64[2] #")
    assert out.endswith("in the body\n")


def test_refused() -> None:
    def in_a_while(x: np.ndarray) -> Any:
        return irdl.while_loop(lambda c: c < 3, lambda c: (print(c), c + 1)[1], x[0])

    with pytest.raises(TraceError, match="print inside a while body"):
        irdl.jit(in_a_while)(np.zeros(1))
    with pytest.raises((TypeError, ValueError), match="format"):
        irdl.jit(lambda x: print(f"{x:.2f}"))(np.zeros(2))

    def later(x: np.ndarray) -> Any:
        texts = []

        def body(c: Any, v: Any) -> Any:
            texts.append(f"{c}")
            return c + v, None

        last, _ = irdl.scan(body, 0.0, x)
        print(texts[0])
        return last

    with pytest.raises(LeakedTracerError):
        irdl.jit(later)(np.zeros(2))
