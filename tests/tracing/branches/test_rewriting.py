"""From where a function's source comes when it branches on traced values, and what its blocks become."""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import linecache
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import DifferentiationError, TraceError
from irdl.tracing.branches import loops
from irdl.tracing.branches.rewrite import rewrite


def as_numpy(f: Callable[..., Any], *calls: tuple[Any, ...]) -> None:
    compiled = irdl.jit(f)
    for arguments in calls:
        np.testing.assert_allclose(compiled(*arguments), f(*arguments))


def rewritten(text: str) -> str:
    tree = ast.parse(textwrap.dedent(text))
    rewrite(tree.body[0])
    compile(tree, "text", "exec")
    return ast.unparse(tree)


def test_a_branch_is_two_functions_that_share_variables() -> None:
    assert rewritten(
        """
        def f(x):
            if x > 0:
                y = x
            else:
                y = -x
            return y
        """
    ).split("\n") == [
        "def f(x):",
        "    y: None",
        "",
        "    def __true_1__():",
        "        nonlocal y",
        "        y = x",
        "",
        "    def __false_2__():",
        "        nonlocal y",
        "        y = -x",
        "    __flow__.branch(x > 0, __true_1__, __false_2__)",
        "    return y",
    ]


def test_what_follows_a_return_is_a_function() -> None:
    text = rewritten("def f(x):\n    if x > 0:\n        return x\n    return -x")
    assert "return __flow__.result(__flow__.branch(x > 0, __true_1__, __flow__.nothing, __rest_2__))" in text


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    for i in range(3):\n        yield i if x else 2\n        if x:\n            return",
        "async def f(x):\n    if x:\n        await x\n    return 1",
        "def f(x):\n    global n\n    if x:\n        n = 1\n    return n",
        "def f(x):\n    def g():\n        nonlocal x\n        if x:\n            x = 1\n    g()\n    return x",
        "def f(x):\n    if x:\n        import os\n        from os import path as p\n    with x as (a, b):\n        if a:\n            return b\n    del a",
        "def f(x, *a, k=1 if 2 else 3, **o):\n    return [y for y in a if y] if x else {k: v for k, v in o.items()}",
        "def f(x):\n    if (n := len(x)) > 2 and (m := n) or not m:\n        return n\n    while (n := n - 1) > 0:\n        pass\n    return n, m",
        "def f(x):\n    match x:\n        case [a, *rest] if a:\n            return rest\n        case {'k': v, **more}:\n            x = more\n    return x",
        "def f(x):\n    try:\n        if x:\n            return 1\n    except* ValueError:\n        x = 2\n    return x",
    ],
)
def test_everything_stays_python(text: str) -> None:
    rewritten(text)


def absolute(x: Any) -> Any:
    """A docstring."""
    if x < 0:
        return -x
    return x


def counted(f: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(f)
    def call(*arguments: Any) -> Any:
        return f(*arguments) + 1

    return call


@counted
def decorated(x: Any) -> Any:
    return x if x > 0 else -2 * x


class Base:
    def __init__(self) -> None:
        self.__hidden = 2.0

    def scaled(self, x: Any) -> Any:
        return x * self.__hidden if x > 1 else x

    @classmethod
    def made(cls, x: Any) -> Any:
        return cls().scaled(x) if x < 3 else x

    @staticmethod
    def plain(x: Any) -> Any:
        return 1.0 if x > 2 else x

    @property
    def level(self) -> Any:
        return self.__hidden


class Derived(Base):
    def scaled(self, x: Any) -> Any:
        if x > 0:
            return super().scaled(x) + self.level
        return 0.5 * x


CALLS = ((-2.0,), (0.5,), (1.5,), (2.5,), (4.0,))


def test_functions_of_all_kinds() -> None:
    offset = 3.0

    def nested(x: Any) -> Any:
        def inner(y: Any) -> Any:
            return y if y > offset else offset

        return inner(x) + absolute(x)

    for f in (absolute, decorated, Derived().scaled, Derived.made, Base.plain, nested, functools.partial(nested)):
        as_numpy(f, *CALLS)


def test_lambdas_of_one_line() -> None:
    first, second = (lambda x: x if x > 0 else -x), (lambda x: x * 2 if x > 1 else x)
    as_numpy(first, *CALLS)
    as_numpy(second, *CALLS)
    as_numpy(lambda x: (lambda y: y if y > 1 else 1.0)(x) + (lambda y: y if y < 1 else 1.0)(x), *CALLS)


def test_only_what_branches_is_rewritten() -> None:
    """A function that a trace knows the way through stays as it is, beside one that is rewritten."""

    def straight(x: Any) -> Any:
        return x + (1 if "__flow__" in sys._getframe().f_code.co_names else 2)

    def branches(x: Any) -> Any:
        return straight(x) if x > 0 and "__flow__" not in sys._getframe(1).f_code.co_names else -x

    compiled = irdl.jit(branches)
    assert (compiled(1.0), compiled(-1.0)) == (3.0, 1.0)


def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> Any:
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


PROGRAM = """
    def f(x):
        if x > 0:
            return x
        return -2 * x
"""


def test_a_file_that_has_changed_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the file now is not what runs."""
    module = write(tmp_path, monkeypatch, "changed_since", PROGRAM)
    (tmp_path / "changed_since.py").write_text(textwrap.dedent(PROGRAM).replace("-2", "-3"))
    with pytest.raises(TraceError, match="or is not what runs"):
        irdl.jit(module.f)(1.0)


def test_a_file_that_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write(tmp_path, monkeypatch, "loaded_again", PROGRAM)
    as_numpy(module.f, (1.0,), (-1.0,))
    (tmp_path / "loaded_again.py").write_text("# a line more\n" + textwrap.dedent(PROGRAM).replace("-2", "-3"))
    linecache.checkcache()
    module = importlib.reload(module)
    assert module.f(-1.0) == 3.0
    as_numpy(module.f, (1.0,), (-1.0,))


def test_code_without_a_file() -> None:
    names: dict[str, Any] = {}
    exec("def f(x):\n    return x if x > 0 else -x", names)
    with pytest.raises(TraceError, match="source of the function is at hand"):
        irdl.jit(names["f"])(1.0)


def test_a_cell_of_a_notebook() -> None:
    """Its source is in `linecache` alone."""
    text = "def f(x):\n    if x > 0:\n        x = x * 3\n    return x\n"
    linecache.cache["<cell 1>"] = (len(text), None, text.splitlines(True), "<cell 1>")
    names: dict[str, Any] = {}
    exec(compile(text, "<cell 1>", "exec"), names)
    as_numpy(names["f"], (1.0,), (-1.0,))


def test_lines_are_those_of_the_source() -> None:
    def f(x: Any, w: Any) -> Any:
        if (
            x.sum()
            > 0
        ):  # fmt: skip
            y = x @ w
        else:
            y = x * 2
        return y

    first = f.__code__.co_firstlineno
    text = str(irdl.trace(f)(np.ones(3), np.ones((3, 3))))
    for op, line in (("cond", 1), ("dot", 5), ("mul", 7)):
        assert any(f" {op}(" in part and part.endswith(f"test_rewriting.py:{first + line}") for part in text.splitlines()), (op, text)
    with pytest.raises(ValueError, match=rf"test_rewriting.py:{first + 5}: y = x @ w"):
        irdl.jit(f)(np.ones(3), np.ones((4, 3)))


def test_what_is_printed_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        print("begins")
        return x if x > 0 else -x

    irdl.jit(f)(1.0)
    assert capsys.readouterr().out == "begins\n"


def test_a_function_that_cannot_be_traced_still_tells_what_it_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        print("begins")
        return sorted([x, x + 1])

    with pytest.raises(TraceError):
        irdl.jit(f)(1.0)
    assert capsys.readouterr().out == "begins\n"


def test_large_arrays_take_one_side() -> None:
    """A branch with much to do on one side stays a branch: the other side does not pay for it."""

    def f(x: Any, w: Any, go: Any) -> Any:
        return (np.tanh(x @ w) @ w).sum() if go else x.sum()

    text = str(irdl.trace(f)(np.ones((64, 64)), np.ones((64, 64)), True))
    assert "cond(" in text
    as_numpy(f, (np.ones((64, 64)), np.ones((64, 64)), True), (np.ones((64, 64)), np.ones((64, 64)), False))


def test_truth_of_more_than_one_number() -> None:
    with pytest.raises(ValueError, match=r"truth value of an array.*ambiguous.*test_rewriting"):
        irdl.jit(lambda x: x if x > 0 else -x)(np.ones(3))


def test_a_variable_that_a_step_set_before_it_continued() -> None:
    """Whoever comes to the next statement has not been there."""

    def f(x: Any) -> Any:
        for i in range(2):
            if x > i:
                if x > i + 2:
                    continue
                y = x
            else:
                y = -x
            x = x + y
        return x

    as_numpy(f, (-1.0,), (0.5,), (1.5,), (9.0,))


def test_a_variable_that_only_some_ways_set() -> None:
    def f(x: Any) -> Any:
        for _ in range(2):
            if x > 0:
                continue
            y = x
        return y

    with pytest.raises(TraceError, match=r"`y` is set on one side.*test_rewriting"):
        irdl.jit(f)(1.0)


def test_an_iterator_within_enumerate() -> None:
    def f(x: Any) -> Any:
        rest = enumerate(iter([1.0, 2.0, 3.0]))
        if x > 0:
            next(rest)
        return x * next(rest)[1]

    with pytest.raises(TraceError, match=r"is changed on one side of a branch.*test_rewriting"):
        irdl.jit(f)(1.0)


def test_a_list_that_is_one_or_another_and_changes() -> None:
    def f(x: Any, change: bool) -> Any:
        old = [0.0, 1.0]
        state = [x, x] if x > 0 else old
        if change:
            old[0] = 5.0
        return state[0] + old[0]

    with pytest.raises(TraceError, match=r"may be one of several lists.*test_rewriting.*copy it"):
        irdl.jit(f, static_argnames="change")(1.0, True)
    as_numpy(lambda x: f(x, False), (1.0,), (-1.0,))


def test_a_loop_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        for _ in itertools.count():
            x = x * 0.5
            if x < 1:
                break
        return x

    monkeypatch.setattr(loops, "_MOST_STEPS", 50)
    with pytest.raises(TraceError, match=r"more than 50 steps.*`while`.*test_rewriting"):
        irdl.jit(f)(3.0)


def test_a_break_has_a_gradient() -> None:
    """A `for` that breaks goes to a known last step: its gradient is that of the steps that were taken."""

    def root(a: Any) -> Any:
        x = a
        for _ in range(30):
            if abs(x * x - a) < 1e-12:
                break
            x = 0.5 * (x + a / x)
        return x

    assert irdl.jit(irdl.grad(root))(2.0) == pytest.approx(0.5 / np.sqrt(2.0), rel=1e-9)

    def unknown(a: Any) -> Any:
        x = a
        while abs(x * x - a) > 1e-12:
            x = 0.5 * (x + a / x)
        return x

    with pytest.raises(DifferentiationError, match=r"`for` over a known range that breaks.*test_rewriting"):
        irdl.jit(irdl.grad(unknown))(2.0)


def test_a_variable_of_a_step_that_was_left_by_continue() -> None:
    """What the last step set is there only where that came to its end."""

    def f(x: Any) -> Any:
        total = 0.0
        for i in range(3):
            if i > 0:
                total = total + y  # noqa: F821 # of the step before
            if x > 5:
                break
            if x > 1:
                continue
            y = x  # noqa: F841
        return total

    assert f(0.5) == 1.0
    with pytest.raises(TraceError, match=r"`y` is set on one side.*test_rewriting"):
        irdl.jit(f)(0.5)


def test_a_loop_that_breaks_or_returns() -> None:
    def f(x: Any) -> Any:
        for _ in range(3):
            if x > 5:
                return -1.0
            if x > 2:
                break
            x = x + 1
        return x * 10

    as_numpy(f, (-4.0,), (0.5,), (2.5,), (9.0,))


def test_a_while_that_always_breaks() -> None:
    def f(x: Any) -> Any:
        n = 0
        while x > 0:
            break
        else:
            n = 1
        return n + x * 0

    as_numpy(f, (-1.0,), (1.0,))
