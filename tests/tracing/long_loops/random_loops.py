"""Random programs with a loop of many steps, as source. Names tell what they hold: `s`, `t`, `u` numbers, `k` an integer, `f` a truth,
`a`, `b` arrays of three, `y`, `w` a number for each step, `m` a row for each, `L`, `M` lists, `d` a dict, `o` an object."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np

BOX = """\
import numpy as np


class Box:
    def __init__(self):
        self.h, self.g = 0.0, 1


"""
#: what names may hold before the loop
BEGINNINGS = {
    "s": ("0", "0.0", "1.5", "np.float32(0.5)", "np.float64(0.25)", "x[0]", "z"),
    "t": ("0", "0.0", "True", "np.int64(2)", "x[1]", "s"),
    "u": ("None", "1", "0.5", "x[2]"),
    "k": ("0", "1", "2"),
    "f": ("True", "False"),
    "a": ("np.zeros(3)", "np.ones(3)", "p", "p[:3]", "np.zeros(3, np.float32)"),
    "b": ("np.zeros(3)", "a", "q", "p", "a.copy()", "q * 2"),
    "y": ("np.zeros(N + 3)", "np.zeros_like(x)", "x.copy()", "np.zeros(N, np.float32)", "w"),
    "L": ("[]", "[0.0]", "[0.0, 1.0]", "[1.0, 2.0, 3.0]"),
    "M": ("[]", "[a]", "L", "[L]", "[1]"),
    "d": ("{'p': 0.0, 'q': 1}",),
    "o": ("Box()",),
}
HEADS = (
    "for n in range(N):",
    "for n, v in enumerate(x):",
    "for n, (v, row) in enumerate(zip(x, m)):",
    "for n in range(N - 1, -1, -1):",
    "for n in range(0, N, 2):",
    "for n in range(1, N):",
)
ATOMS = (
    *("s", "t", "v", "x[n]", "n", "k", "0.5", "2", "a[0]", "a[n % 3]", "b[1]", "y[n]", "y[n - 1]", "d['p']", "o.h", "m[n, 1]"),
    *("x[-1 - n]", "a.sum()", "x[k % 3]", "z"),
)
#: of a list that holds something
OF_LISTS = ("L[-1]", "len(L)", "L[0]")
#: `$` is a number
NUMBERS = ("0.5 * $ + $", "($ - $)", "np.tanh($)", "max($, $)", "abs($) * 0.3", "($) / 4")
CONDITIONS = (
    *("n == 0", "n > 0", "n < 2", "n >= N - 2", "n % 2", "n % 3 == 1", "f", "not f", "k == 2", "k > 3", "v > 0", "s < t", "n == 4"),
    *("n and f", "x[n] > 0.5", "n != 3", "1 < n <= 5"),
)
EXITS = ("v > 1", "x[n] < -1.5", "abs(v) < 0.1", "m[n].sum() > 2", "n == 5 and v > 0")
ARRAYS = ("a", "b", "a.copy()", "b * 0.5", "a + v", "m[n]", "np.array([v, s, 1.0])", "m[n] + b", "np.zeros(3)", "a[::-1]", "p", "q")
#: `#` is a or b, `@` an array
CHANGES = (
    *("s = $", "t = $", "u = $", "s += $", "t += $", "s = 0.5 * s + $", "s, t = t, s", "u = v if u is None else 0.5 * u + v"),
    *(
        "# = @",
        "#[0] = $",
        "#[n % 3] += $",
        "#[k % 3] -= $",
        "#[-1] = $",
        "#[n % 3 - 1] += $",
        "# += 0.5",
        "# *= v * 0.1",
        "# -= m[n] * 0.1",
    ),
    *("a, b = b, a", "a[1:] = v", "a[:2] = s", "a[:] = b[0]", "a[::2] = 0", "p[0] += 0.1 * v", "e = a; e[1] = v; a = @"),
    *("y[n] = $", "y[n - 1] = $", "y[-n] += $", "y[n // 2] = $", "y[N - 1 - n] += $", "y[k % N] = $", "y[2] += $", "w[n] = $", "w[n] += $"),
    *("m[n] = $", "m[n, 0] += $", "m[n, 1:] = $", "m[n - 1] = $", "L.append($)", "M.append($)", "M.append(a)", "M.append(a.copy())"),
    *("M.append(m[n])", "M.append((n, s))", "M.append([s, n])", "k += 1", "k += 2", "k = (k + 1) % 3", "k = n", "k -= 1", "k = k + n % 2"),
    *("f = not f", "f = False", "f = v > 0", "f = n % 2 == 0", "d['p'] = $", "d['q'] += $", "o.h = $", "o.g = $"),
    *(
        "r = m[n]; r += v",
        "r = m[n - 1]; r *= 0.5",
        "r = a; r -= 0.25",
        "r = b[:2]; r += v",
        "r = y[:2]; r *= 0.5",
        "r = y[n:n + 1]; r += v",
    ),
)
OF_LONGER_LISTS = ("L[0] = $", "L[-1] += v", "L[1] = L[0]", "L[n % 2] = v")


class Draw:
    """Draws one program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.beginnings = {name: self.random.choice(given) for name, given in BEGINNINGS.items()}
        self.branches = self.random.random() < 0.6
        length = self.beginnings["L"].count(".") if self.beginnings["M"] != "L" else 0
        self.atoms = (*ATOMS, *OF_LISTS) if length else ATOMS
        self.changes = (*CHANGES, *OF_LONGER_LISTS) if length > 1 else CHANGES

    def number(self, depth: int = 0) -> str:
        if depth > 1 or self.random.random() < 0.45:
            return self.random.choice(self.atoms)
        if self.branches and self.random.random() < 0.15:
            return f"({self.number(depth + 1)} if {self.random.choice(CONDITIONS)} else {self.number(depth + 1)})"
        return re.sub(r"\$", lambda _: self.number(depth + 1), self.random.choice(NUMBERS))

    def filled(self, text: str) -> str:
        text = re.sub("#", lambda _: self.random.choice("ab"), text)
        text = re.sub("@", lambda _: self.random.choice(ARRAYS), text)
        return re.sub(r"\$", lambda _: self.number(), text)

    def statement(self, depth: int) -> list[str]:
        kind = self.random.random()
        if depth < 2 and kind < 0.04:
            return [f"for j in range({self.random.randint(2, 3)}):", *_in(self.block(1, depth + 1))]
        if depth < 2 and kind < 0.16 and self.branches:
            lines = [f"if {self.random.choice(CONDITIONS)}:", *_in(self.block(2, depth + 1))]
            return [*lines, "else:", *_in(self.block(2, depth + 1))] if self.random.random() < 0.5 else lines
        return self.filled(self.random.choice(self.changes)).split("; ")

    def block(self, most: int, depth: int) -> list[str]:
        return [line for _ in range(self.random.randint(1, most)) for line in self.statement(depth)]

    def program(self) -> str:
        head = self.random.choice(HEADS)
        body = [*([] if " v" in head or "(v" in head else ["v = x[n]"]), *self.block(4, 0)]
        body, behind = self.with_exits(body) if self.random.random() < 0.3 else (body, [])
        used = _names("\n".join(body))
        for _ in BEGINNINGS:
            used |= {name for held in used & self.beginnings.keys() for name in _names(self.beginnings[held])}
        held = [name for name in self.beginnings if name in used]
        lines = ["N = len(x)", *(f"{name} = {self.beginnings[name]}" for name in held), head, *_in(body), *behind]
        if "y" in used and self.random.random() < 0.2:
            lines += ["for n, v in enumerate(y[:N]):", "    y[n] = 0.5 * y[n - 1] + v"]
        text = f"{BOX}def program(x, m, p, q, w, z):\n" + "\n".join(_in([*lines, "return RESULTS"])) + "\n"
        return text.replace("RESULTS", ", ".join([*("o.h, o.g" if name == "o" else name for name in held), "n"]))

    def with_exits(self, body: list[str]) -> tuple[list[str], list[str]]:
        """A body that some of its steps may leave, and what stands behind the loop's."""
        places = [place for place in range(1, len(body) + 1) if not "\n".join(body[place : place + 1]).startswith((" ", "else"))]
        for place in sorted(self.random.sample(places, min(len(places), self.random.randint(1, 2))), reverse=True):
            lines = [
                *self.random.choice(([], ["s = v"], ["s += 1.0"])),
                self.random.choice(("break", "break", "continue", "return RESULTS")),
            ]
            body = [*body[:place], f"if {self.random.choice((*CONDITIONS, *EXITS))}:", *_in(lines), *body[place:]]
        return body, self.random.choice(([], ["else:", "    n = -1"]))


def _names(text: str) -> set[str]:
    return set(re.findall(r"\b[a-zA-Z]\b", text))


def _in(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def draw(seed: int, steps: int) -> tuple[str, tuple[Any, ...]]:
    """The source of `program(x, m, p, q, w, z)`, and arguments for so many steps."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal
    return Draw(seed).program(), (normal(steps), normal((steps, 3)), normal(3), normal(3), normal(steps), 0.3)
