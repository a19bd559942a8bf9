"""Random programs that branch, as source. Names tell what they hold: `f` floats, `n` integers, `b` truth, `a` arrays of four, `p` arrays of two;
numbers stay small multiples of a power of two, so that every comparison is exact."""

from __future__ import annotations

import linecache
import random
from collections.abc import Callable
from typing import Any

import numpy as np

FLOATS, INTEGERS, TRUTHS, ARRAYS, PAIRS = ("f0", "f1", "f2"), ("n0", "n1", "n2"), ("b0", "b1"), ("a0", "a1", "a2", "x", "y"), ("p0", "p1")
#: what a program begins with
PREAMBLE = """\
f0, f1, f2 = s, t, 0.5
n0, n1, n2 = k, 1, 0
b0, b1 = s > t, False
a0, a1, a2 = x * 1, y + 1, np.zeros(4)
p0, p1 = x[:2] * 1, np.ones(2)
rows = [s, 1.0, y * 1]
table = {"u": t, "w": x + y}
item = Item(s, y - 1)
"""
HELPERS = """\
import numpy as np


class Item:
    def __init__(self, f, a):
        self.f, self.a, self.n = f, a, 0

    def bump(self, v):
        if v > self.f:
            self.f = v
            self.n += 1
            return v
        elif self.n > 2:
            self.n = 0
        self.a[self.n % 4] = v
        return self.f


def wrapped(v):
    return v % 8.0


def clipped(v, low=-1.0, high=2.0):
    if v < low:
        return low
    if v > high:
        return high
    return v


def first_above(a, v):
    for i in range(4):
        if a[i] > v:
            return i
    return 3


def halved(v):
    n = 0
    while v > 1 and n < 4:
        v = v / 2
        n += 1
    else:
        n += 1
    return n


"""
CONDITIONS = (
    "{f} > {g}",
    "{f} <= 1",
    "0 < {f} < 2",
    "{n} == {m}",
    "{n} % 2 == 0",
    "{n} < {m} <= 3",
    "{b}",
    "not {b}",
    "{a}[{i}] > {f}",
    "{a}[{n} % 4] > 1",
    "{a}.sum() > {f}",
    "np.any({a} > {f})",
    "({a} >= {c}).all()",
    "{p}.max() > {f}",
    "{f}",
    "{n}",
    "rows[0] > {f}",
    'table["u"] < {f}',
    "item.f > {f}",
    "item.bump({f}) > 1",
    "(f9 := {f} - 1) > 0",
)
VALUES = {
    "f": (
        *("{g}", "({f} + {g}) % 8", "{g} - {h}", "abs({g}) % 4", "{g} / 2 % 4", "{a}[{i}] % 8", "{a}[{n} % 4] % 8", "{a}.max() % 8"),
        *("min({g}, {h})", "max({g}, 1.0)", "clipped({g})", "1.5", "0.0", "-{g} % 4", "{p}.sum() % 8", "rows[1]", 'table["u"]', "item.f"),
        *("{g} if {q} else {h}", "item.bump({g})", "float({n} % 5)", "({g} if {q} else {h} - 1) % 8", "{g} and {h}", "{g} or {h}"),
    ),
    "n": (
        *("{m}", "({n} + {m}) % 16", "{n} + 1", "{m} // 2", "3", "0", "first_above({a}, {f})", "halved({f})", "int({f}) % 7", "item.n"),
        *("{m} if {q} else 2", "-{m} % 5", "int(np.argmax({a}))", "{n} * 2 % 11"),
    ),
    "b": ("{q}", "not {b}", "{q} and {q2}", "{q} or {q2}", "False", "True", "{b} and not {q}"),
    "a": (
        *("{c} * 1", "({a} + {c}) % 8", "{c} - {f}", "np.where({c} > {f}, {a}, {c})", "np.zeros(4)", "np.minimum({a}, {c})", "{c}.copy()"),
        *(
            "np.full(4, {f})",
            "np.array([v if v > {f} else {f} for v in {c}])",
            "np.roll({c}, 1)",
            "rows[2] * 1",
            'table["w"] + 1',
            "item.a % 4",
        ),
        *("{a} * 0.5 if {q} else {c} + 1",),
    ),
    "p": ("{p} + 1", "{a}[:2] * 1", "({p} + {a}[2:]) % 8", "np.array([{f}, {g}])", "np.zeros(2)"),
}
CHANGES = (
    *(
        "{f} += 1",
        "{f} *= 0.5",
        "{n} += 1",
        "{n} -= 1",
        "{a}[{i}] = {f}",
        "{a}[{n} % 4] = {f}",
        "{a}[{n} % 4] += 1",
        "{a} += 1",
        "{a}[1:3] = {p}",
    ),
    *("{a}[:] = {c}", "{a}[::2] -= {f}", "{p} += {f}", "{p}[0] = {f}", "{p}[{n} % 2] = {f}", "{a}[{i}], {a}[{j}] = {a}[{j}], {a}[{i}]"),
    *(
        "{f}, {g} = {g}, {f}",
        "{n}, {m} = {m}, {n} + 1",
        "{a}[{c} > {f}] = {g}",
        "rows[0] = {f}",
        "rows[1] += 1",
        "rows[2] = {c} * 1",
        "rows[2][{i}] = {f}",
    ),
    *(
        'table["u"] = {f}',
        'table["u"] += 1',
        'table["w"] = {c} - 1',
        'table["w"][{i}] += {f}',
        "item.f = {f}",
        "item.n += 1",
        "item.a = {c} * 1",
    ),
    *("item.a[{i}] = {f}", "item.bump({f})", 'print("at", {n})', 'print(f"{{{f}:.2f}}")', "rows[0], rows[1] = rows[1], rows[0]"),
)
#: two names for one array
NAMES = (
    "{a} = {c}",
    "{a}, {c} = {c}, {a}",
    "rows[2] = {c}",
    "item.a = {c}",
    '{a} = table["w"]',
    "{a} = item.a",
    "{a} = {a} if {q} else {c}",
)
VIEWS = (
    "{p} = {a}[1:3]",
    "{p} = {a}[::2]",
    "{p} = {a}[:2]",
    "{a} = {c}[::-1]",
    "{a} = {c}[:]",
    "{p} = {p}[::-1]",
    "{p} = {a}[:2] if {q} else {a}[2:]",
)


class Draw:
    """Draws a program: how deep branches go, and whether arrays get second names (1) and views (2)."""

    def __init__(self, seed: int, names: int) -> None:
        self.random = random.Random(seed)
        self.names = names
        self.left = 16
        self.loops = 0

    def fill(self, form: str) -> str:
        """A form with names and conditions in it."""
        pick = self.random.choice
        f, g, h = (pick(FLOATS) for _ in range(3))
        n, m = pick(INTEGERS), pick(INTEGERS)
        parts = {"f": f, "g": g, "h": h, "n": n, "m": m, "b": pick(TRUTHS), "a": pick(ARRAYS), "c": pick(ARRAYS), "p": pick(PAIRS)}
        parts |= {"i": self.random.randrange(4), "j": self.random.randrange(4)}
        for key in ("q", "q2"):
            parts[key] = self.condition(0.1) if "{" + key + "}" in form else ""
        # Of `n, n = n, n + 1` some versions of Python (3.11.2) make another thing than they say.
        for one, other, all_of in (("f", "g", FLOATS), ("n", "m", INTEGERS), ("a", "c", ARRAYS)):
            if "{" + one + "}, {" + other + "} =" in form and parts[one] == parts[other]:
                parts[other] = next(name for name in all_of if name != parts[one])
        return form.format(**parts)

    def condition(self, more: float = 0.3) -> str:
        found = self.fill(self.random.choice(CONDITIONS))
        if self.random.random() < more:
            other = self.fill(self.random.choice(CONDITIONS[:-1]))
            found = self.random.choice(("({} and {})", "({} or {})", "(not {} and {})")).format(f"({found})", f"({other})")
        return f"({found})" if ":=" in found else found

    def simple(self) -> str:
        chance = self.random.random()
        if self.names and chance < 0.15:
            return self.fill(self.random.choice(NAMES if self.names == 1 else (*NAMES, *VIEWS)))
        if chance < 0.55:
            return self.fill(self.random.choice(CHANGES))
        kind = self.random.choice("ffnnbaap")
        name = self.random.choice({"f": FLOATS, "n": INTEGERS, "b": TRUTHS, "a": ARRAYS[:3], "p": PAIRS}[kind])
        return f"{name} = " + self.fill(self.random.choice(VALUES[kind]))

    def block(self, depth: int, in_loop: bool, most: int = 4) -> list[str]:
        lines: list[str] = []
        for _ in range(self.random.randint(1, most)):
            if self.left <= 0:
                break
            lines += self.statement(depth, in_loop)
        return lines or ["pass"]

    def statement(self, depth: int, in_loop: bool) -> list[str]:
        self.left -= 1
        chance = self.random.random()
        if depth >= 3 or chance < 0.5:
            return [self.simple()]
        if chance < 0.75:
            return self.branch(depth, in_loop)
        if chance < 0.86:
            return self.loop(depth)
        if in_loop and chance < 0.92:
            return [f"if {self.condition()}:", *_in(self.block(depth + 1, False, 1)), "    " + self.random.choice(("break", "continue"))]
        if chance < 0.94:
            return [f"if {self.condition()}:", *_in(self.block(depth + 1, False, 1)), "    " + self.result()]
        if chance < 0.97:
            return ["try:", *_in(self.block(depth + 1, in_loop)), "finally:", *_in([self.simple()])]
        return ["with np.errstate(all='ignore'):", *_in(self.block(depth + 1, in_loop))]

    def branch(self, depth: int, in_loop: bool) -> list[str]:
        lines = [f"if {self.condition()}:", *_in(self.block(depth + 1, in_loop))]
        while self.random.random() < 0.3:
            lines += [f"elif {self.condition()}:", *_in(self.block(depth + 1, in_loop))]
        if self.random.random() < 0.5:
            lines += ["else:", *_in(self.block(depth + 1, in_loop))]
        return lines

    def loop(self, depth: int) -> list[str]:
        self.loops += 1
        i = f"i{self.loops}"
        if self.random.random() < 0.5:
            lines = [f"for {i} in range({self.random.randint(1, 4)}):"]
            lines += _in(self.block(depth + 1, True))
        elif self.random.random() < 0.5:
            lines = [f"for {i} in {self.random.choice(ARRAYS[:2])}.copy():", f"    f2 = {i}", *_in(self.block(depth + 1, True))]
        else:
            lines = [f"{i} = 0", f"while {i} < {self.random.randint(2, 4)} and ({self.condition()}):", f"    {i} += 1"]
            lines += _in(self.block(depth + 1, True))
        if self.random.random() < 0.25:
            lines += ["else:", *_in([self.simple()])]
        return lines

    def result(self) -> str:
        return "return [f0, f1, f2, n0, n1, n2, b0, b1, a0, a1, a2, p0, p1, *rows, table['u'], table['w'], item.f, item.a, item.n]"

    def program(self) -> str:
        lines: list[str] = []
        while self.left > 0:
            lines += self.statement(0, False)
        body = [*PREAMBLE.splitlines(), *lines, self.result()]
        return HELPERS + "def program(x, y, k, s, t):\n" + "\n".join(_in(body)) + "\n"


def _in(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def draw(seed: int, names: int = 0) -> tuple[str, list[tuple[Any, ...]]]:
    """The source of `program(x, y, k, s, t)`, and arguments of several calls."""
    source = Draw(seed, names).program()
    rng = np.random.default_rng(seed)
    calls = []
    for _ in range(6):
        x, y = rng.integers(-4, 12, 4) / 4, rng.integers(-4, 12, 4) / 4
        calls.append((x, y, int(rng.integers(0, 4)), float(rng.integers(-4, 8) / 4), float(rng.integers(-4, 8) / 4)))
    return source, calls


def function_of(source: str, name: str) -> Callable[..., Any]:
    """The program, with a source that can be found."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": "branching_program"}
    exec(compile(source, name, "exec"), scope)
    return scope["program"]
