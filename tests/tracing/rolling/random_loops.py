"""Random functions with loops as people write them: nested, reversed, with stores, lists, dicts, break, conditions on t and branches."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_VARIABLES = "abc"

#: {v}, {u}, {w} are arrays [2, 2], {t} a step's number, {k} a small number
_STATEMENTS = """
{v} = np.tanh({u} @ W + {w})
{v} = {u} * {w} + 0.5
{v} = {u} + x[{t}]
{v} = np.maximum({u}, x[T - 1 - {t}] @ W)
{v} = {u} - x[{t} - 1]
{v} = {u} * ({t} + 1)
{v} = {u} * K[{t}]
{v} = np.where({u} > K[{t}], {w}, {u})
B[{t}] = {u}
B[{t}] += {u}
B[{t}] = B[{t}] * 0.5 + {u}
{v} = {u} + B[{t} - 1]
{v} = {u} @ B[{t}]
L.append({u})
{v} = L[-1] + {u}
{v} = L[-{k}] * {u}
M.append([{u}, {w}])
{v} = M[-1][0] - M[{t}][1]
{v} = M[-1][{t} % 2] + {u}
d[{t}] = {u}
d[{t}, 'x'] = {u}
{v} = d.get({t} - 1, {u}) + {w}
{v} = d.get(({t}, 'x'), {u}) * {w}
{v} = {u}.T
C[:, {t}, :] = {u}
{v} = C[:, {t} - 1, :] + {u}
C[:, {t}, 1:] += {u}[:, 1:]
G += {u}
G += {u}.T @ {w}
{v} = {u} + {u}[:, {t} % 2][:, None]
{v}, {u} = {u}, {v}
B[P[{t}]] = {u}
{v} = x[P[{t}]] + {u}
{v} = {u} + C[0, {t} // 2]
{v} = {u} * x[{t}, 0]
B[{t}, 0] = {u}[1]
{v} = {u} + B[{t} - min(T, 5)]
{v} = L[-6] * {u} if len(L) > 5 else {u}
B[{t} % min(T, 5)] = {u}
{v} = {u} * B[({t} + 1) % min(T, 5)]
B[{t} // 2 : {t} // 2 + 2] += {u}
B[::2][{t} // 2] = {u}
{v} = {u} + R[{t} : {t} + 2]
{v} = {u} + R[2 * {t} : 2 * {t} + 3 : 2]
R[{t} : {t} + 2] += {u}
R[{t} : {t} + 2, 0] = {u}[0]
E = B.copy()
{v} = E[{t}] + {u}
{v} = E[{t} - 1] * {u}
E[{t}] = {u}
{v} = {u} + I[{t}]
{v} = {u} + x[I[{t}]]
B[I[{t}]] += {u}
{v} = irdl.cond({u}[0, 0] > K[{t}], lambda p, q: p + q, lambda p, q: p * q, {u}, {w})
{v} = irdl.cond({u}[0, 0] > {w}[1, 1], lambda p: p + x[{t}], lambda p: p * K[{t}] - x[{t} - 1], {u})
{v} = irdl.cond({u}[0, 0] > 0, lambda: {w} + x[{t}].T, lambda: {w} * {t})
{v}, n = irdl.cond({u}.sum() > K[{t}], lambda p: (p, 3), lambda p: (p * 0.5, n - 1), {u})
{v} = irdl.cond(n > 0, lambda p: irdl.cond(p[0, 0] > 0, lambda o: o - x[{t}], lambda o: o + {k}, p), lambda p: p, {u})
{v} = irdl.cond({u}[0, 1] > 0, lambda p: p @ W + B[{t}], lambda p: p, {w})
B = irdl.cond({u}[0, 0] > 0, lambda p: put(p, {t}, {w}), lambda p: p, B)
B = irdl.cond({u}[0, 0] > 0, lambda p: put(p, {t}, {w} * K[{t}]), lambda p: put(p, T - 1 - {t}, {u}), B)
B, {v} = irdl.cond({u}[0, 0] > K[{t}], lambda p, o: (put(put(p, {t}, o), ({t}, 0), x[{t}, 1]), o), lambda p, o: (p, o + p[{t}]), B, {w})
B = irdl.cond({u}[0, 0] > 0, lambda p: put(p, I[{t}], {w}), lambda p: p, B)
B = irdl.cond({u}[0, 0] > 0, lambda p: put(p, (I[{t}], 0), {w}[1]), lambda p: put(p, (I[{t} - 1], 0), {u}[0]), B)
B = irdl.cond({u}[0, 0] > 0, lambda p: p, lambda p: put(put(p, {t}, {u}), slice(I[{t}] // 2, I[{t}] // 2 + 2), {w}), B)
L.append(irdl.cond({u}[1, 0] > 0, lambda: x[{t}] + 1, lambda: {w}))
going, {v} = irdl.cond(going, lambda p: (np.abs(p).sum() < 3, p + x[{t}]), lambda p: (np.array(False), p), {u})
{v} = irdl.cond({u}[0, 0] > 0, lambda p: irdl.scan(lambda h, r: (h * 0.5 + r + x[{t}], None), p, x[:2])[0], lambda p: p, {w})
{v} = irdl.while_loop(lambda p: np.abs(p).sum() > 1 + K[{t}], lambda p: p * 0.5 + 0.01 * x[{t}], {u})
{v} = irdl.scan(lambda h, r: (np.tanh(h @ W + r), None), {u}, x[: 2 + {k}])[0]
{v} = step({u}, {w})
""".strip().splitlines()
_CONDITIONS = ("== 0", "> 0", "> 1", "== T - 1", "< T - 1", "% 2", "% 3 == 1", "== 3")
_HEADS = (
    "for {i} in range(T):",
    "for {i} in reversed(range(T)):",
    "for {i} in range(T - 1, -1, -1):",
    "for {i} in range(0, T, 2):",
    "for {i} in range(1, T):",
    "for {i} in list(range(T)):",
    "for {i}, row in enumerate(x):",
    "for {i}, row in zip(range(T), x):",
    "for {i}, row in enumerate(reversed(x)):",
)
_SMALL_HEADS = ("for {i} in range(2):", "for {i} in range(3):", "for {i} in (0, 1):")
_RETURNS = (
    "return a, b, c, B, C, G, np.stack(L)",
    "return a, B, C",
    "return a + b + G, R",
    "return np.concatenate(L, 1), G",
    "return c, sum(L), E",
    "return L, d, M",
    "return [m[0] for m in M], R, G",
    "return a, B, n, going",
    "return c, n",
)


class _Writer:
    def __init__(self, seed: int, most: int = 14) -> None:
        self.random = random.Random(seed)
        self.steps = min(self.random.choice([4, 5, 6, 7, 9, 9, 14]), most)
        #: loops around each other
        self.depth = 0

    def statement(self, index: str) -> str:
        r = self.random
        v, u, w = (r.choice(_VARIABLES) for _ in range(3))
        line = r.choice(_STATEMENTS).format(v=v, u=u, w=w, t=index, k=r.choice([1, 2, 3]))
        chance = r.random()
        if chance < 0.08:
            return f"if {index} {r.choice(_CONDITIONS)}:\n    {line}"
        if chance < 0.09 and index in "tsq":
            return f"if {index} == T - 2:\n    {r.choice(['break', 'continue'])}"
        return line

    def block(self, depth: int) -> str:
        r = self.random
        lines = [self.loop(depth + 1) if depth < 2 and r.random() < 0.12 else self.statement("tsq"[depth]) for _ in range(r.randint(1, 6))]
        return "\n".join(lines)

    def loop(self, depth: int) -> str:
        r = self.random
        self.depth = max(self.depth, depth)
        i = "tsq"[depth]
        heads = _SMALL_HEADS if depth and r.random() < 0.4 else _HEADS
        body = self.block(depth)
        if r.random() < 0.1 and "continue" not in body:
            return f"{i} = 0\nwhile {i} < T:\n" + _indented(body) + f"\n    {i} += 1"
        return r.choice(heads).format(i=i) + "\n" + _indented(body)

    def text(self) -> str:
        r, steps = self.random, self.steps
        parts = [
            f"T = {steps}",
            "B, C, G, R = np.zeros((T, 2, 2)), np.zeros((2, T, 2)), np.zeros((2, 2)), np.zeros((2 * T + 3, 2))",
            "L, M, d = [a, b, c], [[a, b] for _ in range(T)], {}",
            "E = B + 1",
            "n, going = 2, np.array(True)",
            f"K = {[round(r.random(), 2) for _ in range(steps)]}",
            f"P = {r.sample(range(steps), steps)}",
        ]
        for _ in range(r.randint(1, 3)):
            parts.append(self.loop(0))
            if r.random() < 0.3:
                parts.append(self.statement(str(r.randint(0, steps - 1))))
        parts.append(r.choice(_RETURNS))
        helper = "def step(h, z):\n    s = h @ h.T\n    return np.tanh(s + z)\n\n"
        helper += "def put(x, place, v):\n    x = x.copy()\n    x[place] = v\n    return x\n\n"
        return f"import irdl\nimport numpy as np\n\n{helper}def f(x, W, a, b, c, I):\n" + _indented("\n".join(parts)) + "\n"


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


def random_loop(seed: int, folder: Path) -> tuple[Callable[..., Any], tuple[np.ndarray, ...], str]:
    """A function of a random program, arguments for it, and its text (which stands in a file of `folder` too, for lines)."""
    writer = _Writer(seed)
    text = writer.text()
    if writer.depth == 2:  # the steps of three loops are multiplied: 14 of each take as long as a hundred other programs
        writer = _Writer(seed, most=5)
        text = writer.text()
    steps = writer.steps
    file = folder / f"loops_{seed}.py"
    file.write_text(text)
    names: dict[str, Any] = {"__name__": file.stem}
    exec(compile(text, str(file), "exec"), names)
    numbers = np.random.default_rng(seed)
    arrays = [0.5 * numbers.standard_normal((2, 2)) for _ in range(4)]
    arguments = (0.5 * numbers.standard_normal((steps, 2, 2)), *arrays, numbers.integers(0, steps, steps))
    return names["f"], arguments, text
